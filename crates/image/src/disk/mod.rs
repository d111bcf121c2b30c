//! Disks in files: raw images, block devices, private layers over them, and locks.
//!
//! * `host_file`: a file or block device of the host, opened and locked; `lock`: the locks.
//! * [`raw`]: the format; [`private`]: a layer whose writes are forgotten.

mod host_file;
mod lock;
pub mod private;
pub mod raw;

#[cfg(test)]
mod tests;

pub use private::PrivateLayer;
pub use raw::RawDisk;

use crate::ImageError;
use host_file::HostFile;
use std::path::Path;
use std::sync::Arc;
use trine_base::BlockBackend;

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

/// The first bytes of a qcow2 image.
const QCOW2: [u8; 4] = *b"QFI\xfb";

/// Opens a disk.
///
/// # Errors
/// The file cannot be opened, is not a raw disk, or is in use by another machine.
pub fn open(path: &Path, access: Access) -> Result<Arc<dyn BlockBackend>, ImageError> {
    let file = HostFile::open(path, access == Access::Write)?;
    let mut magic = [0; 4];
    if file.size >= 4 && file.read_at(0, &mut magic).is_ok() && magic == QCOW2 {
        let what = "this is a qcow2 image; only raw ones are supported (qemu-img convert -O raw makes one)";
        return Err(ImageError::damaged(path, what));
    }
    let disk: Arc<dyn BlockBackend> = Arc::new(RawDisk::new(file)?);
    match access {
        Access::Private => Ok(Arc::new(PrivateLayer::over(disk)?)),
        Access::Write | Access::ReadOnly => Ok(disk),
    }
}
