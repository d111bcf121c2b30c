//! What other threads may touch of a vCPU: atomics on a cache line of their own.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The shared line of one vCPU.
///
/// Translated code compares its instruction count with `limit` at every block's entry. A kick
/// stores 0 there, so the vCPU leaves translated code at the next block and looks at the rest.
#[repr(C, align(128))]
pub struct Mailbox {
    /// Instruction count at which the vCPU leaves translated code; 0 means at once.
    pub limit: AtomicU64,
    /// Interrupt inputs from devices, one bit a line in the CPU's own numbering.
    pub lines: AtomicU32,
    /// Requests from other threads: a set of `Mailbox::*` request bits.
    pub requests: AtomicU32,
    parked: Mutex<bool>,
    wake: Condvar,
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
            requests: AtomicU32::new(0),
            parked: Mutex::new(false),
            wake: Condvar::new(),
        }
    }

    fn parked(&self) -> MutexGuard<'_, bool> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the vCPU look at its mailbox soon: leaves translated code, wakes from sleep.
    pub fn kick(&self) {
        self.limit.store(0, Ordering::SeqCst);
        let mut parked = self.parked();
        *parked = false;
        self.wake.notify_all();
    }

    /// Posts request bits and kicks.
    pub fn request(&self, bits: u32) {
        self.requests.fetch_or(bits, Ordering::SeqCst);
        self.kick();
    }

    /// Takes all request bits.
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

    /// Sleeps until a kick or for at most `timeout`, unless `ready` already says there is work.
    /// A kick that comes between the check and the sleep is not lost.
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
