//! One thread of a program: a vCPU on a host thread, and the loop that runs it.

use crate::debug::Step;
use crate::pending::{Look, Watch};
use crate::process::Process;
use crate::signal::{self, Action, Actions, Inbox};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use trine_base::{Exit, Mailbox, Trap, Vcpu};
use trine_engine::{Direct, Engine, direct};
use trine_gdb::Stop;
use trine_linux::abi::{AltStack, CloneArgs, GuestAbi, Raised};
use trine_linux::call::{Around, Context, Done};
use trine_linux::errno::{Errno, RESTART};
use trine_linux::strace;
use trine_linux::table::ThreadCall;

/// A thread of a program for the CPU `A`.
pub struct Thread<A: GuestAbi> {
    /// Its program.
    pub process: Arc<Process<A>>,
    /// Its CPU.
    pub vcpu: Engine<A, Direct>,
    /// Its thread ID, which is the host thread's.
    pub tid: i32,
    /// The address at which a 0 is written when it ends; 0 for none.
    pub clear_tid: u64,
    /// The signals that it blocks.
    pub mask: u64,
    /// Its alternate signal stack.
    pub alternate: AltStack,
    /// Its last exception that was not a system call, which signal frames may contain.
    pub trap: Trap,
    /// The signals that came for it.
    pub inbox: Box<Inbox>,
    /// The step that gdb wants of it.
    pub step: Step,
    /// What the process knows about the signals that it accepts.
    pub watched: Option<Watch>,
    /// Signals unblocked for the duration of the current system call.
    pub lets_in: u64,
    /// Set when its process is about to end or to execute another program: no data of this thread is in an
    /// inconsistent state.
    pub at_rest: AtomicBool,
}

/// The thread ID of the current host thread.
pub fn gettid() -> i32 {
    // SAFETY: only returns a number.
    unsafe { libc::gettid() }
}

/// Bytes of `struct robust_list_head`.
const ROBUST_LIST: u64 = 24;

/// `SI_KERNEL`: the host does not say which address was refused.
const SI_KERNEL: i32 = 128;

impl<A: GuestAbi> Process<A> {
    /// A number that identifies the process among those that share this memory.
    pub fn key(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// The actions of all signals.
    pub fn actions(&self) -> MutexGuard<'_, Actions> {
        self.actions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The action of a signal.
    pub fn action(&self, signal: i32) -> Action {
        self.actions().get(signal)
    }
}

impl<A: GuestAbi> Thread<A> {
    /// Creates a thread of `process`, for the host thread that will call [`Thread::run`].
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
            trap: Trap::default(),
            inbox,
            step: Step::No,
            watched,
            lets_in,
            at_rest,
        }
    }

    /// Creates the first thread, on the current host thread.
    pub fn first(process: Arc<Process<A>>) -> Thread<A> {
        let mut thread = Thread::new(process);
        thread.attach();
        thread.inherit();
        thread
    }

    /// Binds this thread to the current host thread.
    pub fn attach(&mut self) {
        self.tid = gettid();
        self.process.guest.space.add_owner(self.process.key(), self.tid, self.vcpu.code_owner());
        self.inbox.attach();
        // The robust list of the host's C library must not be used for the program.
        // SAFETY: no list.
        let _ = unsafe { trine_linux::host::call(libc::SYS_set_robust_list, [0, ROBUST_LIST, 0, 0, 0, 0]) };
    }

    /// Sets the registers for the start of a program.
    pub fn start(&mut self, pc: u64, sp: u64) {
        self.vcpu.set_pc(pc);
        self.vcpu.set(A::STACK, sp);
    }

    /// Runs until the thread ends. Does not return if the process ends with it, or if this is the first
    /// thread of its process.
    pub fn run(&mut self) {
        loop {
            self.gate();
            self.join_rendezvous();
            self.deliver();
            match self.go() {
                Exit::Firmware(trap) => match A::raised(&trap, self.vcpu.pc()) {
                    Raised::Call => {
                        if self.call_begins() && self.system_call() {
                            return;
                        }
                    }
                    raised => {
                        self.trap = trap;
                        self.exception(raised);
                    }
                },
                Exit::Paused | Exit::Budget => {}
                Exit::Idle { .. } | Exit::Stopped(_) | Exit::Debugger(_) | Exit::Dead(_) => {
                    self.die(libc::SIGILL)
                }
            }
        }
    }

    /// Handles an exception of an instruction.
    fn exception(&mut self, raised: Raised) {
        // gdb also sets breakpoints where code must not be executed: the functions it calls return to the
        // stack.
        if matches!(raised, Raised::Breakpoint | Raised::Fetch(_)) && self.at_breakpoint() {
            return;
        }
        let (signal, code, address) = match raised {
            // Handled by the caller.
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

    /// Handles a system call. Returns true if the thread has ended.
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
            Done::Thread(ThreadCall::Own) => match call {
                Some(call) => A::own_call(&mut self.vcpu, call, args),
                None => Err(Errno(libc::ENOSYS)),
            },
            Done::Thread(call) => self.thread_call(call, args),
        };
        self.tell_of(look, result);
        // A thread that stays here counts as standing at the call.
        self.join_rendezvous();
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

    /// Prints the statistics of the engine for this thread, if requested.
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

    /// Whether the only signal that came has its default action and gdb must be asked about it: on Linux it
    /// would not interrupt a call.
    fn came_for_gdb(&self) -> bool {
        let signal = self.inbox.signal.load(Ordering::SeqCst) as i32;
        signal != 0 && self.process.action(signal).handler == signal::DEFAULT
    }

    fn thread_call(&mut self, call: ThreadCall, args: [u64; 6]) -> Result<u64, Errno> {
        match call {
            ThreadCall::Clone => self.clone(A::clone_args(args)),
            ThreadCall::Fork => self.clone(CloneArgs::FORK),
            ThreadCall::Vfork => self.clone(CloneArgs::VFORK),
            ThreadCall::Clone3 => self.clone3(args),
            ThreadCall::Execve => self.execve(args),
            ThreadCall::Execveat => self.execveat(args),
            ThreadCall::Exit | ThreadCall::ExitGroup => {
                self.show_stats();
                self.ends(Stop::Exited(args[0] as u8));
                self.at_rest.store(true, Ordering::SeqCst);
                // SAFETY: ends the process; nothing of ours must be done before.
                unsafe { libc::_exit(args[0] as i32) }
            }
            ThreadCall::SetTidAddress => self.set_tid_address(args[0]),
            ThreadCall::Sigaction => self.sigaction(args),
            ThreadCall::Sigprocmask => self.sigprocmask(args),
            ThreadCall::Sigsuspend => self.sigsuspend(args),
            ThreadCall::Sigaltstack => self.sigaltstack(args),
            // Handled by the caller.
            ThreadCall::Sigreturn | ThreadCall::Own => Ok(0),
        }
    }
}
