//! What can go wrong.

use std::io;
use std::path::{Path, PathBuf};

/// Why a network or a port could not be had. Each is one sentence: what, where, what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name or option that means nothing.
    #[error("{0}")]
    Bad(String),
    /// Somebody listens there already.
    #[error(
        "port {port}/{protocol} of {address} (from -p {option}) is in use: give another host port, or 0 for any free one"
    )]
    PortInUse {
        /// The host's address.
        address: std::net::IpAddr,
        /// The host's port.
        port: u16,
        /// `tcp` or `udp`.
        protocol: &'static str,
        /// As the user wrote it.
        option: String,
    },
    /// The kernel refused something.
    #[error("{what}: {why}")]
    System {
        /// What was to be done, and to what.
        what: String,
        /// What the kernel says.
        why: io::Error,
    },
    /// A file of ours could not be read or written.
    #[error("{}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the kernel says.
        why: io::Error,
    },
    /// The guest is a member already, of a process that still runs.
    #[error("guest {0} has a network already: stop it first")]
    Member(String),
    /// No address or subnet is left.
    #[error("{0}")]
    Full(String),
}

impl Error {
    /// The number of the kernel's error, where there is one.
    pub(crate) fn number(&self) -> Option<i32> {
        match self {
            Error::System { why, .. } | Error::File { why, .. } => why.raw_os_error(),
            _ => None,
        }
    }
}

/// Adds to an error of the kernel what was to be done.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error>;
    fn file(self, path: &Path) -> Result<T, Error>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|why| Error::System { what: what(), why })
    }

    fn file(self, path: &Path) -> Result<T, Error> {
        self.map_err(|why| Error::File { path: path.into(), why })
    }
}
