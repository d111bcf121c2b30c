//! The program's view of files: a root directory for its libraries, and its own contents of some `/proc`
//! files (`proc`).

use crate::call::{Context, get, string};
use crate::errno::Errno;
use crate::own;
use crate::proc::{self, Executable};
use crate::space::{END, programs};
use std::ffi::CString;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The names that differ for the program.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The root directory in which absolute paths are looked up first; files that are not there are the
    /// host's.
    pub sysroot: Option<PathBuf>,
    /// The path of the program's executable when it was started.
    pub exe: PathBuf,
    /// The open executable.
    pub kept: Option<Executable>,
    /// Its arguments.
    pub args: Vec<CString>,
    /// Whether the host's kernel shows the program's arguments as those of this process.
    pub shown: bool,
    /// Its auxiliary vector, the contents of `/proc/self/auxv`.
    pub auxv: Vec<u8>,
}

impl Names {
    /// Translates a path of the program to the host's.
    pub fn host_path(&self, path: CString) -> CString {
        let Some(root) = self.sysroot.as_ref().filter(|_| path.as_bytes().first() == Some(&b'/')) else {
            return path;
        };
        let mut joined = root.clone().into_os_string().into_vec();
        joined.extend_from_slice(path.as_bytes());
        match Path::new(std::ffi::OsStr::from_bytes(&joined)).symlink_metadata() {
            Ok(_) => CString::new(joined).unwrap_or(path),
            Err(_) => path,
        }
    }

    /// The same for a path relative to a directory descriptor; the `exe` of a process under Trine is its
    /// program.
    pub fn host_path_at(&self, dir: RawFd, path: CString, follow: bool) -> CString {
        proc::executable(self, dir, &path, follow, false).unwrap_or_else(|| self.host_path(path))
    }

    /// A path to the program's own executable: its name, or its descriptor if the name belongs to another
    /// file or to none by now.
    pub fn executable(&self) -> PathBuf {
        let file = self.kept.filter(|kept| !kept.is_at(&self.exe)).and_then(|kept| kept.descriptor());
        file.map_or_else(|| self.exe.clone(), |fd| format!("/proc/self/fd/{fd}").into())
    }

    /// The target of the link `/proc/self/exe`.
    pub fn link(&self) -> Vec<u8> {
        let fd = self.kept.and_then(|kept| kept.descriptor());
        let link = fd.and_then(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok());
        link.unwrap_or_else(|| self.exe.clone()).into_os_string().into_vec()
    }
}

/// Reads a path argument and translates it to the host's.
fn path(c: &Context, at: u64) -> Result<CString, Errno> {
    Ok(c.guest.names.host_path(string(at)?))
}

/// The path argument of a call about a file's attributes; with `AT_EMPTY_PATH` it may be null (Linux 6.11).
pub fn path_or_null(c: &Context, dir: u64, at: u64, flags: u64) -> Result<Option<CString>, Errno> {
    if at == 0 && flags & libc::AT_EMPTY_PATH as u64 != 0 {
        return Ok(None);
    }
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW as u64 == 0;
    Ok(Some(c.guest.names.host_path_at(dir as RawFd, string(at)?, follow)))
}

/// The program's executable, if a call about a file's attributes would access Trine's, by a symbolic link of
/// any name.
pub fn instead(c: &Context, dir: u64, path: Option<&CString>, flags: u64) -> Option<CString> {
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW as u64 == 0;
    proc::executable(&c.guest.names, dir as RawFd, path?, follow, true)
}

/// `statx(dirfd, path, flags, mask, buf)`.
pub fn statx(c: &Context, [dir, path, flags, mask, buf, _]: [u64; 6]) -> Result<u64, Errno> {
    // Offsets of `stx_ino` and of the device number (include/uapi/linux/stat.h).
    const INODE: u64 = 32;
    const DEVICE: u64 = 136;
    if buf >= END {
        return Err(Errno(libc::EFAULT));
    }
    let path = path_or_null(c, dir, path, flags)?;
    let call = |path: Option<&CString>| {
        let at = path.map_or(0, |p| p.as_ptr() as u64);
        c.host(libc::SYS_statx, [dir, at, flags, mask, buf, 0])
    };
    let done = call(path.as_ref())?;
    let [major, minor]: [u32; 2] = get(buf + DEVICE)?;
    if proc::is_monitor(libc::makedev(major, minor), get(buf + INODE)?)
        && let Some(own) = instead(c, dir, path.as_ref(), flags)
    {
        return call(Some(&own));
    }
    Ok(done)
}

/// `openat(dirfd, path, flags, mode)`.
pub fn openat(c: &Context, [dir, at, flags, mode, ..]: [u64; 6]) -> Result<u64, Errno> {
    let path = c.guest.names.host_path(string(at)?);
    match c.host(libc::SYS_openat, [dir, path.as_ptr() as u64, flags, mode, 0, 0]) {
        Ok(fd) => proc::opened(c, fd, dir as RawFd, &path, flags),
        Err(Errno(libc::EACCES)) => {
            proc::refused(c, dir as RawFd, &path, flags).unwrap_or(Err(Errno(libc::EACCES)))
        }
        failed => failed,
    }
}

/// `openat2(dirfd, path, how, size)`.
pub fn openat2(c: &Context, [dir, at, how, size, ..]: [u64; 6]) -> Result<u64, Errno> {
    // With `RESOLVE_BENEATH` and `RESOLVE_IN_ROOT`, absolute paths have another meaning.
    const APART: u64 = 0x08 | 0x10;
    // Flags, mode, resolve flags; the kernel reports a structure that cannot be read.
    let given = get::<[u64; 3]>(how).ok();
    let path = string(at)?;
    let path = match given {
        Some([_, _, resolve]) if resolve & APART != 0 => path,
        _ => c.guest.names.host_path(path),
    };
    let fd = c.host(libc::SYS_openat2, [dir, path.as_ptr() as u64, programs(how), size, 0, 0])?;
    proc::opened(c, fd, dir as RawFd, &path, given.map_or(0, |[flags, ..]| flags))
}

/// `close(fd)`: the program cannot close descriptors that it must not see.
pub fn close(c: &Context, [fd, ..]: [u64; 6]) -> Result<u64, Errno> {
    match c.guest.names.kept.is_some_and(|kept| kept.is_kept(fd)) {
        true => Err(Errno(libc::EBADF)),
        false => c.host(libc::SYS_close, [fd, 0, 0, 0, 0, 0]),
    }
}

/// `close_range(first, last, flags)`.
pub fn close_range(c: &Context, [first, last, flags, ..]: [u64; 6]) -> Result<u64, Errno> {
    let (first, last) = (first as u32, last as u32);
    let call =
        |first: u32, last: u32| c.host(libc::SYS_close_range, [first.into(), last.into(), flags, 0, 0, 0]);
    match c.guest.names.kept.map(|kept| kept.number() as u32) {
        Some(own)
            if (first..=last).contains(&own) && c.guest.names.kept.is_some_and(|k| k.is_kept(own.into())) =>
        {
            // The flags take effect first, because they may unshare the thread's descriptor table.
            if first < own {
                call(first, own - 1)?;
            }
            if own < last { call(own + 1, last) } else { Ok(0) }
        }
        _ => call(first, last),
    }
}

/// `getdents64(fd, buffer, size)`: omits those of the process's descriptors that the program must not see.
pub fn getdents64(c: &Context, [fd, buffer, size, ..]: [u64; 6]) -> Result<u64, Errno> {
    // Offsets in `struct linux_dirent64` of its size and its name.
    const LENGTH: usize = 16;
    const NAME: usize = 19;
    let got = c.host(libc::SYS_getdents64, [fd, programs(buffer), size, 0, 0, 0])?;
    let Some(kept) = c.guest.names.kept.filter(|_| got != 0 && proc::is_own_descriptors(fd as RawFd)) else {
        return Ok(got);
    };
    let mut entries = vec![0; got as usize];
    trine_engine::direct::read(buffer, &mut entries).ok_or(Errno(libc::EFAULT))?;
    let (hidden, mut at) = (format!("{}\0", kept.number()), 0);
    while let Some(&[low, high]) = entries.get(at + LENGTH..at + LENGTH + 2) {
        let end = at + usize::from(u16::from_le_bytes([low, high]));
        if end <= at + NAME || end > entries.len() {
            break;
        }
        if !entries[at + NAME..end].starts_with(hidden.as_bytes()) {
            at = end;
            continue;
        }
        entries.drain(at..end);
        trine_engine::direct::write(buffer, &entries).ok_or(Errno(libc::EFAULT))?;
        // An empty result would mean the end of the directory.
        return if entries.is_empty() {
            getdents64(c, [fd, buffer, size, 0, 0, 0])
        } else {
            Ok(entries.len() as u64)
        };
    }
    Ok(got)
}

/// `readlinkat(dirfd, path, buf, size)`.
pub fn readlinkat(c: &Context, [dir, at, buf, size, ..]: [u64; 6]) -> Result<u64, Errno> {
    let path = string(at)?;
    if let Some(link) = proc::link(&c.guest.names, dir as RawFd, &path) {
        if size as i32 <= 0 {
            return Err(Errno(libc::EINVAL));
        }
        let part = &link[..link.len().min(size as usize)];
        trine_engine::direct::write(buf, part).ok_or(Errno(libc::EFAULT))?;
        return Ok(part.len() as u64);
    }
    let path = c.guest.names.host_path(path);
    c.host(libc::SYS_readlinkat, [dir, path.as_ptr() as u64, programs(buf), size, 0, 0])
}

/// `chroot(path)`. Children that run under Trine start in the new root, too.
pub fn chroot(c: &Context, [at, ..]: [u64; 6]) -> Result<u64, Errno> {
    let path = path(c, at)?;
    own::keep();
    c.host(libc::SYS_chroot, [path.as_ptr() as u64, 0, 0, 0, 0, 0])
}

/// `pivot_root(new root, place for the old one)`.
pub fn pivot_root(c: &Context, [new, old, ..]: [u64; 6]) -> Result<u64, Errno> {
    let (new, old) = (path(c, new)?, path(c, old)?);
    own::keep();
    c.host(libc::SYS_pivot_root, [new.as_ptr() as u64, old.as_ptr() as u64, 0, 0, 0, 0])
}
