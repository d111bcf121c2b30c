//! System calls about signals.

use super::actions::Action;
use super::host::{ours, set_mask};
use super::{SIGNALS, bit};
use crate::thread::Thread;
use trine_base::Vcpu;
use trine_linux::Errno;
use trine_linux::abi::{AUTODISARM, AltStack, GuestAbi};
use trine_linux::call::{get, put};
use trine_linux::errno::RESTART;

impl<A: GuestAbi> Thread<A> {
    /// `rt_sigreturn()`: returns from a handler. A signal that has come already is delivered first, and the
    /// call is made again.
    pub fn sigreturn(&mut self) {
        if !self.no_signal_waits() {
            return;
        }
        let Ok(was) = A::leave_handler(&mut self.vcpu) else { return self.force(libc::SIGSEGV, 1, 0) };
        self.mask = was.mask & !(bit(libc::SIGKILL) | bit(libc::SIGSTOP));
        // As `sigaltstack` would, but without errors.
        let stack = was.stack;
        if !self.alternate.holds(self.vcpu.get(A::STACK))
            && stack.flags & !(AUTODISARM | libc::SS_DISABLE) == 0
        {
            self.alternate = stack;
        }
        set_mask(self.mask);
    }

    /// The alternate stack as the program sees it now.
    fn alternate_now(&self) -> AltStack {
        let mut stack = self.alternate;
        if stack.holds(self.vcpu.get(A::STACK)) {
            stack.flags |= libc::SS_ONSTACK;
        }
        stack
    }

    /// `sigaltstack(new, old)`.
    pub fn sigaltstack(&mut self, [new, old, ..]: [u64; 6]) -> Result<u64, Errno> {
        let now = self.alternate_now();
        if new != 0 {
            let stack: AltStack = get(new)?;
            if now.flags & libc::SS_ONSTACK != 0 {
                return Err(Errno(libc::EPERM));
            }
            if !matches!(stack.flags & !AUTODISARM, 0 | libc::SS_DISABLE | libc::SS_ONSTACK) {
                return Err(Errno(libc::EINVAL));
            }
            let disabled = stack.flags & libc::SS_DISABLE != 0;
            if !disabled && stack.size < A::LEAST_STACK {
                return Err(Errno(libc::ENOMEM));
            }
            self.alternate = if disabled {
                AltStack::NONE
            } else {
                AltStack { flags: stack.flags & AUTODISARM, pad: 0, ..stack }
            };
        }
        if old != 0 {
            put(old, &now)?;
        }
        Ok(0)
    }

    /// `rt_sigaction(signal, new, old, size)`.
    pub fn sigaction(&mut self, [signal, new, old, size, ..]: [u64; 6]) -> Result<u64, Errno> {
        let signal = signal as i32;
        if size != 8 || !(1..=SIGNALS as i32).contains(&signal) {
            return Err(Errno(libc::EINVAL));
        }
        if new != 0 && matches!(signal, libc::SIGKILL | libc::SIGSTOP) {
            return Err(Errno(libc::EINVAL));
        }
        let machine = self.process.guest.machine;
        let mut actions = self.process.actions();
        let before = actions.get(signal);
        if new != 0 {
            actions.set(signal, Action::read(machine, new)?)?;
        }
        drop(actions);
        if old != 0 {
            before.write(machine, old)?;
        }
        Ok(0)
    }

    /// `rt_sigprocmask(how, new, old, size)`.
    pub fn sigprocmask(&mut self, [how, new, old, size, ..]: [u64; 6]) -> Result<u64, Errno> {
        if size != 8 {
            return Err(Errno(libc::EINVAL));
        }
        let before = self.mask;
        let mut mask = before;
        if new != 0 {
            let set: u64 = get(new)?;
            mask = match how as i32 {
                libc::SIG_BLOCK => before | set,
                libc::SIG_UNBLOCK => before & !set,
                libc::SIG_SETMASK => set,
                _ => return Err(Errno(libc::EINVAL)),
            } & !(bit(libc::SIGKILL) | bit(libc::SIGSTOP));
        }
        if old != 0 {
            put(old, &before)?;
        }
        if mask != before {
            if !self.no_signal_waits() {
                return Err(RESTART);
            }
            self.mask = mask;
            set_mask(mask);
        }
        Ok(0)
    }

    /// `rt_sigsuspend(mask, size)`: the old mask is restored after the handler.
    pub fn sigsuspend(&mut self, [set, size, ..]: [u64; 6]) -> Result<u64, Errno> {
        if size != 8 {
            return Err(Errno(libc::EINVAL));
        }
        let set: u64 = get::<u64>(set)? & !ours();
        let args = [&raw const set as u64, 8, 0, 0, 0, 0];
        let (number, stop) = (libc::SYS_rt_sigsuspend, &self.inbox.signal);
        // SAFETY: reads a word of ours.
        let call = || unsafe { trine_linux::host::interruptible(number, args, stop) };
        self.lending(0, &mut { call })
    }
}
