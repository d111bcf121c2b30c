//! Debian packages.

pub mod apt;
pub mod deb;
pub mod lock;

pub use apt::{Apt, Package};
pub use lock::{Lock, Pin};
