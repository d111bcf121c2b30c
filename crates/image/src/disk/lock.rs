//! Locks on disk images: two machines that write to the same image would destroy it.
//!
//! The locks are those of QEMU (block/file-posix.c describes the bytes), so that its machines and `qemu-img`
//! are excluded as well, and exclude us. Each permission that a user has is a shared lock on one byte; each
//! that it denies to others is a shared lock on another byte. The locks belong to the open file, end with it,
//! and have no effect on programs that do not check them.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// The byte locked by users that have permission 0.
const HAS: i64 = 100;
/// The byte locked by users that deny permission 0 to others.
const DENIES: i64 = 200;
/// The permission numbers: consistent read, write, resize.
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

/// Whether another user has a lock on the byte.
fn is_held(file: &File, byte: i64) -> io::Result<bool> {
    let mut lock = of_byte(libc::F_WRLCK, byte);
    // SAFETY: the kernel reads and fills the structure; the descriptor is open.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) } {
        0 => Ok(lock.l_type != libc::F_UNLCK as libc::c_short),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Locks the disk for this use until the file is closed, and returns whether it is compatible with all other
/// uses. On a file system without locks it always is.
pub fn take(file: &File, writes: bool) -> io::Result<bool> {
    let has: &[i64] = if writes { &[READ, WRITE] } else { &[READ] };
    let denies = [WRITE, RESIZE];
    let go = || -> io::Result<bool> {
        // First all locks are taken, then those of others are checked: of two processes that do this at once,
        // at least one sees the other.
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
        // Another user has locked it exclusively.
        Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        result => result,
    }
}
