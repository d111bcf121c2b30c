//! Paths that are masked or read-only: procfs and sysfs reveal and change the whole host.

use super::{Place, mounts};
use crate::error::{Context, Error, Result};
use crate::sys::{self, Attributes};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

const READ_ONLY: Attributes = Attributes { set: libc::MOUNT_ATTR_RDONLY, clear: 0, propagation: 0 };

/// Makes these paths read-only.
///
/// # Errors
/// The kernel refused. A path that does not exist needs no protection.
pub fn read_only(place: &Place, paths: &[String]) -> Result<()> {
    for path in paths {
        let what = || format!("cannot make {path} read-only");
        let Some(at) = place.root.find(Path::new(path))? else { continue };
        let tree = sys::clone_tree(at.as_raw_fd(), c"", true).with(what)?;
        sys::set_attributes(&tree, false, READ_ONLY, None).with(what)?;
        sys::move_mount(&tree, &at).with(what)?;
    }
    Ok(())
}

/// Masks these paths: a file by `/dev/null`, a directory by an empty one.
///
/// # Errors
/// As [`read_only`].
pub fn hide(place: &Place, paths: &[String]) -> Result<()> {
    let (mut null, mut empty) = (None, None);
    for path in paths {
        let what = || format!("cannot hide {path}");
        let Some(at) = place.root.find(Path::new(path))? else { continue };
        let directory = sys::stat(&at).with(what)?.st_mode & libc::S_IFMT == libc::S_IFDIR;
        let kept: &mut Option<OwnedFd> = if directory { &mut empty } else { &mut null };
        let cover = match kept {
            // A clone of the first one, which is attached by now: dropping a detached mount takes
            // milliseconds.
            Some(first) => sys::clone_tree(first.as_raw_fd(), c"", false).with(what)?,
            None if directory => nothing(place)?,
            None => device()?,
        };
        sys::move_mount(&cover, &at).with(what)?;
        kept.get_or_insert(cover);
    }
    Ok(())
}

/// The host's null device, which an image cannot replace by another file.
fn device() -> Result<OwnedFd> {
    let what = "cannot reach the host's /dev/null";
    let tree = sys::clone_tree(libc::AT_FDCWD, c"/dev/null", false).context(what)?;
    let stat = sys::stat(&tree).context(what)?;
    let is_null = stat.st_mode & libc::S_IFMT == libc::S_IFCHR && stat.st_rdev == libc::makedev(1, 3);
    if is_null { Ok(tree) } else { Err(Error::refused("the host's /dev/null is not the null device")) }
}

/// An empty read-only directory.
fn nothing(place: &Place) -> Result<OwnedFd> {
    let what = "cannot make an empty directory";
    let call = |result| {
        // SAFETY: the call has just made this descriptor; nobody else owns it.
        sys::check(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) }).context(what)
    };
    /// linux/mount.h.
    const CREATE: libc::c_int = 6;
    const SET_STRING: libc::c_int = 1;
    // SAFETY: reads literals; makes a descriptor.
    let context = call(unsafe { libc::syscall(libc::SYS_fsopen, c"tmpfs".as_ptr(), 1) })?;
    let set = |key: *const libc::c_char, value: *const libc::c_char, command: libc::c_int| {
        let fd = context.as_raw_fd();
        // SAFETY: reads strings that live until the call has ended.
        sys::check(unsafe { libc::syscall(libc::SYS_fsconfig, fd, command, key, value, 0) }).context(what)
    };
    set(c"mode".as_ptr(), c"755".as_ptr(), SET_STRING)?;
    set(c"nr_inodes".as_ptr(), c"1".as_ptr(), SET_STRING)?;
    if let Some(label) = place.label.and_then(|l| std::ffi::CString::new(l).ok()) {
        set(c"context".as_ptr(), label.as_ptr(), SET_STRING)?;
    }
    set(std::ptr::null(), std::ptr::null(), CREATE)?;
    let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    // SAFETY: only makes a descriptor.
    call(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), 1, attributes) })
}

/// Makes the root itself read-only; mounts in it are unchanged.
///
/// # Errors
/// The kernel refused.
pub fn root(place: &Place) -> Result<()> {
    sys::set_attributes(place.root.fd(), false, READ_ONLY, None).context("cannot make the root read-only")
}

/// Mounts the terminal's device at `/dev/console`. Does not write to a `/dev` that is the host's (`hosts`).
///
/// # Errors
/// As [`read_only`].
pub fn console(place: &Place, slave: &OwnedFd, hosts: bool) -> Result<()> {
    if hosts && place.root.find(Path::new("/dev/console"))?.is_none() {
        return Ok(());
    }
    mounts::show(place, slave, Path::new("/dev/console"))
}
