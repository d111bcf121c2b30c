//! The errors of this crate.

use std::io;
use std::path::{Path, PathBuf};

/// Why a network or a port could not be set up. Each message is one sentence: what failed, where, and what to
/// do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name or an option is invalid.
    #[error("{0}")]
    Bad(String),
    /// The port is in use.
    #[error(
        "port {port}/{protocol} of {address} (from -p {option}) is in use: choose another host port, or 0 for any free one"
    )]
    PortInUse {
        /// The host's address.
        address: std::net::IpAddr,
        /// The host's port.
        port: u16,
        /// `tcp` or `udp`.
        protocol: &'static str,
        /// The option as the user wrote it.
        option: String,
    },
    /// A system call failed.
    #[error("{what}: {why}")]
    System {
        /// The operation, and what it was for.
        what: String,
        /// The kernel's reason.
        why: io::Error,
    },
    /// A file of this crate could not be read or written.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        why: io::Error,
    },
    /// The guest is a member already, by a process that is still running.
    #[error("guest {0} has a network already: stop it first")]
    Member(String),
    /// No address or subnet is left.
    #[error("{0}")]
    Full(String),
}

impl Error {
    /// The kernel's error number, if there is one.
    pub(crate) fn number(&self) -> Option<i32> {
        match self {
            Error::System { why, .. } | Error::File { why, .. } => why.raw_os_error(),
            _ => None,
        }
    }
}

/// Adds the operation to an error of the kernel.
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
