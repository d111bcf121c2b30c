//! One connection through a port: two sockets, and the bytes on their way between them.

use crate::sys;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Instant;

/// Bytes moved at once; the default size of a pipe.
const CHUNK: usize = 64 * 1024;
/// Chunks moved before other connections get their turn.
const TURN: usize = 16;
/// The largest number of unused pipes that are kept.
const SPARE: usize = 32;

/// Pipes by which the kernel moves bytes from one socket to another without copying them. A connection has
/// one only while bytes are on their way.
#[derive(Default)]
pub(super) struct Pipes(Vec<Pipe>);

struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipes {
    fn take(&mut self) -> io::Result<Pipe> {
        if let Some(pipe) = self.0.pop() {
            return Ok(pipe);
        }
        let mut fds = [0; 2];
        // SAFETY: writes two descriptors, which nobody else has.
        unsafe {
            sys::check(libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK))?;
            Ok(Pipe { read: OwnedFd::from_raw_fd(fds[0]), write: OwnedFd::from_raw_fd(fds[1]) })
        }
    }

    fn give(&mut self, pipe: Pipe) {
        if self.0.len() < SPARE {
            self.0.push(pipe);
        }
    }
}

/// One direction of a connection.
#[derive(Default)]
struct Flow {
    pipe: Option<Pipe>,
    /// Bytes in the pipe.
    held: usize,
    /// Whether the sender has sent everything.
    ended: bool,
    /// Whether the receiver was told so.
    done: bool,
}

/// Moves bytes; `Some(0)` means the end, `None` that nothing can be moved now.
fn splice(from: BorrowedFd, to: BorrowedFd, length: usize) -> io::Result<Option<usize>> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    let none = std::ptr::null_mut();
    loop {
        // SAFETY: null offsets; descriptors that are borrowed.
        let count = unsafe { libc::splice(from.as_raw_fd(), none, to.as_raw_fd(), none, length, flags) };
        if let Ok(count) = usize::try_from(count) {
            return Ok(Some(count));
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock => return Ok(None),
            io::ErrorKind::Interrupted => {}
            _ => return Err(error),
        }
    }
}

impl Flow {
    /// Moves as much as possible; returns whether there is more to do at once.
    fn pump(&mut self, from: BorrowedFd, to: BorrowedFd, pipes: &mut Pipes) -> io::Result<bool> {
        for _ in 0..TURN {
            if self.done {
                return Ok(false);
            }
            if self.held == 0 && !self.ended {
                let pipe = match self.pipe.take() {
                    Some(pipe) => pipe,
                    None => pipes.take()?,
                };
                match splice(from, pipe.write.as_fd(), CHUNK)? {
                    Some(0) => self.ended = true,
                    Some(count) => self.held = count,
                    None => {
                        pipes.give(pipe);
                        return Ok(false);
                    }
                }
                self.pipe = Some(pipe);
            }
            if let (Some(pipe), 1..) = (&self.pipe, self.held) {
                match splice(pipe.read.as_fd(), to, self.held)? {
                    Some(count) => self.held = self.held.saturating_sub(count),
                    None => return Ok(false),
                }
            }
            if self.held == 0 && self.ended {
                self.pipe.take().into_iter().for_each(|p| pipes.give(p));
                self.done = true;
                // SAFETY: takes no pointers.
                match sys::check(unsafe { libc::shutdown(to.as_raw_fd(), libc::SHUT_WR) }) {
                    // The receiver has gone already, after it sent everything.
                    Err(e) if e.raw_os_error() != Some(libc::ENOTCONN) => return Err(e),
                    _ => return Ok(false),
                }
            }
        }
        Ok(true)
    }
}

/// The state of a connection.
pub(super) enum State {
    /// It waits for an event of the kernel.
    Waits,
    /// There is more to do at once.
    Goes,
    /// It has ended.
    Ended,
}

/// A connection.
pub(super) struct Connection {
    client: OwnedFd,
    guest: OwnedFd,
    /// When to give up while the guest has not accepted.
    pub connecting: Option<Instant>,
    up: Flow,
    down: Flow,
}

impl Connection {
    /// Creates a connection of two non-blocking sockets; the guest's is being connected.
    pub fn new(client: OwnedFd, guest: OwnedFd, until: Instant) -> Connection {
        for socket in [&client, &guest] {
            // Small pieces are sent at once, and a peer that disappeared is noticed.
            let _ = sys::option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
            let _ = sys::option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
        }
        Connection { client, guest, connecting: Some(until), up: Flow::default(), down: Flow::default() }
    }

    /// Both sockets: the client's, then the guest's.
    pub fn sockets(&self) -> [BorrowedFd<'_>; 2] {
        [self.client.as_fd(), self.guest.as_fd()]
    }

    /// Does what is possible after the kernel reported `events` for one of the sockets.
    pub fn step(&mut self, events: u32, of_guest: bool, pipes: &mut Pipes) -> State {
        let went = self.advance(events, of_guest, pipes);
        match went {
            Ok(true) => State::Goes,
            Ok(false) if self.up.done && self.down.done => State::Ended,
            Ok(false) => State::Waits,
            Err(_) => {
                self.reset();
                State::Ended
            }
        }
    }

    fn advance(&mut self, events: u32, of_guest: bool, pipes: &mut Pipes) -> io::Result<bool> {
        let socket = if of_guest { &self.guest } else { &self.client };
        if events & libc::EPOLLERR as u32 != 0 {
            fault(socket.as_fd())?;
        }
        if self.connecting.is_some() {
            if !of_guest || events & libc::EPOLLOUT as u32 == 0 {
                return Ok(false);
            }
            fault(self.guest.as_fd())?;
            self.connecting = None;
        }
        let up = self.up.pump(self.client.as_fd(), self.guest.as_fd(), pipes)?;
        let down = self.down.pump(self.guest.as_fd(), self.client.as_fd(), pipes)?;
        Ok(up || down)
    }

    /// Resets both sides, so that neither takes a broken connection for a normal end.
    pub fn reset(&self) {
        self.sockets().into_iter().for_each(break_off);
    }
}

/// Makes closing a socket send a reset.
pub(super) fn break_off(socket: BorrowedFd) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    let value = (&raw const linger).cast();
    // SAFETY: points at a structure of the size given.
    unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, size) };
}

/// The pending error of a socket.
fn fault(socket: BorrowedFd) -> io::Result<()> {
    let mut number = 0i32;
    let mut size = size_of::<i32>() as libc::socklen_t;
    let to = (&raw mut number).cast();
    // SAFETY: writes at most an integer.
    sys::check(unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, to, &raw mut size)
    })?;
    if number == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(number)) }
}
