//! Translated blocks, by physical address and mode.

use crate::block::{Block, PAGE};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use trine_ir::Isa;

/// A multiplying hash of the small keys used here.
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
    fn write_u32(&mut self, n: u32) {
        self.write_u64(n as u64);
    }
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// All blocks of a vCPU.
pub struct Store<I: Isa> {
    blocks: Map<(u64, u32), Box<Block<I>>>,
    pages: Map<u64, Vec<(u64, u32)>>,
}

impl<I: Isa> Default for Store<I> {
    fn default() -> Self {
        Store { blocks: Map::default(), pages: Map::default() }
    }
}

impl<I: Isa> Store<I> {
    /// The block at a physical address in a mode.
    pub fn find(&self, start: u64, mode: u32) -> Option<&Block<I>> {
        self.blocks.get(&(start, mode)).map(|b| &**b)
    }

    /// Adds a block in place of what was there. Gives back the block that it replaces, which must
    /// live until nothing runs it.
    pub fn insert(&mut self, block: Block<I>) -> (&Block<I>, Option<Box<Block<I>>>) {
        let key = (block.start, block.mode);
        for page in [Some(block.start & !(PAGE - 1)), block.second].into_iter().flatten() {
            self.pages.entry(page / PAGE).or_default().push(key);
        }
        let old = self.blocks.insert(key, Box::new(block));
        (&self.blocks[&key], old)
    }

    /// Whether the page has blocks.
    pub fn has_page(&self, page: u64) -> bool {
        self.pages.contains_key(&page)
    }

    /// Drops the blocks of a page (physical address / 4096), and calls `f` with each before. True where there were any.
    pub fn forget_page(&mut self, page: u64, mut f: impl FnMut(&Block<I>)) -> bool {
        let Some(keys) = self.pages.remove(&page) else { return false };
        for block in keys.iter().filter_map(|key| self.blocks.remove(key)) {
            f(&block);
        }
        true
    }

    /// Drops the blocks of a program that have bytes from `start` up to `end`, and calls `f` with each before.
    pub fn forget_range(&mut self, start: u64, end: u64, mut f: impl FnMut(&Block<I>)) {
        for page in start / PAGE..=end.saturating_sub(1) / PAGE {
            let Some(keys) = self.pages.get_mut(&page) else { continue };
            keys.retain(|key| {
                let Some(block) = self.blocks.get(key) else { return false };
                let stays = block.start >= end || block.reach() <= start;
                if !stays {
                    f(block);
                    self.blocks.remove(key);
                }
                stays
            });
            if keys.is_empty() {
                self.pages.remove(&page);
            }
        }
    }

    /// Drops all.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.pages.clear();
    }

    /// Calls `f` with every block.
    pub fn each(&self, f: impl FnMut(&Block<I>)) {
        self.blocks.values().map(|b| &**b).for_each(f);
    }
}
