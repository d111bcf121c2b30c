//! One socket of the host, and the stream that it is connected with.

use super::greeting::{self, Greeting};
use mio::net::UnixStream;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Instant;
use trine_base::vsock::{HostEnd, StreamId, View};

/// The most bytes that are moved in each direction in one turn; a call that begins below it is finished.
const TURN: usize = 64 << 10;
/// The most bytes that are read with a first line: what follows it waits in the socket until there is a stream.
const FIRST: usize = 64;

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its first line is being read.
    Greeting,
    /// The guest has not answered yet.
    Asking,
    /// Bytes go both ways.
    Open,
    /// It is over.
    Over,
}

/// What a client wants of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It waits for its socket or its stream.
    Wait,
    /// Another turn soon: it has more to do than fits into one.
    Again,
    /// It is over.
    Close,
}

/// A socket.
pub struct Client {
    socket: UnixStream,
    phase: Phase,
    stream: Option<StreamId>,
    deadline: Option<Instant>,
    /// What came of the first line.
    greeting: Vec<u8>,
    /// What is written when the guest accepts.
    answer: String,
    /// What is to be written: so many bytes of the answer, then those of the stream.
    out: VecDeque<u8>,
    own: usize,
    /// Whether the socket may have bytes, or room for some: until a call says otherwise.
    readable: bool,
    writable: bool,
    /// The process sends nothing more; it takes nothing more.
    read_ended: bool,
    write_ended: bool,
    /// The guest sends nothing more, and the process was told; the guest takes nothing more.
    guest_ended: bool,
    end_told: bool,
    guest_stopped: bool,
}

impl Client {
    /// A process that has connected, and must be connected with the guest before `deadline`.
    pub fn greeting(socket: UnixStream, deadline: Instant) -> Client {
        Client::new(socket, Phase::Greeting, None, Some(deadline))
    }

    /// A connection of the guest's that a process has accepted.
    pub fn accepted(socket: UnixStream, stream: StreamId) -> Client {
        Client::new(socket, Phase::Open, Some(stream), None)
    }

    fn new(socket: UnixStream, phase: Phase, stream: Option<StreamId>, deadline: Option<Instant>) -> Client {
        Client {
            socket,
            phase,
            stream,
            deadline,
            greeting: Vec::new(),
            answer: String::new(),
            out: VecDeque::new(),
            own: 0,
            readable: true,
            writable: true,
            read_ended: false,
            write_ended: false,
            guest_ended: false,
            end_told: false,
            guest_stopped: false,
        }
    }

    /// Its socket.
    pub fn socket(&mut self) -> &mut UnixStream {
        &mut self.socket
    }

    /// Its stream, once it has one.
    pub fn stream(&self) -> Option<StreamId> {
        self.stream
    }

    /// Until when it must be connected with the guest; `None` where it is.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The socket has changed.
    pub fn ready(&mut self, event: &mio::event::Event) {
        let gone = event.is_write_closed() && event.is_read_closed();
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
        // The process closed its socket: a write would fail, but there may be nothing to write for a long time.
        self.write_ended |= gone;
    }

    /// The guest's end has changed.
    pub fn look(&mut self, view: &View) {
        if self.phase == Phase::Asking && view.accepted {
            (self.phase, self.deadline) = (Phase::Open, None);
            self.own = self.answer.len();
            self.out.extend(self.answer.bytes());
        }
        if self.phase == Phase::Asking && view.closed {
            self.phase = Phase::Over;
        }
        self.guest_ended |= view.ended;
        self.guest_stopped |= view.stopped;
    }

    /// Does what can be done now, a bounded amount of it.
    pub fn run(&mut self, end: &HostEnd, buffer: &mut Vec<u8>) -> Wish {
        if self.phase == Phase::Greeting {
            self.greet(end, buffer);
        }
        match (self.phase, self.stream) {
            (Phase::Open, Some(stream)) => self.move_bytes(end, stream, buffer),
            (Phase::Greeting | Phase::Asking, _) if !self.write_ended => Wish::Wait,
            _ => Wish::Close,
        }
    }

    /// Reads the first line, and asks the guest.
    fn greet(&mut self, end: &HostEnd, buffer: &mut Vec<u8>) {
        while self.phase == Phase::Greeting && self.readable {
            self.read(FIRST - self.greeting.len().min(FIRST - 1), buffer);
            self.greeting.extend_from_slice(buffer);
            self.phase = match greeting::read(&self.greeting) {
                Greeting::Partial if !self.read_ended => Phase::Greeting,
                Greeting::Connect { port, len } => self.ask(end, port, len),
                _ => Phase::Over,
            };
        }
    }

    /// Asks the guest for a connection with `port`; the first line had `len` bytes.
    fn ask(&mut self, end: &HostEnd, port: u32, len: usize) -> Phase {
        let Some((stream, host)) = end.connect(port) else { return Phase::Over };
        // There is room for far more than that.
        end.send(stream, &self.greeting[len..]);
        self.greeting = Vec::new();
        self.answer = format!("OK {host}\n");
        self.stream = Some(stream);
        Phase::Asking
    }

    fn move_bytes(&mut self, end: &HostEnd, stream: StreamId, buffer: &mut Vec<u8>) -> Wish {
        let more = self.move_to_guest(end, stream, buffer) | self.move_to_host(end, stream);
        match (self.read_ended && (self.write_ended || self.end_told), more) {
            (true, _) => Wish::Close,
            (false, true) => Wish::Again,
            (false, false) => Wish::Wait,
        }
    }

    /// Reads what the process sends, as far as the guest's end has room. Returns whether there may be more.
    fn move_to_guest(&mut self, end: &HostEnd, stream: StreamId, buffer: &mut Vec<u8>) -> bool {
        if self.guest_stopped && !self.read_ended {
            self.read_ended = true;
            // The process gets an error when it writes. This fails only where it has gone.
            let _ = self.socket.shutdown(Shutdown::Read);
        }
        let room = (end.room(stream) as usize).min(TURN);
        if self.read_ended || !self.readable || room == 0 {
            return false;
        }
        self.read(room, buffer);
        if !buffer.is_empty() {
            end.send(stream, buffer);
        }
        if self.read_ended {
            end.end(stream);
        }
        self.readable && !self.read_ended
    }

    /// Writes what the guest has sent, and then its end. Returns whether there may be more.
    fn move_to_host(&mut self, end: &HostEnd, stream: StreamId) -> bool {
        let mut moved = 0;
        while self.writable && !self.write_ended && moved < TURN {
            if self.out.is_empty() {
                end.receive(stream, &mut self.out);
            }
            if self.out.is_empty() {
                self.tell_end();
                return false;
            }
            let written = self.write();
            let own = written.min(self.own);
            self.own -= own;
            if written > own {
                end.taken(stream, (written - own) as u32);
            }
            moved += written;
        }
        if self.write_ended {
            self.out.clear();
            end.stop(stream);
        }
        self.writable && !self.write_ended
    }

    /// Everything was written: if nothing more comes, the process reads that.
    fn tell_end(&mut self) {
        if self.guest_ended && !self.end_told {
            self.end_told = true;
            // Fails only where the process has gone.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
    }

    /// Reads up to `most` bytes in place of what `buffer` contains.
    fn read(&mut self, most: usize, buffer: &mut Vec<u8>) {
        buffer.resize(most, 0);
        let read = loop {
            match self.socket.read(buffer) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        match &read {
            Ok(0) => self.read_ended = true,
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => self.readable = false,
            Err(_) => (self.read_ended, self.write_ended) = (true, true),
        }
        buffer.truncate(read.unwrap_or(0));
    }

    /// Writes some of what waits; returns how many bytes.
    fn write(&mut self) -> usize {
        let (first, _) = self.out.as_slices();
        match self.socket.write(first) {
            Ok(count) => {
                self.out.drain(..count);
                return count;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => self.writable = false,
            Err(_) => self.write_ended = true,
        }
        0
    }
}
