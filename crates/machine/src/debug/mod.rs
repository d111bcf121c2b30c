//! Debugging a machine with gdb, through `trine_gdb`: its threads are the vCPUs, its memory is what the chosen vCPU's
//! translation gives, read and written between two instructions by the thread that owns the board.
//!
//! A machine with a debugger begins stopped, before its first instruction. While it is stopped, its clock and its devices
//! stand still.

use crate::{Board, Remote};
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::path::PathBuf;
use std::sync::Arc;
use trine_base::Watchpoint;
pub use trine_gdb::{Address, GdbListener};
use trine_gdb::{Bell, Debuggee, Go, Layout, Stop, Watch};

/// Executes a line of gdb's command `monitor`; the result is its output.
pub type Commands = Box<dyn Fn(&str) -> String + Send + Sync>;

/// A register and its value.
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its size in bits.
    pub bits: u8,
    /// Its value.
    pub value: u128,
}

/// The registers of vCPU `index`, in the debuggers' groups; none if there is no such vCPU or debuggers do not know it.
pub fn registers(board: &mut Board, index: usize) -> Vec<Vec<Named>> {
    let Some(vcpu) = board.vcpus().get(index) else { return Vec::new() };
    let Some(target) = vcpu.target() else { return Vec::new() };
    let mut values = Layout::of_machine(target.clone()).values(&**vcpu).into_iter();
    let named = |r: trine_base::target::Register| Named {
        name: r.name,
        bits: r.bits,
        value: values.next().unwrap_or_default(),
    };
    let mut named = named;
    target
        .features
        .into_iter()
        .map(|feature| feature.registers.into_iter().map(&mut named).collect())
        .collect()
}

/// A machine as gdb sees it.
struct Debugger {
    remote: Remote,
    layout: Layout,
    vcpus: usize,
    commands: Commands,
    bell: Arc<Bell>,
}

/// Has a machine that does not run yet wait for gdb at its first instruction. `say` is called with a sentence when gdb
/// is lost.
///
/// # Errors
/// What cannot be done: debuggers do not know the CPU, or the host refuses.
pub fn attach(
    board: &mut Board,
    listener: GdbListener,
    commands: Commands,
    say: impl Fn(&str) + Send + 'static,
) -> std::result::Result<(), String> {
    let target = board.vcpus().first().and_then(|vcpu| vcpu.target());
    let target = target.ok_or("--gdb is not possible: gdb does not know this CPU's registers")?;
    let bell = Bell::new().map(Arc::new).map_err(|e| format!("--gdb is not possible: {e}"))?;
    let (remote, vcpus) = (board.remote(), board.vcpus().len());
    let debugger = Debugger { remote, layout: Layout::of_machine(target), vcpus, commands, bell };
    debugger.remote.parts.debug.attach(true);
    debugger.remote.parts.control.hold();
    let spawned =
        std::thread::Builder::new().name("gdb".into()).spawn(move || debugger.listen(listener, say));
    spawned.map(drop).map_err(|e| format!("--gdb is not possible: the host cannot create a thread: {e}"))
}

impl Debugger {
    fn listen(&self, listener: GdbListener, say: impl Fn(&str)) {
        let served = listener.wait().map_err(|e| e.to_string()).and_then(|stream| {
            self.remote.parts.debug.lock().bell = Some(self.bell.clone());
            trine_gdb::serve(&stream, self, &self.bell)
        });
        if let Err(why) = served {
            say(&format!("gdb has disconnected ({why}): the machine continues without it"));
            self.detached();
        }
    }

    /// The index of the vCPU that is a thread of gdb's.
    fn index(&self, thread: usize) -> Option<usize> {
        thread.checked_sub(1).filter(|&index| index < self.vcpus)
    }

    /// What a vCPU does according to a list of actions: the first one that names it counts.
    fn go(named: &[(usize, Go, i32)], rest: Go, index: usize) -> Go {
        named.iter().find(|(thread, ..)| *thread == index + 1).map_or(rest, |&(_, go, _)| go)
    }

    /// Changes where vCPUs stop; they are told when they continue.
    fn change_stops(&self, change: impl FnOnce(&mut trine_base::Stops)) {
        let mut state = self.remote.parts.debug.lock();
        change(&mut state.stops);
        state.stops_changed = true;
    }
}

/// Tells the vCPUs where they stop from now on, if that has changed.
fn apply_stops(board: &mut Board) {
    let remote = board.remote();
    let mut state = remote.parts.debug.lock();
    if !std::mem::take(&mut state.stops_changed) {
        return;
    }
    let stops = Arc::new(state.stops.clone());
    drop(state);
    for vcpu in board.vcpus() {
        vcpu.set_stops(&stops);
    }
}

impl Debuggee for Debugger {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn threads(&self) -> Vec<usize> {
        let current = self.remote.parts.debug.lock().current;
        let mut all: Vec<usize> = (1..=self.vcpus).collect();
        all.sort_by_key(|&thread| thread != current);
        all
    }

    fn thread_name(&self, thread: usize) -> String {
        self.index(thread).map_or(String::new(), |index| format!("vcpu{index}"))
    }

    fn registers(&self, thread: usize) -> Option<Vec<u128>> {
        let (index, layout) = (self.index(thread)?, self.layout.clone());
        self.remote.ask(move |board| layout.values(&*board.vcpus()[index]))
    }

    fn set_register(&self, thread: usize, register: usize, value: u128) -> bool {
        let Some(index) = self.index(thread).filter(|_| register < self.layout.len()) else { return false };
        let layout = self.layout.clone();
        self.remote.ask(move |board| layout.set(&mut *board.vcpus()[index], register, value)).is_some()
    }

    fn read(&self, thread: usize, address: u64, to: &mut [u8]) -> usize {
        let (Some(index), len) = (self.index(thread), to.len()) else { return 0 };
        let read = self.remote.ask(move |board| {
            let mut bytes = vec![0; len];
            let done = board.read_virtual(index, address, &mut bytes);
            bytes.truncate(done);
            bytes
        });
        let bytes = read.unwrap_or_default();
        to[..bytes.len()].copy_from_slice(&bytes);
        bytes.len()
    }

    fn write(&self, thread: usize, address: u64, bytes: &[u8]) -> bool {
        let (Some(index), bytes) = (self.index(thread), bytes.to_vec()) else { return false };
        self.remote.ask(move |board| board.write_virtual(index, address, &bytes)).unwrap_or(false)
    }

    fn set_breakpoint(&self, address: u64, wanted: bool) -> bool {
        self.change_stops(|stops| match wanted {
            true => stops.add_breakpoint(address),
            false => drop(stops.breakpoints.remove(&address)),
        });
        true
    }

    fn set_watchpoint(&self, start: u64, bytes: u64, kind: Watch, wanted: bool) -> bool {
        if bytes == 0 {
            return false;
        }
        let (reads, writes) = (kind != Watch::Write, kind != Watch::Read);
        let point = Watchpoint { start, bytes, reads, writes };
        self.change_stops(|stops| {
            stops.watchpoints.retain(|w| *w != point);
            stops.watchpoints.extend(wanted.then_some(point));
        });
        true
    }

    fn resume(&self, named: &[(usize, Go, i32)], rest: Go) {
        let named = named.to_vec();
        // A signal is not delivered: a machine knows none.
        let done = self.remote.ask(move |board| {
            let (remote, vcpus) = (board.remote(), board.vcpus().len());
            let mut state = remote.parts.debug.lock();
            if !state.events.is_empty() {
                // Another vCPU had stopped at the same time.
                state.bell.iter().for_each(|bell| bell.ring());
                return;
            }
            state.stands = false;
            drop(state);
            apply_stops(board);
            (0..vcpus).for_each(|i| remote.parts.debug.set_go(i, Debugger::go(&named, rest, i)));
            remote.release();
        });
        if done.is_none() {
            self.bell.ring();
        }
    }

    fn interrupt(&self) {
        let mut state = self.remote.parts.debug.lock();
        if state.stands || !state.events.is_empty() {
            return;
        }
        let current = state.current;
        state.events.push_back(Stop::Signal(current, libc::SIGINT));
        drop(state);
        self.remote.parts.control.hold();
    }

    fn stopped(&self) -> Option<Stop> {
        let mut state = self.remote.parts.debug.lock();
        if !state.stands {
            return None;
        }
        let stop = state.events.pop_front()?;
        if let Stop::Step(t) | Stop::Breakpoint(t) | Stop::Watch(t, ..) | Stop::Signal(t, _) = stop {
            state.current = t;
        }
        Some(stop)
    }

    fn end_reported(&self) {
        self.remote.parts.debug.end_reported();
    }

    fn detached(&self) {
        self.change_stops(|stops| *stops = trine_base::Stops::default());
        // In the thread that owns the board, or after its end.
        self.remote.ask(|board| {
            apply_stops(board);
            board.remote().parts.debug.attach(false);
        });
        self.remote.parts.debug.attach(false);
        let mut state = self.remote.parts.debug.lock();
        state.events.clear();
        state.stands = false;
        drop(state);
        self.remote.release();
    }

    fn kill(&self) {
        self.remote.parts.debug.attach(false);
        self.remote.quit();
    }

    fn has_files(&self) -> bool {
        false
    }

    fn auxv(&self) -> Vec<u8> {
        Vec::new()
    }

    fn executable(&self) -> PathBuf {
        PathBuf::new()
    }

    fn open(&self, _: &[u8]) -> Result<File> {
        Err(Error::from(ErrorKind::Unsupported))
    }

    fn read_link(&self, _: &[u8]) -> Result<PathBuf> {
        Err(Error::from(ErrorKind::Unsupported))
    }

    fn monitor(&self, line: &str) -> Option<String> {
        Some((self.commands)(line))
    }
}
