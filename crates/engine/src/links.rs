//! Direct jumps from one block's code to another's.
//!
//! Each such jump is a *site*: a 32-bit displacement in code memory, aligned so that one store changes it. A
//! site starts *cold*, which means that it leads to the dispatcher; the dispatcher then links it to its
//! target. When a block is retired, every site that leads to it becomes cold again, and so do its own sites,
//! whose numbers may still be on the way to the dispatcher in a thread that has just left the block: a site
//! without an owner is never linked.
//!
//! Only the displacement changes, by one aligned store, and both the old and the new target are valid code
//! until every vCPU has passed a safepoint. So a thread that executes the jump meanwhile goes to one of them
//! (QEMU and HotSpot patch jumps in the same way; AMD's manual, volume 2, 7.6.1, allows it for aligned
//! operands of up to 8 bytes).

use crate::block::{Block, PAGE};
use crate::code::{CodeMemory, PART, PARTS};
use crate::memory::GuestMemory;
use std::ptr::null;
use trine_ir::Isa;

/// Where a block's own sites are, and which sites lead to it.
#[derive(Default)]
pub struct Linked {
    /// Number of its first site.
    pub first: u32,
    /// How many it has.
    pub count: u32,
    /// Numbers of the sites that lead to the block.
    incoming: Vec<u32>,
}

/// One direct jump.
struct Site<I: Isa, M: GuestMemory<I>> {
    /// Executable address of the displacement.
    at: usize,
    /// The displacement that leads to the dispatcher.
    cold: i32,
    /// The block that contains it; null after that is retired.
    owner: *const Block<I, M>,
    /// The block that it leads to; null while it is cold.
    target: *const Block<I, M>,
}

/// All direct jumps, by the part of code memory that they are in.
pub struct Links<I: Isa, M: GuestMemory<I>>([Vec<Site<I, M>>; PARTS]);

/// Low bits of a site's number, which count the sites of one part. With those for the part they are 24, so
/// that the code with which a cold jump leaves fits into 32.
const NUMBER: u32 = 20;
const _: () = assert!(PARTS << NUMBER == 1 << 24);
/// Maximal number of sites of a part. A site takes more than 16 bytes of code, so the part is full before.
const MOST: usize = 1 << NUMBER;
const _: () = assert!(PART / 16 <= MOST);

// SAFETY: the pointers are only followed by a thread that has `&mut Links`, to blocks that are `Sync`.
unsafe impl<I: Isa, M: GuestMemory<I>> Send for Links<I, M> {}

impl<I: Isa, M: GuestMemory<I>> Default for Links<I, M> {
    fn default() -> Self {
        Links(std::array::from_fn(|_| Vec::new()))
    }
}

impl<I: Isa, M: GuestMemory<I>> Links<I, M> {
    /// The number of the next site of a part.
    pub fn next(&self, part: usize) -> u32 {
        (part << NUMBER) as u32 | self.0[part].len() as u32
    }

    fn site(&mut self, number: u32) -> Option<&mut Site<I, M>> {
        self.0.get_mut(number as usize >> NUMBER)?.get_mut(number as usize & (MOST - 1))
    }

    /// Adds the sites of a block that has just got its code in `part`: addresses, and current displacements.
    pub fn add(&mut self, part: usize, owner: &Block<I, M>, sites: impl Iterator<Item = (usize, i32)>) {
        let first = self.next(part);
        self.0[part].extend(sites.map(|(at, cold)| Site { at, cold, owner, target: null() }));
        let mut linked = owner.linked();
        (linked.first, linked.count) = (first, self.next(part) - first);
    }

    /// Makes the site with this number lead to `target`, unless its block or the target was retired
    /// meanwhile. Returns whether it does now.
    pub fn link(&mut self, number: u32, target: &Block<I, M>, memory: &CodeMemory) -> bool {
        let Some(site) = self.site(number) else { return false };
        let code = target.code();
        if !site.target.is_null() || target.is_retired() || code == 0 {
            return false;
        }
        // SAFETY: an owner is a block that is not retired: retiring it would have made this null.
        let Some(owner) = (unsafe { site.owner.as_ref() }) else { return false };
        // The jump stays in the virtual page. Where another hart has changed the mapping since this page was fetched,
        // the target may lie in another physical page; the link would serve every address space that has the owner's.
        if owner.start / PAGE != target.start / PAGE || owner.mode != target.mode {
            return false;
        }
        site.target = target;
        target.linked().incoming.push(number);
        memory.patch(site.at, (code as i64 - (site.at as i64 + 4)) as i32);
        true
    }

    /// Makes the sites that lead to a block cold, and its own sites, too.
    pub fn unlink(&mut self, block: &Block<I, M>, memory: &CodeMemory) {
        let (first, count, incoming) = {
            let mut linked = block.linked();
            (linked.first, linked.count, std::mem::take(&mut linked.incoming))
        };
        for number in incoming {
            self.cool(number, memory);
        }
        for number in first..first + count {
            let Some(site) = self.site(number) else { return };
            site.owner = null();
            // SAFETY: a target is a block that is not retired: retiring it would have made the site cold.
            if let Some(target) = unsafe { site.target.as_ref() } {
                target.linked().incoming.retain(|&n| n != number);
                self.cool(number, memory);
            }
        }
    }

    fn cool(&mut self, number: u32, memory: &CodeMemory) {
        if let Some(site) = self.site(number) {
            site.target = null();
            memory.patch(site.at, site.cold);
        }
    }

    /// Forgets the sites of a part that contains no block's code any more.
    pub fn clear(&mut self, part: usize) {
        self.0[part].clear();
    }

    /// Gives memory for sites that were forgotten back.
    pub fn release(&mut self, part: usize) {
        self.0[part].shrink_to_fit();
    }
}
