//! The lock-free parts, run by loom in every relevant order of two threads. The modules are the library's own
//! source with loom's atomics instead of the standard library's.

#![expect(dead_code, reason = "the models use a part of each module")]

mod sync {
    pub use loom::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering, fence};
}
#[path = "../src/epochs.rs"]
mod epochs;
#[path = "../../memory/src/pages.rs"]
mod pages;
#[path = "../src/table.rs"]
mod table;

use epochs::{Epochs, Seen};
use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::thread;
use pages::{Becoming, Pages};
use std::ptr::null_mut;
use sync::{AtomicPtr, AtomicU64, Ordering, fence};
use table::{Chained, Table};

/// An element. Freeing only marks it; it stays until the model ends.
struct Element {
    key: usize,
    next: AtomicPtr<Element>,
    freed: AtomicBool,
}

impl Chained for Element {
    fn next(&self) -> &AtomicPtr<Self> {
        &self.next
    }
    fn chain(&self) -> usize {
        0
    }
}

/// A table with one vCPU that reads it, and what a retiring thread tells that vCPU.
struct Shared {
    table: Table<Element>,
    epochs: Epochs,
    seen: Seen,
    /// The vCPU's own reference to the element that is retired is stale.
    stale: AtomicBool,
    elements: [*mut Element; 3],
}

// SAFETY: the elements live until the end of the model.
unsafe impl Send for Shared {}
// SAFETY: as above; what changes of them is atomic.
unsafe impl Sync for Shared {}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: made in `new`; all threads have ended.
        self.elements.iter().for_each(|e| drop(unsafe { Box::from_raw(*e) }));
    }
}

impl Shared {
    /// Elements 0, 1 and 2 for one chain; the first `inserted` of them are in it, the last one in front.
    fn new(inserted: usize) -> Arc<Shared> {
        let elements = [0, 1, 2].map(|key| {
            let (next, freed) = (AtomicPtr::new(null_mut()), AtomicBool::new(false));
            Box::into_raw(Box::new(Element { key, next, freed }))
        });
        let table = Table::new(Box::new([AtomicPtr::new(null_mut())]));
        // SAFETY: new elements, one thread.
        elements[..inserted].iter().for_each(|e| unsafe { table.insert(*e) });
        let (epochs, seen) = (Epochs::default(), Seen::default());
        Arc::new(Shared { table, epochs, seen, stale: AtomicBool::new(false), elements })
    }

    fn find(&self, key: usize) -> Option<*mut Element> {
        // SAFETY: the memory stays until the end of the model.
        unsafe { self.table.find(0, |e| e.key == key) }
    }

    /// The vCPU uses an element.
    fn touch(&self, element: *mut Element) {
        // SAFETY: as in `find`.
        assert!(!unsafe { &*element }.freed.load(Ordering::Relaxed), "used though it was freed");
    }

    /// Takes an element out as the translations do; gives the epoch.
    fn retire(&self, element: *mut Element) -> u64 {
        // SAFETY: one thread changes the table.
        unsafe { self.table.remove(element) };
        self.stale.store(true, Ordering::Release);
        self.epochs.advance()
    }

    /// Frees what was retired, unless the vCPU may hold it.
    fn reclaim(&self, element: *mut Element, epoch: u64) {
        if !self.seen.holds(epoch) {
            // SAFETY: as in `find`.
            unsafe { &*element }.freed.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn what_a_vcpu_holds_between_two_safepoints_is_not_freed() {
    loom::model(|| {
        let shared = Shared::new(1);
        let theirs = shared.clone();
        let vcpu = thread::spawn(move || {
            let s = &*theirs;
            s.seen.online(&s.epochs);
            let mut cached = None;
            // The found element stays in the jump cache until it is reported stale.
            for _ in 0..2 {
                let epoch = s.epochs.now();
                if s.stale.load(Ordering::Acquire) {
                    cached = None;
                }
                s.seen.pass(epoch);
                cached = cached.or_else(|| s.find(0));
                cached.into_iter().for_each(|e| s.touch(e));
            }
            s.seen.offline();
        });
        let epoch = shared.retire(shared.elements[0]);
        shared.reclaim(shared.elements[0], epoch);
        vcpu.join().expect("no panic");
    });
}

#[test]
fn a_vcpu_that_comes_online_finds_nothing_that_was_freed() {
    loom::model(|| {
        let shared = Shared::new(1);
        let theirs = shared.clone();
        let vcpu = thread::spawn(move || {
            let s = &*theirs;
            // It was online earlier: its jump cache has the element.
            let cached = s.elements[0];
            s.seen.online(&s.epochs);
            let kept = (!s.stale.load(Ordering::Acquire)).then_some(cached);
            kept.or_else(|| s.find(0)).into_iter().for_each(|e| s.touch(e));
            s.seen.offline();
        });
        let epoch = shared.retire(shared.elements[0]);
        shared.reclaim(shared.elements[0], epoch);
        vcpu.join().expect("no panic");
    });
}

#[test]
fn a_reader_finds_what_stays_while_others_come_and_go() {
    loom::model(|| {
        let shared = Shared::new(2);
        let theirs = shared.clone();
        let reader = thread::spawn(move || {
            // Element 0 is the last of the chain; 1 before it is removed, 2 is added.
            assert_eq!(theirs.find(0), Some(theirs.elements[0]));
            theirs.find(2).into_iter().for_each(|e| assert_eq!(e, theirs.elements[2]));
        });
        // SAFETY: this thread alone changes the table.
        unsafe {
            shared.table.insert(shared.elements[2]);
            shared.table.remove(shared.elements[1]);
        }
        reader.join().expect("no panic");
        // SAFETY: as above.
        let left: Vec<_> = unsafe { shared.table.all() }.collect();
        assert_eq!(left, [shared.elements[2], shared.elements[0]]);
    });
}

/// One page of memory with one word, and the vCPU that may write there.
struct Memory {
    pages: Pages,
    word: AtomicU64,
    epochs: Epochs,
    writes: Seen,
    /// The vCPU is to give up its right to write.
    protect: AtomicBool,
    /// The owner of translations was told of a write.
    told: AtomicBool,
}

/// The writer's bit.
const WRITER: u8 = 2;

impl Memory {
    fn new() -> Arc<Memory> {
        Arc::new(Memory {
            pages: Pages::new(1),
            word: AtomicU64::new(0),
            epochs: Epochs::default(),
            writes: Seen::default(),
            protect: AtomicBool::new(false),
            told: AtomicBool::new(false),
        })
    }

    fn guard(&self) {
        if self.pages.is_code(0) {
            self.pages.make_data(0);
            self.told.store(true, Ordering::Release);
        }
    }

    /// A write of a device, or one that misses the TLB.
    fn guarded_write(&self, value: u64) {
        self.guard();
        self.word.store(value, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.guard();
    }

    /// Makes the page code and reads it, as `Engine::settle` and the decoder do.
    fn translate(&self) -> u64 {
        loop {
            match self.pages.become_code(0) {
                Becoming::Done => break,
                Becoming::Theirs => thread::yield_now(),
                Becoming::Mine(writers) => {
                    if writers & WRITER != 0 {
                        self.protect.store(true, Ordering::Release);
                        let epoch = self.epochs.advance();
                        while self.writes.holds(epoch) {
                            thread::yield_now();
                        }
                    }
                    if self.pages.end_becoming(0) {
                        break;
                    }
                }
            }
        }
        self.word.load(Ordering::Relaxed)
    }

    /// Either the translation matches memory, or its owner was told of the write.
    fn check(&self, translated: u64) {
        let current = self.word.load(Ordering::Relaxed);
        assert!(translated == current || self.told.load(Ordering::Acquire), "{translated}, not {current}");
    }
}

#[test]
fn what_is_translated_is_current_or_the_write_is_noted() {
    loom::model(|| {
        let memory = Memory::new();
        let theirs = memory.clone();
        let writer = thread::spawn(move || {
            let m = &*theirs;
            m.writes.online(&m.epochs);
            let mut entry = m.pages.may_write(0, WRITER);
            for value in 1..=2 {
                if entry {
                    m.word.store(value, Ordering::Relaxed)
                } else {
                    m.guarded_write(value)
                }
                let epoch = m.epochs.now();
                entry &= !m.protect.load(Ordering::Acquire);
                m.writes.pass(epoch);
            }
            m.writes.offline();
        });
        let translated = memory.translate();
        writer.join().expect("no panic");
        memory.check(translated);
    });
}

#[test]
fn a_device_that_writes_while_a_page_becomes_code_is_noticed() {
    loom::model(|| {
        let memory = Memory::new();
        let theirs = memory.clone();
        let device = thread::spawn(move || theirs.guarded_write(1));
        let translated = memory.translate();
        device.join().expect("no panic");
        memory.check(translated);
    });
}
