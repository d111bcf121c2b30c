//! The user of a process.

use crate::error::{Context, Error, Result};
use crate::sys;
use oci_spec::runtime::User;
use std::ffi::CString;
use std::io::Read;

/// The ID that no user can have: the kernel's calls take it as "unchanged" (setresuid(2)), so that a process
/// would keep its ID, which is root's.
const NOBODYS: u32 = u32::MAX;

/// Refuses an invalid user or group.
///
/// # Errors
/// A sentence that names the field.
pub fn check(user: &User) -> Result<()> {
    let fields = [("uid", user.uid()), ("gid", user.gid())].into_iter();
    let more = user.additional_gids().iter().flatten().map(|gid| ("additionalGids", *gid));
    match fields.chain(more).find(|(_, id)| *id == NOBODYS) {
        None => Ok(()),
        Some((field, id)) => Err(Error::refused(format!(
            "process.user.{field} {id}: this is not the number of a user or group"
        ))),
    }
}

/// Changes to the user.
///
/// # Errors
/// The container's user namespace does not have this ID, or it is not valid.
pub fn become_user(user: &User, may_set_groups: bool) -> Result<()> {
    check(user)?;
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
                .context("process.user.additionalGids: a user without subordinate groups cannot have additional groups");
        }
        sys::check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))
            .with(|| format!("process.user.gid {gid}"))?;
        sys::check(libc::syscall(libc::SYS_setresuid, uid, uid, uid))
            .with(|| format!("process.user.uid {uid}"))?;
    }
    Ok(())
}

/// Makes the user the owner of standard input, output and error, unless they are devices that all users
/// share.
pub fn own_stdio(uid: u32) {
    let null = libc::makedev(1, 3);
    for fd in 0..3 {
        let Ok(stat) = sys::stat(&fd) else { continue };
        if stat.st_uid != uid && stat.st_rdev != null {
            // It may be another user's file, or on a read-only file system; then the owner is unchanged.
            // SAFETY: changes an owner.
            unsafe { libc::fchown(fd, uid, stat.st_gid) };
        }
    }
}

/// The home directory of a user in the container's `/etc/passwd`.
pub fn home(uid: u32) -> CString {
    let text = passwd().unwrap_or_default();
    let home = crate::image::user::home(&String::from_utf8_lossy(&text), uid).to_string();
    CString::new(home).unwrap_or_default()
}

/// Reads `/etc/passwd`: an image may have anything there, so only a regular file, and only its beginning.
fn passwd() -> std::io::Result<Vec<u8>> {
    const MOST: u64 = 1 << 20;
    let file =
        std::fs::File::from(sys::open("/etc/passwd", libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY)?);
    let mut bytes = Vec::new();
    if file.metadata()?.is_file() {
        file.take(MOST).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
