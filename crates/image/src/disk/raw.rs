//! A raw disk: a file, byte for byte.

use super::copy;
use super::host_file::{DISK, HostFile};
use crate::ImageError;
use std::fs::File;
use std::path::Path;
use trine_base::{BlockBackend, BlockError, BlockSizes, block};

/// A disk in a file or block device.
#[derive(Debug)]
pub struct RawDisk {
    file: HostFile,
}

impl RawDisk {
    /// Opens a disk image, and locks it against other machines that write to it. Its size must be a multiple
    /// of 512 bytes, and not zero.
    ///
    /// # Errors
    /// It cannot be opened, is not a raw disk, or is in use: a writer needs it for itself, readers can share
    /// it.
    pub fn open(path: &Path, read_only: bool) -> Result<RawDisk, ImageError> {
        RawDisk::new(HostFile::open(path, !read_only, &DISK)?)
    }

    pub(super) fn new(file: HostFile) -> Result<RawDisk, ImageError> {
        if file.size == 0 || !file.size.is_multiple_of(512) {
            let what = format!(
                "the size of a disk must be a multiple of 512 bytes, but this file has {}: it is cut off or not a disk",
                file.size
            );
            return Err(ImageError::damaged(&file.path, what));
        }
        Ok(RawDisk { file })
    }

    /// The same for a file whose size is that of no disk.
    pub(super) fn of_any_size(file: HostFile) -> RawDisk {
        RawDisk { file }
    }

    fn may_change(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        match self.file.writable {
            true => BlockError::check_range(self.file.size, offset, len),
            false => Err(BlockError::ReadOnly),
        }
    }
}

impl BlockBackend for RawDisk {
    fn size(&self) -> u64 {
        self.file.size
    }

    fn read_only(&self) -> bool {
        !self.file.writable
    }

    fn block_sizes(&self) -> BlockSizes {
        // The page cache of the host works in pages.
        BlockSizes { physical: 4096, discard: self.file.block }
    }

    fn format(&self) -> &'static str {
        "raw"
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        BlockError::check_range(self.file.size, offset, buf.len() as u64)?;
        Ok(self.file.read_at(offset, buf)?)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<(), BlockError> {
        self.may_change(offset, buf.len() as u64)?;
        Ok(self.file.write_at(offset, buf)?)
    }

    fn flush(&self) -> Result<(), BlockError> {
        Ok(self.file.sync()?)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        self.may_change(offset, len)?;
        self.file.discard(offset, len)?;
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64, may_unmap: bool) -> Result<(), BlockError> {
        self.may_change(offset, len)?;
        Ok(self.file.zero(offset, len, may_unmap)?)
    }

    fn path(&self) -> Option<&Path> {
        Some(&self.file.path)
    }

    fn copy_to(&self, file: &File) -> Result<(), BlockError> {
        match self.file.is_device() {
            true => block::copy_bytes(self, file),
            false => Ok(copy::contents(&self.file.file, file)?),
        }
    }
}
