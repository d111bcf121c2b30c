//! What the process inside is told to do.

use crate::rootfs::groups::Hierarchy;
use crate::rootfs::layers::Layers;
use crate::state::State;
use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A container's first process, or another one in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Task {
    /// Puts the container together.
    Create,
    /// Goes into a container that is there.
    Exec,
}

/// The plan. Beside it are descriptors: a socket to wait on for the start, where `listens`, then the trees of mounts.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Which it is.
    pub task: Task,
    /// The configuration; for [`Task::Exec`] its process is the new one.
    pub spec: Spec,
    /// The container as hooks are told.
    pub state: State,
    /// The root, a directory of the host.
    pub rootfs: PathBuf,
    /// What is mounted over it.
    pub layers: Option<Layers>,
    /// Namespaces that were made (`CLONE_NEW*`), without that of control groups.
    pub new: i32,
    /// Whether the container's users are not the host's.
    pub users: bool,
    /// Whether a set of groups may be given up or changed.
    pub may_set_groups: bool,
    /// The hierarchies of control groups.
    pub hierarchies: Vec<Hierarchy>,
    /// Descriptors from 3 on that the program gets.
    pub preserve: u32,
    /// Whether it gets a session keyring of its own.
    pub keyring: bool,
    /// Whether the root is changed by `pivot_root(2)`, which a RAM disk as the host's root does not allow.
    pub pivot: bool,
    /// Whether another command starts the program.
    pub listens: bool,
    /// Which mounts' trees are beside this, in this order.
    pub trees: Vec<usize>,
    /// Whether hooks of the runtime run once mounts are made.
    pub hooks: bool,
}
