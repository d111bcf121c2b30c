//! Copying a directory's contents to another one (`tmpcopyup`).

use crate::sys;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

/// The deepest directory level that is copied: a chain of mounts can be endless.
const DEEPEST: usize = 256;

/// Copies everything in `from` to `to`: directories, files and links with owners and permissions; other types
/// of files are skipped.
pub fn tree(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    level(from, to, DEEPEST)
}

fn level(from: &OwnedFd, to: &OwnedFd, left: usize) -> io::Result<()> {
    for entry in std::fs::read_dir(sys::path_of(from).to_string_lossy().as_ref())? {
        let name = CString::new(entry?.file_name().as_bytes())?;
        copy(from, to, &name, left)?;
    }
    Ok(())
}

fn copy(from: &OwnedFd, to: &OwnedFd, name: &CString, left: usize) -> io::Result<()> {
    let entry = sys::open_at(from.as_raw_fd(), name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let (stat, to) = (sys::stat(&entry)?, to.as_raw_fd());
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFDIR if left > 0 => {
            sys::make_dir(to, name, 0o700)?;
            let made = sys::open_at(to, name, libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)?;
            level(&entry, &made, left - 1)?;
        }
        libc::S_IFREG => {
            let mut source = File::from(sys::open_at(from.as_raw_fd(), name, libc::O_NOFOLLOW, 0)?);
            let flags = libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY;
            io::copy(&mut source, &mut File::from(sys::open_at(to, name, flags, 0o600)?))?;
        }
        libc::S_IFLNK => {
            let target = CString::new(sys::read_link(entry.as_raw_fd(), c"")?)?;
            // SAFETY: reads strings of ours.
            sys::check(unsafe { libc::symlinkat(target.as_ptr(), to, name.as_ptr()) }.into())?;
        }
        _ => return Ok(()),
    }
    own(to, name, &stat)
}

fn own(to: RawFd, name: &CString, stat: &libc::stat) -> io::Result<()> {
    let (uid, gid) = (stat.st_uid, stat.st_gid);
    // SAFETY: reads a string of ours.
    let owned = unsafe { libc::fchownat(to, name.as_ptr(), uid, gid, libc::AT_SYMLINK_NOFOLLOW) };
    match sys::check(owned.into()) {
        // This user namespace does not have the owner's ID: the copy belongs to the container's root.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {}
        other => drop(other?),
    }
    if stat.st_mode & libc::S_IFMT != libc::S_IFLNK {
        // SAFETY: as above; what was just made here is no link.
        sys::check(unsafe { libc::fchmodat(to, name.as_ptr(), stat.st_mode & 0o7777, 0) }.into())?;
    }
    Ok(())
}
