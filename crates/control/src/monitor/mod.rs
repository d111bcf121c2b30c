//! The monitor: a small process that each guest has. It starts the guest, holds its terminal or pipes, writes
//! its log, serves attached clients, and records how the guest ended.
//!
//! It has one thread and one loop around poll(2). While it lives it holds the guest's lock; the guest does
//! not outlive it (see [`crate::kinds::command`], and [`repair`], which the next command does).

mod client;
mod guest;
mod health;
pub mod launch;
pub mod repair;
mod requests;
mod session;

use crate::error::ControlError;
use crate::kinds::{self, Kind};
use crate::record::Record;
use crate::signals::Signals;
use crate::store::{Lock, Place, Store};
use crate::wire::{Frame, Size};
use crate::{events::Event, log};
use client::{Client, Role};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use session::{Endpoint, Session};
use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};
use trine_base::replace_file::Durability;

/// Signals that the monitor handles.
const SIGNALS: &[i32] =
    &[libc::SIGCHLD, libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGUSR1];
/// How long a monitor waits to be told to start its guest.
const UNUSED: Duration = Duration::from_secs(30);
/// How long the monitor waits for output after all of the guest's processes have ended.
const DRAIN: Duration = Duration::from_secs(1);
/// The largest number of clients at once.
const CLIENTS: usize = 256;

/// The state of the guest's lifecycle, as its monitor sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not started yet.
    New(Instant),
    /// It runs, or has ended and its last output is being read.
    Up,
    /// It will be started again at this time.
    Backoff(Instant),
    /// It has ended for good.
    Over(Instant),
}

/// A guest's monitor.
struct Monitor {
    store: Store,
    place: Place,
    lock: Lock,
    record: Record,
    kind: Box<dyn Kind>,
    listener: UnixListener,
    signals: Signals,
    log: Option<log::Writer>,
    sessions: BTreeMap<u64, Session>,
    /// The key of the guest's own session; other sessions are commands executed besides it.
    main: u64,
    next: u64,
    clients: Vec<Client>,
    phase: Phase,
    /// When it will be killed because it did not stop.
    kill_at: Option<Instant>,
    /// Whether it must not be restarted, whatever its policy.
    ending: bool,
    backoff: Duration,
    size: Option<Size>,
    health: health::Checker,
    /// When to look whether a snapshot is complete that is being made.
    look_at_snapshot: Option<Instant>,
}

/// The owner of a descriptor that is ready.
enum Ready {
    Listener,
    Signals,
    Session(u64, Endpoint),
    Client(usize),
}

impl Monitor {
    fn save(&self) {
        // A full disk must not end the guest; the next command finds an older state, and the lock.
        let _ = self.place.write(&self.record, Durability::Volatile);
    }

    fn tell(&self, event: Event) {
        event.tell(&self.store);
    }

    fn event(&self, action: &str) -> Event {
        Event::new(&self.record, action)
    }

    /// Whether a session has to wait for a client.
    fn is_blocked(&self, session: u64) -> bool {
        self.clients.iter().any(|c| {
            !c.gone && c.is_full() && matches!(c.role, Role::Attached { session: s, .. } if s == session)
        })
    }

    /// Whether a client's input has to wait.
    fn is_choked(&self, client: &Client) -> bool {
        match client.role {
            Role::Attached { session, .. } => self.sessions.get(&session).is_some_and(|s| !s.takes_input()),
            _ => false,
        }
    }

    /// Waits until something is ready, or a timer is due.
    fn wait(&self) -> Vec<(Ready, PollFlags)> {
        let mut targets = vec![Ready::Signals];
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        if self.clients.len() < CLIENTS {
            targets.push(Ready::Listener);
            fds.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        for (&key, session) in &self.sessions {
            for (endpoint, fd) in session.endpoints(!self.is_blocked(key)) {
                targets.push(Ready::Session(key, endpoint));
                let what = if endpoint == Endpoint::Input { PollFlags::OUT } else { PollFlags::IN };
                fds.push(PollFd::new(fd, what));
            }
        }
        for (n, client) in self.clients.iter().enumerate() {
            let mut what = PollFlags::empty();
            what.set(PollFlags::IN, !self.is_choked(client));
            what.set(PollFlags::OUT, client.has_output());
            targets.push(Ready::Client(n));
            fds.push(PollFd::new(&client.stream, what));
        }
        let left = self.deadline().map(|at| at.saturating_duration_since(Instant::now()));
        let time = left.map(|l| Timespec { tv_sec: l.as_secs() as i64, tv_nsec: l.subsec_nanos().into() });
        match poll(&mut fds, time.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Vec::new(),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
        let flags: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        targets.into_iter().zip(flags).filter(|(_, f)| !f.is_empty()).collect()
    }

    /// One iteration of the loop.
    fn turn(&mut self) {
        for (target, flags) in self.wait() {
            match target {
                Ready::Signals => self.take_signals(),
                Ready::Listener => {
                    while let Ok((stream, _)) = self.listener.accept() {
                        self.clients.push(Client::new(stream));
                    }
                }
                Ready::Session(key, Endpoint::Input) => {
                    if let Some(session) = self.sessions.get_mut(&key) {
                        session.feed();
                    }
                }
                Ready::Session(key, endpoint) => self.output(key, endpoint),
                Ready::Client(n) => {
                    if flags.contains(PollFlags::OUT) {
                        self.clients[n].flush();
                    }
                    if flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                        for frame in self.clients[n].read() {
                            self.frame(n, frame);
                        }
                    }
                }
            }
        }
        self.timers();
        self.part_with_clients();
    }

    /// Sends output of a session to its log and to the attached clients.
    fn output(&mut self, key: u64, endpoint: Endpoint) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let Some((stream, bytes)) = session.read(endpoint) else { return };
        if let Some(captured) = &mut session.captured {
            health::capture(captured, &bytes);
            return;
        }
        if key == self.main
            && let Some(log) = &mut self.log
        {
            // A full disk must not end the guest.
            let _ = log.write(stream, &bytes);
        }
        let frame = match stream {
            log::Stream::Out => Frame::Out(bytes),
            log::Stream::Err => Frame::Err(bytes),
        };
        self.hand_on(key, &frame);
    }

    fn hand_on(&mut self, key: u64, frame: &Frame) {
        for client in &mut self.clients {
            if matches!(client.role, Role::Attached { session, .. } if session == key) {
                client.send(frame);
            }
        }
    }

    /// When a client that reads nothing is disconnected because it holds up others or the monitor. The owner,
    /// for whom the guest runs, may take its time.
    fn patience_ends(&self, client: &Client) -> Option<Instant> {
        let owner = matches!(client.role, Role::Attached { owner: true, .. });
        let over = matches!(self.phase, Phase::Over(_));
        let waits = !owner && (client.is_full() || over);
        client.stalled().filter(|_| waits).map(|since| since + Duration::from_secs(client::PATIENCE))
    }

    /// Removes clients that have disconnected, and those that read nothing while others wait.
    fn part_with_clients(&mut self) {
        for n in 0..self.clients.len() {
            let late = self.patience_ends(&self.clients[n]).is_some_and(|at| at <= Instant::now());
            let client = &mut self.clients[n];
            client.gone |= late;
            if client.gone
                && let Role::Attached { session, owner: true, stdin: true } = client.role
                && let Some(s) = self.sessions.get_mut(&session)
                && (session != self.main || self.record.options.stdin_once)
            {
                s.end_of_input();
            }
        }
        self.clients.retain(|c| !c.gone);
    }

    /// Whether nothing is left to do.
    fn is_done(&self) -> bool {
        match self.phase {
            Phase::Over(_) => !self.clients.iter().any(Client::has_output),
            Phase::New(since) => self.clients.is_empty() && since.elapsed() > UNUSED,
            _ => false,
        }
    }

    /// When the loop has something to do without an event.
    fn deadline(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::New(since) => Some(since + UNUSED),
            Phase::Backoff(at) => Some(at),
            Phase::Over(_) | Phase::Up => None,
        };
        let drains = self.sessions.values().filter_map(|s| Some(s.ended.as_ref()?.1 + DRAIN));
        let stalled = self.clients.iter().filter_map(|c| self.patience_ends(c));
        let health = self.health.deadline();
        phase
            .into_iter()
            .chain(drains)
            .chain(stalled)
            .chain(self.kill_at)
            .chain(health)
            .chain(self.look_at_snapshot)
            .min()
    }
}

/// Runs the monitor of a guest. `ready` is called when clients can connect, or with the reason why it cannot
/// start.
fn run(store: Store, place: Place, ready: &mut dyn FnMut(Result<(), ControlError>)) {
    let made = launch::prepare(store, place);
    let mut monitor = match made {
        Ok(monitor) => monitor,
        Err(e) => return ready(Err(e)),
    };
    ready(Ok(()));
    while !monitor.is_done() {
        monitor.turn();
    }
    monitor.leave();
}

impl Monitor {
    /// Removes the runtime files.
    fn leave(self) {
        let _ = std::fs::remove_dir_all(self.store.running(&self.place.id));
        let over = matches!(self.phase, Phase::Over(_));
        if self.record.options.remove && over {
            let forgotten = kinds::forget(&self.record);
            if forgotten.and_then(|()| self.store.remove(&self.place, &self.record.name, &self.lock)).is_ok()
            {
                Event::new(&self.record, "destroy").tell(&self.store);
            }
        }
    }
}
