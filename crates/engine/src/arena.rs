//! Which part of code memory is being filled, and how full the parts are.

use crate::code::{ALIGN, CodeMemory, PART, PARTS};

/// Where the next code goes.
#[derive(Default)]
pub struct Arena {
    /// The part that is being filled.
    now: usize,
    /// Bytes used of each.
    used: [usize; PARTS],
}

impl Arena {
    /// The part that is being filled.
    pub fn part(&self) -> usize {
        self.now
    }

    /// Executable address of the next code, where so many bytes fit into the part.
    pub fn place(&self, size: usize, memory: &CodeMemory) -> Option<usize> {
        let used = self.used[self.now];
        (size <= PART - used).then(|| memory.part(self.now) + used)
    }

    /// Code of so many bytes was put at the next place.
    pub fn take(&mut self, size: usize) {
        let used = &mut self.used[self.now];
        *used = (*used + size).next_multiple_of(ALIGN).min(PART);
    }

    /// Goes on with the next part. False where there is no other.
    pub fn advance(&mut self) -> bool {
        let next = self.now + 1;
        if next < PARTS {
            self.now = next;
        }
        next < PARTS
    }

    /// What is used: addresses of the first byte of each part and of the first behind its code.
    pub fn used(&self, memory: &CodeMemory) -> impl Iterator<Item = (usize, usize)> {
        let range = |(n, &used)| (memory.part(n), memory.part(n) + used);
        self.used.iter().enumerate().filter(|(_, used)| **used != 0).map(range)
    }

    /// Executable address of the end of the code in the part that holds `at`.
    pub fn end_of(&self, at: usize, memory: &CodeMemory) -> usize {
        let n = (at.wrapping_sub(memory.part(0)) / PART).min(PARTS - 1);
        memory.part(n) + self.used[n]
    }

    /// Starts over.
    pub fn clear(&mut self) {
        *self = Arena::default();
    }
}
