//! Debian packages.

pub mod apt;
pub mod deb;
pub mod disk;
mod fetch;
pub mod lock;
pub mod root;
mod sources;

pub use apt::{Apt, Package};
pub use lock::{Lock, Pin};
