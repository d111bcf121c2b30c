//! The protocol between the runtime and the process inside the container: frames over a stream socket, with
//! descriptors.
//!
//! A frame is a letter, a length and as many bytes. The process inside is Trine's own until it executes the
//! container's program; that closes its end, which tells the runtime that it succeeded.

use crate::error::{Context, Error, Result};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use trine_base::passed_fds;

/// The most bytes of a frame: no configuration is larger.
const MOST: usize = 64 << 20;
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
        let length =
            u32::try_from(bytes.len()).ok().filter(|&n| n as usize <= MOST && fds.len() <= passed_fds::MOST);
        let Some(length) = length else {
            return Err(Error::refused(
                "the container's configuration has more than 64 MiB or 250 mounts to be opened",
            ));
        };
        let mut frame = Vec::with_capacity(5 + bytes.len());
        frame.push(kind as u8);
        frame.extend(length.to_le_bytes());
        frame.extend(bytes);
        let sent = passed_fds::send(&self.0, &frame, fds).context("cannot reach the process inside")?;
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
        let (got, fds) = match passed_fds::receive(&self.0, &mut head) {
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
    use crate::sys;

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
        passed_fds::send(&a, b"?\xff\xff\xff\xff", &[]).unwrap();
        assert!(b.receive().is_err());
    }
}
