//! `SIGSEGV` and `SIGBUS` signals that were sent while the program blocks them. The host never blocks these
//! two, because the engine needs them; so they are kept pending here. For a call that examines pending
//! signals they are passed to the host's kernel, and those left after the call are taken back.

use crate::signal::{self, bit, ours};
use crate::thread::Thread;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use trine_linux::Errno;
use trine_linux::abi::{GuestAbi, Info};
use trine_linux::call::{get, put};
use trine_linux::host;
use trine_linux::table::Call;

/// A pending signal.
#[derive(Clone, Copy)]
struct Sent {
    signal: i32,
    info: Info,
    /// The thread to which it was sent; `None` if it was sent to the process.
    thread: Option<i32>,
}

/// What a thread would do with a signal that is sent now.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Watch {
    /// The signals that it does not block, or waits for.
    takes: u64,
    /// Whether it waits for descriptors, one of which may report signals.
    polls: bool,
}

#[derive(Default)]
struct Inner {
    sent: Vec<Sent>,
    threads: BTreeMap<i32, Watch>,
}

/// The pending signals of a process.
#[derive(Default)]
pub struct Pending {
    inner: Mutex<Inner>,
    /// Number of pending signals.
    count: AtomicUsize,
    /// Whether there is a `signalfd` for these signals.
    described: AtomicBool,
}

impl Inner {
    /// Adds a signal, unless the same one is pending already.
    fn add(&mut self, new: Sent) {
        if !self.sent.iter().any(|s| (s.signal, s.thread) == (new.signal, new.thread)) {
            self.sent.push(new);
        }
    }

    /// A thread other than `but` for which `f` holds.
    fn other(&self, but: i32, f: impl Fn(&Watch) -> bool) -> Option<i32> {
        self.threads.iter().find(|(tid, w)| **tid != but && f(w)).map(|(tid, _)| *tid)
    }
}

/// Sends a signal with this `siginfo_t` to this thread, whose ID is `tid`.
fn queue(tid: i32, signal: i32, info: &Info) {
    let at = std::ptr::from_ref(info) as u64;
    let args = [std::process::id() as u64, tid as u64, signal as u64, at, 0, 0];
    // SAFETY: reads a structure of ours.
    let _ = unsafe { host::call(libc::SYS_rt_tgsigqueueinfo, args) };
}

/// Blocks (`SIG_BLOCK`) or unblocks signals on this host thread.
fn change_mask(how: i32, set: u64) {
    let args = [how as u64, &raw const set as u64, 0, 8, 0, 0];
    // SAFETY: reads a word of ours.
    let _ = unsafe { host::call(libc::SYS_rt_sigprocmask, args) };
}

/// Takes a signal of `set` that is pending on the host.
fn dequeue(set: u64) -> Option<(i32, Info)> {
    let (mut info, now): (Info, [u64; 2]) = ([0; 16], [0; 2]);
    let args = [&raw const set as u64, &raw mut info as u64, &raw const now as u64, 8, 0, 0];
    // SAFETY: reads and writes structures of ours.
    let signal = unsafe { host::call(libc::SYS_rt_sigtimedwait, args) }.ok()?;
    Some((signal as i32, info))
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let result = f(&mut inner);
        self.count.store(inner.sent.len(), Ordering::SeqCst);
        result
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Calls `f` while no other thread accesses the list; for `fork`.
    pub fn quiet<T>(&self, f: impl FnOnce() -> T) -> T {
        let _inner = self.lock();
        f()
    }

    /// In a forked child: nothing is pending, and only the forking thread exists.
    pub fn clear(&self) {
        self.change(|inner| *inner = Inner::default());
    }

    /// A thread has ended.
    pub fn gone(&self, tid: i32) {
        self.change(|inner| {
            inner.threads.remove(&tid);
            inner.sent.retain(|s| s.thread != Some(tid));
        });
    }

    /// Adds a signal that came to thread `tid`, which blocks it. The host delivers signals of the process to
    /// any thread: if another thread accepts it, it is passed on to that one.
    pub fn add(&self, tid: i32, signal: i32, info: Info) {
        let to_thread = info[1] as i32 == libc::SI_TKILL;
        let mut new = Sent { signal, info, thread: to_thread.then_some(tid) };
        self.change(|inner| {
            if to_thread {
                return inner.add(new);
            }
            let taker = |inner: &Inner| {
                inner.other(tid, |w| w.takes & bit(signal) != 0).or_else(|| inner.other(tid, |w| w.polls))
            };
            // Its information is taken from here: the kernel does not allow a process to forge it.
            while let Some(taker) = taker(inner) {
                if signal::send(taker, signal) {
                    new.thread = Some(taker);
                    break;
                }
                inner.threads.remove(&taker);
            }
            inner.add(new);
        });
    }

    /// The information of a signal that came to thread `tid`, if another thread passed it on.
    pub fn sent_on(&self, tid: i32, signal: i32) -> Option<Info> {
        if self.is_empty() {
            return None;
        }
        self.change(|inner| {
            let at = inner.sent.iter().position(|s| (s.signal, s.thread) == (signal, Some(tid)))?;
            Some(inner.sent.remove(at).info)
        })
    }

    /// Takes a signal that thread `tid` with this mask is to get now.
    pub fn take(&self, tid: i32, mask: u64) -> Option<(i32, Info)> {
        if self.is_empty() {
            return None;
        }
        self.change(|inner| {
            let fits = |s: &Sent| s.thread.is_none_or(|t| t == tid) && mask & bit(s.signal) == 0;
            let at = inner.sent.iter().position(fits)?;
            let Sent { signal, info, .. } = inner.sent.remove(at);
            Some((signal, info))
        })
    }

    /// Takes all signals that thread `tid` can see.
    fn lend(&self, tid: i32) -> Vec<Sent> {
        if self.is_empty() {
            return Vec::new();
        }
        self.change(|inner| {
            let sees = |s: &mut Sent| s.thread.is_none_or(|t| t == tid);
            inner.sent.extract_if(.., sees).collect()
        })
    }

    fn watch(&self, tid: i32, watch: Watch) {
        self.lock().threads.insert(tid, watch);
    }
}

/// How a call treats pending signals.
#[derive(Clone, Copy, Default)]
pub struct Look {
    /// Whether it examines them.
    pub looks: bool,
    /// The signals that it waits for.
    waits: u64,
    /// The signals that it unblocks while it lasts, whatever the thread blocks.
    pub lets_in: u64,
    polls: bool,
    /// The address at which it reports which signal came; 0 if it does not.
    tells: u64,
}

impl Look {
    /// Determines that of a call by its row.
    pub fn of(call: Option<&Call>, args: &[u64; 6], pending: &Pending) -> Look {
        let set = |at: u64| if at == 0 { None } else { get::<u64>(at).ok() };
        let polls = pending.described.load(Ordering::Relaxed);
        // With a signal mask for the duration of the call.
        let masked = |mask: Option<u64>| {
            let lets_in = mask.map_or(0, |m| !m & ours());
            Look { looks: polls || lets_in != 0, lets_in, polls, ..Look::default() }
        };
        match call.map_or("", |call| call.name) {
            "rt_sigpending" => Look { looks: true, ..Look::default() },
            "rt_sigtimedwait" => {
                let waits = set(args[0]).unwrap_or(0) & ours();
                Look { looks: true, waits, tells: args[1], ..Look::default() }
            }
            "read" | "readv" if polls => masked(None),
            "epoll_pwait" | "epoll_pwait2" => masked(set(args[4])),
            "ppoll" => masked(set(args[3])),
            "pselect6" => masked(set(args[5]).and_then(set)),
            "rt_sigsuspend" => masked(set(args[0])),
            "signalfd4" => {
                if set(args[1]).unwrap_or(0) & ours() != 0 {
                    pending.described.store(true, Ordering::Relaxed);
                }
                Look::default()
            }
            _ => Look::default(),
        }
    }
}

impl<A: GuestAbi> Thread<A> {
    /// Records which signals this thread accepts, if that has changed.
    pub(crate) fn watch(&mut self, look: Look) {
        let now = Watch { takes: !self.mask & ours() | look.waits, polls: look.polls };
        if self.watched != Some(now) {
            self.process.pending.watch(self.tid, now);
            self.watched = Some(now);
        }
    }

    /// Makes a call of the host while the signals pending here are pending there, and signals of `blocked`
    /// are blocked there. Only the kernel may access the program's memory during the call.
    pub(crate) fn lending(
        &self,
        blocked: u64,
        call: &mut dyn FnMut() -> Result<u64, Errno>,
    ) -> Result<u64, Errno> {
        let pending = &self.process.pending;
        let lent = pending.lend(self.tid);
        let set = lent.iter().fold(blocked, |set, s| set | bit(s.signal));
        if set == 0 {
            return call();
        }
        change_mask(libc::SIG_BLOCK, set);
        for s in &lent {
            queue(self.tid, s.signal, &s.info);
        }
        let result = call();
        let left: Vec<_> = std::iter::from_fn(|| dequeue(set)).collect();
        pending.change(|inner| {
            for (signal, info) in left {
                let was = lent.iter().find(|s| (s.signal, s.info) == (signal, info));
                let to_thread = || (info[1] as i32 == libc::SI_TKILL).then_some(self.tid);
                let thread = was.map_or_else(to_thread, |s| s.thread);
                inner.add(Sent { signal, info, thread });
            }
        });
        change_mask(libc::SIG_UNBLOCK, set);
        result
    }

    /// At a program's start: takes over what was blocked and what was pending before `execve`.
    pub(crate) fn inherit(&self) {
        while let Some((signal, info)) = dequeue(self.mask & ours()) {
            self.process.pending.add(self.tid, signal, info);
        }
        change_mask(libc::SIG_UNBLOCK, ours());
    }

    /// After a call that waited for signals: reports a signal that another thread passed on.
    pub(crate) fn tell_of(&self, look: Look, result: Result<u64, Errno>) {
        let Ok(signal) = result else { return };
        if look.waits & bit(signal as i32) != 0
            && let Some(info) = self.process.pending.sent_on(self.tid, signal as i32)
            && look.tells != 0
        {
            let _ = put(look.tells, &info);
        }
    }

    /// Whether a signal came that the thread blocks: on Linux it would not interrupt a call.
    pub(crate) fn came_blocked(&self) -> bool {
        let signal = self.inbox.signal.load(Ordering::SeqCst) as i32;
        signal != 0 && self.mask & !self.lets_in & ours() & bit(signal) != 0
    }
}
