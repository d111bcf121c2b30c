//! What can go wrong with files and packages.

use std::path::{Path, PathBuf};

/// One clear sentence each.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The host's file system refused.
    #[error("{what} {path}: {error}")]
    File {
        /// What was tried ("cannot read", …).
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The host's reason.
        error: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The host has no apt.
    #[error(
        "this host has no {0}, so {1} cannot be fetched: give the files by hand, with \
         `trine run --kernel FILE --initrd FILE` (a riscv64 kernel image and an initramfs)"
    )]
    NoApt(String, String),
    /// A tool of the host failed.
    #[error("{tool} failed: {said}")]
    Tool {
        /// The tool and what it was doing.
        tool: String,
        /// Its own words.
        said: String,
    },
    /// Something else.
    #[error("{0}")]
    Other(String),
}

impl ImageError {
    /// Wraps an I/O error about a file.
    pub fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ImageError {
        let path = path.to_path_buf();
        move |error| ImageError::File { what, path, error }
    }

    /// A file that is not what it should be.
    pub fn damaged(path: &Path, what: impl Into<String>) -> ImageError {
        ImageError::Damaged { path: path.into(), what: what.into() }
    }
}
