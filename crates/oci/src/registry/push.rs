//! From the store to a registry.

use super::Options;
use super::client::{Endpoint, Failure, endpoints, patiently, run};
use crate::document::MANIFEST_MOST;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::progress::Progress;
use crate::store::{Image, Store};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use oci_client::errors::OciDistributionError;
use oci_spec::distribution::Reference;
use oci_spec::image::{Descriptor, Digest};
use std::cell::Cell;
use std::io::Read;

/// Uploads at a time.
const PARALLEL: usize = 4;
/// Bytes read at once.
const PIECE: u64 = 1 << 18;

type Attempt<T> = std::result::Result<T, Failure>;

/// What pushing did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest's digest.
    pub digest: Digest,
    /// Parts that were sent.
    pub sent: usize,
    /// Parts that the registry took from another of its repositories.
    pub mounted: usize,
    /// Parts that were there.
    pub there: usize,
}

/// Sends an image to the registry and by the tag of `to`. Parts that are there are not sent; those that another repository
/// of the registry has are taken from there where the registry does that.
///
/// # Errors
/// Where the registry cannot be reached or refuses.
pub fn push(
    store: &Store,
    image: &Image,
    to: &Name,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Pushed> {
    if to.digest().is_some() {
        return Err(Error::Refused(format!("'{to}': an image is pushed by a tag, its digest follows")));
    }
    // What is being sent must not become garbage.
    let working = store.working()?;
    for part in image.parts().chain([&image.held().manifest]) {
        if !working.hold(part.digest())? {
            return Err(Error::NotHere(format!("{} of the image is not here: pull it again", part.digest())));
        }
    }
    let addresses = endpoints(to, options, false)?;
    let sources = sources(store, to)?;
    run(async {
        let mut reason = None;
        for endpoint in &addresses {
            let counts = Counts::default();
            let pushing = Pushing { store, image, endpoint, sources: &sources, progress, counts: &counts };
            match pushing.image().await {
                Ok(digest) => {
                    let Counts { sent, mounted, there } = counts;
                    return Ok(Pushed {
                        digest,
                        sent: sent.get(),
                        mounted: mounted.get(),
                        there: there.get(),
                    });
                }
                Err(Failure::Unreachable(e)) => reason = Some(e),
                Err(other) => return Err(other.error()),
            }
        }
        Err(reason.unwrap_or_else(|| Error::Host("no registry to send to".into())))
    })
}

/// Other repositories of the same registry, with the parts that they should have.
fn sources(store: &Store, to: &Name) -> Result<Vec<(Name, Vec<String>)>> {
    let mut sources = Vec::new();
    for listed in store.list()? {
        let Ok(name) = listed.name.parse::<Name>() else { continue };
        if name.registry() != to.registry() || name.repository() == to.repository() {
            continue;
        }
        if let Ok(image) = Image::load(store, None, listed.held) {
            sources.push((name, image.parts().map(|p| p.digest().to_string()).collect()));
        }
    }
    Ok(sources)
}

#[derive(Default)]
struct Counts {
    sent: Cell<usize>,
    mounted: Cell<usize>,
    there: Cell<usize>,
}

struct Pushing<'a> {
    store: &'a Store,
    image: &'a Image,
    endpoint: &'a Endpoint,
    sources: &'a [(Name, Vec<String>)],
    progress: &'a dyn Progress,
    counts: &'a Counts,
}

fn add(count: &Cell<usize>) {
    count.set(count.get() + 1);
}

impl Pushing<'_> {
    async fn image(&self) -> Attempt<Digest> {
        let endpoint = self.endpoint;
        endpoint.client.store_auth_if_needed(endpoint.reference.resolve_registry(), &endpoint.auth).await;
        let mut parts: Vec<&Descriptor> = Vec::new();
        for part in self.image.parts() {
            if parts.iter().all(|p| p.digest() != part.digest()) {
                parts.push(part);
            }
        }
        let uploads = futures_util::stream::iter(parts.into_iter().map(|part| self.part(part)));
        uploads.buffer_unordered(PARALLEL).try_collect::<()>().await?;
        let manifest = &self.image.held().manifest;
        let bytes = Bytes::from(self.store.read(manifest.digest(), MANIFEST_MOST)?);
        let kind = self.image.manifest().media_type().as_ref().unwrap_or(manifest.media_type()).to_string();
        let kind =
            kind.parse().map_err(|_| Error::damaged(manifest.digest().to_string(), "a wild media type"))?;
        let kind = &kind;
        patiently(async || {
            let pushed = endpoint
                .client
                .push_manifest_raw(&endpoint.reference, bytes.clone(), Clone::clone(kind))
                .await;
            pushed.map_err(|e| Failure::of(endpoint, "manifest", &e))
        })
        .await?;
        Ok(manifest.digest().clone())
    }

    async fn part(&self, part: &Descriptor) -> Attempt<()> {
        let (endpoint, item) = (self.endpoint, part.digest().to_string());
        self.progress.start(&item, "sending", Some(part.size()));
        let there = patiently(async || {
            let asked = endpoint.client.blob_exists(&endpoint.reference, &item).await;
            asked.map_err(|e| Failure::of(endpoint, &item, &e))
        });
        if there.await? {
            add(&self.counts.there);
            self.progress.done(&item, "already there");
            return Ok(());
        }
        if self.mount(&item).await {
            add(&self.counts.mounted);
            self.progress.done(&item, "taken from another repository");
            return Ok(());
        }
        patiently(async || self.upload(part, &item).await).await?;
        add(&self.counts.sent);
        self.progress.done(&item, "sent");
        Ok(())
    }

    /// Whether the registry took it from another repository. That it did not is no error: it is sent then.
    async fn mount(&self, digest: &str) -> bool {
        let Some((source, _)) = self.sources.iter().find(|(_, parts)| parts.iter().any(|p| p == digest))
        else {
            return false;
        };
        let source: &Reference = source.reference();
        self.endpoint.client.mount_blob(&self.endpoint.reference, source, digest).await.is_ok()
    }

    async fn upload(&self, part: &Descriptor, item: &str) -> Attempt<()> {
        let file = self.store.blob(part.digest())?;
        let read = move |mut file: std::fs::File| async move {
            let mut bytes = Vec::new();
            match (&mut file).take(PIECE).read_to_end(&mut bytes) {
                Ok(0) => None,
                Ok(_) => Some((Ok(Bytes::from(bytes)), file)),
                Err(e) => Some((Err(OciDistributionError::IoError(e)), file)),
            }
        };
        let stream = futures_util::stream::unfold(file, read);
        let endpoint = self.endpoint;
        let pushed =
            endpoint.client.push_blob_stream(&endpoint.reference, stream, item, Some(part.size())).await;
        pushed.map(drop).map_err(|e| Failure::of(endpoint, item, &e))
    }
}
