//! The errors of the verbs.

use std::path::Path;

/// Exit code for failures that are not the command's: a container that was not created, or a command that was
/// not executed in one.
pub const OWN: u8 = 125;

/// Why a verb fails. Each message is one sentence: what failed, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The request is not possible: exit code 2.
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
        /// The host's error.
        source: std::io::Error,
    },
    /// A command was not executed in a guest, or a container was not created; the exit code says why, as a
    /// shell's and other engines' do.
    #[error("{why}")]
    Command {
        /// 127 where the command does not exist, 126 where it cannot be executed, [`OWN`] for other reasons.
        code: u8,
        /// Why.
        why: String,
    },
    /// Another failure that is not the user's mistake: exit code 1.
    #[error("{0}")]
    Failed(String),
}

impl ControlError {
    /// Whether the request was at fault, and not the host.
    pub fn is_refusal(&self) -> bool {
        matches!(self, ControlError::Refused(_) | ControlError::Unknown(_))
    }

    /// The same error about a container: other failures than the command's own get the exit code [`OWN`].
    pub fn of_container(self) -> ControlError {
        match self {
            ControlError::Command { .. } => self,
            other => ControlError::Command { code: OWN, why: other.to_string() },
        }
    }

    /// Creates an error of the host about a file.
    pub fn at(path: &Path, source: impl Into<std::io::Error>) -> ControlError {
        ControlError::Host { what: path.display().to_string(), source: source.into() }
    }

    /// Creates an error of the host about an operation.
    pub fn host(what: &str, source: impl Into<std::io::Error>) -> ControlError {
        ControlError::Host { what: what.to_string(), source: source.into() }
    }
}

/// Returns a refusal.
pub fn refused<T>(why: impl Into<String>) -> Result<T, ControlError> {
    Err(ControlError::Refused(why.into()))
}
