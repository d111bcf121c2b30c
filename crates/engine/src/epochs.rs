//! When memory that vCPUs read without a lock may be freed (epoch-based reclamation).
//!
//! A thread that takes a block out of the table *retires* it: unlinks it, tells every vCPU which of its own
//! references are stale, then advances the epoch. Each vCPU publishes the epoch that it has seen. It moves to
//! the current one at a *safepoint*, where it holds no references except those in its jump cache, and drops
//! the stale ones of these. A block retired in an epoch may be freed when every vCPU has seen a later one or
//! is offline: a vCPU that comes online afterwards finds it unlinked. Nobody waits: if a vCPU is slow, memory
//! is freed later.

use crate::sync::{AtomicU64, Ordering, fence};

/// The current epoch.
pub struct Epochs(AtomicU64);

/// The epoch that one vCPU has seen, on a cache line of its own.
#[repr(align(128))]
pub struct Seen(AtomicU64);

/// Published by a vCPU that runs no guest code: it holds no reference.
const OFFLINE: u64 = u64::MAX;

impl Default for Epochs {
    /// The first epoch.
    fn default() -> Epochs {
        Epochs(AtomicU64::new(1))
    }
}

impl Epochs {
    /// The current epoch. For a safepoint it is read before the vCPU looks for stale references: blocks
    /// retired in between do not count as seen.
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Ends the epoch in which something was retired, after every vCPU was told; returns its number.
    pub fn advance(&self) -> u64 {
        let ended = self.0.fetch_add(1, Ordering::AcqRel);
        // Pairs with the fence of a vCPU that comes online: either this thread sees it in `Seen::holds`, or
        // it sees what was unlinked and noted before this.
        fence(Ordering::SeqCst);
        ended
    }
}

impl Default for Seen {
    /// For a vCPU that is offline.
    fn default() -> Seen {
        Seen(AtomicU64::new(OFFLINE))
    }
}

impl Seen {
    /// The vCPU may take references from now on; it looks for stale ones next.
    pub fn online(&self, epochs: &Epochs) {
        self.0.store(epochs.now(), Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The vCPU passed a safepoint: it dropped stale references after it had read this epoch.
    pub fn pass(&self, epoch: u64) {
        self.0.store(epoch, Ordering::Release);
    }

    /// The vCPU holds no references any more, except in its jump cache, which it cleans after coming online.
    pub fn offline(&self) {
        self.0.store(OFFLINE, Ordering::Release);
    }

    /// Whether the vCPU may have a reference to something retired in an epoch.
    pub fn holds(&self, retired: u64) -> bool {
        self.0.load(Ordering::Acquire) <= retired
    }
}
