//! What a machine starts with.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// An initial RAM disk.
#[derive(Clone, Debug)]
pub enum Initrd {
    /// A file that the user named.
    Named(PathBuf),
    /// A file that was made for this machine and may have no name any more.
    Made(Arc<File>),
}

/// A kernel and what it is given.
#[derive(Clone, Debug)]
pub struct Payload {
    /// Image or ELF; on a firmware of the guest's own also a raw file, such as U-Boot's.
    pub kernel: PathBuf,
    /// Initial RAM disk.
    pub initrd: Option<Initrd>,
    /// Command line.
    pub append: String,
}

/// What the vCPUs start with.
#[derive(Clone, Debug)]
pub enum Boot {
    /// A kernel in S mode; the board is its firmware.
    Kernel(Payload),
    /// A firmware in M mode, an ELF file or a raw one, and what it is to start in S mode.
    Firmware(PathBuf, Option<Payload>),
    /// An ELF file in M mode; nothing is below it.
    BareMetal(PathBuf),
}
