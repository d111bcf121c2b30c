//! Who uses an image: two machines that write to one would destroy it.
//!
//! The locks are QEMU's (block/file-posix.c describes the bytes), so that its machines and `qemu-img` are kept out, too,
//! and keep us out: each permission that a user has is a shared lock on one byte, each that he does not allow others
//! is one on another byte. They belong to the open file, end with it, and say nothing to programs that do not look.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// The byte that is locked by who has the first permission.
const HAS: i64 = 100;
/// The byte that is locked by who does not allow it to others.
const DENIES: i64 = 200;
/// Permissions, by their numbers: reading what stays as it is, writing, changing the size.
const READ: i64 = 0;
const WRITE: i64 = 1;
const RESIZE: i64 = 3;

fn of_byte(kind: libc::c_int, byte: i64) -> libc::flock {
    // SAFETY: `flock` is plain data.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_whence) = (kind as libc::c_short, libc::SEEK_SET as libc::c_short);
    (lock.l_start, lock.l_len) = (byte, 1);
    lock
}

fn share(file: &File, byte: i64) -> io::Result<()> {
    let lock = of_byte(libc::F_RDLCK, byte);
    // SAFETY: the kernel reads the structure; the descriptor is open.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether somebody else has a lock on the byte.
fn is_held(file: &File, byte: i64) -> io::Result<bool> {
    let mut lock = of_byte(libc::F_WRLCK, byte);
    // SAFETY: the kernel reads and fills the structure; the descriptor is open.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) } {
        0 => Ok(lock.l_type != libc::F_UNLCK as libc::c_short),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the disk may be used like that beside those who use it now; it then is, until the file is closed. Where the
/// file system has no locks, everybody may.
pub fn take(file: &File, writes: bool) -> io::Result<bool> {
    let has: &[i64] = if writes { &[READ, WRITE] } else { &[READ] };
    let denies = [WRITE, RESIZE];
    let go = || -> io::Result<bool> {
        // First all locks, then the look at others': of two at once, at least one sees the other.
        has.iter().try_for_each(|n| share(file, HAS + n))?;
        denies.iter().try_for_each(|n| share(file, DENIES + n))?;
        for byte in has.iter().map(|n| DENIES + n).chain(denies.iter().map(|n| HAS + n)) {
            if is_held(file, byte)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    match go() {
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOLCK | libc::EINVAL | libc::EOPNOTSUPP)) => {
            Ok(true)
        }
        // Somebody has locked it alone.
        Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        result => result,
    }
}
