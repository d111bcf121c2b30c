//! A container's root: its mounts, devices and masks, put together before the process moves into it.

pub mod copy;
pub mod devices;
pub mod fuse;
pub mod groups;
pub mod layers;
pub mod masks;
pub mod mounts;
pub mod paths;
pub mod pivot;

use groups::Hierarchy;
use paths::Root;
use std::path::Path;

/// Where a container is put together, and what rules how.
pub struct Place<'a> {
    /// Its root.
    pub root: Root,
    /// The bundle: relative sources start there.
    pub bundle: &'a Path,
    /// Label of its files (SELinux).
    pub label: Option<&'a str>,
    /// Namespaces that were made for it (`CLONE_NEW*`).
    pub new: i32,
    /// Whether its users are not the host's.
    pub users: bool,
    /// Whether it has a namespace of control groups.
    pub own_groups: bool,
    /// The hierarchies of control groups.
    pub hierarchies: &'a [Hierarchy],
}
