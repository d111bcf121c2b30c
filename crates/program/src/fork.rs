//! `fork` with the additional features of `clone`: namespaces, shared files, other exit signals.
//!
//! A child continues in a copy of the monitor's memory, in which other threads may have left locks of the C
//! library locked (above all those of `malloc`); only the library's own `fork` resets them. So that function
//! is called, and the flags of its `clone` are replaced: the kernel passes this thread's system calls to a
//! handler meanwhile (Documentation/admin-guide/syscall-user-dispatch.rst, Linux 5.11).

use crate::signal;
use std::cell::{Cell, UnsafeCell};
use trine_linux::Errno;
use trine_linux::host;

/// `PR_SET_SYSCALL_USER_DISPATCH` and its modes (include/uapi/linux/prctl.h).
const SET_DISPATCH: u64 = 59;
const OFF: u64 = 0;
const ON: u64 = 1;
/// Values of the selector.
const ALLOW: u8 = 0;
const BLOCK: u8 = 1;
/// `si_code` of a dispatched call.
pub const USER_DISPATCH: i32 = 2;

// Calls from here are always executed: those of the handler itself, and its return.
std::arch::global_asm!(
    "trine_fork_begin:",
    "trine_fork_restore: mov eax, 15",
    "syscall",
    "trine_fork_call: mov rax, rdi",
    "mov rcx, rsi",
    "mov rdi, [rcx]",
    "mov rsi, [rcx + 8]",
    "mov rdx, [rcx + 16]",
    "mov r10, [rcx + 24]",
    "mov r8, [rcx + 32]",
    "mov r9, [rcx + 40]",
    "syscall",
    "ret",
    "trine_fork_end:",
);

// SAFETY: these are the labels and routines above, whose arguments are in the registers of this convention.
unsafe extern "sysv64" {
    static trine_fork_begin: u8;
    static trine_fork_end: u8;
    fn trine_fork_restore();
    fn trine_fork_call(number: i64, args: *const [u64; 6]) -> i64;
}

/// The replacement for `clone`'s arguments.
#[derive(Clone, Copy)]
pub struct Flags {
    /// Flags, and the exit signal.
    pub flags: u64,
    /// The address for a descriptor of the child, with `CLONE_PIDFD`.
    pub pidfd: u64,
}

/// The byte by which the kernel decides whether a call is dispatched.
struct Selector(UnsafeCell<u8>);

thread_local! {
    static SELECTOR: Selector = const { Selector(UnsafeCell::new(ALLOW)) };
    static WANTED: Cell<Option<Flags>> = const { Cell::new(None) };
}

/// Address of the code that returns from the handler.
pub fn restorer() -> usize {
    trine_fork_restore as *const () as usize
}

/// Whether this thread's calls are dispatched, or were until its `clone`.
pub fn is_forking() -> bool {
    WANTED.get().is_some()
}

/// The C library's `rt_sigprocmask`; the mask that it sets must be in force after the handler.
///
/// # Safety
/// The arguments must be the library's, and `mask` must be what the kernel restores.
unsafe fn sigprocmask([how, new, old, ..]: [u64; 6], mask: &mut u64) -> i64 {
    let before = *mask;
    if new != 0 {
        // SAFETY: by the caller.
        let set = unsafe { *(new as *const u64) };
        let after = match how as i32 {
            libc::SIG_BLOCK => before | set,
            libc::SIG_UNBLOCK => before & !set,
            _ => set,
        };
        *mask = after & !signal::bit(libc::SIGSYS);
    }
    if old != 0 {
        // SAFETY: by the caller.
        unsafe { *(old as *mut u64) = before };
    }
    0
}

/// Executes a dispatched call of the C library.
///
/// # Safety
/// `context` must be what the kernel passed to the handler.
pub unsafe fn dispatched(context: *mut libc::ucontext_t) {
    let Some(wanted) = WANTED.get() else { return };
    // SAFETY: by the caller.
    let registers = unsafe { &mut (*context).uc_mcontext.gregs };
    let order = [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX, libc::REG_R10, libc::REG_R8, libc::REG_R9];
    let mut args = order.map(|register| registers[register as usize] as u64);
    let number = registers[libc::REG_RAX as usize];
    let result = if number == libc::SYS_rt_sigprocmask {
        // SAFETY: by the caller; the kernel's signal set is the first 8 bytes.
        unsafe { sigprocmask(args, &mut *(&raw mut (*context).uc_sigmask).cast::<u64>()) }
    } else {
        if number == libc::SYS_clone {
            // The library's own flags only say where the child's ID is written.
            args[0] = args[0] & !0xff | wanted.flags;
            if wanted.flags & libc::CLONE_PIDFD as u64 != 0 {
                args[2] = wanted.pidfd;
            }
            // From here on calls are not dispatched, in the child as well.
            SELECTOR.with(allow);
        }
        // SAFETY: the call that the library made.
        unsafe { trine_fork_call(number, &args) }
    };
    registers[libc::REG_RAX as usize] = result;
}

fn allow(selector: &Selector) {
    // SAFETY: only this thread and the kernel on its behalf look at it.
    unsafe { selector.0.get().write_volatile(ALLOW) };
}

/// Enables dispatching of this thread's calls according to its selector, or disables it.
fn set_dispatch(mode: u64, selector: *mut u8) -> Result<u64, Errno> {
    let begin = &raw const trine_fork_begin as u64;
    let size = &raw const trine_fork_end as u64 - begin;
    let args = if mode == ON {
        [SET_DISPATCH, ON, begin, size, selector as u64, 0]
    } else {
        [SET_DISPATCH, OFF, 0, 0, 0, 0]
    };
    // SAFETY: the selector lives as long as this thread.
    unsafe { host::call(libc::SYS_prctl, args) }
}

/// Calls the C library's `fork` with these flags. All signals must be blocked, and the caller must hold the
/// locks that the child needs.
///
/// # Errors
/// The host's error. Where it cannot dispatch calls (before Linux 5.11), an unmodified `clone` is made.
pub fn fork(wanted: Flags) -> Result<u64, Errno> {
    let selector = SELECTOR.with(|selector| selector.0.get());
    if set_dispatch(ON, selector).is_err() {
        let args = [wanted.flags, 0, wanted.pidfd, 0, 0, 0];
        // SAFETY: the child goes on in this thread alone; the locks that it may need are held by this thread.
        return unsafe { host::call(libc::SYS_clone, args) };
    }
    WANTED.set(Some(wanted));
    let before = signal::forking();
    // SAFETY: as in `allow`.
    unsafe { selector.write_volatile(BLOCK) };
    // SAFETY: as above.
    let child = unsafe { libc::fork() };
    let error = Errno::last();
    // SAFETY: as in `allow`.
    let made = unsafe { selector.read_volatile() } == ALLOW;
    SELECTOR.with(allow);
    WANTED.set(None);
    signal::forked(before);
    if child != 0 {
        let _ = set_dispatch(OFF, selector);
    }
    match child {
        ..0 => Err(error),
        // No `clone` was seen: this child is not the requested one.
        // SAFETY: ends the child, or waits for it.
        0 if !made => unsafe { libc::_exit(127) },
        _ if !made => {
            // SAFETY: waits for a child that ends at once.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::__WALL) };
            Err(Errno(libc::ENOSYS))
        }
        child => Ok(child as u64),
    }
}
