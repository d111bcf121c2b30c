//! The keeper: a small process beside the program, in no group of its, that removes the groups when nothing is left in
//! them, however the program ended, and ends what used more CPU time than it was given.

use super::Limits;
use std::io::Error;
use std::time::Duration;
use trine_cgroup::Groups;

/// Shortest and longest time between two looks at what has no descriptor to wait for.
const SOON: Duration = Duration::from_millis(5);
const LATE: Duration = Duration::from_secs(1);

/// Starts the keeper of this process. The process has one thread.
pub(super) fn start(groups: &Groups, limits: &Limits) -> Result<(), String> {
    let failed = |_| {
        groups.remove();
        format!("no process can be started to keep the limits: {}", Error::last_os_error())
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
            // The second fork makes it nobody's child: the program finds none that it did not make.
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

/// Leaves session and terminal, and keeps nothing open but standard error and the program's descriptor.
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

/// Whether the program's first process ends within this time (`None`: waits for it).
fn ends_within(main: i32, time: Option<Duration>) -> bool {
    let mut poll = libc::pollfd { fd: main, events: libc::POLLIN, revents: 0 };
    let wait = time.map_or(-1, |t| t.as_millis().clamp(1, i32::MAX as u128) as i32);
    // SAFETY: a structure of ours.
    unsafe { libc::poll(&mut poll, 1, wait) > 0 }
}

fn keep(groups: &Groups, limits: &Limits, main: i32) -> ! {
    detach(main);
    let mut watch = limits.cpu_time.filter(|_| groups.cpu_time().is_ok());
    while !ends_within(main, watch.map(|seconds| look(groups, seconds))) {
        if watch.is_some_and(|seconds| end_late(groups, seconds)) {
            watch = None;
        }
    }
    if groups.out_of_memory() > 0 {
        say("a process was ended: more memory was used than --limit memory allows");
    }
    // SAFETY: nothing is said any more; who reads the program's output waits for no longer.
    unsafe { libc::close(2) };
    let mut pause = SOON;
    while !groups.remove() {
        std::thread::sleep(pause);
        pause = (pause * 2).min(LATE);
        if watch.is_some_and(|seconds| end_late(groups, seconds)) {
            watch = None;
        }
    }
    // SAFETY: ends this process.
    unsafe { libc::_exit(0) }
}

/// Time until the CPU time can be used up at the earliest.
fn look(groups: &Groups, seconds: u64) -> Duration {
    let given = seconds.saturating_mul(1_000_000_000);
    let left = given.saturating_sub(groups.cpu_time().unwrap_or(0));
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    Duration::from_nanos(left / cpus).max(SOON)
}

/// Ends the program where it used its CPU time up.
fn end_late(groups: &Groups, seconds: u64) -> bool {
    let late = groups.cpu_time().is_ok_and(|used| used >= seconds.saturating_mul(1_000_000_000));
    if late {
        say(&format!("the program was ended: it used the CPU time that --limit cpu={seconds}s allows"));
        groups.kill();
    }
    late
}
