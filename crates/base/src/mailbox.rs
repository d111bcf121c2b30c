//! The part of a vCPU that other threads may access: atomics on a cache line of their own.

use crate::state::{self, StateError};
use crate::versions;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// The first version of the saved state.
#[derive(Serialize, Deserialize)]
struct V1 {
    lines: u32,
    edges: u32,
}

versions!(Saved of "a vCPU's interrupt inputs" { V1(V1) });

/// The part of a vCPU that it shares with other threads.
///
/// Translated code compares its instruction count with `limit` at the entry of every block. A kick stores 0
/// there, so the vCPU leaves translated code at the next block and looks at the other fields.
#[repr(C, align(128))]
pub struct Mailbox {
    /// Instruction count at which the vCPU leaves translated code; 0 means at once.
    pub limit: AtomicU64,
    /// Levels of the interrupt inputs from devices, one bit per line, in the CPU's own numbering.
    pub lines: AtomicU32,
    /// Edge-triggered events that the CPU has not taken yet, one bit each, in its own numbering.
    pub edges: AtomicU32,
    /// Requests from other threads: a set of `Mailbox::*` request bits.
    pub requests: AtomicU32,
    parked: Mutex<bool>,
    wake: Condvar,
    /// See [`Mailbox::set_kicker`].
    kicker: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Mailbox {
    /// Request: leave [`crate::Vcpu::run`] with [`crate::Exit::Paused`].
    pub const PAUSE: u32 = 1;
    /// Request: guest pages that hold translated code were written.
    pub const CODE_WRITTEN: u32 = 2;

    /// An empty mailbox.
    pub fn new() -> Mailbox {
        Mailbox {
            limit: AtomicU64::new(0),
            lines: AtomicU32::new(0),
            edges: AtomicU32::new(0),
            requests: AtomicU32::new(0),
            parked: Mutex::new(false),
            wake: Condvar::new(),
            kicker: OnceLock::new(),
        }
    }

    fn parked(&self) -> MutexGuard<'_, bool> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has every kick call `kicker` as well, for a vCPU that runs where it cannot see the limit: in a system
    /// call in which the host's own CPU executes the guest. It is called last, when the vCPU can already see what
    /// was posted, by any thread, and must neither block nor kick.
    ///
    /// Returns false, and changes nothing, if one was set before.
    pub fn set_kicker(&self, kicker: Box<dyn Fn() + Send + Sync>) -> bool {
        self.kicker.set(kicker).is_ok()
    }

    /// Makes the vCPU look at its mailbox soon: it leaves translated code, the host's system call or its
    /// sleep.
    pub fn kick(&self) {
        self.limit.store(0, Ordering::SeqCst);
        let mut parked = self.parked();
        *parked = false;
        self.wake.notify_all();
        drop(parked);
        if let Some(kicker) = self.kicker.get() {
            kicker();
        }
    }

    /// Posts request bits and kicks the vCPU.
    pub fn request(&self, bits: u32) {
        self.requests.fetch_or(bits, Ordering::SeqCst);
        self.kick();
    }

    /// Takes all request bits and clears them.
    pub fn take_requests(&self) -> u32 {
        self.requests.swap(0, Ordering::SeqCst)
    }

    /// Drives interrupt input `line` (0 to 31) to `level`; kicks when it rises.
    pub fn set_line(&self, line: u32, level: bool) {
        let bit = 1u32 << (line & 31);
        if level {
            if self.lines.fetch_or(bit, Ordering::SeqCst) & bit == 0 {
                self.kick();
            }
        } else {
            self.lines.fetch_and(!bit, Ordering::SeqCst);
        }
    }

    /// Posts event `number` (0 to 31) and kicks.
    pub fn post_edge(&self, number: u32) {
        self.edges.fetch_or(1 << (number & 31), Ordering::SeqCst);
        self.kick();
    }

    /// Takes event `number` (0 to 31) and returns whether it was posted.
    pub fn take_edge(&self, number: u32) -> bool {
        let bit = 1 << (number & 31);
        self.edges.fetch_and(!bit, Ordering::SeqCst) & bit != 0
    }

    /// Saves the interrupt inputs and the events not taken yet. Requests are not saved: their senders repeat
    /// them.
    pub fn save(&self) -> Vec<u8> {
        let [lines, edges] = [&self.lines, &self.edges].map(|inputs| inputs.load(Ordering::SeqCst));
        state::save(&Saved::V1(V1 { lines, edges }))
    }

    /// Loads saved inputs and events, and kicks the vCPU so that it looks at them.
    pub fn load(&self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(V1 { lines, edges }) = state::load(state)?;
        self.lines.store(lines, Ordering::SeqCst);
        self.edges.store(edges, Ordering::SeqCst);
        self.kick();
        Ok(())
    }

    /// Sleeps until a kick, or for at most `timeout`; returns at once where `ready` says that there is work.
    /// A kick that comes between this check and the sleep is not lost.
    pub fn park(&self, timeout: Option<Duration>, ready: impl Fn(&Mailbox) -> bool) {
        let mut parked = self.parked();
        *parked = true;
        if ready(self) {
            *parked = false;
            return;
        }
        match timeout {
            Some(t) => {
                drop(self.wake.wait_timeout_while(parked, t, |p| *p).unwrap_or_else(PoisonError::into_inner));
            }
            None => {
                drop(self.wake.wait_while(parked, |p| *p).unwrap_or_else(PoisonError::into_inner));
            }
        }
    }
}

impl Default for Mailbox {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Instant;

    #[test]
    fn lines_kick_when_they_rise() {
        let mailbox = Mailbox::new();
        let set = |line, level| {
            mailbox.limit.store(7, Ordering::SeqCst);
            mailbox.set_line(line, level);
            (mailbox.lines.load(Ordering::SeqCst), mailbox.limit.load(Ordering::SeqCst))
        };
        assert_eq!(set(3, true), (8, 0));
        assert_eq!(set(3, true), (8, 7), "it was high already");
        assert_eq!(set(31, true), (0x8000_0008, 0));
        assert_eq!(set(3, false), (0x8000_0000, 7));
    }

    #[test]
    fn saved_inputs_come_back_with_a_kick() {
        let (old, new) = (Mailbox::new(), Mailbox::new());
        old.set_line(3, true);
        old.post_edge(9);
        new.set_line(4, true);
        new.limit.store(7, Ordering::SeqCst);
        new.load(&old.save()).unwrap();
        assert_eq!((new.lines.load(Ordering::SeqCst), new.limit.load(Ordering::SeqCst)), (8, 0));
        assert!(new.take_edge(9) && new.load(&[]).is_err());
    }

    #[test]
    fn an_edge_stays_until_it_is_taken() {
        let mailbox = Mailbox::new();
        mailbox.limit.store(7, Ordering::SeqCst);
        mailbox.post_edge(5);
        mailbox.post_edge(5);
        assert_eq!(mailbox.limit.load(Ordering::SeqCst), 0, "the vCPU is told");
        assert_eq!([4, 5, 5].map(|n| mailbox.take_edge(n)), [false, true, false]);
    }

    #[test]
    fn a_kicker_is_called_behind_what_is_posted() {
        use std::sync::Weak;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mailbox = Arc::new_cyclic(|mailbox: &Weak<Mailbox>| {
            let (new, mailbox, seen) = (Mailbox::new(), mailbox.clone(), seen.clone());
            let kicker = move || {
                let mailbox = mailbox.upgrade().unwrap();
                let posted = (&mailbox.limit, &mailbox.requests, &mailbox.lines);
                let load = |n: &AtomicU32| n.load(Ordering::SeqCst);
                seen.lock().unwrap().push((
                    posted.0.load(Ordering::SeqCst),
                    load(posted.1),
                    load(posted.2),
                    *mailbox.parked(),
                ));
            };
            assert!(new.set_kicker(Box::new(kicker)));
            new
        });
        mailbox.limit.store(7, Ordering::SeqCst);
        mailbox.request(Mailbox::PAUSE);
        mailbox.limit.store(7, Ordering::SeqCst);
        mailbox.set_line(1, true);
        mailbox.set_line(1, true);
        assert_eq!(*seen.lock().unwrap(), [(0, Mailbox::PAUSE, 0, false), (0, Mailbox::PAUSE, 2, false)]);
        assert!(!mailbox.set_kicker(Box::new(|| ())), "there is one already");
    }

    #[test]
    fn requests_gather_until_they_are_taken() {
        let mailbox = Mailbox::new();
        mailbox.request(Mailbox::PAUSE);
        mailbox.request(Mailbox::CODE_WRITTEN);
        assert_eq!(mailbox.take_requests(), Mailbox::PAUSE | Mailbox::CODE_WRITTEN);
        assert_eq!(mailbox.take_requests(), 0);
    }

    #[test]
    fn a_kick_between_look_and_sleep_is_not_lost() {
        let mailbox = Arc::new(Mailbox::new());
        let start = Instant::now();
        mailbox.park(None, |_| true);
        let (theirs, most) = (mailbox.clone(), Some(Duration::from_secs(20)));
        let thread = std::thread::spawn(move || {
            let ready = |m: &Mailbox| m.requests.load(Ordering::SeqCst) != 0;
            (0..1000).for_each(|_| {
                while theirs.take_requests() == 0 {
                    theirs.park(most, ready);
                }
                theirs.set_line(0, false);
                theirs.lines.fetch_or(2, Ordering::SeqCst);
            });
        });
        for _ in 0..1000 {
            mailbox.request(Mailbox::PAUSE);
            while mailbox.lines.fetch_and(!2, Ordering::SeqCst) & 2 == 0 {
                std::hint::spin_loop();
            }
        }
        thread.join().unwrap();
        assert!(start.elapsed() < Duration::from_secs(15), "slept though it was kicked");
    }
}
