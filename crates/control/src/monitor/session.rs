//! A process and its standard descriptors, as the monitor sees them.

use crate::error::ControlError;
use crate::kinds::command::terminal;
use crate::kinds::{Started, Stdio};
use crate::log::Stream;
use crate::wire::{Ended, PIECE, Size};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Instant;
use trine_base::terminal::set_size;

/// The most bytes of input that wait for the guest before clients are no longer read.
const INPUT: usize = 1 << 16;

/// The monitor's side of standard descriptors.
#[derive(Debug)]
pub struct Session {
    /// The process.
    pub pid: i32,
    /// Whether it has a terminal.
    pub tty: bool,
    /// The descriptor for input; a terminal's is `out`.
    input: Option<OwnedFd>,
    waiting: VecDeque<u8>,
    /// Whether to close `input` once all waiting input is written.
    closing: bool,
    out: Option<OwnedFd>,
    err: Option<OwnedFd>,
    /// How its process ended, and when.
    pub ended: Option<(Ended, Instant)>,
    /// Its output, where that is for the monitor itself.
    pub captured: Option<Vec<u8>>,
}

/// What a session's descriptor is polled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Room for input.
    Input,
    /// Standard output, or the terminal's.
    Out,
    /// Standard error.
    Err,
}

/// Makes a terminal non-blocking.
fn unblocked(terminal: OwnedFd) -> Result<OwnedFd, ControlError> {
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NONBLOCK;
    rustix::fs::fcntl_setfl(&terminal, flags).map_err(|e| ControlError::host("the guest's terminal", e))?;
    Ok(terminal)
}

fn pipe(input: bool) -> Result<(OwnedFd, OwnedFd), ControlError> {
    let host = |e: std::io::Error| ControlError::host("cannot open a pipe for the guest", e);
    let (read, write) = std::io::pipe().map_err(host)?;
    let (read, write) = (OwnedFd::from(read), OwnedFd::from(write));
    let own = if input { &write } else { &read };
    rustix::fs::fcntl_setfl(own, rustix::fs::OFlags::NONBLOCK).map_err(|e| host(e.into()))?;
    Ok((read, write))
}

impl Session {
    /// Creates the descriptors for a process that will be started with them; `pid` is not known yet. A kind
    /// that creates terminals itself provides its terminal in [`Session::started`].
    ///
    /// # Errors
    /// Fails where the host has none left.
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

    /// Records that its process has started, perhaps with a terminal that the kind created.
    ///
    /// # Errors
    /// Fails where the terminal cannot be used.
    pub fn started(&mut self, started: Started) -> Result<(), ControlError> {
        self.pid = started.pid;
        if let Some(terminal) = started.terminal {
            self.out = Some(unblocked(terminal)?);
        }
        Ok(())
    }

    /// The descriptors to poll, and what for.
    pub fn endpoints(&self, output: bool) -> Vec<(Endpoint, &OwnedFd)> {
        let mut endpoints = Vec::new();
        if output {
            endpoints.extend(self.out.as_ref().map(|fd| (Endpoint::Out, fd)));
            endpoints.extend(self.err.as_ref().map(|fd| (Endpoint::Err, fd)));
        }
        let input = if self.tty { self.out.as_ref() } else { self.input.as_ref() };
        if !self.waiting.is_empty() {
            endpoints.extend(input.map(|fd| (Endpoint::Input, fd)));
        }
        endpoints
    }

    /// Whether more input can be accepted.
    pub fn takes_input(&self) -> bool {
        self.waiting.len() < INPUT
    }

    /// Whether output may still come.
    pub fn is_open(&self) -> bool {
        self.out.is_some() || self.err.is_some()
    }

    /// Adds input for the process; it is discarded where the process has closed its input.
    pub fn push(&mut self, bytes: &[u8]) {
        if (self.tty && self.out.is_some()) || (self.input.is_some() && !self.closing) {
            self.waiting.extend(bytes);
            self.feed();
        }
    }

    /// Ends the input. A terminal stays open.
    pub fn end_of_input(&mut self) {
        self.closing = true;
        self.feed();
    }

    /// Writes as much input to the process as it accepts now.
    pub fn feed(&mut self) {
        let target = if self.tty { &self.out } else { &self.input };
        if let Some(fd) = target {
            while !self.waiting.is_empty() {
                match rustix::io::write(fd, self.waiting.as_slices().0) {
                    Ok(n) => drop(self.waiting.drain(..n)),
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return,
                    // The process has closed its input.
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

    /// Reads a piece of output; `None` where there is none now.
    pub fn read(&mut self, endpoint: Endpoint) -> Option<(Stream, Vec<u8>)> {
        let (stream, slot) = match endpoint {
            Endpoint::Out => (Stream::Out, &mut self.out),
            Endpoint::Err => (Stream::Err, &mut self.err),
            Endpoint::Input => return None,
        };
        let mut bytes = vec![0; PIECE];
        match rustix::io::read(slot.as_ref()?, &mut bytes[..]) {
            Ok(n) if n > 0 => {
                bytes.truncate(n);
                Some((stream, bytes))
            }
            Err(Errno::AGAIN | Errno::INTR) => None,
            // The end of a pipe; a terminal reports its end as EIO.
            _ => {
                *slot = None;
                None
            }
        }
    }

    /// Sets the terminal's size to that of the client's.
    pub fn resize(&self, size: Size) {
        if let Some(fd) = self.out.as_ref().filter(|_| self.tty) {
            set_size(fd, size);
        }
    }
}
