//! System calls of the host, made so that a signal for the program cannot be missed.

use crate::errno::Errno;
use std::sync::atomic::AtomicU32;

// A signal may come between the check of the flag and the entry into the kernel. Its handler finds the PC in
// this window and moves it to `trine_syscall_interrupted`: the call is not made then.
std::arch::global_asm!(
    "trine_syscall: mov rax, rdi",
    "mov rcx, rdx",
    "mov rdi, [rsi]",
    "mov rdx, [rsi + 16]",
    "mov r10, [rsi + 24]",
    "mov r8, [rsi + 32]",
    "mov r9, [rsi + 40]",
    "mov rsi, [rsi + 8]",
    "trine_syscall_begin: cmp dword ptr [rcx], 0",
    "jne trine_syscall_interrupted",
    "trine_syscall_enter: syscall",
    "trine_syscall_end: ret",
    "trine_syscall_interrupted: mov rax, -512",
    "ret",
);

// SAFETY: these are the labels and the routine above, whose arguments are in the registers of this convention.
unsafe extern "sysv64" {
    fn trine_syscall(number: i64, args: *const [u64; 6], stop: *const AtomicU32) -> i64;
    static trine_syscall_begin: u8;
    static trine_syscall_end: u8;
    static trine_syscall_interrupted: u8;
}

/// Makes a system call of the host. If `stop` is not 0, or becomes so before the kernel is entered, the
/// result is [`crate::errno::RESTART`].
///
/// # Safety
/// The call must not break what Rust code relies on: its arguments must refer to memory of the program, or to
/// memory of ours that the kernel may read or write in this call.
pub unsafe fn interruptible(number: i64, args: [u64; 6], stop: &AtomicU32) -> Result<u64, Errno> {
    // SAFETY: by the caller.
    Errno::check(unsafe { trine_syscall(number, &args, stop) })
}

/// Makes a system call of the host.
///
/// # Safety
/// As for [`interruptible`].
pub unsafe fn call(number: i64, args: [u64; 6]) -> Result<u64, Errno> {
    static NEVER: AtomicU32 = AtomicU32::new(0);
    // SAFETY: by the caller.
    unsafe { interruptible(number, args, &NEVER) }
}

/// For signal handlers: if the signal came just before a system call, prevents that call.
///
/// # Safety
/// `context` must be what the kernel passed to the handler.
pub unsafe fn interrupt(context: *mut libc::ucontext_t) {
    // SAFETY: by the caller.
    let rip = unsafe { &mut (*context).uc_mcontext.gregs[libc::REG_RIP as usize] };
    let window = &raw const trine_syscall_begin as i64..&raw const trine_syscall_end as i64;
    if window.contains(rip) {
        *rip = &raw const trine_syscall_interrupted as i64;
    }
}

/// Writes a line to standard error. The line is lost if the program has closed it, or nobody reads it.
///
/// Does not use Rust's `stderr`: a child that was forked while another thread held its lock would wait for
/// ever.
pub fn say(line: &str) {
    let line = format!("{line}\n");
    // SAFETY: reads a string of ours. One call a line: threads do not mix theirs.
    unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
}
