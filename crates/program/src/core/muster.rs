//! Where all threads of a program gather when it dies, and tell their registers.

use super::notes::Stopped;
use crate::signal;
use crate::thread::Thread;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use trine_linux::abi::{GuestAbi, Registers};

/// Longest wait for threads. Who has not come then is in a system call that does not end.
const PATIENCE: Duration = Duration::from_secs(1);

/// What makes a thread leave guest code, and the call that it waits in: a signal that no thread blocks on the host.
const WAKE: i32 = libc::SIGBUS;

/// The threads that have come.
#[derive(Default)]
pub struct Muster {
    called: AtomicBool,
    here: Mutex<BTreeMap<i32, Stopped>>,
    came: Condvar,
}

fn stopped<A: GuestAbi>(thread: &Thread<A>) -> Stopped {
    Stopped { tid: thread.tid, mask: thread.mask, registers: Registers::of::<A>(&thread.vcpu) }
}

impl Muster {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Stopped>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `f` while no other thread comes or goes; for `fork`.
    pub fn quiet<T>(&self, f: impl FnOnce() -> T) -> T {
        let _here = self.lock();
        f()
    }

    /// In a process just forked: whoever was called is not here.
    pub fn dismiss(&self) {
        self.lock().clear();
        self.called.store(false, Ordering::SeqCst);
    }

    /// Before a call that nothing interrupts: how the thread stands meanwhile.
    pub fn leave<A: GuestAbi>(&self, thread: &Thread<A>) {
        self.lock().insert(thread.tid, stopped(thread));
    }

    /// After such a call.
    pub fn take_back<A: GuestAbi>(&self, thread: &Thread<A>) {
        self.lock().remove(&thread.tid);
    }

    /// Calls all threads: they do nothing any more. Gives them by number, after the one that calls; where another one called
    /// already, this one goes there, too, and does not come back.
    pub fn call<A: GuestAbi>(&self, thread: &Thread<A>) -> Vec<Stopped> {
        // What comes now is too late to change anything.
        signal::set_mask(u64::MAX);
        if self.called.swap(true, Ordering::SeqCst) {
            self.stay(thread);
        }
        if let Some(debug) = &thread.process.debug {
            debug.let_go();
        }
        let (space, process) = (&thread.process.guest.space, thread.process.key());
        let start = Instant::now();
        let mut here = self.lock();
        loop {
            let missing = |tid: &i32| *tid != thread.tid && !here.contains_key(tid);
            let missing = space.threads(process).into_iter().filter(missing);
            // A thread that was about to wait when it was woken is woken again. That of a parent that lends its vCPU
            // (`vfork`) is not reached, and not meant.
            let waited = missing.filter(|&tid| signal::send(tid, WAKE)).count();
            if waited == 0 || start.elapsed() > PATIENCE {
                break;
            }
            let step = Duration::from_millis(20);
            here = self.came.wait_timeout(here, step).unwrap_or_else(PoisonError::into_inner).0;
        }
        let others = here.values().filter(|s| s.tid != thread.tid).cloned();
        [stopped(thread)].into_iter().chain(others).collect()
    }

    fn stay<A: GuestAbi>(&self, thread: &Thread<A>) -> ! {
        self.leave(thread);
        self.came.notify_all();
        loop {
            std::thread::park();
        }
    }
}

impl<A: GuestAbi> Thread<A> {
    /// Stays here for good where the threads were called.
    #[inline]
    pub(crate) fn muster(&self) {
        if self.process.muster.called.load(Ordering::SeqCst) {
            signal::set_mask(u64::MAX);
            self.process.muster.stay(self);
        }
    }
}
