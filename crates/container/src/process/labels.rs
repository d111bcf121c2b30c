//! Settings of the host's security modules for the container's program: AppArmor profile, SELinux label.
//!
//! The files are opened before the container's root is built: what is at `/proc` inside need not be a procfs
//! (CVE-2019-16884).

use crate::error::{Context, Error, Result};
use crate::sys;
use oci_spec::runtime::Process;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Labels that are written before the `exec`.
#[derive(Default)]
pub struct Labels {
    apparmor: Option<(File, String)>,
    selinux: Option<(File, String)>,
}

fn wanted(text: &Option<String>) -> Option<String> {
    text.clone().filter(|t| !t.is_empty())
}

/// Opens `/proc`, if it is the root of a procfs.
///
/// # Errors
/// It is something else.
pub fn procfs() -> Result<OwnedFd> {
    /// From linux/magic.h; and the inode number of a procfs's root (fs/proc/root.c).
    const MAGIC: i64 = 0x9fa0;
    const ROOT: u64 = 1;
    let what = "cannot open /proc";
    let fd = sys::open("/proc", libc::O_PATH | libc::O_DIRECTORY).context(what)?;
    let real = sys::filesystem(&fd).context(what)? == MAGIC && sys::stat(&fd).context(what)?.st_ino == ROOT;
    if real { Ok(fd) } else { Err(Error::refused("/proc is not a procfs")) }
}

/// Opens a file of procfs for writing, without links that lead out and without mounts over it.
///
/// # Errors
/// It does not exist.
pub fn writable(proc: &OwnedFd, path: &str) -> Result<File> {
    // SAFETY: a structure of integers.
    let mut how: libc::open_how = unsafe { std::mem::MaybeUninit::zeroed().assume_init() };
    how.flags = (libc::O_WRONLY | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_XDEV | libc::RESOLVE_NO_MAGICLINKS;
    let what = || format!("cannot open /proc/{path}");
    let name = sys::text(path).with(what)?;
    let (dir, size) = (proc.as_raw_fd(), size_of::<libc::open_how>());
    // SAFETY: reads a string and a structure of ours.
    let fd = unsafe { libc::syscall(libc::SYS_openat2, dir, name.as_ptr(), &how, size) };
    let fd = sys::check(fd).with(what)?;
    // SAFETY: just made; nobody else owns it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
}

impl Labels {
    /// Opens the files to which a process's labels are written.
    ///
    /// # Errors
    /// The host has no such security module.
    pub fn open(process: &Process) -> Result<Labels> {
        let (apparmor, selinux) = (wanted(process.apparmor_profile()), wanted(process.selinux_label()));
        if apparmor.is_none() && selinux.is_none() {
            return Ok(Labels::default());
        }
        let proc = procfs()?;
        let mut labels = Labels::default();
        if let Some(profile) = apparmor {
            // If several modules are stacked, each has a directory of its own.
            let file =
                writable(&proc, "self/attr/apparmor/exec").or_else(|_| writable(&proc, "self/attr/exec"));
            let missing =
                |e| Error::refused(format!("process.apparmorProfile: this host has no AppArmor: {e}"));
            labels.apparmor = Some((file.map_err(missing)?, format!("exec {profile}")));
        }
        if let Some(label) = selinux {
            let missing = |e| Error::refused(format!("process.selinuxLabel: this host has no SELinux: {e}"));
            labels.selinux = Some((writable(&proc, "self/attr/exec").map_err(missing)?, label));
        }
        Ok(labels)
    }

    /// Sets the labels for the next `exec`.
    ///
    /// # Errors
    /// The host does not know them.
    pub fn apply(self) -> Result<()> {
        let rows = [("process.apparmorProfile", self.apparmor), ("process.selinuxLabel", self.selinux)];
        for (name, row) in rows {
            if let Some((mut file, text)) = row {
                file.write_all(text.as_bytes()).with(|| format!("{name} '{text}'"))?;
            }
        }
        Ok(())
    }
}
