//! Limits and priorities of processes that are given by ID.
//!
//! A confined program may change only its own, and a filter of the host's kernel cannot know which IDs are
//! its own: it allows only 0, which means the caller. So the ID of the calling thread is replaced by 0.

use crate::call::Context;
use crate::errno::Errno;
use crate::space::programs;

/// Whether this is the ID of the calling thread.
fn is_caller(number: u64) -> bool {
    // SAFETY: only returns a number.
    number as i32 == unsafe { libc::gettid() }
}

/// Makes a call about the thread whose ID is the first argument; the arguments in `pointers` are addresses.
fn thread(c: &Context, call: i64, mut args: [u64; 6], pointers: &[usize]) -> Result<u64, Errno> {
    if is_caller(args[0]) {
        args[0] = 0;
    }
    pointers.iter().for_each(|&at| args[at] = programs(args[at]));
    c.host(call, args)
}

/// `sched_setparam(thread, parameters)`.
pub fn sched_setparam(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    thread(c, libc::SYS_sched_setparam, args, &[1])
}

/// `sched_setscheduler(thread, policy, parameters)`.
pub fn sched_setscheduler(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    thread(c, libc::SYS_sched_setscheduler, args, &[2])
}

/// `sched_setaffinity(thread, size, CPUs)`.
pub fn sched_setaffinity(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    thread(c, libc::SYS_sched_setaffinity, args, &[2])
}

/// `sched_setattr(thread, attributes, flags)`.
pub fn sched_setattr(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    thread(c, libc::SYS_sched_setattr, args, &[1])
}

/// Makes a call whose first argument has the value `of_thread` if the second one is a thread ID.
fn kind(c: &Context, call: i64, mut args: [u64; 6], of_thread: i32) -> Result<u64, Errno> {
    if args[0] as i32 == of_thread && is_caller(args[1]) {
        args[1] = 0;
    }
    c.host(call, args)
}

/// `setpriority(which, who, nice value)`.
pub fn setpriority(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    kind(c, libc::SYS_setpriority, args, libc::PRIO_PROCESS as i32)
}

/// `ioprio_set(which, who, priority)`.
pub fn ioprio_set(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    kind(c, libc::SYS_ioprio_set, args, IOPRIO_WHO_PROCESS)
}

/// `prlimit64(process, resource, new, old)`: limits belong to the process, whichever of its threads is given.
pub fn prlimit64(c: &Context, [process, resource, new, old, ..]: [u64; 6]) -> Result<u64, Errno> {
    let own = process as i32 == std::process::id() as i32 || is_caller(process);
    let process = if own { 0 } else { process };
    c.host(libc::SYS_prlimit64, [process, resource, programs(new), programs(old), 0, 0])
}
