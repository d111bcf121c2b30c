//! The actions and masks of signals on the host.

use super::actions::SA_RESTORER;
use super::bit;
use trine_linux::Errno;

/// The host kernel's `struct sigaction`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct HostAction {
    pub(super) handler: usize,
    pub(super) flags: u64,
    pub(super) restorer: usize,
    pub(super) mask: u64,
}

/// Sends a signal to a thread of this process; returns false if there is no such thread.
pub(crate) fn send(tid: i32, signal: i32) -> bool {
    let args = [std::process::id() as u64, tid as u64, signal as u64, 0, 0, 0];
    // SAFETY: sends a signal to a thread of the program.
    unsafe { trine_linux::host::call(libc::SYS_tgkill, args) }.is_ok()
}

/// Signals that the engine needs on the host, whatever the program does with them.
pub(crate) fn ours() -> u64 {
    bit(libc::SIGSEGV) | bit(libc::SIGBUS)
}

/// Signals that the host's CPU raises for a failing instruction of the monitor.
pub(super) fn faults() -> u64 {
    ours() | bit(libc::SIGILL) | bit(libc::SIGFPE) | bit(libc::SIGTRAP)
}

std::arch::global_asm!("trine_restore_signal: mov eax, 15", "syscall");
// SAFETY: this is the routine above; only the kernel jumps to it.
unsafe extern "C" {
    fn trine_restore_signal();
}

/// Sets the action of a signal on the host; returns the previous one.
pub(super) fn exchange_action(signal: i32, new: &HostAction) -> HostAction {
    let mut old = HostAction::default();
    let args = [signal as u64, std::ptr::from_ref(new) as u64, &raw mut old as u64, 8, 0, 0];
    // SAFETY: structures of ours; the handler is one of ours or what there was.
    let _ = unsafe { trine_linux::host::call(libc::SYS_rt_sigaction, args) };
    old
}

/// Sets the handler of a signal on the host; returns the previous one.
pub(super) fn set_host_action(signal: i32, handler: usize, flags: u64) -> Result<usize, Errno> {
    let flags = flags | SA_RESTORER | libc::SA_SIGINFO as u64;
    let restorer = trine_restore_signal as *const () as usize;
    let new = HostAction { handler, flags, restorer, mask: !ours() };
    let mut old = HostAction::default();
    let args = [signal as u64, &raw const new as u64, &raw mut old as u64, 8, 0, 0];
    // SAFETY: structures of ours; the handler is `on_signal`, which is safe at any time, or none.
    unsafe { trine_linux::host::call(libc::SYS_rt_sigaction, args) }?;
    Ok(old.handler)
}

/// The handler of a signal on the host.
pub(super) fn host_handler(signal: i32) -> Option<usize> {
    let mut old = HostAction::default();
    let args = [signal as u64, 0, &raw mut old as u64, 8, 0, 0];
    // SAFETY: writes a structure of ours.
    let known = unsafe { trine_linux::host::call(libc::SYS_rt_sigaction, args) };
    known.ok().map(|_| old.handler)
}

/// Sets the host thread's mask to a guest's.
pub fn set_mask(guest: u64) {
    let set = guest & !ours();
    let args = [libc::SIG_SETMASK as u64, &raw const set as u64, 0, 8, 0, 0];
    // SAFETY: reads a word of ours.
    let _ = unsafe { trine_linux::host::call(libc::SYS_rt_sigprocmask, args) };
}

/// Blocks all signals on this host thread, even those that the engine needs: it runs no guest code.
pub fn block_all() {
    let set = u64::MAX;
    let args = [libc::SIG_SETMASK as u64, &raw const set as u64, 0, 8, 0, 0];
    // SAFETY: reads a word of ours.
    let _ = unsafe { trine_linux::host::call(libc::SYS_rt_sigprocmask, args) };
}

/// The host thread's mask.
pub fn mask() -> u64 {
    let mut set = 0u64;
    let args = [libc::SIG_SETMASK as u64, 0, &raw mut set as u64, 8, 0, 0];
    // SAFETY: writes a word of ours.
    let _ = unsafe { trine_linux::host::call(libc::SYS_rt_sigprocmask, args) };
    set
}
