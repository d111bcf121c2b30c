//! Debian packages.

pub mod apt;
pub mod deb;
mod fetch;
pub mod lock;
pub mod root;
mod sources;

pub use apt::{Apt, Package};
pub use lock::{Lock, Pin};
