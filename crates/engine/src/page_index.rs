//! Finds the blocks that have bytes of a page.

use crate::block::{Block, PAGE};
use crate::memory::GuestMemory;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use trine_ir::Isa;

/// A multiplicative hash of page numbers, in which guests have no interest in collisions: each lists at most
/// one page's blocks.
#[derive(Default)]
pub struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&b| self.write_u64(b as u64));
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// The blocks of each page (physical address / 4096). None of them is freed while it is listed.
pub struct PageIndex<I: Isa, M: GuestMemory<I>>(HashMap<u64, Vec<*mut Block<I, M>>, BuildHasherDefault<Mix>>);

// SAFETY: the pointers are only followed by a thread that has the index, to blocks that are `Sync`.
unsafe impl<I: Isa, M: GuestMemory<I>> Send for PageIndex<I, M> {}

impl<I: Isa, M: GuestMemory<I>> Default for PageIndex<I, M> {
    fn default() -> Self {
        PageIndex(HashMap::default())
    }
}

impl<I: Isa, M: GuestMemory<I>> PageIndex<I, M> {
    /// Adds a block.
    ///
    /// # Safety
    /// The block is not freed before it is removed.
    pub unsafe fn add(&mut self, block: *mut Block<I, M>) {
        // SAFETY: by the caller.
        for page in unsafe { &*block }.pages() {
            self.0.entry(page).or_default().push(block);
        }
    }

    /// Removes a block, which is listed.
    pub fn remove(&mut self, block: *mut Block<I, M>) {
        // SAFETY: listed blocks are not freed.
        for page in unsafe { &*block }.pages() {
            if let Some(list) = self.0.get_mut(&page) {
                list.retain(|b| *b != block);
                if list.is_empty() {
                    self.0.remove(&page);
                }
            }
        }
    }

    /// Gives memory for blocks that were removed back.
    pub fn release(&mut self) {
        self.0.shrink_to_fit();
    }

    /// Whether a page has blocks.
    pub fn has(&self, page: u64) -> bool {
        self.0.contains_key(&page)
    }

    /// The blocks of the pages from `first` up to `last`.
    pub fn of_pages(&self, first: u64, last: u64) -> Vec<*mut Block<I, M>> {
        self.chosen(first, last, |_| true)
    }

    /// The blocks that have bytes from `start` up to `end`.
    pub fn of_bytes(&self, start: u64, end: u64) -> Vec<*mut Block<I, M>> {
        let touches = |b: &Block<I, M>| b.start < end && b.reach() > start;
        self.chosen(start / PAGE, end.saturating_sub(1) / PAGE, touches)
    }

    fn chosen(&self, first: u64, last: u64, wanted: impl Fn(&Block<I, M>) -> bool) -> Vec<*mut Block<I, M>> {
        let listed = (first..=last).filter_map(|page| self.0.get(&page)).flatten();
        // SAFETY: listed blocks are not freed.
        let mut found: Vec<_> = listed.copied().filter(|&b| wanted(unsafe { &*b })).collect();
        // A block may have bytes of two pages.
        found.sort_unstable();
        found.dedup();
        found
    }
}
