//! The pages that hold translated code, and the vCPUs that may write to pages without passing the guard.
//!
//! A vCPU that writes by a TLB entry passes no guard. Therefore it is recorded as a writer before it checks
//! whether the page is code, and a thread that turns a page into code marks it before looking for writers.
//! Either the vCPU sees the mark, or the thread sees the writer.

use crate::sync::{AtomicU8, Ordering, fence};

/// No code was translated from the page.
const DATA: u8 = 0;
/// The page is becoming code: vCPUs give up their right to write to it without the guard.
const BECOMING: u8 = 1;
/// Code may be translated from the page: every write passes the guard.
const CODE: u8 = 2;
/// The page was code and is being written: the owners of translations are being told. Nothing is translated from it.
const WRITTEN: u8 = 3;

/// The result of beginning to turn a page into code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Becoming {
    /// The page is code already, or is not in RAM.
    Done,
    /// Another thread is turning it into code, or is telling the owners of translations that it is written.
    Theirs,
    /// The caller must make the vCPUs with these bits give up their right to write without the guard, and
    /// then complete what it began.
    Mine(u8),
}

/// The states of a RAM's pages, by page number. A number that is too large belongs to no page.
pub struct Pages {
    states: Box<[AtomicU8]>,
    /// Bits of the vCPUs that may write to each page without the guard.
    writers: Box<[AtomicU8]>,
}

impl Pages {
    /// Creates the states of `count` pages, all of them data.
    pub fn new(count: usize) -> Pages {
        let zeros = || (0..count).map(|_| AtomicU8::new(0)).collect();
        Pages { states: zeros(), writers: zeros() }
    }

    /// Asks for the right of a vCPU with this bit to write to a page without passing the guard until it is
    /// asked to give it up; returns whether it is granted.
    pub fn may_write(&self, page: usize, vcpu: u8) -> bool {
        let Some((state, writers)) = self.states.get(page).zip(self.writers.get(page)) else { return false };
        if writers.load(Ordering::Relaxed) & vcpu != vcpu {
            writers.fetch_or(vcpu, Ordering::Relaxed);
        }
        // Pairs with the fence in `become_code`.
        fence(Ordering::SeqCst);
        state.load(Ordering::Relaxed) == DATA
    }

    /// Begins to turn a page into code.
    pub fn become_code(&self, page: usize) -> Becoming {
        let Some((state, writers)) = self.states.get(page).zip(self.writers.get(page)) else {
            return Becoming::Done;
        };
        match state.compare_exchange(DATA, BECOMING, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                fence(Ordering::SeqCst);
                // A vCPU that is recorded after this point sees the mark.
                Becoming::Mine(writers.swap(0, Ordering::AcqRel))
            }
            Err(CODE) => Becoming::Done,
            Err(_) => Becoming::Theirs,
        }
    }

    /// Completes what [`Pages::become_code`] began, once no vCPU can write to the page unnoticed.
    ///
    /// Nobody else ends that state. If a write did, a second thread could begin while the first one still waits
    /// for a vCPU of which the second does not know, as the writers were taken by the first.
    pub fn end_becoming(&self, page: usize) {
        if let Some(state) = self.states.get(page) {
            // Of the same page, there is no other beginner: this changes nothing else than BECOMING.
            let _ = state.compare_exchange(BECOMING, CODE, Ordering::SeqCst, Ordering::Relaxed);
        }
    }

    /// Whether a page holds code or is becoming code.
    #[inline(always)]
    pub fn is_code(&self, page: usize) -> bool {
        self.states.get(page).is_some_and(|state| state.load(Ordering::Relaxed) != DATA)
    }

    /// Whether code may be translated from a page: every write to it passes the guard. Its bytes must be read
    /// after this.
    pub fn is_settled(&self, page: usize) -> bool {
        let settled = self.states.get(page).is_none_or(|state| state.load(Ordering::SeqCst) == CODE);
        // A write whose guard saw the page becoming code told nobody: its bytes must be seen by who sees code.
        fence(Ordering::SeqCst);
        settled
    }

    /// A write to a page was announced: `tell` tells the owners of translations, if there may be any of the page.
    ///
    /// They are told before the page is data. Otherwise another vCPU could find data, write without telling
    /// anybody, and run what was translated before, as nobody has asked it yet to forget that.
    pub fn written(&self, page: usize, tell: impl FnOnce()) {
        let Some(state) = self.states.get(page) else { return };
        match state.compare_exchange(CODE, WRITTEN, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => {
                tell();
                state.store(DATA, Ordering::SeqCst);
            }
            // The thread that found it first may not have told them yet.
            Err(WRITTEN) => tell(),
            // Nothing was translated since it became data.
            Err(_) => {}
        }
    }
}
