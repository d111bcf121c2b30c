//! Control groups of the host (cgroups(7)), which count and limit processes together: cgroup v1 (each
//! controller has a hierarchy of its own), cgroup v2 (one hierarchy for all), and hosts that have both
//! (hybrid).
//!
//! * [`Manager`]: the group of a container in every hierarchy of the host: creating, entering, limiting,
//!   freezing, measuring, killing and removing it.
//! * [`Groups`]: groups for a few limits of a program, below the groups of this process.
//!
//! `file` reads and writes the files of groups, `trees` finds where hierarchies are mounted, `path` decides
//! which group is meant.

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

pub use enter::EntryDescriptors;
pub use error::{Error, Result};
pub use limits::{CPU, CPU_TIME, Groups, MEMORY, PIDS};
pub use manager::{Below, Hierarchy, Manager};
pub use oom::OomEvents;
pub use path::GroupPath;
pub use stats::{Cpu, Huge, Io, Memory, Stats, Swap};
pub use trees::{Host, Tree};
