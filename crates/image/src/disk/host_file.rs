//! A regular file or a block device of the host that holds a disk.

use super::lock::{self, Locks};
use crate::ImageError;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// `BLKDISCARD` (Linux, include/uapi/linux/fs.h): discards a range of a block device.
const BLKDISCARD: libc::Ioctl = 0x1277;

/// An open file.
#[derive(Debug)]
pub(super) struct HostFile {
    pub file: File,
    pub path: PathBuf,
    /// Bytes when it was opened.
    pub size: u64,
    pub writable: bool,
    /// Whether it is a block device.
    device: bool,
    /// The unit in which its file system gives out space, in bytes.
    pub block: u32,
    /// Against other machines, unless it was given as a file that is open.
    pub locks: Option<Locks>,
}

/// What a file is for, in the words of messages.
pub(super) struct Purpose {
    cannot_open: &'static str,
    cannot_lock: &'static str,
    /// What it must be.
    kind: &'static str,
    /// Whether a block device will do.
    devices: bool,
    /// Who uses it as well, if this one only reads, and if it writes.
    in_use: [&'static str; 2],
}

/// A disk.
pub(super) const DISK: Purpose = Purpose {
    cannot_open: "cannot open the disk",
    cannot_lock: "cannot lock the disk",
    kind: "a disk must be a regular file or a block device",
    devices: true,
    in_use: [
        "this disk is in use by another machine, which may write to it, or a second time by this one: end the other use first",
        "this disk is in use by another machine, or a second time by this one: end the other use first, or give it `,ro` or \
         `,snapshot` in both",
    ],
};

/// What a bank of flash holds.
pub(super) const FLASH: Purpose = Purpose {
    cannot_open: "cannot open the contents of flash",
    cannot_lock: "cannot lock the contents of flash",
    kind: "the contents of flash must be in a regular file",
    devices: false,
    in_use: [
        "this file is in use by another machine, which may write to it, or a second time by this one: end the other use first",
        "this file is in use by another machine, or a second time by this one: end the other use first, or give it without \
         `,rw` in both",
    ],
};

impl HostFile {
    /// Opens a file and locks it against other machines: a writer needs it for itself, readers can share it.
    pub fn open(path: &Path, writable: bool, purpose: &Purpose) -> Result<HostFile, ImageError> {
        let kind = std::fs::metadata(path).map_err(ImageError::file(purpose.cannot_open, path))?.file_type();
        // Opening a pipe would wait for its writer.
        if !(kind.is_file() || purpose.devices && kind.is_block_device()) {
            return Err(ImageError::damaged(path, purpose.kind));
        }
        let file = OpenOptions::new().read(true).write(writable).open(path);
        let file = file.map_err(ImageError::file(purpose.cannot_open, path))?;
        let locks = lock::take(&file, writable).map_err(ImageError::file(purpose.cannot_lock, path))?;
        if locks.is_none() {
            return Err(ImageError::damaged(path, purpose.in_use[usize::from(writable)]));
        }
        let file = HostFile::new(file, path, writable);
        let file = file.map_err(ImageError::file("cannot determine the size of", path))?;
        Ok(HostFile { locks, ..file })
    }

    /// Takes a file that is open, without locks.
    pub fn new(mut file: File, path: &Path, writable: bool) -> io::Result<HostFile> {
        let size = io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
        let metadata = file.metadata()?;
        let block = u32::try_from(metadata.blksize()).unwrap_or(4096);
        // A disk's block sizes are powers of two; file systems that name anything else are rare.
        let block = if (512..=1 << 20).contains(&block) && block.is_power_of_two() { block } else { 4096 };
        let device = metadata.file_type().is_block_device();
        Ok(HostFile { file, path: path.into(), size, writable, device, block, locks: None })
    }

    /// Whether it is a block device.
    pub fn is_device(&self) -> bool {
        self.device
    }

    /// Which file it is, whatever its name.
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        let metadata = self.file.metadata()?;
        Ok((metadata.dev(), metadata.ino()))
    }

    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    pub fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.file.write_all_at(buf, offset)
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Gives the space of a range back; returns whether that could be done. A file's range reads as zeros afterwards, a
    /// device's as anything.
    pub fn discard(&self, offset: u64, len: u64) -> io::Result<bool> {
        if !self.device {
            return self.fallocate(libc::FALLOC_FL_PUNCH_HOLE, offset, len);
        }
        let range = [offset, len];
        // SAFETY: the kernel reads two numbers; the descriptor is open.
        supported(|| unsafe { libc::ioctl(self.file.as_raw_fd(), BLKDISCARD, &range) })
    }

    /// Makes a range zero. Its space is given back if `may_unmap`, where that can be done.
    pub fn zero(&self, offset: u64, len: u64, may_unmap: bool) -> io::Result<()> {
        let done = may_unmap && self.fallocate(libc::FALLOC_FL_PUNCH_HOLE, offset, len)?
            || self.fallocate(libc::FALLOC_FL_ZERO_RANGE, offset, len)?;
        if done {
            return Ok(());
        }
        let zeros = [0; 64 << 10];
        let mut at = offset;
        while at < offset + len {
            let piece = &zeros[..(offset + len - at).min(zeros.len() as u64) as usize];
            self.write_at(at, piece)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    fn fallocate(&self, mode: libc::c_int, offset: u64, len: u64) -> io::Result<bool> {
        let (Ok(offset), Ok(len)) = (libc::off_t::try_from(offset), libc::off_t::try_from(len)) else {
            return Ok(false);
        };
        // The kernel refuses an empty range, and there is nothing to do.
        if len == 0 {
            return Ok(true);
        }
        let mode = mode | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: the descriptor is open; the other arguments are numbers.
        supported(|| unsafe { libc::fallocate(self.file.as_raw_fd(), mode, offset, len) })
    }
}

/// Repeats a call of the kernel until no signal interrupts it; false where the file system or the device cannot do
/// what it asks for.
fn supported(call: impl Fn() -> libc::c_int) -> io::Result<bool> {
    loop {
        if call() == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOTTY | libc::EINVAL) => return Ok(false),
            _ => return Err(error),
        }
    }
}
