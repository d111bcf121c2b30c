//! Tests with misbehaving registries: servers on loopback that lie, send without end, or redirect to wrong
//! places.

use super::auth::Login;
use super::client::{Endpoint, Right, endpoints, run};
use super::failure::{Attempt, Failure};
use super::http::{Call, Http, Patience, Upload};
use super::{RegistryOptions, token};
use crate::bounded::within;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::platform::Platform;
use crate::progress::Silent;
use crate::store::tests::Scratch;
use crate::{digest, document};
use reqwest::{Body, Method, Url};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A name that is not a loopback name, though a server of the tests has it.
const OUT_THERE: &str = "registry.test";

/// A request that a client made.
#[derive(Clone, Debug)]
struct Asked {
    /// `GET /path?query`.
    line: String,
    head: Vec<String>,
    body: Vec<u8>,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &String| line.split_once(": ").is_some_and(|(n, _)| n.eq_ignore_ascii_case(name));
        self.head.iter().find(|line| of(line)).and_then(|line| Some(line.split_once(": ")?.1))
    }
}

/// How a server answers.
enum Reply {
    /// Status line and headers, content.
    Whole(String, Vec<u8>),
    /// A head, and then the same bytes for ever.
    Endless(String, Vec<u8>),
    /// One byte at a time, slowly, from the start of the head on.
    Drip(Vec<u8>, Duration),
    /// Reads no more, and sends nothing.
    Silence,
}

fn ok(body: impl Into<Vec<u8>>) -> Reply {
    Reply::Whole("200 OK".into(), body.into())
}

fn status(line: &str) -> Reply {
    Reply::Whole(line.into(), Vec::new())
}

/// A server, which ends with the test.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    sent: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Server {
    fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server { address, asked: Arc::default(), sent: Arc::default(), ended: Arc::default() };
        let (asked, sent, ended) = (server.asked.clone(), server.sent.clone(), server.ended.clone());
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (asked, sent, ended) = (asked.clone(), sent.clone(), ended.clone());
                let answer = answer.clone();
                std::thread::spawn(move || {
                    drop(stream.and_then(|s| serve(s, &*answer, &asked, &sent, &ended)))
                });
            }
        });
        server
    }

    fn base(&self) -> Url {
        format!("http://{}", self.address).parse().unwrap()
    }

    fn out_there(&self) -> Url {
        format!("http://{OUT_THERE}:{}", self.address.port()).parse().unwrap()
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

fn serve(
    stream: TcpStream,
    answer: &(impl Fn(&Asked) -> Reply + ?Sized),
    asked: &Mutex<Vec<Asked>>,
    sent: &AtomicU64,
    ended: &AtomicBool,
) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    let lines: Vec<String> =
        input.by_ref().lines().map_while(std::io::Result::ok).take_while(|l| !l.is_empty()).collect();
    let Some((line, head)) = lines.split_first() else { return Ok(()) };
    let line = line.trim_end_matches(" HTTP/1.1").to_string();
    let mut one = Asked { line, head: head.to_vec(), body: Vec::new() };
    let quiet = one.line.contains("deaf");
    let length: u64 = one.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    if !quiet {
        input.take(length).read_to_end(&mut one.body)?;
    }
    asked.lock().unwrap().push(one.clone());
    let mut put = |bytes: &[u8]| {
        sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        out.write_all(bytes)
    };
    let head = |line: &str| format!("HTTP/1.1 {line}\r\nConnection: close\r\n");
    match answer(&one) {
        Reply::Whole(line, body) => {
            put(format!("{}Content-Length: {}\r\n\r\n", head(&line), body.len()).as_bytes())?;
            if one.line.starts_with("HEAD") { Ok(()) } else { put(&body) }
        }
        Reply::Endless(line, bytes) => {
            put(format!("{}\r\n", head(&line)).as_bytes())?;
            while !ended.load(Ordering::Relaxed) {
                put(&bytes)?;
            }
            Ok(())
        }
        Reply::Drip(bytes, pause) => {
            for byte in bytes {
                put(&[byte])?;
                std::thread::sleep(pause);
            }
            Ok(())
        }
        Reply::Silence => {
            while !ended.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        }
    }
}

/// Short time limits, so that the tests end soon.
fn hasty() -> Patience {
    let ms = Duration::from_millis;
    Patience { answer: ms(400), small: ms(400), window: ms(300), least: 4096, stored: ms(400) }
}

fn endpoint(server: &Server, base: Url, insecure: bool, login: Login) -> Endpoint {
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut http = Http::new(insecure, Vec::new(), hasty(), "here");
    http.names = vec![(OUT_THERE, server.address)];
    let reference = "127.0.0.1:1/team/app:1".parse::<Name>().unwrap().reference().clone();
    Endpoint { http, base, reference, login, tokens: token::Tokens::default(), place: "here".into() }
}

fn ann() -> Login {
    Login::Basic("ann".into(), "secret".into())
}

fn failed<T>(attempt: Attempt<T>) -> String {
    match attempt {
        Ok(_) => panic!("it went well"),
        Err(e) => e.error().to_string(),
    }
}

fn doing<T>(work: impl Future<Output = Attempt<T>>) -> Attempt<T> {
    let mut done = None;
    run(async {
        done = Some(work.await);
        Ok(())
    })
    .unwrap();
    done.unwrap()
}

/// Fetches a manifest.
fn manifest(endpoint: &Endpoint) -> Attempt<Vec<u8>> {
    doing(endpoint.manifest(&endpoint.reference))
}

#[test]
fn answers_without_end_take_bounded_memory() {
    within("registry::tests::answers_without_end_take_bounded_memory", 512 << 20, || {
        let much = vec![b'x'; 1 << 16];
        for (line, why, most) in [
            ("200 OK", "more than 4194304 bytes", 32 << 20),
            ("500 Oops", "HTTP status 500: xxx", 16 << 20),
            ("404 Not Found", "not found", 16 << 20),
            ("403 Forbidden", "not allowed", 16 << 20),
        ] {
            let bytes = much.clone();
            let server = Server::start(move |asked| match asked.line.ends_with("/v2/") {
                true => ok(""),
                false => Reply::Endless(line.into(), bytes.clone()),
            });
            let said = failed(manifest(&endpoint(&server, server.base(), false, Login::Anonymous)));
            assert!(said.contains(why) && said.len() < 600, "{said}");
            assert!(server.sent() < most, "{line}: {} bytes were taken", server.sent());
        }
        // A token, and the first answer of the registry.
        let server = Server::start(move |asked| match asked.line.ends_with("/v2/") {
            true => {
                let host = asked.header("host").unwrap();
                let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\"");
                Reply::Endless(format!("401 Unauthorized\r\n{challenge}"), much.clone())
            }
            false => Reply::Endless("200 OK".into(), much.clone()),
        });
        let said = failed(manifest(&endpoint(&server, server.base(), false, Login::Anonymous)));
        assert!(said.contains("the token of") && said.contains("more than 1048576 bytes"), "{said}");
        assert!(server.sent() < 32 << 20, "{} bytes were taken", server.sent());
    });
}

#[test]
fn heads_without_end_take_bounded_memory() {
    within("registry::tests::heads_without_end_take_bounded_memory", 512 << 20, || {
        let line = vec![b'x'; 1 << 16];
        let one = Server::start(move |_| Reply::Endless("200 OK\r\nX: y".into(), line.clone()));
        // Endless headers, without the end of the head.
        let many = Server::start(|_| Reply::Endless("200 OK\r\nA: b\r".into(), b"\nX: y\r".to_vec()));
        for server in [one, many] {
            drop(manifest(&endpoint(&server, server.base(), false, Login::Anonymous)));
            assert!(server.sent() < 32 << 20, "{} bytes were taken", server.sent());
        }
    });
}

#[test]
fn who_drips_is_given_up() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec();
    let body = [&answer[..], &[b'x'; 2000]].concat();
    let quick = Duration::from_millis(1);
    // The head, one header a second; a small body; a large one.
    for (bytes, pause) in [(answer, Duration::from_millis(100)), (body, quick)] {
        let server = Server::start(move |asked| match asked.line.ends_with("/v2/") {
            true => ok(""),
            false => Reply::Drip(bytes.clone(), pause),
        });
        let endpoint = endpoint(&server, server.base(), false, Login::Anonymous);
        let start = Instant::now();
        let said = failed(manifest(&endpoint));
        assert!(said.contains("too slowly") || said.contains("does not answer"), "{said}");
        let url = endpoint.url("blobs/x").unwrap();
        let said = failed(doing(async {
            let answer = endpoint.send(Right::Pull, &Call::new("x", Method::GET, url)).await?;
            let mut pieces = answer.pieces();
            while pieces.next().await?.is_some() {}
            Ok(())
        }));
        assert!(said.contains("too slowly") || said.contains("does not answer"), "{said}");
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
    let silent = Server::start(|_| Reply::Silence);
    let said = failed(manifest(&endpoint(&silent, silent.base(), false, Login::Anonymous)));
    assert!(said.contains("does not answer"), "{said}");
}

#[test]
fn who_does_not_take_what_is_sent_is_given_up() {
    let server = Server::start(|asked| match asked.line.ends_with("/v2/") {
        true => ok(""),
        false => Reply::Silence,
    });
    let endpoint = endpoint(&server, server.base(), false, Login::Anonymous);
    for (path, length) in [("deaf", 64 << 20), ("takes", 10)] {
        let make = |taken: Arc<AtomicU64>| {
            let pieces = futures_util::stream::unfold(length, move |left: u64| {
                let (taken, n) = (taken.clone(), left.min(1 << 16));
                async move {
                    taken.fetch_add(n, Ordering::Relaxed);
                    (n > 0).then(|| (Ok::<_, std::io::Error>(vec![0; n as usize]), left - n))
                }
            });
            Ok(Body::wrap_stream(pieces))
        };
        let mut call = Call::new("part", Method::PUT, endpoint.url(path).unwrap());
        call.upload = Some(Upload { make: &make, length });
        let said = failed(doing(async { endpoint.send(Right::Push, &call).await.map(drop) }));
        let right = if path == "deaf" { "receives too slowly" } else { "does not answer" };
        assert!(said.contains(right), "{said}");
    }
}

/// A server that asks for a token of `realm`, or for a password without one.
fn asking(realm: Option<String>) -> Server {
    Server::start(move |asked| {
        let challenge = match &realm {
            Some(realm) => format!("Bearer realm=\"{realm}\",service=\"s\""),
            None => "Basic realm=\"x\"".to_string(),
        };
        match (asked.line.ends_with("/v2/"), asked.header("authorization")) {
            (false, Some("Bearer good" | "Basic YW5uOnNlY3JldA==")) => ok("{}"),
            _ => Reply::Whole(format!("401 Unauthorized\r\nWWW-Authenticate: {challenge}"), Vec::new()),
        }
    })
}

#[test]
fn passwords_do_not_go_out_in_clear() {
    let tokens = Server::start(|_| ok(r#"{"token":"good"}"#));
    let realm = format!("{}token?x=y", tokens.out_there());
    let registry = asking(Some(realm));
    // A registry on this host, which may use HTTP, names a server that is not on this host.
    let mut here = endpoint(&tokens, registry.base(), false, ann());
    here.http.names = vec![(OUT_THERE, tokens.address)];
    let said = failed(manifest(&here));
    assert!(said.contains("plain HTTP") && said.contains("--insecure"), "{said}");
    assert_eq!(tokens.asked().len(), 0, "it was asked: {:?}", tokens.asked());
    // If that was allowed, it is contacted.
    let mut allowed = endpoint(&tokens, registry.base(), true, ann());
    allowed.http.names = vec![(OUT_THERE, tokens.address)];
    assert_eq!(manifest(&allowed).unwrap(), b"{}");
    let asked = tokens.asked();
    assert_eq!(asked[0].header("authorization"), Some("Basic YW5uOnNlY3JldA=="));
    assert!(asked[0].line.contains("/token?x=y&scope=repository%3Ateam%2Fapp%3Apull&service=s"), "{asked:?}");
    // On this host, at a closed port.
    let tokens = Server::start(|_| ok(r#"{"access_token":"good","expires_in":300}"#));
    let registry = asking(Some(format!("{}token", tokens.base())));
    assert_eq!(manifest(&endpoint(&tokens, registry.base(), false, ann())).unwrap(), b"{}");
    // A redirect from HTTPS to HTTP is not followed, not even on this host.
    let https: Url = "https://localhost:5000/v2/".parse().unwrap();
    let http = endpoint(&tokens, registry.base(), false, ann()).http;
    let call = Call::new("token", Method::GET, tokens.base());
    let said = failed(doing(async { http.send(&call, Some(&https), None).await.map(drop) }));
    assert!(said.contains("localhost:5000 redirects to") && said.contains("--insecure"), "{said}");
    let ftp = Call::new("token", Method::GET, "ftp://localhost/".parse().unwrap());
    let said = failed(doing(async { http.send(&ftp, Some(&https), None).await.map(drop) }));
    assert!(said.contains("not an HTTP address"), "{said}");
}

#[test]
fn a_login_is_for_the_registry_alone() {
    let other = Server::start(|_| ok("{}"));
    let to = format!("{}elsewhere", other.base());
    let registry = Server::start(move |asked| match (&asked.line[..], asked.header("authorization")) {
        ("GET /v2/", _) => status("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\""),
        ("GET /v2/team/app/manifests/1", Some(_)) => status("307 Temporary Redirect\r\nLocation: /v2/here"),
        ("GET /v2/here", Some(_)) => status(&format!("302 Found\r\nLocation: {to}")),
        _ => status("401 Unauthorized"),
    });
    assert_eq!(manifest(&endpoint(&other, registry.base(), false, ann())).unwrap(), b"{}");
    let asked = other.asked();
    assert_eq!((asked.len(), asked[0].header("authorization")), (1, None), "{asked:?}");
    // A redirect to a server that is not on this host is not followed by plain HTTP.
    let to = format!("{}elsewhere", other.out_there());
    let registry = Server::start(move |_| status(&format!("302 Found\r\nLocation: {to}")));
    let mut here = endpoint(&other, registry.base(), false, Login::Anonymous);
    here.http.names = vec![(OUT_THERE, other.address)];
    let said = failed(manifest(&here));
    assert!(said.contains("plain HTTP"), "{said}");
    assert_eq!(other.asked().len(), 1);
}

#[test]
fn redirects_end() {
    let server = Server::start(|asked| match asked.line.ends_with("/v2/") {
        true => ok(""),
        false => status("302 Found\r\nLocation: /v2/again"),
    });
    let said = failed(manifest(&endpoint(&server, server.base(), false, Login::Anonymous)));
    assert!(said.contains("more than 10 times"), "{said}");
    assert!(server.asked().len() < 20);
}

#[test]
fn what_a_server_says_does_not_act_on_the_terminal() {
    for body in [
        r#"{"errors":[{"code":"X","message":"a\u001b[2Jb\u009b31m\u202ec\nd"}]}"#.as_bytes(),
        "a\x1b[2Jb\u{9b}31m\u{202e}c\nd".as_bytes(),
    ] {
        let server = Server::start(move |asked| match asked.line.ends_with("/v2/") {
            true => ok(""),
            false => Reply::Whole("400 Bad Request".into(), body.to_vec()),
        });
        let said = failed(manifest(&endpoint(&server, server.base(), false, Login::Anonymous)));
        assert_eq!(said, "here: tag 1: HTTP status 400: a?[2Jb?31m?c d");
    }
    let said = Error::damaged("a\x1b]0;x\x07", "b\u{9b}").to_string();
    assert_eq!(said, "a?]0;x?: b?");
}

#[test]
fn errors_of_connections_are_a_sentence() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let name: Name = format!("127.0.0.1:{port}/a").parse().unwrap();
    let said = |name: &Name, insecure| {
        let options = RegistryOptions { insecure, ..RegistryOptions::default() };
        let all = endpoints(name, &options, false).unwrap();
        all.iter().map(|e| failed(doing(e.manifest(&e.reference)))).collect::<Vec<_>>()
    };
    let refused = format!("127.0.0.1:{port}/a: cannot connect to 127.0.0.1:{port}: connection refused");
    assert_eq!(said(&name, false), [refused.clone(), refused]);
    // No name service knows it (RFC 2606).
    let unknown = said(&"registry.invalid/a".parse().unwrap(), false).remove(0);
    let start = "registry.invalid/a: the name service does not know registry.invalid: ";
    assert!(unknown.starts_with(start) && !unknown.contains("error"), "{unknown}");
    // Servers of plain HTTP answer a TLS handshake by hanging up, or with an error.
    for words in ["", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let https: Url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            drop(stream.read(&mut [0; 4096]));
            stream.write_all(words.as_bytes()).unwrap();
        });
        let endpoint = endpoint(&Server::start(|_| Reply::Silence), https, false, Login::Anonymous);
        let said = failed(manifest(&endpoint));
        assert!(said.contains("does not support HTTPS"), "{said}");
        server.join().unwrap();
    }
}

/// A registry that stores what it receives.
fn keeping() -> Server {
    let kept: Mutex<std::collections::HashMap<String, Vec<u8>>> = Mutex::default();
    Server::start(move |asked| {
        let mut kept = kept.lock().unwrap();
        let (method, path) = asked.line.split_once(' ').unwrap();
        let name = |path: &str| path.rsplit(['/', '=']).next().unwrap().replace("%3A", ":");
        match method {
            "POST" if path.contains("mount=") => status("202 Accepted\r\nLocation: /unused"),
            "POST" => status("202 Accepted\r\nLocation: /upload?state=1"),
            "PUT" => {
                kept.insert(name(path), asked.body.clone());
                if path.contains("manifests") {
                    kept.insert(digest::of(&asked.body).to_string(), asked.body.clone());
                }
                status("201 Created")
            }
            _ if path == "/v2/" => ok("{}"),
            _ => match (kept.get(&name(path)), asked.header("range")) {
                (Some(_), Some(_)) => status("416 Range Not Satisfiable"),
                (Some(bytes), None) => ok(bytes.clone()),
                (None, _) => status("404 Not Found"),
            },
        }
    })
}

#[test]
fn images_go_to_a_registry_of_this_host_and_come_back() -> Result<()> {
    let server = keeping();
    let name: Name = format!("{}/team/app:1", server.address).parse()?;
    let (from, to) = (Scratch::new(), Scratch::new());
    let working = from.store.working()?;
    let layer = vec![0; 1024];
    let diff_id = digest::of(&layer);
    from.store.put(&layer, &working)?;
    let host = Platform::host();
    let config = format!(
        r#"{{"architecture":"{}","os":"linux","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#,
        host.architecture
    );
    let id = from.store.put(config.as_bytes(), &working)?;
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{id}","size":{}}},
            "layers":[{{"mediaType":"{}","digest":"{diff_id}","size":1024}}]}}"#,
        document::MANIFEST,
        document::CONFIG,
        config.len(),
        document::LAYER
    );
    let found = from.store.put(manifest.as_bytes(), &working)?;
    let descriptor = crate::Descriptor::new(document::MANIFEST.into(), manifest.len() as u64, found.clone());
    let image = crate::transport::adopt(&from.store, &name, descriptor, None, None, &working)?;
    let options = RegistryOptions::default();
    let pushed = super::push(&from.store, &image, &name, &options, &Silent)?;
    assert_eq!((pushed.digest, pushed.sent, pushed.there), (found.clone(), 2, 0));
    assert_eq!(super::push(&from.store, &image, &name, &options, &Silent)?.there, 2);
    let pulled = super::pull(&to.store, &name, &options, &Silent)?;
    assert_eq!(pulled.digest(), &found);
    assert!(to.store.has(&diff_id));
    let absent =
        super::pull(&to.store, &format!("{}/team/app:2", server.address).parse()?, &options, &Silent);
    assert!(absent.unwrap_err().to_string().contains("tag 2: not found"));
    Ok(())
}

#[test]
fn failures_are_told_apart() {
    for (line, passing) in [("503 Unavailable", true), ("429 Too Many", true), ("400 Bad", false)] {
        let server = Server::start(move |asked| match asked.line.ends_with("/v2/") {
            true => ok(""),
            false => status(line),
        });
        let failure = manifest(&endpoint(&server, server.base(), false, Login::Anonymous)).unwrap_err();
        assert_eq!(matches!(failure, Failure::Passing(_)), passing, "{line}: {failure:?}");
    }
}
