//! Disks.

pub mod raw;
pub mod snapshot;

pub use raw::RawDisk;
pub use snapshot::Snapshot;
