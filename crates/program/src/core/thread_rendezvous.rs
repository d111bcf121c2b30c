//! The rendezvous of all threads of a dying program, in which they report their registers.

use super::notes::Stopped;
use crate::signal;
use crate::thread::Thread;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use trine_linux::abi::{GuestAbi, Registers};

/// The longest wait for threads. A thread that has not arrived by then is in an uninterruptible system call.
const PATIENCE: Duration = Duration::from_secs(1);

/// The signal that makes a thread leave guest code or a blocking system call; no thread blocks it on the
/// host.
const WAKE: i32 = libc::SIGBUS;

/// The threads that have arrived.
#[derive(Default)]
pub struct ThreadRendezvous {
    called: AtomicBool,
    here: Mutex<BTreeMap<i32, Stopped>>,
    came: Condvar,
}

fn stopped<A: GuestAbi>(thread: &Thread<A>) -> Stopped {
    Stopped { tid: thread.tid, mask: thread.mask, registers: Registers::of::<A>(&thread.vcpu) }
}

impl ThreadRendezvous {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Stopped>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `f` while no other thread arrives or leaves; for `fork`.
    pub fn quiet<T>(&self, f: impl FnOnce() -> T) -> T {
        let _here = self.lock();
        f()
    }

    /// In a forked child: forgets the other threads, which do not exist here.
    pub fn dismiss(&self) {
        self.lock().clear();
        self.called.store(false, Ordering::SeqCst);
    }

    /// Before a call that nothing interrupts: stores the thread's registers.
    pub fn leave<A: GuestAbi>(&self, thread: &Thread<A>) {
        self.lock().insert(thread.tid, stopped(thread));
    }

    /// After such a call: removes them.
    pub fn take_back<A: GuestAbi>(&self, thread: &Thread<A>) {
        self.lock().remove(&thread.tid);
    }

    /// Summons all threads, which then do nothing any more, and returns them by ID, after the caller. If
    /// another thread has summoned them already, this one joins them and does not return.
    pub fn call<A: GuestAbi>(&self, thread: &Thread<A>) -> Vec<Stopped> {
        // A thread that arrives from now on is too late to change anything.
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
            // A thread that was woken just before it began to wait is woken again. A parent thread that lends
            // its vCPU (`vfork`) is neither reached nor needed.
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
    /// Stays here for good if the threads were summoned.
    #[inline]
    pub(crate) fn join_rendezvous(&self) {
        if self.process.rendezvous.called.load(Ordering::SeqCst) {
            signal::set_mask(u64::MAX);
            self.process.rendezvous.stay(self);
        }
    }
}
