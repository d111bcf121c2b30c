//! Time is a device: every clock that a guest can read comes through [`Clock`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A source of guest time.
pub trait Clock: Send + Sync {
    /// Nanoseconds since the machine started; never goes backwards.
    fn now(&self) -> u64;

    /// Wall-clock time in nanoseconds since 1970-01-01T00:00Z, for real-time clocks.
    fn wall(&self) -> u64;

    /// Whether time passes only as a vCPU executes instructions. The vCPU's thread then runs the devices' timers.
    fn is_counted(&self) -> bool {
        false
    }
}

/// Guest time is host time.
pub struct HostClock {
    start: Instant,
}

impl HostClock {
    /// A clock that reads zero now.
    pub fn new() -> HostClock {
        HostClock { start: Instant::now() }
    }
}

impl Default for HostClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for HostClock {
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn wall(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
    }
}

/// Guest time is a number of executed instructions: the same run gives the same times.
pub struct CountClock {
    count: AtomicU64,
    nanos_per_insn: u64,
    epoch: u64,
}

impl CountClock {
    /// A clock that advances `nanos_per_insn` nanoseconds an instruction and whose wall clock
    /// starts at `epoch` nanoseconds since 1970.
    pub fn new(nanos_per_insn: u64, epoch: u64) -> CountClock {
        CountClock { count: AtomicU64::new(0), nanos_per_insn, epoch }
    }

    /// Tells the clock how many instructions have been executed so far.
    pub fn set_count(&self, count: u64) {
        self.count.store(count, Ordering::Relaxed);
    }

    /// The instruction count at which [`Clock::now`] first reaches `nanos`.
    pub fn count_at(&self, nanos: u64) -> u64 {
        nanos.div_ceil(self.nanos_per_insn)
    }
}

impl Clock for CountClock {
    fn now(&self) -> u64 {
        self.count.load(Ordering::Relaxed).wrapping_mul(self.nanos_per_insn)
    }

    fn wall(&self) -> u64 {
        self.epoch.wrapping_add(self.now())
    }

    fn is_counted(&self) -> bool {
        true
    }
}
