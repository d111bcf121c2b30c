//! HTTP requests to untrusted servers: their answers are limited in size and in time, and data is sent
//! unencrypted only where that was allowed.

use super::failure::{Attempt, Failure, sentence};
use crate::error::{Error, Result};
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Body, Client, Method, Response, StatusCode, Url};
use std::cell::OnceCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use trine_base::text::line;

/// The user agent.
const AGENT: &str = concat!("trine/", env!("CARGO_PKG_VERSION"));
/// The most redirects of one request.
const REDIRECTS_MOST: u32 = 10;
/// The longest text of a server in a message.
const SHOWN_MOST: usize = 300;

/// Time limits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Time to connect, and then time until the head of the answer.
    pub answer: Duration,
    /// Time until a small answer is complete.
    pub small: Duration,
    /// Time in which a transfer must move [`Patience::least`] bytes.
    pub window: Duration,
    /// Bytes that must be received, or sent, in each window.
    pub least: u64,
    /// Time until the answer to a complete upload: registries check it first.
    pub stored: Duration,
}

impl Default for Patience {
    /// At less than 1 KiB per second, an image would take a week.
    fn default() -> Patience {
        let seconds = Duration::from_secs;
        Patience {
            answer: seconds(30),
            small: seconds(60),
            window: seconds(30),
            least: 30 << 10,
            stored: seconds(300),
        }
    }
}

/// The body of a request, which can be created again for a redirect.
pub struct Upload<'a> {
    /// Creates the body; the counter is advanced as it is sent.
    pub make: &'a dyn Fn(Arc<AtomicU64>) -> Result<Body>,
    /// Its length in bytes.
    pub length: u64,
}

/// A request.
pub struct Call<'a> {
    /// The purpose of the request, for messages.
    pub what: &'a str,
    /// The HTTP method.
    pub method: Method,
    /// The URL.
    pub url: Url,
    /// Headers, without the authorization.
    pub headers: HeaderMap,
    /// The body.
    pub upload: Option<Upload<'a>>,
}

impl<'a> Call<'a> {
    /// Creates a request without a body.
    pub fn new(what: &'a str, method: Method, url: Url) -> Call<'a> {
        Call { what, method, url, headers: HeaderMap::new(), upload: None }
    }
}

/// An HTTP client for one registry.
pub struct Http {
    /// Whether to accept certificates that cannot be verified, and plain HTTP to any server.
    insecure: bool,
    certificates: Vec<reqwest::Certificate>,
    patience: Patience,
    /// The name of the place, for messages.
    place: String,
    /// For remote servers, through the host's proxies.
    outside: OnceCell<Client>,
    /// For servers on this host, which no proxy can reach.
    inside: OnceCell<Client>,
    /// Names of the tests' servers.
    #[cfg(test)]
    pub names: Vec<(&'static str, SocketAddr)>,
}

/// Whether a server is on this host, so that nobody can listen on the way; the same servers as for Docker.
pub fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or(host == "localhost", |a| a.to_canonical().is_loopback())
}

/// Whether scheme, host and port are equal: a login is sent only to the server it is for.
fn same_server(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// `HOST[:PORT]` for messages.
pub fn host(url: &Url) -> String {
    let host = line(url.host_str().unwrap_or("a server without a name"), SHOWN_MOST);
    url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
}

impl Http {
    /// Creates a client; `place` is for messages.
    pub fn new(
        insecure: bool,
        certificates: Vec<reqwest::Certificate>,
        patience: Patience,
        place: &str,
    ) -> Http {
        Http {
            insecure,
            certificates,
            patience,
            place: place.to_string(),
            outside: OnceCell::new(),
            inside: OnceCell::new(),
            #[cfg(test)]
            names: Vec::new(),
        }
    }

    /// Creates an error with the place.
    pub fn error(&self, what: impl Into<String>) -> Error {
        Error::Registry { place: self.place.clone(), what: what.into() }
    }

    fn client(&self, url: &Url) -> Attempt<&Client> {
        let own = is_loopback(url);
        let cell = if own { &self.inside } else { &self.outside };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        // `localhost` is this host (RFC 6761), whatever a name service says.
        let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let addresses = addresses.map(|a| SocketAddr::new(a, 0));
        let builder = Client::builder()
            .danger_accept_invalid_certs(self.insecure || own)
            .tls_certs_merge(self.certificates.iter().cloned())
            // Redirects are followed here, where it is known which server may receive the login.
            .redirect(Policy::none())
            .connect_timeout(self.patience.answer)
            .resolve_to_addrs("localhost", &addresses)
            .user_agent(AGENT);
        let builder = if own { builder.no_proxy() } else { builder };
        #[cfg(test)]
        let builder = self.names.iter().fold(builder, |b, (name, address)| b.resolve(name, *address));
        let client = builder.build().map_err(|e| self.error(sentence(&e, &host(url))))?;
        Ok(cell.get_or_init(|| client))
    }

    /// Checks that a server may be contacted; `before` is the server that named it, if one did.
    fn permit(&self, before: Option<&Url>, url: &Url) -> Attempt<()> {
        let clear = |u: &Url| u.scheme() == "http";
        let fine = match url.scheme() {
            "https" => true,
            "http" => self.insecure || is_loopback(url) && before.is_none_or(|b| clear(b) && is_loopback(b)),
            _ => false,
        };
        match (fine, before) {
            (true, _) => Ok(()),
            (false, None) => Err(Failure::Unreachable(
                self.error(format!("{} would be contacted by plain HTTP: --insecure allows it", host(url))),
            )),
            (false, Some(before)) if clear(url) => Err(Failure::Lasting(self.error(format!(
                "{} redirects to {} by plain HTTP, where anyone on the way could read and change what is sent: \
                 --insecure allows it",
                host(before),
                host(url)
            )))),
            (false, Some(before)) => Err(Failure::Lasting(self.error(format!(
                "{} redirects to {}, which is not an HTTP address",
                host(before),
                line(url.as_str(), SHOWN_MOST)
            )))),
        }
    }

    /// Sends a request and waits for the head of the answer. The `authorization` is sent only to the server
    /// of the request's URL, not to servers that it redirects to; `before` is the server that named the URL,
    /// if one did.
    pub async fn send(
        &self,
        call: &Call<'_>,
        before: Option<&Url>,
        authorization: Option<&HeaderValue>,
    ) -> Attempt<Answer<'_>> {
        let (mut method, mut url) = (call.method.clone(), call.url.clone());
        self.permit(before, &url)?;
        for _ in 0..=REDIRECTS_MOST {
            let mut request =
                self.client(&url)?.request(method.clone(), url.clone()).headers(call.headers.clone());
            if let Some(authorization) = authorization.filter(|_| same_server(&url, &call.url)) {
                request = request.header(AUTHORIZATION, authorization);
            }
            let taken = Arc::new(AtomicU64::new(0));
            if let Some(upload) = &call.upload {
                request = request.header(reqwest::header::CONTENT_LENGTH, upload.length);
                request = request.body((upload.make)(taken.clone())?);
            }
            let length = call.upload.as_ref().map(|u| u.length);
            let response = self.watched(request.send(), &url, call.what, length, &taken).await?;
            let on = match response.status() {
                // Changing the method is an old habit of browsers only.
                StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => {
                    method == Method::GET || method == Method::HEAD
                }
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
                _ => false,
            };
            if !on {
                return Ok(Answer { http: self, response, what: call.what.to_string() });
            }
            let next = self.location(&response, &url)?;
            self.permit(Some(&url), &next)?;
            if response.status() == StatusCode::SEE_OTHER && method != Method::HEAD {
                method = Method::GET;
            }
            url = next;
        }
        let what = format!("{}: {} redirects more than {REDIRECTS_MOST} times", call.what, host(&url));
        Err(Failure::Lasting(self.error(what)))
    }

    /// The URL in the `Location` header of an answer of `url`.
    pub fn location(&self, response: &Response, url: &Url) -> Attempt<Url> {
        let to = response.headers().get(LOCATION).and_then(|l| l.to_str().ok());
        to.and_then(|l| url.join(l).ok())
            .ok_or_else(|| Failure::Lasting(self.error(format!("{} redirects to no address", host(url)))))
    }

    /// Waits for the head of an answer while the body is sent.
    async fn watched(
        &self,
        work: impl Future<Output = reqwest::Result<Response>>,
        url: &Url,
        what: &str,
        length: Option<u64>,
        taken: &AtomicU64,
    ) -> Attempt<Response> {
        let late = || Failure::Passing(self.error(format!("{what}: {} does not answer", host(url))));
        let mut work = std::pin::pin!(work);
        let (mut before, mut sent) = (0, None::<Instant>);
        loop {
            let wait = if length.is_some() { self.patience.window } else { self.patience.answer };
            if let Ok(done) = tokio::time::timeout(wait, work.as_mut()).await {
                return done.map_err(|e| match e.is_connect() {
                    true => Failure::Unreachable(self.error(sentence(&e, &host(url)))),
                    false => Failure::Passing(self.error(format!("{what}: {}", sentence(&e, &host(url))))),
                });
            }
            let now = taken.load(Ordering::Relaxed);
            match length {
                None => return Err(late()),
                Some(length) if now >= length => {
                    if sent.get_or_insert_with(Instant::now).elapsed() > self.patience.stored {
                        return Err(late());
                    }
                }
                Some(_) if now - before < self.patience.least => {
                    let slow = format!("{what}: {} receives too slowly: given up", host(url));
                    return Err(Failure::Passing(self.error(slow)));
                }
                Some(_) => before = now,
            }
        }
    }
}

/// An answer whose head has been received.
pub struct Answer<'a> {
    http: &'a Http,
    response: Response,
    what: String,
}

impl<'a> Answer<'a> {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The URL in its `Location` header.
    pub fn location(&self) -> Attempt<Url> {
        self.http.location(&self.response, self.response.url())
    }

    fn broken(&self, e: &reqwest::Error) -> Failure {
        let why = sentence(e, &host(self.response.url()));
        Failure::Passing(self.http.error(format!("{}: {why}", self.what)))
    }

    /// Its body, of at most `most` bytes.
    pub async fn small(&mut self, most: u64) -> Attempt<Vec<u8>> {
        let (end, mut bytes) = (tokio::time::Instant::now() + self.http.patience.small, Vec::new());
        loop {
            let piece = match tokio::time::timeout_at(end, self.response.chunk()).await {
                Ok(Ok(piece)) => piece,
                Ok(Err(e)) => return Err(self.broken(&e)),
                Err(_) => return Err(self.slow()),
            };
            let Some(piece) = piece else { return Ok(bytes) };
            if (bytes.len() + piece.len()) as u64 > most {
                let what = format!("{}: the answer has more than {most} bytes", self.what);
                return Err(Failure::Lasting(self.http.error(what)));
            }
            bytes.extend_from_slice(&piece);
        }
    }

    /// The first bytes of its body, at most `most`, and nothing of the rest: for error texts.
    pub async fn beginning(&mut self, most: usize) -> Vec<u8> {
        let (end, mut bytes) = (tokio::time::Instant::now() + self.http.patience.small, Vec::new());
        while bytes.len() < most
            && let Ok(Ok(Some(piece))) = tokio::time::timeout_at(end, self.response.chunk()).await
        {
            bytes.extend_from_slice(&piece[..piece.len().min(most - bytes.len())]);
        }
        bytes
    }

    fn slow(&self) -> Failure {
        let from = host(self.response.url());
        Failure::Passing(self.http.error(format!("{}: {from} sends too slowly: given up", self.what)))
    }

    /// Its body as a stream.
    pub fn pieces(self) -> Pieces<'a> {
        Pieces { answer: self, waited: Duration::ZERO, came: 0 }
    }
}

/// The body of an answer as a stream, which must not be too slow.
pub struct Pieces<'a> {
    answer: Answer<'a>,
    /// Time of this window that was spent waiting for the server; time for our own work does not count.
    waited: Duration,
    /// Bytes received in this window.
    came: u64,
}

impl Pieces<'_> {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Attempt<Option<Bytes>> {
        let patience = self.answer.http.patience;
        let start = Instant::now();
        let left = patience.window.saturating_sub(self.waited);
        let Ok(piece) = tokio::time::timeout(left, self.answer.response.chunk()).await else {
            return Err(self.answer.slow());
        };
        let piece = piece.map_err(|e| self.answer.broken(&e))?;
        self.waited += start.elapsed();
        self.came += piece.as_ref().map_or(0, Bytes::len) as u64;
        if self.came >= patience.least {
            (self.waited, self.came) = (Duration::ZERO, 0);
        }
        Ok(piece)
    }
}
