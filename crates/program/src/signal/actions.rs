//! The actions of signals.

use super::host::{host_handler, ours, set_host_action};
use super::inbox::on_signal;
use super::{DEFAULT, IGNORE, SIGNALS, bit};
use crate::core;
use trine_linux::Errno;
use trine_linux::abi::Machine;
use trine_linux::call::{get, put};

/// The action of a signal (`struct sigaction`).
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Action {
    /// Address of the handler, [`DEFAULT`] or [`IGNORE`].
    pub handler: u64,
    /// `SA_*`.
    pub flags: u64,
    /// The return address of the handler, with [`SA_RESTORER`]; 0 on CPUs whose structure does not have it.
    pub restorer: u64,
    /// Signals blocked while the handler runs.
    pub mask: u64,
}

/// The flags that Linux keeps (`UAPI_SA_FLAGS`): those of POSIX, and `SA_EXPOSE_TAGBITS`.
const SA_KNOWN: u64 = (libc::SA_NOCLDSTOP
    | libc::SA_NOCLDWAIT
    | libc::SA_SIGINFO
    | libc::SA_ONSTACK
    | libc::SA_RESTART
    | libc::SA_NODEFER
    | libc::SA_RESETHAND) as u32 as u64
    | 0x800;

/// `SA_RESTORER`.
pub const SA_RESTORER: u64 = 0x0400_0000;

impl Action {
    /// Reads an action of the program, with the flags that Linux keeps.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn read(machine: &Machine, at: u64) -> Result<Action, Errno> {
        let [handler, flags, restorer, mask] = match machine.structs.restorer {
            true => get(at)?,
            false => get(at).map(|[handler, flags, mask]: [u64; 3]| [handler, flags, 0, mask])?,
        };
        let known = if machine.structs.restorer { SA_KNOWN | SA_RESTORER } else { SA_KNOWN };
        let mask = mask & !(bit(libc::SIGKILL) | bit(libc::SIGSTOP));
        Ok(Action { handler, flags: flags & known, restorer, mask })
    }

    /// Writes it to the program's memory.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn write(&self, machine: &Machine, at: u64) -> Result<(), Errno> {
        let &Action { handler, flags, restorer, mask } = self;
        match machine.structs.restorer {
            true => put(at, &[handler, flags, restorer, mask]),
            false => put(at, &[handler, flags, mask]),
        }
    }
}

/// The actions of all signals.
#[derive(Clone)]
pub struct Actions {
    pub(super) all: [Action; SIGNALS + 1],
    /// Whether signals that end or stop the program by default are caught, so that gdb is asked first.
    pub(super) caught: bool,
}

/// The default action of a signal (signal(7)).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Default {
    Nothing,
    Stops,
    Ends,
    /// It ends the program with a core dump, which we write: it is always caught.
    Dumps,
}

pub(super) fn by_default(signal: i32) -> Default {
    match signal {
        libc::SIGCHLD | libc::SIGCONT | libc::SIGURG | libc::SIGWINCH => Default::Nothing,
        libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => Default::Stops,
        _ if core::leaves_one(signal) => Default::Dumps,
        _ => Default::Ends,
    }
}

impl Actions {
    /// The actions at the start of the process: some signals may be ignored.
    pub fn inherited() -> Actions {
        let mut actions = [Action::default(); SIGNALS + 1];
        for (signal, action) in actions.iter_mut().enumerate().skip(1) {
            if host_handler(signal as i32) == Some(libc::SIG_IGN) {
                action.handler = IGNORE;
            }
        }
        Actions { all: actions, caught: false }
    }

    /// Resets all handlers (`CLONE_CLEAR_SIGHAND`).
    pub fn clear(&mut self) {
        for signal in 1..=SIGNALS as i32 {
            if self.get(signal).handler > IGNORE {
                let _ = self.set(signal, Action::default());
            }
        }
    }

    /// The action of a signal.
    pub fn get(&self, signal: i32) -> Action {
        self.all.get(signal as usize).copied().unwrap_or_default()
    }

    /// Changes the action of a signal, here and on the host.
    pub fn set(&mut self, signal: i32, action: Action) -> Result<(), Errno> {
        self.set_host(signal, action)?;
        self.all[signal as usize] = action;
        Ok(())
    }

    pub(super) fn set_host(&self, signal: i32, action: Action) -> Result<(), Errno> {
        let handler = match action.handler {
            _ if ours() & bit(signal) != 0 => on_signal as *const () as usize,
            DEFAULT if by_default(signal) == Default::Dumps => on_signal as *const () as usize,
            DEFAULT if self.caught && by_default(signal) != Default::Nothing => {
                on_signal as *const () as usize
            }
            DEFAULT => libc::SIG_DFL,
            IGNORE => libc::SIG_IGN,
            _ => on_signal as *const () as usize,
        };
        // With SA_RESTART, the host's kernel goes back to the call's instruction if Linux restarts the call:
        // there `host::interrupt` finds it.
        let kept = (libc::SA_NOCLDSTOP | libc::SA_NOCLDWAIT | libc::SA_RESTART) as u64;
        set_host_action(signal, handler, action.flags & kept).map(drop)
    }

    /// Catches the signals that dump core by default.
    pub fn catch_dumps(&self) {
        for signal in (1..=SIGNALS as i32).filter(|&s| by_default(s) == Default::Dumps) {
            let action = self.get(signal);
            if action.handler == DEFAULT {
                let _ = self.set_host(signal, action);
            }
        }
    }

    /// Sets whether signals that end or stop the program by default are caught, too.
    pub fn catch(&mut self, caught: bool) {
        if std::mem::replace(&mut self.caught, caught) == caught {
            return;
        }
        for signal in (1..=SIGNALS as i32).filter(|s| !matches!(*s, libc::SIGKILL | libc::SIGSTOP)) {
            let action = self.get(signal);
            if action.handler == DEFAULT {
                let _ = self.set_host(signal, action);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_linux::abi::{Structs, riscv64};
    use trine_linux::space::{Mapping, PAGE, Space};

    #[test]
    fn actions_lie_as_the_cpu_has_them() {
        let (space, usual) = (Space::default(), riscv64::machine());
        let structs = Structs { restorer: true, ..riscv64::machine().structs };
        let other = Machine { structs, ..riscv64::machine() };
        let (protection, flags) =
            ((libc::PROT_READ | libc::PROT_WRITE) as u32, (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u32);
        let page = Mapping { at: 0, size: PAGE, protection, flags, fd: -1, offset: 0 };
        let at = space.map(&page).expect("mapped");
        let (flags, mask) = (SA_RESTORER | libc::SA_SIGINFO as u64, 1 << 20);
        put(at, &[5, flags | 1 << 40, mask, 9]).expect("mapped");
        let short = Action { handler: 5, flags: libc::SA_SIGINFO as u64, restorer: 0, mask };
        assert_eq!(Action::read(&usual, at), Ok(short));
        // SIGKILL and SIGSTOP cannot be blocked.
        put(at, &[5, flags | 1 << 40, 0x3000, u64::MAX]).expect("mapped");
        let mask = !(1 << 8 | 1 << 18);
        let long = Action { handler: 5, flags, restorer: 0x3000, mask };
        assert_eq!(Action::read(&other, at), Ok(long));
        for (machine, words) in [(usual, [5, flags, mask, mask]), (other, [5, flags, 0x3000, mask])] {
            put(at, &[mask; 4]).expect("mapped");
            long.write(&machine, at).expect("mapped");
            assert_eq!(get::<[u64; 4]>(at), Ok(words));
        }
        space.unmap(at, PAGE).expect("unmapped");
    }
}
