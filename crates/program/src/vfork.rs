//! `vfork`: a child in its parent's memory, while the parent waits.
//!
//! The host does the same: the child is a process of the host that shares our memory, and the kernel lets
//! this thread continue only when the child has ended or executed another program. So the child may use this
//! thread's vCPU, its thread-local variables and its translations; it has a copy of what the kernel keeps for
//! each process (the actions of signals).

use crate::clone::{Request, SIGHAND};
use crate::core::ThreadRendezvous;
use crate::pending::Pending;
use crate::process::Process;
use crate::signal;
use crate::thread::{Thread, gettid};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use trine_linux::abi::{AltStack, GuestAbi, Registers};
use trine_linux::{Errno, Guest};

/// Size in bytes of the child's host stack.
const STACK: usize = 1 << 20;

/// The parent's state that is restored when the child is gone.
struct Saved<A: GuestAbi> {
    process: Arc<Process<A>>,
    registers: Registers,
    tid: i32,
    clear_tid: u64,
    mask: u64,
    alternate: AltStack,
}

/// The arguments of the child's host thread.
struct Start<'a, A: GuestAbi> {
    thread: &'a mut Thread<A>,
    request: Request,
}

extern "C" fn child<A: GuestAbi>(start: *mut libc::c_void) -> i32 {
    // SAFETY: `vfork` passes a `Start` that lives while the child runs on its memory.
    let start = unsafe { &mut *start.cast::<Start<A>>() };
    let thread = &mut *start.thread;
    thread.tid = gettid();
    if start.request.flags & SIGHAND == 0 {
        thread.process.actions().catch(false);
    }
    thread.begin_child(&start.request);
    signal::set_mask(thread.mask);
    thread.run();
    // `run` of a process's only thread does not come back.
    // SAFETY: ends the child.
    unsafe { libc::_exit(127) }
}

impl<A: GuestAbi> Thread<A> {
    fn save(&self) -> Saved<A> {
        Saved {
            process: self.process.clone(),
            registers: Registers::of::<A>(&self.vcpu),
            tid: self.tid,
            clear_tid: self.clear_tid,
            mask: self.mask,
            alternate: self.alternate,
        }
    }

    fn restore(&mut self, saved: Saved<A>) {
        saved.registers.put(&mut self.vcpu);
        self.process = saved.process;
        self.tid = saved.tid;
        self.clear_tid = saved.clear_tid;
        self.mask = saved.mask;
        self.alternate = saved.alternate;
        self.at_rest.store(false, Ordering::SeqCst);
        // Signals that the child did not deliver were its own.
        self.inbox.clear();
        self.watched = None;
    }

    /// The process object of the child.
    pub(crate) fn childs_process(&self, request: &Request) -> Arc<Process<A>> {
        let parent = &*self.process;
        let shared = request.flags & SIGHAND != 0;
        let actions =
            if shared { parent.actions.clone() } else { Arc::new(Mutex::new(parent.actions().clone())) };
        let Guest { machine, space, names } = &parent.guest;
        let guest = Guest { machine, space: space.clone(), names: names.clone() };
        Arc::new(Process {
            guest,
            actions,
            pending: Pending::default(),
            threads: AtomicUsize::new(1),
            translations: parent.translations.clone(),
            borrows: true,
            trampoline: parent.trampoline,
            clock: parent.clock.clone(),
            rendezvous: ThreadRendezvous::default(),
            perf: parent.perf.clone(),
            debug: None,
            options: parent.options.clone(),
        })
    }

    /// Creates a child that borrows this process's memory.
    pub(crate) fn vfork(&mut self, request: Request) -> Result<u64, Errno> {
        let saved = self.save();
        let Ok(mut stack) = Stack::new() else { return Err(Errno(libc::ENOMEM)) };
        signal::set_mask(u64::MAX);
        let pending = self.inbox.signal.load(Ordering::SeqCst);
        if pending != 0 {
            // It is delivered to the parent, before the call.
            return Err(trine_linux::errno::RESTART);
        }
        self.process.rendezvous.leave(self);
        self.process = self.childs_process(&request);
        self.watched = None;
        let (flags, pidfd, cleared) = (request.borrowers(), request.pidfd as *mut i32, request.cleared());
        let mut start = Start { thread: self, request };
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: the child runs `child` on a stack of its own, and this thread waits until it is gone; `start` lives
        // as long. What the kernel writes to `pidfd` and `cleared` is the program's.
        let tid = unsafe {
            libc::clone(child::<A>, stack.top(), flags, (&raw mut start).cast(), pidfd, none, cleared)
        };
        let tid = if tid < 0 { Err(Errno::last()) } else { Ok(tid as u64) };
        self.restore(saved);
        self.process.rendezvous.take_back(self);
        self.forked(tid, &request)
    }
}

/// A stack on the host, with an inaccessible page below it.
pub(crate) struct Stack(*mut libc::c_void);

impl Stack {
    pub(crate) fn new() -> Result<Stack, Errno> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), STACK, protection, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        // SAFETY: the lowest page of the mapping made just now.
        unsafe { libc::mprotect(at, 4096, libc::PROT_NONE) };
        Ok(Stack(at))
    }

    pub(crate) fn top(&mut self) -> *mut libc::c_void {
        self.0.wrapping_byte_add(STACK)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`; nobody runs on it any more.
        unsafe { libc::munmap(self.0, STACK) };
    }
}
