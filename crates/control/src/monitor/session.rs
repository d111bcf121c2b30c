//! A process and its standard descriptors, seen from the monitor.

use crate::error::ControlError;
use crate::kinds::command::{resize, terminal};
use crate::kinds::{Started, Stdio};
use crate::log::Stream;
use crate::wire::{Ended, PIECE, Size};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// Input that waits for the guest beyond this is not read from clients.
const INPUT: usize = 1 << 16;

/// The monitor's side of standard descriptors.
#[derive(Debug)]
pub struct Session {
    /// The process.
    pub pid: i32,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Where input goes to; the terminal's own is `out`.
    input: Option<OwnedFd>,
    waiting: VecDeque<u8>,
    /// Close `input` when nothing waits any more.
    closing: bool,
    out: Option<OwnedFd>,
    err: Option<OwnedFd>,
    /// How its process ended, and when that was.
    pub ended: Option<(Ended, Instant)>,
    /// What it wrote, where that is for the monitor itself.
    pub captured: Option<Vec<u8>>,
}

/// What is looked for at a session's descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Room for input.
    Input,
    /// Output.
    Out,
    /// Errors.
    Err,
}

/// A terminal that is read and written without waiting.
fn unblocked(terminal: OwnedFd) -> Result<OwnedFd, ControlError> {
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NONBLOCK;
    rustix::fs::fcntl_setfl(&terminal, flags).map_err(|e| ControlError::host("the guest's terminal", e))?;
    Ok(terminal)
}

fn pipe(input: bool) -> Result<(OwnedFd, OwnedFd), ControlError> {
    let host = |e: std::io::Error| ControlError::host("there is no pipe for the guest", e);
    let (read, write) = std::io::pipe().map_err(host)?;
    let (read, write) = (OwnedFd::from(read), OwnedFd::from(write));
    let own = if input { &write } else { &read };
    rustix::fs::fcntl_setfl(own, rustix::fs::OFlags::NONBLOCK).map_err(|e| host(e.into()))?;
    Ok((read, write))
}

impl Session {
    /// Descriptors for a process that is started with them; `pid` is not known yet. Where the kind makes terminals, it has
    /// none yet: [`Session::started`].
    ///
    /// # Errors
    /// Where the host has none left.
    pub fn new(
        tty: bool,
        made: bool,
        stdin: bool,
        size: Option<Size>,
    ) -> Result<(Session, Stdio), ControlError> {
        let session = |input, out, err| Session {
            pid: 0,
            tty,
            input,
            waiting: VecDeque::new(),
            closing: false,
            out,
            err,
            ended: None,
            captured: None,
        };
        if tty {
            if made {
                return Ok((session(None, None, None), Stdio::Made(size)));
            }
            let (own, guests) = terminal(size)?;
            return Ok((session(None, Some(unblocked(own)?), None), Stdio::Terminal(guests)));
        }
        let input = if stdin { Some(pipe(true)?) } else { None };
        let ((out, out_guest), (err, err_guest)) = (pipe(false)?, pipe(false)?);
        let (input_guest, input) = input.map_or((None, None), |(read, write)| (Some(read), Some(write)));
        let stdio = Stdio::Pipes { input: input_guest, out: out_guest, err: err_guest };
        Ok((session(input, Some(out), Some(err)), stdio))
    }

    /// Its process has started, perhaps with a terminal that the kind has made.
    ///
    /// # Errors
    /// Where the terminal cannot be used.
    pub fn started(&mut self, started: Started) -> Result<(), ControlError> {
        self.pid = started.pid;
        if let Some(terminal) = started.terminal {
            self.out = Some(unblocked(terminal)?);
        }
        Ok(())
    }

    /// Descriptors to wait for, and what for.
    pub fn doors(&self, output: bool) -> Vec<(Door, &OwnedFd)> {
        let mut doors = Vec::new();
        if output {
            doors.extend(self.out.as_ref().map(|fd| (Door::Out, fd)));
            doors.extend(self.err.as_ref().map(|fd| (Door::Err, fd)));
        }
        let input = if self.tty { self.out.as_ref() } else { self.input.as_ref() };
        if !self.waiting.is_empty() {
            doors.extend(input.map(|fd| (Door::Input, fd)));
        }
        doors
    }

    /// Whether more input may come.
    pub fn takes_input(&self) -> bool {
        self.waiting.len() < INPUT
    }

    /// Whether anybody may still write: output is not at its end.
    pub fn is_open(&self) -> bool {
        self.out.is_some() || self.err.is_some()
    }

    /// Input for the process; it is forgotten where the process reads none.
    pub fn push(&mut self, bytes: &[u8]) {
        if (self.tty && self.out.is_some()) || (self.input.is_some() && !self.closing) {
            self.waiting.extend(bytes);
            self.feed();
        }
    }

    /// No more input comes. A terminal stays open.
    pub fn end_of_input(&mut self) {
        self.closing = true;
        self.feed();
    }

    /// Brings as much input to the process as it takes now.
    pub fn feed(&mut self) {
        let target = if self.tty { &self.out } else { &self.input };
        if let Some(fd) = target {
            while !self.waiting.is_empty() {
                match rustix::io::write(fd, self.waiting.as_slices().0) {
                    Ok(n) => drop(self.waiting.drain(..n)),
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return,
                    // It has closed its input.
                    Err(_) => {
                        self.waiting.clear();
                        self.input = None;
                        return;
                    }
                }
            }
        }
        if self.closing && !self.tty {
            self.input = None;
        }
    }

    /// A piece of output; `None` where there is none now.
    pub fn read(&mut self, door: Door) -> Option<(Stream, Vec<u8>)> {
        let (stream, slot) = match door {
            Door::Out => (Stream::Out, &mut self.out),
            Door::Err => (Stream::Err, &mut self.err),
            Door::Input => return None,
        };
        let mut bytes = vec![0; PIECE];
        match rustix::io::read(slot.as_ref()?, &mut bytes[..]) {
            Ok(n) if n > 0 => {
                bytes.truncate(n);
                Some((stream, bytes))
            }
            Err(Errno::AGAIN | Errno::INTR) => None,
            // The end of a pipe; of a terminal it is EIO.
            _ => {
                *slot = None;
                None
            }
        }
    }

    /// The client's terminal has another size.
    pub fn resize(&self, size: Size) {
        if let Some(fd) = self.out.as_ref().filter(|_| self.tty) {
            resize(fd, size);
        }
    }
}
