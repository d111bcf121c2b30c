//! Which part of code memory is being filled, and how full the parts are.
//!
//! The parts are filled in turn. When the last one is full the first is filled again, after it was emptied:
//! its blocks are retired, and every vCPU must have passed a safepoint.

use crate::code::{ALIGN, CodeMemory, PARTS};

/// Where the next code is put.
#[derive(Default)]
pub struct Arena {
    /// The part that is being filled.
    now: usize,
    /// Bytes used of each.
    used: [usize; PARTS],
    /// Whether a part held other code before.
    reused: [bool; PARTS],
}

impl Arena {
    /// The part that is being filled.
    pub fn part(&self) -> usize {
        self.now
    }

    /// Whether it held other code before.
    pub fn is_reused(&self) -> bool {
        self.reused[self.now]
    }

    /// Executable address of the next code, if so many bytes fit into the part.
    pub fn place(&self, size: usize, memory: &CodeMemory) -> Option<usize> {
        let used = self.used[self.now];
        (size <= memory.part_size() - used).then(|| memory.part(self.now) + used)
    }

    /// Records that code of so many bytes was put at the next place.
    pub fn take(&mut self, size: usize, memory: &CodeMemory) {
        let used = &mut self.used[self.now];
        *used = (*used + size).next_multiple_of(ALIGN).min(memory.part_size());
    }

    /// The part after the one that is being filled.
    pub fn next(&self) -> usize {
        (self.now + 1) % PARTS
    }

    /// Whether a part is empty.
    pub fn is_empty(&self, part: usize) -> bool {
        self.used[part] == 0
    }

    /// Continues with the next part, which is empty.
    pub fn advance(&mut self) {
        self.now = self.next();
    }

    /// Empties a part.
    pub fn clear(&mut self, part: usize) {
        (self.used[part], self.reused[part]) = (0, true);
    }

    /// Bytes used of all parts.
    pub fn size(&self) -> usize {
        self.used.iter().sum()
    }

    /// The used ranges: for each part, addresses of the first byte and of the first byte after its code.
    pub fn used(&self, memory: &CodeMemory) -> impl Iterator<Item = (usize, usize)> {
        let range = |(n, &used)| (memory.part(n), memory.part(n) + used);
        self.used.iter().enumerate().filter(|(_, used)| **used != 0).map(range)
    }

    /// Executable address of the end of the code in the part that holds `at`.
    pub fn end_of(&self, at: usize, memory: &CodeMemory) -> usize {
        let n = memory.part_of(at);
        self.used.get(n).map_or(at, |used| memory.part(n) + used)
    }
}
