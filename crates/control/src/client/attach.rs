//! Connecting the standard descriptors of a command with those of a guest.

use super::Connection;
use super::terminal::{self, Keys};
use crate::error::ControlError;
use crate::signals::Signals;
use crate::wire::{Ended, Frame, PIECE};
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use trine_base::terminal::RawTerminal;

/// Signals that are forwarded to the guest.
const PROXIED: &[i32] =
    &[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH];

/// How a command is attached.
pub struct Attachment<'a> {
    /// Whether the command's input is sent to the guest.
    pub stdin: bool,
    /// Whether the guest has a terminal.
    pub tty: bool,
    /// The keys that detach.
    pub keys: Keys,
    /// Sends a signal to the guest; `None` where signals are not forwarded.
    pub signal: Option<&'a dyn Fn(i32)>,
    /// Whether the guest is to end, as by its own broken pipe, when nobody reads its output any more.
    pub owner: bool,
}

/// How an attached command ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest has ended.
    Ended(Ended),
    /// The user detached.
    Detached,
    /// This signal ended the command.
    Signal(i32),
    /// The monitor has gone without reporting an end, or has disconnected this client for the reason given.
    Lost(Option<String>),
}

struct Joined<'a> {
    connection: Connection,
    how: Attachment<'a>,
    /// Frames that wait to be sent to the monitor.
    output: Vec<u8>,
    /// Whether more input may come.
    input: bool,
    keys: bool,
}

/// Forwards input, output and signals until the guest ends or the user detaches. The monitor has already
/// accepted the request.
///
/// # Errors
/// Fails where the host does.
pub fn run(connection: Connection, how: Attachment<'_>) -> Result<Outcome, ControlError> {
    let mut signals = Signals::take(PROXIED)?;
    let stdin_is_terminal = std::io::stdin().is_terminal();
    let keys = how.stdin && stdin_is_terminal;
    let _raw = (how.tty && keys).then(RawTerminal::enter);
    let host = |e| ControlError::host("the guest's monitor", e);
    connection.stream.set_nonblocking(true).map_err(host)?;
    let mut joined = Joined { input: how.stdin, keys, connection, how, output: Vec::new() };
    // Frames that came together with the monitor's answer do not wake `poll`.
    let mut outcome = joined.act(false)?;
    loop {
        if outcome.is_none() {
            outcome = joined.turn(&mut signals)?;
        }
        if let Some(outcome) = outcome {
            drop(_raw);
            if outcome == Outcome::Detached && stdin_is_terminal {
                eprintln!();
            }
            return Ok(outcome);
        }
    }
}

fn write_all(mut to: impl Write + AsFd, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // Another process has made the descriptor non-blocking.
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                let _ = poll(&mut [PollFd::new(&to, PollFlags::OUT)], None);
            }
            Err(e) => return Err(e),
        }
    }
    to.flush()
}

impl Joined<'_> {
    fn send(&mut self, frame: &Frame) {
        self.output.extend_from_slice(&frame.bytes());
    }

    fn turn(&mut self, signals: &mut Signals) -> Result<Option<Outcome>, ControlError> {
        let stdin = std::io::stdin();
        let wants = if self.output.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        let (mut on_socket, mut on_signals, mut on_input) =
            (PollFlags::empty(), PollFlags::empty(), PollFlags::empty());
        {
            let mut fds =
                vec![PollFd::new(&self.connection.stream, wants), PollFd::new(signals, PollFlags::IN)];
            if self.input && self.output.len() < PIECE {
                fds.push(PollFd::new(&stdin, PollFlags::IN));
            }
            match poll(&mut fds, None) {
                Ok(_) => {
                    (on_socket, on_signals) = (fds[0].revents(), fds[1].revents());
                    on_input = fds.get(2).map_or(on_input, PollFd::revents);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(ControlError::host("poll", e)),
            }
        }
        if !on_signals.is_empty() {
            while let Some(signal) = signals.take_next() {
                if let Some(outcome) = self.signal(signal) {
                    return Ok(Some(outcome));
                }
            }
        }
        if !on_input.is_empty() && self.take_input() {
            self.flush();
            return Ok(Some(Outcome::Detached));
        }
        self.flush();
        if on_socket.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            return self.take_frames();
        }
        Ok(None)
    }

    fn flush(&mut self) {
        while !self.output.is_empty() {
            match self.connection.stream.write(&self.output) {
                Ok(n) if n > 0 => drop(self.output.drain(..n)),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                // What the monitor sent before it went is still read.
                _ => self.output.clear(),
            }
        }
    }

    fn signal(&mut self, signal: i32) -> Option<Outcome> {
        match (signal, self.how.signal) {
            (libc::SIGWINCH, _) => {
                if let Some(size) = terminal::size().filter(|_| self.how.tty) {
                    self.send(&Frame::Resize(size));
                }
                None
            }
            (_, Some(bring)) => {
                bring(signal);
                None
            }
            (_, None) if self.how.owner => {
                self.send(&Frame::Signal(signal));
                None
            }
            (_, None) => Some(Outcome::Signal(signal)),
        }
    }

    /// Takes input from the user; returns true where the detach keys were pressed.
    fn take_input(&mut self) -> bool {
        let mut bytes = vec![0; PIECE];
        match rustix::io::read(std::io::stdin(), &mut bytes[..]) {
            Ok(0) => {
                self.input = false;
                self.send(&Frame::EndOfInput);
                false
            }
            Ok(n) if self.keys => {
                let (pass, detach) = self.how.keys.take(&bytes[..n]);
                if !pass.is_empty() {
                    self.send(&Frame::Input(pass));
                }
                detach
            }
            Ok(n) => {
                bytes.truncate(n);
                self.send(&Frame::Input(bytes));
                false
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => false,
            // The terminal was hung up.
            Err(_) => {
                self.input = false;
                false
            }
        }
    }

    fn take_frames(&mut self) -> Result<Option<Outcome>, ControlError> {
        let mut piece = vec![0; PIECE];
        let gone = match self.connection.stream.read(&mut piece) {
            Ok(0) => true,
            Ok(n) => {
                self.connection.input.extend_from_slice(&piece[..n]);
                false
            }
            Err(e) => !matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock),
        };
        self.act(gone)
    }

    /// Acts on all complete frames; `gone` says that no more will come.
    fn act(&mut self, gone: bool) -> Result<Option<Outcome>, ControlError> {
        loop {
            let strange = |_| {
                ControlError::Failed(
                    "the guest's monitor sent a message that this trine does not understand".into(),
                )
            };
            let written = match Frame::take(&mut self.connection.input).map_err(strange)? {
                Some(Frame::Out(bytes)) => write_all(std::io::stdout(), &bytes),
                Some(Frame::Err(bytes)) => write_all(std::io::stderr(), &bytes),
                Some(Frame::Ended(ended)) => return Ok(Some(Outcome::Ended(ended))),
                Some(Frame::Away(why)) => return Ok(Some(Outcome::Lost(Some(why)))),
                Some(_) => Ok(()),
                None if gone => return Ok(Some(Outcome::Lost(None))),
                None => return Ok(None),
            };
            if written.is_err() {
                // Nobody reads the guest's output: it ends as if its own pipe had broken.
                if let Some(bring) = self.how.signal.filter(|_| self.how.owner) {
                    bring(libc::SIGPIPE);
                }
                return Ok(Some(Outcome::Signal(libc::SIGPIPE)));
            }
        }
    }
}
