//! The thread that serves a guest's ports: one `epoll` set, with connections and clients by number.

use super::Protocol;
use super::listen::{Listener, Name};
use super::tcp::{Connection, Pipes, State, break_off};
use super::udp::{self, Flow, Peer};
use crate::inside::{Inside, Kind, Place};
use crate::sys;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long the guest may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// How long a client's socket is kept without a datagram.
const IDLE: Duration = Duration::from_secs(60);
/// How often expired connections and clients are looked for.
const TICK: Duration = Duration::from_secs(1);
/// The largest number of UDP clients at once.
const CLIENTS: usize = 1024;
/// The largest number of connections at once, if the limit of open descriptors allows it.
const CONNECTIONS: usize = 4096;
/// Datagrams or connections taken from one socket before others get their turn.
const TURN: usize = 64;
/// The number of the descriptor that tells the thread to end.
const STOP: u64 = u64::MAX;

/// The target of the ports.
pub(super) struct Guest {
    pub place: Place,
    pub inside: Inside,
    pub to: Ipv4Addr,
}

impl Guest {
    /// A non-blocking socket in the guest's network that is connected, or being connected, to a port.
    fn connect(&mut self, kind: Kind, port: u16) -> io::Result<OwnedFd> {
        let socket = match self.inside.socket(kind) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                // Another process killed the helper process.
                self.inside = Inside::start(&self.place).map_err(io::Error::other)?;
                self.inside.socket(kind)?
            }
            other => other?,
        };
        // SAFETY: takes no pointers.
        sys::check(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
        let name = Name::from(SocketAddr::new(self.to.into(), port));
        // SAFETY: the name's pointer and length are of one structure.
        match sys::check(unsafe { libc::connect(socket.as_raw_fd(), name.pointer(), name.length) }) {
            Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e),
            _ => Ok(socket),
        }
    }
}

enum Entry {
    Listener(Listener),
    Connection(Box<Connection>),
    Flow(Flow),
}

pub(super) struct Forwarder {
    poll: OwnedFd,
    stop: OwnedFd,
    entries: HashMap<u64, Entry>,
    /// The numbers of the clients' sockets.
    clients: HashMap<Peer, u64>,
    next: u64,
    connections: usize,
    most: usize,
    /// Whether no connections are accepted because there are too many.
    full: bool,
    guest: Guest,
    pipes: Pipes,
    buffer: Vec<u8>,
    ticked: Instant,
}

/// The `epoll` value of a socket. A connection has two sockets with the same number: the lowest bit tells
/// them apart. It is 0 for all others.
fn token(number: u64, of_guest: bool) -> u64 {
    number << 1 | u64::from(of_guest)
}

impl Forwarder {
    pub fn new(listeners: Vec<Listener>, guest: Guest, stop: OwnedFd) -> io::Result<Forwarder> {
        // SAFETY: takes no pointers.
        let poll = sys::owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        let mut forwarder = Forwarder {
            poll,
            stop,
            entries: HashMap::new(),
            clients: HashMap::new(),
            next: 0,
            connections: 0,
            most: most(),
            full: false,
            guest,
            pipes: Pipes::default(),
            buffer: vec![0; udp::LARGEST],
            ticked: Instant::now(),
        };
        let stop = forwarder.stop.as_fd();
        forwarder.watch(stop, STOP, libc::EPOLLIN, libc::EPOLL_CTL_ADD)?;
        for listener in listeners {
            let number = forwarder.number();
            forwarder.watch(
                listener.socket.as_fd(),
                token(number, false),
                libc::EPOLLIN,
                libc::EPOLL_CTL_ADD,
            )?;
            forwarder.entries.insert(number, Entry::Listener(listener));
        }
        Ok(forwarder)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn watch(&self, fd: BorrowedFd, token: u64, events: i32, how: i32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: events as u32, u64: token };
        // SAFETY: points at a structure of ours.
        sys::check(unsafe { libc::epoll_ctl(self.poll.as_raw_fd(), how, fd.as_raw_fd(), &raw mut event) })
            .map(drop)
    }

    /// Serves until it is told to stop.
    pub fn run(mut self) {
        // Writing to a closed socket must not end the process, and signals are for other threads.
        // SAFETY: changes this thread's mask, from a set that is made full first.
        unsafe {
            let mut all = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        }
        let mut again: Vec<u64> = Vec::new();
        // SAFETY: structures of integers, for which zero is a value.
        let mut events: [libc::epoll_event; 128] = unsafe { std::mem::zeroed() };
        loop {
            let quiet = self.connections == 0 && self.clients.is_empty() && !self.full;
            let wait = match (again.is_empty(), quiet) {
                (false, _) => 0,
                (true, false) => TICK.as_millis() as i32,
                (true, true) => -1,
            };
            let (at, most) = (events.as_mut_ptr(), events.len() as i32);
            // SAFETY: writes at most as many structures as there are.
            let count = unsafe { libc::epoll_wait(self.poll.as_raw_fd(), at, most, wait) };
            let count = usize::try_from(count).unwrap_or(0);
            let mut more = Vec::new();
            for event in &events[..count] {
                let (token, what) = (event.u64, event.events);
                if token == STOP {
                    return;
                }
                self.step(token >> 1, token & 1 != 0, what, &mut more);
            }
            for number in again.drain(..) {
                self.step(number, false, 0, &mut more);
            }
            more.sort_unstable();
            more.dedup();
            again = more;
            if self.ticked.elapsed() >= TICK {
                self.tick();
            }
        }
    }

    fn step(&mut self, number: u64, of_guest: bool, events: u32, again: &mut Vec<u64>) {
        match self.entries.get_mut(&number) {
            Some(Entry::Connection(connection)) => match connection.step(events, of_guest, &mut self.pipes) {
                State::Waits => {}
                State::Goes => again.push(number),
                State::Ended => self.end(number),
            },
            Some(Entry::Listener(l)) if l.open.protocol == Protocol::Tcp => self.accept(number),
            Some(Entry::Listener(_)) => self.datagrams(number),
            Some(Entry::Flow(_)) => self.answers(number),
            None => {}
        }
    }

    fn listener(&self, number: u64) -> Option<(BorrowedFd<'_>, u16)> {
        match self.entries.get(&number) {
            Some(Entry::Listener(l)) => Some((l.socket.as_fd(), l.open.guest)),
            _ => None,
        }
    }

    fn end(&mut self, number: u64) {
        if let Some(Entry::Connection(_)) = self.entries.remove(&number) {
            self.connections -= 1;
            if self.full && self.connections < self.most {
                self.listen(true);
            }
        }
    }

    /// Accepts connections, or leaves new ones waiting in the kernel.
    fn listen(&mut self, on: bool) {
        self.full = !on;
        for (&number, entry) in &self.entries {
            if let Entry::Listener(l) = entry
                && l.open.protocol == Protocol::Tcp
            {
                let events = if on { libc::EPOLLIN } else { 0 };
                let _ = self.watch(l.socket.as_fd(), token(number, false), events, libc::EPOLL_CTL_MOD);
            }
        }
    }

    fn accept(&mut self, number: u64) {
        for _ in 0..TURN {
            if self.connections >= self.most {
                return self.listen(false);
            }
            let Some((socket, port)) = self.listener(number) else { return };
            let none = std::ptr::null_mut();
            let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
            // SAFETY: null pointers: the client's address is not asked for.
            let client = sys::owned(unsafe { libc::accept4(socket.as_raw_fd(), none, none.cast(), flags) });
            match client {
                Ok(client) => self.connect(client, port),
                Err(e) => match e.raw_os_error() {
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                        return self.listen(false);
                    }
                    Some(libc::ECONNABORTED | libc::EINTR) => {}
                    _ => return,
                },
            }
        }
    }

    fn connect(&mut self, client: OwnedFd, port: u16) {
        let number = self.number();
        let Ok(guest) = self.guest.connect(Kind::Tcp, port) else {
            // Nothing listens in the guest: the client is told so by a reset.
            return break_off(client.as_fd());
        };
        let connection = Connection::new(client, guest, Instant::now() + CONNECT);
        let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        for (socket, of_guest) in connection.sockets().into_iter().zip([false, true]) {
            if self.watch(socket, token(number, of_guest), events, libc::EPOLL_CTL_ADD).is_err() {
                return connection.reset();
            }
        }
        self.connections += 1;
        self.entries.insert(number, Entry::Connection(Box::new(connection)));
    }

    fn datagrams(&mut self, number: u64) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..TURN {
            let Some((socket, port)) = self.listener(number) else { break };
            let Ok((length, client, asked)) = udp::receive(socket, &mut buffer) else { break };
            // Datagrams that cannot be passed on are dropped, as is usual for UDP.
            let peer = Peer { listener: number, client, asked };
            if let Ok(flow) = self.client(peer, port) {
                flow.last = Instant::now();
                let (at, fd) = (buffer.as_ptr().cast(), flow.socket.as_raw_fd());
                // SAFETY: sends bytes that were received into the buffer.
                unsafe { libc::send(fd, at, length, libc::MSG_NOSIGNAL) };
            }
        }
        self.buffer = buffer;
    }

    /// The client's socket. For a new client, one is created; where there are too many, it replaces the one
    /// that was idle for longest.
    fn client(&mut self, peer: Peer, port: u16) -> io::Result<&mut Flow> {
        let number = match self.clients.get(&peer) {
            Some(&number) => number,
            None => {
                if self.clients.len() >= CLIENTS {
                    self.forget_one();
                }
                let socket = self.guest.connect(Kind::Udp, port)?;
                let number = self.number();
                self.watch(socket.as_fd(), token(number, false), libc::EPOLLIN, libc::EPOLL_CTL_ADD)?;
                self.entries.insert(number, Entry::Flow(Flow { socket, peer, last: Instant::now() }));
                self.clients.insert(peer, number);
                number
            }
        };
        match self.entries.get_mut(&number) {
            Some(Entry::Flow(flow)) => Ok(flow),
            _ => Err(io::Error::from_raw_os_error(libc::ENOENT)),
        }
    }

    fn flows(&self) -> impl Iterator<Item = (u64, &Flow)> {
        self.entries.iter().filter_map(|(&n, e)| if let Entry::Flow(f) = e { Some((n, f)) } else { None })
    }

    fn forget(&mut self, number: u64) {
        if let Some(Entry::Flow(flow)) = self.entries.remove(&number) {
            self.clients.remove(&flow.peer);
        }
    }

    fn forget_one(&mut self) {
        let oldest = self.flows().min_by_key(|(_, f)| f.last).map(|(n, _)| n);
        oldest.into_iter().for_each(|n| self.forget(n));
    }

    fn answers(&mut self, number: u64) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..TURN {
            let Some(Entry::Flow(flow)) = self.entries.get_mut(&number) else { break };
            let (fd, at) = (flow.socket.as_raw_fd(), buffer.as_mut_ptr().cast());
            // SAFETY: writes at most the buffer's length.
            let count = unsafe { libc::recv(fd, at, buffer.len(), 0) };
            // This also clears a pending error (nothing listens there).
            let Ok(count) = usize::try_from(count) else { break };
            flow.last = Instant::now();
            let peer = flow.peer;
            if let (Some((socket, _)), Some(bytes)) = (self.listener(peer.listener), buffer.get_mut(..count))
            {
                let _ = udp::answer(socket, &peer, bytes);
            }
        }
        self.buffer = buffer;
    }

    /// Ends connections and clients that have waited too long.
    fn tick(&mut self) {
        self.ticked = Instant::now();
        let now = self.ticked;
        let late = |(&number, entry): (&u64, &Entry)| match entry {
            Entry::Connection(c) if c.connecting.is_some_and(|until| now > until) => {
                c.reset();
                Some(number)
            }
            Entry::Flow(f) if now.duration_since(f.last) > IDLE => Some(number),
            _ => None,
        };
        let late: Vec<u64> = self.entries.iter().filter_map(late).collect();
        for number in late {
            self.forget_or_end(number);
        }
        if self.full && self.connections < self.most {
            self.listen(true);
        }
    }

    fn forget_or_end(&mut self, number: u64) {
        match self.entries.get(&number) {
            Some(Entry::Flow(_)) => self.forget(number),
            _ => self.end(number),
        }
    }
}

/// The largest number of connections at once: each has two sockets, and may have two pipes.
fn most() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes a structure of ours.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    usize::try_from(limit.rlim_cur / 8).unwrap_or(CONNECTIONS).clamp(16, CONNECTIONS)
}
