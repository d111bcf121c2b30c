//! A container's root: its mounts, devices and masks, which are set up before the process moves into it.

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

/// The root under construction, and the settings for it.
pub struct Place<'a> {
    /// Its root.
    pub root: Root,
    /// The bundle: relative sources start there.
    pub bundle: &'a Path,
    /// The SELinux label of its files.
    pub label: Option<&'a str>,
    /// Namespaces that were created for it (`CLONE_NEW*`).
    pub new: i32,
    /// Whether it has a user namespace.
    pub users: bool,
    /// Whether it has a cgroup namespace.
    pub own_groups: bool,
    /// The control group hierarchies.
    pub hierarchies: &'a [Hierarchy],
}
