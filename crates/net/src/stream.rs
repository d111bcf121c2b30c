//! A network that another program makes, such as `passt`: Ethernet frames over a stream socket, each behind its length in
//! four bytes, big-endian (QEMU's `-netdev stream`).
//!
//! The device's thread reads and writes the socket itself; a thread of ours only waits for it. Frames leave nothing undone.

use crate::Error;
use crate::watch::Watch;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trine_base::net::MAX_FRAME;
use trine_base::{NetBackend, Offloads, Partial, Waker};

/// Bytes of a frame's length.
const LENGTH: usize = 4;
/// How many bytes are read at once: some frames of the largest size.
const READ: usize = 256 << 10;
/// How many bytes may wait for the socket. A frame that finds more is lost, as on a wire.
const WAITING: usize = 1 << 20;

/// The most frames that are forgotten at once; a socket keeps fewer.
const KEPT: usize = 2048;

/// A network behind a socket, as its device sees it.
pub struct StreamNetwork {
    output: Arc<Mutex<Output>>,
    watch: Watch,
    mtu: u16,
    input: Input,
}

/// The socket, and what it has not taken yet.
struct Output {
    socket: OwnedFd,
    waiting: Vec<u8>,
}

impl Output {
    /// Writes what waits, as far as the socket takes it now; returns whether there is more. What it will never take is forgotten.
    fn flush(&mut self) -> bool {
        let mut done = 0;
        while let Some(rest) = self.waiting.get(done..).filter(|rest| !rest.is_empty()) {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            let socket = self.socket.as_raw_fd();
            // SAFETY: reads the bytes of a slice.
            let count = unsafe { libc::send(socket, rest.as_ptr().cast(), rest.len(), flags) };
            match usize::try_from(count) {
                Ok(count) => done += count,
                Err(_) => match io::Error::last_os_error().kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => break,
                    _ => done = self.waiting.len(),
                },
            }
        }
        self.waiting.drain(..done);
        !self.waiting.is_empty()
    }

    /// Adds a frame if there is room. A frame is never taken in part: what follows would mean nothing.
    fn put(&mut self, frame: &[u8]) {
        if self.waiting.len() < WAITING {
            self.waiting.extend((frame.len() as u32).to_be_bytes());
            self.waiting.extend_from_slice(frame);
        }
    }
}

/// Bytes that were received, of which the part from `at` on is not used yet.
struct Input {
    bytes: Vec<u8>,
    at: usize,
    end: usize,
}

/// What the next bytes are.
enum Next {
    Frame(usize),
    Incomplete,
    /// No frame is so long: the other side does not keep to the protocol.
    Wrong,
}

impl Input {
    fn new() -> Input {
        Input { bytes: vec![0; READ], at: 0, end: 0 }
    }

    fn next(&self) -> Next {
        let rest = &self.bytes[self.at..self.end];
        let Some(length) = rest.first_chunk::<LENGTH>().map(|b| u32::from_be_bytes(*b) as usize) else {
            return Next::Incomplete;
        };
        match length {
            0 => Next::Wrong,
            _ if length > MAX_FRAME => Next::Wrong,
            _ if rest.len() < LENGTH + length => Next::Incomplete,
            _ => Next::Frame(length),
        }
    }

    /// Takes a frame whose length [`Input::next`] has found.
    fn take(&mut self, length: usize, frame: &mut Vec<u8>) {
        let from = self.at + LENGTH;
        frame.clear();
        frame.extend_from_slice(&self.bytes[from..from + length]);
        self.at = from + length;
    }

    /// Room for more bytes behind those that are not used yet.
    fn room(&mut self) -> &mut [u8] {
        self.bytes.copy_within(self.at..self.end, 0);
        (self.at, self.end) = (0, self.end - self.at);
        &mut self.bytes[self.end..]
    }
}

impl StreamNetwork {
    /// Uses a connected socket. `mtu`: the largest IP packet that the other side takes, in bytes.
    ///
    /// # Errors
    /// The host has no thread or descriptor for it.
    pub fn new(socket: UnixStream, mtu: u16) -> Result<StreamNetwork, Error> {
        let socket = OwnedFd::from(socket);
        let output = Arc::new(Mutex::new(Output { socket, waiting: Vec::new() }));
        let theirs = output.clone();
        let flush = move || {
            let mut output = theirs.lock().unwrap_or_else(PoisonError::into_inner);
            output.flush()
        };
        let watch = Watch::start(&lock(&output).socket, "net-stream", flush).map_err(Error::Start)?;
        Ok(StreamNetwork { output, watch, mtu, input: Input::new() })
    }

    /// Reads once; returns whether there were bytes.
    fn read(&mut self) -> bool {
        let output = lock(&self.output);
        let room = self.input.room();
        loop {
            let at = room.as_mut_ptr().cast();
            // SAFETY: writes at most the length of the slice.
            let count = unsafe { libc::recv(output.socket.as_raw_fd(), at, room.len(), libc::MSG_DONTWAIT) };
            match usize::try_from(count) {
                Ok(count) if count > 0 => {
                    self.input.end += count;
                    return true;
                }
                Ok(_) => break,
                Err(_) => match io::Error::last_os_error().kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => {
                        self.watch.arm(&output.socket);
                        return false;
                    }
                    _ => break,
                },
            }
        }
        drop(output);
        self.watch.went_down();
        false
    }
}

fn lock(output: &Mutex<Output>) -> MutexGuard<'_, Output> {
    output.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NetBackend for StreamNetwork {
    fn set_waker(&mut self, waker: Waker) {
        self.watch.set_waker(waker);
    }

    fn takes(&self) -> Offloads {
        Offloads::default()
    }

    fn set_gives(&mut self, _: Offloads) {}

    fn mtu(&self) -> u16 {
        self.mtu
    }

    fn is_up(&self) -> bool {
        self.watch.is_up()
    }

    fn send(&mut self, frame: &[u8], _: Partial) {
        let mut output = lock(&self.output);
        output.put(frame);
        if output.flush() {
            self.watch.arm_written();
        }
    }

    fn receive(&mut self, frame: &mut Vec<u8>) -> Option<Partial> {
        loop {
            match self.input.next() {
                Next::Frame(length) => {
                    self.input.take(length, frame);
                    return Some(Partial::default());
                }
                Next::Incomplete if self.is_up() && self.read() => {}
                Next::Incomplete => return None,
                Next::Wrong => {
                    self.watch.went_down();
                    return None;
                }
            }
        }
    }

    /// What the other program has under way is its own: it sees the guest's connections break.
    fn reset(&mut self) {
        let mut frame = Vec::new();
        for _ in 0..KEPT {
            if self.receive(&mut frame).is_none() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::time::Duration;

    fn pair() -> (StreamNetwork, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (StreamNetwork::new(ours, 1500).unwrap(), theirs)
    }

    #[test]
    fn frames_arrive_whole_however_the_bytes_come() {
        let (mut network, mut other) = pair();
        let mut frame = Vec::new();
        let bytes = [&[0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 2][..], &[4, 5]].concat();
        for (at, byte) in bytes.iter().enumerate() {
            other.write_all(&[*byte]).unwrap();
            let got = network.receive(&mut frame).map(|_| frame.clone());
            let want = match at {
                6 => Some(vec![1, 2, 3]),
                12 => Some(vec![4, 5]),
                _ => None,
            };
            assert_eq!(got, want, "byte {at}");
        }
    }

    #[test]
    fn a_full_socket_loses_whole_frames_and_is_flushed_later() {
        let (mut network, mut other) = pair();
        let frame = vec![7; 10_000];
        (0..1000).for_each(|_| network.send(&frame, Partial::default()));
        // The thread writes what waits while the other side reads.
        let mut count = 0;
        let (mut head, mut body) = ([0; 4], vec![0; frame.len()]);
        let left = |network: &StreamNetwork| !lock(&network.output).waiting.is_empty();
        while left(&network) || count == 0 {
            other.read_exact(&mut head).unwrap();
            assert_eq!(u32::from_be_bytes(head) as usize, frame.len());
            other.read_exact(&mut body).unwrap();
            assert_eq!(body, frame);
            count += 1;
        }
        assert!((WAITING / 10_004..1000).contains(&count), "{count}");
    }

    #[test]
    fn a_wrong_length_or_the_end_takes_the_link_down() {
        for length in [0u32, MAX_FRAME as u32 + 1, u32::MAX] {
            let (mut network, mut other) = pair();
            other.write_all(&length.to_be_bytes()).unwrap();
            assert_eq!(network.receive(&mut Vec::new()), None);
            assert!(!network.is_up(), "{length}");
        }
        let (mut network, other) = pair();
        assert!(network.is_up());
        drop(other);
        assert_eq!(network.receive(&mut Vec::new()), None);
        assert!(!network.is_up());
    }
}
