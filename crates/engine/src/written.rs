//! Notes of changed code: from the thread that changes it to the translations, and from these to their vCPUs.

use crate::epochs::Seen;
use crate::sync::Ordering;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trine_base::Mailbox;
use trine_memory::CodeOwner;

/// Code that changed, waiting for the translations of it to be retired.
#[derive(Debug)]
pub enum Changed {
    /// Bytes from the first up to the second address (physical).
    Ranges(Vec<(u64, u64)>),
    /// Too many ranges for a list.
    All,
}

/// Which entries of a vCPU's jump cache are stale.
#[derive(Debug)]
pub enum Stale {
    /// Those of blocks that start at these addresses, which are virtual and physical at once (a program's).
    Starts(Vec<u64>),
    /// All.
    All,
}

/// Maximal number of waiting ranges, or starts.
const MOST: usize = 4096;
/// Maximal bytes of one range.
const MOST_BYTES: u64 = 16 << 20;

/// A vCPU that uses the translations.
pub struct Member {
    /// The epoch up to which it holds no retired block.
    pub seen: Seen,
    /// The epoch up to which it has given up the right to write to pages that become code.
    pub writes: Seen,
    /// Its bit for [`trine_memory::Ram::may_write`].
    pub writer: u8,
    protect: Mutex<Vec<usize>>,
    mailbox: Arc<Mailbox>,
    stale: Mutex<Stale>,
    /// Whether anything is stale.
    any_stale: AtomicBool,
}

impl Member {
    fn new(mailbox: Arc<Mailbox>, writer: u8) -> Arc<Member> {
        Arc::new(Member {
            seen: Seen::default(),
            writes: Seen::default(),
            writer,
            protect: Mutex::default(),
            mailbox,
            stale: Mutex::new(Stale::Starts(Vec::new())),
            any_stale: AtomicBool::new(false),
        })
    }

    /// Takes the host addresses of pages that become code.
    pub fn take_protect(&self) -> Vec<usize> {
        std::mem::take(&mut *self.protect.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the stale entries, at a safepoint of the vCPU itself. `None` if there are none.
    pub fn take_stale(&self) -> Option<Stale> {
        if !self.any_stale.swap(false, Ordering::SeqCst) {
            return None;
        }
        let mut stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        Some(std::mem::replace(&mut *stale, Stale::Starts(Vec::new())))
    }

    /// Notes stale entries; `None` for all.
    fn note(&self, starts: Option<&[u64]>) {
        let mut stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        match (&mut *stale, starts) {
            (Stale::Starts(list), Some(starts)) if list.len() + starts.len() <= MOST => list.extend(starts),
            (stale, _) => *stale = Stale::All,
        }
        drop(stale);
        self.any_stale.store(true, Ordering::SeqCst);
    }
}

struct Notes {
    changed: Changed,
    /// A program asked for its code to be compared with the copies.
    compare: bool,
    members: Vec<Arc<Member>>,
}

/// Where changes of code are noted. Every vCPU of the translations leaves generated code soon after, and the
/// first one retires the changed blocks, while the others wait for it.
pub struct Written(Mutex<Notes>);

impl Default for Written {
    fn default() -> Self {
        let changed = Changed::Ranges(Vec::new());
        Written(Mutex::new(Notes { changed, compare: false, members: Vec::new() }))
    }
}

impl Written {
    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the notes: changes, and whether copies are to be compared.
    pub fn take(&self) -> (Changed, bool) {
        let mut notes = self.lock();
        let changed = std::mem::replace(&mut notes.changed, Changed::Ranges(Vec::new()));
        (changed, std::mem::take(&mut notes.compare))
    }

    /// Asks for a comparison with the copies, as a program wants changes of its code to be seen: the vCPU
    /// compares before its next block.
    pub fn compare(&self, mailbox: &Mailbox) {
        self.lock().compare = true;
        mailbox.request(Mailbox::CODE_WRITTEN);
    }

    /// Adds a vCPU with this mailbox, offline.
    pub fn join(&self, mailbox: Arc<Mailbox>) -> Arc<Member> {
        let mut notes = self.lock();
        let member = Member::new(mailbox, 1 << (notes.members.len() % 8));
        let waits = |changed: &Changed| !matches!(changed, Changed::Ranges(ranges) if ranges.is_empty());
        if notes.compare || waits(&notes.changed) {
            // The others were told when that was noted; this one must not run stale code before one of them
            // has come.
            member.mailbox.request(Mailbox::CODE_WRITTEN);
        }
        notes.members.push(member.clone());
        member
    }

    /// Asks the vCPUs in `writers`, except `by`, to give up their right to write to the page at a host
    /// address. Returns those that are asked.
    pub fn protect(&self, host: usize, writers: u8, by: &Member) -> Vec<Arc<Member>> {
        let notes = self.lock();
        let asked = |m: &&Arc<Member>| m.writer & writers != 0 && !std::ptr::eq(&***m, by);
        let members: Vec<_> = notes.members.iter().filter(asked).cloned().collect();
        for member in &members {
            member.protect.lock().unwrap_or_else(PoisonError::into_inner).push(host);
            member.mailbox.request(Mailbox::CODE_WRITTEN);
        }
        members
    }

    /// Removes a vCPU.
    pub fn leave(&self, member: &Arc<Member>) {
        self.lock().members.retain(|m| !Arc::ptr_eq(m, member));
    }

    /// In a forked child: removes all vCPUs but this one.
    pub fn only(&self, member: &Arc<Member>) {
        self.lock().members = vec![member.clone()];
    }

    /// Tells every vCPU which entries of its jump cache are stale (`None`: all), and makes it check soon.
    /// Includes the calling one: it may be about to enter a block there that is retired by now, so it must
    /// check afterwards.
    pub fn tell(&self, starts: Option<&[u64]>) {
        for member in &self.lock().members {
            member.note(starts);
            member.mailbox.request(Mailbox::CODE_WRITTEN);
        }
    }

    /// Whether a vCPU may have a reference to something retired in an epoch.
    pub fn is_held(&self, retired: u64) -> bool {
        self.lock().members.iter().any(|m| m.seen.holds(retired))
    }

    /// Calls `f` while nobody makes notes; for `fork`.
    pub fn quiet<T>(&self, f: impl FnOnce() -> T) -> T {
        let _notes = self.lock();
        f()
    }
}

impl CodeOwner for Written {
    fn code_written(&self, page: u64) {
        self.code_changed(page << 12, (page + 1) << 12);
    }

    fn code_changed(&self, start: u64, end: u64) {
        let mut notes = self.lock();
        let few = |ranges: &[_]| ranges.len() < MOST && end.saturating_sub(start) <= MOST_BYTES;
        match &mut notes.changed {
            Changed::Ranges(ranges) if few(ranges) => ranges.push((start, end)),
            changed => *changed = Changed::All,
        }
        notes.members.iter().for_each(|m| m.mailbox.request(Mailbox::CODE_WRITTEN));
    }
}
