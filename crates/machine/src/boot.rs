//! The software that a machine starts with.

use crate::snapshot::Snapshot;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// An initial RAM disk.
#[derive(Clone, Debug)]
pub enum Initrd {
    /// A file that the user named.
    Named(PathBuf),
    /// A file that was made for this machine; it may have no name any more.
    Made(Arc<File>),
}

/// A kernel, its initial RAM disk and its command line.
#[derive(Clone, Debug)]
pub struct Payload {
    /// The kernel: an Image or ELF file; for a guest's own firmware also a raw file, such as U-Boot's.
    pub kernel: PathBuf,
    /// Initial RAM disk.
    pub initrd: Option<Initrd>,
    /// Command line.
    pub append: String,
}

/// The software that the vCPUs start with.
#[derive(Clone, Debug)]
pub enum Boot {
    /// A kernel; the board is its firmware.
    Kernel(Payload),
    /// A firmware of the guest's own (an ELF file or a raw file), and what it is to start: this, or what the first bank of
    /// flash holds.
    Firmware(PathBuf, Option<Payload>),
    /// What the first bank of flash holds.
    Flash {
        /// Whether it starts in the CPU's highest privilege; otherwise the board is its firmware.
        machine_mode: bool,
    },
    /// An ELF file that starts where a firmware does, in the CPU's highest privilege.
    BareMetal(PathBuf),
    /// Nothing: the machine goes on from a snapshot, whose state is loaded once the board is assembled.
    Restored(Arc<Snapshot>),
}
