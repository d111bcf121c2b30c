//! What a debugger wants of a board, and what it is told: the side of the vCPUs' threads. [`crate::debug`] is the other one.

use super::Parts;
use crate::End;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use trine_base::{DebugStop, Stops};
use trine_gdb::{Bell, Go, Stop, Watch};

const CONTINUE: u8 = 0;
const HOLD: u8 = 1;
const STEP: u8 = 2;

/// What the threads of a board share with the one that serves the debugger. Its lock is never held while another one is taken.
pub(crate) struct Debugging {
    /// Whether there is a debugger.
    attached: AtomicBool,
    /// What each vCPU does while the machine runs. Changes only while none runs.
    go: Vec<AtomicU8>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
pub(crate) struct State {
    /// Why the machine stopped, until the debugger was told; the first one is told first.
    pub events: VecDeque<Stop>,
    /// Whether no vCPU runs.
    pub stands: bool,
    /// The thread that stopped last.
    pub current: usize,
    /// Where the debugger wants vCPUs to stop, and whether they do not know it yet.
    pub stops: Stops,
    pub stops_changed: bool,
    pub bell: Option<Arc<Bell>>,
    /// The debugger was told of the machine's end.
    pub end_reported: bool,
}

impl Debugging {
    pub fn new(vcpus: usize) -> Debugging {
        let go = (0..vcpus).map(|_| AtomicU8::new(CONTINUE)).collect();
        let (state, changed) = (Mutex::new(State { current: 1, ..State::default() }), Condvar::new());
        Debugging { attached: AtomicBool::new(false), go, state, changed }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a debugger.
    pub fn is_attached(&self) -> bool {
        self.attached.load(Ordering::SeqCst)
    }

    /// A debugger comes or goes. One that goes lets all vCPUs run.
    pub fn attach(&self, comes: bool) {
        self.attached.store(comes, Ordering::SeqCst);
        if !comes {
            self.go.iter().for_each(|go| go.store(CONTINUE, Ordering::SeqCst));
        }
        self.changed.notify_all();
    }

    /// Sets what a vCPU does when the machine runs.
    pub fn set_go(&self, index: usize, go: Go) {
        let number = match go {
            Go::Continue => CONTINUE,
            Go::Hold => HOLD,
            Go::Step => STEP,
        };
        if let Some(to) = self.go.get(index) {
            to.store(number, Ordering::SeqCst);
        }
    }

    /// Whether a vCPU must not run.
    pub fn holds(&self, index: usize) -> bool {
        self.go[index].load(Ordering::Relaxed) == HOLD
    }

    /// Whether a vCPU executes one instruction only.
    pub fn steps(&self, index: usize) -> bool {
        self.go[index].load(Ordering::Relaxed) == STEP
    }

    /// The debugger was told of the machine's end.
    pub fn end_reported(&self) {
        self.lock().end_reported = true;
        self.changed.notify_all();
    }
}

/// What the debugger is told of a vCPU's stop.
pub(super) fn stop_of(index: usize, stop: DebugStop) -> Stop {
    match stop {
        DebugStop::Breakpoint => Stop::Breakpoint(index + 1),
        DebugStop::Watch { point, address } => {
            let kind = match (point.reads, point.writes) {
                (true, true) => Watch::Access,
                (true, false) => Watch::Read,
                _ => Watch::Write,
            };
            Stop::Watch(index + 1, kind, address)
        }
    }
}

impl Parts {
    /// Stops the machine for the debugger, for this reason. Does not wait.
    pub(super) fn debug_stop(&self, stop: Stop) {
        if !self.debug.is_attached() {
            return;
        }
        let mut state = self.debug.lock();
        // Another vCPU may have stopped the machine just now. One at a breakpoint gets there again.
        if state.events.is_empty() || matches!(stop, Stop::Watch(..)) {
            state.events.push_back(stop);
        }
        drop(state);
        self.control.hold();
    }

    /// No vCPU runs: tells the debugger, if it waits for that.
    pub(super) fn all_stand(&self) {
        if !self.control.is_held() {
            return;
        }
        let mut state = self.debug.lock();
        state.stands = true;
        if !state.events.is_empty() {
            state.bell.iter().for_each(|bell| bell.ring());
        }
    }

    /// Tells the debugger of the machine's end, and waits until it knows.
    pub(super) fn report_end(&self, end: &End) {
        if !self.debug.is_attached() {
            return;
        }
        let stop = match end {
            End::PowerOff | End::Reset => Stop::Exited(0),
            End::Failure(code) => Stop::Exited(u8::try_from(*code).unwrap_or(u8::MAX)),
            End::Dead(_) => Stop::Killed(libc::SIGILL),
            End::Quit => Stop::Killed(libc::SIGKILL),
        };
        let mut state = self.debug.lock();
        state.events = VecDeque::from([stop]);
        state.stands = true;
        state.bell.iter().for_each(|bell| bell.ring());
        // If gdb has not connected, nobody would be told.
        let waits =
            |state: &mut State| state.bell.is_some() && self.debug.is_attached() && !state.end_reported;
        drop(self.debug.changed.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner));
    }
}
