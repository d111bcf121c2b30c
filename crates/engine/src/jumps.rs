//! The vCPU's own jump cache: virtual PC and stamp to code. Direct-mapped; a page's entries lie
//! together, so that one page can be forgotten cheaply.

use std::cell::Cell;

/// Bits of the PC, inside its page, that select an entry.
pub const LOW: u64 = 0xfe;
/// Bits of the page number that select an entry.
pub const HIGH: u64 = 0x3f000;
/// Entries of one page.
const PER_PAGE: usize = 1 << LOW.count_ones();
/// All entries.
pub const ENTRIES: usize = 1 << (LOW.count_ones() + HIGH.count_ones());

/// One entry.
#[repr(C)]
pub struct Entry {
    /// Virtual PC.
    pub pc: Cell<u64>,
    /// Generation and mode it was made in; 0 is never valid.
    pub stamp: Cell<u64>,
    /// Host address of the block's code, or of the thunk that leaves for the dispatcher.
    pub code: Cell<usize>,
    /// The block, as an address ([`crate::block::Block`]).
    pub block: Cell<usize>,
}

/// log2 of the size of [`Entry`].
pub const ENTRY_BITS: u32 = 5;
const _: () = assert!(size_of::<Entry>() == 1 << ENTRY_BITS);

/// The cache.
#[repr(C)]
pub struct Jumps([Entry; ENTRIES]);

impl Default for Jumps {
    fn default() -> Self {
        Jumps(
            [const { Entry { pc: Cell::new(0), stamp: Cell::new(0), code: Cell::new(0), block: Cell::new(0) } };
                ENTRIES],
        )
    }
}

/// Index of the entry for `pc`.
#[inline(always)]
pub fn index(pc: u64) -> usize {
    let low = (pc & LOW) >> LOW.trailing_zeros();
    let high = (pc & HIGH) >> HIGH.trailing_zeros();
    ((high << LOW.count_ones()) | low) as usize
}

impl Jumps {
    /// The entry for `pc`.
    #[inline(always)]
    pub fn entry(&self, pc: u64) -> &Entry {
        &self.0[index(pc) & (ENTRIES - 1)]
    }

    /// Forgets every entry of the page that holds `address`, and of the page before it, whose last
    /// instruction may reach into this one.
    pub fn forget_page(&self, address: u64) {
        for page in [address & !0xfff, (address & !0xfff).wrapping_sub(0x1000)] {
            let first = index(page) & (ENTRIES - 1);
            self.0[first..first + PER_PAGE].iter().for_each(|e| e.stamp.set(0));
        }
    }
}
