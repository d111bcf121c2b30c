//! Going into groups oneself.
//!
//! Moving another process, in the first version, takes a lock against all forks of the host, for which the kernel waits
//! until every CPU has passed a safe point: 1 to 20 ms for each tree where no other move came just before. A thread that
//! moves itself (`0` into `tasks`) needs no such lock (kernel/cgroup/cgroup.c, `cgroup_procs_write_start`): 5 µs.

use crate::{Error, Manager, Result, file};
use std::io;
use std::os::fd::OwnedFd;

/// Open descriptors through which a process goes into groups.
pub struct Doors {
    first: Vec<OwnedFd>,
    second: Option<OwnedFd>,
}

impl Manager {
    /// Opens what [`Doors::enter`] needs; the descriptors close on `exec`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn doors(&self) -> Result<Doors> {
        let open = |h: &crate::Hierarchy, name: &str| {
            let path = h.dir.join(name);
            file::open(&path, libc::O_WRONLY).map_err(|e| Error::file(&path, "opened", "", e))
        };
        let first =
            self.made().filter(|h| !h.is_second()).map(|h| open(h, "tasks")).collect::<Result<_>>()?;
        let second = self.second().map(|h| open(h, "cgroup.procs")).transpose()?;
        Ok(Doors { first, second })
    }
}

impl Doors {
    /// Moves the calling thread, the only one of its process, into the groups; into that of the second version only where
    /// it was not born there (`CLONE_INTO_CGROUP`, [`Manager::open_v2`]). Allocates nothing, so a child may call it before
    /// it executes; the rights are those of who opened the doors.
    ///
    /// # Errors
    /// The kernel's.
    pub fn enter(&self, born_in_second: bool) -> io::Result<()> {
        let second = self.second.iter().filter(|_| !born_in_second);
        self.first.iter().chain(second).try_for_each(|door| file::put(door, "0"))
    }
}
