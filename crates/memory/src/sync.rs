//! The atomics of the page states. A model (`crates/engine/tests/models.rs`) compiles `pages` with loom's
//! atomics instead.

pub use std::sync::atomic::{AtomicU8, Ordering, fence};
