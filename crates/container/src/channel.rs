//! The protocol between the runtime and the process inside the container: frames over a stream socket, with
//! descriptors.
//!
//! A frame is a letter, a length and as many bytes. The process inside is Trine's own until it executes the
//! container's program; that closes its end, which tells the runtime that it succeeded.

use crate::error::{Context, Error, Result};
use crate::sys;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// The most bytes of a frame: no configuration is larger.
const MOST: usize = 64 << 20;
/// The most descriptors of a frame; the kernel's own limit is 253 (`SCM_MAX_FD`).
pub const MOST_FDS: usize = 250;
/// Number of words that a control message with so many descriptors needs.
const CONTROL: usize = 2 + MOST_FDS.div_ceil(2);

/// The type of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// To the inside: the plan (JSON of [`crate::plan::Plan`]).
    Plan = b'P',
    /// To the inside: go on.
    Go = b'G',
    /// From the inside: the layers are mounted; a descriptor may be the FUSE device by which they are to be
    /// served.
    Layers = b'L',
    /// From the inside: the mounts are made; the runtime's hooks must run now.
    Hooks = b'H',
    /// From the inside: everything is prepared; a descriptor may be the terminal.
    Ready = b'R',
    /// From the inside: the number of its descriptor for system call notifications.
    Notify = b'N',
    /// From the inside: it failed, for this reason ([`Channel::fail`]).
    Failed = b'E',
    /// From the inside, before its `exec`: a step of [`crate::launch`] failed (the step's letter, the
    /// kernel's error).
    Early = b'e',
    /// From the inside, before its `exec`: its user and group IDs must be mapped.
    Map = b'M',
    /// From the inside, before its `exec`: the process ID of the process that continues in its place.
    Child = b'C',
    /// From the inside, before its `exec`: it cannot access Trine's executable.
    Executable = b'X',
}

impl Kind {
    fn of(letter: u8) -> Option<Kind> {
        use Kind::*;
        let all = [Plan, Go, Layers, Hooks, Ready, Notify, Failed, Early, Map, Child, Executable];
        all.into_iter().find(|k| *k as u8 == letter)
    }
}

/// A frame.
#[derive(Debug)]
pub struct Frame {
    /// Its type.
    pub kind: Kind,
    /// Its contents.
    pub bytes: Vec<u8>,
    /// Its descriptors.
    pub fds: Vec<OwnedFd>,
}

/// Sends bytes and descriptors in one message.
///
/// # Errors
/// The kernel refused.
pub fn send_fds(socket: &impl AsRawFd, bytes: &[u8], fds: &[RawFd]) -> io::Result<usize> {
    let mut iov = libc::iovec { iov_base: bytes.as_ptr() as *mut _, iov_len: bytes.len() };
    let mut control = [0u64; CONTROL];
    // SAFETY: a structure of integers and pointers; all zero is a message without anything.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &mut iov;
    message.msg_iovlen = 1;
    if !fds.is_empty() {
        let size = size_of_val(fds) as u32;
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: only computes.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(size) } as _;
        // SAFETY: the buffer is aligned and has room for a header and `MOST_FDS` descriptors.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size) as _;
            std::ptr::copy_nonoverlapping(fds.as_ptr(), libc::CMSG_DATA(header).cast(), fds.len());
        }
    }
    // SAFETY: everything the message points to lives until here.
    sys::check(unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL) } as libc::c_long)
        .map(|n| n as usize)
}

/// Receives bytes and descriptors; 0 bytes mean the end. The descriptors are close-on-exec.
///
/// # Errors
/// The kernel refused.
pub fn receive_fds(socket: &impl AsRawFd, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut iov = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control = [0u64; CONTROL];
    // SAFETY: as above.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    let got = loop {
        // SAFETY: everything the message points to is ours and lives until here.
        let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) };
        match sys::check(got as libc::c_long) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => break other?,
        }
    };
    let mut fds = Vec::new();
    // SAFETY: the kernel has filled the message; the macros stay inside it.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&message) };
    // SAFETY: a header of this message, or null.
    while let Some(h) = unsafe { header.as_ref() } {
        if (h.cmsg_level, h.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: only computes.
            let head = unsafe { libc::CMSG_LEN(0) } as usize;
            #[allow(clippy::unnecessary_cast, reason = "its type differs between C libraries")]
            let count = (h.cmsg_len as usize).saturating_sub(head) / size_of::<RawFd>();
            for i in 0..count {
                // SAFETY: the kernel has put this many descriptors there, for this process.
                fds.push(unsafe {
                    OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<RawFd>().add(i).read_unaligned())
                });
            }
        }
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(&message, header) };
    }
    Ok((got as usize, fds))
}

/// One end of the connection.
#[derive(Debug)]
pub struct Channel(UnixStream);

impl Channel {
    /// Creates a connected pair.
    pub fn pair() -> Result<(Channel, Channel)> {
        let (a, b) = UnixStream::pair().context("cannot make a pair of sockets")?;
        Ok((Channel(a), Channel(b)))
    }

    /// Uses a descriptor as one end.
    pub fn from_fd(fd: OwnedFd) -> Channel {
        Channel(fd.into())
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The other side has gone, or there are too many descriptors.
    pub fn send(&mut self, kind: Kind, bytes: &[u8], fds: &[RawFd]) -> Result<()> {
        let length = u32::try_from(bytes.len()).ok().filter(|&n| n as usize <= MOST && fds.len() <= MOST_FDS);
        let Some(length) = length else {
            return Err(Error::refused(
                "the container's configuration has more than 64 MiB or 250 mounts to be opened",
            ));
        };
        let mut frame = Vec::with_capacity(5 + bytes.len());
        frame.push(kind as u8);
        frame.extend(length.to_le_bytes());
        frame.extend(bytes);
        let sent = send_fds(&self.0, &frame, fds).context("cannot reach the process inside")?;
        self.0.write_all(&frame[sent..]).context("cannot reach the process inside")
    }

    /// Tells the other side the reason of a failure, and whether the container's program is at fault.
    ///
    /// # Errors
    /// The other side has gone.
    pub fn fail(&mut self, why: &Error) -> Result<()> {
        let code = why.exit_code().unwrap_or(0);
        self.send(Kind::Failed, &[&[code][..], why.to_string().as_bytes()].concat(), &[])
    }

    /// Sends a frame by `write(2)` alone. A seccomp filter with a listener is already active, and system
    /// calls that notify it would wait for the process that is to receive the listener by this frame.
    ///
    /// # Errors
    /// The other side has gone.
    pub fn send_plain(&mut self, kind: Kind, bytes: &[u8]) -> Result<()> {
        let length = (bytes.len() as u32).to_le_bytes();
        let frame = [&[kind as u8][..], &length, bytes].concat();
        self.0.write_all(&frame).context("cannot reach the runtime")
    }

    /// Receives a frame; `None` at the end.
    ///
    /// # Errors
    /// The received bytes are not a frame.
    pub fn receive(&mut self) -> Result<Option<Frame>> {
        let lost = "cannot read from the process inside";
        let mut head = [0; 5];
        let (got, fds) = match receive_fds(&self.0, &mut head) {
            // The other side closed without reading what was sent to it.
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            other => other.context(lost)?,
        };
        if got == 0 {
            return Ok(None);
        }
        self.0.read_exact(&mut head[got..]).context(lost)?;
        let [letter, length @ ..] = head;
        let length = u32::from_le_bytes(length) as usize;
        let Some(kind) = Kind::of(letter).filter(|_| length <= MOST) else {
            return Err(Error::refused("the process inside sent an invalid message"));
        };
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).context(lost)?;
        Ok(Some(Frame { kind, bytes, fds }))
    }

    /// Receives a frame of this type; a failure that the other side reports is returned as an error.
    ///
    /// # Errors
    /// Another frame was received, or the end.
    pub fn expect(&mut self, kind: Kind) -> Result<Frame> {
        self.expect_any(&[kind])
    }

    /// Receives a frame of one of these types, as [`Channel::expect`].
    ///
    /// # Errors
    /// As [`Channel::expect`].
    pub fn expect_any(&mut self, kinds: &[Kind]) -> Result<Frame> {
        match self.receive()? {
            Some(frame) if kinds.contains(&frame.kind) => Ok(frame),
            Some(frame) if frame.kind == Kind::Failed => Err(failure(&frame)),
            Some(frame) if frame.kind == Kind::Early => Err(crate::launch::failure(&frame.bytes)),
            Some(_) => Err(Error::refused("the process inside sent an unexpected message")),
            None => Err(Error::Inside("the process inside ended before it was ready".into())),
        }
    }
}

/// The error in a frame that reports a failure.
pub fn failure(frame: &Frame) -> Error {
    let (code, text) = frame.bytes.split_first().unwrap_or((&0, &[]));
    let text = String::from_utf8_lossy(text).into_owned();
    match code {
        127 => Error::NotFound(text),
        126 => Error::NotExecutable(text),
        _ => Error::Inside(text),
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_descriptors_arrive() {
        let (mut a, mut b) = Channel::pair().unwrap();
        let null = sys::open("/dev/null", libc::O_RDONLY).unwrap();
        let big = vec![7; 100_000];
        a.send(Kind::Plan, &big, &[null.as_raw_fd()]).unwrap();
        a.fail(&Error::NotFound("no such program".into())).unwrap();
        a.fail(&Error::refused("because")).unwrap();
        let frame = b.expect(Kind::Plan).unwrap();
        assert_eq!((frame.bytes, frame.fds.len()), (big, 1));
        assert_eq!(sys::stat(&frame.fds[0]).unwrap().st_rdev, sys::stat(&null).unwrap().st_rdev);
        let missing = b.expect(Kind::Ready).unwrap_err();
        assert_eq!((missing.to_string().as_str(), missing.exit_code()), ("no such program", Some(127)));
        let other = b.expect(Kind::Ready).unwrap_err();
        assert_eq!((other.to_string().as_str(), other.exit_code()), ("because", None));
        drop(a);
        assert!(b.receive().unwrap().is_none());
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let (a, mut b) = Channel::pair().unwrap();
        send_fds(&a, b"?\xff\xff\xff\xff", &[]).unwrap();
        assert!(b.receive().is_err());
    }
}
