//! Why a machine could not be made or run.

use std::path::PathBuf;
use trine_base::WindowError;
use trine_memory::MemoryError;

/// One clear sentence each: what, where, what to do.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Guest memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The board's memory map.
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
    /// A file is not what it should be.
    #[error("{path}: {what}")]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        what: String,
    },
    /// Things do not fit into guest memory.
    #[error(
        "{what} needs {need} MiB and does not fit into {have} MiB of guest memory: give more with --memory"
    )]
    DoesNotFit {
        /// What.
        what: String,
        /// Its size in MiB, rounded up.
        need: u64,
        /// Size of the memory in MiB.
        have: u64,
    },
    /// The device tree.
    #[error("the device tree cannot be made: {0}")]
    DeviceTree(String),
    /// Something about the configuration.
    #[error("{0}")]
    Config(String),
}
