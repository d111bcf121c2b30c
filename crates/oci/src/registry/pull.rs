//! Pulling images from a registry into the store.

use super::RegistryOptions;
use super::client::{Endpoint, Right, endpoints, patiently, pause, run};
use super::failure::{Attempt, Failure};
use super::http::Call;
use crate::digest;
use crate::document::{self, Document, MANIFEST_MOST};
use crate::error::{Error, Result};
use crate::name::Name;
use crate::platform::Platform;
use crate::progress::Progress;
use crate::store::{Image, Incoming, Store, Taking, Working};
use crate::transport::adopt;
use futures_util::{StreamExt, TryStreamExt};
use oci_spec::image::{Descriptor, ImageManifest};
use reqwest::header::{HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use std::time::Duration;

/// Number of parallel downloads.
const PARALLEL: usize = 4;
/// Number of consecutive attempts without progress.
const TRIES: u32 = 5;
/// An attempt that receives fewer bytes counts as one without progress: a server that sends a byte a minute
/// would hold us up for ever.
const PROGRESS: u64 = 64 << 10;

/// Pulls an image. Content that is here is not fetched again; incomplete content is continued.
///
/// # Errors
/// No address works, or the image does not exist, is damaged, or is for another platform.
pub fn pull(store: &Store, name: &Name, options: &RegistryOptions, progress: &dyn Progress) -> Result<Image> {
    let addresses = endpoints(name, options, true)?;
    let working = store.working()?;
    let (manifest, index) = run(async {
        let mut reason = None;
        for endpoint in &addresses {
            let pulling = Pulling { store, endpoint, working: &working, progress };
            match pulling.image(name, options.platform.as_ref()).await {
                Ok(done) => return Ok(done),
                // A mirror may lack content; the registry itself comes last.
                Err(Failure::Absent(e) | Failure::Unreachable(e) | Failure::Passing(e)) => {
                    // Where HTTP is allowed, the failure of HTTPS is not the reason to report.
                    reason = Some(e);
                }
                Err(other) => return Err(other.error()),
            }
        }
        Err(reason.unwrap_or_else(|| Error::Host("there is no registry to ask".into())))
    })?;
    adopt(store, name, manifest, index, options.platform.as_ref(), &working)
}

struct Pulling<'a> {
    store: &'a Store,
    endpoint: &'a Endpoint,
    working: &'a Working,
    progress: &'a dyn Progress,
}

impl Pulling<'_> {
    async fn image(
        &self,
        name: &Name,
        wanted: Option<&Platform>,
    ) -> Attempt<(Descriptor, Option<Descriptor>)> {
        let (root, document) = self.document(name, None).await?;
        let (descriptor, index, manifest) = match document {
            Document::Manifest(manifest) => (root, None, manifest),
            Document::Index(list) => {
                let host = Platform::host();
                let chosen = document::choose(&list, wanted.unwrap_or(&host), &name.short())?;
                let (descriptor, document) = self.document(name, Some(chosen)).await?;
                match document {
                    Document::Manifest(manifest) => (descriptor, Some(root), manifest),
                    Document::Index(_) => {
                        return Err(Error::damaged(&self.endpoint.place, "an index in an index").into());
                    }
                }
            }
        };
        self.parts(&manifest).await?;
        Ok((descriptor, index))
    }

    /// Fetches a manifest or an index: that of the name, or the one that an index describes.
    async fn document(&self, name: &Name, of: Option<&Descriptor>) -> Attempt<(Descriptor, Document)> {
        let place = format!("{} at {}", name.short(), self.endpoint.place);
        let expected = of.map(|d| d.digest().clone()).or_else(|| name.digest());
        if let Some(d) = of
            && d.size() > MANIFEST_MOST
        {
            return Err(
                Error::damaged(&place, format!("a manifest has at most {MANIFEST_MOST} bytes")).into()
            );
        }
        let kept = match &expected {
            Some(digest) if self.working.hold(digest)? => self.store.read(digest, MANIFEST_MOST).ok(),
            _ => None,
        };
        let bytes = match kept {
            Some(bytes) => bytes,
            None => self.fetch(expected.as_ref()).await?,
        };
        let digest = match &expected {
            Some(expected) => {
                let mut hasher = digest::Hasher::of(expected)?;
                hasher.update(&bytes);
                hasher.check(expected)?;
                expected.clone()
            }
            None => digest::of(&bytes),
        };
        if let Some(d) = of
            && d.size() != bytes.len() as u64
        {
            return Err(
                Error::damaged(&place, "a manifest does not have the size that its index says").into()
            );
        }
        let document = Document::parse(&bytes, &place)?;
        let kind = match &document {
            Document::Manifest(m) => m.media_type().clone().unwrap_or(document::MANIFEST.into()),
            Document::Index(i) => i.media_type().clone().unwrap_or(document::INDEX.into()),
        };
        let descriptor = Descriptor::new(kind, bytes.len() as u64, digest.clone());
        if !self.working.hold(&digest)?
            && let Some(mut incoming) = self.store.incoming(&descriptor)?
        {
            incoming.restart()?;
            incoming.write(&bytes)?;
            incoming.finish()?;
        }
        Ok((descriptor, document))
    }

    async fn fetch(&self, digest: Option<&oci_spec::image::Digest>) -> Attempt<Vec<u8>> {
        let endpoint = self.endpoint;
        let reference = digest.map_or_else(|| endpoint.reference.clone(), |d| endpoint.with_digest(d));
        patiently(async || endpoint.manifest(&reference).await).await
    }

    /// Fetches configuration and layers, several at a time.
    async fn parts(&self, manifest: &ImageManifest) -> Attempt<()> {
        let mut parts: Vec<&Descriptor> = Vec::new();
        for part in std::iter::once(manifest.config()).chain(manifest.layers()) {
            if parts.iter().all(|p| p.digest() != part.digest()) {
                parts.push(part);
            }
        }
        let fetches = futures_util::stream::iter(parts.into_iter().map(|part| self.part(part)));
        fetches.buffer_unordered(PARALLEL).try_collect().await
    }

    async fn part(&self, part: &Descriptor) -> Attempt<()> {
        let item = part.digest().to_string();
        if self.working.hold(part.digest())? {
            self.progress.done(&item, "already here");
            return Ok(());
        }
        self.progress.start(&item, "waiting", Some(part.size()));
        let mut incoming = loop {
            match self.store.incoming_now(part)? {
                Taking::Here => {
                    self.progress.done(&item, "fetched by another process");
                    return Ok(());
                }
                Taking::Ready(incoming) => break incoming,
                Taking::Busy => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        let resumed = incoming.length() > 0;
        self.progress.start(&item, if resumed { "resuming" } else { "fetching" }, Some(part.size()));
        self.download(part, &mut incoming).await?;
        let finished = incoming.finish();
        match finished {
            Ok(()) => (),
            // The part that was downloaded at another time may be damaged.
            Err(Error::Damaged { .. }) if resumed => {
                let Some(mut again) = self.store.incoming(part)? else { return Ok(()) };
                again.restart()?;
                self.download(part, &mut again).await?;
                again.finish()?;
            }
            Err(e) => return Err(e.into()),
        }
        self.progress.done(&item, "fetched");
        Ok(())
    }

    /// Downloads the rest of a part, in as many attempts as make progress.
    async fn download(&self, part: &Descriptor, incoming: &mut Incoming) -> Attempt<()> {
        let mut tries = 1;
        while incoming.length() < incoming.size() {
            let before = incoming.length();
            match self.stream(part, incoming).await {
                Ok(()) if incoming.length() == incoming.size() => return Ok(()),
                Ok(()) => (),
                Err(Failure::Passing(_) | Failure::Unreachable(_)) if tries < TRIES => (),
                Err(other) => return Err(other),
            }
            tries = if incoming.length() >= before + PROGRESS { 1 } else { tries + 1 };
            if tries > TRIES {
                let what = format!("{}: ends after {before} of {} bytes", part.digest(), part.size());
                return Err(Failure::Passing(Error::Registry { place: self.endpoint.place.clone(), what }));
            }
            pause(tries).await;
        }
        Ok(())
    }

    async fn stream(&self, part: &Descriptor, incoming: &mut Incoming) -> Attempt<()> {
        let (endpoint, item) = (self.endpoint, part.digest().to_string());
        let mut call = Call::new(&item, Method::GET, endpoint.url(&format!("blobs/{item}"))?);
        if incoming.length() > 0 {
            let range = HeaderValue::from_str(&format!("bytes={}-", incoming.length()));
            call.headers.insert(RANGE, range.map_err(|e| endpoint.error(e.to_string()))?);
        }
        let answer = endpoint.send(Right::Pull, &call).await?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => (),
            StatusCode::OK if incoming.length() > 0 => incoming.restart()?,
            StatusCode::OK => (),
            _ => return Err(endpoint.refusal(&item, answer).await),
        }
        let mut pieces = answer.pieces();
        while let Some(bytes) = pieces.next().await? {
            incoming.write(&bytes)?;
            self.progress.at(&item, incoming.length());
        }
        Ok(())
    }
}
