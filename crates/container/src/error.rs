//! What can go wrong, in sentences.

use std::fmt::Display;
use std::io;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle or a request asks for what cannot be.
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
    /// The kernel, or a file, said no.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// Why it failed.
        error: io::Error,
    },
    /// The program is not there: a shell's exit code 127.
    #[error("{0}")]
    NotFound(String),
    /// The program is there, and cannot be executed: a shell's exit code 126.
    #[error("{0}")]
    NotExecutable(String),
    /// The process inside said so, before the container's own program was there.
    #[error("{0}")]
    Inside(String),
    /// The control groups said no.
    #[error(transparent)]
    Groups(#[from] trine_cgroup::Error),
    /// The filter of system calls cannot be.
    #[error(transparent)]
    Filter(#[from] crate::seccomp::SeccompError),
}

/// What this crate's functions give.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Something that cannot be.
    pub fn refused(what: impl Display) -> Error {
        Error::Refused(what.to_string())
    }

    /// The exit code of a shell whose command fails so, where it is the command that fails.
    pub fn exit_code(&self) -> Option<u8> {
        match self {
            Error::NotFound(_) => Some(127),
            Error::NotExecutable(_) => Some(126),
            _ => None,
        }
    }
}

/// Says what was tried where it failed.
pub trait Context<T> {
    /// Adds `what` as it is.
    fn context(self, what: &str) -> Result<T>;
    /// Adds what the function gives.
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
