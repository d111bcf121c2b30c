//! Disks in files: raw and qcow2 images, block devices, private layers over them, and locks.
//!
//! * `host_file`: a file or block device of the host, opened and locked; `lock`: the locks.
//! * [`raw`], [`qcow2`]: the formats; [`private`]: a layer whose writes are forgotten.
//! * [`copy`]: copies of raw disks.

pub mod copy;
mod host_file;
mod lock;
pub mod private;
pub mod qcow2;
pub mod raw;

#[cfg(test)]
mod tests;

pub use private::PrivateLayer;
pub use qcow2::Qcow2Disk;
pub use raw::RawDisk;

use crate::ImageError;
use host_file::{DISK, FLASH, HostFile};
use std::path::Path;
use std::sync::Arc;
use trine_base::BlockBackend;

/// How a disk is stored in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Byte for byte.
    Raw,
    /// QEMU's image format, versions 2 and 3.
    Qcow2,
}

impl Format {
    /// The format of this name.
    pub fn of_name(name: &str) -> Option<Format> {
        match name {
            "raw" => Some(Format::Raw),
            "qcow2" => Some(Format::Qcow2),
            _ => None,
        }
    }

    /// The format that the file's first bytes show; a file of no known kind is raw.
    fn detect(file: &HostFile) -> Result<Format, ImageError> {
        let mut magic = [0; 4];
        if file.size < 4 {
            return Ok(Format::Raw);
        }
        file.read_at(0, &mut magic).map_err(ImageError::file("cannot read", &file.path))?;
        Ok(if magic == qcow2::MAGIC { Format::Qcow2 } else { Format::Raw })
    }
}

/// What becomes of writes to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// They go to the file, which nobody else may use meanwhile.
    Write,
    /// They are refused.
    ReadOnly,
    /// They are kept in a temporary file until the disk is dropped; the file itself is only read.
    Private,
}

/// Opens a file with the contents of flash memory, of any size but zero. It is locked as a raw disk is.
///
/// # Errors
/// It cannot be opened, is empty or not a regular file, or is in use by another machine.
pub fn open_flash(path: &Path, writable: bool) -> Result<Arc<dyn BlockBackend>, ImageError> {
    let file = HostFile::open(path, writable, &FLASH)?;
    match file.size {
        0 => Err(ImageError::damaged(path, "the file is empty")),
        _ => Ok(Arc::new(RawDisk::of_any_size(file))),
    }
}

/// Opens a disk. Without a format, the file's first bytes tell it: a guest that may write to a raw disk can make it look
/// like another format, which a user prevents by naming the format.
///
/// # Errors
/// The file cannot be opened, is damaged, needs what is not supported, or is in use by another machine.
pub fn open(
    path: &Path,
    format: Option<Format>,
    access: Access,
) -> Result<Arc<dyn BlockBackend>, ImageError> {
    let file = HostFile::open(path, access == Access::Write, &DISK)?;
    let format = format.map_or_else(|| Format::detect(&file), Ok)?;
    let disk: Arc<dyn BlockBackend> = match format {
        Format::Raw => Arc::new(RawDisk::new(file)?),
        Format::Qcow2 => Arc::new(Qcow2Disk::new(file)?),
    };
    match access {
        Access::Private => Ok(Arc::new(PrivateLayer::over(disk)?)),
        Access::Write | Access::ReadOnly => Ok(disk),
    }
}
