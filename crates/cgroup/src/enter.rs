//! Moving processes into groups.
//!
//! Moving another process, in cgroup v1, takes a lock against all forks on the host, for which the kernel
//! waits until every CPU has passed a quiescent state: 1 to 20 ms for each hierarchy, unless another move
//! just came before. A thread that moves itself (`0` into `tasks`) needs no such lock
//! (kernel/cgroup/cgroup.c, `cgroup_procs_write_start`): 5 µs.

use crate::{Error, Manager, Result, file};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Open descriptors by which a process moves itself into groups.
pub struct EntryDescriptors {
    first: Vec<OwnedFd>,
    second: Option<OwnedFd>,
}

impl Manager {
    /// Opens the descriptors for [`EntryDescriptors::enter`]; they close on `exec`.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn entry_descriptors(&self) -> Result<EntryDescriptors> {
        let open = |path: PathBuf| {
            file::open(&path, libc::O_WRONLY).map_err(|e| Error::file(&path, "opened", "", e))
        };
        let first = self.made().filter(|h| !h.is_second()).map(|h| open(h.dir.join("tasks")));
        let second = self.home().map(|home| open(home.join("cgroup.procs")));
        Ok(EntryDescriptors { first: first.collect::<Result<_>>()?, second: second.transpose()? })
    }

    /// The cgroup v2 directory, for `CLONE_INTO_CGROUP`.
    pub fn open_v2(&self) -> Option<OwnedFd> {
        file::open(&self.home()?, libc::O_RDONLY | libc::O_DIRECTORY).ok()
    }

    /// The cgroup v2 directory of the container's processes. A group that enables controllers for groups
    /// below may have no processes itself: then the container has moved them into one of those.
    fn home(&self) -> Option<PathBuf> {
        let dir = &self.second()?.dir;
        let has_groups = dir.metadata().is_ok_and(|m| m.nlink() > 2);
        let gives =
            || file::read(&dir.join("cgroup.subtree_control")).is_ok_and(|given| !given.trim().is_empty());
        let below = if has_groups && gives() { populated(dir) } else { None };
        Some(below.unwrap_or_else(|| dir.clone()))
    }

    /// Moves a process with all its threads into the groups. In cgroup v1 this waits for a grace period of
    /// the kernel, up to 20 ms; [`Manager::entry_descriptors`] does not.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn add(&self, pid: i32) -> Result<()> {
        let first = self.made().filter(|h| !h.is_second()).map(|h| h.dir.clone());
        first.chain(self.home()).try_for_each(|dir| file::write(&dir.join("cgroup.procs"), &pid.to_string()))
    }
}

/// A group below that has processes.
fn populated(dir: &Path) -> Option<PathBuf> {
    file::directories(dir).into_iter().find_map(|below| {
        let some = file::read(&below.join("cgroup.procs")).is_ok_and(|all| !all.trim().is_empty());
        if some { Some(below) } else { populated(&below) }
    })
}

impl EntryDescriptors {
    /// The raw descriptors: those of cgroup v1, and that of cgroup v2.
    pub fn descriptors(&self) -> (Vec<RawFd>, Option<RawFd>) {
        (self.first.iter().map(AsRawFd::as_raw_fd).collect(), self.second.as_ref().map(AsRawFd::as_raw_fd))
    }

    /// Takes over descriptors that this process has inherited.
    pub fn handed_down(first: Vec<OwnedFd>, second: Option<OwnedFd>) -> EntryDescriptors {
        EntryDescriptors { first, second }
    }

    /// Moves the calling thread, which must be the only one of its process, into the groups. It moves into
    /// the v2 group only where it was not created there, which is much faster (`CLONE_INTO_CGROUP`,
    /// [`Manager::open_v2`]). Allocates nothing, so that a child can call it before `exec`; the permissions
    /// are those of the process that opened the descriptors.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn enter(&self, born_in_second: bool) -> io::Result<()> {
        let second = self.second.iter().filter(|_| !born_in_second);
        self.first.iter().chain(second).try_for_each(|file| file::put(file, "0"))
    }
}
