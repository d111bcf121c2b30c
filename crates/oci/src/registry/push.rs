//! Pushing images from the store to a registry.

use super::RegistryOptions;
use super::client::{Endpoint, Right, endpoints, patiently, run};
use super::failure::{Attempt, Failure};
use super::http::{Call, Upload};
use crate::document::MANIFEST_MOST;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::progress::Progress;
use crate::store::{Image, Store};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use oci_spec::image::{Descriptor, Digest};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Body, Method, StatusCode};
use std::cell::Cell;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of parallel uploads.
const PARALLEL: usize = 4;
/// Bytes read at a time.
const PIECE: u64 = 1 << 18;

/// The result of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest's digest.
    pub digest: Digest,
    /// Number of parts that were sent.
    pub sent: usize,
    /// Number of parts that the registry copied from another of its repositories.
    pub mounted: usize,
    /// Number of parts that the registry had already.
    pub there: usize,
}

/// Pushes an image under the registry and tag of `to`. Parts that the registry has are not sent; parts in
/// another repository of the registry are copied from there if it supports that.
///
/// # Errors
/// The registry cannot be reached or refuses.
pub fn push(
    store: &Store,
    image: &Image,
    to: &Name,
    options: &RegistryOptions,
    progress: &dyn Progress,
) -> Result<Pushed> {
    if to.digest().is_some() {
        return Err(Error::Refused(format!("'{to}': push an image by a tag, not by a digest")));
    }
    // Content that is being sent must not be collected as garbage.
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
        Err(reason.unwrap_or_else(|| Error::Host("there is no registry to send to".into())))
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
        let kind = HeaderValue::from_str(&kind)
            .map_err(|_| Error::damaged(manifest.digest().to_string(), "a media type is not valid"))?;
        patiently(async || self.manifest(&bytes, &kind).await).await?;
        Ok(manifest.digest().clone())
    }

    async fn manifest(&self, bytes: &Bytes, kind: &HeaderValue) -> Attempt<()> {
        let (endpoint, what) = (self.endpoint, "manifest");
        let named = endpoint.reference.tag().unwrap_or("latest");
        let mut call = Call::new(what, Method::PUT, endpoint.url(&format!("manifests/{named}"))?);
        call.headers.insert(CONTENT_TYPE, kind.clone());
        let length = bytes.len() as u64;
        let make = |taken: Arc<AtomicU64>| {
            taken.store(length, Ordering::Relaxed);
            Ok(Body::from(bytes.clone()))
        };
        call.upload = Some(Upload { make: &make, length });
        let answer = endpoint.send(Right::Push, &call).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(()),
            _ => Err(endpoint.refusal(what, answer).await),
        }
    }

    async fn part(&self, part: &Descriptor) -> Attempt<()> {
        let item = part.digest().to_string();
        self.progress.start(&item, "sending", Some(part.size()));
        if patiently(async || self.is_there(&item).await).await? {
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

    async fn is_there(&self, digest: &str) -> Attempt<bool> {
        let call = Call::new(digest, Method::HEAD, self.endpoint.url(&format!("blobs/{digest}"))?);
        let answer = self.endpoint.send(Right::Push, &call).await?;
        match answer.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.endpoint.refusal(digest, answer).await),
        }
    }

    /// Returns whether the registry copied the part from another repository. A refusal is not an error: the
    /// part is sent then.
    async fn mount(&self, digest: &str) -> bool {
        let Some((source, _)) = self.sources.iter().find(|(_, parts)| parts.iter().any(|p| p == digest))
        else {
            return false;
        };
        let Ok(mut url) = self.endpoint.url("blobs/uploads/") else { return false };
        url.query_pairs_mut().append_pair("mount", digest).append_pair("from", source.repository());
        let call = Call { upload: Some(NOTHING), ..Call::new(digest, Method::POST, url) };
        let answer = self.endpoint.send(Right::Push, &call).await;
        answer.is_ok_and(|a| a.status() == StatusCode::CREATED)
    }

    /// Sends a part in one request (OCI Distribution Specification 1.1, "POST then PUT").
    async fn upload(&self, part: &Descriptor, item: &str) -> Attempt<()> {
        let endpoint = self.endpoint;
        let url = endpoint.url("blobs/uploads/")?;
        let call = Call { upload: Some(NOTHING), ..Call::new(item, Method::POST, url) };
        let answer = endpoint.send(Right::Push, &call).await?;
        if answer.status() != StatusCode::ACCEPTED {
            return Err(endpoint.refusal(item, answer).await);
        }
        let mut url = answer.location()?;
        url.query_pairs_mut().append_pair("digest", item);
        let mut call = Call::new(item, Method::PUT, url);
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let make = |taken| Ok(Body::wrap_stream(stream(self.store.blob(part.digest())?, taken)));
        call.upload = Some(Upload { make: &make, length: part.size() });
        let answer = endpoint.send(Right::Push, &call).await?;
        match answer.status() {
            StatusCode::CREATED => Ok(()),
            _ => Err(endpoint.refusal(item, answer).await),
        }
    }
}

/// An empty body for methods that normally have one: some registries insist on it.
const NOTHING: Upload<'static> = Upload { make: &|_| Ok(Body::from("")), length: 0 };

/// A stream of a file's content; `taken` counts the bytes that were sent.
fn stream(
    file: std::fs::File,
    taken: Arc<AtomicU64>,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    futures_util::stream::unfold(file, move |mut file| {
        let taken = taken.clone();
        async move {
            let mut bytes = Vec::new();
            match (&mut file).take(PIECE).read_to_end(&mut bytes) {
                Ok(0) => None,
                Ok(n) => {
                    taken.fetch_add(n as u64, Ordering::Relaxed);
                    Some((Ok(Bytes::from(bytes)), file))
                }
                Err(e) => Some((Err(e), file)),
            }
        }
    })
}
