//! Why a machine cannot be created or run.

use std::path::PathBuf;
use trine_base::WindowError;
use trine_memory::MemoryError;

/// Each message is one sentence: what failed, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Guest memory cannot be created.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The board's memory map is invalid.
    #[error(transparent)]
    Window(#[from] WindowError),
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
    /// Something does not fit into guest memory.
    #[error(
        "{what} needs {need} MiB and does not fit into {have} MiB of guest memory: use a larger --memory"
    )]
    DoesNotFit {
        /// What does not fit.
        what: String,
        /// Its size in MiB, rounded up.
        need: u64,
        /// Size of the memory in MiB.
        have: u64,
    },
    /// The configuration is not possible; the text says why.
    #[error("{0}")]
    Config(String),
}
