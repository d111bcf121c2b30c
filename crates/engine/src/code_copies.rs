//! Programs that write code. Nothing protects the pages that a program may write and that blocks were decoded from;
//! when it says that new code is to be seen (`fence.i`), they are compared with copies, and what differs is forgotten.

use crate::block::PAGE;
use crate::direct;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use trine_base::Width;

const BYTES: usize = PAGE as usize;
/// Bytes that are compared together.
const CHUNK: usize = 64;

type Page = Box<[u8; BYTES]>;

/// Pages as they were before blocks were decoded from them. Blocks are decoded from the copy, not from memory: where a
/// program changes code, which is decoded, and changes it back, the block would be of bytes that no copy ever had, and
/// nothing would be seen to differ.
#[derive(Default)]
pub struct Copies(HashMap<u64, Page>);

fn read(page: u64) -> Option<Page> {
    let mut bytes = Box::new([0; BYTES]);
    direct::read(page, &mut bytes[..])?;
    Some(bytes)
}

/// Takes the page as it is now and calls `f` with each range that differs. False where it is not there any more.
fn renew(page: u64, copy: &mut Page, mut f: impl FnMut(u64, u64)) -> bool {
    let Some(new) = read(page) else {
        f(page, page + PAGE);
        return false;
    };
    if *copy != new {
        let chunks = copy.chunks_exact(CHUNK).zip(new.chunks_exact(CHUNK));
        for (i, _) in chunks.enumerate().filter(|(_, (a, b))| a != b) {
            let at = page + (i * CHUNK) as u64;
            f(at, at + CHUNK as u64);
        }
        *copy = new;
    }
    true
}

/// Copies of pages with code, where they are needed to see changes; `()` where they are not.
pub trait CodeCopies: Default + Send {
    /// Forgets the copies in this range of pages that hold no block any more, as `used` says of each.
    fn forget_unused(&mut self, _start: u64, _end: u64, _used: impl Fn(u64) -> bool) {}

    /// Blocks with bytes in this range are gone: takes its pages as they are now; what differs elsewhere, too, `f` is
    /// called with.
    fn renew(&mut self, _start: u64, _end: u64, _f: impl FnMut(u64, u64)) {}

    /// No block is left.
    fn clear(&mut self) {}

    /// Calls `f` with each range that differs now.
    fn changes(&mut self, _f: impl FnMut(u64, u64)) {}
}

impl CodeCopies for () {}

impl Copies {
    /// Keeps a copy of the page at this address, and calls `f` with what differs from an earlier one. To be called before
    /// bytes of it are decoded.
    pub fn keep(&mut self, page: u64, f: impl FnMut(u64, u64)) {
        match self.0.entry(page) {
            Entry::Occupied(mut kept) => {
                if !renew(page, kept.get_mut(), f) {
                    kept.remove();
                }
            }
            Entry::Vacant(place) => {
                read(page).map(|bytes| place.insert(bytes));
            }
        }
    }

    /// Reads code from a kept copy; `None` where the page at this address has none. `at` is a multiple of the width.
    pub fn load(&self, at: u64, width: Width) -> Option<u64> {
        let copies = &self.0;
        let offset = (at & (PAGE - 1)) as usize;
        let bytes = copies.get(&(at & !(PAGE - 1)))?.get(offset..offset + width.bytes() as usize)?;
        let mut value = [0; 8];
        value[..bytes.len()].copy_from_slice(bytes);
        Some(u64::from_le_bytes(value))
    }
}

impl CodeCopies for Copies {
    fn forget_unused(&mut self, start: u64, end: u64, used: impl Fn(u64) -> bool) {
        let pages = (start & !(PAGE - 1)..end).step_by(BYTES);
        pages.filter(|&page| !used(page)).for_each(|page| drop(self.0.remove(&page)));
    }

    fn renew(&mut self, start: u64, end: u64, mut f: impl FnMut(u64, u64)) {
        let copies = &mut self.0;
        for page in (start & !(PAGE - 1)..end).step_by(BYTES) {
            if copies.get_mut(&page).is_some_and(|copy| !renew(page, copy, &mut f)) {
                copies.remove(&page);
            }
        }
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn changes(&mut self, mut f: impl FnMut(u64, u64)) {
        self.0.retain(|&page, copy| renew(page, copy, &mut f));
    }
}
