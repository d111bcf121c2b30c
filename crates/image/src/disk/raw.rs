//! A raw disk: a file, byte for byte.

use super::lock;
use crate::ImageError;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;
use trine_base::{BlockBackend, BlockError};

/// A disk in a file or block device.
#[derive(Debug)]
pub struct RawDisk {
    file: File,
    size: u64,
    read_only: bool,
}

impl RawDisk {
    /// Opens a disk image, and locks it against other machines that write to it. Its size must be a multiple
    /// of 512 bytes, and not zero.
    ///
    /// # Errors
    /// It cannot be opened, is not a raw disk, or is in use: a writer needs it for itself, readers can share
    /// it.
    pub fn open(path: &Path, read_only: bool) -> Result<RawDisk, ImageError> {
        let kind =
            std::fs::metadata(path).map_err(ImageError::file("cannot open the disk", path))?.file_type();
        // Opening a pipe would wait for its writer.
        if !kind.is_file() && !kind.is_block_device() {
            return Err(ImageError::damaged(path, "a disk must be a regular file or a block device"));
        }
        let file = OpenOptions::new().read(true).write(!read_only).open(path);
        let mut file = file.map_err(ImageError::file("cannot open the disk", path))?;
        let size = std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0))
            .map_err(ImageError::file("cannot determine the size of", path))?;
        let mut magic = [0; 4];
        if size >= 4 && file.read_exact_at(&mut magic, 0).is_ok() && &magic == b"QFI\xfb" {
            let what =
                "this is a qcow2 image; only raw ones are supported (qemu-img convert -O raw makes one)";
            return Err(ImageError::damaged(path, what));
        }
        if size == 0 || size % 512 != 0 {
            let what = format!(
                "the size of a disk must be a multiple of 512 bytes, but this file has {size}: it is cut off or not a disk"
            );
            return Err(ImageError::damaged(path, what));
        }
        if !lock::take(&file, !read_only).map_err(ImageError::file("cannot lock the disk", path))? {
            let what = match read_only {
                true => "this disk is in use by another machine, which may write to it: end that first",
                false => {
                    "this disk is in use by another machine: end that first, or run both with `,ro` or `,snapshot`"
                }
            };
            return Err(ImageError::damaged(path, what));
        }
        Ok(RawDisk { file, size, read_only })
    }
}

impl BlockBackend for RawDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        BlockError::check_range(self.size, offset, buf.len())?;
        Ok(self.file.read_exact_at(buf, offset)?)
    }

    fn write_at(&mut self, offset: u64, buf: &[u8]) -> Result<(), BlockError> {
        if self.read_only {
            return Err(BlockError::ReadOnly);
        }
        BlockError::check_range(self.size, offset, buf.len())?;
        Ok(self.file.write_all_at(buf, offset)?)
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        Ok(self.file.sync_data()?)
    }
}
