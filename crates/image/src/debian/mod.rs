//! Debian packages.

pub mod apt;
pub mod deb;
mod fetch;
pub mod lock;
mod sources;

pub use apt::{Apt, Package};
pub use lock::{Lock, Pin};
