//! The client of one registry: its address, connection and login.

use super::auth::{self, Login};
use super::failure::{Attempt, Failure};
use super::http::{Answer, Call, Http, Patience, host, is_loopback};
use super::{RegistryOptions, token};
use crate::document::{DOCKER_LIST, DOCKER_MANIFEST, INDEX, MANIFEST, MANIFEST_MOST};
use crate::error::{Error, Result};
use crate::name::Name;
use oci_spec::distribution::Reference;
use oci_spec::image::Digest;
use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use std::future::Future;
use std::io::Read;
use std::path::Path;
use std::time::Duration;
use trine_base::text::line;

/// The accepted media types of a manifest.
const ACCEPTED: &[&str] = &[MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST];
/// The most bytes of a server's error text that are read.
const ERROR_MOST: usize = 64 << 10;
/// The largest file of certificates in bytes.
const CERTIFICATES_MOST: u64 = 16 << 20;
/// The number of attempts for requests that may succeed the next time.
const TRIES: u32 = 5;

/// The permission that a request needs; registries grant them separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Read from the repository.
    Pull,
    /// Write to the repository.
    Push,
}

/// One address of a registry.
pub struct Endpoint {
    /// The HTTP client.
    pub http: Http,
    /// `https://HOST`.
    pub base: Url,
    /// The name of the image there.
    pub reference: Reference,
    /// The login there.
    pub login: Login,
    /// The tokens that the registry issued for the login.
    pub tokens: token::Tokens,
    /// The name of the place, for messages.
    pub place: String,
}

/// The body of a registry's error (OCI Distribution Specification 1.1, "Error Codes").
#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    errors: Vec<SaidOne>,
}

#[derive(Deserialize)]
struct SaidOne {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
}

impl Endpoint {
    /// The name of content with this digest in the same repository.
    pub fn with_digest(&self, digest: &Digest) -> Reference {
        self.reference.clone_with_digest(digest.to_string())
    }

    /// A URL below the repository's, such as `blobs/uploads/`.
    pub fn url(&self, rest: &str) -> Result<Url> {
        let text = format!("{}v2/{}/{rest}", self.base, self.reference.repository());
        text.parse().map_err(|e| self.http.error(format!("{text} is not an address: {e}")))
    }

    /// Creates an error of the registry.
    pub fn error(&self, what: impl Into<String>) -> Error {
        self.http.error(what)
    }

    /// Sends a request with the login that it needs.
    pub async fn send(&self, right: Right, call: &Call<'_>) -> Attempt<Answer<'_>> {
        // The registry chooses the URL of an upload; the login is only sent to the registry itself.
        let own = host(&call.url) == host(&self.base) && call.url.scheme() == self.base.scheme();
        let before = (!own).then_some(&self.base);
        for again in [false, true] {
            let authorization = if own { self.authorization(right, again).await? } else { None };
            let answer = self.http.send(call, before, authorization.as_ref()).await?;
            // A token is valid for some minutes only.
            let aged = matches!(self.login, Login::Bearer(_)) || authorization.is_none();
            if answer.status() != StatusCode::UNAUTHORIZED || aged || again {
                return Ok(answer);
            }
        }
        Err(Failure::Lasting(self.not_allowed(call.what)))
    }

    /// The error for a missing permission.
    pub fn not_allowed(&self, what: &str) -> Error {
        let host = self.reference.registry();
        let who = match self.login {
            Login::Anonymous => format!("no login for {host} is known"),
            _ => "the login does not allow it".to_string(),
        };
        self.error(format!("{what}: not allowed ({who}: use `docker login {host}` or `podman login {host}`)"))
    }

    /// The error for an unsuccessful answer; `what` is the request.
    pub async fn refusal(&self, what: &str, mut answer: Answer<'_>) -> Failure {
        let status = answer.status();
        let body = answer.beginning(ERROR_MOST).await;
        let said: Said = serde_json::from_slice(&body).unwrap_or_default();
        let has = |codes: &[&str]| said.errors.iter().any(|e| codes.contains(&&e.code[..]));
        if status == StatusCode::NOT_FOUND || has(&["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN"]) {
            return Failure::Absent(self.error(format!("{what}: not found")));
        }
        let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if refused || has(&["UNAUTHORIZED", "DENIED"]) {
            return Failure::Lasting(self.not_allowed(what));
        }
        let words: Vec<&str> =
            said.errors.iter().map(|e| e.message.as_deref().unwrap_or(&e.code)).take(8).collect();
        let words = match words.is_empty() {
            true => String::from_utf8_lossy(&body).into_owned(),
            false => words.join("; "),
        };
        let mut text = format!("{what}: HTTP status {}", status.as_u16());
        if !words.trim().is_empty() {
            text = format!("{text}: {}", line(&words, 300));
        }
        match status.as_u16() {
            408 | 425 | 429 | 500..=599 => Failure::Passing(self.error(text)),
            _ => Failure::Lasting(self.error(text)),
        }
    }

    /// Fetches the bytes of a manifest or an index, at most [`MANIFEST_MOST`]; they are not verified.
    pub async fn manifest(&self, reference: &Reference) -> Attempt<Vec<u8>> {
        let named = reference.digest().or(reference.tag()).unwrap_or("latest");
        let what = if reference.digest().is_some() { named.to_string() } else { format!("tag {named}") };
        let mut call = Call::new(&what, Method::GET, self.url(&format!("manifests/{named}"))?);
        let accepted = HeaderValue::from_str(&ACCEPTED.join(", "));
        call.headers.insert(ACCEPT, accepted.map_err(|e| self.error(e.to_string()))?);
        let mut answer = self.send(Right::Pull, &call).await?;
        match answer.status() {
            StatusCode::OK => answer.small(MANIFEST_MOST).await,
            _ => Err(self.refusal(&what, answer).await),
        }
    }
}

/// The addresses of an image, in the order in which they are tried. A registry that may be insecure, or is on
/// this host, is tried by HTTPS first.
pub fn endpoints(name: &Name, options: &RegistryOptions, mirrors: bool) -> Result<Vec<Endpoint>> {
    let own = options.registries.of(name.registry());
    let mut all = Vec::new();
    if mirrors {
        for mirror in options.mirrors.iter().chain(&own.mirrors) {
            all.extend(of(&mirrored(name, mirror)?, options)?);
        }
    }
    all.extend(of(name.reference(), options)?);
    Ok(all)
}

/// The name of the image at a mirror.
fn mirrored(name: &Name, mirror: &str) -> Result<Reference> {
    let (host, prefix) =
        mirror.trim_end_matches('/').split_once('/').unwrap_or((mirror.trim_end_matches('/'), ""));
    let host_fine =
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b));
    // `http://HOST` is an address, not a host.
    if !host_fine || host.ends_with(':') || prefix.starts_with('/') {
        return Err(Error::Refused(format!(
            "'{mirror}' is not a mirror: it should look like HOST[:PORT][/PREFIX]"
        )));
    }
    let repository = match prefix {
        "" => name.repository().to_string(),
        prefix => format!("{prefix}/{}", name.repository()),
    };
    Ok(match (name.digest(), name.tag()) {
        (Some(digest), _) => Reference::with_digest(host.into(), repository, digest.to_string()),
        (None, tag) => Reference::with_tag(host.into(), repository, tag.unwrap_or("latest").into()),
    })
}

fn of(reference: &Reference, options: &RegistryOptions) -> Result<Vec<Endpoint>> {
    let said = options.registries.of(reference.registry());
    let login = auth::of(reference.registry(), reference.repository())?;
    let insecure = options.insecure || said.insecure;
    let certificates = said.ca.as_deref().map(certificate).transpose()?;
    // If another thread has set one already, that is used.
    drop(rustls::crypto::ring::default_provider().install_default());
    let place = format!("{}/{}", reference.registry(), reference.repository());
    let base = |scheme: &str| {
        let base = format!("{scheme}://{}", reference.resolve_registry());
        let wrong = |e| Error::Refused(format!("'{}' is not a host: {e}", reference.registry()));
        base.parse::<Url>().map_err(wrong)
    };
    let mut bases = vec![base("https")?];
    if insecure || is_loopback(&bases[0]) {
        bases.push(base("http")?);
    }
    let make = |base| Endpoint {
        http: Http::new(insecure, certificates.iter().cloned().collect(), Patience::default(), &place),
        base,
        reference: reference.clone(),
        login: login.clone(),
        tokens: token::Tokens::default(),
        place: place.clone(),
    };
    Ok(bases.into_iter().map(make).collect())
}

/// A certificate to trust in addition to the host's.
fn certificate(path: &Path) -> Result<reqwest::Certificate> {
    let mut pem = Vec::new();
    let read = std::fs::File::open(path).and_then(|f| f.take(CERTIFICATES_MOST).read_to_end(&mut pem));
    read.map_err(Error::file("cannot read", path))?;
    reqwest::Certificate::from_pem(&pem)
        .map_err(|_| Error::damaged(path.display().to_string(), "this is not a certificate in PEM"))
}

/// Repeats an operation with growing pauses, as long as it may succeed.
pub async fn patiently<T, F: Future<Output = Attempt<T>>>(mut work: impl FnMut() -> F) -> Attempt<T> {
    let mut tries = 1;
    loop {
        match work().await {
            Err(Failure::Passing(_)) if tries < TRIES => {
                pause(tries).await;
                tries += 1;
            }
            other => return other,
        }
    }
}

/// Waits for a quarter of a second, doubled with each attempt.
pub async fn pause(tries: u32) {
    tokio::time::sleep(Duration::from_millis(250 << tries.min(6))).await;
}

/// Runs an operation with registries; all of its threads have ended afterwards.
pub fn run<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::Host(format!("cannot create an event loop: {e}")))?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_keep_the_name() {
        let name: Name = "alpine:3".parse().unwrap();
        assert_eq!(mirrored(&name, "localhost:5000").unwrap().to_string(), "localhost:5000/library/alpine:3");
        assert_eq!(mirrored(&name, "m/x/").unwrap().to_string(), "m/x/library/alpine:3");
        let digest = format!("alpine@sha256:{}", "a".repeat(64)).parse().unwrap();
        assert!(mirrored(&digest, "m").unwrap().to_string().starts_with("m/library/alpine@sha256:aa"));
        assert!(mirrored(&name, "http://m").is_err());
        assert!(mirrored(&name, "").is_err());
    }

    #[test]
    fn only_this_hosts_own_registries_speak_http_unasked() {
        let schemes = |registry: &str, insecure| {
            let name: Name = format!("{registry}/a").parse().unwrap();
            let options = RegistryOptions { insecure, ..RegistryOptions::default() };
            let all = endpoints(&name, &options, false).unwrap();
            all.iter().map(|e| e.base.scheme().to_string()).collect::<Vec<_>>()
        };
        for own in ["127.0.0.1:5000", "127.9.9.9", "localhost:5000", "localhost"] {
            assert_eq!(schemes(own, false), ["https", "http"], "{own}");
        }
        for other in ["docker.io", "0.0.0.0:5000", "10.0.0.1", "127.0.0.1.example.com", "localhost.example"] {
            assert_eq!(schemes(other, false), ["https"], "{other}");
            assert_eq!(schemes(other, true), ["https", "http"], "{other}");
        }
    }
}
