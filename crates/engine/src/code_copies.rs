//! Programs that write code. Pages that a program may write are not protected when blocks are decoded from
//! them; when the program asks for its new code to be seen ([`Hart::sync_code`](trine_ir::Hart::sync_code)),
//! they are compared with copies, and
//! blocks of changed bytes are forgotten.

use crate::block::PAGE;
use crate::direct;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use trine_base::Width;

const BYTES: usize = PAGE as usize;
/// Bytes that are compared together.
const CHUNK: usize = 64;

type Page = Box<[u8; BYTES]>;

/// Pages as they were before blocks were decoded from them. Blocks are decoded from the copy, not from
/// memory: if a program changes code, which is decoded, and changes it back, the block would have bytes that
/// no copy ever had, and no difference would be found.
#[derive(Default)]
pub struct Copies(HashMap<u64, Page>);

fn read(page: u64) -> Option<Page> {
    let mut bytes = Box::new([0; BYTES]);
    direct::read(page, &mut bytes[..])?;
    Some(bytes)
}

/// Copies the page anew and calls `f` with each range that differs. False if the page is no longer there.
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

/// Copies of pages with code, if they are needed to find changes; `()` if not.
pub trait CodeCopies: Default + Send {
    /// Forgets the copies of pages in this range that contain no block any more, as `used` tells of each.
    fn forget_unused(&mut self, _start: u64, _end: u64, _used: impl Fn(u64) -> bool) {}

    /// Called when blocks with bytes in this range are gone: copies its pages anew, and calls `f` with other
    /// ranges that differ, too.
    fn renew(&mut self, _start: u64, _end: u64, _f: impl FnMut(u64, u64)) {}

    /// Forgets all copies.
    fn clear(&mut self) {}

    /// Calls `f` with each range that differs now.
    fn changes(&mut self, _f: impl FnMut(u64, u64)) {}
}

impl CodeCopies for () {}

impl Copies {
    /// Keeps a copy of the page at this address, and calls `f` with the differences from an earlier one. To
    /// be called before bytes of it are decoded.
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

    /// Reads code from a copy; `None` if the page at this address has none. `at` is a multiple of the width.
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
