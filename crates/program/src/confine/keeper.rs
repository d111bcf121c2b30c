//! The keeper: a small process beside the program, outside its control groups. It removes the groups when no
//! process is left in them, however the program ended, and kills a program that has used up its CPU time.

use super::Limits;
use std::io::Error;
use std::time::Duration;
use trine_cgroup::Groups;

/// The shortest and longest time between two checks of what has no descriptor to poll.
const SOON: Duration = Duration::from_millis(5);
const LATE: Duration = Duration::from_secs(1);

/// Starts the keeper of this process, which must have one thread.
pub(super) fn start(groups: &Groups, limits: &Limits) -> Result<(), String> {
    let failed = |_| {
        groups.remove();
        format!("cannot start a process that enforces the limits: {}", Error::last_os_error())
    };
    // SAFETY: only returns a descriptor of this process.
    let main = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0) };
    if main < 0 {
        return Err(failed(()));
    }
    // SAFETY: this process has one thread, so its copy may do anything.
    match unsafe { libc::fork() } {
        -1 => Err(failed(())),
        0 => {
            // The second fork detaches it: the program must not find a child that it did not create.
            // SAFETY: as above.
            if unsafe { libc::fork() } == 0 {
                keep(groups, limits, main as i32);
            }
            // SAFETY: ends this process without touching what it shares with its parent.
            unsafe { libc::_exit(0) }
        }
        child => {
            // SAFETY: waits for the child made just now; closes a descriptor of ours.
            unsafe {
                libc::waitpid(child, std::ptr::null_mut(), 0);
                libc::close(main as i32);
            }
            Ok(())
        }
    }
}

/// Leaves session and terminal, and keeps only standard error and the program's descriptor open.
fn detach(main: i32) {
    // SAFETY: changes only this process, which has one thread and no use for other descriptors.
    unsafe {
        libc::setsid();
        let all = u64::MAX;
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &all, 0, 8);
        libc::prctl(libc::PR_SET_NAME, c"trine-keeper".as_ptr());
        libc::chdir(c"/".as_ptr());
        libc::close_range(0, 1, 0);
        if main > 3 {
            libc::close_range(3, main as u32 - 1, 0);
        }
        libc::close_range(main as u32 + 1, u32::MAX, 0);
    }
}

fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "trine: {text}");
}

/// Whether the program's first process ends within this time (`None`: no limit).
fn ends_within(main: i32, time: Option<Duration>) -> bool {
    let mut poll = libc::pollfd { fd: main, events: libc::POLLIN, revents: 0 };
    let wait = time.map_or(-1, |t| t.as_millis().clamp(1, i32::MAX as u128) as i32);
    // SAFETY: a structure of ours.
    unsafe { libc::poll(&mut poll, 1, wait) > 0 }
}

fn keep(groups: &Groups, limits: &Limits, main: i32) -> ! {
    detach(main);
    let mut watch = limits.cpu_time.filter(|_| groups.cpu_time().is_ok());
    let mut time = watch.map(|seconds| left(groups.cpu_time(), seconds));
    while !ends_within(main, time.as_ref().map(Left::look)) {
        (watch, time) = check(groups, watch);
    }
    if groups.out_of_memory() > 0 {
        say("a process was killed: the program used more memory than --limit memory allows");
    }
    // The reader of the program's output sees its end now. Later messages are not read by anybody.
    // SAFETY: a descriptor of ours.
    unsafe { libc::close(2) };
    let mut pause = SOON;
    while !groups.remove() {
        std::thread::sleep(pause);
        pause = (pause * 2).min(LATE);
        watch = check(groups, watch).0;
    }
    // SAFETY: ends this process.
    unsafe { libc::_exit(0) }
}

/// The CPU time that is left.
#[derive(Debug, PartialEq)]
enum Left {
    /// This much.
    Some(Duration),
    /// None.
    None,
    /// It cannot be determined, for this reason. This counts as none: otherwise, a program that makes the
    /// keeper fail would have unlimited time.
    Unknown(String),
}

/// The time left of `seconds`, after the used nanoseconds.
fn left(used: Result<u64, String>, seconds: u64) -> Left {
    match used {
        Err(why) => Left::Unknown(why),
        Ok(used) => match seconds.saturating_mul(1_000_000_000).saturating_sub(used) {
            0 => Left::None,
            left => Left::Some(Duration::from_nanos(left)),
        },
    }
}

impl Left {
    /// The earliest time at which all of it can be used up.
    fn look(&self) -> Duration {
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        if let Left::Some(time) = self { (*time / cpus).max(SOON) } else { SOON }
    }
}

/// Checks the CPU time that is left, and kills the program if there is none: then there is nothing more to
/// watch.
fn check(groups: &Groups, watch: Option<u64>) -> (Option<u64>, Option<Left>) {
    let Some(seconds) = watch else { return (None, None) };
    let left = left(groups.cpu_time(), seconds);
    match &left {
        Left::Some(_) => return (watch, Some(left)),
        Left::None => {
            say(&format!("the program was killed: it used the CPU time that --limit cpu={seconds}s allows"));
        }
        Left::Unknown(why) => {
            say(&format!("the program was killed: --limit cpu={seconds}s cannot be enforced: {why}"));
        }
    }
    groups.kill();
    (None, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_nobody_can_tell_is_used_up() {
        assert_eq!(left(Ok(0), 1), Left::Some(Duration::from_secs(1)));
        assert_eq!(left(Ok(1_000_000_000), 1), Left::None);
        assert_eq!(left(Ok(u64::MAX), 1), Left::None);
        assert_eq!(left(Err("no file".into()), 1), Left::Unknown("no file".into()));
        assert_eq!(Left::Unknown(String::new()).look(), SOON);
        assert!(Left::Some(Duration::from_secs(9)).look() <= Duration::from_secs(9));
    }
}
