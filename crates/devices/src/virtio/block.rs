//! Block device (virtio 1.2, 5.2).

use super::queue::{Chain, MAX_SIZE, Progress, Queue, Served, gather, scatter, total};
use super::{Broken, Virtio};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use trine_base::state::Versioned;
use trine_base::{BlockBackend, BlockError, StateError, state, versions};
use trine_memory::Ram;

/// Feature: `seg_max` is valid.
const F_SEG_MAX: u64 = 1 << 2;
/// Feature: the disk is read-only.
const F_RO: u64 = 1 << 5;
/// Feature: `blk_size` is valid.
const F_BLK_SIZE: u64 = 1 << 6;
/// Feature: flush requests.
const F_FLUSH: u64 = 1 << 9;

const T_IN: u32 = 0;
const T_OUT: u32 = 1;
const T_FLUSH: u32 = 4;
const T_GET_ID: u32 = 8;

const S_OK: u8 = 0;
const S_IOERR: u8 = 1;
const S_UNSUPP: u8 = 2;

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// Bytes of a request before its data.
const HEADER: u64 = 16;
/// The largest number of buffers of a request's data: a chain in a queue of the largest size has two more,
/// for header and status. A driver that is not told makes requests of one buffer.
const SEG_MAX: u32 = MAX_SIZE as u32 - 2;
/// The most bytes that are moved at a time.
const PIECE: usize = 64 << 10;

/// The direction in which a request moves bytes.
#[derive(Clone, Copy)]
enum Way {
    FromDisk,
    ToDisk,
}

/// The first version of the saved state: what a driver has read about the disk, which must still be true. An
/// unfinished request is in the queue's state.
#[derive(Serialize, Deserialize)]
struct V1 {
    /// Bytes of the disk.
    size: u64,
    read_only: bool,
}

versions!(Saved of "the block device" { V1(V1) });

/// The device.
pub struct Block {
    disk: Arc<dyn BlockBackend>,
    id: [u8; 20],
}

impl Block {
    /// Creates a device for `disk`; the guest sees the first 20 bytes of `id` as its serial number.
    pub fn new(disk: Arc<dyn BlockBackend>, id: &str) -> Block {
        let mut bytes = [0; 20];
        id.bytes().zip(&mut bytes).for_each(|(b, to)| *to = b);
        Block { disk, id: bytes }
    }

    /// Serves a request of which `done` bytes were moved before, for one turn. A read or write of a whole
    /// disk is a single request, and other devices and the user want their turn, too. The header is read
    /// again each time and is checked again, because the guest may have changed it.
    fn request(&mut self, ram: &Ram, chain: &Chain, done: u64, most: u64) -> (u8, Progress) {
        let finished = |status, written| (status, Progress::Finished { moved: 0, written });
        let mut header = [0; HEADER as usize];
        if gather(ram, &chain.readable, 0, &mut header) < header.len() {
            return finished(S_IOERR, 0);
        }
        let kind = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let sector = u64::from_le_bytes(header[8..].try_into().unwrap_or_default());
        // The last writable byte holds the status.
        let room = total(&chain.writable).saturating_sub(1);
        let moved = match kind {
            T_IN => {
                let moved = self.transfer(ram, chain, Way::FromDisk, (sector, room), (done, most));
                moved.map(|moved| (moved, room, room))
            }
            T_OUT => {
                let len = total(&chain.readable) - HEADER;
                let moved = self.transfer(ram, chain, Way::ToDisk, (sector, len), (done, most));
                moved.map(|moved| (moved, len, 0))
            }
            T_FLUSH => self.disk.flush().map(|()| (0, 0, 0)),
            T_GET_ID => {
                let n = scatter(ram, &chain.writable, 0, &self.id[..room.min(20) as usize]) as u64;
                Ok((n, n, n))
            }
            _ => return finished(S_UNSUPP, 0),
        };
        match moved {
            Ok((moved, len, _)) if done.saturating_add(moved) < len => (S_OK, Progress::Moved(moved)),
            Ok((moved, _, written)) => {
                let written = u32::try_from(written).unwrap_or(u32::MAX);
                (S_OK, Progress::Finished { moved, written })
            }
            Err(_) => finished(S_IOERR, 0),
        }
    }

    fn range(&self, sector: u64, len: u64) -> Result<u64, BlockError> {
        let error =
            BlockError::OutOfRange { offset: sector.saturating_mul(SECTOR), len, size: self.disk.size() };
        let offset = sector.checked_mul(SECTOR);
        match offset.and_then(|o| o.checked_add(len)) {
            Some(end) if end <= self.disk.size() && len.is_multiple_of(SECTOR) => offset.ok_or(error),
            _ => Err(error),
        }
    }

    /// Moves bytes of a request whose first `done` bytes were moved before, until `most` more were moved or
    /// it is finished; returns how many were moved.
    fn transfer(
        &mut self,
        ram: &Ram,
        chain: &Chain,
        way: Way,
        (sector, len): (u64, u64),
        (done, most): (u64, u64),
    ) -> Result<u64, BlockError> {
        let offset = self.range(sector, len)?;
        let mut buf = vec![0; PIECE.min(len as usize)];
        let mut at = done;
        while at < len && at - done < most {
            let piece = &mut buf[..(len - at).min(PIECE as u64) as usize];
            match way {
                Way::FromDisk => {
                    self.disk.read_at(offset + at, piece)?;
                    scatter(ram, &chain.writable, at, piece);
                }
                Way::ToDisk => {
                    gather(ram, &chain.readable, HEADER + at, piece);
                    self.disk.write_at(offset + at, piece)?;
                }
            }
            at += piece.len() as u64;
        }
        Ok(at - done)
    }
}

impl Virtio for Block {
    fn id(&self) -> u32 {
        2
    }

    fn name(&self) -> &str {
        "virtio-block"
    }

    fn features(&self) -> u64 {
        F_SEG_MAX | F_BLK_SIZE | F_FLUSH | if self.disk.read_only() { F_RO } else { 0 }
    }

    fn queues(&self) -> usize {
        1
    }

    fn config(&self) -> Vec<u8> {
        let mut config = vec![0; 60];
        config[..8].copy_from_slice(&(self.disk.size() / SECTOR).to_le_bytes());
        config[12..16].copy_from_slice(&SEG_MAX.to_le_bytes());
        config[20..24].copy_from_slice(&(SECTOR as u32).to_le_bytes());
        config
    }

    fn serve(&mut self, _index: usize, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        queue.serve(ram, |chain, done, most| {
            let (status, progress) = self.request(ram, chain, done, most);
            let Progress::Finished { moved, written } = progress else { return Ok(progress) };
            let at = total(&chain.writable).checked_sub(1).ok_or(Broken)?;
            scatter(ram, &chain.writable, at, &[status]);
            Ok(Progress::Finished { moved, written: written.saturating_add(1) })
        })
    }

    fn reset(&mut self) {}

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(V1 { size: self.disk.size(), read_only: self.disk.read_only() }))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(V1 { size, read_only }) = state::load(state)?;
        let (here, fixed) = (self.disk.size(), self.disk.read_only());
        if size != here {
            return Err(Saved::mismatch(format!("the disk had {size} bytes, but this one has {here}")));
        }
        if read_only != fixed {
            let what = |fixed| if fixed { "read-only" } else { "writable" };
            let (was, is) = (what(read_only), what(fixed));
            return Err(Saved::mismatch(format!("the disk was {was}, but this one is {is}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::tests::{BASE, DATA, Driver, QUEUE, SIZE};
    use std::sync::Mutex;

    const SECTORS: u64 = 16;
    const AT: u64 = DATA;
    const BODY: u64 = DATA + 0x1000;
    const STATUS: u64 = DATA + 0x800;

    /// A disk that records its requests; behind its stored bytes it reads as zeros.
    #[derive(Clone)]
    struct Disk {
        bytes: Arc<Mutex<Vec<u8>>>,
        log: Arc<Mutex<Vec<String>>>,
        size: u64,
        read_only: bool,
        /// Whether each read adds 1 to the first byte.
        counts: bool,
    }

    impl Disk {
        fn new(size: u64) -> Disk {
            let bytes = (0..SECTORS * SECTOR).map(|i| (i / SECTOR) as u8).collect();
            let (bytes, log) = (Arc::new(Mutex::new(bytes)), Arc::default());
            Disk { bytes, log, size, read_only: false, counts: false }
        }

        fn log(&self) -> Vec<String> {
            std::mem::take(&mut *self.log.lock().unwrap())
        }
    }

    impl BlockBackend for Disk {
        fn size(&self) -> u64 {
            self.size
        }
        fn read_only(&self) -> bool {
            self.read_only
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
            let mut log = self.log.lock().unwrap();
            log.push(format!("read {offset} {}", buf.len()));
            assert!(log.len() < 10_000, "without end");
            let mut bytes = self.bytes.lock().unwrap();
            buf.fill(0);
            if let Some(from) = bytes.get(offset as usize..) {
                let n = from.len().min(buf.len());
                buf[..n].copy_from_slice(&from[..n]);
            }
            bytes[0] = bytes[0].wrapping_add(self.counts as u8);
            Ok(())
        }
        fn write_at(&self, offset: u64, buf: &[u8]) -> Result<(), BlockError> {
            if self.read_only {
                return Err(BlockError::ReadOnly);
            }
            self.log.lock().unwrap().push(format!("write {offset} {}", buf.len()));
            if let Some(to) = self.bytes.lock().unwrap().get_mut(offset as usize..) {
                let n = to.len().min(buf.len());
                to[..n].copy_from_slice(&buf[..n]);
            }
            Ok(())
        }
        fn flush(&self) -> Result<(), BlockError> {
            self.log.lock().unwrap().push("flush".into());
            Ok(())
        }
        fn format(&self) -> &'static str {
            "test"
        }
        fn discard(&self, _: u64, _: u64) -> Result<(), BlockError> {
            Ok(())
        }
    }

    fn test(disk: Disk) -> Driver {
        Driver::new(Block::new(Arc::new(disk), "serial-number-that-is-long"))
    }

    fn header(d: &Driver, kind: u32, sector: u64) {
        let mut header = [0; 16];
        header[..4].copy_from_slice(&kind.to_le_bytes());
        header[8..].copy_from_slice(&sector.to_le_bytes());
        d.ram.write(AT, &header).unwrap();
        d.ram.write(STATUS, &[0xee]).unwrap();
    }

    /// Makes a request and returns its status.
    fn request(d: &mut Driver, kind: u32, sector: u64, out: &[(u64, u32)], into: &[(u64, u32)]) -> u8 {
        header(d, kind, sector);
        let readable = [&[(AT, 16)], out].concat();
        let writable = [into, &[(STATUS, 1)]].concat();
        d.request(0, &readable, &writable);
        d.bytes(STATUS, 1)[0]
    }

    #[test]
    fn sectors_are_read_and_written() {
        let disk = Disk::new(SECTORS * SECTOR);
        let mut d = test(disk.clone());
        assert_eq!(request(&mut d, T_IN, 3, &[], &[(BODY, 512), (BODY + 4096, 512)]), S_OK);
        assert_eq!((d.bytes(BODY, 1), d.bytes(BODY + 4096 + 511, 1)), (vec![3], vec![4]));
        assert_eq!(d.last_used(0), (0, 1025));
        assert_eq!(request(&mut d, T_OUT, 15, &[(BODY, 512)], &[]), S_OK);
        assert_eq!((disk.bytes.lock().unwrap()[15 * 512], d.last_used(0)), (3, (0, 1)));
        assert_eq!(request(&mut d, T_FLUSH, 0, &[], &[]), S_OK);
        assert_eq!(disk.log(), ["read 1536 1024", "write 7680 512", "flush"]);
        assert_eq!(request(&mut d, T_GET_ID, 0, &[], &[(BODY, 20)]), S_OK);
        assert_eq!(d.bytes(BODY, 20), b"serial-number-that-i");
        assert_eq!(request(&mut d, 11, 0, &[], &[]), S_UNSUPP);
    }

    #[test]
    fn a_request_may_have_as_many_buffers_as_a_queue_has_room_for() {
        let mut d = test(Disk::new(1 << 20));
        d.write(0x14, 0);
        assert_eq!(d.read(0x10) & F_SEG_MAX, F_SEG_MAX);
        assert_eq!(d.read(0x100 + 12), 254);
        // As many buffers as the largest queue has; this driver's queue is smaller, so they lie in an
        // indirect table.
        header(&d, T_IN, 0);
        let (table, count) = (BASE + 0x8000, MAX_SIZE);
        d.describe(table, 0, (AT, 16), 1, 1);
        for i in 1..count - 1 {
            d.describe(table, i, (BODY + 512 * i as u64, 512), 3, i + 1);
        }
        d.describe(table, count - 1, (STATUS, 1), 2, 0);
        d.describe(Driver::rings(0)[0], 0, (table, count as u32 * 16), 4, 0);
        d.offer(0, 0, 1);
        d.notify(0);
        assert_eq!((d.bytes(STATUS, 1)[0], d.last_used(0)), (S_OK, (0, 254 * 512 + 1)));
        assert_eq!(d.bytes(BODY + 512 * 4, 1), [3], "the fourth buffer has the fourth sector");
    }

    #[test]
    fn what_does_not_lie_on_the_disk_is_refused() {
        let disk = Disk::new(SECTORS * SECTOR);
        let mut d = test(disk.clone());
        for sector in [SECTORS, SECTORS - 1, 1 << 55, u64::MAX / 512, u64::MAX] {
            assert_eq!(request(&mut d, T_IN, sector, &[], &[(BODY, 1024)]), S_IOERR, "{sector}");
            assert_eq!(request(&mut d, T_OUT, sector, &[(BODY, 1024)], &[]), S_IOERR, "{sector}");
        }
        assert_eq!(request(&mut d, T_IN, 0, &[], &[(BODY, 511)]), S_IOERR, "part of a sector");
        assert_eq!(disk.log(), [""; 0]);
    }

    #[test]
    fn a_read_only_disk_says_so_and_refuses() {
        let mut disk = Disk::new(SECTORS * SECTOR);
        disk.read_only = true;
        let mut d = test(disk);
        d.write(0x14, 0);
        assert_eq!(d.read(0x10) & F_RO, F_RO);
        assert_eq!(request(&mut d, T_OUT, 0, &[(BODY, 512)], &[]), S_IOERR);
    }

    #[test]
    fn requests_without_a_header_or_a_status() {
        let disk = Disk::new(SECTORS * SECTOR);
        let mut d = test(disk.clone());
        header(&d, T_IN, 0);
        d.request(0, &[(AT, 15)], &[(BODY, 512), (STATUS, 1)]);
        assert_eq!(d.bytes(STATUS, 1), [S_IOERR]);
        d.request(0, &[(AT, 16), (BODY, 512)], &[]);
        assert!(d.needs_reset(), "nowhere to say how it went");
        assert_eq!(disk.log(), [""; 0]);
    }

    #[test]
    fn a_large_request_takes_several_turns() {
        let len = 12u64 << 20;
        let disk = Disk::new(1 << 40);
        let mut d = test(disk.clone());
        assert_eq!(request(&mut d, T_IN, 1, &[], &[(BODY, len as u32)]), 0xee, "not finished yet");
        assert_eq!((disk.log().len() * PIECE, d.used(0)), (4 << 20, 0));
        // Other requests that came meanwhile wait until it is done.
        assert!(d.turn());
        assert_eq!((d.used(0), d.bytes(STATUS, 1)), (0, vec![0xee]));
        assert!(d.turn());
        assert_eq!((d.used(0), d.bytes(STATUS, 1), d.last_used(0)), (1, vec![S_OK], (0, len as u32 + 1)));
        assert_eq!(disk.log().last().map(String::as_str), Some("read 12517888 65536"));
        assert!(!d.turn(), "nothing is left to do");
        assert_eq!(d.bytes(BODY, 1), [1]);
        // The same to the disk, and a driver that changes its mind in the middle.
        assert_eq!(request(&mut d, T_OUT, 0, &[(BODY, len as u32)], &[]), 0xee);
        header(&d, T_OUT, u64::MAX);
        assert!(d.turn());
        assert_eq!(d.bytes(STATUS, 1), [S_IOERR]);
    }

    #[test]
    fn a_chain_over_its_own_ring_ends_the_turn() {
        // The disk's first byte counts reads, and is read into the index of the available ring.
        let mut disk = Disk::new(SECTORS * SECTOR);
        disk.counts = true;
        disk.bytes.lock().unwrap().fill(0);
        disk.bytes.lock().unwrap()[0] = 2;
        let mut d = test(disk.clone());
        let [_, available, _] = Driver::rings(0);
        // The rest of the sector lies behind the ring; all entries name the first chain.
        request(&mut d, T_IN, 0, &[], &[(available + 2, 512)]);
        assert_eq!(disk.log().len(), QUEUE as usize);
        assert!(d.turn());
        assert_eq!(disk.log().len(), QUEUE as usize);
        assert!(!d.needs_reset());
    }

    #[test]
    fn a_disk_larger_than_a_length_can_say() {
        // 17 buffers of nearly all memory are more than 2³² bytes only with an indirect table; one turn at a time.
        let disk = Disk::new(1 << 50);
        let mut d = test(disk.clone());
        header(&d, T_IN, 0);
        let table = BASE + 0x8000;
        let count = 600u16;
        d.describe(table, 0, (AT, 16), 1, 1);
        for i in 1..count {
            d.describe(table, i, (DATA + 0x2000, (8 << 20) as u32), 3, i + 1);
        }
        d.describe(table, count, (STATUS, 1), 2, 0);
        d.describe(Driver::rings(0)[0], 0, (table, (count as u32 + 1) * 16), 4, 0);
        d.offer(0, 0, 1);
        d.notify(0);
        assert_eq!(disk.log().len() * PIECE, 4 << 20);
        assert!(d.turn() && d.used(0) == 0);
        assert!(d.bytes(BASE + SIZE - 1, 1) == [0], "memory behind it is untouched");
    }
}
