//! `SIGSEGV` and `SIGBUS` that were sent while the program blocks them. The host never blocks these two, since the engine
//! needs them; so they pend here. For a call that looks at what pends they are given to the host's kernel, and what the
//! call leaves is taken back.

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

/// A signal that pends.
#[derive(Clone, Copy)]
struct Sent {
    signal: i32,
    info: Info,
    /// The thread that it was sent to; `None` where it was sent to the process.
    thread: Option<i32>,
}

/// What a thread would do with a signal that is sent now.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Watch {
    /// Those that it does not block, or waits for.
    takes: u64,
    /// It waits for descriptors, of which one may tell of signals.
    polls: bool,
}

#[derive(Default)]
struct Inner {
    sent: Vec<Sent>,
    threads: BTreeMap<i32, Watch>,
}

/// What pends in a process.
#[derive(Default)]
pub struct Pending {
    inner: Mutex<Inner>,
    /// Number of signals that pend.
    count: AtomicUsize,
    /// There is a `signalfd` that tells of these signals.
    described: AtomicBool,
}

impl Inner {
    /// Adds a signal, which is lost where the same one pends already.
    fn add(&mut self, new: Sent) {
        if !self.sent.iter().any(|s| (s.signal, s.thread) == (new.signal, new.thread)) {
            self.sent.push(new);
        }
    }

    /// The thread other than `but` for which this holds.
    fn other(&self, but: i32, f: impl Fn(&Watch) -> bool) -> Option<i32> {
        self.threads.iter().find(|(tid, w)| **tid != but && f(w)).map(|(tid, _)| *tid)
    }
}

/// Sends a signal to this thread, whose number is `tid`, with this `siginfo_t`.
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

/// Takes a signal of `set` that pends on the host.
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

    /// Calls `f` while no other thread looks; for `fork`.
    pub fn quiet<T>(&self, f: impl FnOnce() -> T) -> T {
        let _inner = self.lock();
        f()
    }

    /// In a process just forked: nothing pends, and only the thread that forked is here.
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

    /// A signal that came to thread `tid`, which blocks it. The host sends what is sent to the process to any thread:
    /// where another one takes it, that one gets it.
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
            // What it is told comes from here: the kernel lets nobody else tell it.
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

    /// What is to be said of a signal that came to thread `tid`, where another thread sent it on.
    pub fn sent_on(&self, tid: i32, signal: i32) -> Option<Info> {
        if self.is_empty() {
            return None;
        }
        self.change(|inner| {
            let at = inner.sent.iter().position(|s| (s.signal, s.thread) == (signal, Some(tid)))?;
            Some(inner.sent.remove(at).info)
        })
    }

    /// What thread `tid` with this mask is to get now.
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

    /// Takes all that thread `tid` can see.
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

/// What a call has to do with signals that pend.
#[derive(Clone, Copy, Default)]
pub struct Look {
    /// It looks at them.
    pub looks: bool,
    /// Those that it waits for.
    waits: u64,
    /// Those that it lets in, whatever the thread blocks.
    pub lets_in: u64,
    polls: bool,
    /// Where it tells which one came; 0 where it does not.
    tells: u64,
}

impl Look {
    /// Of a call by its row.
    pub fn of(call: Option<&Call>, args: &[u64; 6], pending: &Pending) -> Look {
        let set = |at: u64| if at == 0 { None } else { get::<u64>(at).ok() };
        let polls = pending.described.load(Ordering::Relaxed);
        // With a mask for the time of the call.
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
    /// Says which signals this thread takes, where that has changed.
    pub(crate) fn watch(&mut self, look: Look) {
        let now = Watch { takes: !self.mask & ours() | look.waits, polls: look.polls };
        if self.watched != Some(now) {
            self.process.pending.watch(self.tid, now);
            self.watched = Some(now);
        }
    }

    /// Makes a call of the host while what pends here pends there, and signals of `blocked` are blocked there. The call
    /// does not touch the program's memory but in the kernel.
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

    /// At a program's start: what its executor blocked, and what pends.
    pub(crate) fn inherit(&self) {
        while let Some((signal, info)) = dequeue(self.mask & ours()) {
            self.process.pending.add(self.tid, signal, info);
        }
        change_mask(libc::SIG_UNBLOCK, ours());
    }

    /// After a call that waited for signals: tells what another thread sent on.
    pub(crate) fn tell_of(&self, look: Look, result: Result<u64, Errno>) {
        let Ok(signal) = result else { return };
        if look.waits & bit(signal as i32) != 0
            && let Some(info) = self.process.pending.sent_on(self.tid, signal as i32)
            && look.tells != 0
        {
            let _ = put(look.tells, &info);
        }
    }

    /// Whether a signal came that the thread blocks: on Linux no call would end by it.
    pub(crate) fn came_blocked(&self) -> bool {
        let signal = self.inbox.signal.load(Ordering::SeqCst) as i32;
        signal != 0 && self.mask & !self.lets_in & ours() & bit(signal) != 0
    }
}
