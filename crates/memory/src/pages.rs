//! Which pages hold code that was translated, and who may write to them without saying so.
//!
//! A vCPU that writes by an entry of its TLB passes no guard. So it is noted as a writer before it looks whether the page is
//! code; who makes the page code marks it before looking for writers. Either the vCPU sees the mark, or it is found.

use crate::sync::{AtomicU8, Ordering, fence};

/// No code was made from the page.
const DATA: u8 = 0;
/// It is about to become code: vCPUs give up their right to write there unnoticed.
const BECOMING: u8 = 1;
/// Code may be made from it: every write passes the guard.
const CODE: u8 = 2;

/// What was found when a page was to become code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Becoming {
    /// It is code already, or no RAM.
    Done,
    /// Another thread is about to make it code.
    Theirs,
    /// The caller is to make the vCPUs with these bits give up their right to write there unnoticed, then to end what it
    /// began.
    Mine(u8),
}

/// The pages of a RAM, by their number in it. A number that is too large is of no page.
pub struct Pages {
    states: Box<[AtomicU8]>,
    /// Bits of vCPUs.
    writers: Box<[AtomicU8]>,
}

impl Pages {
    /// So many pages, all of them data.
    pub fn new(count: usize) -> Pages {
        let zeros = || (0..count).map(|_| AtomicU8::new(0)).collect();
        Pages { states: zeros(), writers: zeros() }
    }

    /// Whether a vCPU with this bit may write to a page without passing the guard, until it is asked to give that up.
    pub fn may_write(&self, page: usize, vcpu: u8) -> bool {
        let Some((state, writers)) = self.states.get(page).zip(self.writers.get(page)) else { return false };
        if writers.load(Ordering::Relaxed) & vcpu != vcpu {
            writers.fetch_or(vcpu, Ordering::Relaxed);
        }
        // Pairs with the fence in `become_code`.
        fence(Ordering::SeqCst);
        state.load(Ordering::Relaxed) == DATA
    }

    /// Begins to make a page code.
    pub fn become_code(&self, page: usize) -> Becoming {
        let Some((state, writers)) = self.states.get(page).zip(self.writers.get(page)) else {
            return Becoming::Done;
        };
        match state.compare_exchange(DATA, BECOMING, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                fence(Ordering::SeqCst);
                // Who is noted from here on sees the mark.
                Becoming::Mine(writers.swap(0, Ordering::AcqRel))
            }
            Err(BECOMING) => Becoming::Theirs,
            Err(_) => Becoming::Done,
        }
    }

    /// Ends what [`Pages::become_code`] began, when no vCPU can write to the page unnoticed. False where it was written
    /// meanwhile: then it must begin again.
    pub fn end_becoming(&self, page: usize) -> bool {
        let ended = |state: &AtomicU8| {
            state.compare_exchange(BECOMING, CODE, Ordering::AcqRel, Ordering::Acquire).is_ok()
        };
        self.states.get(page).is_none_or(ended)
    }

    /// Whether a page holds code, or is about to.
    #[inline(always)]
    pub fn is_code(&self, page: usize) -> bool {
        self.states.get(page).is_some_and(|state| state.load(Ordering::Relaxed) != DATA)
    }

    /// Whether code may be made from a page: every write there passes the guard.
    pub fn is_settled(&self, page: usize) -> bool {
        self.states.get(page).is_none_or(|state| state.load(Ordering::Acquire) == CODE)
    }

    /// A page is written: it holds data again.
    pub fn make_data(&self, page: usize) {
        if let Some(state) = self.states.get(page) {
            state.store(DATA, Ordering::SeqCst);
        }
    }
}
