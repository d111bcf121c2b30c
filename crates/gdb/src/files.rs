//! Files that gdb reads through us (`vFile` packets): the program's executable and libraries, by the
//! program's own paths. Read-only.

use crate::target::Target;
use gdbstub::target::ext::host_io::*;
use std::fs::File;
use std::io::Error;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};

/// The most files that gdb may have open.
const MOST: usize = 256;

/// The files that gdb has open; their descriptors are indices of this list.
#[derive(Default)]
pub struct Files(Vec<Option<File>>);

impl Files {
    fn add(&mut self, file: File) -> Option<u32> {
        let file = Some(File::from(crate::address::aside(OwnedFd::from(file))));
        match self.0.iter().position(Option::is_none) {
            Some(free) => {
                self.0[free] = file;
                Some(free as u32)
            }
            None if self.0.len() < MOST => {
                self.0.push(file);
                Some(self.0.len() as u32 - 1)
            }
            None => None,
        }
    }

    fn get(&self, number: u32) -> Option<&File> {
        self.0.get(number as usize)?.as_ref()
    }
}

/// The protocol's own error numbers (gdb's manual, E.8).
fn failed<E>(error: Error) -> HostIoError<E> {
    HostIoError::Errno(match error.raw_os_error() {
        Some(libc::EPERM) => HostIoErrno::EPERM,
        Some(libc::ENOENT) => HostIoErrno::ENOENT,
        Some(libc::EACCES) => HostIoErrno::EACCES,
        Some(libc::ENOTDIR) => HostIoErrno::ENOTDIR,
        Some(libc::EISDIR) => HostIoErrno::EISDIR,
        Some(libc::EINVAL) => HostIoErrno::EINVAL,
        Some(libc::EMFILE) => HostIoErrno::EMFILE,
        Some(libc::ENAMETOOLONG) => HostIoErrno::ENAMETOOLONG,
        _ => HostIoErrno::EUNKNOWN,
    })
}

fn no_such<E>() -> HostIoError<E> {
    HostIoError::Errno(HostIoErrno::EBADF)
}

impl HostIo for Target<'_> {
    fn support_open(&mut self) -> Option<HostIoOpenOps<'_, Self>> {
        Some(self)
    }
    fn support_close(&mut self) -> Option<HostIoCloseOps<'_, Self>> {
        Some(self)
    }
    fn support_pread(&mut self) -> Option<HostIoPreadOps<'_, Self>> {
        Some(self)
    }
    fn support_fstat(&mut self) -> Option<HostIoFstatOps<'_, Self>> {
        Some(self)
    }
    fn support_readlink(&mut self) -> Option<HostIoReadlinkOps<'_, Self>> {
        Some(self)
    }
    fn support_setfs(&mut self) -> Option<HostIoSetfsOps<'_, Self>> {
        Some(self)
    }
}

impl HostIoOpen for Target<'_> {
    fn open(&mut self, name: &[u8], flags: HostIoOpenFlags, _: HostIoOpenMode) -> HostIoResult<u32, Self> {
        if flags.intersects(HostIoOpenFlags::O_WRONLY | HostIoOpenFlags::O_RDWR | HostIoOpenFlags::O_CREAT) {
            return Err(HostIoError::Errno(HostIoErrno::EROFS));
        }
        let file = self.debuggee.open(name).map_err(failed)?;
        // Other files might block or be endless.
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(HostIoError::Errno(HostIoErrno::EACCES));
        }
        self.files.add(file).ok_or(HostIoError::Errno(HostIoErrno::EMFILE))
    }
}

impl HostIoClose for Target<'_> {
    fn close(&mut self, number: u32) -> HostIoResult<(), Self> {
        self.files.0.get_mut(number as usize).and_then(Option::take).map(drop).ok_or_else(no_such)
    }
}

impl HostIoPread for Target<'_> {
    fn pread(&mut self, number: u32, count: usize, at: u64, to: &mut [u8]) -> HostIoResult<usize, Self> {
        let most = count.min(to.len());
        self.files.get(number).ok_or_else(no_such)?.read_at(&mut to[..most], at).map_err(failed)
    }
}

impl HostIoFstat for Target<'_> {
    fn fstat(&mut self, number: u32) -> HostIoResult<HostIoStat, Self> {
        let m = self.files.get(number).ok_or_else(no_such)?.metadata().map_err(failed)?;
        Ok(HostIoStat {
            st_dev: m.dev() as u32,
            st_ino: m.ino() as u32,
            st_mode: HostIoOpenMode::from_bits_truncate(m.mode()),
            st_nlink: m.nlink() as u32,
            st_uid: m.uid(),
            st_gid: m.gid(),
            st_rdev: m.rdev() as u32,
            st_size: m.len(),
            st_blksize: m.blksize(),
            st_blocks: m.blocks(),
            st_atime: m.atime() as u32,
            st_mtime: m.mtime() as u32,
            st_ctime: m.ctime() as u32,
        })
    }
}

impl HostIoReadlink for Target<'_> {
    fn readlink(&mut self, name: &[u8], to: &mut [u8]) -> HostIoResult<usize, Self> {
        let link = self.debuggee.read_link(name).map_err(failed)?;
        let bytes = link.as_os_str().as_bytes();
        to.get_mut(..bytes.len())
            .ok_or(HostIoError::Errno(HostIoErrno::ENAMETOOLONG))?
            .copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl HostIoSetfs for Target<'_> {
    fn setfs(&mut self, _: FsKind) -> HostIoResult<(), Self> {
        Ok(())
    }
}
