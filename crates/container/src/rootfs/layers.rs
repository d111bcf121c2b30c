//! A root made of layers: an image's read-only ones below, the container's own on top (the kernel's
//! overlayfs, Documentation/filesystems/overlayfs.rst).
//!
//! The mount is made inside the container's own mount namespace, so it ends with the container, however that
//! ends.

use crate::error::{Context, Result};
use crate::sys;
use serde::{Deserialize, Serialize};
use std::ffi::{CStr, CString};
use std::io::Error;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// `FSCONFIG_SET_FLAG`, `_SET_STRING` and `_CMD_CREATE` of fsconfig(2).
const FLAG: u32 = 0;
const STRING: u32 = 1;
const CREATE: u32 = 6;

/// The layers of a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// The read-only layers, the lowest first.
    pub lower: Vec<PathBuf>,
    /// The layer that the container writes to.
    pub upper: PathBuf,
    /// The kernel's scratch directory, on the same file system as `upper`.
    pub work: PathBuf,
    /// Whether only `fuse-overlayfs` understands the layers' whiteouts.
    #[serde(default)]
    pub fuse: bool,
}

impl Layers {
    /// Creates a detached mount of the layers. `users`: in a user namespace, in which overlayfs stores its
    /// marks in `user.` attributes.
    ///
    /// # Errors
    /// The kernel has no overlayfs, does not allow it here (before Linux 5.11 in user namespaces), or a
    /// directory is missing.
    pub fn mount(&self, users: bool) -> Result<OwnedFd> {
        let fs = sys::open_filesystem(c"overlay")
            .context("this kernel has no overlayfs for the container's layers")?;
        self.configure(&fs, users)?;
        sys::mount_filesystem(&fs).context("cannot mount the container's layers")
    }

    fn configure(&self, fs: &OwnedFd, users: bool) -> Result<()> {
        if users {
            sys::configure(fs, FLAG, Some(c"userxattr"), None).context("overlayfs in a user namespace")?;
        }
        self.lower(fs)?;
        for (name, path) in [(c"upperdir", &self.upper), (c"workdir", &self.work)] {
            set(fs, name, path)?;
        }
        let layers = || format!("cannot stack {} on {}", self.upper.display(), self.lower.len());
        sys::configure(fs, CREATE, None, None).with(|| format!("{} layers", layers()))
    }

    /// Adds the layers one by one, the highest first; before Linux 6.5 all in one string.
    fn lower(&self, fs: &OwnedFd) -> Result<()> {
        for (i, path) in self.lower.iter().rev().enumerate() {
            match sys::configure(fs, STRING, Some(c"lowerdir+"), Some(&sys::text(path).context("a layer")?)) {
                Err(e) if i == 0 && e.raw_os_error() == Some(libc::EINVAL) => return self.together(fs),
                other => other.with(|| format!("layer {}", path.display()))?,
            }
        }
        Ok(())
    }

    /// The read-only layers in one text, the highest first.
    pub fn list(&self) -> String {
        let names: Vec<String> = self.lower.iter().rev().map(|p| escaped(p)).collect();
        names.join(":")
    }

    fn together(&self, fs: &OwnedFd) -> Result<()> {
        let all = CString::new(self.list()).map_err(Error::from).context("the layers")?;
        sys::configure(fs, STRING, Some(c"lowerdir"), Some(&all)).context("the layers")
    }
}

/// A directory in a list, with separators escaped.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace(':', "\\:")
}

fn set(fs: &OwnedFd, name: &CStr, path: &Path) -> Result<()> {
    let value = sys::text(path).with(|| format!("layer {}", path.display()))?;
    sys::configure(fs, STRING, Some(name), Some(&value)).with(|| format!("layer {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_in_names_are_the_names_own() {
        assert_eq!(escaped(Path::new(r"/a:b\c")), r"/a\:b\\c");
    }
}
