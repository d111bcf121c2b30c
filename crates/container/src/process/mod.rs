//! The container's program: its permissions, its identity, and its `exec`.

pub mod attributes;
pub mod caps;
pub mod execute;
pub mod labels;
pub mod tty;
pub mod user;
