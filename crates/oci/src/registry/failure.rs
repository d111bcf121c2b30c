//! Failures of requests to a registry, and whether a repetition may help.

use crate::error::Error;

/// Why a request failed.
#[derive(Debug)]
pub enum Failure {
    /// It cannot be reached at this address; another one may work.
    Unreachable(Error),
    /// The next attempt may succeed.
    Passing(Error),
    /// It does not have the requested content.
    Absent(Error),
    /// The failure is permanent.
    Lasting(Error),
}

/// The result of an attempt.
pub type Attempt<T> = std::result::Result<T, Failure>;

impl From<Error> for Failure {
    fn from(e: Error) -> Failure {
        Failure::Lasting(e)
    }
}

impl Failure {
    /// The error without its kind.
    pub fn error(self) -> Error {
        match self {
            Failure::Unreachable(e) | Failure::Passing(e) | Failure::Absent(e) | Failure::Lasting(e) => e,
        }
    }
}

/// The reason of an I/O error without its number.
fn reason(e: &std::io::Error) -> String {
    let text = e.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

fn no_https(host: &str) -> String {
    format!("{host} does not support HTTPS: --insecure allows plain HTTP")
}

/// Describes why a server could not be reached, in one sentence; `host` is the server.
pub fn sentence(error: &reqwest::Error, host: &str) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut last = String::new();
    while let Some(e) = cause {
        if let Some(tls) = e.downcast_ref::<rustls::Error>() {
            return match tls {
                rustls::Error::InvalidCertificate(_) => {
                    format!("the certificate of {host} is not trusted ({tls}): --insecure accepts it")
                }
                rustls::Error::InvalidMessage(_) => no_https(host),
                other => format!("HTTPS with {host} failed: {other}"),
            };
        }
        if let Some(io) = e.downcast_ref::<std::io::Error>() {
            // Errors of TLS and of the name service are wrapped in an I/O error.
            if let Some(inner) = io.get_ref() {
                let wraps = inner.is::<rustls::Error>() || inner.is::<std::io::Error>();
                if wraps || inner.source().is_some() {
                    cause = Some(inner);
                    continue;
                }
                let said = inner.to_string();
                if said == "tls handshake eof" {
                    return no_https(host);
                }
                return match said.split_once("failed to lookup address information: ") {
                    Some((_, why)) => {
                        format!("the name service does not know {host}: {}", why.to_lowercase())
                    }
                    None => format!("cannot connect to {host}: {said}"),
                };
            }
            return match error.is_connect() {
                true => format!("cannot connect to {host}: {}", reason(io)),
                false => format!("the connection to {host} broke: {}", reason(io)),
            };
        }
        last = e.to_string();
        cause = e.source();
    }
    match error.is_connect() {
        true if error.is_timeout() => format!("cannot connect to {host}: it does not answer"),
        true => format!("cannot connect to {host}: {last}"),
        false => format!("{host} does not answer like an HTTP server: {last}"),
    }
}
