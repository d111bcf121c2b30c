//! The errors of this crate.

use std::io;
use std::path::{Path, PathBuf};

/// Why an operation on a group failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation on a file or directory of a group failed.
    #[error("control group: {} cannot be {done}{}: {error}{}", path.display(), written(.value), hint(.error))]
    File {
        /// The file or directory.
        path: PathBuf,
        /// The operation, as a participle: `written`, `read`, `made`, `removed`.
        done: &'static str,
        /// The value that was to be written.
        value: String,
        /// The host's reason.
        error: io::Error,
    },
    /// A limit needs a controller that no group of this container has.
    #[error(
        "{limit} needs a control group with the {controller} controller, and there is none: {why}; run as root, or in \
         a delegated group (systemd-run --user --scope -p Delegate=yes)"
    )]
    Missing {
        /// The limit that was asked for.
        limit: String,
        /// The controller.
        controller: String,
        /// Why there is no such group.
        why: String,
    },
    /// The request is not possible.
    #[error("{0}")]
    Refused(String),
    /// Processes did not end in time.
    #[error("control group {}: processes are still in it after {seconds} s", path.display())]
    Busy {
        /// The group.
        path: PathBuf,
        /// How many seconds were waited.
        seconds: u64,
    },
    /// A system call that is not about a file failed.
    #[error("control group: {what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The host's reason.
        error: io::Error,
    },
}

/// The result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;

fn written(value: &str) -> String {
    if value.is_empty() { String::new() } else { format!(" (\"{}\")", value.escape_debug()) }
}

/// Explains an error number where its name does not say what it means for control groups.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EBUSY) => " (more is in use already)",
        Some(libc::ENOENT) => " (this host does not support this limit)",
        Some(libc::EINVAL) => " (the kernel does not accept this value here)",
        Some(libc::ENOSPC) => " (the group has no CPUs or memory nodes, or a limit of the host is reached)",
        Some(libc::ENODEV) => " (this device does not exist)",
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

    /// The kernel's error number, if it is an error of the kernel.
    pub fn number(&self) -> Option<i32> {
        match self {
            Error::File { error, .. } | Error::System { error, .. } => error.raw_os_error(),
            _ => None,
        }
    }

    /// Whether this process lacks the permission.
    pub fn is_denied(&self) -> bool {
        matches!(self.number(), Some(libc::EACCES | libc::EPERM | libc::EROFS))
    }
}
