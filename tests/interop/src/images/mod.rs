//! `cargo xtask test images`: Debian's `docker-registry` on a loopback port, images by `umoci`, and `skopeo`
//! to check what Trine fetches, sends and writes.

mod checks;
mod proxy;
mod rootless;
mod tree;

pub use rootless::unpacking;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use trine_test_support::command::{Said, check, tool, words};
use trine_test_support::registry::Registry;
use trine_test_support::{is_root, text, tools};

/// Bytes of the layer whose transfer is interrupted.
const LARGE: usize = 24 << 20;

/// Where a run of the test has its files.
pub struct Place {
    /// Removed at the end.
    pub dir: PathBuf,
    trine: PathBuf,
    /// The registry without logins.
    pub open: Registry,
    /// The registry with a login.
    pub closed: Registry,
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

impl Place {
    fn new() -> Result<Place, String> {
        let trine = tools::trine()?;
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

    /// The output of `trine`.
    pub fn say(&self, store: &str, line: &str) -> Result<Said, String> {
        self.trine(store, line).output().map(Said::from).map_err(text)
    }

    /// As [`Place::say`], for a command that must succeed.
    pub fn well(&self, store: &str, line: &str) -> Result<String, String> {
        let said = self.say(store, line)?;
        check(said.code == 0, &format!("trine {line}"), &said)?;
        Ok(said.out)
    }

    /// The digest of an image according to skopeo.
    pub fn digest(&self, image: &str) -> Result<String, String> {
        let tls = if image.starts_with("docker://") { "--tls-verify=false" } else { "" };
        let raw = tool(&mut words(&format!("skopeo inspect {tls} --raw {image}")))?;
        Ok(trine_oci::digest::of(raw.as_bytes()).to_string())
    }

    /// An image of three layers (a base, a large file, a deletion) for the host and for riscv64, in both registries.
    fn make_images(&self) -> Result<(), String> {
        let busybox = tools::busybox()?;
        let layout = self.dir.join("layout").display().to_string();
        let bundle = self.dir.join("bundle");
        let umoci = |line: &str| tool(&mut words(&format!("umoci {line}"))).map(drop);
        umoci(&format!("init --layout {layout}"))?;
        umoci(&format!("new --image {layout}:1"))?;
        let root = bundle.join("rootfs");
        let layer = |change: &dyn Fn() -> std::io::Result<()>| {
            let flags = if is_root() { "" } else { "--rootless" };
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
        // Compressed layers are not compressed again: so the image is copied uncompressed first.
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
    if !tools::has(&["docker-registry", "skopeo", "umoci"]) {
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
