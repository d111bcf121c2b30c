//! A directory with Debian's userland of another architecture, for programs: unpacked, not installed.

use super::Apt;
use super::apt::Progress;
use crate::ImageError;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// What a root has by default: the shell and the tools that scripts expect.
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

/// The root with `packages` of a suite, and all they need: from the cache, or fetched. No script of a package is run.
pub fn root(
    cache: &Path,
    suite: &str,
    architecture: &str,
    packages: &[&str],
    progress: Progress,
) -> Result<PathBuf, ImageError> {
    let name: String =
        Sha256::digest(packages.join(" ")).iter().take(4).map(|b| format!("{b:02x}")).collect();
    let dest = cache.join("roots").join(format!("{suite}-{architecture}-{name}"));
    let complete = dest.join(".complete");
    if complete.exists() {
        return Ok(dest);
    }
    let wanted = format!("packages of Debian {suite} for {architecture}");
    let apt = Apt::foreign(cache, suite, architecture, &wanted)?;
    // Somebody else may have made it while this process waited for apt.
    if complete.exists() {
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
    fs::write(&complete, "").map_err(ImageError::file("cannot write", &complete))?;
    Ok(dest)
}
