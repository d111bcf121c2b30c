//! A registry of images on a loopback port: Debian's `docker-registry`.

use crate::command::{tool, words};
use crate::{Checked, text};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Media type of the manifest of one image (OCI Image Format 1.1).
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an index of manifests (OCI Image Format 1.1).
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// `ann` with the password `secret`, by bcrypt.
const HTPASSWD: &str = "ann:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// Name of the host's CPU in image configurations (the values of Go's `GOARCH`).
pub fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A registry of the test's own, ended when this is dropped.
pub struct Registry {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub host: String,
}

impl Registry {
    /// Starts one whose files are below `dir`, with a login or without.
    ///
    /// # Errors
    /// The host's, or that it does not listen within 30 seconds.
    pub fn start(dir: &Path, login: bool) -> Result<Registry, String> {
        std::fs::create_dir_all(dir).map_err(text)?;
        // Freed again: nothing else takes a port of this range within moments.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(text)?.port();
        let host = format!("127.0.0.1:{port}");
        let passwords = dir.join("htpasswd");
        std::fs::write(&passwords, HTPASSWD).map_err(text)?;
        let auth = match login {
            true => format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", passwords.display()),
            false => String::new(),
        };
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {host}\n{auth}",
            dir.join("data").display()
        );
        std::fs::write(dir.join("config.yml"), config).map_err(text)?;
        let log = std::fs::File::create(dir.join("log")).map_err(text)?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.join("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(text)?)
            .stderr(log)
            .spawn()
            .map_err(|e| format!("docker-registry: {e}"))?;
        let registry = Registry { child, host };
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&registry.host).is_err() {
            if Instant::now() > end {
                return Err(format!("docker-registry does not listen: see {}", dir.join("log").display()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(registry)
    }

    /// A request by hand, for what no tool sends: returns the answer's head.
    ///
    /// # Errors
    /// The host's, or the answer where it is not "201 Created".
    pub fn put(&self, path: &str, kind: &str, body: &[u8]) -> Result<String, String> {
        let mut stream = TcpStream::connect(&self.host).map_err(text)?;
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.host,
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).map_err(text)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(text)?;
        match answer.starts_with("HTTP/1.1 201") {
            true => Ok(answer),
            false => Err(format!("PUT {path}: {answer}")),
        }
    }

    /// Makes one name for the images of the host's CPU and of riscv64 that have these tags.
    ///
    /// # Errors
    /// Those of `skopeo` and of [`Registry::put`].
    pub fn join_platforms(&self, repository: &str, tags: [&str; 2], name: &str) -> Checked {
        let entry = |tag: &str, arch: &str| {
            let inspect = |how: &str| {
                let url = format!("docker://{}/{repository}:{tag}", self.host);
                tool(&mut words(&format!("skopeo inspect --tls-verify=false {how} {url}")))
            };
            let (size, digest) = (inspect("--raw")?.len(), inspect("--format {{.Digest}}")?);
            Ok::<_, String>(serde_json::json!({"mediaType": MANIFEST, "size": size,
                "digest": digest.trim(), "platform": {"os": "linux", "architecture": arch}}))
        };
        let list = vec![entry(tags[0], host_architecture())?, entry(tags[1], "riscv64")?];
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": list});
        let path = format!("/v2/{repository}/manifests/{name}");
        self.put(&path, INDEX, index.to_string().as_bytes()).map(drop)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
