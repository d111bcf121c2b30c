//! Programs that write code. Nothing protects the pages that a program may write and that blocks were decoded from;
//! when it says that new code is to be seen (`fence.i`), they are compared with copies, and what differs is forgotten.

use crate::block::PAGE;
use crate::direct;
use std::cell::RefCell;
use std::collections::HashMap;

const BYTES: usize = PAGE as usize;
/// Bytes that are compared together.
const CHUNK: usize = 64;

/// Pages as they were before blocks were decoded from them.
#[derive(Default)]
pub struct Copies(RefCell<HashMap<u64, Box<[u8; BYTES]>>>);

fn read(page: u64) -> Option<Box<[u8; BYTES]>> {
    let mut bytes = Box::new([0; BYTES]);
    direct::read(page, &mut bytes[..])?;
    Some(bytes)
}

impl Copies {
    /// Keeps a copy of the page at this address, if there is none. To be called before its bytes are decoded: what is
    /// written meanwhile will differ.
    pub fn keep(&self, page: u64) {
        let mut copies = self.0.borrow_mut();
        if !copies.contains_key(&page)
            && let Some(bytes) = read(page)
        {
            copies.insert(page, bytes);
        }
    }

    /// No block is left of the page at this address.
    pub fn forget(&self, page: u64) {
        self.0.borrow_mut().remove(&page);
    }

    /// No block is left.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }

    /// Calls `f` with each range that differs now, and takes it as it is.
    pub fn changes(&self, mut f: impl FnMut(u64, u64)) {
        self.0.borrow_mut().retain(|&page, old| {
            let Some(new) = read(page) else {
                f(page, page + PAGE);
                return false;
            };
            if *old != new {
                let chunks = old.chunks_exact(CHUNK).zip(new.chunks_exact(CHUNK));
                for (i, _) in chunks.enumerate().filter(|(_, (a, b))| a != b) {
                    let at = page + (i * CHUNK) as u64;
                    f(at, at + CHUNK as u64);
                }
                *old = new;
            }
            true
        });
    }
}
