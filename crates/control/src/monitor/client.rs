//! A client of the monitor: a command that is connected to it.

use crate::wire::{Frame, NoFrame};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// The most bytes of output that wait for a client before the guest has to wait.
const MOST: usize = 1 << 20;
/// Seconds that the guest waits for a client that is not the owner and reads nothing.
pub const PATIENCE: u64 = 10;

/// What a client is connected for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It has not sent its request yet.
    New,
    /// To receive the output of a session, and its end.
    Attached {
        /// The session.
        session: u64,
        /// Whether it sends input.
        stdin: bool,
        /// Whether the guest waits for it without limit.
        owner: bool,
    },
    /// To be told of the guest's end.
    Waits,
    /// To be told of the guest's end, after asking it to stop.
    Stops,
    /// To be told that the guest was saved.
    Saves,
    /// Nothing more: it is closed when it has received everything.
    Done,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    /// The socket.
    pub stream: UnixStream,
    /// What it is connected for.
    pub role: Role,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Since when it has read nothing although output waits.
    stalled: Option<Instant>,
    /// Whether it has disconnected.
    pub gone: bool,
}

impl Client {
    /// Creates a client from a new connection.
    pub fn new(stream: UnixStream) -> Client {
        let gone = stream.set_nonblocking(true).is_err();
        Client { stream, role: Role::New, input: Vec::new(), output: Vec::new(), stalled: None, gone }
    }

    /// Queues a frame, and sends what the socket accepts.
    pub fn send(&mut self, frame: &Frame) {
        if !self.gone {
            self.output.extend_from_slice(&frame.bytes());
            self.flush();
        }
    }

    /// Sends what the socket accepts now.
    pub fn flush(&mut self) {
        while !self.output.is_empty() && !self.gone {
            match self.stream.write(&self.output) {
                Ok(n) if n > 0 => {
                    self.output.drain(..n);
                    self.stalled = None;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.stalled.get_or_insert_with(Instant::now);
                    return;
                }
                _ => self.gone = true,
            }
        }
        self.gone |= self.role == Role::Done && self.output.is_empty();
    }

    /// Whether frames are queued.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Whether the guest has to wait for it.
    pub fn is_full(&self) -> bool {
        self.output.len() > MOST
    }

    /// Since when it has read nothing although output waits.
    pub fn stalled(&self) -> Option<Instant> {
        self.stalled.filter(|_| self.has_output())
    }

    /// Reads the frames that it has sent.
    pub fn read(&mut self) -> Vec<Frame> {
        let mut piece = [0; 1 << 16];
        match self.stream.read(&mut piece) {
            Ok(0) => self.gone = true,
            Ok(n) => self.input.extend_from_slice(&piece[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.gone = true,
        }
        let mut frames = Vec::new();
        loop {
            match Frame::take(&mut self.input) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return frames,
                Err(NoFrame) => {
                    self.gone = true;
                    return frames;
                }
            }
        }
    }
}
