//! The container's program: what it may, who it is, and its `exec`.

pub mod attributes;
pub mod caps;
pub mod execute;
pub mod labels;
pub mod tty;
pub mod user;
