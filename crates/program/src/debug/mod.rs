//! A debugger at a program: gdb, through `trine_gdb`.
//!
//! All-stop: every thread passes a gate between two stretches of guest code, and the gate is shut while gdb looks at the
//! program. A thread inside a system call counts as stopped, since it runs no guest code; it finds the gate shut when
//! the call returns. gdb is served by a host thread of its own, which sees of a thread what it left at the gate.
//!
//! * this file: what gdb's thread and the program's share. [`thread`]: the gate. [`door`]: what gdb asks.

mod door;
mod thread;

pub(crate) use thread::made;

use crate::process::Process;
use crate::signal;
use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use trine_base::Mailbox;
use trine_gdb::{Address, Bell, Door, Go, Layout, Stop, Watch};
use trine_linux::abi::GuestAbi;

/// A step that gdb wants of a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Step {
    /// None.
    #[default]
    No,
    /// The next instruction is the last.
    Wanted,
    /// It is done, which gdb is to be told.
    Done,
}

/// What a thread does, as far as gdb is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    Running,
    /// It waits at the gate.
    Gate,
    /// It is in a system call, or about to end.
    Call,
}

/// What gdb sees of a thread, and wants of it.
struct Seen {
    mailbox: Arc<Mailbox>,
    doing: Doing,
    /// Registers, by the layout, as of when it stopped running.
    values: Vec<u64>,
    /// Registers that gdb changed since.
    written: BTreeMap<usize, u64>,
    go: Go,
    /// Whether `go` and `signal` are new to the thread.
    fresh: bool,
    /// The signal that gdb gives it on its way; 0 for none.
    signal: i32,
    /// A signal that gdb sent to it and need not be asked about.
    passed: i32,
    /// Whether [`WAKE`] was sent to it, to end its call: gdb changed its registers.
    woken: bool,
}

/// What ends a thread's system call for the debugger's sake: a signal that no thread blocks on the host.
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
    /// The gate is shut.
    stopped: bool,
    /// Why, until gdb's thread takes it.
    event: Option<Stop>,
    threads: BTreeMap<i32, Seen>,
    /// The thread that stopped last.
    current: i32,
    /// What new threads do.
    hold_new: bool,
    watches: Arc<Vec<Watchpoint>>,
    end_reported: bool,
}

impl State {
    /// Shuts the gate.
    fn stop(&mut self, why: Stop) {
        self.stopped = true;
        self.event = Some(why);
        if let Stop::Step(t) | Stop::Breakpoint(t) | Stop::Watch(t, ..) | Stop::Signal(t, _) = why {
            self.current = t as i32;
        }
        self.threads.values().for_each(|t| t.mailbox.request(Mailbox::PAUSE));
    }

    /// Whether the first thread waits at the gate, for the first time.
    fn is_here(&self) -> bool {
        self.threads.values().any(|t| t.doing == Doing::Gate)
    }

    /// Whether no thread runs guest code.
    fn is_quiet(&self) -> bool {
        self.threads.values().all(|t| t.doing != Doing::Running)
    }

    /// Stops for gdb where every thread that is left is held and would be for ever.
    fn stop_if_stuck(&mut self) -> bool {
        let stuck = !self.stopped && self.threads.values().all(|t| t.go == Go::Hold);
        let first = self.threads.keys().next().copied().filter(|_| stuck);
        if let Some(first) = first {
            self.stop(Stop::Signal(first as usize, 0));
        }
        first.is_some()
    }
}

/// A debugger at a program.
pub struct Debug {
    /// Cleared when gdb is gone, and in children, which are not debugged.
    active: AtomicBool,
    state: Mutex<State>,
    /// Something in `state` changed.
    turn: Condvar,
    layout: Layout,
    bell: Bell,
    /// The connection's descriptor; -1 before there is one.
    stream: AtomicI32,
    address: Address,
}

impl Debug {
    /// A program whose threads wait at the gate for gdb to come to `door`.
    pub fn new(layout: Layout, door: &Door) -> std::io::Result<Arc<Debug>> {
        let state = State { stopped: true, ..State::default() };
        Ok(Arc::new(Debug {
            active: AtomicBool::new(true),
            state: Mutex::new(state),
            turn: Condvar::new(),
            layout,
            bell: Bell::new()?,
            stream: AtomicI32::new(-1),
            address: door.address().clone(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `f` while gdb's thread holds no lock that the child of a fork needs.
    pub fn quiet<T>(&self, f: impl FnOnce() -> T) -> T {
        let _state = self.lock();
        f()
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.turn.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether gdb is there, or awaited.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::SeqCst)
    }

    /// Where gdb connects.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// In a process just forked, which is not debugged: nothing of the debugger is here any more. Takes no lock, which
    /// a thread that is not here may hold.
    pub fn abandon(&self) {
        if !self.active.swap(false, Ordering::SeqCst) {
            return;
        }
        for fd in [self.stream.load(Ordering::SeqCst), self.bell.as_raw_fd()] {
            // SAFETY: this process's copies of descriptors that only gdb's thread uses, which is not here.
            unsafe { libc::close(fd) };
        }
    }

    /// The program ends: no thread waits for gdb any more.
    pub fn let_go(&self) {
        let _state = self.lock();
        self.active.store(false, Ordering::SeqCst);
        self.turn.notify_all();
    }

    /// Starts the thread that serves gdb, and says what to type.
    pub fn serve<A: GuestAbi>(process: &Arc<Process<A>>, door: Door) -> std::io::Result<()> {
        let Some(debug) = process.debug.clone() else { return Ok(()) };
        let path = process.options.path.display();
        trine_linux::host::say(&format!(
            "trine: waiting for gdb; type: gdb-multiarch -ex 'target remote {}' {path}",
            debug.address
        ));
        let process = process.clone();
        // The program's signals go to the program's threads.
        let before = signal::mask();
        signal::set_mask(u64::MAX);
        let spawned =
            std::thread::Builder::new().name("gdb".into()).spawn(move || debug.listen(&process, door));
        signal::set_mask(before);
        spawned.map(drop)
    }

    fn listen<A: GuestAbi>(&self, process: &Arc<Process<A>>, door: Door) {
        let program = door::Program(process.clone());
        let served = door.wait().map_err(|e| e.to_string()).and_then(|stream| {
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
            trine_linux::host::say(&format!("trine: gdb is gone ({why}): the program goes on without it"));
            trine_gdb::Debuggee::detached(&program);
        }
    }
}
