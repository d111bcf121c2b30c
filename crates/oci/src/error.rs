//! The errors of this crate.

use std::path::{Path, PathBuf};
use trine_base::text::plain;

/// Each message is one sentence. Text from outside in it is made safe for the terminal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
    /// A layer, a manifest or an archive is damaged or of the wrong kind.
    #[error("{}: {}", plain(place), plain(what))]
    Damaged {
        /// The place: a digest, a file, an entry of an archive.
        place: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The request is not possible: a wrong name, an image that is not here.
    #[error("{}", plain(.0))]
    Refused(String),
    /// The image is not in the store; it can be pulled.
    #[error("{}", plain(.0))]
    NotHere(String),
    /// A guest uses the image.
    #[error(
        "image {image} is used by guest {guest}: `trine rm {guest}` first, or use --force to remove only the name"
    )]
    InUse {
        /// The image as the user named it.
        image: String,
        /// The guest's id.
        guest: String,
    },
    /// A registry failed or refused.
    #[error("{}: {}", plain(place), plain(what))]
    Registry {
        /// The registry and the request.
        place: String,
        /// The registry's reason, and what to do.
        what: String,
    },
    /// The host failed in something that is not about a file.
    #[error("{}", plain(.0))]
    Host(String),
}

/// The result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Returns a function that wraps an I/O error about a file.
    pub fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |error| Error::File { what, path, error }
    }

    /// As [`Error::file`], for an error number.
    pub(crate) fn errno(what: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> Error {
        let path = path.to_path_buf();
        move |error| Error::File { what, path, error: error.into() }
    }

    /// Creates an error about something damaged.
    pub fn damaged(place: impl Into<String>, what: impl Into<String>) -> Error {
        Error::Damaged { place: place.into(), what: what.into() }
    }

    /// Whether the request was at fault, and not the host or a registry.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Error::Refused(_) | Error::NotHere(_) | Error::InUse { .. } | Error::Damaged { .. })
    }
}
