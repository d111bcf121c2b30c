//! The disk behind a block device.

use std::io;

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
    pub fn check_range(size: u64, offset: u64, len: usize) -> Result<(), BlockError> {
        let len = len as u64;
        match offset.checked_add(len) {
            Some(end) if end <= size => Ok(()),
            _ => Err(BlockError::OutOfRange { offset, len, size }),
        }
    }
}

/// A disk: a sequence of bytes. A transfer is complete or an error; there are no short transfers.
pub trait BlockBackend: Send {
    /// Size in bytes.
    fn size(&self) -> u64;
    /// Whether [`BlockBackend::write_at`] is refused.
    fn read_only(&self) -> bool;
    /// Fills `buf` from byte `offset`.
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError>;
    /// Stores `buf` at byte `offset`.
    fn write_at(&mut self, offset: u64, buf: &[u8]) -> Result<(), BlockError>;
    /// Makes what was written durable.
    fn flush(&mut self) -> Result<(), BlockError>;
}

/// A disk in memory.
impl BlockBackend for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        BlockError::check_range(self.size(), offset, buf.len())?;
        buf.copy_from_slice(&self[offset as usize..][..buf.len()]);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, buf: &[u8]) -> Result<(), BlockError> {
        BlockError::check_range(self.size(), offset, buf.len())?;
        self[offset as usize..][..buf.len()].copy_from_slice(buf);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_in_memory_ends_where_it_ends() {
        let mut disk = vec![0; 1024];
        disk.write_at(1020, b"tail").unwrap();
        let mut tail = [0; 6];
        disk.read_at(1018, &mut tail).unwrap();
        assert_eq!(&tail, b"\0\0tail");
        for (offset, len) in [(1024, 1), (1019, 6), (u64::MAX, 1), (u64::MAX, 6)] {
            let error = disk.read_at(offset, &mut tail[..len]).unwrap_err();
            assert!(matches!(error, BlockError::OutOfRange { size: 1024, .. }), "{offset}");
            assert!(disk.write_at(offset, &tail[..len]).is_err(), "{offset}");
        }
    }
}
