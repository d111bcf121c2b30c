//! Stamps: numbers that distinguish old entries of the jump cache from valid ones.
//!
//! A stamp is the mode in its low half and a generation above. A new generation starts when address
//! translations may have changed. Regimes whose code is all in global pages (a kernel's) keep theirs across
//! changes of the address space.

/// Address spaces whose generations are remembered.
const SPACES: usize = 16;
/// The last generation that fits into a stamp beside the mode.
const LAST: u32 = u32::MAX;

/// The generations of one vCPU.
pub struct Stamps {
    /// The generation of global pages.
    global: u32,
    /// The generation of the current address space's own pages.
    local: u32,
    /// The regimes that run code from pages that are not global, one bit each.
    is_local: u64,
    /// The latest generation.
    last: u32,
    /// Recently left address spaces, with their generations.
    known: [(u64, u32); SPACES],
    /// Index for the next one.
    next: usize,
    /// The current address space; `None` if that is not known.
    space: Option<u64>,
}

impl Stamps {
    /// The first generations.
    pub fn new() -> Self {
        Stamps { global: 1, local: 2, is_local: 0, last: 2, known: [(0, 0); SPACES], next: 0, space: None }
    }

    /// Whether the numbers may run out within two more changes: all stamps must then be forgotten and
    /// [`Stamps::restart`] called.
    pub fn run_out(&self) -> bool {
        self.last > LAST - 4
    }

    /// Starts with the first generations again, when no stamps are in use any more.
    pub fn restart(&mut self) {
        (self.global, self.local, self.last) = (1, 2, 2);
        self.known = [(0, 0); SPACES];
    }

    fn fresh(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    /// Invalidates everything. The address space may be another one afterwards, whose code must not be remembered as that of
    /// the one before.
    pub fn renew(&mut self) {
        self.space = None;
        self.global = self.fresh();
        self.renew_local();
    }

    /// Invalidates all code of address spaces' own pages.
    pub fn renew_local(&mut self) {
        self.local = self.fresh();
        self.known = [(0, 0); SPACES];
    }

    /// Makes another address space the current one: with its own generation, if that is remembered.
    pub fn enter(&mut self, space: u64) {
        if let Some(left) = self.space {
            self.known[self.next] = (left, self.local);
            self.next = (self.next + 1) % SPACES;
        }
        let found = self.known.iter().position(|&(s, g)| s == space && g != 0);
        self.local = match found {
            Some(i) => std::mem::take(&mut self.known[i].1),
            None => self.fresh(),
        };
        self.space = Some(space);
    }

    /// Records that a regime runs code from a page that is not global. Returns whether that is new.
    pub fn runs_local(&mut self, regime: usize) -> bool {
        let before = self.is_local;
        self.is_local |= 1 << regime;
        self.is_local != before
    }

    /// The stamp of code in `mode`, fetched in `regime`.
    pub fn of(&self, mode: u32, regime: usize) -> u64 {
        let generation = if self.is_local >> regime & 1 != 0 { self.local } else { self.global };
        (generation as u64) << 32 | mode as u64
    }
}

impl Default for Stamps {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_ir::{Flush, Hart};

    #[test]
    fn every_bit_of_the_mode_counts() {
        let stamps = Stamps::new();
        let all = (0..32).map(|bit| stamps.of(1 << bit, 0)).chain([stamps.of(0, 0)]);
        assert_eq!(all.collect::<std::collections::HashSet<_>>().len(), 33);
    }

    #[test]
    fn an_address_space_finds_its_generation_again() {
        let mut stamps = Stamps::new();
        assert!(stamps.runs_local(1) && !stamps.runs_local(1));
        let (kernel, first) = (stamps.of(0, 0), stamps.of(0, 1));
        stamps.enter(7);
        let seven = stamps.of(0, 1);
        assert_ne!(seven, first);
        stamps.enter(0);
        assert_ne!(stamps.of(0, 1), first, "it was not known which one that was");
        let first = stamps.of(0, 1);
        stamps.enter(7);
        assert_eq!(stamps.of(0, 1), seven);
        stamps.enter(0);
        assert_eq!((stamps.of(0, 0), stamps.of(0, 1)), (kernel, first));
        stamps.renew_local();
        assert_ne!(stamps.of(0, 1), first);
        assert_eq!(stamps.of(0, 0), kernel, "global pages stay");
    }

    #[test]
    fn an_address_space_entered_by_a_change_of_everything_is_no_other_one() {
        // As when paging was off in between: the CPU says only that everything has changed.
        let mut stamps = Stamps::new();
        stamps.runs_local(1);
        stamps.enter(7);
        stamps.renew();
        let unknown = stamps.of(0, 1);
        stamps.enter(7);
        assert_ne!(stamps.of(0, 1), unknown, "what ran in the unknown one is not 7's");
    }

    #[test]
    fn old_entries_do_not_come_back_when_the_numbers_run_out() {
        let core = crate::core::without_memory();
        let entry = core.jumps.fill(0x1000);
        entry.pc.set(0x1000);
        entry.stamp.set(core.frame.stamp.get());
        core.stamps.borrow_mut().last = LAST - 3;
        core.frame.calls_stale.set(0);
        core.flush(Flush::All);
        assert!(core.stamps.borrow().last < 16);
        assert_eq!((entry.stamp.get(), core.frame.calls_stale.get()), (0, 1));
        for _ in 0..4 {
            assert_ne!(entry.stamp.get(), core.frame.stamp.get());
            core.flush(Flush::Local);
        }
    }
}
