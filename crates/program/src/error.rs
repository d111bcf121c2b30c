//! Why a program cannot be started.

use std::path::PathBuf;
use trine_linux::Errno;

/// Each message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// A file could not be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The host's reason.
        error: std::io::Error,
    },
    /// A file is not of the expected kind, or damaged.
    #[error("{path}: {what}")]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        what: String,
    },
    /// The host refused to map memory.
    #[error("{path}: the host refused memory at {at:#x}: {}{}", std::io::Error::from_raw_os_error(error.0), low(*at, *error))]
    Map {
        /// The file to be mapped.
        path: PathBuf,
        /// The address.
        at: u64,
        /// The host's reason.
        error: Errno,
    },
    /// Waiting for gdb is not possible.
    #[error("--gdb {address}: {error}; another port or path may be free")]
    Gdb {
        /// The address.
        address: trine_gdb::Address,
        /// The host's reason.
        error: std::io::Error,
    },
    /// The map file for `perf` cannot be created.
    #[error("--perf-map: {path}: {error}; remove what is there, or run without")]
    PerfMap {
        /// The file.
        path: PathBuf,
        /// The host's reason.
        error: std::io::Error,
    },
    /// This host cannot confine a program as requested.
    #[error("{0}")]
    Confine(String),
    /// Another failure.
    #[error("{0}")]
    Other(String),
}

/// A hint if only a setting of the host prevents the mapping.
fn low(at: u64, error: Errno) -> &'static str {
    let is_low = at < trine_linux::space::START && error == Errno(libc::EPERM);
    if is_low { "; the lowest address that programs may use is the host's vm.mmap_min_addr" } else { "" }
}
