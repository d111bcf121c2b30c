//! Thin wrappers of system calls that the standard library does not have.

use crate::Result;
use crate::error::{Doing, Error};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use trine_base::passed_fds;

/// Turns the result of a call into an error if it is negative.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes ownership of a descriptor that a call has just returned.
pub(crate) fn owned(result: libc::c_int) -> io::Result<OwnedFd> {
    let fd = check(result)?;
    // SAFETY: a descriptor that the kernel has just made for this call; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `ioctl_ns(2)`.
const NS_GET_USERNS: libc::c_ulong = 0xb701;

/// The user namespace that owns a namespace.
pub(crate) fn owner(namespace: BorrowedFd) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer, returns a descriptor.
    owned(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS as _) })
}

/// `linux/sockios.h`.
const SIOCGSKNS: libc::c_ulong = 0x894c;

/// The network namespace of a socket.
pub(crate) fn network_of(socket: BorrowedFd) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer, returns a descriptor.
    owned(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS as _) })
}

/// Whether two descriptors refer to the same file (for namespaces: the same namespace).
pub(crate) fn same(a: BorrowedFd, b: BorrowedFd) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let look = |fd: BorrowedFd| File::from(fd.try_clone_to_owned()?).metadata();
    let (a, b) = (look(a)?, look(b)?);
    Ok((a.dev(), a.ino()) == (b.dev(), b.ino()))
}

/// Opens a namespace (`net`, `user`) of the calling thread.
pub(crate) fn namespace(kind: &str) -> Result<OwnedFd> {
    let path = format!("/proc/thread-self/ns/{kind}");
    Ok(File::open(&path).file(Path::new(&path))?.into())
}

/// Whether this process may change its network namespace.
pub(crate) fn privileged() -> Result<bool> {
    let status = Path::new("/proc/thread-self/status");
    let text = std::fs::read_to_string(status).file(status)?;
    let effective = text.lines().find_map(|l| l.strip_prefix("CapEff:"));
    let effective = effective.and_then(|v| u64::from_str_radix(v.trim(), 16).ok()).unwrap_or(0);
    // CAP_NET_ADMIN and CAP_SYS_ADMIN (capability.h).
    let wanted = 1 << 12 | 1 << 21;
    if effective & wanted != wanted {
        return Ok(false);
    }
    // A namespace that belongs to a parent user namespace is not ours, and its owner cannot be queried.
    match owner(namespace("net")?.as_fd()) {
        Ok(owner) => same(owner.as_fd(), namespace("user")?.as_fd())
            .doing(|| "cannot examine the user namespace".into()),
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => Ok(false),
        Err(why) => Err(Error::System { what: "cannot find the owner of the network namespace".into(), why }),
    }
}

/// Receives one byte, and a descriptor if one came with it; `None` where the other side has closed.
pub(crate) fn receive_byte(socket: BorrowedFd) -> io::Result<Option<(u8, Option<OwnedFd>)>> {
    let mut byte = [0];
    let (count, fd) = passed_fds::receive_one(&socket, &mut byte, 0)?;
    Ok((count > 0).then_some((byte[0], fd)))
}

/// Creates a pair of connected sockets that preserve message boundaries.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: writes two descriptors, which nobody else has.
    unsafe {
        check(libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()))?;
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

/// Sets an integer option of a socket.
pub(crate) fn option(socket: BorrowedFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: points at an integer of the size given.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size) })
        .map(drop)
}
