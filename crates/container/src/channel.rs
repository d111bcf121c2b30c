//! What the runtime and the process inside say to each other: frames over a stream socket, descriptors beside them.
//!
//! A frame is a letter, a length and that many bytes. The process inside is Trine's own until it executes the
//! container's program; that closes its end, which is how the runtime learns that it worked.

use crate::error::{Context, Error, Result};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use trine_base::passed_fds;

/// Most bytes of a frame: no configuration is larger.
const MOST: usize = 64 << 20;
/// What a frame says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// To the inside: what to do (JSON of [`crate::plan::Plan`]).
    Plan = b'P',
    /// To the inside: go on.
    Go = b'G',
    /// From the inside: layers are mounted; beside it may be the device by which they are to be served.
    Layers = b'L',
    /// From the inside: mounts are made; hooks of the runtime are due.
    Hooks = b'H',
    /// From the inside: everything is prepared; beside it may be the terminal.
    Ready = b'R',
    /// From the inside: the number of its descriptor on which system calls are notified.
    Notify = b'N',
    /// From the inside: it failed, and why ([`Channel::fail`]).
    Failed = b'E',
    /// From the inside, before its `exec`: a step of [`crate::launch`] failed (its letter, the kernel's error).
    Early = b'e',
    /// From the inside, before its `exec`: user and group ids are to be mapped.
    Map = b'M',
    /// From the inside, before its `exec`: the number of the process that goes on in its place.
    Child = b'C',
    /// From the inside, before its `exec`: it cannot reach Trine's executable.
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
    /// What it says.
    pub kind: Kind,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its descriptors.
    pub fds: Vec<OwnedFd>,
}

/// One end.
#[derive(Debug)]
pub struct Channel(UnixStream);

impl Channel {
    /// Two ends.
    pub fn pair() -> Result<(Channel, Channel)> {
        let (a, b) = UnixStream::pair().context("cannot make a pair of sockets")?;
        Ok((Channel(a), Channel(b)))
    }

    /// The end that a descriptor is.
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

    /// Tells the other side why it failed, and whether that is the program's fault.
    ///
    /// # Errors
    /// The other side has gone.
    pub fn fail(&mut self, why: &Error) -> Result<()> {
        let code = why.exit_code().unwrap_or(0);
        self.send(Kind::Failed, &[&[code][..], why.to_string().as_bytes()].concat(), &[])
    }

    /// Sends a frame by `write(2)` alone: a filter of system calls that has a listener is already up, and calls for it
    /// would wait for whoever is to learn of the listener by this frame.
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
    /// What came is no frame.
    pub fn receive(&mut self) -> Result<Option<Frame>> {
        let lost = "cannot read from the process inside";
        let mut head = [0; 5];
        let (got, fds) = match passed_fds::receive(&self.0, &mut head) {
            // What was sent to the other side was never read there.
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
            return Err(Error::refused("the process inside sent what is no message"));
        };
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).context(lost)?;
        Ok(Some(Frame { kind, bytes, fds }))
    }

    /// Receives a frame of this kind; a failure that the other side reports is this side's error.
    ///
    /// # Errors
    /// Another frame, or the end.
    pub fn expect(&mut self, kind: Kind) -> Result<Frame> {
        self.expect_any(&[kind])
    }

    /// Receives a frame of one of these kinds, as [`Channel::expect`].
    ///
    /// # Errors
    /// As there.
    pub fn expect_any(&mut self, kinds: &[Kind]) -> Result<Frame> {
        match self.receive()? {
            Some(frame) if kinds.contains(&frame.kind) => Ok(frame),
            Some(frame) if frame.kind == Kind::Failed => Err(failure(&frame)),
            Some(frame) if frame.kind == Kind::Early => Err(crate::launch::failure(&frame.bytes)),
            Some(_) => Err(Error::refused("the process inside and the runtime do not understand each other")),
            None => Err(Error::Inside("the process inside ended before it was ready".into())),
        }
    }
}

/// What a frame that reports a failure says.
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
