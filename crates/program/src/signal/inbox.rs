//! The signals that came for a thread: the host's handlers record them here.

use super::actions::{Actions, SA_RESTORER};
use super::host::{HostAction, exchange_action, faults, ours, set_host_action, set_mask};
use super::{IGNORE, bit};
use crate::fork;
use std::cell::{Cell, UnsafeCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use trine_base::Mailbox;
use trine_engine::direct;
use trine_linux::abi::Info;

/// A signal that came for a thread and is not delivered yet.
pub struct Inbox {
    /// The signal, or 0; while it is not 0, system calls are not entered.
    pub signal: AtomicU32,
    /// Its `siginfo_t`.
    pub(super) info: UnsafeCell<Info>,
    /// `SIGSEGV` and `SIGBUS` that came while `signal` was not 0: the host cannot keep them pending.
    late: [Late; 2],
    mailbox: Arc<Mailbox>,
}

/// A signal that came after another one.
#[derive(Default)]
struct Late {
    came: AtomicBool,
    info: UnsafeCell<Info>,
}

const LATE: [i32; 2] = [libc::SIGSEGV, libc::SIGBUS];

thread_local! {
    static INBOX: Cell<*const Inbox> = const { Cell::new(std::ptr::null()) };
}

impl Inbox {
    /// Creates the inbox of the vCPU with this mailbox.
    pub fn new(mailbox: Arc<Mailbox>) -> Box<Inbox> {
        let late = <[Late; 2]>::default();
        Box::new(Inbox { signal: AtomicU32::new(0), info: UnsafeCell::new([0; 16]), late, mailbox })
    }

    /// Discards the signal.
    pub fn clear(&self) {
        self.signal.store(0, Ordering::SeqCst);
        self.late.iter().for_each(|late| late.came.store(false, Ordering::SeqCst));
    }

    /// Takes the signals that came after another one.
    pub(super) fn take_late(&self) -> impl Iterator<Item = (i32, Info)> {
        LATE.into_iter().zip(&self.late).filter(|(_, late)| late.came.load(Ordering::SeqCst)).map(
            |(signal, late)| {
                // SAFETY: the handler writes it only while `came` is not set, and in this thread.
                let info = unsafe { *late.info.get() };
                late.came.store(false, Ordering::SeqCst);
                (signal, info)
            },
        )
    }

    /// Makes this the inbox of the current host thread. It must live as long as the thread receives signals.
    pub fn attach(&self) {
        INBOX.set(self);
    }
}

/// Detaches the inbox of this thread.
pub fn detach() {
    INBOX.set(std::ptr::null());
}

/// The handler of every signal.
pub(super) extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let context: *mut libc::ucontext_t = context.cast();
    // SAFETY: the kernel gave a valid structure.
    let code = unsafe { (*info).si_code };
    let is_fault = faults() & bit(signal) != 0 && code > 0;
    // SAFETY: as the kernel gave them to this handler.
    if is_fault && unsafe { direct::on_fault(signal, info, context) } {
        return;
    }
    let inbox = INBOX.get();
    if is_fault || inbox.is_null() {
        // A fault of the monitor itself: it occurs again, and ends the process.
        let _ = set_host_action(signal, libc::SIG_DFL, 0);
        return;
    }
    // SAFETY: `attach` set it to an inbox that lives while this thread takes signals.
    let inbox = unsafe { &*inbox };
    if inbox.signal.load(Ordering::Relaxed) == 0 {
        // SAFETY: written only here, read only by the same thread when `signal` is not 0; `siginfo_t` has 128 bytes.
        unsafe { inbox.info.get().copy_from(info.cast(), 1) };
        inbox.signal.store(signal as u32, Ordering::SeqCst);
    } else if let Some(late) = LATE.iter().position(|&s| s == signal).map(|at| &inbox.late[at])
        && !late.came.load(Ordering::Relaxed)
    {
        // SAFETY: as above, with `came`.
        unsafe { late.info.get().copy_from(info.cast(), 1) };
        late.came.store(true, Ordering::SeqCst);
    }
    // SAFETY: the context is this handler's own; the kernel's signal set is its first 8 bytes.
    unsafe { (&raw mut (*context).uc_sigmask).cast::<u64>().write(!ours()) };
    // SAFETY: as the kernel gave it.
    unsafe { trine_linux::host::interrupt(context) };
    inbox.mailbox.requests.fetch_or(Mailbox::PAUSE, Ordering::SeqCst);
    inbox.mailbox.limit.store(0, Ordering::SeqCst);
}

/// The handler of `SIGSYS` in a process in which a thread forks.
extern "C" fn on_dispatch(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let context: *mut libc::ucontext_t = context.cast();
    // SAFETY: the kernel gave a valid structure.
    if unsafe { (*info).si_code } == fork::USER_DISPATCH {
        // SAFETY: as the kernel gave it.
        return unsafe { fork::dispatched(context) };
    }
    on_signal(signal, info, context.cast());
    if fork::is_forking() {
        // It is delivered later; the thread's calls still arrive as this signal.
        // SAFETY: as in `on_signal`.
        unsafe { *(&raw mut (*context).uc_sigmask).cast::<u64>() &= !bit(libc::SIGSYS) };
    }
}

/// Prepares for this thread's system calls arriving as `SIGSYS`; returns the previous action. All other
/// signals are blocked.
pub fn forking() -> HostAction {
    let handler = on_dispatch as *const () as usize;
    let flags = SA_RESTORER | libc::SA_SIGINFO as u64;
    let new = HostAction { handler, flags, restorer: fork::restorer(), mask: u64::MAX };
    let before = exchange_action(libc::SIGSYS, &new);
    set_mask(!bit(libc::SIGSYS));
    before
}

/// After [`forking`], in parent and child: restores the action.
pub fn forked(before: HostAction) {
    set_mask(u64::MAX);
    exchange_action(libc::SIGSYS, &before);
}

/// Installs the handlers of signals that the engine needs; returns the actions of the program that starts.
pub fn install() -> Actions {
    let actions = Actions::inherited();
    engine_signals(None);
    actions
}

/// Sets the actions of `SIGSEGV` and `SIGBUS` on the host: our handler; before another executable is
/// executed, ignoring them if the program does.
pub fn engine_signals(last: Option<&Actions>) {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        let ignored = last.is_some_and(|actions| actions.get(signal).handler == IGNORE);
        let handler = if ignored { libc::SIG_IGN } else { on_signal as *const () as usize };
        let _ = set_host_action(signal, handler, 0);
    }
}
