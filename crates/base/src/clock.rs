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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_times() {
        let clock = CountClock::new(3, 1000);
        assert_eq!((clock.now(), clock.wall(), clock.is_counted()), (0, 1000, true));
        clock.set_count(7);
        assert_eq!((clock.now(), clock.wall()), (21, 1021));
        // The first count at which the time is reached, not one before.
        assert_eq!([20, 21, 22].map(|at| clock.count_at(at)), [7, 7, 8]);
        assert_eq!(clock.count_at(u64::MAX), u64::MAX / 3);
    }

    #[test]
    fn host_time_passes_by_itself() {
        let clock = HostClock::new();
        let before = clock.now();
        while clock.now() == before {}
        assert!(clock.wall() > 1_700_000_000_000_000_000 && !clock.is_counted());
    }
}
