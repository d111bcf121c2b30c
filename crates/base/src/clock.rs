//! Time is a device: every clock that a guest can read comes through [`Clock`].

use crate::state::{self, StateError, Versioned};
use crate::versions;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A source of guest time.
pub trait Clock: Send + Sync {
    /// Nanoseconds for which the machine has run; never goes backwards, and stands still while the machine is paused.
    fn now(&self) -> u64;

    /// Wall-clock time in nanoseconds since 1970-01-01T00:00Z, for real-time clocks. Such a clock has a battery: the
    /// host's goes on while the machine is paused.
    fn wall(&self) -> u64;

    /// Whether time passes only as a vCPU executes instructions. The vCPU's thread then runs the devices' timers.
    fn is_counted(&self) -> bool {
        false
    }

    /// Lets [`Clock::now`] stand still until [`Clock::resume`].
    fn pause(&self);

    /// Lets [`Clock::now`] go on from where it stood still.
    fn resume(&self);

    /// The time, from which a clock goes on.
    fn save(&self) -> Vec<u8>;

    /// Takes over a time saved by a clock of the same kind; goes on or stands still as before.
    fn load(&self, state: &[u8]) -> Result<(), StateError>;
}

/// What is saved of a clock.
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
    /// Odd while the next two change; see [`HostClock::now`].
    sequence: AtomicU64,
    /// Added to the nanoseconds since the start, modulo 2⁶⁴.
    offset: AtomicU64,
    /// The time at which the clock stands still, or [`RUNNING`].
    stopped: AtomicU64,
    /// Held by who changes the clock.
    changing: Mutex<()>,
}

/// No time at which a clock can stand still: 584 years.
const RUNNING: u64 = u64::MAX;

impl HostClock {
    /// A clock that reads zero now.
    pub fn new() -> HostClock {
        HostClock {
            start: Instant::now(),
            sequence: AtomicU64::new(0),
            offset: AtomicU64::new(0),
            stopped: AtomicU64::new(RUNNING),
            changing: Mutex::new(()),
        }
    }

    fn elapsed(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Lets `f` change the clock, given its time now.
    fn change(&self, f: impl FnOnce(u64)) {
        let _turn = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self.sequence.load(Ordering::Relaxed).wrapping_add(1);
        self.sequence.store(next, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        f(self.read());
        self.sequence.store(next.wrapping_add(1), Ordering::SeqCst);
    }

    fn read(&self) -> u64 {
        match self.stopped.load(Ordering::Relaxed) {
            RUNNING => self.elapsed().wrapping_add(self.offset.load(Ordering::Relaxed)),
            stopped => stopped,
        }
    }

    /// Goes on from `now`.
    fn go_on(&self, now: u64) {
        self.offset.store(now.wrapping_sub(self.elapsed()), Ordering::Relaxed);
        self.stopped.store(RUNNING, Ordering::Relaxed);
    }
}

impl Default for HostClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for HostClock {
    /// Reads without a lock, for guests read the time very often: a reading during which the clock was changed is made
    /// again. So no reading comes after the clock's stop and is later than the time at which it stopped.
    fn now(&self) -> u64 {
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            let now = self.read();
            fence(Ordering::Acquire);
            if before & 1 == 0 && self.sequence.load(Ordering::Relaxed) == before {
                return now;
            }
            std::hint::spin_loop();
        }
    }

    fn wall(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
    }

    fn pause(&self) {
        self.change(|now| self.stopped.store(now, Ordering::Relaxed));
    }

    fn resume(&self) {
        self.change(|now| self.go_on(now));
    }

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(Time::Host { now: self.now() }))
    }

    fn load(&self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(Time::Host { now }) = state::load(state)? else {
            return Err(Saved::mismatch("it counts instructions, and this one goes by the host's time"));
        };
        if now > MOST {
            return Err(Saved::damaged(format!("it reads {now} nanoseconds")));
        }
        self.change(|_| match self.stopped.load(Ordering::Relaxed) {
            RUNNING => self.go_on(now),
            _ => self.stopped.store(now, Ordering::Relaxed),
        });
        Ok(())
    }
}

/// The highest time that is loaded, so that no machine lives to see the end of the numbers.
const MOST: u64 = u64::MAX / 2;

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

    /// Nothing to do: no time passes while no vCPU runs.
    fn pause(&self) {}

    fn resume(&self) {}

    fn save(&self) -> Vec<u8> {
        let count = self.count.load(Ordering::Relaxed);
        state::save(&Saved::V1(Time::Count { count, nanos_per_insn: self.nanos_per_insn, epoch: self.epoch }))
    }

    fn load(&self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(Time::Count { count, nanos_per_insn, epoch }) = state::load(state)? else {
            return Err(Saved::mismatch("it goes by the host's time, and this one counts instructions"));
        };
        let (rate, start) = (self.nanos_per_insn, self.epoch);
        if (nanos_per_insn, epoch) != (rate, start) {
            return Err(Saved::mismatch(format!(
                "it counts {nanos_per_insn} ns an instruction from {epoch} on, and this one {rate} ns from {start} on"
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
