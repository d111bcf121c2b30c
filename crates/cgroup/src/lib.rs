//! Control groups (cgroups(7)) of the host: processes that are counted and limited together, in the first version (each
//! controller has a tree of its own), the second (all share one), and where a host has both (hybrid).
//!
//! * [`Manager`]: the group of a container, in every tree that the host has: made, entered, limited, frozen, counted,
//!   ended, removed.
//! * [`Groups`]: groups for a few limits of a program, below those that this process is in.
//!
//! `file` reads and writes the files that groups consist of, `trees` knows where they are mounted, `path` says which
//! group is meant.

mod bpf;
mod devices;
mod enter;
mod error;
mod file;
mod kill;
mod limits;
mod manager;
mod oom;
mod path;
mod resources;
mod stats;
mod trees;
mod v1;
mod v2;

pub use enter::Doors;
pub use error::{Error, Result};
pub use limits::{CPU, CPU_TIME, Groups, MEMORY, PIDS};
pub use manager::{Below, Hierarchy, Manager};
pub use oom::OomEvents;
pub use path::GroupPath;
pub use stats::{Cpu, Huge, Io, Memory, Stats, Swap};
pub use trees::{Host, Tree};
