//! The plan that the process inside executes.

use crate::rootfs::groups::Hierarchy;
use crate::rootfs::layers::Layers;
use crate::state::ContainerState;
use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What the process inside becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Task {
    /// A container's first process, which builds the container.
    Create,
    /// Another process in an existing container.
    Exec,
}

/// The plan. The frame's descriptors are: a socket to wait on for the start, if `listens`, then the mount
/// trees.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    /// What the process becomes.
    pub task: Task,
    /// The configuration; for [`Task::Exec`] its process is the new one.
    pub spec: Spec,
    /// The container's state, as hooks receive it.
    pub state: ContainerState,
    /// The root, a directory of the host.
    pub rootfs: PathBuf,
    /// The layers that are mounted over it.
    pub layers: Option<Layers>,
    /// Namespaces that were created (`CLONE_NEW*`), without the cgroup namespace.
    pub new: i32,
    /// Whether the container has a user namespace.
    pub users: bool,
    /// Whether supplementary groups may be changed.
    pub may_set_groups: bool,
    /// The control group hierarchies.
    pub hierarchies: Vec<Hierarchy>,
    /// Number of descriptors, from 3 on, that the program inherits.
    pub preserve: u32,
    /// Whether it gets a session keyring of its own.
    pub keyring: bool,
    /// Whether the root is changed by `pivot_root(2)`, which does not work if the host's root is a RAM disk.
    pub pivot: bool,
    /// Whether another command starts the program.
    pub listens: bool,
    /// The indices of the mounts whose trees are among the descriptors, in this order.
    pub trees: Vec<usize>,
    /// Whether hooks of the runtime run once the mounts are made.
    pub hooks: bool,
}
