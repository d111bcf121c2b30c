//! Debian packages through the host's own apt, as any user, for any suite and architecture.
//!
//! apt runs with a configuration of its own in our cache: its own state, its own cache, and a source list
//! that names the *host's* mirrors with the wanted suite. Nothing on the host changes.

use super::fetch::{self, sha256};
use super::sources::{host_settings, shell, sources, trusted_keys};
use crate::ImageError;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A package in a mirror.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Architecture (`all` for packages that are independent of it).
    pub architecture: String,
    /// Path in the mirror's pool.
    pub path: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Size of the file in bytes.
    pub size: u64,
}

/// apt with its own configuration.
pub struct Apt {
    root: PathBuf,
    suite: String,
    _lock: File,
}

/// A function that shows progress: a text, bytes so far, total bytes.
pub type Progress<'a> = &'a mut dyn FnMut(&str, u64, u64);

impl Apt {
    /// Prepares apt for `suite` in `cache`; waits while another process uses the same directory.
    pub fn new(cache: &Path, suite: &str, wanted: &str) -> Result<Apt, ImageError> {
        Self::prepare(cache, suite, None, wanted)
    }

    /// The same for packages of another architecture, as on a machine of that architecture.
    pub fn foreign(cache: &Path, suite: &str, architecture: &str, wanted: &str) -> Result<Apt, ImageError> {
        Self::prepare(cache, suite, Some(architecture), wanted)
    }

    fn prepare(
        cache: &Path,
        suite: &str,
        architecture: Option<&str>,
        wanted: &str,
    ) -> Result<Apt, ImageError> {
        if shell("apt-get", &["--version"]).is_none() {
            return Err(ImageError::NoApt("apt".into(), wanted.into()));
        }
        let place = architecture.map_or(suite.to_string(), |a| format!("{suite}-{a}"));
        let root = cache.join("apt").join(place);
        for part in [
            "state/lists/partial",
            "cache/archives/partial",
            "etc/apt.conf.d",
            "etc/preferences.d",
            "etc/sources.list.d",
        ] {
            let path = root.join(part);
            fs::create_dir_all(&path).map_err(ImageError::file("cannot create directory", &path))?;
        }
        let lock_path = root.join("lock");
        let lock = File::create(&lock_path).map_err(ImageError::file("cannot write", &lock_path))?;
        lock.lock().map_err(ImageError::file("cannot lock", &lock_path))?;
        let apt = Apt { root, suite: suite.into(), _lock: lock };
        apt.configure(architecture)?;
        Ok(apt)
    }

    fn configure(&self, architecture: Option<&str>) -> Result<(), ImageError> {
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
        let trusted = trusted_keys();
        let architecture = architecture
            .map_or(String::new(), |a| format!("\nAPT::Architecture \"{a}\";\nAPT::Architectures \"{a}\";"));
        let config = format!(
            "{}\nDir::State \"{root}/state\";\nDir::State::status \"{root}/state/status\";\n\
             Dir::Cache \"{root}/cache\";\nDir::Etc \"{root}/etc\";\nDir::Etc::SourceList \"/dev/null\";\n\
             Dir::Etc::SourceParts \"{root}/etc/sources.list.d\";{trusted}{architecture}\nDir::Log \"{root}\";\n\
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

    /// Fetches the suite's index; apt verifies its signatures.
    pub fn update(&self, progress: Progress) -> Result<(), ImageError> {
        progress(&format!("asking the mirror what {} has", self.suite), 0, 0);
        let mut c = self.command("apt-get");
        c.arg("update");
        self.run("apt-get update", c).map(drop)
    }

    /// The version of a package that the mirror has (`name` or `name:architecture`).
    pub fn candidate(&self, name: &str) -> Result<Package, ImageError> {
        let mut c = self.command("apt-cache");
        c.args(["show", "--no-all-versions", name]);
        let text = self.run(&format!("apt-cache show {name}"), c)?;
        let field = |key: &str| {
            let found = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(": "));
            found
                .map(str::to_string)
                .ok_or_else(|| ImageError::Other(format!("the mirror's index contains no {key} of {name}")))
        };
        Ok(Package {
            name: field("Package")?,
            version: field("Version")?,
            architecture: field("Architecture")?,
            path: field("Filename")?,
            sha256: field("SHA256")?,
            size: field("Size")?.parse().map_err(|_| {
                ImageError::Other(format!("the mirror's index contains no valid size of {name}"))
            })?,
        })
    }

    /// Fetches a package's file into the cache, unless it is there. An interrupted download is continued.
    pub fn download(&self, package: &Package, progress: Progress) -> Result<PathBuf, ImageError> {
        if let Some(path) = self.cached(package)? {
            return Ok(path);
        }
        let archives = self.root.join("cache/archives");
        let name = package.path.rsplit('/').next().unwrap_or(&package.name);
        let (partial, whole) = (archives.join("partial").join(name), archives.join(name));
        let title = format!("fetching {} {}", package.name, package.version);
        fetch::fetch(
            &self.command(&fetch::helper()),
            &self.uri(package)?,
            &package.sha256,
            &partial,
            &mut |done| {
                progress(&title, done, package.size);
            },
        )?;
        fs::rename(&partial, &whole).map_err(ImageError::file("cannot rename", &partial))?;
        Ok(whole)
    }

    /// The address of a package's file on the mirror.
    fn uri(&self, package: &Package) -> Result<String, ImageError> {
        let mut c = self.command("apt-get");
        // It removes a file of that name from the current directory, which must not be our cache.
        c.current_dir(self.root.join("etc")).args(["download", "--print-uris"]);
        c.arg(format!("{}={}", package.name, package.version));
        let text = self.run(&format!("apt-get download {}", package.name), c)?;
        text.split('\'').nth(1).map(str::to_string).ok_or_else(|| {
            ImageError::Other(format!("apt names no address for {} {}", package.name, package.version))
        })
    }

    /// The packages that installing `names` on an empty system would install, as `name=version`.
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

    /// Fetches packages given as `name=version` into a directory, which is made; returns their files, that of base-files
    /// first: the contents of other packages go through its links from /bin to /usr/bin.
    pub fn download_all(&self, packages: &[String], debs: &Path) -> Result<Vec<PathBuf>, ImageError> {
        fs::create_dir_all(debs).map_err(ImageError::file("cannot create directory", debs))?;
        let mut c = self.command("apt-get");
        c.current_dir(debs).args(["download", "-q"]).args(packages);
        self.run("apt-get download", c)?;
        let files = fs::read_dir(debs).map_err(ImageError::file("cannot read", debs))?.flatten();
        let mut files: Vec<PathBuf> = files.map(|entry| entry.path()).collect();
        let is_first = |file: &Path| {
            file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("base-files_"))
        };
        files.sort_by_cached_key(|file| (!is_first(file), file.clone()));
        Ok(files)
    }

    /// Fetches packages given as `name=version` and unpacks them into `dest`.
    pub fn unpack_all(&self, packages: &[String], dest: &Path) -> Result<(), ImageError> {
        let debs = dest.join("debs");
        for file in self.download_all(packages, &debs)? {
            let mut c = self.command("dpkg-deb");
            c.arg("-x").arg(file).arg(dest);
            self.run("dpkg-deb -x", c)?;
        }
        drop(fs::remove_dir_all(&debs));
        Ok(())
    }

    /// The package's file, if it is in the cache and complete.
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
