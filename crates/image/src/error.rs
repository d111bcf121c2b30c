//! The errors of this crate.

use std::path::{Path, PathBuf};

/// Each message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// An operation on a file failed.
    #[error("{what} {path}: {error}")]
    File {
        /// The operation ("cannot read", …).
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The host's reason.
        error: std::io::Error,
    },
    /// A file is damaged or of the wrong kind.
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
        /// The tool and the operation.
        tool: String,
        /// Its output.
        said: String,
    },
    /// Another failure.
    #[error("{0}")]
    Other(String),
}

impl ImageError {
    /// Returns a function that wraps an I/O error about a file.
    pub fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ImageError {
        let path = path.to_path_buf();
        move |error| ImageError::File { what, path, error }
    }

    /// Creates an error about a damaged file.
    pub fn damaged(path: &Path, what: impl Into<String>) -> ImageError {
        ImageError::Damaged { path: path.into(), what: what.into() }
    }
}
