//! The vCPU's own jump cache: virtual PC and stamp to code. Direct-mapped; a page's entries are adjacent, so
//! that one page can be forgotten cheaply.

use std::cell::Cell;

/// The PC is first folded by this many bits, so that all of a page's offset and more of its number are used.
pub const FOLD: u8 = 9;
/// Bits of the folded PC that select an entry among those of a page.
pub const LOW: u64 = 0x1fe;
/// Bits of the folded PC that select a page's entries.
pub const HIGH: u64 = 0x3f000;
/// Entries of one page.
const PER_PAGE: usize = 1 << LOW.count_ones();
/// Rows of entries.
const ROWS: usize = 1 << HIGH.count_ones();
/// All entries.
pub const ENTRIES: usize = PER_PAGE * ROWS;

/// One entry.
#[repr(C)]
pub struct Entry {
    /// Virtual PC.
    pub pc: Cell<u64>,
    /// Generation and mode in which it was made; 0 is never valid.
    pub stamp: Cell<u64>,
    /// Host address of the block's code, or of the thunk that leaves to the dispatcher.
    pub code: Cell<usize>,
    /// The block, as an address ([`crate::block::Block`]).
    pub block: Cell<usize>,
}

/// log2 of the size of [`Entry`].
pub const ENTRY_BITS: u32 = 5;
const _: () = assert!(size_of::<Entry>() == 1 << ENTRY_BITS);

/// The cache. Memory that is all zeros is an empty one. No entry spans two lines of the host's caches.
#[repr(C, align(64))]
pub struct Jumps {
    entries: [Entry; ENTRIES],
    /// For each row, which pages may have entries: one bit for a hash of the page's number.
    pages: [Cell<u64>; ROWS],
}

/// Index of the entry for `pc`.
#[inline(always)]
pub fn index(pc: u64) -> usize {
    let pc = pc ^ pc >> FOLD;
    let low = (pc & LOW) >> LOW.trailing_zeros();
    let high = (pc & HIGH) >> HIGH.trailing_zeros();
    ((high << LOW.count_ones()) | low) as usize & (ENTRIES - 1)
}

/// The bit for a page in its row's word.
fn page_bit(pc: u64) -> u64 {
    1 << ((pc >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

impl Jumps {
    /// The entry for `pc`.
    #[inline(always)]
    pub fn entry(&self, pc: u64) -> &Entry {
        &self.entries[index(pc)]
    }

    /// The entry for `pc`, about to be filled.
    pub fn fill(&self, pc: u64) -> &Entry {
        let row = &self.pages[index(pc) / PER_PAGE];
        row.set(row.get() | page_bit(pc));
        self.entry(pc)
    }

    /// Records that all entries became stale: no page has any.
    pub fn all_stale(&self) {
        self.pages.iter().for_each(|p| p.set(0));
    }

    /// Forgets every entry.
    pub fn clear(&self) {
        self.entries.iter().for_each(|e| e.stamp.set(0));
        self.all_stale();
    }

    /// Forgets the entry for `pc`.
    pub fn forget(&self, pc: u64) {
        let entry = self.entry(pc);
        if entry.pc.get() == pc {
            entry.stamp.set(0);
        }
    }

    /// Forgets every entry of the page that holds `address`, and of the page before it, whose last
    /// instruction may reach into this one.
    pub fn forget_page(&self, address: u64) {
        for page in [address & !0xfff, (address & !0xfff).wrapping_sub(0x1000)] {
            let row = index(page) / PER_PAGE;
            if self.pages[row].get() & page_bit(page) == 0 {
                continue;
            }
            for e in &self.entries[row * PER_PAGE..(row + 1) * PER_PAGE] {
                if e.pc.get() & !0xfff == page {
                    e.stamp.set(0);
                }
            }
        }
    }
}
