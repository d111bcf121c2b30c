//! The atomics of data that vCPUs share without a lock. The models in `tests/models.rs` compile the same
//! modules with loom's.

pub use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering, fence};
