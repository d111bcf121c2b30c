//! What can go wrong, in sentences.

use std::io;
use std::path::{Path, PathBuf};

/// Why something was not done to a group.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory of a group says no.
    #[error("control group: {} cannot be {done}{}: {error}{}", path.display(), written(.value), hint(.error))]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried: `written`, `read`, `made`, `removed`.
        done: &'static str,
        /// What was written.
        value: String,
        /// Why not.
        error: io::Error,
    },
    /// A limit needs a controller that there is no group with.
    #[error(
        "{limit} needs a control group with the {controller} controller, and there is none: {why}; run as root, or in \
         a delegated group (systemd-run --user --scope -p Delegate=yes)"
    )]
    Missing {
        /// What was asked for.
        limit: String,
        /// The controller.
        controller: String,
        /// Why there is none.
        why: String,
    },
    /// What is asked for cannot be.
    #[error("{0}")]
    Refused(String),
    /// Processes do not go away.
    #[error("control group {}: processes are still in it after {seconds} s", path.display())]
    Busy {
        /// The group.
        path: PathBuf,
        /// How long it was tried.
        seconds: u64,
    },
    /// The kernel's answer to something that is not a file.
    #[error("control group: {what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        error: io::Error,
    },
}

/// What this crate's functions give.
pub type Result<T> = std::result::Result<T, Error>;

fn written(value: &str) -> String {
    if value.is_empty() { String::new() } else { format!(" (\"{}\")", value.escape_debug()) }
}

/// What an error number means in groups, where its name does not say it.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EBUSY) => " (more is in use already)",
        Some(libc::ENOENT) => " (this host has no such limit)",
        Some(libc::EINVAL) => " (the kernel does not take this value here)",
        Some(libc::ENOSPC) => " (CPUs or memory nodes are missing, or a limit of the host is reached)",
        Some(libc::ENODEV) => " (no such device)",
        _ => "",
    }
}

impl Error {
    pub(crate) fn file(path: &Path, done: &'static str, value: &str, error: io::Error) -> Error {
        Error::File { path: path.to_owned(), done, value: value.to_owned(), error }
    }

    pub(crate) fn last(what: &'static str) -> Error {
        Error::System { what, error: io::Error::last_os_error() }
    }

    /// The kernel's number, where it is the kernel's.
    pub fn number(&self) -> Option<i32> {
        match self {
            Error::File { error, .. } | Error::System { error, .. } => error.raw_os_error(),
            _ => None,
        }
    }

    /// Whether the reason is that this process may not.
    pub fn is_denied(&self) -> bool {
        matches!(self.number(), Some(libc::EACCES | libc::EPERM | libc::EROFS))
    }
}
