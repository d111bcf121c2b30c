//! Debugging a program with gdb, through `trine_gdb`.
//!
//! All-stop mode: every thread passes a gate between two stretches of guest code, and the gate is closed
//! while gdb inspects the program. A thread inside a system call counts as stopped, since it runs no guest
//! code; it finds the gate closed when the call returns. A host thread serves gdb; it sees the state that
//! each thread stored at the gate.
//!
//! * this file: the state shared by gdb's thread and the program's. [`thread`]: the gate. [`gdb_session`]:
//!   gdb's requests.

mod gdb_session;
mod thread;

pub(crate) use thread::made;

use crate::process::Process;
use crate::signal;
use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use trine_base::Mailbox;
use trine_gdb::{Address, Bell, GdbListener, Go, Layout, Stop, Watch};
use trine_linux::abi::GuestAbi;

/// A single step of a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Step {
    /// No step was requested.
    #[default]
    No,
    /// The thread is to stop after the next instruction.
    Wanted,
    /// The step is finished, and gdb must be told.
    Done,
}

/// What a thread is doing, as far as gdb is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    Running,
    /// It waits at the gate.
    Gate,
    /// It is in a system call, or about to end.
    Call,
}

/// A thread's state as gdb sees it, and gdb's requests to it.
struct Seen {
    mailbox: Arc<Mailbox>,
    doing: Doing,
    /// Its registers, in the order of the layout, at the time it stopped.
    values: Vec<u128>,
    /// Registers that gdb has changed since.
    written: BTreeMap<usize, u128>,
    go: Go,
    /// Whether the thread has not taken over `go` and `signal` yet.
    fresh: bool,
    /// The signal that gdb delivers when it continues; 0 for none.
    signal: i32,
    /// A signal that gdb sent itself, about which it need not be asked.
    passed: i32,
    /// Whether [`WAKE`] was sent to interrupt its call, because gdb changed its registers.
    woken: bool,
}

/// The signal by which the debugger interrupts a thread's system call; no thread blocks it on the host.
const WAKE: i32 = libc::SIGBUS;

/// A watchpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Watchpoint {
    at: u64,
    bytes: u64,
    kind: Watch,
}

#[derive(Default)]
struct State {
    /// Whether the gate is closed.
    stopped: bool,
    /// Why, until gdb's thread has taken it.
    event: Option<Stop>,
    threads: BTreeMap<i32, Seen>,
    /// The thread that stopped last.
    current: i32,
    /// Whether new threads are held.
    hold_new: bool,
    watches: Arc<Vec<Watchpoint>>,
    end_reported: bool,
}

impl State {
    /// Closes the gate.
    fn stop(&mut self, why: Stop) {
        self.stopped = true;
        self.event = Some(why);
        if let Stop::Step(t) | Stop::Breakpoint(t) | Stop::Watch(t, ..) | Stop::Signal(t, _) = why {
            self.current = t as i32;
        }
        self.threads.values().for_each(|t| t.mailbox.request(Mailbox::PAUSE));
    }

    /// Whether the first thread waits at the gate for the first time.
    fn is_here(&self) -> bool {
        self.threads.values().any(|t| t.doing == Doing::Gate)
    }

    /// Whether no thread runs guest code.
    fn is_quiet(&self) -> bool {
        self.threads.values().all(|t| t.doing != Doing::Running)
    }

    /// Stops for gdb if every remaining thread is held, since they would be held for ever.
    fn stop_if_stuck(&mut self) -> bool {
        let stuck = !self.stopped && self.threads.values().all(|t| t.go == Go::Hold);
        let first = self.threads.keys().next().copied().filter(|_| stuck);
        if let Some(first) = first {
            self.stop(Stop::Signal(first as usize, 0));
        }
        first.is_some()
    }
}

/// The debugger of a program.
pub struct Debug {
    /// Cleared when gdb has disconnected, and in child processes, which are not debugged.
    active: AtomicBool,
    state: Mutex<State>,
    /// Signalled when something in `state` has changed.
    turn: Condvar,
    layout: Layout,
    bell: Bell,
    /// The descriptor of the connection; -1 before there is one.
    stream: AtomicI32,
    address: Address,
}

impl Debug {
    /// Creates the debugger of a program whose threads wait at the gate until gdb connects to `listener`.
    pub fn new(layout: Layout, listener: &GdbListener) -> std::io::Result<Arc<Debug>> {
        let state = State { stopped: true, ..State::default() };
        Ok(Arc::new(Debug {
            active: AtomicBool::new(true),
            state: Mutex::new(state),
            turn: Condvar::new(),
            layout,
            bell: Bell::new()?,
            stream: AtomicI32::new(-1),
            address: listener.address().clone(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `f` while gdb's thread holds no lock that a forked child needs.
    pub fn quiet<T>(&self, f: impl FnOnce() -> T) -> T {
        let _state = self.lock();
        f()
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.turn.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether gdb is connected, or awaited.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::SeqCst)
    }

    /// The address at which gdb connects.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// In a forked child, which is not debugged: disconnects from the debugger. Takes no lock, because a
    /// thread that does not exist here may hold it.
    pub fn abandon(&self) {
        if !self.active.swap(false, Ordering::SeqCst) {
            return;
        }
        for fd in [self.stream.load(Ordering::SeqCst), self.bell.as_raw_fd()] {
            // SAFETY: this process's copies of descriptors that only gdb's thread uses, which is not here.
            unsafe { libc::close(fd) };
        }
    }

    /// The program is ending: no thread waits for gdb any more.
    pub fn let_go(&self) {
        let _state = self.lock();
        self.active.store(false, Ordering::SeqCst);
        self.turn.notify_all();
    }

    /// Starts the thread that serves gdb, and prints what to type.
    pub fn serve<A: GuestAbi>(process: &Arc<Process<A>>, listener: GdbListener) -> std::io::Result<()> {
        let Some(debug) = process.debug.clone() else { return Ok(()) };
        let path = process.options.path.display();
        trine_linux::host::say(&format!(
            "trine: waiting for gdb; type: gdb-multiarch -ex 'target remote {}' {path}",
            debug.address
        ));
        let process = process.clone();
        // Signals of the program must be delivered to the program's threads.
        let before = signal::mask();
        signal::set_mask(u64::MAX);
        let spawned =
            std::thread::Builder::new().name("gdb".into()).spawn(move || debug.listen(&process, listener));
        signal::set_mask(before);
        spawned.map(drop)
    }

    fn listen<A: GuestAbi>(&self, process: &Arc<Process<A>>, listener: GdbListener) {
        let program = gdb_session::Program(process.clone());
        let served = listener.wait().map_err(|e| e.to_string()).and_then(|stream| {
            self.stream.store(stream.as_raw_fd(), Ordering::SeqCst);
            // A program without threads would look as if it had ended.
            let mut state = self.lock();
            while !state.is_here() {
                state = self.wait(state);
            }
            drop(state);
            // From now on gdb is asked about signals.
            process.actions().catch(true);
            let served = trine_gdb::serve(&stream, &program, &self.bell);
            self.stream.store(-1, Ordering::SeqCst);
            served
        });
        if let Err(why) = served {
            trine_linux::host::say(&format!(
                "trine: gdb has disconnected ({why}): the program continues without it"
            ));
            trine_gdb::Debuggee::detached(&program);
        }
    }
}
