//! A child that shares its parent's memory and runs beside it (`CLONE_VM` without `CLONE_VFORK` and `CLONE_THREAD`).
//!
//! The host's C library knows threads and processes, nothing between: such a child needs thread-local variables of its
//! own. So a host thread is started for it, its keeper, which makes the child as for `vfork` and waits in the kernel: the
//! child has the keeper's variables to itself. The keeper stays while the child lives (which may ask for a signal when
//! the thread that made it ends), and clears up behind it.
//!
//! What is locked when a process is killed stays locked for those that share its memory, as on Linux.

use crate::clone::{CHILD_SETTID, PIDFD, Request, SIGHAND};
use crate::signal;
use crate::thread::Thread;
use crate::vfork::Stack;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;
use trine_linux::Errno;
use trine_linux::abi::GuestAbi;
use trine_linux::call::{get, put};
use trine_linux::host;

/// Bytes of a keeper's stack; its child has another one.
const STACK: usize = 256 << 10;

/// Longest wait of a child for its parent to note it. Who has not done so then was killed.
const PATIENCE: Duration = Duration::from_secs(1);

/// What keeper and child know.
struct Start<A: GuestAbi> {
    thread: Thread<A>,
    request: Request,
    /// The child's number, as its parent has it.
    tid: i32,
    /// Tells the parent that the child is there, or why there is none.
    tell: Sender<Result<i32, Errno>>,
    /// Closed when the parent has noted it.
    noted: Receiver<()>,
}

extern "C" fn child<A: GuestAbi>(start: *mut libc::c_void) -> i32 {
    // SAFETY: `keep` passes a `Start` that lives while the child runs on its memory, and does not touch it meanwhile.
    let start = unsafe { &mut *start.cast::<Start<A>>() };
    let thread = &mut start.thread;
    let _ = start.tell.send(Ok(start.tid));
    let _ = start.noted.recv_timeout(PATIENCE);
    thread.attach();
    if start.request.flags & SIGHAND == 0 {
        thread.process.actions().catch(false);
    }
    if start.request.flags & CHILD_SETTID != 0 {
        let _ = put(start.request.child_tid, &thread.tid);
    }
    thread.begin_child(&start.request);
    signal::set_mask(thread.mask);
    thread.run();
    // `run` of a process's first thread does not come back.
    // SAFETY: ends the child.
    unsafe { libc::_exit(127) }
}

/// Waits for the end of a child, and leaves it to the program to ask how it ended. One that is not this process's
/// (`CLONE_PARENT`) is not waited for.
fn wait(tid: i32) {
    let args =
        [libc::P_PID as u64, tid as u64, 0, (libc::WEXITED | libc::WNOWAIT | libc::__WALL) as u64, 0, 0];
    // SAFETY: writes nothing.
    let _ = unsafe { host::call(libc::SYS_waitid, args) };
}

/// What the keeper does.
fn keep<A: GuestAbi>(mut start: Start<A>) {
    signal::block_all();
    let Ok(mut stack) = Stack::new() else {
        let _ = start.tell.send(Err(Errno(libc::ENOMEM)));
        return;
    };
    let (flags, cleared) = (start.request.borrowers() & !(PIDFD as i32), start.request.cleared());
    let flags = flags | libc::CLONE_PARENT_SETTID;
    let (argument, tid) = ((&raw mut start).cast(), &raw mut start.tid);
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the child runs `child` on a stack of its own, with thread-local variables that nobody else uses while this
    // thread waits for it; `start` lives as long. What the kernel writes to `cleared` is the program's.
    let made = unsafe { libc::clone(child::<A>, stack.top(), flags, argument, tid, none, cleared) };
    if made < 0 {
        let _ = start.tell.send(Err(Errno::last()));
        return;
    }
    wait(made);
    signal::detach();
    let process = start.thread.process.clone();
    process.guest.space.remove_owners(process.key());
    // Where it was killed while it ran guest code, nothing would ever be freed for its sake.
    start.thread.vcpu.abandon();
    if !start.thread.at_rest.load(Ordering::SeqCst) {
        // The child was killed in the middle of anything: what it had is left alone, this thread's variables as well.
        let _ = start.tell.send(Ok(made));
        std::mem::forget((start, stack, process));
        // SAFETY: ends this thread, which nobody waits for.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }
}

impl<A: GuestAbi> Thread<A> {
    /// A child that shares memory and runs beside this process.
    pub(crate) fn share(&mut self, r: Request) -> Result<u64, Errno> {
        if r.flags & PIDFD != 0 {
            // Where the descriptor cannot be written there is to be no child.
            put(r.pidfd, &get::<i32>(r.pidfd)?)?;
        }
        let mut thread = Thread::new(self.childs_process(&r));
        self.child_registers(&mut thread);
        thread.mask = self.mask;
        let (tell, told) = mpsc::channel();
        let (note, noted) = mpsc::channel();
        let start = Start { thread, request: r, tid: 0, tell, noted };
        signal::set_mask(u64::MAX);
        let keeper = std::thread::Builder::new().name("keeper".into()).stack_size(STACK);
        let kept = keeper.spawn(move || keep(start)).map_err(|_| Errno(libc::EAGAIN));
        let made = kept.and_then(|_| told.recv().unwrap_or(Err(Errno(libc::EAGAIN))));
        let made = made.and_then(|tid| self.note(tid, &r));
        let made = self.forked(made, &r);
        drop::<Sender<()>>(note);
        made
    }

    /// Notes a child before it runs.
    fn note(&self, tid: i32, r: &Request) -> Result<u64, Errno> {
        if r.flags & PIDFD != 0 {
            // SAFETY: makes a descriptor.
            let fd = unsafe { host::call(libc::SYS_pidfd_open, [tid as u64, 0, 0, 0, 0, 0]) }?;
            put(r.pidfd, &(fd as i32))?;
        }
        Ok(tid as u64)
    }
}
