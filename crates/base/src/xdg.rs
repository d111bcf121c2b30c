//! The directories for a user's files (XDG Base Directory Specification 0.8). Root's data and runtime files
//! lie where the system's own do (Filesystem Hierarchy Standard 3.0, 5.8 and 3.15).

use std::io::{Error, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

fn named(variable: &str) -> Option<PathBuf> {
    // The specification says that relative paths in these variables must be ignored.
    std::env::var_os(variable).map(PathBuf::from).filter(|p| p.is_absolute())
}

fn user() -> u32 {
    std::fs::metadata("/proc/self").map_or(u32::MAX, |m| m.uid())
}

fn directory(variable: &str, fallback: &str) -> Result<PathBuf, Error> {
    let path = match (named(variable), std::env::var_os("HOME")) {
        (Some(path), _) => path,
        (None, Some(home)) => PathBuf::from(home).join(fallback),
        (None, None) => {
            return Err(Error::new(ErrorKind::NotFound, format!("neither {variable} nor HOME is set")));
        }
    };
    make(path.join("trine"), 0o777)
}

fn make(path: PathBuf, mode: u32) -> Result<PathBuf, Error> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(mode).create(&path);
    made.map_err(|e| Error::new(e.kind(), format!("cannot create directory {}: {e}", path.display())))?;
    Ok(path)
}

/// The directory for what can be fetched or made again: `$XDG_CACHE_HOME/trine`. It is created if missing.
///
/// # Errors
/// The directory cannot be created; the message says why.
pub fn cache() -> Result<PathBuf, Error> {
    directory("XDG_CACHE_HOME", ".cache")
}

/// The directory for data to keep, such as images: `$XDG_DATA_HOME/trine`; for root, where that is not set,
/// `/var/lib/trine`. It is created if missing.
///
/// # Errors
/// As [`cache`].
pub fn data() -> Result<PathBuf, Error> {
    match named("XDG_DATA_HOME") {
        None if user() == 0 => make("/var/lib/trine".into(), 0o700),
        _ => directory("XDG_DATA_HOME", ".local/share"),
    }
}

/// The directory for runtime files, which are gone after a reboot: `$XDG_RUNTIME_DIR/trine`; where that is
/// not set, `/run/trine` for root, and for others a directory of their own below `/tmp`. It is created if
/// missing.
///
/// # Errors
/// As [`cache`]; also where another user owns the directory, or others may write to it.
pub fn runtime() -> Result<PathBuf, Error> {
    let path = match (named("XDG_RUNTIME_DIR"), user()) {
        (Some(dir), _) => dir.join("trine"),
        (None, 0) => "/run/trine".into(),
        (None, user) => std::env::temp_dir().join(format!("trine-{user}")),
    };
    let path = make(path, 0o700)?;
    owned(&path)?;
    Ok(path)
}

fn owned(path: &Path) -> Result<(), Error> {
    let found = std::fs::symlink_metadata(path)?;
    if found.is_dir() && found.uid() == user() && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    let what =
        format!("{} is not this user's own directory: remove it, or set XDG_RUNTIME_DIR", path.display());
    Err(Error::new(ErrorKind::PermissionDenied, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        let dir = std::env::temp_dir().join(format!("trine-xdg-{}", std::process::id()));
        make(dir.clone(), 0o700).unwrap();
        assert!(owned(&dir).is_ok());
        std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        assert!(owned(&dir).unwrap_err().to_string().contains("XDG_RUNTIME_DIR"));
        std::fs::remove_dir(&dir).unwrap();
    }
}
