//! Shared by the tests of the whole (`tests/*`) and the development tasks. It drives the `trine` executable
//! and depends on the crates that are tested only where guests are fetched and prepared.

pub mod bundle;
pub mod command;
pub mod debian;
pub mod machine;
pub mod parts;
pub mod process;
pub mod registry;
pub mod scratch;
pub mod tools;
pub mod watchdog;

/// Nothing, or a sentence about what is wrong.
pub type Checked = Result<(), String>;

/// User and group ID of the ordinary user in tests: `nobody`.
pub const NOBODY: u32 = 65534;

/// An error as text.
pub fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}
