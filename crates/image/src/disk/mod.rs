//! Disks: raw images, snapshots over them, and locks.

mod lock;
pub mod raw;
pub mod shared;
pub mod snapshot;

pub use raw::RawDisk;
pub use shared::Shared;
pub use snapshot::Snapshot;
