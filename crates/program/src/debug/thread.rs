//! The gate, from the side of the program's threads.

use super::{Debug, Doing, Seen, State, Step, WAKE, Watchpoint};
use crate::thread::Thread;
use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};
use trine_base::{Exit, Trap, Vcpu};
use trine_engine::direct::Touched;
use trine_gdb::{Go, Stop, Watch};
use trine_ir::Access;
use trine_linux::abi::{GuestAbi, Raised};

/// The instruction budget of a run without a limit.
const ENDLESS: u64 = 1 << 62;

/// `SI_USER`: a process sent the signal.
const SI_USER: u64 = 0;

/// The watchpoint that an access hits, if any, and the address.
fn hit(watches: &[Watchpoint], touched: &[Touched]) -> Option<(Watch, u64)> {
    let sees = |w: &Watchpoint, t: &Touched| {
        let kind = match w.kind {
            Watch::Write => t.access == Access::Write,
            Watch::Read => t.access == Access::Read,
            Watch::Access => true,
        };
        let overlaps = t.address.wrapping_sub(w.at) < w.bytes || w.at.wrapping_sub(t.address) < t.bytes;
        (kind && overlaps).then_some((w.kind, w.at.max(t.address)))
    };
    touched.iter().find_map(|t| watches.iter().find_map(|w| sees(w, t)))
}

impl State {
    /// The state of a thread as gdb sees it; created when the thread appears for the first time.
    fn seen<A: GuestAbi>(&mut self, thread: &Thread<A>) -> &mut Seen {
        if self.threads.is_empty() {
            self.current = thread.tid;
        }
        let go = if self.hold_new { Go::Hold } else { Go::Continue };
        self.threads.entry(thread.tid).or_insert_with(|| Seen {
            mailbox: thread.vcpu.mailbox(),
            doing: Doing::Running,
            values: Vec::new(),
            written: BTreeMap::new(),
            go,
            fresh: false,
            signal: 0,
            passed: 0,
            woken: false,
        })
    }
}

impl<A: GuestAbi> Thread<A> {
    /// The debugger, if there is one.
    fn debug(&self) -> Option<Arc<Debug>> {
        self.process.debug.as_ref().filter(|d| d.is_active()).cloned()
    }

    /// Between two stretches of guest code: waits while gdb inspects the program, and reports a finished
    /// step.
    pub(crate) fn gate(&mut self) {
        let Some(debug) = self.debug() else { return };
        let signal = match self.step {
            Step::Done => self.tell(&debug, Stop::Step(self.tid as usize)),
            _ => self.pass(&debug, debug.lock()),
        };
        self.act_on_gdbs(signal);
    }

    /// Performs the action of a signal that gdb delivers to the thread.
    fn act_on_gdbs(&mut self, signal: i32) {
        self.join_rendezvous();
        if signal != 0 {
            self.act(signal, made(signal));
        }
    }

    /// Waits while the gate is closed, then takes over gdb's changes. Returns the signal that gdb delivers.
    fn pass(&mut self, debug: &Debug, mut state: MutexGuard<State>) -> i32 {
        let values = debug.layout.values(&self.vcpu);
        let seen = state.seen(self);
        // What gdb saw of a thread in a call stays as it was while it looks.
        if seen.doing != Doing::Call || seen.values.is_empty() {
            seen.values = values;
        }
        let from_call = seen.doing == Doing::Call;
        while debug.is_active() && (state.stopped || state.seen(self).go == Go::Hold) {
            state.seen(self).doing = Doing::Gate;
            debug.turn.notify_all();
            state = debug.wait(state);
        }
        let seen = state.seen(self);
        seen.doing = Doing::Running;
        let written = std::mem::take(&mut seen.written);
        // The step was the system call, which has returned.
        let stepped = from_call && written.is_empty();
        for (register, value) in written {
            debug.layout.set(&mut self.vcpu, register, value);
        }
        if !std::mem::take(&mut seen.fresh) {
            return 0;
        }
        let (go, signal) = (seen.go, std::mem::take(&mut seen.signal));
        drop(state);
        self.step = match go {
            Go::Step if stepped => Step::Done,
            Go::Step => Step::Wanted,
            _ => Step::No,
        };
        if self.step == Step::Done { self.tell(debug, Stop::Step(self.tid as usize)) } else { signal }
    }

    /// Stops the program for gdb and waits until it continues. Returns the signal that gdb delivers; if gdb
    /// disconnects instead, that of the stop.
    fn tell(&mut self, debug: &Debug, stop: Stop) -> i32 {
        self.step = Step::No;
        let own = if let Stop::Signal(_, signal) = stop { signal } else { 0 };
        // These events do not occur again; the others do, or gdb does not wait for them any more.
        let must = matches!(stop, Stop::Signal(..) | Stop::Watch(..));
        loop {
            let mut state = debug.lock();
            if !debug.is_active() {
                return own;
            }
            let told = !state.stopped && state.seen(self).go != Go::Hold;
            if told {
                state.stop(stop);
                debug.bell.ring();
            }
            let signal = self.pass(debug, state);
            if told || !must {
                return if debug.is_active() { signal } else { own };
            }
        }
    }

    /// What the exception at which the vCPU stands means.
    fn raised(&self, trap: &Trap) -> Raised {
        A::raised(trap, self.vcpu.pc())
    }

    /// Runs guest code.
    pub(crate) fn go(&mut self) -> Exit {
        if let Some(debug) = self.debug() {
            return self.go_debugged(&debug);
        }
        match self.vcpu.run(ENDLESS) {
            // A breakpoint of gdb's, but not for this thread: a child's that borrows its parent's memory.
            Exit::Firmware(trap)
                if self.raised(&trap) == Raised::Breakpoint
                    && self.process.guest.space.is_stop(self.vcpu.pc()) =>
            {
                self.vcpu.step_past().unwrap_or(Exit::Paused)
            }
            exit => exit,
        }
    }

    fn go_debugged(&mut self, debug: &Debug) -> Exit {
        let watches = debug.lock().watches.clone();
        if self.step == Step::No && watches.is_empty() {
            return self.vcpu.run(ENDLESS);
        }
        let mut touched = Vec::new();
        loop {
            touched.clear();
            let exit = self.vcpu.step_one(&mut touched);
            if let Some((kind, at)) = hit(&watches, &touched) {
                let signal = self.tell(debug, Stop::Watch(self.tid as usize, kind, at));
                self.act_on_gdbs(signal);
                return exit.unwrap_or(Exit::Paused);
            }
            let done = match exit {
                None => true,
                Some(Exit::Firmware(trap)) => self.raised(&trap) == Raised::Call,
                _ => false,
            };
            if self.step == Step::Wanted && done {
                self.step = Step::Done;
                return exit.unwrap_or(Exit::Paused);
            }
            if let Some(exit) = exit {
                return exit;
            }
        }
    }

    /// Whether the thread stopped at a breakpoint of gdb's; if so, gdb was told.
    pub(crate) fn at_breakpoint(&mut self) -> bool {
        let Some(debug) = self.debug().filter(|_| self.process.guest.space.is_stop(self.vcpu.pc())) else {
            return false;
        };
        let signal = self.tell(&debug, Stop::Breakpoint(self.tid as usize));
        self.act_on_gdbs(signal);
        true
    }

    /// Before a system call: gdb may inspect the thread during the call. Returns false if the gate is closed,
    /// so that the call must wait.
    pub(crate) fn call_begins(&mut self) -> bool {
        let Some(debug) = self.debug() else { return true };
        let values = debug.layout.values(&self.vcpu);
        let mut state = debug.lock();
        if state.stopped && debug.is_active() {
            self.step = Step::No;
            return false;
        }
        let seen = state.seen(self);
        (seen.doing, seen.values) = (Doing::Call, values);
        debug.turn.notify_all();
        true
    }

    /// Whether gdb itself sent this signal, to interrupt a call.
    pub(crate) fn woken(&self, signal: i32) -> bool {
        let Some(debug) = self.debug().filter(|_| signal == WAKE) else { return false };
        std::mem::take(&mut debug.lock().seen(self).woken)
    }

    /// Asks gdb about a signal that came for the thread: returns the signal to deliver instead, with its
    /// `siginfo_t`.
    pub(crate) fn ask(&mut self, signal: i32, info: [u64; 16]) -> Option<(i32, [u64; 16])> {
        let Some(debug) = self.debug() else { return Some((signal, info)) };
        let mut state = debug.lock();
        let seen = state.seen(self);
        let woken = std::mem::take(&mut seen.woken) && signal == WAKE;
        let passed = seen.passed == signal;
        if passed {
            seen.passed = 0;
        }
        drop(state);
        if woken {
            return None;
        }
        if passed {
            return Some((signal, info));
        }
        match self.tell(&debug, Stop::Signal(self.tid as usize, signal)) {
            0 => None,
            same if same == signal => Some((signal, info)),
            other => Some((other, made(other))),
        }
    }

    /// The thread ends; the others continue.
    pub(crate) fn leaves(&self) {
        let Some(debug) = self.debug() else { return };
        let mut state = debug.lock();
        state.threads.remove(&self.tid);
        if state.current == self.tid
            && let Some(&first) = state.threads.keys().next()
        {
            state.current = first;
        }
        if state.stop_if_stuck() {
            debug.bell.ring();
        }
        debug.turn.notify_all();
    }

    /// The program is about to end: gdb is told first.
    pub(crate) fn ends(&self, stop: Stop) {
        let Some(debug) = self.debug() else { return };
        let mut state = debug.lock();
        state.seen(self).doing = Doing::Call;
        debug.turn.notify_all();
        while debug.is_active() && state.stopped {
            state = debug.wait(state);
        }
        if debug.is_active() {
            state.stop(stop);
            debug.bell.ring();
        }
        while debug.is_active() && !state.end_reported {
            state = debug.wait(state);
        }
    }
}

/// The `siginfo_t` of a signal that no process sent.
pub(crate) fn made(signal: i32) -> [u64; 16] {
    let mut info = [0; 16];
    info[0] = signal as u64;
    info[1] = SI_USER;
    info[2] = std::process::id() as u64;
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(access: Access, address: u64, bytes: u64) -> [Touched; 1] {
        [Touched { access, address, bytes }]
    }

    #[test]
    fn watchpoints_see_what_overlaps() {
        let w = [Watchpoint { at: 0x1004, bytes: 4, kind: Watch::Write }];
        for (address, bytes, seen) in [
            (0x1000, 4, None),
            (0x1000, 5, Some(0x1004)),
            (0x1000, 8, Some(0x1004)),
            (0x1004, 1, Some(0x1004)),
            (0x1007, 1, Some(0x1007)),
            (0x1008, 8, None),
        ] {
            let got = hit(&w, &touched(Access::Write, address, bytes));
            assert_eq!(got, seen.map(|at| (Watch::Write, at)), "{bytes} at {address:#x}");
        }
    }

    #[test]
    fn watchpoints_see_their_kind() {
        for (kind, reads, writes) in
            [(Watch::Write, false, true), (Watch::Read, true, false), (Watch::Access, true, true)]
        {
            let w = [Watchpoint { at: 8, bytes: 8, kind }];
            assert_eq!(hit(&w, &touched(Access::Read, 8, 8)).is_some(), reads, "{kind:?}");
            assert_eq!(hit(&w, &touched(Access::Write, 8, 8)).is_some(), writes, "{kind:?}");
        }
    }
}
