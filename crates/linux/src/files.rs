//! The program's view of files: a root for its libraries, and the files of `/proc` that tell of itself.

use crate::call::{Context, string};
use crate::errno::Errno;
use crate::space::{END, programs};
use crate::{info, own};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What the program knows by names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Where absolute paths are looked for first; files that are not there are the host's.
    pub sysroot: Option<PathBuf>,
    /// The program's own file, as `/proc/self/exe` says.
    pub exe: PathBuf,
    /// Its arguments, as `/proc/self/cmdline` says.
    pub args: Vec<CString>,
    /// Its auxiliary vector, as `/proc/self/auxv` says.
    pub auxv: Vec<u8>,
}

impl Names {
    /// The host's path for one of the program's.
    pub fn host_path(&self, path: CString) -> CString {
        if path.as_bytes().starts_with(b"/proc/") && own_proc(&path) == Some("exe") {
            return CString::new(self.exe.as_os_str().as_bytes()).unwrap_or(path);
        }
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
}

/// A path argument, as the host has it.
fn path(c: &Context, at: u64) -> Result<CString, Errno> {
    Ok(c.guest.names.host_path(string(at)?))
}

/// The path argument of a call about a file's attributes: with `AT_EMPTY_PATH` there may be none at all (Linux 6.11).
pub fn path_or_null(c: &Context, at: u64, flags: u64) -> Result<Option<CString>, Errno> {
    if at == 0 && flags & libc::AT_EMPTY_PATH as u64 != 0 {
        return Ok(None);
    }
    let path = string(at)?;
    // What is asked about is the link itself.
    let link = flags & libc::AT_SYMLINK_NOFOLLOW as u64 != 0 && own_proc(&path) == Some("exe");
    Ok(Some(if link { path } else { c.guest.names.host_path(path) }))
}

/// `statx(dirfd, path, flags, mask, buf)`.
pub fn statx(c: &Context, [dir, path, flags, mask, buf, _]: [u64; 6]) -> Result<u64, Errno> {
    if buf >= END {
        return Err(Errno(libc::EFAULT));
    }
    let path = path_or_null(c, path, flags)?;
    let at = path.as_ref().map_or(0, |p| p.as_ptr() as u64);
    c.host(libc::SYS_statx, [dir, at, flags, mask, buf, 0])
}

/// The part of a path behind `/proc/self/`, `/proc/thread-self/` or `/proc/` and our own number.
fn own_proc(path: &CStr) -> Option<&str> {
    let rest = path.to_str().ok()?.strip_prefix("/proc/")?;
    let (who, what) = rest.split_once('/')?;
    let own = who == "self" || who == "thread-self" || who.parse() == Ok(std::process::id());
    own.then_some(what)
}

/// What a file that tells of the program or its machine holds; `None` for other files.
fn contents(c: &Context, path: &CStr) -> Option<Vec<u8>> {
    if path == c"/proc/cpuinfo" {
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
        return Some(info::cpuinfo(cpus).into_bytes());
    }
    let names = &c.guest.names;
    match own_proc(path)? {
        "maps" => Some(c.guest.space.maps().into_bytes()),
        "auxv" => Some(names.auxv.clone()),
        "cmdline" => Some(names.args.iter().flat_map(|a| a.as_bytes_with_nul()).copied().collect()),
        _ => None,
    }
}

/// A descriptor of a file in memory with these contents, at its start.
fn memory_file(contents: &[u8], flags: u64) -> Result<u64, Errno> {
    let close = if flags & libc::O_CLOEXEC as u64 != 0 { libc::MFD_CLOEXEC } else { 0 };
    // SAFETY: a literal name; the result is checked.
    let fd = unsafe { libc::memfd_create(c"proc".as_ptr(), close) };
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: `fd` was just made and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: writes a slice of ours.
    let written = unsafe { libc::pwrite(fd.as_raw_fd(), contents.as_ptr().cast(), contents.len(), 0) };
    if written != contents.len() as isize {
        return Err(Errno(libc::EIO));
    }
    Ok(fd.into_raw_fd() as u64)
}

/// `openat(dirfd, path, flags, mode)`.
pub fn openat(c: &Context, [dir, at, flags, mode, ..]: [u64; 6]) -> Result<u64, Errno> {
    let path = string(at)?;
    if path.as_bytes().starts_with(b"/proc/")
        && let Some(contents) = contents(c, &path)
    {
        return memory_file(&contents, flags);
    }
    let path = c.guest.names.host_path(path);
    c.host(libc::SYS_openat, [dir, path.as_ptr() as u64, flags, mode, 0, 0])
}

/// `readlinkat(dirfd, path, buf, size)`.
pub fn readlinkat(c: &Context, [dir, at, buf, size, ..]: [u64; 6]) -> Result<u64, Errno> {
    let path = string(at)?;
    if own_proc(&path) == Some("exe") {
        let exe = c.guest.names.exe.as_os_str().as_bytes();
        if size as i32 <= 0 {
            return Err(Errno(libc::EINVAL));
        }
        let part = &exe[..exe.len().min(size as usize)];
        trine_engine::direct::write(buf, part).ok_or(Errno(libc::EFAULT))?;
        return Ok(part.len() as u64);
    }
    let path = c.guest.names.host_path(path);
    c.host(libc::SYS_readlinkat, [dir, path.as_ptr() as u64, programs(buf), size, 0, 0])
}

/// `chroot(path)`. Children of the guest's CPU start there, too.
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
