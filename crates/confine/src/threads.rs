//! Restrictions of all threads. Landlock (before Linux 7.0) and capabilities are a thread's own, and are handed down to
//! those that it starts. So each thread restricts itself, in the handler of a signal, as the C library has them all change
//! their user (nptl(7)).

use crate::privilege::{self, Capabilities};
use crate::{ConfineError, calls};
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a thread may take: it leaves a system call for the handler at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// No rules of Landlock.
const NO_RULES: i32 = -1;

/// What the handler does: the descriptor of the rules, and the capabilities that stay.
static RULES: AtomicI32 = AtomicI32::new(NO_RULES);
static KEPT: AtomicU64 = AtomicU64::new(0);
/// How many threads have done it, and the last error of one (an errno); 0 for none.
static DONE: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicI32 = AtomicI32::new(0);
/// Whether this process is confined, or is being confined.
static BEGUN: AtomicU32 = AtomicU32::new(0);

/// Restricts all threads of this process.
pub(crate) fn restrict_all(rules: Option<&OwnedFd>, kept: Capabilities) -> Result<(), ConfineError> {
    if BEGUN.swap(1, Ordering::SeqCst) != 0 {
        return Err(ConfineError::Twice);
    }
    RULES.store(rules.map_or(NO_RULES, AsRawFd::as_raw_fd), Ordering::SeqCst);
    KEPT.store(kept.bits(), Ordering::SeqCst);
    // SAFETY: only returns a number.
    let own = unsafe { libc::gettid() };
    let mut done = HashSet::from([own]);
    // A thread that was not restricted yet may have started others meanwhile.
    loop {
        let new: Vec<i32> = threads()?.into_iter().filter(|thread| !done.contains(thread)).collect();
        if new.is_empty() {
            break;
        }
        for thread in new {
            restrict(thread)?;
            done.insert(thread);
        }
    }
    // This one last: afterwards the list could not be read.
    restrict_this();
    match FAILED.load(Ordering::SeqCst) {
        0 => Ok(()),
        errno => Err(ConfineError::Refused {
            what: "the kernel does not restrict a thread",
            error: io::Error::from_raw_os_error(errno),
        }),
    }
}

/// The threads of this process.
fn threads() -> Result<Vec<i32>, ConfineError> {
    let list = std::fs::read_dir("/proc/self/task").map_err(ConfineError::Threads)?;
    let number = |entry: io::Result<std::fs::DirEntry>| {
        entry.map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
    };
    let numbers: Result<Vec<Option<i32>>, io::Error> = list.map(number).collect();
    Ok(numbers.map_err(ConfineError::Threads)?.into_iter().flatten().collect())
}

/// Has another thread restrict itself, and waits for it.
fn restrict(thread: i32) -> Result<(), ConfineError> {
    let before = DONE.load(Ordering::SeqCst);
    let (began, process) = (Instant::now(), std::process::id() as i32);
    // SAFETY: sends a signal, whose handler is there, to a thread of this process.
    let send = |signal: i32| unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) } == 0;
    let mut is_there = send(calls::SIGNAL);
    while is_there && DONE.load(Ordering::SeqCst) == before {
        if began.elapsed() > PATIENCE {
            return Err(ConfineError::Silent(thread));
        }
        std::thread::sleep(Duration::from_micros(20));
        // A thread that has ended does not answer.
        is_there = send(0);
    }
    Ok(())
}

/// Restricts the calling thread. It makes system calls only, as it also runs in a signal's handler.
pub(crate) fn restrict_this() {
    let rules = RULES.load(Ordering::SeqCst);
    let mut result = privilege::limit(Capabilities::from_bits(KEPT.load(Ordering::SeqCst)));
    // SAFETY: changes the calling thread and no memory.
    if rules != NO_RULES && unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules, 0) } != 0 {
        result = Err(io::Error::last_os_error());
    }
    if let Some(errno) = result.err().and_then(|e| e.raw_os_error()) {
        FAILED.store(errno, Ordering::SeqCst);
    }
    DONE.fetch_add(1, Ordering::SeqCst);
}
