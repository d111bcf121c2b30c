//! The lock-free parts, run by loom in every relevant order of two threads. The modules are the library's own
//! source with loom's atomics instead of the standard library's.

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
use loom::sync::atomic::AtomicBool;
use loom::sync::{Arc, Mutex};
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

/// One page of memory with one word, the vCPU that may write there by a TLB entry, and the translations.
struct Memory {
    pages: Pages,
    word: AtomicU64,
    epochs: Epochs,
    writes: Seen,
    /// The vCPU is to give up its right to write.
    protect: AtomicBool,
    /// What was translated from the word and not retired, under the translations' lock.
    translated: Mutex<Option<u64>>,
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
            translated: Mutex::new(None),
        })
    }

    fn guard(&self) {
        if self.pages.is_code(0) {
            self.pages.written(0, || *self.translated.lock().expect("not poisoned") = None);
        }
    }

    /// A write of a device, or one that misses the TLB.
    fn guarded_write(&self, value: u64) {
        self.guard();
        self.word.store(value, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.guard();
    }

    /// The vCPU writes 1 and then 2, by its TLB entry as long as it has one.
    fn tlb_writes(&self) {
        self.writes.online(&self.epochs);
        let mut entry = self.pages.may_write(0, WRITER);
        for value in 1..=2 {
            if entry {
                self.word.store(value, Ordering::Relaxed)
            } else {
                self.guarded_write(value)
            }
            let epoch = self.epochs.now();
            entry &= !self.protect.load(Ordering::Acquire);
            self.writes.pass(epoch);
        }
        self.writes.offline();
    }

    /// Makes the page code, as `Engine::make_code` does.
    fn make_code(&self) {
        match self.pages.become_code(0) {
            Becoming::Done => {}
            Becoming::Theirs => {
                while !self.pages.is_settled(0) && self.pages.is_code(0) {
                    thread::yield_now();
                }
            }
            Becoming::Mine(writers) => {
                if writers & WRITER != 0 {
                    self.protect.store(true, Ordering::Release);
                    let epoch = self.epochs.advance();
                    while self.writes.holds(epoch) {
                        thread::yield_now();
                    }
                }
                self.pages.end_becoming(0);
            }
        }
    }

    /// Translates the word, unless it is translated already or the page was written meanwhile.
    fn translate(&self) {
        self.make_code();
        let mut translated = self.translated.lock().expect("not poisoned");
        if translated.is_none() && self.pages.is_settled(0) {
            *translated = Some(self.word.load(Ordering::Relaxed));
        }
    }

    /// What is translated is what memory holds.
    fn check(&self) {
        let (current, translated) =
            (self.word.load(Ordering::Relaxed), *self.translated.lock().expect("not poisoned"));
        assert!(translated.is_none_or(|t| t == current), "{translated:?}, not {current}");
    }
}

/// Runs what threads do with the page, one of them the main thread, in the orders with up to `switches` switches that
/// no thread asked for.
fn together(switches: usize, threads: &[fn(&Memory)], main: fn(&Memory)) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(switches);
    let threads = threads.to_vec();
    model.check(move || {
        let memory = Memory::new();
        let spawn = |run: &fn(&Memory)| {
            let (run, memory) = (*run, memory.clone());
            thread::spawn(move || run(&memory))
        };
        let running: Vec<_> = threads.iter().map(spawn).collect();
        main(&memory);
        running.into_iter().for_each(|t| t.join().expect("no panic"));
        memory.check();
    });
}

#[test]
fn what_is_translated_is_current_or_retired() {
    together(4, &[Memory::tlb_writes], |m| {
        m.translate();
        m.translate();
    });
}

#[test]
fn a_device_that_writes_while_a_page_becomes_code_is_noticed() {
    together(4, &[|m| m.guarded_write(1)], |m| {
        m.translate();
        m.translate();
    });
}

#[test]
fn a_device_does_not_let_a_second_translator_forget_the_writer_that_the_first_one_waits_for() {
    together(2, &[Memory::tlb_writes, |m| m.guarded_write(7)], |m| {
        m.translate();
        m.translate();
    });
}

#[test]
fn two_translators_and_a_writer_agree() {
    together(2, &[Memory::tlb_writes, Memory::translate], Memory::translate);
    together(2, &[|m| m.guarded_write(1), Memory::translate], Memory::translate);
}

#[test]
fn two_translators_a_device_and_a_writer_agree() {
    together(1, &[Memory::tlb_writes, |m| m.guarded_write(7), Memory::translate], Memory::translate);
}

#[test]
fn who_finds_data_after_another_write_runs_nothing_old() {
    // The second writer runs the page's code after its own write: as a vCPU that has executed `fence.i`.
    together(3, &[|m| m.guarded_write(1)], |m| {
        m.translate();
        m.guarded_write(2);
        let seen = *m.translated.lock().expect("not poisoned");
        assert_eq!(seen, None, "its own write is seen");
    });
}
