//! System calls for which the C library has no functions, and a few with simpler types. All return the
//! kernel's error.

use std::ffi::{CStr, CString};
use std::io::{Error, Result};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Converts a path to the kernel's format.
///
/// # Errors
/// It contains a zero byte.
pub fn text(path: impl AsRef<Path>) -> Result<CString> {
    CString::new(path.as_ref().as_os_str().as_bytes()).map_err(|_| Error::from_raw_os_error(libc::EINVAL))
}

/// Converts the result of a call to a value or an error.
pub fn check(result: libc::c_long) -> Result<libc::c_long> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

fn owned(result: libc::c_long) -> Result<OwnedFd> {
    // SAFETY: the caller's call has just made this descriptor; nobody else owns it.
    check(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Takes ownership of an inherited descriptor, at the start of this single-threaded process; it is made
/// close-on-exec.
///
/// # Errors
/// It is not open, or is a standard descriptor.
pub fn adopt(fd: RawFd) -> Result<OwnedFd> {
    if fd < 3 {
        return Err(Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: changes a descriptor.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }.into())?;
    // SAFETY: it is open, and nothing in this process has made it, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `openat(2)`; close-on-exec.
pub fn open_at(dir: RawFd, path: &CStr, flags: i32, mode: u32) -> Result<OwnedFd> {
    // SAFETY: reads a string of ours.
    owned(unsafe { libc::openat(dir, path.as_ptr(), flags | libc::O_CLOEXEC, mode) }.into())
}

/// Opens a path of the host; close-on-exec.
pub fn open(path: impl AsRef<Path>, flags: i32) -> Result<OwnedFd> {
    open_at(libc::AT_FDCWD, &text(path)?, flags, 0)
}

/// `openat2(2)` with `RESOLVE_IN_ROOT`: `dir` is the root for this path, including `..` and symbolic links;
/// magic links of procfs are refused.
pub fn open_in_root(dir: RawFd, path: &CStr, flags: i32) -> Result<OwnedFd> {
    // SAFETY: a structure of integers.
    let mut how: libc::open_how = unsafe { MaybeUninit::zeroed().assume_init() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    loop {
        // SAFETY: reads a string and a structure of ours.
        let result = unsafe {
            libc::syscall(libc::SYS_openat2, dir, path.as_ptr(), &how, size_of::<libc::open_how>())
        };
        match owned(result) {
            // Something was renamed meanwhile (openat2(2), EAGAIN).
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => continue,
            other => return other,
        }
    }
}

/// `open_tree(2)`: a detached clone of a mount.
pub fn clone_tree(dir: RawFd, path: &CStr, recursive: bool) -> Result<OwnedFd> {
    let empty = if path.is_empty() { libc::AT_EMPTY_PATH } else { 0 };
    let deep = if recursive { libc::AT_RECURSIVE } else { 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::O_CLOEXEC as u32 | (empty | deep) as u32;
    // SAFETY: reads a string of ours.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, dir, path.as_ptr(), flags) })
}

/// `move_mount(2)`: attaches a mount at the other descriptor.
pub fn move_mount(mount: &OwnedFd, to: &OwnedFd) -> Result<()> {
    /// `MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH` (linux/mount.h).
    const EMPTY: u32 = 0x04 | 0x40;
    let (from, to, none) = (mount.as_raw_fd(), to.as_raw_fd(), c"".as_ptr());
    // SAFETY: reads literals.
    check(unsafe { libc::syscall(libc::SYS_move_mount, from, none, to, none, EMPTY) }).map(drop)
}

/// `fsopen(2)`: a file system of this type to be configured.
pub fn open_filesystem(kind: &CStr) -> Result<OwnedFd> {
    /// `FSOPEN_CLOEXEC` (linux/mount.h).
    const CLOSE: u32 = 1;
    // SAFETY: reads a string of ours.
    owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), CLOSE) })
}

/// `fsconfig(2)`: one setting, or a command.
pub fn configure(fs: &OwnedFd, command: u32, key: Option<&CStr>, value: Option<&CStr>) -> Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: reads strings of ours.
    let done = unsafe {
        libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), command, pointer(key), pointer(value), 0)
    };
    check(done).map(drop)
}

/// `fsmount(2)`: a detached mount of it.
pub fn mount_filesystem(fs: &OwnedFd) -> Result<OwnedFd> {
    /// `FSMOUNT_CLOEXEC` (linux/mount.h).
    const CLOSE: u32 = 1;
    // SAFETY: only numbers.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, fs.as_raw_fd(), CLOSE, 0) })
}

/// The changes that `mount_setattr(2)` makes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`, or 0.
    pub propagation: u64,
}

impl Attributes {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Attributes::default()
    }
}

/// `mount_setattr(2)` for the mount whose root a descriptor is. `users` is a user namespace that maps owners.
pub fn set_attributes(
    mount: &OwnedFd,
    recursive: bool,
    what: Attributes,
    users: Option<BorrowedFd>,
) -> Result<()> {
    let attr = libc::mount_attr {
        attr_set: what.set | users.map_or(0, |_| libc::MOUNT_ATTR_IDMAP),
        attr_clr: what.clear,
        propagation: what.propagation,
        userns_fd: users.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let size = size_of::<libc::mount_attr>();
    // SAFETY: reads a literal and a structure of ours.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, mount.as_raw_fd(), c"".as_ptr(), flags, &attr, size)
    };
    check(result).map(drop)
}

/// `mount(2)`.
pub fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: u64, data: &CStr) -> Result<()> {
    let (source, target, kind) = (source.as_ptr(), target.as_ptr(), kind.as_ptr());
    // SAFETY: reads strings of ours.
    let result = unsafe { libc::mount(source, target, kind, flags, data.as_ptr().cast()) };
    check(result.into()).map(drop)
}

/// A path that leads to an open descriptor, without resolving names.
pub fn path_of(fd: &impl AsRawFd) -> CString {
    CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap_or_default()
}

/// `mkdirat(2)`; an existing directory is not an error.
pub fn make_dir(dir: RawFd, name: &CStr, mode: u32) -> Result<()> {
    // SAFETY: reads a string of ours.
    match check(unsafe { libc::mkdirat(dir, name.as_ptr(), mode) }.into()) {
        Err(e) if e.raw_os_error() != Some(libc::EEXIST) => Err(e),
        _ => Ok(()),
    }
}

/// `fstat(2)`.
pub fn stat(fd: &impl AsRawFd) -> Result<libc::stat> {
    let mut stat = MaybeUninit::uninit();
    // SAFETY: writes a structure of ours.
    check(unsafe { libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) }.into())?;
    // SAFETY: the call has filled it.
    Ok(unsafe { stat.assume_init() })
}

/// `readlinkat(2)` of an open link (`path` empty) or of one in a directory.
pub fn read_link(dir: RawFd, path: &CStr) -> Result<Vec<u8>> {
    let mut bytes = vec![0; libc::PATH_MAX as usize];
    // SAFETY: writes into a buffer of ours, of this length.
    let result = unsafe { libc::readlinkat(dir, path.as_ptr(), bytes.as_mut_ptr().cast(), bytes.len()) };
    bytes.truncate(check(result as libc::c_long)? as usize);
    Ok(bytes)
}

/// The ID of the mount that a descriptor is in (`statx(2)`, `STATX_MNT_ID`).
pub fn mount_number(fd: &impl AsRawFd) -> Result<u64> {
    let mut stat = MaybeUninit::<libc::statx>::zeroed();
    let (flags, mask) = (libc::AT_EMPTY_PATH, libc::STATX_MNT_ID);
    // SAFETY: reads a literal, writes a structure of ours.
    check(unsafe { libc::statx(fd.as_raw_fd(), c"".as_ptr(), flags, mask, stat.as_mut_ptr()) }.into())?;
    // SAFETY: integers, all of which were zero or are filled.
    Ok(unsafe { stat.assume_init() }.stx_mnt_id)
}

/// The type of the file system that a descriptor is in (`statfs(2)`).
pub fn filesystem(fd: &impl AsRawFd) -> Result<i64> {
    let mut stat = MaybeUninit::uninit();
    // SAFETY: writes a structure of ours.
    check(unsafe { libc::fstatfs(fd.as_raw_fd(), stat.as_mut_ptr()) }.into())?;
    // SAFETY: the call has filled it.
    #[allow(clippy::unnecessary_cast, reason = "its type differs between C libraries")]
    Ok(unsafe { stat.assume_init() }.f_type as i64)
}

/// `pidfd_open(2)`.
pub fn pidfd(pid: i32) -> Result<OwnedFd> {
    // SAFETY: only makes a descriptor.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// `pidfd_getfd(2)`: duplicates another process's descriptor.
pub fn descriptor_of(pidfd: &OwnedFd, number: RawFd) -> Result<OwnedFd> {
    // SAFETY: only makes a descriptor, which closes on `exec`.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) })
}

/// `pidfd_send_signal(2)`: to exactly this process, even if its ID is reused.
pub fn signal(pidfd: &OwnedFd, signal: i32) -> Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: sends a signal to another process; reads nothing.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) }).map(drop)
}

/// Whether a descriptor becomes ready for `events` within `milliseconds` (negative: no limit).
pub fn ready(fd: &impl AsRawFd, events: i16, milliseconds: i32) -> Result<bool> {
    let mut one = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    // SAFETY: writes a structure of ours.
    match check(unsafe { libc::poll(&mut one, 1, milliseconds) }.into()) {
        Err(e) if e.kind() == std::io::ErrorKind::Interrupted => Ok(false),
        other => other.map(|n| n > 0),
    }
}

/// Waits for a child; returns its status as `waitpid(2)` does.
pub fn wait(pid: i32) -> Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: writes a number of ours.
        match check(unsafe { libc::waitpid(pid, &mut status, 0) }.into()) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            other => return other.map(|_| status),
        }
    }
}

/// The exit code that a shell shows for a status of `waitpid(2)`.
pub fn exit_code(status: i32) -> i32 {
    if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}
