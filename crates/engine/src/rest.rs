//! When a machine rests: then its translations are given up.
//!
//! A boot makes hundreds of thousands of blocks, most of which never run again, and a machine that waits for its user for
//! hours should not keep the host's memory for them. What still runs is translated again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a machine must have had little to do.
const WINDOW: Duration = Duration::from_secs(10);
/// For how long a rest that was found may be used. A vCPU that runs just then lets others use it a moment later; but one that
/// has begun to work wants its translations.
const HOLDS: Duration = Duration::from_secs(1);
/// It has little to do if its process uses less than this part of a core: one in so many.
const LITTLE: u32 = 20;

/// Since when a machine's use of the host's cores is looked at.
pub struct Rest {
    start: Instant,
    /// Start of the window, in milliseconds since `start`.
    since: AtomicU64,
    /// The process's CPU time at the start of the window, in milliseconds.
    used: AtomicU64,
    /// Until when the rest that was found last may be used, in milliseconds since `start`.
    until: AtomicU64,
}

impl Default for Rest {
    fn default() -> Rest {
        Rest {
            start: Instant::now(),
            since: AtomicU64::new(0),
            used: AtomicU64::new(0),
            until: AtomicU64::new(0),
        }
    }
}

impl Rest {
    /// Asked by a vCPU that begins to wait: whether a rest has just been found that nobody has used yet.
    pub fn is_found(&self) -> bool {
        self.is_found_at(self.start.elapsed(), cpu_time)
    }

    /// The rest that was found is used.
    pub fn is_used(&self) {
        self.until.store(0, Ordering::Relaxed);
    }

    fn is_found_at(&self, now: Duration, used: impl Fn() -> Duration) -> bool {
        if self.ends(now, used) {
            self.until.store(millis(now + HOLDS), Ordering::Relaxed);
        }
        millis(now) < self.until.load(Ordering::Relaxed)
    }

    /// Whether a window has ended in which the process had little to do. Of all that ask, one is told so, once for each window.
    fn ends(&self, now: Duration, used: impl Fn() -> Duration) -> bool {
        let (now, since) = (millis(now), self.since.load(Ordering::Relaxed));
        let passed = now.saturating_sub(since);
        if passed < millis(WINDOW)
            || self.since.compare_exchange(since, now, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            return false;
        }
        let used = millis(used());
        let before = self.used.swap(used, Ordering::Relaxed);
        used.saturating_sub(before) * u64::from(LITTLE) < passed
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}

/// CPU time of this process.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes `time`, which lives as long as the call. The clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Gives memory that was freed back to the host. The C library keeps what was allocated in small pieces otherwise.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: changes nothing that is allocated.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_with_little_to_do_is_told_once() {
        let rest = Rest::default();
        let at = |s: u64, used: u64| rest.ends(Duration::from_secs(s), || Duration::from_millis(used));
        assert!(!at(9, 0), "not over yet");
        assert!(!at(10, 9000), "a boot");
        assert!(!at(19, 9000));
        assert!(at(20, 9499) && !at(20, 9499), "once");
        assert!(!at(30, 9999), "a core's twentieth");
        assert!(at(3000, 10_000), "nobody has asked for long");
    }

    #[test]
    fn a_rest_is_used_once_and_soon() {
        let rest = Rest::default();
        let at = |ms: u64| rest.is_found_at(Duration::from_millis(ms), || Duration::ZERO);
        assert!(!at(9_999) && at(10_000) && at(10_999) && !at(11_000), "nobody could use it");
        assert!(at(20_000));
        rest.is_used();
        assert!(!at(20_001) && at(30_000));
    }

    #[test]
    fn the_process_uses_time() {
        let before = cpu_time();
        let end = Instant::now() + Duration::from_secs(10);
        while cpu_time() == before {
            assert!(Instant::now() < end, "its clock stands");
        }
    }
}
