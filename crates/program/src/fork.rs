//! `fork` with more than `fork` does: namespaces, shared files, other signals at the end.
//!
//! A child goes on in a copy of the monitor's memory, in which other threads may have left the C library's locks closed
//! (of `malloc` above all); only the library's own `fork` opens them. So that is what is called, and the `clone` that it
//! makes gets the other flags on its way: the kernel hands this thread's system calls to a handler meanwhile
//! (Documentation/admin-guide/syscall-user-dispatch.rst, Linux 5.11).

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
/// `si_code` of a call that was handed over.
pub const USER_DISPATCH: i32 = 2;

// Calls from here are made, whatever the selector says: the handler's own, and its end.
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

unsafe extern "sysv64" {
    static trine_fork_begin: u8;
    static trine_fork_end: u8;
    fn trine_fork_restore();
    fn trine_fork_call(number: i64, args: *const [u64; 6]) -> i64;
}

/// What `clone` gets instead.
#[derive(Clone, Copy)]
pub struct Flags {
    /// Flags, and the signal at the end.
    pub flags: u64,
    /// Where a descriptor of the child is written, with `CLONE_PIDFD`.
    pub pidfd: u64,
}

/// Where the kernel looks whether a call is handed over.
struct Selector(UnsafeCell<u8>);

thread_local! {
    static SELECTOR: Selector = const { Selector(UnsafeCell::new(ALLOW)) };
    static WANTED: Cell<Option<Flags>> = const { Cell::new(None) };
}

/// Address of the code that ends the handler.
pub fn restorer() -> usize {
    trine_fork_restore as *const () as usize
}

/// Whether this thread's calls are handed over, or were until its `clone`.
pub fn is_forking() -> bool {
    WANTED.get().is_some()
}

/// `rt_sigprocmask` of the C library, which is to find its mask at the handler's end.
///
/// # Safety
/// The arguments are the library's, and `mask` is what the kernel restores.
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

/// Makes a call of the C library that was handed over.
///
/// # Safety
/// `context` is what the kernel gave to the handler.
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
            // The library's own flags only say where the child's number is written.
            args[0] = args[0] & !0xff | wanted.flags;
            if wanted.flags & libc::CLONE_PIDFD as u64 != 0 {
                args[2] = wanted.pidfd;
            }
            // From here on, in the child as well, calls are not handed over.
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

/// Sets whether this thread's calls are handed over where its selector says so.
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

/// The C library's `fork` with these flags. All signals are blocked, and the caller holds what the child needs.
///
/// # Errors
/// The host's. Where it does not hand calls over (before Linux 5.11), its `clone` as it is.
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
        // No `clone` was seen: this child is not what was wanted.
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
