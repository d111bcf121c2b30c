//! PCI: one bus of single-function devices below a host bridge (PCI Local Bus 3.0; ECAM as in PCI Express Base 4.0,
//! 7.2.2).
//!
//! Each function is a device of the board's bus without a window of its own. Its registers are its configuration space
//! from offset 0, and BAR `n` from [`bar_offset`]`(n)`; [`root`] finds the function for an access to the ECAM or to the
//! bridge's memory windows. [`config`] is the configuration space, [`msix`] are interrupts as messages, [`host`] is the
//! function that stands for the bridge.

pub mod config;
pub mod host;
pub mod msix;
pub mod root;

pub use config::{BarKind, ConfigSpace, Identity};
pub use host::HostBridge;
pub use msix::Msix;
pub use root::{Root, Seat};

/// Where a function's device has the first byte of BAR `n`; each BAR has at most 4 GiB.
pub const fn bar_offset(n: u8) -> u64 {
    (n as u64 + 1) << 32
}

/// The place that an offset in a function's device means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// A register of the configuration space.
    Config(u64),
    /// A BAR, and the offset in it.
    Bar(u8, u64),
}

impl Place {
    /// The place at an offset.
    pub const fn of(offset: u64) -> Place {
        match (offset >> 32) as u8 {
            0 => Place::Config(offset),
            n => Place::Bar(n - 1, offset & 0xffff_ffff),
        }
    }
}

/// Whether the `width` bytes at `offset` have one of the bytes `first .. first + len`.
const fn touches(offset: u64, width: trine_base::Width, first: u64, len: u64) -> bool {
    offset < first + len && offset + width.bytes() > first
}
