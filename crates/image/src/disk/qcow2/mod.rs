//! A disk in a qcow2 image.
//!
//! The format itself is the crate `imago`. It trusts an image's tables, so an image is checked before it is opened
//! (`header`, `check`), and opened with the images below it (`chain`).

mod chain;
mod check;
mod header;

#[cfg(test)]
mod tests;

pub use header::MAGIC;

use super::host_file::HostFile;
use super::lock::Locks;
use crate::ImageError;
use chain::Image;
use imago::Mapping;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use trine_base::block::write_zero_bytes;
use trine_base::{BlockBackend, BlockError, BlockSizes};

/// A disk in a qcow2 image, with all images below it.
pub struct Qcow2Disk {
    /// Requests share it. Those that take clusters out of the tables have it for themselves, since others may be
    /// about to write to these clusters.
    image: RwLock<Image>,
    /// The image's file once more: `imago` would make others wait while the file is synchronized, and keeps the space
    /// of free clusters.
    file: HostFile,
    size: u64,
    cluster: u32,
    read_only: bool,
    /// Of all images, the last ones to be dropped.
    _locks: Vec<Locks>,
}

impl Qcow2Disk {
    /// Takes an image from a file that is open, without a lock.
    ///
    /// # Errors
    /// The image is damaged or needs what is not supported.
    pub fn of_file(file: File, writable: bool) -> Result<Qcow2Disk, ImageError> {
        let path = Path::new("(image)");
        let file = HostFile::new(file, path, writable).map_err(ImageError::file("cannot read", path))?;
        Qcow2Disk::new(file)
    }

    pub(super) fn new(file: HostFile) -> Result<Qcow2Disk, ImageError> {
        let (path, read_only) = (file.path.clone(), !file.writable);
        let again = file.file.try_clone().and_then(|again| HostFile::new(again, &path, file.writable));
        let again = again.map_err(ImageError::file("cannot open the disk", &path))?;
        let (header, image, locks) = chain::open(file)?;
        let (size, cluster) = (header.size, header.cluster() as u32);
        Ok(Qcow2Disk { image: RwLock::new(image), file: again, size, cluster, read_only, _locks: locks })
    }

    fn shared(&self) -> RwLockReadGuard<'_, Image> {
        self.image.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> RwLockWriteGuard<'_, Image> {
        self.image.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_change(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        match self.read_only {
            false => BlockError::check_range(self.size, offset, len),
            true => Err(BlockError::ReadOnly),
        }
    }

    /// Makes a range zero, and gives the space of clusters that become free back to the host. Nobody can take these
    /// clusters meanwhile, as the caller has the image for itself.
    fn free(&self, image: &mut Image, offset: u64, len: u64) -> io::Result<()> {
        let cluster = self.cluster as u64;
        let (start, end) = (offset.next_multiple_of(cluster), (offset + len) / cluster * cluster);
        let freed = if start < end { own_clusters(image, start, end)? } else { Vec::new() };
        image.discard_to_zero(offset, len)?;
        image.flush()?;
        freed.into_iter().try_for_each(|(at, len)| self.file.discard(at, len).map(|_| ()))
    }
}

/// The parts of the file that hold the data from `start` to `end` and nothing else.
fn own_clusters(image: &Image, start: u64, end: u64) -> io::Result<Vec<(u64, u64)>> {
    let (mut at, mut parts) = (start, Vec::new());
    while at < end {
        let (mapping, len) = image.get_mapping(at, end - at)?;
        if let Mapping::Raw { offset, writable: true, .. } = mapping {
            parts.push((offset, len.min(end - at)));
        }
        // No length at all is past the end of the disk.
        at += if len > 0 { len } else { end - at };
    }
    Ok(parts)
}

/// Whether a write there changes no table.
fn is_mapped(image: &Image, mut offset: u64, mut len: u64) -> io::Result<bool> {
    while len > 0 {
        match image.get_mapping(offset, len)? {
            (Mapping::Raw { writable: true, .. }, part) if part > 0 => {
                offset += part;
                len = len.saturating_sub(part);
            }
            _ => return Ok(false),
        }
    }
    Ok(true)
}

impl BlockBackend for Qcow2Disk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn block_sizes(&self) -> BlockSizes {
        BlockSizes { physical: 4096, discard: self.cluster }
    }

    fn format(&self) -> &'static str {
        "qcow2"
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        BlockError::check_range(self.size, offset, buf.len() as u64)?;
        Ok(self.shared().read(buf, offset)?)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<(), BlockError> {
        self.may_change(offset, buf.len() as u64)?;
        let image = self.shared();
        let mapped = is_mapped(&image, offset, buf.len() as u64)?;
        image.write(buf, offset)?;
        if !mapped {
            // The tables are in the monitor's memory, but what was written must survive its end.
            image.flush()?;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), BlockError> {
        if self.read_only {
            return Ok(());
        }
        self.shared().flush()?;
        Ok(self.file.sync()?)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        self.may_change(offset, len)?;
        // Only whole clusters have space to give back.
        let cluster = self.cluster as u64;
        let end = if offset + len == self.size { self.size } else { (offset + len) / cluster * cluster };
        let start = offset.next_multiple_of(cluster);
        if start >= end {
            return Ok(());
        }
        match self.free(&mut self.alone(), start, end - start) {
            // An image of version 2 cannot say that a cluster is zero.
            Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(()),
            result => Ok(result?),
        }
    }

    fn write_zeroes(&self, offset: u64, len: u64, may_unmap: bool) -> Result<(), BlockError> {
        self.may_change(offset, len)?;
        let mut image = self.alone();
        let done = match may_unmap {
            true => self.free(&mut image, offset, len),
            false => image.write_zeroes(offset, len).and_then(|()| image.flush()),
        };
        match done {
            Err(e) if e.kind() == io::ErrorKind::Unsupported => {
                drop(image);
                write_zero_bytes(self, offset, len)
            }
            result => Ok(result?),
        }
    }
}
