//! A child that shares its parent's memory and runs concurrently (`CLONE_VM` without `CLONE_VFORK` and
//! `CLONE_THREAD`).
//!
//! The host's C library knows threads and processes, but nothing in between: such a child needs its own
//! thread-local variables. So a host thread, its keeper, is started for it; the keeper creates the child as
//! for `vfork` and waits in the kernel, so that the child has the keeper's variables for itself. The keeper
//! stays while the child lives (which may ask for a signal when its creating thread ends), and cleans up
//! after it.
//!
//! Locks held by a killed process stay locked for the others that share its memory, as on Linux.

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

/// Size in bytes of a keeper's stack; its child has another one.
const STACK: usize = 256 << 10;

/// The longest wait of a child until its parent has recorded it. A parent that takes longer was killed.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the keeper and the child share.
struct Start<A: GuestAbi> {
    thread: Thread<A>,
    request: Request,
    /// The child's ID, as its parent sees it.
    tid: i32,
    /// Tells the parent that the child exists, or why not.
    tell: Sender<Result<i32, Errno>>,
    /// Closed when the parent has recorded the child.
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

/// Waits for the end of a child, and leaves its status to the program. A child that is not this process's
/// (`CLONE_PARENT`) is not waited for.
fn wait(tid: i32) {
    let args =
        [libc::P_PID as u64, tid as u64, 0, (libc::WEXITED | libc::WNOWAIT | libc::__WALL) as u64, 0, 0];
    // SAFETY: writes nothing.
    let _ = unsafe { host::call(libc::SYS_waitid, args) };
}

/// The main function of the keeper.
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
    // If it was killed in guest code, it would never pass a safepoint, and nothing could be freed any more.
    start.thread.vcpu.abandon();
    if !start.thread.at_rest.load(Ordering::SeqCst) {
        // The child was killed at an arbitrary point: its data is not touched, including this thread's
        // variables.
        let _ = start.tell.send(Ok(made));
        std::mem::forget((start, stack, process));
        // SAFETY: ends this thread, which nobody waits for.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }
}

impl<A: GuestAbi> Thread<A> {
    /// Creates a child that shares memory and runs concurrently with this process.
    pub(crate) fn share(&mut self, r: Request) -> Result<u64, Errno> {
        if r.flags & PIDFD != 0 {
            // If its descriptor cannot be written, the child must not be created.
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

    /// Records a child before it runs.
    fn note(&self, tid: i32, r: &Request) -> Result<u64, Errno> {
        if r.flags & PIDFD != 0 {
            // SAFETY: makes a descriptor.
            let fd = unsafe { host::call(libc::SYS_pidfd_open, [tid as u64, 0, 0, 0, 0, 0]) }?;
            put(r.pidfd, &(fd as i32))?;
        }
        Ok(tid as u64)
    }
}
