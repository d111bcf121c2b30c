//! Descriptors passed beside bytes over a Unix socket (`SCM_RIGHTS`, unix(7)).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Most descriptors beside one message; the kernel's own limit is 253 (`SCM_MAX_FD`).
pub const MOST: usize = 250;

/// Words of a control buffer that has room for a header and this many descriptors.
const fn words(count: usize) -> usize {
    // SAFETY: only computes.
    (unsafe { libc::CMSG_SPACE((count * size_of::<RawFd>()) as u32) } as usize).div_ceil(size_of::<u64>())
}

/// A message that points to these bytes and this control buffer.
fn message(bytes: &mut libc::iovec, control: &mut [u64]) -> libc::msghdr {
    // SAFETY: a structure of integers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(control) as _;
    message
}

/// Sends bytes and descriptors in one message; returns the number of bytes that were sent.
///
/// It neither allocates nor takes a lock, so a forked copy of a process with several threads may call it.
///
/// # Errors
/// The kernel's; `EINVAL` for more than [`MOST`] descriptors.
pub fn send(socket: &impl AsRawFd, bytes: &[u8], fds: &[RawFd]) -> io::Result<usize> {
    if fds.len() > MOST {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = [0; words(MOST)];
    let mut message = message(&mut part, &mut control);
    if fds.is_empty() {
        message.msg_control = std::ptr::null_mut();
        message.msg_controllen = 0;
    } else {
        let size = size_of_val(fds) as u32;
        // SAFETY: the buffer is aligned and has room for a header and `MOST` descriptors.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size) as _;
            std::ptr::copy_nonoverlapping(fds.as_ptr(), libc::CMSG_DATA(header).cast(), fds.len());
        }
    }
    // SAFETY: everything the message points to lives until the call returns; the kernel only reads it.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives bytes and the descriptors beside them, which close on `exec`; returns 0 bytes at the end.
///
/// # Errors
/// The kernel's.
pub fn receive(socket: &impl AsRawFd, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut fds = Vec::new();
    let got = receive_each(socket, bytes, 0, &mut [0; words(MOST)], |fd| fds.push(fd))?;
    Ok((got, fds))
}

/// Receives bytes and at most one descriptor, with more flags of recv(2). As [`send`], it neither allocates nor takes a
/// lock.
///
/// # Errors
/// The kernel's.
pub fn receive_one(
    socket: &impl AsRawFd,
    bytes: &mut [u8],
    flags: i32,
) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut first = None;
    // Room for one: the kernel closes further descriptors itself.
    let got = receive_each(socket, bytes, flags, &mut [0; words(1)], |fd| first = Some(fd))?;
    Ok((got, first))
}

fn receive_each(
    socket: &impl AsRawFd,
    bytes: &mut [u8],
    flags: i32,
    control: &mut [u64],
    mut each: impl FnMut(OwnedFd),
) -> io::Result<usize> {
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut message = message(&mut part, control);
    let got = loop {
        let flags = flags | libc::MSG_CMSG_CLOEXEC;
        // SAFETY: everything the message points to is ours alone and lives until the call returns.
        let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
        match usize::try_from(got).map_err(|_| io::Error::last_os_error()) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    // SAFETY: the kernel has filled the message's control part; the macros stay inside it.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: a header of this message, or null.
    while let Some(head) = unsafe { header.as_ref() } {
        if (head.cmsg_level, head.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: only computes.
            let before = unsafe { libc::CMSG_LEN(0) } as usize;
            #[allow(clippy::unnecessary_cast, reason = "its type differs between C libraries")]
            let count = (head.cmsg_len as usize).saturating_sub(before) / size_of::<RawFd>();
            for i in 0..count {
                // SAFETY: the kernel has put this many descriptors there, which it made for this process.
                each(unsafe {
                    OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<RawFd>().add(i).read_unaligned())
                });
            }
        }
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixStream;

    fn open_fds() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn descriptors_arrive_beside_their_bytes() {
        let (a, b) = UnixStream::pair().unwrap();
        let path = std::env::temp_dir().join(format!("trine-passed-{}", std::process::id()));
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write_all(b"content").unwrap();
        let fd = file.as_raw_fd();
        let mut bytes = [0; 8];
        assert_eq!(send(&a, b"two", &[fd, fd]).unwrap(), 3);
        let (got, mut fds) = receive(&b, &mut bytes).unwrap();
        assert_eq!((&bytes[..got], fds.len()), (&b"two"[..], 2));
        let mut passed = File::from(fds.remove(0));
        let mut text = String::new();
        passed.rewind().unwrap();
        passed.read_to_string(&mut text).unwrap();
        assert_eq!(text, "content");
        // SAFETY: asks about a descriptor.
        assert_eq!(unsafe { libc::fcntl(passed.as_raw_fd(), libc::F_GETFD) }, libc::FD_CLOEXEC);
        send(&a, b"none", &[]).unwrap();
        assert!(matches!(receive_one(&b, &mut bytes, 0), Ok((4, None))));
        send(&a, b"one", &[fd]).unwrap();
        assert!(matches!(receive_one(&b, &mut bytes[..3], libc::MSG_WAITALL), Ok((3, Some(_)))));
        drop(a);
        assert!(matches!(receive_one(&b, &mut bytes, 0), Ok((0, None))));
    }

    #[test]
    fn as_many_as_there_is_room_for() {
        let (a, b) = UnixStream::pair().unwrap();
        let fd = a.as_raw_fd();
        assert_eq!(send(&a, b"x", &[fd; MOST + 1]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        send(&a, b"x", &[fd; MOST]).unwrap();
        let (got, fds) = receive(&b, &mut [0; 2]).unwrap();
        assert_eq!((got, fds.len()), (1, MOST));
        drop(fds);
        // Those that nobody takes do not stay open. Other tests open files meanwhile, but not so many.
        let before = open_fds();
        send(&a, b"x", &[fd; MOST]).unwrap();
        let (_, one) = receive_one(&b, &mut [0; 2], 0).unwrap();
        assert!(one.is_some() && open_fds() < before + 100);
    }
}
