//! Who a process is.

use crate::error::{Context, Result};
use crate::sys;
use oci_spec::runtime::User;
use std::ffi::CString;

/// Becomes the user.
///
/// # Errors
/// The container's user namespace has no such id.
pub fn become_user(user: &User, may_set_groups: bool) -> Result<()> {
    let groups = user.additional_gids().as_deref().unwrap_or_default();
    let (uid, gid) = (user.uid(), user.gid());
    // SAFETY: changes this process's mask and ids; reads an array of ours.
    unsafe {
        if let Some(mask) = user.umask() {
            libc::umask(mask & 0o777);
        }
        if may_set_groups {
            let set = libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr());
            sys::check(set).with(|| format!("process.user.additionalGids {groups:?}"))?;
        } else if !groups.is_empty() {
            let why = std::io::Error::from_raw_os_error(libc::EPERM);
            return Err(why)
                .context("process.user.additionalGids: a user without subordinate groups has no others");
        }
        sys::check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))
            .with(|| format!("process.user.gid {gid}"))?;
        sys::check(libc::syscall(libc::SYS_setresuid, uid, uid, uid))
            .with(|| format!("process.user.uid {uid}"))?;
    }
    Ok(())
}

/// Gives the user what it has as standard input, output and error, as long as that is no device that all share.
pub fn own_stdio(uid: u32) {
    let null = libc::makedev(1, 3);
    for fd in 0..3 {
        let Ok(stat) = sys::stat(&fd) else { continue };
        if stat.st_uid != uid && stat.st_rdev != null {
            // It may be another's file, or on a filesystem that cannot be written; then it stays as it is.
            // SAFETY: changes an owner.
            unsafe { libc::fchown(fd, uid, stat.st_gid) };
        }
    }
}

/// The home directory of a user as the container's `/etc/passwd` has it.
pub fn home(uid: u32) -> CString {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = text.lines().map(|l| l.split(':').collect::<Vec<_>>());
    let home = line.into_iter().find(|f| f.len() > 5 && f[2].parse() == Ok(uid)).map(|f| f[5].to_string());
    CString::new(home.filter(|h| !h.is_empty()).unwrap_or("/".into())).unwrap_or_default()
}
