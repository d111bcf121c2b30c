//! Locks on disk images: two machines that write to the same image would destroy it.
//!
//! The locks are those of QEMU (block/file-posix.c describes the bytes), so that its machines and `qemu-img`
//! are excluded as well, and exclude us. Each permission that a user has is a shared lock on one byte; each
//! that it denies to others is a shared lock on another byte. The locks belong to the open file, which processes
//! share that are forked from this one, and have no effect on programs that do not check them.

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

/// The locks of one use of a disk. They are given back when this is dropped, and not only when the file is closed: a
/// child that another thread has just forked keeps the file open until it executes its program.
#[derive(Debug)]
pub struct Locks(File);

impl Drop for Locks {
    fn drop(&mut self) {
        let mut lock = of_byte(libc::F_UNLCK, HAS);
        lock.l_len = DENIES + RESIZE + 1 - HAS;
        // SAFETY: the kernel reads the structure; the descriptor is open. It can fail only where there are no locks.
        unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_OFD_SETLK, &lock) };
    }
}

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

/// Locks the disk for this use; `None` if it is not compatible with all other uses. On a file system without locks it
/// always is.
pub fn take(file: &File, writes: bool) -> io::Result<Option<Locks>> {
    let locks = Locks(file.try_clone()?);
    Ok(is_taken(file, writes)?.then_some(locks))
}

fn is_taken(file: &File, writes: bool) -> io::Result<bool> {
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

#[cfg(test)]
mod tests {
    use super::super::tests::Scratch;
    use super::*;

    #[test]
    fn locks_end_with_their_use_though_a_child_has_the_file_open() {
        let scratch = Scratch::new("lock-child");
        let path = scratch.file("a", &[0; 512]);
        let open = || File::options().read(true).write(true).open(&path).unwrap();
        let (first, second) = (open(), open());
        let (locks, child) = (take(&first, true).unwrap().unwrap(), first.try_clone().unwrap());
        for writes in [false, true] {
            assert!(take(&second, writes).unwrap().is_none());
        }
        drop((locks, first));
        let readers = [take(&second, false).unwrap().unwrap(), take(&open(), false).unwrap().unwrap()];
        assert!(take(&open(), true).unwrap().is_none());
        drop(readers);
        assert!(take(&second, true).unwrap().is_some());
        drop(child);
    }
}
