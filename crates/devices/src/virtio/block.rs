//! Block device (virtio 1.2, 5.2).

use super::queue::{Chain, Queue, gather, scatter, total};
use super::{Broken, Virtio};
use trine_base::{BlockBackend, BlockError};
use trine_memory::Ram;

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
/// Bytes moved at a time.
const PIECE: usize = 64 << 10;

/// The device.
pub struct Block {
    disk: Box<dyn BlockBackend>,
    id: [u8; 20],
}

impl Block {
    /// A device over `disk`; `id` is what the guest sees as its serial number (20 bytes of it).
    pub fn new(disk: Box<dyn BlockBackend>, id: &str) -> Block {
        let mut bytes = [0; 20];
        id.bytes().zip(&mut bytes).for_each(|(b, to)| *to = b);
        Block { disk, id: bytes }
    }

    fn request(&mut self, ram: &Ram, chain: &Chain) -> (u8, u32) {
        let mut header = [0; 16];
        if gather(ram, &chain.readable, 0, &mut header) < 16 {
            return (S_IOERR, 0);
        }
        let kind = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let sector = u64::from_le_bytes(header[8..].try_into().unwrap_or_default());
        // The last writable byte is the status.
        let room = total(&chain.writable).saturating_sub(1);
        let done = match kind {
            T_IN => self.read(ram, chain, sector, room),
            T_OUT => self.write(ram, chain, sector, total(&chain.readable) - 16).map(|()| 0),
            T_FLUSH => self.disk.flush().map(|()| 0),
            T_GET_ID => Ok(scatter(ram, &chain.writable, 0, &self.id[..room.min(20) as usize]) as u32),
            _ => return (S_UNSUPP, 0),
        };
        done.map_or((S_IOERR, 0), |n| (S_OK, n))
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

    fn read(&mut self, ram: &Ram, chain: &Chain, sector: u64, len: u64) -> Result<u32, BlockError> {
        let offset = self.range(sector, len)?;
        let mut buf = vec![0; PIECE.min(len as usize)];
        let mut done = 0;
        while done < len {
            let n = (len - done).min(PIECE as u64) as usize;
            self.disk.read_at(offset + done, &mut buf[..n])?;
            scatter(ram, &chain.writable, done, &buf[..n]);
            done += n as u64;
        }
        Ok(done as u32)
    }

    fn write(&mut self, ram: &Ram, chain: &Chain, sector: u64, len: u64) -> Result<(), BlockError> {
        let offset = self.range(sector, len)?;
        let mut buf = vec![0; PIECE.min(len as usize)];
        let mut done = 0;
        while done < len {
            let n = (len - done).min(PIECE as u64) as usize;
            gather(ram, &chain.readable, 16 + done, &mut buf[..n]);
            self.disk.write_at(offset + done, &buf[..n])?;
            done += n as u64;
        }
        Ok(())
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
        F_BLK_SIZE | F_FLUSH | if self.disk.read_only() { F_RO } else { 0 }
    }

    fn queues(&self) -> usize {
        1
    }

    fn config(&self) -> Vec<u8> {
        let mut config = vec![0; 60];
        config[..8].copy_from_slice(&(self.disk.size() / SECTOR).to_le_bytes());
        config[20..24].copy_from_slice(&(SECTOR as u32).to_le_bytes());
        config
    }

    fn serve(&mut self, _index: usize, queue: &mut Queue, ram: &Ram) -> Result<bool, Broken> {
        let mut any = false;
        while let Some(chain) = queue.pop(ram)? {
            let room = total(&chain.writable);
            let (status, written) = self.request(ram, &chain);
            let at = room.checked_sub(1).ok_or(Broken)?;
            scatter(ram, &chain.writable, at, &[status]);
            queue.push(ram, &chain, written.saturating_add(1))?;
            any = true;
        }
        Ok(any)
    }

    fn reset(&mut self) {}
}
