//! The atomics of the pages' states. A model (`crates/engine/tests/models.rs`) compiles the same module with loom's.

pub use std::sync::atomic::{AtomicU8, Ordering, fence};
