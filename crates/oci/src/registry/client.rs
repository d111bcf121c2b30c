//! A registry as it is reached: by which address, how, as whom.

use super::{Options, auth};
use crate::document::{DOCKER_LIST, DOCKER_MANIFEST, INDEX, MANIFEST, MANIFEST_MOST};
use crate::error::{Error, Result};
use crate::name::Name;
use oci_client::RegistryOperation;
use oci_client::client::{Certificate, CertificateEncoding, Client, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_spec::distribution::Reference;
use oci_spec::image::Digest;
use std::future::Future;
use std::time::Duration;

/// What a manifest may be.
const ACCEPTED: &[&str] = &[MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST];
/// A registry that says nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// What we call ourselves.
const AGENT: &str = concat!("trine/", env!("CARGO_PKG_VERSION"));
/// Tries of what may succeed the next time.
const TRIES: u32 = 5;

/// One address of a registry.
pub struct Endpoint {
    /// Speaks to it.
    pub client: Client,
    /// Fetches what oci-client would fetch at any length.
    http: reqwest::Client,
    /// `https://HOST`.
    base: String,
    /// The image as it is named there.
    pub reference: Reference,
    /// Who the user is there.
    pub auth: RegistryAuth,
    /// For messages.
    pub place: String,
}

impl Endpoint {
    /// The same repository's content of this digest.
    pub fn with_digest(&self, digest: &Digest) -> Reference {
        self.reference.clone_with_digest(digest.to_string())
    }

    /// A manifest's or an index's bytes, at most [`MANIFEST_MOST`]; not verified.
    pub async fn manifest(&self, reference: &Reference) -> std::result::Result<Vec<u8>, Failure> {
        let named = reference.digest().or(reference.tag()).unwrap_or("latest");
        let what = if reference.digest().is_some() { named.to_string() } else { format!("tag {named}") };
        let lasting = |text: &str| Failure::Lasting(Error::damaged(&self.place, format!("{what}: {text}")));
        let failure = |e: OciDistributionError| Failure::of(self, &what, &e);
        let token =
            self.client.auth(reference, &self.auth, RegistryOperation::Pull).await.map_err(failure)?;
        let url = format!("{}/v2/{}/manifests/{named}", self.base, reference.repository());
        let request = self.http.get(&url).header("Accept", ACCEPTED.join(", "));
        let request = match (token, &self.auth) {
            (Some(token), _) => request.bearer_auth(token),
            (None, RegistryAuth::Basic(user, password)) => request.basic_auth(user, Some(password)),
            (None, _) => request,
        };
        let failure = |e: reqwest::Error| failure(OciDistributionError::RequestError(e));
        let mut answer = request.send().await.and_then(|a| a.error_for_status()).map_err(failure)?;
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failure)? {
            if (bytes.len() + piece.len()) as u64 > MANIFEST_MOST {
                return Err(lasting(&format!("a manifest has at most {MANIFEST_MOST} bytes")));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

/// The addresses of an image, in the order of trying. Where a registry may be insecure, it is tried by HTTPS first.
pub fn endpoints(name: &Name, options: &Options, mirrors: bool) -> Result<Vec<Endpoint>> {
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

/// The image at a mirror.
fn mirrored(name: &Name, mirror: &str) -> Result<Reference> {
    let (host, prefix) =
        mirror.trim_end_matches('/').split_once('/').unwrap_or((mirror.trim_end_matches('/'), ""));
    let host_fine =
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b));
    // `http://HOST` is an address, not a host.
    if !host_fine || host.ends_with(':') || prefix.starts_with('/') {
        return Err(Error::Refused(format!(
            "'{mirror}' is no mirror: it should look like HOST[:PORT][/PREFIX]"
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

fn of(reference: &Reference, options: &Options) -> Result<Vec<Endpoint>> {
    let said = options.registries.of(reference.registry());
    let auth = auth::of(reference.registry(), reference.repository())?;
    let insecure = options.insecure || said.insecure;
    let protocols = match insecure {
        true => vec![ClientProtocol::Https, ClientProtocol::Http],
        false => vec![ClientProtocol::Https],
    };
    let mut certificates = Vec::new();
    if let Some(path) = &said.ca {
        let data = std::fs::read(path).map_err(Error::file("cannot read", path))?;
        certificates.push(Certificate { encoding: CertificateEncoding::Pem, data });
    }
    // Others may have chosen one already; then theirs serves.
    drop(rustls::crypto::ring::default_provider().install_default());
    let make = |protocol| {
        let scheme = if protocol == ClientProtocol::Http { "http" } else { "https" };
        let client = Client::try_from(ClientConfig {
            protocol,
            accept_invalid_certificates: insecure,
            use_monolithic_push: true,
            extra_root_certificates: certificates.clone(),
            read_timeout: Some(PATIENCE),
            connect_timeout: Some(PATIENCE),
            user_agent: AGENT,
            ..ClientConfig::default()
        });
        let place = format!("{}/{}", reference.registry(), reference.repository());
        let client = client.map_err(|e| Error::Registry { place: place.clone(), what: chain(&e) })?;
        let http = http(insecure, &certificates);
        let http = http.map_err(|e| Error::Registry { place: place.clone(), what: chain(&e) })?;
        let base = format!("{scheme}://{}", reference.resolve_registry());
        Ok(Endpoint { client, http, base, reference: reference.clone(), auth: auth.clone(), place })
    };
    protocols.into_iter().map(make).collect()
}

/// As oci-client makes its own.
fn http(insecure: bool, certificates: &[Certificate]) -> reqwest::Result<reqwest::Client> {
    let own: reqwest::Result<Vec<_>> =
        certificates.iter().map(|c| reqwest::Certificate::from_pem(&c.data)).collect();
    reqwest::Client::builder()
        .danger_accept_invalid_certs(insecure)
        .tls_certs_merge(own?)
        .read_timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .user_agent(AGENT)
        .build()
}

/// An error with what caused it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        let said = e.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = e.source();
    }
    text
}

/// What went wrong between us and a registry.
pub enum Failure {
    /// It cannot be reached this way: another address may serve.
    Unreachable(Error),
    /// The next try may succeed.
    Passing(Error),
    /// It does not have this.
    Absent(Error),
    /// It stays so.
    Lasting(Error),
}

impl From<Error> for Failure {
    fn from(e: Error) -> Failure {
        Failure::Lasting(e)
    }
}

impl Failure {
    /// The error alone.
    pub fn error(self) -> Error {
        match self {
            Failure::Unreachable(e) | Failure::Passing(e) | Failure::Absent(e) | Failure::Lasting(e) => e,
        }
    }

    /// From the library's words; `what` was asked for.
    pub fn of(endpoint: &Endpoint, what: &str, error: &OciDistributionError) -> Failure {
        let registry = |text: String| Error::Registry { place: endpoint.place.clone(), what: text };
        let login = || {
            let host = endpoint.reference.registry();
            let who = match endpoint.auth {
                RegistryAuth::Anonymous => format!("no login for {host} is known"),
                _ => "the login does not allow it".to_string(),
            };
            registry(format!(
                "{what}: not allowed ({who}: `docker login {host}` or `podman login {host}` makes one)"
            ))
        };
        let status = |code: u16, said: String| match code {
            401 | 403 => Failure::Lasting(login()),
            404 => Failure::Absent(registry(format!("{what}: not there"))),
            408 | 425 | 429 | 500..=599 => {
                Failure::Passing(registry(format!("{what}: HTTP status {code} {said}")))
            }
            _ => Failure::Lasting(registry(format!("{what}: HTTP status {code} {said}"))),
        };
        let short = |text: &str| text.chars().take(300).collect::<String>().replace('\n', " ");
        match error {
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_) => Failure::Lasting(login()),
            OciDistributionError::ServerError { code, message, .. } => status(*code, short(message)),
            OciDistributionError::ImageManifestNotFoundError(_) => {
                Failure::Absent(registry(format!("{what}: not there")))
            }
            OciDistributionError::RegistryError { envelope, .. } => {
                let codes: Vec<String> = envelope.errors.iter().map(|e| format!("{:?}", e.code)).collect();
                let has = |code: &str| codes.iter().any(|c| c == code);
                if ["ManifestUnknown", "NameUnknown", "BlobUnknown", "NotFound"].iter().any(|c| has(c)) {
                    return Failure::Absent(registry(format!("{what}: not there")));
                }
                if has("Unauthorized") || has("Denied") {
                    return Failure::Lasting(login());
                }
                let said: Vec<&str> = envelope.errors.iter().map(|e| &e.message[..]).collect();
                let text = format!("{what}: {} {}", codes.join(", "), short(&said.join("; ")));
                if has("Toomanyrequests") {
                    Failure::Passing(registry(text))
                } else {
                    Failure::Lasting(registry(text))
                }
            }
            OciDistributionError::RequestError(e) => {
                let text = format!("{what}: {}", chain(e));
                match e.status().map(|s| s.as_u16()) {
                    Some(code) => status(code, String::new()),
                    None if e.is_connect() => Failure::Unreachable(registry(text)),
                    None => Failure::Passing(registry(text)),
                }
            }
            OciDistributionError::IoError(e) => Failure::Passing(registry(format!("{what}: {}", chain(e)))),
            other => Failure::Lasting(registry(format!("{what}: {}", chain(other)))),
        }
    }
}

/// Again, a while later each time, while it may succeed.
pub async fn patiently<T, F: Future<Output = std::result::Result<T, Failure>>>(
    mut work: impl FnMut() -> F,
) -> std::result::Result<T, Failure> {
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

/// A quarter of a second, doubled with each try.
pub async fn pause(tries: u32) {
    tokio::time::sleep(Duration::from_millis(250 << tries.min(6))).await;
}

/// Runs work that speaks to registries; every thread of it has ended afterwards.
pub fn run<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::Host(format!("no event loop: {e}")))?;
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
}
