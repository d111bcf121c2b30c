//! Why a verb does not do what it was asked for.

use std::path::Path;

/// The exit code of a container that was not made, or of a command that was not executed in one for a reason of ours.
pub const OWN: u8 = 125;

/// Why a verb ends early; each is one sentence that says what, where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The request cannot be: exit code 2.
    #[error("{0}")]
    Refused(String),
    /// There is no such guest.
    #[error("there is no guest '{0}': `trine ps -a` lists them")]
    Unknown(String),
    /// The host failed: exit code 1.
    #[error("{what}: {source}")]
    Host {
        /// What was tried, and where.
        what: String,
        /// What the host said.
        source: std::io::Error,
    },
    /// A command was not executed in a guest, or a container not made: the exit code says which, as a shell's and other
    /// engines' do.
    #[error("{why}")]
    Command {
        /// 127 where it is not there, 126 where it cannot be executed, [`OWN`] where that is not its fault.
        code: u8,
        /// Why.
        why: String,
    },
    /// Something else went wrong that was no mistake of the user's: exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl ControlError {
    /// Whether the request was wrong, and not the host.
    pub fn is_refusal(&self) -> bool {
        matches!(self, ControlError::Refused(_) | ControlError::Unknown(_))
    }

    /// The same about a container: what is not the command's own fault has the exit code [`OWN`].
    pub fn of_container(self) -> ControlError {
        match self {
            ControlError::Command { .. } => self,
            other => ControlError::Command { code: OWN, why: other.to_string() },
        }
    }

    /// An error of the host about a file.
    pub fn at(path: &Path, source: impl Into<std::io::Error>) -> ControlError {
        ControlError::Host { what: path.display().to_string(), source: source.into() }
    }

    /// An error of the host while something was done.
    pub fn host(what: &str, source: impl Into<std::io::Error>) -> ControlError {
        ControlError::Host { what: what.to_string(), source: source.into() }
    }
}

/// A refusal.
pub fn refused<T>(why: impl Into<String>) -> Result<T, ControlError> {
    Err(ControlError::Refused(why.into()))
}
