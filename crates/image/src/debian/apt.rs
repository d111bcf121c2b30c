//! Packages through the host's own apt, as any user, for any suite and architecture.
//!
//! apt runs with a configuration of its own below our cache: its own state, its own cache, and a
//! source list that names the *host's* mirrors with the wanted suite. Nothing of the host changes.

use crate::ImageError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A package in a mirror.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Architecture (`all` for those that fit every one).
    pub architecture: String,
    /// Path in the mirror's pool.
    pub path: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Size of the file in bytes.
    pub size: u64,
}

/// apt with a configuration of its own.
pub struct Apt {
    root: PathBuf,
    suite: String,
    _lock: File,
}

/// What is going on, for a progress display: a text, bytes so far, bytes in all.
pub type Progress<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// Where the host gets Debian from: mirror and keyring.
struct Source {
    mirror: String,
    keyring: Option<String>,
}

/// The host's sources, from both of apt's formats.
fn sources() -> Vec<Source> {
    let etc = shell("apt-config", &["shell", "E", "Dir::Etc/d"]).unwrap_or_default();
    let etc = etc.split('\'').nth(1).unwrap_or("/etc/apt/").to_string();
    let etc = Path::new(&etc);
    let mut files = vec![etc.join("sources.list")];
    let parts = fs::read_dir(etc.join("sources.list.d")).into_iter().flatten().flatten();
    files.extend(parts.map(|entry| entry.path()));
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        match file.extension().and_then(|e| e.to_str()) {
            Some("sources") => text.split("\n\n").for_each(|s| found.extend(stanza(s))),
            Some("list") => found.extend(text.lines().filter_map(line)),
            _ => {}
        }
    }
    found
}

/// One stanza of a `.sources` file that names a Debian suite.
fn stanza(text: &str) -> Option<Source> {
    let field = |name: &str| {
        text.lines()
            .filter(|l| !l.starts_with('#'))
            .find_map(|l| Some(l.strip_prefix(name)?.trim().to_string()))
    };
    if field("Enabled:").as_deref() == Some("no") || !field("Types:")?.split(' ').any(|t| t == "deb") {
        return None;
    }
    let suites = field("Suites:")?;
    let mirror = field("URIs:")?.split(' ').next()?.to_string();
    is_debian(&mirror, suites.split(' ').next()?, &field("Components:")?)
        .then(|| Source { mirror, keyring: field("Signed-By:") })
}

/// One line of a `.list` file that names a Debian suite.
fn line(text: &str) -> Option<Source> {
    let rest = text.trim().strip_prefix("deb ")?.trim();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(r) => r.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (mirror, suite) = (words.next()?.to_string(), words.next()?);
    let keyring = options.split_whitespace().find_map(|o| Some(o.strip_prefix("signed-by=")?.to_string()));
    is_debian(&mirror, suite, &words.collect::<Vec<_>>().join(" ")).then_some(Source { mirror, keyring })
}

/// A mirror of Debian itself: neither security updates nor somebody else's packages.
fn is_debian(mirror: &str, suite: &str, components: &str) -> bool {
    let path = mirror.trim_end_matches('/');
    path.ends_with("/debian") && !suite.contains("security") && components.split(' ').any(|c| c == "main")
}

fn shell(program: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The host's settings for fetching (proxies, time-outs), without those that name index files.
fn host_settings() -> String {
    let all = shell("apt-config", &["dump"]).unwrap_or_default();
    let keep = |l: &&str| {
        l.starts_with("Acquire::")
            && !l.starts_with("Acquire::IndexTargets")
            && !l.starts_with("Acquire::Languages")
            && !l.contains("::CompressionTypes")
    };
    all.lines().filter(keep).collect::<Vec<_>>().join("\n")
}

impl Apt {
    /// Prepares apt for `suite` below `cache`; waits while another process uses the same place.
    pub fn new(cache: &Path, suite: &str, wanted: &str) -> Result<Apt, ImageError> {
        if shell("apt-get", &["--version"]).is_none() {
            return Err(ImageError::NoApt("apt".into(), wanted.into()));
        }
        let root = cache.join("apt").join(suite);
        for part in [
            "state/lists/partial",
            "cache/archives/partial",
            "etc/apt.conf.d",
            "etc/preferences.d",
            "etc/sources.list.d",
        ] {
            let path = root.join(part);
            fs::create_dir_all(&path).map_err(ImageError::file("cannot make directory", &path))?;
        }
        let lock_path = root.join("lock");
        let lock = File::create(&lock_path).map_err(ImageError::file("cannot write", &lock_path))?;
        lock.lock().map_err(ImageError::file("cannot lock", &lock_path))?;
        let apt = Apt { root, suite: suite.into(), _lock: lock };
        apt.configure()?;
        Ok(apt)
    }

    fn configure(&self) -> Result<(), ImageError> {
        let sources = sources();
        if sources.is_empty() {
            return Err(ImageError::Other(
                "the host's apt names no mirror of Debian: add one to its sources, or give the files by hand \
                 with --kernel and --initrd"
                    .into(),
            ));
        }
        let mut list = String::new();
        for s in &sources {
            let keyring = s.keyring.as_ref().map_or(String::new(), |k| format!("Signed-By: {k}\n"));
            list += &format!(
                "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\n{keyring}\n",
                s.mirror, self.suite
            );
        }
        let root = self.root.display();
        let config = format!(
            "{}\nDir::State \"{root}/state\";\nDir::State::status \"{root}/state/status\";\n\
             Dir::Cache \"{root}/cache\";\nDir::Etc \"{root}/etc\";\nDir::Etc::SourceList \"/dev/null\";\n\
             Dir::Etc::SourceParts \"{root}/etc/sources.list.d\";\nDir::Log \"{root}\";\n\
             Acquire::Languages \"none\";\nAPT::Sandbox::User \"\";\n",
            host_settings()
        );
        for (name, text) in [
            ("etc/sources.list.d/mirror.sources", list.as_str()),
            ("apt.conf", &config),
            ("state/status", ""),
        ] {
            let path = self.root.join(name);
            fs::write(&path, text).map_err(ImageError::file("cannot write", &path))?;
        }
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut c = Command::new(program);
        c.env("APT_CONFIG", self.root.join("apt.conf")).env("LC_ALL", "C").stdin(Stdio::null());
        c
    }

    fn run(&self, what: &str, mut c: Command) -> Result<String, ImageError> {
        let out = c.output().map_err(|e| ImageError::Tool { tool: what.into(), said: e.to_string() })?;
        let said = String::from_utf8_lossy(&out.stderr);
        let errors: Vec<&str> =
            said.lines().filter(|l| l.starts_with("E:") || l.starts_with("W: Failed")).collect();
        if !out.status.success() || !errors.is_empty() {
            let said = if errors.is_empty() { said.trim().into() } else { errors.join("; ") };
            return Err(ImageError::Tool { tool: what.into(), said });
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// Fetches the suite's index; signatures are checked by apt.
    pub fn update(&self, progress: Progress) -> Result<(), ImageError> {
        progress(&format!("asking the mirror what {} has", self.suite), 0, 0);
        let mut c = self.command("apt-get");
        c.arg("update");
        self.run("apt-get update", c).map(drop)
    }

    /// What the mirror has of a package (`name` or `name:architecture`).
    pub fn candidate(&self, name: &str) -> Result<Package, ImageError> {
        let mut c = self.command("apt-cache");
        c.args(["show", "--no-all-versions", name]);
        let text = self.run(&format!("apt-cache show {name}"), c)?;
        let field = |key: &str| {
            let found = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(": "));
            found
                .map(str::to_string)
                .ok_or_else(|| ImageError::Other(format!("the mirror's index says no {key} of {name}")))
        };
        Ok(Package {
            name: field("Package")?,
            version: field("Version")?,
            architecture: field("Architecture")?,
            path: field("Filename")?,
            sha256: field("SHA256")?,
            size: field("Size")?.parse().map_err(|_| ImageError::Other(format!("no size of {name}")))?,
        })
    }

    /// Fetches a package's file into the cache, or finds it there. An interrupted download goes on
    /// where it stopped.
    pub fn download(&self, package: &Package, progress: Progress) -> Result<PathBuf, ImageError> {
        let archives = self.root.join("cache/archives");
        if let Some(path) = self.cached(package)? {
            return Ok(path);
        }
        let mut c = self.command("apt-get");
        c.current_dir(&archives).args(["download", "-q"]);
        c.arg(format!("{}={}", package.name, package.version)).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            c.spawn().map_err(|e| ImageError::Tool { tool: "apt-get".into(), said: e.to_string() })?;
        while child.try_wait().ok().flatten().is_none() {
            progress(
                &format!("fetching {} {}", package.name, package.version),
                newest(&archives),
                package.size,
            );
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let out = child
            .wait_with_output()
            .map_err(|e| ImageError::Tool { tool: "apt-get".into(), said: e.to_string() })?;
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr)
                .lines()
                .filter(|l| l.starts_with("E:"))
                .collect::<Vec<_>>()
                .join("; ");
            return Err(ImageError::Tool { tool: format!("apt-get download {}", package.name), said });
        }
        self.cached(package)?.ok_or_else(|| {
            ImageError::Other(format!(
                "{} was fetched, but its checksum is not the one the index names",
                package.name
            ))
        })
    }

    /// The packages that installing `names` on an empty system would bring, as `name=version`.
    pub fn closure(&self, names: &[&str]) -> Result<Vec<String>, ImageError> {
        let mut c = self.command("apt-get");
        c.args(["install", "--simulate", "--no-install-recommends", "-o", "Debug::NoLocking=1"]).args(names);
        let text = self.run(&format!("apt-get install --simulate {}", names.join(" ")), c)?;
        let package = |line: &str| {
            let (name, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
            Some(format!("{name}={}", rest.split(' ').next()?))
        };
        Ok(text.lines().filter_map(package).collect())
    }

    /// Fetches packages given as `name=version` into `dest` and unpacks them under it.
    pub fn unpack_all(&self, packages: &[String], dest: &Path) -> Result<(), ImageError> {
        let debs = dest.join("debs");
        fs::create_dir_all(&debs).map_err(ImageError::file("cannot make directory", &debs))?;
        let mut c = self.command("apt-get");
        c.current_dir(&debs).args(["download", "-q"]).args(packages);
        self.run("apt-get download", c)?;
        for entry in fs::read_dir(&debs).map_err(ImageError::file("cannot read", &debs))?.flatten() {
            let mut c = self.command("dpkg-deb");
            c.arg("-x").arg(entry.path()).arg(dest);
            self.run("dpkg-deb -x", c)?;
        }
        drop(fs::remove_dir_all(&debs));
        Ok(())
    }

    /// The package's file where it is in the cache and whole.
    pub fn cached(&self, package: &Package) -> Result<Option<PathBuf>, ImageError> {
        let archives = self.root.join("cache/archives");
        for entry in fs::read_dir(&archives).map_err(ImageError::file("cannot read", &archives))?.flatten() {
            let path = entry.path();
            let fits = path.extension().is_some_and(|e| e == "deb")
                && entry.metadata().is_ok_and(|m| m.len() == package.size);
            if fits && sha256(&path)? == package.sha256 {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}

/// Size of the largest file being fetched.
fn newest(archives: &Path) -> u64 {
    let sizes = |dir: PathBuf| {
        fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|e| e.metadata().ok())
            .map(|m| m.len())
            .max()
    };
    sizes(archives.to_path_buf()).max(sizes(archives.join("partial"))).unwrap_or(0)
}

/// SHA-256 of a file in hexadecimal.
pub fn sha256(path: &Path) -> Result<String, ImageError> {
    let mut file = File::open(path).map_err(ImageError::file("cannot read", path))?;
    let mut hash = Sha256::new();
    let mut buf = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buf).map_err(ImageError::file("cannot read", path))?;
        if n == 0 {
            return Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect());
        }
        hash.update(&buf[..n]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_in_both_formats() {
        let s = stanza("Types: deb\nURIs: http://m.example/debian\nSuites: bookworm\nComponents: main\nSigned-By: /k.gpg").unwrap();
        assert_eq!((s.mirror.as_str(), s.keyring.as_deref()), ("http://m.example/debian", Some("/k.gpg")));
        assert!(
            stanza(
                "Types: deb\nURIs: http://m.example/debian-security\nSuites: x-security\nComponents: main"
            )
            .is_none()
        );
        let s =
            line("deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian/ bookworm main contrib").unwrap();
        assert_eq!((s.mirror.as_str(), s.keyring.as_deref()), ("http://m.example/debian/", Some("/k.gpg")));
        assert!(line("# deb http://m.example/debian bookworm main").is_none());
    }
}
