//! What the container's process is given, and what is taken from it.

pub mod caps;
