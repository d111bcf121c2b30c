//! Where files of a user lie (XDG Base Directory Specification 0.8).

use crate::ImageError;
use std::path::PathBuf;

fn directory(variable: &str, fallback: &str) -> Result<PathBuf, ImageError> {
    // Relative paths in these variables are to be ignored.
    let named = std::env::var_os(variable).map(PathBuf::from).filter(|p| p.is_absolute());
    let path = match (named, std::env::var_os("HOME")) {
        (Some(path), _) => path,
        (None, Some(home)) => PathBuf::from(home).join(fallback),
        (None, None) => return Err(ImageError::Other(format!("neither {variable} nor HOME is set"))),
    }
    .join("trine");
    std::fs::create_dir_all(&path).map_err(ImageError::file("cannot make directory", &path))?;
    Ok(path)
}

/// What can be fetched or made again.
pub fn cache() -> Result<PathBuf, ImageError> {
    directory("XDG_CACHE_HOME", ".cache")
}

/// What should be kept between runs.
pub fn state() -> Result<PathBuf, ImageError> {
    directory("XDG_STATE_HOME", ".local/state")
}
