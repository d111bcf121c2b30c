//! Time as a device: every clock that a guest can read comes through [`Clock`].

use crate::state::{self, StateError, Versioned};
use crate::versions;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A source of guest time.
pub trait Clock: Send + Sync {
    /// Nanoseconds for which the machine has run. Never goes backwards; stands still while the machine is
    /// paused.
    fn now(&self) -> u64;

    /// Wall-clock time in nanoseconds since 1970-01-01T00:00Z, for real-time clocks. Like a clock with a
    /// battery, the host's wall clock goes on while the machine is paused.
    fn wall(&self) -> u64;

    /// Whether time passes only as a vCPU executes instructions. The vCPU's thread then runs the devices'
    /// timers.
    fn is_counted(&self) -> bool {
        false
    }

    /// Stops [`Clock::now`] until [`Clock::resume`].
    fn pause(&self);

    /// Lets [`Clock::now`] go on from where it stopped.
    fn resume(&self);

    /// Saves the time.
    fn save(&self) -> Vec<u8>;

    /// Loads a time that a clock of the same kind saved. A paused clock stays paused, a running clock runs on
    /// from the loaded time.
    fn load(&self, state: &[u8]) -> Result<(), StateError>;
}

/// The saved state of a clock.
#[derive(Serialize, Deserialize)]
enum Time {
    /// Guest time is host time.
    Host { now: u64 },
    /// Guest time is a number of instructions.
    Count { count: u64, nanos_per_insn: u64, epoch: u64 },
}

versions!(Saved of "the clock" { V1(Time) });

/// Guest time is host time, less the time for which the machine was paused.
pub struct HostClock {
    start: Instant,
    /// Odd while the clock stands still or is being set.
    sequence: AtomicU64,
    /// Added to the nanoseconds since the start, modulo 2⁶⁴.
    offset: AtomicU64,
    /// The time at which the clock stopped. Locked by every thread that changes the clock.
    stopped: Mutex<Option<u64>>,
}

impl HostClock {
    /// Creates a clock that reads zero now.
    pub fn new() -> HostClock {
        HostClock {
            start: Instant::now(),
            sequence: AtomicU64::new(0),
            offset: AtomicU64::new(0),
            stopped: Mutex::new(None),
        }
    }

    fn stopped(&self) -> MutexGuard<'_, Option<u64>> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> u64 {
        let elapsed = self.start.elapsed().as_nanos() as u64;
        elapsed.wrapping_add(self.offset.load(Ordering::Relaxed))
    }

    /// Begins or ends a change, during which readers must take the lock. The caller holds the lock.
    fn next_sequence(&self) {
        let next = self.sequence.load(Ordering::Relaxed).wrapping_add(1);
        self.sequence.store(next, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Lets a clock that is being changed run from `now` on.
    fn run_from(&self, now: u64) {
        self.offset.store(0, Ordering::Relaxed);
        self.offset.store(now.wrapping_sub(self.running()), Ordering::Relaxed);
        self.next_sequence();
    }

    #[cold]
    fn now_locked(&self) -> u64 {
        let stopped = self.stopped();
        stopped.unwrap_or_else(|| self.running())
    }
}

impl Default for HostClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for HostClock {
    /// Reads without a lock while the clock runs, because guests read the time very often. A reading that
    /// overlaps a change is repeated with the lock, so no reading made after the clock has stopped is later
    /// than the time at which it stopped.
    fn now(&self) -> u64 {
        let before = self.sequence.load(Ordering::Acquire);
        let now = self.running();
        fence(Ordering::Acquire);
        if before & 1 == 0 && self.sequence.load(Ordering::Relaxed) == before {
            return now;
        }
        self.now_locked()
    }

    fn wall(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
    }

    fn pause(&self) {
        let mut stopped = self.stopped();
        if stopped.is_none() {
            self.next_sequence();
            *stopped = Some(self.running());
        }
    }

    fn resume(&self) {
        let mut stopped = self.stopped();
        if let Some(now) = stopped.take() {
            self.run_from(now);
        }
    }

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(Time::Host { now: self.now() }))
    }

    fn load(&self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(Time::Host { now }) = state::load(state)? else {
            return Err(Saved::mismatch("it counts instructions, but this clock follows the host's time"));
        };
        if now > MOST {
            return Err(Saved::damaged(format!("it reads {now} nanoseconds")));
        }
        match &mut *self.stopped() {
            Some(stopped) => *stopped = now,
            None => {
                self.next_sequence();
                self.run_from(now);
            }
        }
        Ok(())
    }
}

/// The highest time that is accepted when loading, so that the clock of a loaded machine cannot overflow.
const MOST: u64 = u64::MAX / 2;

/// Guest time is the number of executed instructions: the same run gives the same times.
pub struct CountClock {
    count: AtomicU64,
    nanos_per_insn: u64,
    epoch: u64,
}

impl CountClock {
    /// Creates a clock that advances by `nanos_per_insn` nanoseconds per instruction and whose wall clock
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

    /// Does nothing: no time passes while no vCPU runs.
    fn pause(&self) {}

    fn resume(&self) {}

    fn save(&self) -> Vec<u8> {
        let count = self.count.load(Ordering::Relaxed);
        state::save(&Saved::V1(Time::Count { count, nanos_per_insn: self.nanos_per_insn, epoch: self.epoch }))
    }

    fn load(&self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(Time::Count { count, nanos_per_insn, epoch }) = state::load(state)? else {
            return Err(Saved::mismatch("it follows the host's time, but this clock counts instructions"));
        };
        let (rate, start) = (self.nanos_per_insn, self.epoch);
        if (nanos_per_insn, epoch) != (rate, start) {
            return Err(Saved::mismatch(format!(
                "it counts {nanos_per_insn} ns per instruction from {epoch} on, but this clock {rate} ns from {start} on"
            )));
        }
        self.count.store(count, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

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

    #[test]
    fn a_paused_clock_stands_still_and_loses_nothing() {
        let clock = HostClock::new();
        clock.pause();
        let at = clock.now();
        clock.pause();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(clock.now(), at);
        clock.resume();
        let after = clock.now();
        assert!((at..at + 250_000_000).contains(&after), "the pause is no time: {at} to {after}");
        clock.resume();
        assert!(clock.now() < at + 250_000_000, "it ran already");
        while clock.now() == after {}
    }

    /// One thread pauses and resumes, the others read.
    #[test]
    fn time_never_goes_backwards() {
        let (clock, done) = (HostClock::new(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    while !done.load(Ordering::Relaxed) {
                        let now = clock.now();
                        assert!(now >= last, "{now} after {last}");
                        last = now;
                    }
                });
            }
            for _ in 0..20_000 {
                clock.pause();
                let at = clock.now();
                assert_eq!(clock.now(), at);
                clock.resume();
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_loaded_clock_goes_on_from_there() {
        let old = HostClock::new();
        old.load(&state::save(&Saved::V1(Time::Host { now: 5_000_000_000 }))).unwrap();
        old.pause();
        let at = old.now();
        assert!(at >= 5_000_000_000);
        let new = HostClock::new();
        new.pause();
        new.load(&old.save()).unwrap();
        assert_eq!(new.now(), at, "it still stands");
        new.resume();
        assert!(new.now() >= at);
        let counted = CountClock::new(3, 1000);
        counted.set_count(7);
        let copy = CountClock::new(3, 1000);
        copy.load(&counted.save()).unwrap();
        assert_eq!(copy.now(), 21);
        for (clock, state) in [
            (&new as &dyn Clock, counted.save()),
            (&counted, new.save()),
            (&CountClock::new(4, 1000), counted.save()),
            (&CountClock::new(3, 0), counted.save()),
        ] {
            assert!(matches!(clock.load(&state), Err(StateError::Mismatch { .. })));
        }
        let late = state::save(&Saved::V1(Time::Host { now: u64::MAX }));
        assert!(matches!(new.load(&late), Err(StateError::Damaged { .. })));
    }
}
