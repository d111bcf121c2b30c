//! The errors of this crate.

use std::fmt::Display;
use std::io;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle or the request is not possible.
    #[error("{0}")]
    Refused(String),
    /// There is no such container (containerd looks for "does not exist").
    #[error("container \"{0}\" does not exist")]
    Missing(String),
    /// The name is taken.
    #[error("container with given ID already exists: {0}")]
    Exists(String),
    /// It has no process any more (containerd looks for "container not running").
    #[error("container not running")]
    NotRunning,
    /// A system call or an operation on a file failed.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        error: io::Error,
    },
    /// The program does not exist: exit code 127, as in a shell.
    #[error("{0}")]
    NotFound(String),
    /// The program exists but cannot be executed: exit code 126, as in a shell.
    #[error("{0}")]
    NotExecutable(String),
    /// The process inside failed, before the container's own program was started.
    #[error("{0}")]
    Inside(String),
    /// An operation on control groups failed.
    #[error(transparent)]
    Groups(#[from] trine_cgroup::Error),
    /// The seccomp profile is not possible.
    #[error(transparent)]
    Filter(#[from] crate::seccomp::SeccompError),
}

/// The result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Creates an error about a request that is not possible.
    pub fn refused(what: impl Display) -> Error {
        Error::Refused(what.to_string())
    }

    /// The exit code of a shell whose command fails this way; `None` if the command is not at fault.
    pub fn exit_code(&self) -> Option<u8> {
        match self {
            Error::NotFound(_) => Some(127),
            Error::NotExecutable(_) => Some(126),
            _ => None,
        }
    }
}

/// Adds to an error what was tried.
pub trait Context<T> {
    /// Adds the text `what`.
    fn context(self, what: &str) -> Result<T>;
    /// Adds the text that the function returns.
    fn with(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: &str) -> Result<T> {
        self.map_err(|error| Error::System { what: what.into(), error })
    }

    fn with(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::System { what: what(), error })
    }
}
