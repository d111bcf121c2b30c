//! What can go wrong with images.

use std::path::{Path, PathBuf};
use trine_base::text::plain;

/// One clear sentence each. What strangers wrote is in many of them: nothing of it acts on a terminal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
    /// Something is not what it should be: a layer, a manifest, an archive.
    #[error("{}: {}", plain(place), plain(what))]
    Damaged {
        /// Where: a digest, a file, an entry of an archive.
        place: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The request cannot be: a wrong name, an image that is not here.
    #[error("{}", plain(.0))]
    Refused(String),
    /// No such image is in the store; it can be pulled.
    #[error("{}", plain(.0))]
    NotHere(String),
    /// A guest uses the image.
    #[error(
        "image {image} is used by guest {guest}: `trine rm {guest}` first, or --force to take only the name away"
    )]
    InUse {
        /// The image as it was named.
        image: String,
        /// The guest's id.
        guest: String,
    },
    /// A registry failed or refused.
    #[error("{}: {}", plain(place), plain(what))]
    Registry {
        /// The registry and what was asked of it.
        place: String,
        /// Its own words, and what to do.
        what: String,
    },
    /// The host cannot do what is needed.
    #[error("{}", plain(.0))]
    Host(String),
}

/// Results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Wraps an I/O error about a file.
    pub fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |error| Error::File { what, path, error }
    }

    /// As [`Error::file`] for an error number.
    pub(crate) fn errno(what: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> Error {
        let path = path.to_path_buf();
        move |error| Error::File { what, path, error: error.into() }
    }

    /// Something that is not what it should be.
    pub fn damaged(place: impl Into<String>, what: impl Into<String>) -> Error {
        Error::Damaged { place: place.into(), what: what.into() }
    }

    /// Whether the request was at fault, not the host or a registry.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Error::Refused(_) | Error::NotHere(_) | Error::InUse { .. } | Error::Damaged { .. })
    }
}
