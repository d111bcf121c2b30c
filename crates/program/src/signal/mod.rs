//! Signals. The host's handler only records what came and makes the thread interrupt what it does; the frame
//! for the program's handler is built between two instructions, so its context is exact.
//!
//! The host thread's mask is that of the guest thread, except for `SIGSEGV` and `SIGBUS`, which the engine
//! needs (see [`crate::pending`]). While one signal waits to be delivered, all others are blocked.
//!
//! * [`inbox`]: what came. This file: delivery. [`actions`]: what the program wants. [`calls`]: its system
//!   calls.
//!   [`host`]: actions and masks on the host.

mod actions;
mod calls;
mod host;
mod inbox;

pub use actions::{Action, Actions};
pub use host::{block_all, mask, set_mask};
pub(crate) use host::{ours, send};
pub use inbox::{Inbox, detach, engine_signals, forked, forking, install};

use actions::{Default, SA_RESTORER, by_default};
use host::set_host_action;

use crate::core;
use crate::debug::{Step, made};
use crate::pending::Look;
use crate::thread::{Thread, gettid};
use std::sync::atomic::Ordering;
use trine_base::Vcpu;
use trine_gdb::Stop;
use trine_linux::abi::{AUTODISARM, AltStack, GuestAbi, Handler, Info, Interrupted};
use trine_linux::strace;

/// The highest signal number; the lowest is 1.
pub const SIGNALS: usize = 64;

/// `SIG_DFL`.
pub const DEFAULT: u64 = 0;
/// `SIG_IGN`.
pub const IGNORE: u64 = 1;

/// The set with one signal.
pub fn bit(signal: i32) -> u64 {
    1u64.checked_shl((signal as u32).wrapping_sub(1)).unwrap_or(0)
}

impl<A: GuestAbi> Thread<A> {
    /// Takes the signal that is to be delivered next.
    fn next_signal(&mut self) -> Option<(i32, Info)> {
        let lets_in = std::mem::take(&mut self.lets_in);
        let signal = self.inbox.signal.load(Ordering::SeqCst) as i32;
        if signal != 0 {
            // SAFETY: the handler writes it only while `signal` is 0, and in this thread.
            let info = unsafe { *self.inbox.info.get() };
            self.inbox.signal.store(0, Ordering::SeqCst);
            for (signal, info) in self.inbox.take_late() {
                self.process.pending.add(self.tid, signal, info);
            }
            // The host keeps all others pending itself. (A blocked one may come while a call waits with
            // another mask.)
            if self.mask & !lets_in & ours() & bit(signal) == 0 {
                return Some((signal, self.process.pending.sent_on(self.tid, signal).unwrap_or(info)));
            }
            if !self.woken(signal) {
                self.process.pending.add(self.tid, signal, info);
            }
            set_mask(self.mask);
        }
        self.process.pending.take(self.tid, self.mask)
    }

    /// Holds all signals back; returns false if one came before, which must be delivered first.
    fn no_signal_waits(&self) -> bool {
        set_mask(u64::MAX);
        self.inbox.signal.load(Ordering::SeqCst) == 0
    }

    /// Delivers a waiting signal.
    pub fn deliver(&mut self) {
        let next = self.next_signal();
        self.watch(Look::default());
        let Some((signal, info)) = next else { return };
        if self.process.options.strace {
            trine_linux::host::say(&format!("[{}] --- {}", self.tid, strace::signal(signal)));
        }
        if let Some((signal, info)) = self.ask(signal, info) {
            self.act(signal, info);
        }
        set_mask(self.mask);
    }

    /// Performs the action of a signal.
    pub(crate) fn act(&mut self, signal: i32, info: [u64; 16]) {
        let action = self.process.action(signal);
        match action.handler {
            // The host's handler for these is always ours.
            DEFAULT if by_default(signal) == Default::Dumps => self.die_of(signal, &info),
            DEFAULT => self.act_by_default(signal),
            IGNORE => {}
            _ => {
                self.enter_handler(signal, info, action);
                // gdb wants to stop where the handler begins.
                if self.step == Step::Wanted {
                    self.step = Step::Done;
                }
            }
        }
    }

    /// Lets the host perform the default action of a signal.
    fn act_by_default(&mut self, signal: i32) {
        let mut actions = self.process.actions();
        let caught = actions.caught;
        match by_default(signal) {
            Default::Nothing if caught => return,
            Default::Ends if caught => {
                drop(actions);
                self.die(signal);
            }
            _ => {}
        }
        // A signal that stops the program stops it here, until it is continued.
        let action = actions.get(signal);
        actions.caught = false;
        let _ = actions.set_host(signal, action);
        let args = [std::process::id() as u64, self.tid as u64, signal as u64, 0, 0, 0];
        // SAFETY: sends a signal to this thread.
        let _ = unsafe { trine_linux::host::call(libc::SYS_tgkill, args) };
        set_mask(self.mask & !bit(signal));
        actions.caught = caught;
        let _ = actions.set_host(signal, action);
    }

    /// Raises a signal that an instruction caused. If it cannot be handled, it kills the program.
    pub fn force(&mut self, signal: i32, code: i32, address: u64) {
        let mut info = [0u64; 16];
        info[0] = signal as u64;
        info[1] = code as u32 as u64;
        info[2] = address;
        if self.process.options.strace {
            trine_linux::host::say(&format!(
                "[{}] --- {}, code {code}, address {address:#x}, pc {:#x}",
                self.tid,
                strace::signal(signal),
                self.vcpu.pc()
            ));
        }
        match self.ask(signal, info) {
            Some((same, info)) if same == signal => self.forced(signal, info),
            Some((other, info)) => self.act(other, info),
            None => {}
        }
    }

    fn forced(&mut self, signal: i32, info: [u64; 16]) {
        let action = self.process.action(signal);
        if action.handler <= IGNORE || self.mask & bit(signal) != 0 {
            self.die_of(signal, &info);
        }
        self.enter_handler(signal, info, action);
        set_mask(self.mask);
    }

    /// Ends the program by a signal.
    pub fn die(&self, signal: i32) -> ! {
        self.die_of(signal, &made(signal))
    }

    /// Ends the program by a signal with this `siginfo_t`.
    fn die_of(&self, signal: i32, info: &Info) -> ! {
        self.ends(Stop::Killed(signal));
        if core::leaves_one(signal) {
            core::dump(self, signal, info);
            core::none_by_host();
        }
        let _ = set_host_action(signal, libc::SIG_DFL, 0);
        self.at_rest.store(true, Ordering::SeqCst);
        // SAFETY: a signal whose action is the default, to this process, and not blocked in this thread.
        unsafe {
            let set = !bit(signal);
            let args = [libc::SIG_SETMASK as u64, &raw const set as u64, 0, 8, 0, 0];
            let _ = trine_linux::host::call(libc::SYS_rt_sigprocmask, args);
            libc::syscall(libc::SYS_tgkill, libc::getpid(), gettid(), signal);
            libc::_exit(128 + signal)
        }
    }

    /// Builds the frame of a handler and jumps to the handler.
    fn enter_handler(&mut self, signal: i32, info: Info, action: Action) {
        let sp = self.vcpu.get(A::STACK);
        let on_alternate = action.flags & libc::SA_ONSTACK as u64 != 0
            && self.alternate.flags & libc::SS_DISABLE == 0
            && !self.alternate.holds(sp);
        // A frame that would exceed the alternate stack is not written.
        let over = self.alternate.holds(sp)
            && !on_alternate
            && !self.alternate.holds(sp.wrapping_sub(A::RED_ZONE + A::FRAME));
        let top = match on_alternate {
            true => self.alternate.sp.wrapping_add(self.alternate.size),
            false => sp.wrapping_sub(A::RED_ZONE),
        };
        let frame = A::frame_at(top);
        let was = Interrupted { info, mask: self.mask, stack: self.alternate };
        if over || A::write_frame(&self.vcpu, frame, &was, &self.trap).is_err() {
            self.die(libc::SIGSEGV);
        }
        if self.alternate.flags & AUTODISARM != 0 {
            self.alternate = AltStack::NONE;
        }
        let returns_to = match action.flags & SA_RESTORER {
            0 => self.process.trampoline,
            _ => action.restorer,
        };
        A::enter_handler(&mut self.vcpu, frame, &Handler { signal, address: action.handler, returns_to });
        self.mask |= action.mask;
        if action.flags & libc::SA_NODEFER as u64 == 0 {
            self.mask |= bit(signal);
        }
        if action.flags & libc::SA_RESETHAND as u32 as u64 != 0 {
            let _ = self.process.actions().set(signal, Action { handler: DEFAULT, ..action });
        }
    }
}
