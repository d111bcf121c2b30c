//! Why a program could not be started.

use std::path::PathBuf;
use trine_linux::Errno;

/// One clear sentence each.
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
    /// A file is not what it should be.
    #[error("{path}: {what}")]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        what: String,
    },
    /// The host refused memory.
    #[error("{path}: the host refused memory at {at:#x}: {}{}", std::io::Error::from_raw_os_error(error.0), low(*at, *error))]
    Map {
        /// The file to be mapped.
        path: PathBuf,
        /// Where.
        at: u64,
        /// Its reason.
        error: Errno,
    },
    /// gdb cannot be waited for.
    #[error("--gdb {address}: {error}; another port or path may be free")]
    Gdb {
        /// Where.
        address: trine_gdb::Address,
        /// The host's reason.
        error: std::io::Error,
    },
    /// There can be no map file for `perf`.
    #[error("--perf-map: {path}: {error}; remove what is there, or run without")]
    PerfMap {
        /// The file.
        path: PathBuf,
        /// The host's reason.
        error: std::io::Error,
    },
    /// This host cannot confine a program as asked for.
    #[error("{0}")]
    Confine(String),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

/// What to do where only the host's setting is in the way.
fn low(at: u64, error: Errno) -> &'static str {
    let is_low = at < trine_linux::space::START && error == Errno(libc::EPERM);
    if is_low { "; the lowest address that programs may use is the host's vm.mmap_min_addr" } else { "" }
}
