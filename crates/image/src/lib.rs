//! Disks, Debian packages, initramfs archives.
//!
//! * [`disk`]: raw disks, and snapshots over them.
//! * [`debian`]: packages through the host's apt, their pins, what is inside.
//! * [`archive`], [`newc`]: initramfs archives, whole and file by file; [`linux`]: the files that `trine run linux` boots,
//!   [`modules`]: its drivers for disks.

pub mod archive;
mod cache_directory;
pub mod debian;
pub mod disk;
pub mod error;
pub mod linux;
pub mod modules;
pub mod newc;

pub use error::ImageError;
