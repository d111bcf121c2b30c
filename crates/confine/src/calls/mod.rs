//! seccomp: the system calls of a machine (seccomp(2)). There are three filters, the strictest answer of which counts:
//! calls that end the process, calls that seem absent, and the list of what is allowed. A call that is on no list fails with
//! `EPERM`, and its number is kept for `--stats`.

mod rules;
mod table;

use crate::filter::{Rules, SYSTEM, always, build};
use crate::{ConfineError, Confinement, threads};
use seccompiler::{BpfProgram, SeccompAction};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// The signal by which the kernel reports a refused call. It also has a thread restrict itself: no other part of Trine uses it.
pub(crate) const SIGNAL: i32 = libc::SIGSYS;
/// `si_code` of a call that a filter refuses (include/uapi/asm-generic/siginfo.h).
const SYS_SECCOMP: i32 = 1;
/// Where the number of the call is in `siginfo_t`: behind the address of the instruction.
const AT_NUMBER: usize = 24;

/// System calls have smaller numbers, on x86-64 in 2026 below 480; those of the x32 ABI are not kept.
const MOST: usize = 512;
/// Which calls were refused: one bit each.
static REFUSED: [AtomicU64; MOST / 64] = [const { AtomicU64::new(0) }; MOST / 64];

/// Names of the calls that were refused so far, which a machine should not make: an error of Trine's list, or an attack.
pub fn refused() -> Vec<String> {
    let is_set = |n: &usize| REFUSED[n / 64].load(Ordering::Relaxed) >> (n % 64) & 1 != 0;
    let name = |n: usize| {
        let known = syscalls::x86_64::Sysno::iter().find(|call| call.id() as usize == n);
        known.map_or_else(|| format!("number {n}"), |call| call.name().to_string())
    };
    (0..MOST).filter(is_set).map(name).collect()
}

/// Answers a refused call, or restricts the thread that the signal was sent to.
extern "C" fn handle(_: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands over both structures, which are this handler's until it returns; `errno` is this thread's.
    unsafe {
        if (*info).si_code != SYS_SECCOMP {
            let errno = *libc::__errno_location();
            threads::restrict_this();
            *libc::__errno_location() = errno;
            return;
        }
        let number = info.cast::<u8>().add(AT_NUMBER).cast::<i32>().read();
        if let Some(word) = REFUSED.get(number as u32 as usize / 64) {
            word.fetch_or(1 << (number % 64), Ordering::Relaxed);
        }
        let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
        registers[libc::REG_RAX as usize] = i64::from(-libc::EPERM);
    }
}

/// Installs the handler. It must be there before the first thread is restricted.
pub(crate) fn catch_refusals() -> Result<(), ConfineError> {
    // SAFETY: the structure is plain data, for which zero is a value; the handler has the type that SA_SIGINFO means, and only
    // makes system calls and changes atomics.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as extern "C" fn(_, _, _) as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigaction(SIGNAL, &raw const action, std::ptr::null_mut())
    };
    match result {
        0 => Ok(()),
        _ => {
            Err(ConfineError::Refused { what: "SIGSYS cannot be caught", error: io::Error::last_os_error() })
        }
    }
}

/// All filters, in the order in which they are installed: the last one allows no others to be installed.
fn filters(machine: &Confinement) -> Result<[BpfProgram; 3], String> {
    use SeccompAction::{Allow, Errno, KillProcess, Trap};
    let every = |lists: &[&[i64]]| {
        let mut rules = Rules::new();
        lists.iter().for_each(|calls| always(&mut rules, calls));
        rules
    };
    Ok([
        build(every(&[SYSTEM, table::FATAL]), Allow, KillProcess)?,
        build(every(&[table::ABSENT]), Allow, Errno(libc::ENOSYS as u32))?,
        build(rules::allowed(machine)?, Trap, Allow)?,
    ])
}

/// Restricts all threads. Returns false where the kernel has no filters.
pub(crate) fn restrict(machine: &Confinement) -> Result<bool, ConfineError> {
    for program in filters(machine).map_err(ConfineError::Rules)? {
        match seccompiler::apply_filter_all_threads(&program) {
            Ok(()) => {}
            // A kernel without filters knows the call without them, or not even that.
            Err(seccompiler::Error::Seccomp(e))
                if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) =>
            {
                return Ok(false);
            }
            Err(e) => return Err(ConfineError::Rules(format!("system calls: {e}"))),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_do_not_contradict_each_other() {
        let others = [table::CORE, table::SOCKETS, table::SHARES, table::CHANGES, table::GDB_SOCKET];
        for call in SYSTEM.iter().chain(table::FATAL) {
            assert!(others.iter().all(|list| !list.contains(call)), "{call} is fatal and allowed");
        }
        for list in others.iter().chain([&table::FATAL, &SYSTEM]) {
            let mut sorted = list.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), list.len(), "{list:?} names a call twice");
        }
    }

    #[test]
    fn filters_fit_into_the_kernel() {
        for machine in [Confinement::default(), everything()] {
            for program in filters(&machine).unwrap() {
                // BPF_MAXINSNS.
                assert!(program.len() < 4096, "{}", program.len());
            }
        }
    }

    #[test]
    fn refused_calls_have_names() {
        REFUSED[libc::SYS_swapon as usize / 64].fetch_or(1 << (libc::SYS_swapon % 64), Ordering::Relaxed);
        assert_eq!(refused(), ["swapon"]);
    }

    fn everything() -> Confinement {
        Confinement {
            network: true,
            gdb: Some(crate::Listens::Unix("/tmp/gdb".into())),
            sockets: Some("/tmp".into()),
            writable: vec!["/tmp".into()],
            code_memory: Some(1 << 27),
            ..Confinement::default()
        }
    }
}
