//! A directory with Debian's userland of another architecture, for programs; its packages are unpacked, not
//! installed.

use super::Apt;
use super::apt::Progress;
use crate::ImageError;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// The default packages: the shell and the tools that scripts expect.
pub const USUAL: &[&str] = &[
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    "dash",
    "debianutils",
    "diffutils",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "libc-bin",
    "libgcc-s1",
    "libstdc++6",
    "mawk",
    "perl-base",
    "sed",
    "tar",
    "util-linux",
];

/// A root directory.
#[derive(Clone, Debug)]
pub struct Root {
    /// Its path.
    pub dir: PathBuf,
    /// Debian's suite.
    pub suite: String,
    /// Why a preferred suite could not be used; only if the root was created just now.
    pub refused: Option<String>,
}

fn place(cache: &Path, suite: &str, architecture: &str, packages: &[&str]) -> PathBuf {
    let name: String =
        Sha256::digest(packages.join(" ")).iter().take(4).map(|b| format!("{b:02x}")).collect();
    cache.join("roots").join(format!("{suite}-{architecture}-{name}"))
}

/// The file that is written when the root is complete.
fn complete(root: &Path) -> PathBuf {
    root.join(".complete")
}

/// The root with `packages` and everything they depend on, of the first usable suite: from the cache, or
/// fetched if the mirror has the suite and its signatures verify. No script of a package is run.
pub fn root(
    cache: &Path,
    suites: &[&str],
    architecture: &str,
    packages: &[&str],
    progress: Progress,
) -> Result<Root, ImageError> {
    let of = |suite: &str, dir, refused| Root { dir, suite: suite.into(), refused };
    for suite in suites {
        let dir = place(cache, suite, architecture, packages);
        if complete(&dir).exists() {
            return Ok(of(suite, dir, None));
        }
    }
    let mut refused: Option<ImageError> = None;
    for suite in suites {
        match make(cache, suite, architecture, packages, progress) {
            Ok(dir) => return Ok(of(suite, dir, refused.map(|e| e.to_string()))),
            Err(e) => refused = refused.or(Some(e)),
        }
    }
    Err(refused.unwrap_or(ImageError::Other("no suite of Debian was named".into())))
}

fn make(
    cache: &Path,
    suite: &str,
    architecture: &str,
    packages: &[&str],
    progress: Progress,
) -> Result<PathBuf, ImageError> {
    let dest = place(cache, suite, architecture, packages);
    let wanted = format!("packages of Debian {suite} for {architecture}");
    let apt = Apt::foreign(cache, suite, architecture, &wanted)?;
    // Another process may have created it while this one waited for apt.
    if complete(&dest).exists() {
        return Ok(dest);
    }
    apt.update(progress)?;
    let mut all = vec!["base-files"];
    all.extend(packages);
    let list = apt.closure(&all)?;
    progress(&format!("fetching and unpacking {} packages of Debian {suite}", list.len()), 0, 0);
    if dest.exists() {
        fs::remove_dir_all(&dest).map_err(ImageError::file("cannot remove", &dest))?;
    }
    apt.unpack_all(&list, &dest)?;
    let done = complete(&dest);
    fs::write(&done, "").map_err(ImageError::file("cannot write", &done))?;
    Ok(dest)
}
