//! Threads and children: `clone`, `clone3`, and the end of a thread.

use crate::debug::Step;
use crate::fork;
use crate::signal;
use crate::thread::{Thread, gettid};
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use trine_base::{Vcpu, Width};
use trine_engine::direct;
use trine_engine::translations::CodeCopy;
use trine_gdb::Stop;
use trine_linux::Errno;
use trine_linux::abi::{CloneArgs, GuestAbi, Registers};
use trine_linux::call::{get, put};
use trine_linux::space::END;

/// Size in bytes of a host thread's stack, which only our own code uses; the guest's stack is separate.
const HOST_STACK: usize = 1 << 20;

/// The request of a `clone` or `clone3`.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Request {
    pub(crate) flags: u64,
    pub(crate) exit_signal: u64,
    stack: u64,
    pub(crate) parent_tid: u64,
    pub(crate) child_tid: u64,
    tls: u64,
    pub(crate) pidfd: u64,
}

const VM: u64 = libc::CLONE_VM as u64;
const VFORK: u64 = libc::CLONE_VFORK as u64;
const THREAD: u64 = libc::CLONE_THREAD as u64;
const SETTLS: u64 = libc::CLONE_SETTLS as u64;
pub(crate) const SIGHAND: u64 = libc::CLONE_SIGHAND as u64;
pub(crate) const PARENT_SETTID: u64 = libc::CLONE_PARENT_SETTID as u64;
pub(crate) const CHILD_SETTID: u64 = libc::CLONE_CHILD_SETTID as u64;
const CHILD_CLEARTID: u64 = libc::CLONE_CHILD_CLEARTID as u64;
pub(crate) const PIDFD: u64 = libc::CLONE_PIDFD as u64;
/// A flag of `clone3` only.
const CLEAR_SIGHAND: u64 = 1 << 32;
/// The flags of a thread, which shares everything with its program; a host thread does, too.
const SHARED: u64 =
    VM | THREAD | (libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_SYSVSEM) as u64;
/// Flags that are passed on to the host's call.
const PASSED: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_PARENT
    | libc::CLONE_IO
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SYSVSEM) as u32 as u64
    | PIDFD;
/// Flags without an effect.
const NOTHING: u64 = (libc::CLONE_DETACHED | libc::CLONE_UNTRACED | libc::CLONE_PTRACE) as u64;

impl Request {
    /// The host's flags for a child that borrows this process's memory: the host thread that creates it also
    /// lends its thread-local variables, and waits until the child is gone.
    pub(crate) fn borrowers(&self) -> i32 {
        let wanted = PASSED | SIGHAND | if self.cleared().is_null() { 0 } else { CHILD_CLEARTID };
        (VM | VFORK | self.flags & wanted | self.exit_signal) as i32
    }

    /// The address at which the kernel writes a 0 when that child is gone; null for none.
    pub(crate) fn cleared(&self) -> *mut i32 {
        let wanted = self.flags & CHILD_CLEARTID != 0 && self.child_tid < END;
        if wanted { self.child_tid as *mut i32 } else { std::ptr::null_mut() }
    }
}

impl<A: GuestAbi> Thread<A> {
    /// `clone`; `fork` and `vfork`, which some CPUs have as calls of their own.
    pub fn clone(&mut self, args: CloneArgs) -> Result<u64, Errno> {
        let CloneArgs { flags, stack, parent_tid, child_tid, tls } = args;
        let exit_signal = flags & 0xff;
        let flags = flags & !0xff;
        self.fork_or_thread(Request {
            flags,
            exit_signal,
            stack,
            parent_tid,
            child_tid,
            tls,
            pidfd: parent_tid,
        })
    }

    /// `clone3(arguments, size)`.
    pub fn clone3(&mut self, [at, size, ..]: [u64; 6]) -> Result<u64, Errno> {
        // Sizes of the first version of the structure, and of the version that we know.
        const FIRST: u64 = 64;
        const KNOWN: u64 = 88;
        if size < FIRST {
            return Err(Errno(libc::EINVAL));
        }
        if size > 4096 {
            return Err(Errno(libc::E2BIG));
        }
        // flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls; then set_tid, its size
        // and cgroup, which are not supported.
        let a: [u64; 8] = get(at)?;
        let rest = |from: u64, to: u64| (from..to).try_fold(0, |all, i| Ok(all | get::<u8>(at + i)?));
        if rest(KNOWN, size.max(KNOWN))? != 0 {
            return Err(Errno(libc::E2BIG));
        }
        let [flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls] = a;
        let wrong = flags & (0x7f | libc::CLONE_DETACHED as u64) != 0
            || exit_signal > signal::SIGNALS as u64
            || (flags & (THREAD | libc::CLONE_PARENT as u64) != 0 && exit_signal != 0)
            || (flags & libc::CLONE_SIGHAND as u64 != 0 && flags & CLEAR_SIGHAND != 0)
            || (stack == 0) != (stack_size == 0)
            || rest(FIRST, size.min(KNOWN))? != 0;
        if wrong {
            return Err(Errno(libc::EINVAL));
        }
        let stack = stack.wrapping_add(stack_size);
        self.fork_or_thread(Request { flags, exit_signal, stack, parent_tid, child_tid, tls, pidfd })
    }

    fn fork_or_thread(&mut self, r: Request) -> Result<u64, Errno> {
        let mut known = PARENT_SETTID | CHILD_SETTID | CHILD_CLEARTID | SETTLS | NOTHING;
        if r.flags & VM != 0 {
            known |= SIGHAND;
        }
        match r.flags & THREAD != 0 {
            true if r.flags & SHARED != SHARED || r.flags & !(SHARED | known) != 0 => {
                Err(Errno(libc::EINVAL))
            }
            true => self.new_thread(r),
            false if r.flags & !(VM | VFORK | CLEAR_SIGHAND | PASSED | known) != 0 => {
                Err(Errno(libc::EINVAL))
            }
            // The kernel must not write above the program's addresses.
            false if r.flags & PIDFD != 0 && r.pidfd >= END => Err(Errno(libc::EFAULT)),
            false if r.flags & VM != 0 && r.flags & VFORK == 0 => self.share(r),
            false if r.flags & VM != 0 => self.vfork(r),
            false => self.fork(r),
        }
    }

    /// Copies the registers to a new thread or child.
    pub(crate) fn child_registers(&self, to: &mut Thread<A>) {
        Registers::of::<A>(&self.vcpu).put(&mut to.vcpu);
    }

    /// In a new thread or child: performs the request, after the call that created it.
    pub(crate) fn begin_child(&mut self, r: &Request) {
        self.take_over(r);
        A::end_call(&mut self.vcpu, 0);
    }

    /// In a new thread or child: performs the request.
    fn take_over(&mut self, r: &Request) {
        if r.stack != 0 {
            self.vcpu.set(A::STACK, r.stack);
        }
        if r.flags & SETTLS != 0 {
            A::set_thread_pointer(&mut self.vcpu, r.tls);
        }
        if r.flags & CLEAR_SIGHAND != 0 {
            self.process.actions().clear();
        }
        self.clear_tid = if r.flags & CHILD_CLEARTID != 0 { r.child_tid } else { 0 };
    }

    /// `set_tid_address(address)`.
    pub(crate) fn set_tid_address(&mut self, at: u64) -> Result<u64, Errno> {
        self.clear_tid = at;
        // Waiters live on when all threads of this process die, and then only the kernel can wake them.
        if self.process.borrows && self.tid == std::process::id() as i32 {
            let at = if at < END { at } else { 0 };
            // SAFETY: an address of the program.
            let _ = unsafe { trine_linux::host::call(libc::SYS_set_tid_address, [at, 0, 0, 0, 0, 0]) };
        }
        Ok(self.tid as u64)
    }

    fn new_thread(&mut self, r: Request) -> Result<u64, Errno> {
        let mut child = Thread::new(self.process.clone());
        self.child_registers(&mut child);
        child.begin_child(&r);
        child.mask = self.mask;
        let (tell, told) = mpsc::channel();
        self.process.threads.fetch_add(1, Ordering::SeqCst);
        // The new thread receives signals only when it is ready.
        signal::set_mask(u64::MAX);
        let builder = std::thread::Builder::new().stack_size(HOST_STACK);
        let spawned = builder.spawn(move || {
            child.attach();
            if r.flags & CHILD_SETTID != 0 {
                let _ = put(r.child_tid, &child.tid);
            }
            if r.flags & PARENT_SETTID != 0 {
                let _ = put(r.parent_tid, &child.tid);
            }
            let _ = tell.send(child.tid);
            signal::set_mask(child.mask);
            child.run();
        });
        let tid = spawned.ok().and_then(|_| told.recv().ok());
        if self.inbox.signal.load(Ordering::SeqCst) == 0 {
            signal::set_mask(self.mask);
        }
        tid.map(|t| t as u64).ok_or_else(|| {
            self.process.threads.fetch_sub(1, Ordering::SeqCst);
            Errno(libc::EAGAIN)
        })
    }

    /// Creates a child process: a host process with a copy of this one's memory.
    fn fork(&mut self, r: Request) -> Result<u64, Errno> {
        let process = self.process.clone();
        let translations = process.translations.clone();
        signal::set_mask(u64::MAX);
        // A thread that changes the address space reports that to the translations while it holds the lock of
        // the space.
        let host_fork = || translations.written().quiet(|| host_fork(&r));
        let fork = || {
            process.guest.space.quiet(|| {
                let _actions = process.actions();
                process.pending.quiet(|| match &process.debug {
                    Some(debug) => debug.quiet(host_fork),
                    None => host_fork(),
                })
            })
        };
        let (child, code) = translations.fork(|| {
            process.rendezvous.quiet(|| match &process.perf {
                Some(map) => map.quiet(fork),
                None => fork(),
            })
        });
        if child == Ok(0) {
            self.become_child(&r, &code);
            return Ok(0);
        }
        self.forked(child, &r)
    }

    /// The parent's part after a child was created.
    pub(crate) fn forked(&mut self, child: Result<u64, Errno>, r: &Request) -> Result<u64, Errno> {
        if let (Ok(tid), true) = (child, r.flags & PARENT_SETTID != 0) {
            let _ = put(r.parent_tid, &(tid as i32));
        }
        if self.inbox.signal.load(Ordering::SeqCst) == 0 {
            signal::set_mask(self.mask);
        }
        child
    }

    fn become_child(&mut self, r: &Request, code: &CodeCopy) {
        self.tid = gettid();
        if let Some(debug) = &self.process.debug {
            debug.abandon();
            self.process.actions().catch(false);
            self.process.guest.space.clear_stops();
            self.step = Step::No;
        }
        self.process.rendezvous.dismiss();
        if let Some(Err(why)) = self.process.perf.as_ref().map(|map| map.after_fork()) {
            trine_linux::host::say(&format!("trine: no names for perf in process {}: {why}", self.tid));
        }
        self.process.guest.space.only(self.process.key(), self.tid, self.vcpu.code_owner());
        self.process.threads.store(1, Ordering::SeqCst);
        self.inbox.clear();
        self.process.pending.clear();
        self.watched = None;
        if self.vcpu.after_fork(code).is_err() {
            self.die(libc::SIGKILL);
        }
        if r.flags & CHILD_SETTID != 0 {
            let _ = put(r.child_tid, &self.tid);
        }
        // The caller continues after the call by itself.
        self.take_over(r);
        signal::set_mask(self.mask);
    }

    /// `exit(code)`: ends this thread, and the process with its last thread.
    pub fn exit(&mut self, code: i32) {
        self.show_stats();
        if self.process.threads.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.ends(Stop::Exited(code as u8));
            self.at_rest.store(true, Ordering::SeqCst);
            // SAFETY: ends the process; nothing of ours must be done before.
            unsafe { libc::_exit(code) };
        }
        self.leaves();
        signal::set_mask(u64::MAX);
        signal::detach();
        self.process.guest.space.remove_owner(self.process.key(), self.tid);
        self.process.pending.gone(self.tid);
        if self.clear_tid != 0 && direct::store(self.clear_tid, Width::B4, 0).is_some() {
            let args = [self.clear_tid, libc::FUTEX_WAKE as u64, i32::MAX as u64, 0, 0, 0];
            // SAFETY: wakes who waits at an address of the program.
            let _ = unsafe { trine_linux::host::call(libc::SYS_futex, args) };
        }
        if self.tid == std::process::id() as i32 {
            // The process goes on without its first thread.
            self.at_rest.store(true, Ordering::SeqCst);
            // SAFETY: ends this thread only; nothing on its stack is anyone else's.
            unsafe { libc::syscall(libc::SYS_exit, code) };
        }
    }
}

/// Calls the host's `fork`, with additional flags if requested.
fn host_fork(r: &Request) -> Result<u64, Errno> {
    let passed = r.flags & PASSED;
    if passed == 0 && r.exit_signal == libc::SIGCHLD as u64 {
        // SAFETY: the child goes on in this thread alone; the locks that it may need are held by this thread.
        let child = unsafe { libc::fork() };
        return if child < 0 { Err(Errno::last()) } else { Ok(child as u64) };
    }
    fork::fork(fork::Flags { flags: passed | r.exit_signal, pidfd: r.pidfd })
}
