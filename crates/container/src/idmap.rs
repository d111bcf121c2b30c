//! The ID mappings of a user namespace (user_namespaces(7)).

use crate::error::{Context, Error, Result};
use crate::sys;
use oci_spec::runtime::LinuxIdMapping;
use std::fmt::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// The most rows that the kernel accepts.
const MOST: usize = 340;

/// The mappings of users and groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maps {
    uids: Vec<LinuxIdMapping>,
    gids: Vec<LinuxIdMapping>,
}

fn valid(what: &str, rows: &[LinuxIdMapping]) -> Result<()> {
    let end = |start: u32, row: &LinuxIdMapping| u64::from(start) + u64::from(row.size());
    let most = u64::from(u32::MAX);
    let fits =
        |r: &LinuxIdMapping| r.size() > 0 && end(r.container_id(), r) <= most && end(r.host_id(), r) <= most;
    if rows.is_empty() || rows.len() > MOST || !rows.iter().all(fits) {
        return Err(Error::refused(format!(
            "{what} must have 1 to {MOST} rows, each of at least one id and below 4294967295"
        )));
    }
    for (i, a) in rows.iter().enumerate() {
        let meets = |x: u32, y: u32, b: &LinuxIdMapping| u64::from(x) < end(y, b) && u64::from(y) < end(x, a);
        let clash = |b: &LinuxIdMapping| {
            meets(a.container_id(), b.container_id(), b) || meets(a.host_id(), b.host_id(), b)
        };
        if rows[..i].iter().any(clash) {
            return Err(Error::refused(format!("{what} maps an id twice")));
        }
    }
    Ok(())
}

impl Maps {
    /// The mappings of a configuration.
    ///
    /// # Errors
    /// A mapping is empty, maps an ID twice, or exceeds the last ID.
    pub fn new(uids: &[LinuxIdMapping], gids: &[LinuxIdMapping]) -> Result<Maps> {
        valid("linux.uidMappings", uids)?;
        valid("linux.gidMappings", gids)?;
        Ok(Maps { uids: uids.to_vec(), gids: gids.to_vec() })
    }

    /// Maps the IDs of the process's user namespace: directly as root or for the user's own ID only,
    /// otherwise by `newuidmap` and `newgidmap`, which check `/etc/subuid` and `/etc/subgid`.
    ///
    /// # Errors
    /// The host does not allow this user to map these IDs.
    pub fn write(&self, pid: i32) -> Result<()> {
        let own = std::fs::metadata("/proc/self").context("cannot read /proc")?;
        let root = own.uid() == 0;
        if !root {
            let one = |rows: &[LinuxIdMapping], id| {
                rows.len() == 1 && rows[0].size() == 1 && rows[0].host_id() == id
            };
            if !one(&self.uids, own.uid()) || !one(&self.gids, own.gid()) {
                helper("newuidmap", pid, &self.uids)?;
                return helper("newgidmap", pid, &self.gids);
            }
            // A process that could drop a group might gain access that the group denies (CVE-2014-8989).
            std::fs::write(format!("/proc/{pid}/setgroups"), "deny").context("cannot write setgroups")?;
        }
        for (name, rows) in [("gid_map", &self.gids), ("uid_map", &self.uids)] {
            let path = format!("/proc/{pid}/{name}");
            std::fs::write(&path, lines(rows)).with(|| format!("cannot map ids: {path}"))?;
        }
        Ok(())
    }
}

/// Creates a user namespace with these mappings, for the owners of a mount (mount_setattr(2),
/// `MOUNT_ATTR_IDMAP`).
///
/// # Errors
/// The namespace cannot be created.
pub fn namespace(maps: &Maps) -> Result<OwnedFd> {
    let what = "cannot make a user namespace for a mount";
    let pid = crate::launch::clone(libc::CLONE_NEWUSER, libc::SIGCHLD, None).context(what)?;
    if pid == 0 {
        // A process that exists only so that its namespace can be opened; it ends with its parent.
        loop {
            // SAFETY: system calls only: the parent may have threads.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::pause();
            }
        }
    }
    let opened = maps.write(pid).and_then(|()| {
        let path = format!("/proc/{pid}/ns/user");
        sys::open(path, libc::O_RDONLY).context(what)
    });
    // SAFETY: ends a child of ours, which has not been waited for.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    drop(sys::wait(pid));
    opened
}

/// The rows in the kernel's format: inside, outside, count.
fn lines(rows: &[LinuxIdMapping]) -> String {
    rows.iter().fold(String::new(), |mut text, r| {
        let _ = writeln!(text, "{} {} {}", r.container_id(), r.host_id(), r.size());
        text
    })
}

fn helper(name: &str, pid: i32, rows: &[LinuxIdMapping]) -> Result<()> {
    let numbers = rows.iter().flat_map(|r| [r.container_id(), r.host_id(), r.size()]).map(|n| n.to_string());
    let out = Command::new(name).arg(pid.to_string()).args(numbers).output().with(|| {
        format!("a user without privilege needs {name} for more than its own id (Debian: package uidmap)")
    })?;
    if out.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&out.stderr);
    Err(Error::refused(format!("{name} refuses: {} (see /etc/subuid and /etc/subgid)", why.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::LinuxIdMappingBuilder;

    fn row(inside: u32, outside: u32, size: u32) -> LinuxIdMapping {
        LinuxIdMappingBuilder::default().container_id(inside).host_id(outside).size(size).build().unwrap()
    }

    #[test]
    fn maps_are_checked() {
        let good = [row(0, 1000, 1), row(1, 100_000, 65_536)];
        assert!(Maps::new(&good, &good).is_ok());
        for bad in [
            vec![],
            vec![row(0, 0, 0)],
            vec![row(0, 1, u32::MAX)],
            vec![row(0, 0, 10), row(9, 100, 1)],
            vec![row(0, 0, 10), row(20, 5, 1)],
        ] {
            assert!(Maps::new(&bad, &good).is_err(), "{bad:?}");
            assert!(Maps::new(&good, &bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rows_are_written_in_the_kernels_order() {
        assert_eq!(lines(&[row(0, 1000, 1), row(1, 100_000, 65_536)]), "0 1000 1\n1 100000 65536\n");
    }
}
