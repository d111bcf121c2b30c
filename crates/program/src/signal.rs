//! Signals. The host's handler only notes what came and makes the thread leave what it does; the frame for the
//! program's handler is built between two instructions, so its context is exact.
//!
//! The host thread's mask is the guest thread's, but for `SIGSEGV` and `SIGBUS`, which the engine needs (see [`crate::pending`]). While one
//! signal waits to be delivered, all others are blocked.

use crate::core;
use crate::debug::{Step, made};
use crate::fork;
use crate::pending::Look;
use crate::thread::{Thread, gettid};
use std::cell::{Cell, UnsafeCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use trine_base::{Mailbox, Vcpu};
use trine_engine::direct;
use trine_gdb::Stop;
use trine_linux::Errno;
use trine_linux::abi::{AUTODISARM, AltStack, GuestAbi, Handler, Info, Interrupted};
use trine_linux::call::{get, put};
use trine_linux::errno::RESTART;
use trine_linux::strace;

/// Signals are numbered from 1 to this.
pub const SIGNALS: usize = 64;

/// `SIG_DFL`.
pub const DEFAULT: u64 = 0;
/// `SIG_IGN`.
pub const IGNORE: u64 = 1;

/// What a signal does: `struct sigaction` of riscv64, which has no restorer.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
pub struct Action {
    /// Address of the handler, [`DEFAULT`] or [`IGNORE`].
    pub handler: u64,
    /// `SA_*`.
    pub flags: u64,
    /// Signals blocked while it runs.
    pub mask: u64,
}

/// The flags that Linux keeps (`UAPI_SA_FLAGS`): those of POSIX, and `SA_EXPOSE_TAGBITS`.
const SA_KNOWN: u64 = (libc::SA_NOCLDSTOP
    | libc::SA_NOCLDWAIT
    | libc::SA_SIGINFO
    | libc::SA_ONSTACK
    | libc::SA_RESTART
    | libc::SA_NODEFER
    | libc::SA_RESETHAND) as u32 as u64
    | 0x800;

/// What every signal does.
#[derive(Clone)]
pub struct Actions {
    all: [Action; SIGNALS + 1],
    /// Signals that end or stop the program by default are caught, too: gdb is asked first.
    caught: bool,
}

/// What a signal does by default (signal(7)).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Default {
    Nothing,
    Stops,
    Ends,
    /// It ends the program with a core dump, which is ours to write: it is always caught.
    Dumps,
}

fn by_default(signal: i32) -> Default {
    match signal {
        libc::SIGCHLD | libc::SIGCONT | libc::SIGURG | libc::SIGWINCH => Default::Nothing,
        libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => Default::Stops,
        _ if core::leaves_one(signal) => Default::Dumps,
        _ => Default::Ends,
    }
}

/// The host kernel's `struct sigaction`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct HostAction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

/// Sends a signal to a thread of this process; false where it is none.
pub(crate) fn send(tid: i32, signal: i32) -> bool {
    let args = [std::process::id() as u64, tid as u64, signal as u64, 0, 0, 0];
    // SAFETY: sends a signal to a thread of the program.
    unsafe { trine_linux::host::call(libc::SYS_tgkill, args) }.is_ok()
}

/// A set with one signal.
pub fn bit(signal: i32) -> u64 {
    1u64.checked_shl((signal as u32).wrapping_sub(1)).unwrap_or(0)
}

/// Signals that the engine needs on the host, whatever the program does with them.
pub(crate) fn ours() -> u64 {
    bit(libc::SIGSEGV) | bit(libc::SIGBUS)
}

/// Signals that the host's CPU raises when an instruction of the monitor fails.
fn faults() -> u64 {
    ours() | bit(libc::SIGILL) | bit(libc::SIGFPE) | bit(libc::SIGTRAP)
}

const SA_RESTORER: u64 = 0x0400_0000;

std::arch::global_asm!("trine_restore_signal: mov eax, 15", "syscall");
unsafe extern "C" {
    fn trine_restore_signal();
}

/// What came for a thread and is not delivered yet.
pub struct Inbox {
    /// The signal, or 0; system calls are not entered while it is not.
    pub signal: AtomicU32,
    /// Its `siginfo_t`.
    info: UnsafeCell<Info>,
    /// `SIGSEGV` and `SIGBUS` that came while it was not 0: the host cannot keep them back.
    late: [Late; 2],
    mailbox: Arc<Mailbox>,
}

/// A signal that came behind another one.
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
    /// For the vCPU with this mailbox.
    pub fn new(mailbox: Arc<Mailbox>) -> Box<Inbox> {
        let late = <[Late; 2]>::default();
        Box::new(Inbox { signal: AtomicU32::new(0), info: UnsafeCell::new([0; 16]), late, mailbox })
    }

    /// Nothing came.
    pub fn clear(&self) {
        self.signal.store(0, Ordering::SeqCst);
        self.late.iter().for_each(|late| late.came.store(false, Ordering::SeqCst));
    }

    /// What came behind another signal.
    fn take_late(&self) -> impl Iterator<Item = (i32, Info)> {
        LATE.into_iter().zip(&self.late).filter(|(_, late)| late.came.load(Ordering::SeqCst)).map(
            |(signal, late)| {
                // SAFETY: the handler writes it only while `came` is not set, and in this thread.
                let info = unsafe { *late.info.get() };
                late.came.store(false, Ordering::SeqCst);
                (signal, info)
            },
        )
    }

    /// This is the inbox of the current host thread from now on. It lives as long as the thread takes signals.
    pub fn attach(&self) {
        INBOX.set(self);
    }
}

/// No signal finds an inbox in this thread any more.
pub fn detach() {
    INBOX.set(std::ptr::null());
}

/// The handler of every signal.
extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
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
        // A fault of the monitor itself: it comes again, and ends the process.
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

/// The handler of `SIGSYS` in a process of which a thread forks.
extern "C" fn on_dispatch(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let context: *mut libc::ucontext_t = context.cast();
    // SAFETY: the kernel gave a valid structure.
    if unsafe { (*info).si_code } == fork::USER_DISPATCH {
        // SAFETY: as the kernel gave it.
        return unsafe { fork::dispatched(context) };
    }
    on_signal(signal, info, context.cast());
    if fork::is_forking() {
        // It is delivered later; the thread's calls still come as this signal.
        // SAFETY: as in `on_signal`.
        unsafe { *(&raw mut (*context).uc_sigmask).cast::<u64>() &= !bit(libc::SIGSYS) };
    }
}

/// Before this thread's system calls come as `SIGSYS`; gives what the signal did on the host. All others are blocked.
pub fn forking() -> HostAction {
    let handler = on_dispatch as *const () as usize;
    let flags = SA_RESTORER | libc::SA_SIGINFO as u64;
    let new = HostAction { handler, flags, restorer: fork::restorer(), mask: u64::MAX };
    let before = exchange_action(libc::SIGSYS, &new);
    set_mask(!bit(libc::SIGSYS));
    before
}

/// After [`forking`], in parent and child.
pub fn forked(before: HostAction) {
    set_mask(u64::MAX);
    exchange_action(libc::SIGSYS, &before);
}

/// Sets what a signal does on the host; gives what it did.
fn exchange_action(signal: i32, new: &HostAction) -> HostAction {
    let mut old = HostAction::default();
    let args = [signal as u64, std::ptr::from_ref(new) as u64, &raw mut old as u64, 8, 0, 0];
    // SAFETY: structures of ours; the handler is one of ours or what there was.
    let _ = unsafe { trine_linux::host::call(libc::SYS_rt_sigaction, args) };
    old
}

/// Sets what a signal does on the host; gives what it did.
fn set_host_action(signal: i32, handler: usize, flags: u64) -> Result<usize, Errno> {
    let flags = flags | SA_RESTORER | libc::SA_SIGINFO as u64;
    let restorer = trine_restore_signal as *const () as usize;
    let new = HostAction { handler, flags, restorer, mask: !ours() };
    let mut old = HostAction::default();
    let args = [signal as u64, &raw const new as u64, &raw mut old as u64, 8, 0, 0];
    // SAFETY: structures of ours; the handler is `on_signal`, which is safe at any time, or none.
    unsafe { trine_linux::host::call(libc::SYS_rt_sigaction, args) }?;
    Ok(old.handler)
}

/// Takes the signals that the engine needs; gives what all do for the program that begins.
pub fn install() -> Actions {
    let actions = Actions::inherited();
    engine_signals(None);
    actions
}

/// Sets what `SIGSEGV` and `SIGBUS` do on the host: our handler; for an executable that takes this one's place, nothing
/// where the program ignores them.
pub fn engine_signals(last: Option<&Actions>) {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        let ignored = last.is_some_and(|actions| actions.get(signal).handler == IGNORE);
        let handler = if ignored { libc::SIG_IGN } else { on_signal as *const () as usize };
        let _ = set_host_action(signal, handler, 0);
    }
}

/// What a signal does on the host.
fn host_handler(signal: i32) -> Option<usize> {
    let mut old = HostAction::default();
    let args = [signal as u64, 0, &raw mut old as u64, 8, 0, 0];
    // SAFETY: writes a structure of ours.
    let known = unsafe { trine_linux::host::call(libc::SYS_rt_sigaction, args) };
    known.ok().map(|_| old.handler)
}

/// Sets the host thread's mask for a guest's.
pub fn set_mask(guest: u64) {
    let set = guest & !ours();
    let args = [libc::SIG_SETMASK as u64, &raw const set as u64, 0, 8, 0, 0];
    // SAFETY: reads a word of ours.
    let _ = unsafe { trine_linux::host::call(libc::SYS_rt_sigprocmask, args) };
}

/// Blocks all signals on this host thread, also those that the engine needs: it runs nothing of the program.
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

impl Actions {
    /// What the process was started with: some signals may be ignored.
    pub fn inherited() -> Actions {
        let mut actions = [Action::default(); SIGNALS + 1];
        for (signal, action) in actions.iter_mut().enumerate().skip(1) {
            if host_handler(signal as i32) == Some(libc::SIG_IGN) {
                action.handler = IGNORE;
            }
        }
        Actions { all: actions, caught: false }
    }

    /// No signal has a handler any more (`CLONE_CLEAR_SIGHAND`).
    pub fn clear(&mut self) {
        for signal in 1..=SIGNALS as i32 {
            if self.get(signal).handler > IGNORE {
                let _ = self.set(signal, Action::default());
            }
        }
    }

    /// What a signal does.
    pub fn get(&self, signal: i32) -> Action {
        self.all.get(signal as usize).copied().unwrap_or_default()
    }

    /// Changes what a signal does, here and on the host.
    pub fn set(&mut self, signal: i32, action: Action) -> Result<(), Errno> {
        self.set_host(signal, action)?;
        self.all[signal as usize] = Action {
            flags: action.flags & SA_KNOWN,
            mask: action.mask & !(bit(libc::SIGKILL) | bit(libc::SIGSTOP)),
            ..action
        };
        Ok(())
    }

    fn set_host(&self, signal: i32, action: Action) -> Result<(), Errno> {
        let handler = match action.handler {
            _ if ours() & bit(signal) != 0 => on_signal as *const () as usize,
            DEFAULT if by_default(signal) == Default::Dumps => on_signal as *const () as usize,
            DEFAULT if self.caught && by_default(signal) != Default::Nothing => {
                on_signal as *const () as usize
            }
            DEFAULT => libc::SIG_DFL,
            IGNORE => libc::SIG_IGN,
            _ => on_signal as *const () as usize,
        };
        // With SA_RESTART the host's kernel goes back to the call's instruction where Linux makes the call again:
        // there `host::interrupt` finds it.
        let kept = (libc::SA_NOCLDSTOP | libc::SA_NOCLDWAIT | libc::SA_RESTART) as u64;
        set_host_action(signal, handler, action.flags & kept).map(drop)
    }

    /// Takes the signals that leave a core dump by default.
    pub fn catch_dumps(&self) {
        for signal in (1..=SIGNALS as i32).filter(|&s| by_default(s) == Default::Dumps) {
            let action = self.get(signal);
            if action.handler == DEFAULT {
                let _ = self.set_host(signal, action);
            }
        }
    }

    /// Whether signals that end or stop the program by default are caught, too.
    pub fn catch(&mut self, caught: bool) {
        if std::mem::replace(&mut self.caught, caught) == caught {
            return;
        }
        for signal in (1..=SIGNALS as i32).filter(|s| !matches!(*s, libc::SIGKILL | libc::SIGSTOP)) {
            let action = self.get(signal);
            if action.handler == DEFAULT {
                let _ = self.set_host(signal, action);
            }
        }
    }
}

impl<A: GuestAbi> Thread<A> {
    /// The signal that is to be delivered next.
    fn next_signal(&mut self) -> Option<(i32, Info)> {
        let lets_in = std::mem::take(&mut self.lets_in);
        let signal = self.inbox.signal.load(Ordering::SeqCst) as i32;
        if signal != 0 {
            // SAFETY: the handler writes it only while `signal` is 0, and in this thread.
            let info = unsafe { *self.inbox.info.get() };
            self.inbox.signal.store(0, Ordering::SeqCst);
            for (signal, info) in self.inbox.take_late() {
                self.process.pending.add(self.tid, signal, info);
            }
            // The host keeps all others back itself. (One that is blocked may come while a call waits with another mask.)
            if self.mask & !lets_in & ours() & bit(signal) == 0 {
                return Some((signal, self.process.pending.sent_on(self.tid, signal).unwrap_or(info)));
            }
            if !self.woken(signal) {
                self.process.pending.add(self.tid, signal, info);
            }
            set_mask(self.mask);
        }
        self.process.pending.take(self.tid, self.mask)
    }

    /// Keeps all signals back; false where one came before and is to be delivered first.
    fn no_signal_waits(&self) -> bool {
        set_mask(u64::MAX);
        self.inbox.signal.load(Ordering::SeqCst) == 0
    }

    /// Delivers the signal that waits, if one does.
    pub fn deliver(&mut self) {
        let next = self.next_signal();
        self.watch(Look::default());
        let Some((signal, info)) = next else { return };
        if self.process.options.strace {
            trine_linux::host::say(&format!("[{}] --- {}", self.tid, strace::signal(signal)));
        }
        if let Some((signal, info)) = self.ask(signal, info) {
            self.act(signal, info);
        }
        set_mask(self.mask);
    }

    /// Does what a signal does.
    pub(crate) fn act(&mut self, signal: i32, info: [u64; 16]) {
        let action = self.process.action(signal);
        match action.handler {
            // The host's handler for these is always ours.
            DEFAULT if by_default(signal) == Default::Dumps => self.die_of(signal, &info),
            DEFAULT => self.act_by_default(signal),
            IGNORE => {}
            _ => {
                self.enter_handler(signal, info, action);
                // gdb wants to stop where the handler begins.
                if self.step == Step::Wanted {
                    self.step = Step::Done;
                }
            }
        }
    }

    /// Lets the host do what a signal does by default.
    fn act_by_default(&mut self, signal: i32) {
        let mut actions = self.process.actions();
        let caught = actions.caught;
        match by_default(signal) {
            Default::Nothing if caught => return,
            Default::Ends if caught => {
                drop(actions);
                self.die(signal);
            }
            _ => {}
        }
        // Here, where a signal stops the program: until it is continued.
        let action = actions.get(signal);
        actions.caught = false;
        let _ = actions.set_host(signal, action);
        let args = [std::process::id() as u64, self.tid as u64, signal as u64, 0, 0, 0];
        // SAFETY: sends a signal to this thread.
        let _ = unsafe { trine_linux::host::call(libc::SYS_tgkill, args) };
        set_mask(self.mask & !bit(signal));
        actions.caught = caught;
        let _ = actions.set_host(signal, action);
    }

    /// Raises a signal that an instruction caused. Where it cannot be handled, the program dies of it.
    pub fn force(&mut self, signal: i32, code: i32, address: u64) {
        let mut info = [0u64; 16];
        info[0] = signal as u64;
        info[1] = code as u32 as u64;
        info[2] = address;
        if self.process.options.strace {
            trine_linux::host::say(&format!(
                "[{}] --- {}, code {code}, address {address:#x}, pc {:#x}",
                self.tid,
                strace::signal(signal),
                self.vcpu.pc()
            ));
        }
        match self.ask(signal, info) {
            Some((same, info)) if same == signal => self.forced(signal, info),
            Some((other, info)) => self.act(other, info),
            None => {}
        }
    }

    fn forced(&mut self, signal: i32, info: [u64; 16]) {
        let action = self.process.action(signal);
        if action.handler <= IGNORE || self.mask & bit(signal) != 0 {
            self.die_of(signal, &info);
        }
        self.enter_handler(signal, info, action);
        set_mask(self.mask);
    }

    /// Ends the program by a signal.
    pub fn die(&self, signal: i32) -> ! {
        self.die_of(signal, &made(signal))
    }

    /// Ends the program by a signal with this `siginfo_t`.
    fn die_of(&self, signal: i32, info: &Info) -> ! {
        self.ends(Stop::Killed(signal));
        if core::leaves_one(signal) {
            core::dump(self, signal, info);
            core::none_by_host();
        }
        let _ = set_host_action(signal, libc::SIG_DFL, 0);
        self.at_rest.store(true, Ordering::SeqCst);
        // SAFETY: a signal whose action is the default, to this process, and not blocked in this thread.
        unsafe {
            let set = !bit(signal);
            let args = [libc::SIG_SETMASK as u64, &raw const set as u64, 0, 8, 0, 0];
            let _ = trine_linux::host::call(libc::SYS_rt_sigprocmask, args);
            libc::syscall(libc::SYS_tgkill, libc::getpid(), gettid(), signal);
            libc::_exit(128 + signal)
        }
    }

    /// Builds the frame of a handler and sends control there.
    fn enter_handler(&mut self, signal: i32, info: Info, action: Action) {
        let sp = self.vcpu.get(A::STACK);
        let on_alternate = action.flags & libc::SA_ONSTACK as u64 != 0
            && self.alternate.flags & libc::SS_DISABLE == 0
            && !self.alternate.holds(sp);
        // A frame that would run over the alternate stack's end is not written.
        let over = self.alternate.holds(sp)
            && !on_alternate
            && !self.alternate.holds(sp.wrapping_sub(A::RED_ZONE + A::FRAME));
        let top = match on_alternate {
            true => self.alternate.sp.wrapping_add(self.alternate.size),
            false => sp.wrapping_sub(A::RED_ZONE),
        };
        let frame = A::frame_at(top);
        let was = Interrupted { info, mask: self.mask, stack: self.alternate };
        if over || A::write_frame(&self.vcpu, frame, &was).is_err() {
            self.die(libc::SIGSEGV);
        }
        if self.alternate.flags & AUTODISARM != 0 {
            self.alternate = AltStack::NONE;
        }
        let returns_to = self.process.trampoline;
        A::enter_handler(&mut self.vcpu, frame, &Handler { signal, address: action.handler, returns_to });
        self.mask |= action.mask;
        if action.flags & libc::SA_NODEFER as u64 == 0 {
            self.mask |= bit(signal);
        }
        if action.flags & libc::SA_RESETHAND as u32 as u64 != 0 {
            let _ = self.process.actions().set(signal, Action { handler: DEFAULT, ..action });
        }
    }

    /// `rt_sigreturn()`: back to where the handler came from. A signal that already came is delivered first, and the call
    /// made again.
    pub fn sigreturn(&mut self) {
        if !self.no_signal_waits() {
            return;
        }
        let Ok(was) = A::leave_handler(&mut self.vcpu) else { return self.force(libc::SIGSEGV, 1, 0) };
        self.mask = was.mask & !(bit(libc::SIGKILL) | bit(libc::SIGSTOP));
        // As `sigaltstack` would, without a word about what cannot be.
        let stack = was.stack;
        if !self.alternate.holds(self.vcpu.get(A::STACK))
            && stack.flags & !(AUTODISARM | libc::SS_DISABLE) == 0
        {
            self.alternate = stack;
        }
        set_mask(self.mask);
    }

    /// The alternate stack as the program sees it now.
    fn alternate_now(&self) -> AltStack {
        let mut stack = self.alternate;
        if stack.holds(self.vcpu.get(A::STACK)) {
            stack.flags |= libc::SS_ONSTACK;
        }
        stack
    }

    /// `sigaltstack(new, old)`.
    pub fn sigaltstack(&mut self, [new, old, ..]: [u64; 6]) -> Result<u64, Errno> {
        let now = self.alternate_now();
        if new != 0 {
            let stack: AltStack = get(new)?;
            if now.flags & libc::SS_ONSTACK != 0 {
                return Err(Errno(libc::EPERM));
            }
            if !matches!(stack.flags & !AUTODISARM, 0 | libc::SS_DISABLE | libc::SS_ONSTACK) {
                return Err(Errno(libc::EINVAL));
            }
            let disabled = stack.flags & libc::SS_DISABLE != 0;
            if !disabled && stack.size < A::LEAST_STACK {
                return Err(Errno(libc::ENOMEM));
            }
            self.alternate = if disabled {
                AltStack::NONE
            } else {
                AltStack { flags: stack.flags & AUTODISARM, pad: 0, ..stack }
            };
        }
        if old != 0 {
            put(old, &now)?;
        }
        Ok(0)
    }

    /// `rt_sigaction(signal, new, old, size)`.
    pub fn sigaction(&mut self, [signal, new, old, size, ..]: [u64; 6]) -> Result<u64, Errno> {
        let signal = signal as i32;
        if size != 8 || !(1..=SIGNALS as i32).contains(&signal) {
            return Err(Errno(libc::EINVAL));
        }
        if new != 0 && matches!(signal, libc::SIGKILL | libc::SIGSTOP) {
            return Err(Errno(libc::EINVAL));
        }
        let mut actions = self.process.actions();
        let before = actions.get(signal);
        if new != 0 {
            actions.set(signal, get(new)?)?;
        }
        drop(actions);
        if old != 0 {
            put(old, &before)?;
        }
        Ok(0)
    }

    /// `rt_sigprocmask(how, new, old, size)`.
    pub fn sigprocmask(&mut self, [how, new, old, size, ..]: [u64; 6]) -> Result<u64, Errno> {
        if size != 8 {
            return Err(Errno(libc::EINVAL));
        }
        let before = self.mask;
        let mut mask = before;
        if new != 0 {
            let set: u64 = get(new)?;
            mask = match how as i32 {
                libc::SIG_BLOCK => before | set,
                libc::SIG_UNBLOCK => before & !set,
                libc::SIG_SETMASK => set,
                _ => return Err(Errno(libc::EINVAL)),
            } & !(bit(libc::SIGKILL) | bit(libc::SIGSTOP));
        }
        if old != 0 {
            put(old, &before)?;
        }
        if mask != before {
            if !self.no_signal_waits() {
                return Err(RESTART);
            }
            self.mask = mask;
            set_mask(mask);
        }
        Ok(0)
    }

    /// `rt_sigsuspend(mask, size)`: the handler runs with the old mask to come back to.
    pub fn sigsuspend(&mut self, [set, size, ..]: [u64; 6]) -> Result<u64, Errno> {
        if size != 8 {
            return Err(Errno(libc::EINVAL));
        }
        let set: u64 = get::<u64>(set)? & !ours();
        let args = [&raw const set as u64, 8, 0, 0, 0, 0];
        // SAFETY: reads a word of ours.
        let call =
            || unsafe { trine_linux::host::interruptible(libc::SYS_rt_sigsuspend, args, &self.inbox.signal) };
        self.lending(0, &mut { call })
    }
}
