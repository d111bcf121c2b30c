//! A request to a disk: what its header asks for, and how it is done, in pieces (virtio 1.2, 5.2.6).

use super::super::Chain;
use super::super::queue::{gather, scatter, total};
use super::counters::Counters;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use trine_base::block::SECTOR;
use trine_base::{BlockBackend, BlockError};
use trine_memory::Ram;

/// Kinds of requests.
pub const T_IN: u32 = 0;
pub const T_OUT: u32 = 1;
pub const T_FLUSH: u32 = 4;
pub const T_GET_ID: u32 = 8;
pub const T_DISCARD: u32 = 11;
pub const T_WRITE_ZEROES: u32 = 13;

/// How a request ended.
pub const S_OK: u8 = 0;
pub const S_IOERR: u8 = 1;
pub const S_UNSUPP: u8 = 2;

/// Bytes of a request before its data.
const HEADER: u64 = 16;
/// Bytes of a range in the data of a discard, and the most ranges of a request.
const RANGE: u64 = 16;
pub const MOST_RANGES: u32 = 64;
/// The most sectors of a range: 1 GiB.
pub const MOST_SECTORS: u32 = 1 << 21;
/// In a range: its space may be given back.
const UNMAP: u32 = 1;

/// The most bytes that are moved at a time.
pub const PIECE: usize = 128 << 10;
/// The most bytes that are discarded at a time. Pieces end at multiples of it, so that no block is cut.
const DISCARDED: u64 = 32 << 20;

thread_local! {
    /// Where data is between disk and guest, for each thread that makes requests.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A disk as its requests see it.
pub struct Target {
    pub disk: Arc<dyn BlockBackend>,
    /// The serial number.
    pub id: [u8; 20],
    /// Whether each write is followed by a flush, as the driver knows nothing of flushes.
    pub write_through: AtomicBool,
    pub counters: Arc<Counters>,
}

/// A part of the disk that is discarded or becomes zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    offset: u64,
    len: u64,
    may_unmap: bool,
}

/// What a request asks for, checked.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    Read {
        offset: u64,
        len: u64,
    },
    Write {
        offset: u64,
        len: u64,
    },
    Discard(Vec<Range>),
    Zero(Vec<Range>),
    Flush,
    Id,
    /// Nothing: the request ends with this status.
    Refuse(u8),
}

impl Work {
    /// Reads the header of a request, and the ranges behind it.
    pub fn parse(ram: &Ram, chain: &Chain, disk: &dyn BlockBackend) -> Work {
        let mut header = [0; HEADER as usize];
        if gather(ram, &chain.readable, 0, &mut header) < header.len() {
            return Work::Refuse(S_IOERR);
        }
        let kind = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let sector = u64::from_le_bytes(header[8..].try_into().unwrap_or_default());
        match kind {
            T_IN => {
                let len = room(chain);
                place(disk, sector, len).map_or(Work::Refuse(S_IOERR), |offset| Work::Read { offset, len })
            }
            T_OUT => {
                let len = total(&chain.readable) - HEADER;
                place(disk, sector, len).map_or(Work::Refuse(S_IOERR), |offset| Work::Write { offset, len })
            }
            T_DISCARD => ranges(ram, chain, disk, 0).map_or_else(Work::Refuse, Work::Discard),
            T_WRITE_ZEROES => ranges(ram, chain, disk, UNMAP).map_or_else(Work::Refuse, Work::Zero),
            T_FLUSH => Work::Flush,
            T_GET_ID => Work::Id,
            _ => Work::Refuse(S_UNSUPP),
        }
    }

    /// The number of bytes to move.
    pub fn len(&self) -> u64 {
        match self {
            Work::Read { len, .. } | Work::Write { len, .. } => *len,
            Work::Discard(ranges) | Work::Zero(ranges) => ranges.iter().map(|r| r.len).sum(),
            Work::Flush | Work::Id | Work::Refuse(_) => 0,
        }
    }

    /// Does a part of the request: from byte `done` until it is finished, `most` bytes were moved, or `stop` is set.
    /// Returns the number of bytes that were moved.
    pub fn perform(
        &self,
        target: &Target,
        ram: &Ram,
        chain: &Chain,
        (done, most): (u64, u64),
        stop: &AtomicBool,
    ) -> Result<u64, BlockError> {
        let mut at = done;
        while at < self.len() && at - done < most && !stop.load(Ordering::Relaxed) {
            at += self.piece(target, ram, chain, at)?;
        }
        if at >= self.len() {
            self.finish(target, ram, chain)?;
        }
        Ok(at - done)
    }

    /// Moves the next bytes, some at least.
    fn piece(&self, target: &Target, ram: &Ram, chain: &Chain, at: u64) -> Result<u64, BlockError> {
        let disk = &*target.disk;
        match self {
            Work::Read { offset, len } => with_buffer(len - at, |buf| {
                disk.read_at(offset + at, buf)?;
                scatter(ram, &chain.writable, at, buf);
                Ok(())
            }),
            Work::Write { offset, len } => with_buffer(len - at, |buf| {
                gather(ram, &chain.readable, HEADER + at, buf);
                disk.write_at(offset + at, buf)
            }),
            Work::Discard(ranges) => of_ranges(ranges, at, |range| disk.discard(range.offset, range.len)),
            Work::Zero(ranges) => {
                of_ranges(ranges, at, |range| disk.write_zeroes(range.offset, range.len, range.may_unmap))
            }
            Work::Flush | Work::Id | Work::Refuse(_) => Ok(0),
        }
    }

    /// Does what comes after the last byte.
    fn finish(&self, target: &Target, ram: &Ram, chain: &Chain) -> Result<(), BlockError> {
        let counters = &target.counters;
        match self {
            Work::Read { len, .. } => counters.reads.add(*len),
            Work::Write { len, .. } => counters.writes.add(*len),
            Work::Discard(_) | Work::Zero(_) => counters.discards.add(self.len()),
            Work::Flush => {
                target.disk.flush()?;
                counters.flushes.fetch_add(1, Ordering::Relaxed);
            }
            Work::Id => {
                let len = room(chain).min(target.id.len() as u64) as usize;
                scatter(ram, &chain.writable, 0, &target.id[..len]);
            }
            Work::Refuse(_) => {}
        }
        if matches!(self, Work::Write { .. } | Work::Zero(_)) && target.write_through.load(Ordering::Relaxed)
        {
            target.disk.flush()?;
        }
        Ok(())
    }

    /// The status of a request that was performed, and the number of bytes that were written for the driver
    /// besides.
    pub fn outcome(&self, target: &Target, chain: &Chain, result: Result<u64, BlockError>) -> (u8, u32) {
        let (status, written) = match (self, result) {
            (Work::Refuse(status), _) => (*status, 0),
            (_, Err(_)) => (S_IOERR, 0),
            (Work::Read { len, .. }, Ok(_)) => (S_OK, *len),
            (Work::Id, Ok(_)) => (S_OK, room(chain).min(target.id.len() as u64)),
            (_, Ok(_)) => (S_OK, 0),
        };
        if status != S_OK {
            target.counters.errors.fetch_add(1, Ordering::Relaxed);
        }
        (status, u32::try_from(written).unwrap_or(u32::MAX))
    }
}

/// The bytes that the device may write before the last one, which is the status.
fn room(chain: &Chain) -> u64 {
    total(&chain.writable).saturating_sub(1)
}

/// The offset of `len` bytes at `sector`, if they are whole sectors of the disk.
fn place(disk: &dyn BlockBackend, sector: u64, len: u64) -> Option<u64> {
    let offset = sector.checked_mul(SECTOR)?;
    let fits = offset.checked_add(len)? <= disk.size() && len.is_multiple_of(SECTOR);
    fits.then_some(offset)
}

/// Reads the ranges of a request, whose flags may be `allowed`; or the status with which it is refused.
fn ranges(ram: &Ram, chain: &Chain, disk: &dyn BlockBackend, allowed: u32) -> Result<Vec<Range>, u8> {
    let len = total(&chain.readable) - HEADER;
    if len == 0 || !len.is_multiple_of(RANGE) || len > RANGE * MOST_RANGES as u64 {
        return Err(S_IOERR);
    }
    let mut bytes = vec![0; len as usize];
    gather(ram, &chain.readable, HEADER, &mut bytes);
    let range = |b: &[u8; RANGE as usize]| {
        let sector = u64::from_le_bytes(*b.first_chunk().unwrap_or(&[0; 8]));
        let [sectors, flags] = [8, 12].map(|at| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]));
        if flags & !allowed != 0 {
            return Err(S_UNSUPP);
        }
        let len = sectors as u64 * SECTOR;
        let offset = place(disk, sector, len).filter(|_| sectors <= MOST_SECTORS).ok_or(S_IOERR)?;
        Ok(Range { offset, len, may_unmap: flags & UNMAP != 0 })
    };
    bytes.as_chunks().0.iter().map(range).collect()
}

/// Calls `then` with this thread's buffer for at most `left` bytes; returns how many there are.
fn with_buffer(left: u64, then: impl FnOnce(&mut [u8]) -> Result<(), BlockError>) -> Result<u64, BlockError> {
    let len = left.min(PIECE as u64) as usize;
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        then(&mut buffer[..len])
    })?;
    Ok(len as u64)
}

/// Calls `then` with the part of the ranges that begins with their byte `at`; returns its length.
fn of_ranges(
    ranges: &[Range],
    at: u64,
    then: impl FnOnce(Range) -> Result<(), BlockError>,
) -> Result<u64, BlockError> {
    let mut skip = at;
    for range in ranges {
        if skip < range.len {
            let offset = range.offset + skip;
            let end = (offset / DISCARDED + 1) * DISCARDED;
            let len = (range.len - skip).min(end - offset);
            return then(Range { offset, len, ..*range }).map(|()| len);
        }
        skip -= range.len;
    }
    Ok(0)
}
