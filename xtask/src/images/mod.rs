//! `cargo xtask test images`: Debian's `docker-registry` on a loopback port, images by `umoci`, and `skopeo` as the
//! witness of what we fetch, send and write.

mod checks;
mod proxy;
mod rootless;
mod tree;

pub use rootless::unpack;
pub use tree::is_root;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// `ann` with the password `secret`, by bcrypt.
const HTPASSWD: &str = "ann:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
/// Bytes of the layer whose transfer is interrupted.
const LARGE: usize = 24 << 20;

/// Errors as text.
pub fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// A registry of the test's own.
pub struct Registry {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub host: String,
}

impl Registry {
    /// Starts one whose files are below `dir`, with a login or without.
    pub fn start(dir: &Path, login: bool) -> Result<Registry, String> {
        std::fs::create_dir_all(dir).map_err(text)?;
        // Freed again: nobody else takes a port of this range within moments.
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

    /// A request by hand, for what no tool does: gives the answer's head.
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
    pub fn join_platforms(&self, repository: &str, tags: [&str; 2], name: &str) -> Result<(), String> {
        let entry = |tag: &str, arch: &str| {
            let url = format!("docker://{}/{repository}:{tag}", self.host);
            let raw = tool(&mut words(&format!("skopeo inspect --tls-verify=false --raw {url}")))?;
            let digest = trine_oci::digest::of(raw.as_bytes()).to_string();
            Ok::<_, String>(serde_json::json!({"mediaType": trine_oci::document::MANIFEST, "size": raw.len(),
                "digest": digest, "platform": {"os": "linux", "architecture": arch}}))
        };
        let host = trine_oci::Platform::host().architecture;
        let list = vec![entry(tags[0], &host)?, entry(tags[1], "riscv64")?];
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": trine_oci::document::INDEX, "manifests": list});
        let path = format!("/v2/{repository}/manifests/{name}");
        self.put(&path, trine_oci::document::INDEX, index.to_string().as_bytes()).map(drop)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Where a run of the test has its files.
pub struct Place {
    /// Removed at the end.
    pub dir: PathBuf,
    trine: PathBuf,
    /// Without logins.
    pub open: Registry,
    /// With one.
    pub closed: Registry,
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

/// What a command said.
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Said {
    fn from(o: Output) -> Said {
        let [out, err] = [o.stdout, o.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
        Said { code: o.status.code().unwrap_or(-1), out, err }
    }
}

/// A tool's output, where it succeeds.
pub fn tool(command: &mut Command) -> Result<String, String> {
    let said = Said::from(command.output().map_err(|e| format!("{command:?}: {e}"))?);
    match said.code {
        0 => Ok(said.out),
        code => Err(format!("{command:?}: code {code}: {}{}", said.out, said.err)),
    }
}

/// `words` separated by blanks as a command.
pub fn words(line: &str) -> Command {
    let mut words = line.split_ascii_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).stdin(Stdio::null());
    command
}

/// Fails with a sentence.
pub fn check(right: bool, what: &str, said: &Said) -> Result<(), String> {
    match right {
        true => Ok(()),
        false => Err(format!("{what}: code {}, output {:?}, errors {:?}", said.code, said.out, said.err)),
    }
}

impl Place {
    fn new() -> Result<Place, String> {
        let trine = crate::tools::trine()?;
        let dir = std::env::temp_dir().join(format!("trine-images-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("home")).map_err(text)?;
        let open = Registry::start(&dir.join("open"), false)?;
        let closed = Registry::start(&dir.join("closed"), true)?;
        let place = Place { dir, trine, open, closed };
        place.make_images()?;
        Ok(place)
    }

    /// `trine`, with a store of this name.
    pub fn trine(&self, store: &str, line: &str) -> Command {
        let mut command = Command::new(&self.trine);
        command.args(line.split_ascii_whitespace()).stdin(Stdio::null());
        command.env("HOME", self.dir.join("home")).env("XDG_DATA_HOME", self.dir.join(store));
        command.env("XDG_CONFIG_HOME", self.dir.join("config"));
        for name in ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"] {
            command.env_remove(name);
        }
        command
    }

    fn trine_path(&self) -> &Path {
        &self.trine
    }

    /// What `trine` says.
    pub fn say(&self, store: &str, line: &str) -> Result<Said, String> {
        self.trine(store, line).output().map(Said::from).map_err(text)
    }

    /// As [`Place::say`], where it is to succeed.
    pub fn well(&self, store: &str, line: &str) -> Result<String, String> {
        let said = self.say(store, line)?;
        check(said.code == 0, &format!("trine {line}"), &said)?;
        Ok(said.out)
    }

    /// What skopeo says of an image: its digest.
    pub fn digest(&self, image: &str) -> Result<String, String> {
        let tls = if image.starts_with("docker://") { "--tls-verify=false" } else { "" };
        let raw = tool(&mut words(&format!("skopeo inspect {tls} --raw {image}")))?;
        Ok(trine_oci::digest::of(raw.as_bytes()).to_string())
    }

    /// An image of three layers (a base, a large file, a deletion) for the host and for riscv64, in both registries.
    fn make_images(&self) -> Result<(), String> {
        let busybox = crate::tools::busybox()?;
        let layout = self.dir.join("layout").display().to_string();
        let bundle = self.dir.join("bundle");
        let umoci = |line: &str| tool(&mut words(&format!("umoci {line}"))).map(drop);
        umoci(&format!("init --layout {layout}"))?;
        umoci(&format!("new --image {layout}:1"))?;
        let root = bundle.join("rootfs");
        let layer = |change: &dyn Fn() -> std::io::Result<()>| {
            let flags = if tree::is_root() { "" } else { "--rootless" };
            umoci(&format!("unpack {flags} --image {layout}:1 {}", bundle.display()))?;
            change().map_err(|e| format!("a layer's files: {e}"))?;
            umoci(&format!("repack --image {layout}:1 {}", bundle.display()))?;
            std::fs::remove_dir_all(&bundle).map_err(text)
        };
        layer(&|| tree::base(&root, &busybox))?;
        layer(&|| tree::large(&root, LARGE))?;
        layer(&|| tree::deletions(&root))?;
        umoci(&format!("config --image {layout}:1 --config.cmd /bin/sh --config.env TEST=yes"))?;
        umoci(&format!("config --image {layout}:1 --tag rv --architecture riscv64"))?;
        let copy = |from: &str, to: &str, more: &str| {
            let line =
                format!("skopeo copy -q --dest-tls-verify=false {more} oci:{layout}:{from} docker://{to}");
            tool(&mut words(&line)).map(drop)
        };
        let (open, closed) = (&self.open.host, &self.closed.host);
        copy("1", &format!("{open}/team/app:1"), "")?;
        copy("rv", &format!("{open}/team/app:rv"), "")?;
        copy("1", &format!("{closed}/team/app:1"), "--dest-creds ann:secret")?;
        // What is compressed already is not compressed anew: by way of what is not.
        let plain = self.dir.join("plain").display().to_string();
        tool(&mut words(&format!("skopeo copy -q --dest-decompress oci:{layout}:1 dir:{plain}")))?;
        let zstd = format!("oci:{}:1", self.dir.join("zstd").display());
        let how = "--dest-compress --dest-compress-format zstd";
        tool(&mut words(&format!("skopeo copy -q {how} dir:{plain} {zstd}")))?;
        let raw = tool(&mut words(&format!("skopeo inspect --raw {zstd}")))?;
        if !raw.contains("+zstd") {
            return Err(format!("skopeo made no layers compressed by zstd: {raw}"));
        }
        self.open.join_platforms("team/app", ["1", "rv"], "multi")
    }
}

/// All of it.
pub fn run() -> Result<(), String> {
    if !crate::tools::has(&["docker-registry", "skopeo", "umoci"]) {
        return Ok(());
    }
    let place = Place::new()?;
    for (name, part) in checks::ALL {
        let start = Instant::now();
        part(&place).map_err(|e| format!("{name}: {e}"))?;
        println!("  {name}: {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}
