//! The split virtqueue (virtio 1.2, 2.7). Everything in it is the guest's: addresses, lengths and
//! indices are checked, loops are cut.

use super::Broken;
use std::sync::atomic::{Ordering, fence};
use trine_base::Width;
use trine_memory::Ram;

/// Largest queue offered.
pub const MAX_SIZE: u16 = 256;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// `VIRTQ_AVAIL_F_NO_INTERRUPT`.
const NO_INTERRUPT: u64 = 1;

/// One queue.
#[derive(Clone, Copy, Default, Debug)]
pub struct Queue {
    /// Number of descriptors.
    pub size: u16,
    /// Whether the driver has set it up.
    pub ready: bool,
    /// Physical address of the descriptor table.
    pub descriptors: u64,
    /// Physical address of the available ring.
    pub available: u64,
    /// Physical address of the used ring.
    pub used: u64,
    next_available: u16,
    next_used: u16,
}

/// A part of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Physical address.
    pub address: u64,
    /// Bytes.
    pub len: u32,
}

/// A chain of descriptors.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// Index of its first descriptor.
    pub head: u16,
    /// What the device reads.
    pub readable: Vec<Segment>,
    /// What the device writes.
    pub writable: Vec<Segment>,
}

struct Descriptor {
    address: u64,
    len: u32,
    flags: u16,
    next: u16,
}

fn descriptor(ram: &Ram, table: u64, index: u16) -> Option<Descriptor> {
    let at = table.checked_add(16 * index as u64)?;
    Some(Descriptor {
        address: ram.load(at, Width::B8)?,
        len: ram.load(at.checked_add(8)?, Width::B4)? as u32,
        flags: ram.load(at.checked_add(12)?, Width::B2)? as u16,
        next: ram.load(at.checked_add(14)?, Width::B2)? as u16,
    })
}

impl Queue {
    /// The next chain that the driver made available; `None` when there is none.
    pub fn pop(&mut self, ram: &Ram) -> Result<Option<Chain>, Broken> {
        if !self.ready || self.size == 0 {
            return Ok(None);
        }
        let index = self.available_word(ram, 2)?;
        if index == self.next_available {
            return Ok(None);
        }
        if index.wrapping_sub(self.next_available) > self.size {
            return Err(Broken);
        }
        // The ring's entry was written before its index.
        fence(Ordering::Acquire);
        let head = self.available_word(ram, 4 + 2 * (self.next_available % self.size) as u64)?;
        let chain = self.chain(ram, head).ok_or(Broken)?;
        self.next_available = self.next_available.wrapping_add(1);
        Ok(Some(chain))
    }

    /// Puts the chain last popped back: it will be popped again.
    pub fn unpop(&mut self) {
        self.next_available = self.next_available.wrapping_sub(1);
    }

    fn available_word(&self, ram: &Ram, offset: u64) -> Result<u16, Broken> {
        let at = self.available.checked_add(offset).ok_or(Broken)?;
        ram.load(at, Width::B2).map(|v| v as u16).ok_or(Broken)
    }

    fn chain(&self, ram: &Ram, head: u16) -> Option<Chain> {
        let mut chain = Chain { head, ..Chain::default() };
        let (mut table, mut size, mut index) = (self.descriptors, self.size, head);
        let mut indirect = false;
        // No chain is longer than its table: a longer one is a loop.
        let mut left = size as u32 + 1;
        loop {
            left = left.checked_sub(1)?;
            if index >= size {
                return None;
            }
            let d = descriptor(ram, table, index)?;
            if d.flags & INDIRECT != 0 {
                if indirect || d.flags & NEXT != 0 || d.len == 0 || d.len % 16 != 0 {
                    return None;
                }
                indirect = true;
                (table, size, index) = (d.address, u16::try_from(d.len / 16).ok()?, 0);
                left = size as u32 + 1;
                continue;
            }
            let segment = Segment { address: d.address, len: d.len };
            if !ram.contains(d.address, d.len as u64) {
                return None;
            }
            if d.flags & WRITE != 0 {
                chain.writable.push(segment);
            } else if chain.writable.is_empty() {
                chain.readable.push(segment);
            } else {
                return None;
            }
            if d.flags & NEXT == 0 {
                return Some(chain);
            }
            index = d.next;
        }
    }

    /// Gives a chain back; `written` bytes of its writable part are valid.
    pub fn push(&mut self, ram: &Ram, chain: &Chain, written: u32) -> Result<(), Broken> {
        let at = |offset: u64| self.used.checked_add(offset).ok_or(Broken);
        let entry = 4 + 8 * (self.next_used % self.size.max(1)) as u64;
        ram.store(at(entry)?, Width::B4, chain.head as u64).ok_or(Broken)?;
        ram.store(at(entry + 4)?, Width::B4, written as u64).ok_or(Broken)?;
        // The driver sees the index only after entry and data.
        fence(Ordering::Release);
        let next = self.next_used.wrapping_add(1);
        ram.store(at(2)?, Width::B2, next as u64).ok_or(Broken)?;
        self.next_used = next;
        Ok(())
    }

    /// Whether the driver wants an interrupt for used buffers.
    pub fn wants_interrupt(&self, ram: &Ram) -> bool {
        fence(Ordering::SeqCst);
        ram.load(self.available, Width::B2).is_none_or(|flags| flags & NO_INTERRUPT == 0)
    }
}

/// Total length of segments.
pub fn total(segments: &[Segment]) -> u64 {
    segments.iter().map(|s| s.len as u64).sum()
}

/// The parts of `segments` that hold bytes `skip .. skip + len` of them.
fn parts(segments: &[Segment], skip: u64, len: u64) -> impl Iterator<Item = Segment> + '_ {
    let (mut skip, mut left) = (skip, len);
    segments.iter().filter_map(move |s| {
        let before = skip.min(s.len as u64);
        skip -= before;
        let n = (s.len as u64 - before).min(left);
        left -= n;
        (n > 0).then(|| Segment { address: s.address + before, len: n as u32 })
    })
}

/// Copies out of guest memory; the number of bytes there were.
pub fn gather(ram: &Ram, segments: &[Segment], skip: u64, buf: &mut [u8]) -> usize {
    let mut done = 0;
    for part in parts(segments, skip, buf.len() as u64) {
        let end = done + part.len as usize;
        if ram.read(part.address, &mut buf[done..end]).is_none() {
            break;
        }
        done = end;
    }
    done
}

/// Copies into guest memory; the number of bytes that fitted.
pub fn scatter(ram: &Ram, segments: &[Segment], skip: u64, buf: &[u8]) -> usize {
    let mut done = 0;
    for part in parts(segments, skip, buf.len() as u64) {
        let end = done + part.len as usize;
        if ram.write(part.address, &buf[done..end]).is_none() {
            break;
        }
        done = end;
    }
    done
}
