//! A command that is connected to the monitor.

use crate::wire::{Frame, NoFrame};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// Output that waits for a client beyond this makes the guest wait.
const MOST: usize = 1 << 20;
/// Seconds that it waits for one that is no owner and takes nothing.
pub const PATIENCE: u64 = 10;

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It has not said yet.
    New,
    /// Output of a session, and its end.
    Attached {
        /// The session.
        session: u64,
        /// Whether its input is taken.
        stdin: bool,
        /// Whether the guest waits for it without end.
        owner: bool,
    },
    /// The guest's end.
    Waits,
    /// The guest's end, after it was told to stop.
    Stops,
    /// Nothing more: it goes when it has read all.
    Done,
}

/// A connection.
#[derive(Debug)]
pub struct Client {
    /// The socket.
    pub stream: UnixStream,
    /// What it waits for.
    pub role: Role,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Since when it has taken nothing although something waits.
    stalled: Option<Instant>,
    /// It is gone.
    pub gone: bool,
}

impl Client {
    /// A new connection.
    pub fn new(stream: UnixStream) -> Client {
        let gone = stream.set_nonblocking(true).is_err();
        Client { stream, role: Role::New, input: Vec::new(), output: Vec::new(), stalled: None, gone }
    }

    /// Sends it something, now or when it reads.
    pub fn send(&mut self, frame: &Frame) {
        if !self.gone {
            self.output.extend_from_slice(&frame.bytes());
            self.flush();
        }
    }

    /// Sends what it takes now.
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

    /// Whether something waits for it.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Whether the guest has to wait for it.
    pub fn is_full(&self) -> bool {
        self.output.len() > MOST
    }

    /// Since when it has taken nothing.
    pub fn stalled(&self) -> Option<Instant> {
        self.stalled.filter(|_| self.has_output())
    }

    /// What it has sent.
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
