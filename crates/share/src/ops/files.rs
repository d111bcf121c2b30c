//! Requests about open files.

use crate::Server;
use crate::nodes::kind;
use crate::wire::{Body, MOST_DATA, Reply};
use rustix::fs::{FallocateFlags, SeekFrom, copy_file_range, fallocate, fdatasync, fsync, seek};
use rustix::io::{Errno, pread, pwrite};

/// The most bytes that one request copies between files: it cannot be interrupted, and a pause of the machine waits for it.
const MOST_COPIED: u64 = 64 << 20;
/// `FUSE_FSYNC_FDATASYNC`.
const DATA_ONLY: u32 = 1;

impl Server {
    /// `READ`: fewer bytes than asked for only at the end of the file.
    pub(crate) fn read(&self, body: &mut Body, reply: &mut Reply) -> Result<(), Errno> {
        let [number, offset] = [body.u64()?, body.u64()?];
        let size = (body.u32()? as usize).min(MOST_DATA).min(reply.left());
        let handle = self.handles.get(number)?;
        let fd = handle.fd(&self.nodes, kind::REGULAR)?;
        let buffer = reply.space(size);
        let mut done = 0;
        while done < size {
            match pread(fd, &mut buffer[done..], offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(_) if done > 0 => break,
                Err(e) => return Err(e),
            }
        }
        reply.shorten(size - done);
        Ok(())
    }

    /// `WRITE`.
    pub(crate) fn write(&self, body: &mut Body, reply: &mut Reply) -> Result<(), Errno> {
        let [number, offset] = [body.u64()?, body.u64()?];
        let [size, _, _, _, _, _] =
            [body.u32()?, body.u32()?, body.u32()?, body.u32()?, body.u32()?, body.u32()?];
        let data = body.bytes(size as usize)?;
        self.folder.may_write()?;
        reply.needs(8)?;
        let handle = self.handles.get(number)?;
        let fd = handle.fd(&self.nodes, kind::REGULAR)?;
        let mut done = 0;
        while done < data.len() {
            match pwrite(fd, &data[done..], offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(_) if done > 0 => break,
                Err(e) => return Err(e),
            }
        }
        reply.u32(done as u32);
        reply.u32(0);
        Ok(())
    }

    /// `FLUSH`, at each close of a descriptor of the guest: what was written is the host's already.
    pub(crate) fn flush(&self, body: &mut Body) -> Result<(), Errno> {
        self.handles.get(body.u64()?).map(drop)
    }

    /// `FSYNC` and `FSYNCDIR`.
    pub(crate) fn fsync(&self, body: &mut Body, kind: u32) -> Result<(), Errno> {
        let (number, flags) = (body.u64()?, body.u32()?);
        let handle = self.handles.get(number)?;
        let fd = handle.fd(&self.nodes, kind)?;
        if flags & DATA_ONLY != 0 { fdatasync(fd) } else { fsync(fd) }
    }

    /// `RELEASE` and `RELEASEDIR`.
    pub(crate) fn release(&self, body: &mut Body) -> Result<(), Errno> {
        self.handles.close(body.u64()?)
    }

    /// `FALLOCATE`.
    pub(crate) fn fallocate(&self, body: &mut Body) -> Result<(), Errno> {
        let [number, offset, len] = [body.u64()?, body.u64()?, body.u64()?];
        let flags = body.u32()?;
        self.folder.may_write()?;
        let allowed = FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE | FallocateFlags::ZERO_RANGE;
        let flags =
            FallocateFlags::from_bits(flags).filter(|f| allowed.contains(*f)).ok_or(Errno::OPNOTSUPP)?;
        let handle = self.handles.get(number)?;
        fallocate(handle.fd(&self.nodes, kind::REGULAR)?, flags, offset, len)
    }

    /// `LSEEK`, to data or to a hole: the guest's kernel does the other kinds.
    pub(crate) fn lseek(&self, body: &mut Body, reply: &mut Reply) -> Result<(), Errno> {
        let [number, offset] = [body.u64()?, body.u64()?];
        let to = match body.u32()? {
            3 => SeekFrom::Data(offset),
            4 => SeekFrom::Hole(offset),
            _ => return Err(Errno::INVAL),
        };
        reply.needs(8)?;
        let handle = self.handles.get(number)?;
        reply.u64(seek(handle.fd(&self.nodes, kind::REGULAR)?, to)?);
        Ok(())
    }

    /// `COPY_FILE_RANGE`.
    pub(crate) fn copy_file_range(&self, body: &mut Body, reply: &mut Reply) -> Result<(), Errno> {
        let [from, mut start, _] = [body.u64()?, body.u64()?, body.u64()?];
        let [to, mut end, len, flags] = [body.u64()?, body.u64()?, body.u64()?, body.u64()?];
        self.folder.may_write()?;
        reply.needs(8)?;
        if flags != 0 {
            return Err(Errno::INVAL);
        }
        let (from, to) = (self.handles.get(from)?, self.handles.get(to)?);
        let (from, to) = (from.fd(&self.nodes, kind::REGULAR)?, to.fd(&self.nodes, kind::REGULAR)?);
        let len = len.min(MOST_COPIED) as usize;
        let done = copy_file_range(from, Some(&mut start), to, Some(&mut end), len)?;
        reply.u32(done as u32);
        reply.u32(0);
        Ok(())
    }
}
