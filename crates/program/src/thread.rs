//! One thread of a program: a vCPU on a host thread, and the loop that runs it.

use crate::debug::Step;
use crate::pending::{Look, Watch};
use crate::process::Process;
use crate::signal::{self, Action, Actions, Inbox};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use trine_base::{Exit, Mailbox, Vcpu};
use trine_engine::{Direct, Engine, direct};
use trine_gdb::Stop;
use trine_linux::abi::{AltStack, GuestAbi, Raised};
use trine_linux::call::{Around, Context, Done};
use trine_linux::errno::{Errno, RESTART};
use trine_linux::strace;
use trine_linux::table::ThreadCall;

/// One thread of a program for the CPU `A`.
pub struct Thread<A: GuestAbi> {
    /// Its program.
    pub process: Arc<Process<A>>,
    /// Its CPU.
    pub vcpu: Engine<A, Direct>,
    /// Its number, which is the host thread's.
    pub tid: i32,
    /// Where a 0 is to be written when it ends; 0 for nowhere.
    pub clear_tid: u64,
    /// Signals that it blocks.
    pub mask: u64,
    /// Its alternate signal stack.
    pub alternate: AltStack,
    /// Signals that came.
    pub inbox: Box<Inbox>,
    /// What gdb wants of it.
    pub step: Step,
    /// What the process knows of the signals that it takes.
    pub watched: Option<Watch>,
    /// Signals that the call which it makes lets in, though it blocks them.
    pub lets_in: u64,
    /// Its process is about to end or to become another one: nothing of this is in the midst of a change.
    pub at_rest: AtomicBool,
}

/// Number of the current host thread.
pub fn gettid() -> i32 {
    // SAFETY: only returns a number.
    unsafe { libc::gettid() }
}

/// Bytes of `struct robust_list_head`.
const ROBUST_LIST: u64 = 24;

/// `SI_KERNEL`: the host does not say which address was refused.
const SI_KERNEL: i32 = 128;

impl<A: GuestAbi> Process<A> {
    /// A number that no other process in this memory has.
    pub fn key(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// What signals do.
    pub fn actions(&self) -> MutexGuard<'_, Actions> {
        self.actions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What one signal does.
    pub fn action(&self, signal: i32) -> Action {
        self.actions().get(signal)
    }
}

impl<A: GuestAbi> Thread<A> {
    /// A thread of `process`, for the host thread that will call [`Thread::run`].
    pub fn new(process: Arc<Process<A>>) -> Thread<A> {
        let mailbox = Arc::new(Mailbox::new());
        let (space, clock) = (process.guest.space.clone(), process.clock.clone());
        let vcpu = Engine::program(A::config(), space, clock, mailbox.clone(), process.translations.clone());
        let inbox = Inbox::new(mailbox);
        let (tid, mask, alternate) = (0, signal::mask(), AltStack::NONE);
        let (watched, lets_in, at_rest) = (None, 0, AtomicBool::new(false));
        Thread {
            process,
            vcpu,
            tid,
            clear_tid: 0,
            mask,
            alternate,
            inbox,
            step: Step::No,
            watched,
            lets_in,
            at_rest,
        }
    }

    /// The first thread, on the current host thread.
    pub fn first(process: Arc<Process<A>>) -> Thread<A> {
        let mut thread = Thread::new(process);
        thread.attach();
        thread.inherit();
        thread
    }

    /// The current host thread is this thread's.
    pub fn attach(&mut self) {
        self.tid = gettid();
        self.process.guest.space.add_owner(self.process.key(), self.tid, self.vcpu.code_owner());
        self.inbox.attach();
        // The list of the host's C library is not the program's.
        // SAFETY: no list.
        let _ = unsafe { trine_linux::host::call(libc::SYS_set_robust_list, [0, ROBUST_LIST, 0, 0, 0, 0]) };
    }

    /// Sets the registers of a program's start.
    pub fn start(&mut self, pc: u64, sp: u64) {
        self.vcpu.set_pc(pc);
        self.vcpu.set(A::STACK, sp);
    }

    /// Runs until the thread ends. Does not come back where the process ends with it, or where this is the process's
    /// first thread.
    pub fn run(&mut self) {
        loop {
            self.gate();
            self.muster();
            self.deliver();
            match self.go() {
                Exit::Firmware { cause, value } => match A::raised(cause, value, self.vcpu.pc()) {
                    Raised::Call => {
                        if self.call_begins() && self.system_call() {
                            return;
                        }
                    }
                    raised => self.exception(raised),
                },
                Exit::Paused | Exit::Budget => {}
                Exit::Idle { .. } | Exit::Stopped(_) | Exit::Dead(_) => self.die(libc::SIGILL),
            }
        }
    }

    /// An instruction raised an exception.
    fn exception(&mut self, raised: Raised) {
        // gdb sets breakpoints where nothing can be executed, too: its own calls return to the stack.
        if matches!(raised, Raised::Breakpoint | Raised::Fetch(_)) && self.at_breakpoint() {
            return;
        }
        let (signal, code, address) = match raised {
            // Dealt with by the caller.
            Raised::Call => return,
            Raised::Breakpoint => (libc::SIGTRAP, libc::TRAP_BRKPT, self.vcpu.pc()),
            Raised::Fetch(at) => (libc::SIGSEGV, self.process.guest.space.fault_code(at), at),
            Raised::Signal { signal, code, address } => (signal, code, address),
            Raised::Access(at) => match direct::refused() {
                r if r.code == SI_KERNEL || r.address == 0 => (libc::SIGSEGV, 1, at),
                r => (r.signal, r.code, r.address),
            },
        };
        self.force(signal, code, address);
    }

    /// The program calls the kernel. True where the thread has ended.
    fn system_call(&mut self) -> bool {
        let (number, args) = A::call(&self.vcpu);
        let call = self.process.guest.machine.calls.find(number);
        let shown = self.process.options.strace.then(|| strace::call(number, call, args));
        let look = Look::of(call, &args, &self.process.pending);
        if look.looks {
            self.watch(look);
            self.lets_in = look.lets_in;
        }
        let lending = |call: &mut dyn FnMut() -> Result<u64, Errno>| self.lending(0, call);
        let around: Option<&Around> = if look.looks { Some(&lending) } else { None };
        let context = Context { guest: &self.process.guest, stop: &self.inbox.signal, around };
        let result = match context.call(call, args) {
            Done::Result(result) => result,
            Done::Thread(ThreadCall::Exit) => {
                self.show(shown, None);
                self.exit(args[0] as i32);
                return true;
            }
            Done::Thread(ThreadCall::Sigreturn) => {
                self.show(shown, None);
                self.sigreturn();
                return false;
            }
            Done::Thread(call) => self.thread_call(call, args),
        };
        self.tell_of(look, result);
        // Who stays here counts as standing at the call.
        self.muster();
        self.show(shown, Some(result));
        let again = match result {
            Err(RESTART) => true,
            Err(Errno(libc::EINTR)) => self.came_for_gdb() || self.came_blocked(),
            _ => false,
        };
        if !again {
            A::end_call(&mut self.vcpu, Errno::value(result));
        }
        false
    }

    fn show(&self, call: Option<String>, result: Option<Result<u64, Errno>>) {
        if let Some(call) = call {
            let result = result.map_or("?".into(), strace::result);
            trine_linux::host::say(&format!("[{}] {call} = {result}", self.tid));
        }
    }

    /// What the engine did for this thread, where that is asked for.
    pub(crate) fn show_stats(&self) {
        if self.process.options.stats {
            let of = if self.tid == std::process::id() as i32 { "process" } else { "thread" };
            trine_linux::host::say(&format!(
                "{of} {}: {}",
                self.tid,
                self.vcpu.stats().describe(self.vcpu.count())
            ));
        }
    }

    /// Whether only a signal came that does what it does by default, of which gdb is to be asked: on Linux no call would
    /// end by it.
    fn came_for_gdb(&self) -> bool {
        let signal = self.inbox.signal.load(Ordering::SeqCst) as i32;
        signal != 0 && self.process.action(signal).handler == signal::DEFAULT
    }

    fn thread_call(&mut self, call: ThreadCall, args: [u64; 6]) -> Result<u64, Errno> {
        match call {
            ThreadCall::Clone => self.clone(args),
            ThreadCall::Clone3 => self.clone3(args),
            ThreadCall::Execve => self.execve(args),
            ThreadCall::Execveat => self.execveat(args),
            ThreadCall::Exit | ThreadCall::ExitGroup => {
                self.show_stats();
                self.ends(Stop::Exited(args[0] as u8));
                self.at_rest.store(true, Ordering::SeqCst);
                // SAFETY: ends the process; nothing of ours wants to be done before.
                unsafe { libc::_exit(args[0] as i32) }
            }
            ThreadCall::SetTidAddress => self.set_tid_address(args[0]),
            ThreadCall::Sigaction => self.sigaction(args),
            ThreadCall::Sigprocmask => self.sigprocmask(args),
            ThreadCall::Sigsuspend => self.sigsuspend(args),
            ThreadCall::Sigaltstack => self.sigaltstack(args),
            ThreadCall::Sigreturn => Ok(0),
        }
    }
}
