//! One connection through a port: two sockets, and what is on its way between them.

use crate::sys;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Instant;

/// Bytes moved at once; a pipe's own size.
const CHUNK: usize = 64 * 1024;
/// Chunks moved before others get their turn.
const TURN: usize = 16;
/// Pipes that wait for their next use.
const SPARE: usize = 32;

/// Pipes by which the kernel moves bytes from one socket to another without copying them. A connection has one only
/// while bytes are on their way.
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

/// One direction.
#[derive(Default)]
struct Flow {
    pipe: Option<Pipe>,
    /// Bytes in the pipe.
    held: usize,
    /// The sender has sent its last.
    ended: bool,
    /// And the receiver was told.
    done: bool,
}

/// `Some(0)` is the end; `None`: not now.
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
    /// Moves what can be moved; returns whether there is more to do at once.
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
                    // The receiver is gone already, and said all it had to say.
                    Err(e) if e.raw_os_error() != Some(libc::ENOTCONN) => return Err(e),
                    _ => return Ok(false),
                }
            }
        }
        Ok(true)
    }
}

/// What became of a connection.
pub(super) enum State {
    /// Nothing can be done before the kernel says so.
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
    /// When to give up, as long as the guest has not accepted.
    pub connecting: Option<Instant>,
    up: Flow,
    down: Flow,
}

impl Connection {
    /// Two sockets that do not block; the guest's is being connected.
    pub fn new(client: OwnedFd, guest: OwnedFd, until: Instant) -> Connection {
        for socket in [&client, &guest] {
            // What is small goes at once, as it came; who has silently gone is found out.
            let _ = sys::option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
            let _ = sys::option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
        }
        Connection { client, guest, connecting: Some(until), up: Flow::default(), down: Flow::default() }
    }

    /// Both sockets: the client's, the guest's.
    pub fn sockets(&self) -> [BorrowedFd<'_>; 2] {
        [self.client.as_fd(), self.guest.as_fd()]
    }

    /// Does what can be done, after the kernel has said `events` of either socket.
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

    /// Lets both sides see that the connection broke, and not an end that could be taken for a good one.
    pub fn reset(&self) {
        self.sockets().into_iter().for_each(break_off);
    }
}

/// Makes closing a socket a reset.
pub(super) fn break_off(socket: BorrowedFd) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    let value = (&raw const linger).cast();
    // SAFETY: points at a structure of the size given.
    unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, size) };
}

/// The error that a socket has noted.
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
