//! All sockets of one device.

use super::Dialer;
use super::client::{Client, Wish};
use mio::net::{UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use trine_base::vsock::{HostEnd, MOST, Ports, StreamId, View};

const WAKE: Token = Token(0);
const LISTENER: Token = Token(1);
/// The tokens of clients begin here.
const FIRST: usize = 2;
/// How long a process has until the guest has accepted: for its first line, and for the guest's answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most processes that are accepted in one turn.
const ACCEPTS: usize = 64;
/// How long the listener rests where the host has no descriptors left.
const REST: Duration = Duration::from_millis(100);

/// The thread's state.
pub struct Server {
    poll: Poll,
    events: Events,
    dialer: Dialer,
    /// The listener, and the path that it is bound to.
    at: Option<(UnixListener, PathBuf)>,
    end: HostEnd,
    clients: HashMap<Token, Client>,
    by_stream: HashMap<StreamId, Token>,
    last: usize,
    /// Clients that have something to do in this turn.
    busy: Vec<Token>,
    /// Whether processes may wait at the listener, and from when on it is looked at again after an error.
    listens: bool,
    rests_until: Option<Instant>,
    buffer: Vec<u8>,
}

impl Server {
    /// Serves `end` by a listener and the path that it is bound to, if there is one.
    pub fn new(at: Option<(std::os::unix::net::UnixListener, PathBuf)>, end: HostEnd) -> io::Result<Server> {
        let poll = Poll::new()?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKE)?);
        let register = |(listener, path): (std::os::unix::net::UnixListener, PathBuf)| {
            listener.set_nonblocking(true)?;
            let mut listener = UnixListener::from_std(listener);
            poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
            io::Result::Ok((listener, path))
        };
        let at = at.map(register).transpose()?;
        let woken = waker.clone();
        end.set_waker(move || {
            // Fails only where the thread's descriptors are gone, and it with them.
            let _ = woken.wake();
        });
        Ok(Server {
            poll,
            events: Events::with_capacity(256),
            dialer: Dialer { queue: Arc::new(Mutex::new(Some(Vec::new()))), waker },
            listens: at.is_some(),
            at,
            end,
            clients: HashMap::new(),
            by_stream: HashMap::new(),
            last: FIRST,
            busy: Vec::new(),
            rests_until: None,
            buffer: Vec::new(),
        })
    }

    /// What makes connections of this process, and ends the wait of a turn.
    pub fn dialer(&self) -> Dialer {
        self.dialer.clone()
    }

    /// Waits until there is something to do, and does a bounded amount of it.
    pub fn turn(&mut self) {
        let wait = self.patience();
        // Interrupted by a signal, it finds no events, which does no harm.
        if self.poll.poll(&mut self.events, wait).is_err() {
            self.events.clear();
        }
        for event in &self.events {
            match event.token() {
                WAKE => {}
                LISTENER => self.listens = true,
                token => {
                    if let Some(client) = self.clients.get_mut(&token) {
                        client.ready(event);
                        self.busy.push(token);
                    }
                }
            }
        }
        self.follow_guest();
        self.accept();
        self.accept_own();
        self.run();
        self.expire();
    }

    /// How long there will be nothing to do; `None`: until something happens.
    fn patience(&self) -> Option<Duration> {
        if !self.busy.is_empty() || (self.listens && self.rests_until.is_none()) {
            return Some(Duration::ZERO);
        }
        let deadlines = self.clients.values().filter_map(Client::deadline).chain(self.rests_until);
        let next = deadlines.min()?;
        // A little late rather than a little early, which would be a turn for nothing.
        Some(next.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
    }

    fn follow_guest(&mut self) {
        // The guest goes on meanwhile: this must not last as long as it does.
        for _ in 0..2 * MOST {
            let Some((stream, view)) = self.end.news() else { return };
            match self.by_stream.get(&stream).copied() {
                Some(token) => {
                    self.busy.push(token);
                    if let Some(client) = self.clients.get_mut(&token) {
                        client.look(&view);
                    }
                }
                None => self.guest_asks(stream, &view),
            }
        }
        // There may be more: the next turn does not wait.
        let _ = self.dialer.waker.wake();
    }

    /// The guest asks for a connection to a port of the host.
    fn guest_asks(&mut self, stream: StreamId, view: &View) {
        let wanted = !view.by_host && !view.closed;
        let Some(socket) = wanted.then(|| self.connect(view.ports)).flatten() else {
            return self.end.close(stream);
        };
        self.end.accept(stream);
        if !self.add(Client::accepted(socket, stream)) {
            self.end.close(stream);
        }
    }

    /// Connects with the process that serves a port, if there is one. Never waits: where too many connections wait for that
    /// process already, this one is refused.
    fn connect(&self, ports: Ports) -> Option<UnixStream> {
        let mut path = OsString::from(&self.at.as_ref()?.1);
        path.push(format!("_{}", ports.host));
        UnixStream::connect(path).ok()
    }

    fn accept(&mut self) {
        if self.rests_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        self.rests_until = None;
        for _ in 0..ACCEPTS {
            if !self.listens {
                return;
            }
            let Some((listener, _)) = &self.at else { return };
            match listener.accept() {
                // One too many is closed at once, which tells it.
                Ok((socket, _)) if self.clients.len() < MOST => {
                    self.add(Client::greeting(socket, Instant::now() + PATIENCE));
                }
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.listens = false,
                Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(_) => {
                    self.rests_until = Some(Instant::now() + REST);
                    return;
                }
            }
        }
    }

    /// Takes the connections that this process has made.
    fn accept_own(&mut self) {
        for socket in self.dialer.take() {
            // Otherwise it is closed, which tells it.
            if self.clients.len() < MOST && socket.set_nonblocking(true).is_ok() {
                let socket = UnixStream::from_std(socket);
                self.add(Client::greeting(socket, Instant::now() + PATIENCE));
            }
        }
    }

    /// Adds a client; returns false where the host cannot watch it.
    fn add(&mut self, mut client: Client) -> bool {
        self.last += 1;
        let token = Token(self.last);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(client.socket(), token, interest).is_err() {
            return false;
        }
        self.by_stream.extend(client.stream().map(|stream| (stream, token)));
        self.clients.insert(token, client);
        self.busy.push(token);
        true
    }

    fn run(&mut self) {
        let mut busy = std::mem::take(&mut self.busy);
        busy.sort_unstable();
        busy.dedup();
        for token in busy {
            let Some(client) = self.clients.get_mut(&token) else { continue };
            let wish = client.run(&self.end, &mut self.buffer);
            self.by_stream.extend(client.stream().map(|stream| (stream, token)));
            match wish {
                Wish::Wait => {}
                Wish::Again => self.busy.push(token),
                Wish::Close => self.close(token),
            }
        }
    }

    fn close(&mut self, token: Token) {
        let Some(mut client) = self.clients.remove(&token) else { return };
        // Fails only where it was never registered.
        let _ = self.poll.registry().deregister(client.socket());
        if let Some(stream) = client.stream() {
            self.by_stream.remove(&stream);
            self.end.close(stream);
        }
    }

    /// Closes those that were not connected with the guest in time.
    fn expire(&mut self) {
        let now = Instant::now();
        let late = |(token, client): (&Token, &Client)| {
            client.deadline().is_some_and(|at| at <= now).then_some(*token)
        };
        let late: Vec<Token> = self.clients.iter().filter_map(late).collect();
        late.into_iter().for_each(|token| self.close(token));
    }
}
