//! The disk behind a block device.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Why a request to a disk failed.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The request reaches past the end of the disk.
    #[error("access of {len} bytes at {offset} is outside the disk of {size} bytes")]
    OutOfRange {
        /// Byte offset of the request.
        offset: u64,
        /// Length of the request in bytes.
        len: u64,
        /// Size of the disk in bytes.
        size: u64,
    },
    /// The disk was opened read-only.
    #[error("the disk is read-only")]
    ReadOnly,
    /// The host's file system reported an error.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl BlockError {
    /// Whether `len` bytes at `offset` lie in a disk of `size` bytes.
    ///
    /// # Errors
    /// [`BlockError::OutOfRange`] where they do not.
    pub fn check_range(size: u64, offset: u64, len: u64) -> Result<(), BlockError> {
        match offset.checked_add(len) {
            Some(end) if end <= size => Ok(()),
            _ => Err(BlockError::OutOfRange { offset, len, size }),
        }
    }
}

/// What the sizes of a disk's blocks are, in bytes. All are powers of two, and multiples of [`SECTOR`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSizes {
    /// The smallest unit that can be written without reading what surrounds it.
    pub physical: u32,
    /// The unit in which space is given back: requests to discard less may have no effect.
    pub discard: u32,
}

impl Default for BlockSizes {
    fn default() -> BlockSizes {
        BlockSizes { physical: SECTOR as u32, discard: SECTOR as u32 }
    }
}

/// Bytes of a sector: the size of a disk is a multiple of it.
pub const SECTOR: u64 = 512;

/// A disk: a sequence of bytes. A transfer is complete or an error; there are no short transfers. Several threads may
/// make requests at once: those that touch the same bytes at the same time may be done in either order, all others do
/// not affect each other.
///
/// What was written is kept when the process of the monitor is killed, and when the host fails only after a
/// [`BlockBackend::flush`] that began after the write had returned.
pub trait BlockBackend: Send + Sync {
    /// Size in bytes. It does not change.
    fn size(&self) -> u64;
    /// Whether all requests that change something are refused.
    fn read_only(&self) -> bool;
    /// The sizes of its blocks.
    fn block_sizes(&self) -> BlockSizes {
        BlockSizes::default()
    }
    /// How the disk is stored, for people: `raw`, `qcow2`.
    fn format(&self) -> &'static str;
    /// Fills `buf` from byte `offset`.
    ///
    /// # Errors
    /// Some of it is not on the disk, or the host reported an error.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError>;
    /// Stores `buf` at byte `offset`.
    ///
    /// # Errors
    /// As with [`BlockBackend::read_at`], and the disk is read-only. The bytes may have been written in part.
    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<(), BlockError>;
    /// Makes durable what was written before.
    ///
    /// # Errors
    /// The host reported an error: what was written since the last flush may be lost when the host fails.
    fn flush(&self) -> Result<(), BlockError>;
    /// These bytes are not needed any more: they read as zeros or as what they were. Where the disk cannot give
    /// space back, nothing is done.
    ///
    /// # Errors
    /// As with [`BlockBackend::write_at`].
    fn discard(&self, offset: u64, len: u64) -> Result<(), BlockError>;
    /// Makes these bytes zero. Their space may be given back if `may_unmap`; otherwise, where the disk can, later
    /// writes there need no new space.
    ///
    /// # Errors
    /// As with [`BlockBackend::write_at`].
    fn write_zeroes(&self, offset: u64, len: u64, may_unmap: bool) -> Result<(), BlockError> {
        let _ = may_unmap;
        write_zero_bytes(self, offset, len)
    }
    /// The file that it is stored in, as it was named; `None` if it has no name or several files belong to it.
    fn path(&self) -> Option<&Path> {
        None
    }
    /// Copies the whole disk, byte for byte, into an empty file. Nobody may write to the disk meanwhile.
    ///
    /// # Errors
    /// Some of it cannot be read, or the host cannot write the copy.
    fn copy_to(&self, file: &File) -> Result<(), BlockError> {
        copy_bytes(self, file)
    }
}

/// Copies a disk by reading all of it, for disks that have no quicker way. Blocks of zeros become holes.
///
/// # Errors
/// As with [`BlockBackend::copy_to`].
pub fn copy_bytes<B: BlockBackend + ?Sized>(disk: &B, file: &File) -> Result<(), BlockError> {
    const BLOCK: usize = 64 << 10;
    let zeros = [0u8; BLOCK];
    let mut buf = vec![0; 16 * BLOCK];
    file.set_len(disk.size())?;
    let mut at = 0;
    while at < disk.size() {
        let piece = (disk.size() - at).min(buf.len() as u64) as usize;
        disk.read_at(at, &mut buf[..piece])?;
        for (n, block) in (0..).zip(buf[..piece].chunks(BLOCK)) {
            if block != &zeros[..block.len()] {
                file.write_all_at(block, at + n * BLOCK as u64)?;
            }
        }
        at += piece as u64;
    }
    Ok(())
}

/// Writes zeros as bytes, for disks that have no quicker way.
///
/// # Errors
/// As with [`BlockBackend::write_at`].
pub fn write_zero_bytes<B: BlockBackend + ?Sized>(disk: &B, offset: u64, len: u64) -> Result<(), BlockError> {
    BlockError::check_range(disk.size(), offset, len)?;
    let zeros = [0; 64 << 10];
    let mut done = 0;
    while done < len {
        let piece = (len - done).min(zeros.len() as u64);
        disk.write_at(offset + done, &zeros[..piece as usize])?;
        done += piece;
    }
    Ok(())
}

/// A disk in memory.
impl BlockBackend for Mutex<Vec<u8>> {
    fn size(&self) -> u64 {
        bytes(self).len() as u64
    }

    fn read_only(&self) -> bool {
        false
    }

    fn format(&self) -> &'static str {
        "memory"
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        let bytes = bytes(self);
        BlockError::check_range(bytes.len() as u64, offset, buf.len() as u64)?;
        buf.copy_from_slice(&bytes[offset as usize..][..buf.len()]);
        Ok(())
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<(), BlockError> {
        let mut bytes = bytes(self);
        BlockError::check_range(bytes.len() as u64, offset, buf.len() as u64)?;
        bytes[offset as usize..][..buf.len()].copy_from_slice(buf);
        Ok(())
    }

    fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }

    fn discard(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        BlockError::check_range(self.size(), offset, len)
    }
}

fn bytes(disk: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_in_memory_ends_where_it_ends() {
        let disk = Mutex::new(vec![0; 1024]);
        disk.write_at(1020, b"tail").unwrap();
        let mut tail = [0; 6];
        disk.read_at(1018, &mut tail).unwrap();
        assert_eq!(&tail, b"\0\0tail");
        for (offset, len) in [(1024, 1), (1019, 6), (u64::MAX, 1), (u64::MAX, 6)] {
            let error = disk.read_at(offset, &mut tail[..len]).unwrap_err();
            assert!(matches!(error, BlockError::OutOfRange { size: 1024, .. }), "{offset}");
            assert!(disk.write_at(offset, &tail[..len]).is_err(), "{offset}");
            assert!(disk.discard(offset, len as u64).is_err(), "{offset}");
            assert!(disk.write_zeroes(offset, len as u64, true).is_err(), "{offset}");
        }
    }
    #[test]
    fn zeros_are_written_in_pieces() {
        let disk = Mutex::new(vec![7; 200 << 10]);
        disk.write_zeroes(1, (200 << 10) - 2, false).unwrap();
        let bytes = bytes(&disk);
        assert_eq!((bytes[0], bytes[bytes.len() - 1]), (7, 7));
        assert!(bytes[1..bytes.len() - 1].iter().all(|b| *b == 0));
    }
}
