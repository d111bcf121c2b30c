//! Attributes of files and of the file system.

use super::{ATTR_OUT, put_attr_out};
use crate::Server;
use crate::folder::{link_of, stat};
use crate::handles::open_node;
use crate::nodes::{Found, kind};
use crate::thread::ActingFor;
use crate::wire::{Body, Head, Reply, open};
use rustix::fs::{
    AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid, accessat, chmodat, chownat,
    fstatvfs, ftruncate, utimensat,
};
use rustix::io::Errno;
use std::os::fd::AsFd;

/// `FUSE_GETATTR_FH`: the request names an open file.
const GETATTR_FH: u32 = 1;

/// What a request to set attributes sets (`FATTR_*`).
mod set {
    pub const MODE: u32 = 1 << 0;
    pub const UID: u32 = 1 << 1;
    pub const GID: u32 = 1 << 2;
    pub const SIZE: u32 = 1 << 3;
    pub const ATIME: u32 = 1 << 4;
    pub const MTIME: u32 = 1 << 5;
    pub const FH: u32 = 1 << 6;
    pub const ATIME_NOW: u32 = 1 << 7;
    pub const MTIME_NOW: u32 = 1 << 8;
}

/// The set-user-ID and set-group-ID bits.
const SET_IDS: u32 = 0o6000;
const SET_GROUP: u32 = 0o2000;
/// The bits of a mode without what the file is.
const PERMISSIONS: u32 = 0o7777;

/// `fuse_setattr_in`.
struct SetAttr {
    valid: u32,
    handle: u64,
    size: u64,
    /// Access and modification, seconds and nanoseconds.
    times: [(u64, u32); 2],
    mode: u32,
    uid: u32,
    gid: u32,
}

impl SetAttr {
    fn read(body: &mut Body) -> Result<SetAttr, Errno> {
        let [valid, _] = [body.u32()?, body.u32()?];
        let [handle, size, _, atime, mtime, _] =
            [body.u64()?, body.u64()?, body.u64()?, body.u64()?, body.u64()?, body.u64()?];
        let [atime_ns, mtime_ns, _, mode] = [body.u32()?, body.u32()?, body.u32()?, body.u32()?];
        let [_, uid, gid, _] = [body.u32()?, body.u32()?, body.u32()?, body.u32()?];
        Ok(SetAttr { valid, handle, size, times: [(atime, atime_ns), (mtime, mtime_ns)], mode, uid, gid })
    }

    fn has(&self, bits: u32) -> bool {
        self.valid & bits != 0
    }

    /// The time in this place, as `utimensat` takes it.
    fn time(&self, place: usize, given: u32, now: u32) -> Result<Timespec, Errno> {
        let (seconds, nanos) = self.times[place];
        let nanos = match (self.has(given), self.has(now)) {
            (_, true) => UTIME_NOW,
            (true, false) if nanos < 1_000_000_000 => nanos.into(),
            (true, false) => return Err(Errno::INVAL),
            (false, false) => UTIME_OMIT,
        };
        Ok(Timespec { tv_sec: seconds as i64, tv_nsec: nanos })
    }
}

impl Server {
    /// `GETATTR`: of an open file where the request names one, since its name may have gone.
    pub(crate) fn get_attributes(
        &self,
        head: &Head,
        body: &mut Body,
        reply: &mut Reply,
    ) -> Result<(), Errno> {
        let [flags, _] = [body.u32()?, body.u32()?];
        let handle = body.u64()?;
        reply.needs(ATTR_OUT)?;
        let open = if flags & GETATTR_FH != 0 { self.handles.get(handle).ok() } else { None };
        let stat = match &open {
            Some(handle) => stat(handle.any_fd(&self.nodes)?)?,
            None => stat(self.nodes.get(head.node)?.fd)?,
        };
        put_attr_out(&self.folder, reply, &stat);
        Ok(())
    }

    /// `SETATTR`.
    pub(crate) fn set_attributes(
        &self,
        head: &Head,
        body: &mut Body,
        reply: &mut Reply,
    ) -> Result<(), Errno> {
        let asked = SetAttr::read(body)?;
        self.folder.may_write()?;
        reply.needs(ATTR_OUT)?;
        let found = self.nodes.get(head.node)?;
        if asked.has(set::SIZE) {
            self.set_size(head, &asked)?;
        }
        // Before the mode, as a new owner takes the set-user-ID bit off.
        if asked.has(set::UID | set::GID) {
            self.set_owner(&found, &asked)?;
        }
        if asked.has(set::MODE) {
            self.set_mode(&found, asked.mode)?;
        }
        if asked.has(set::ATIME | set::MTIME | set::ATIME_NOW | set::MTIME_NOW) {
            let last_access = asked.time(0, set::ATIME, set::ATIME_NOW)?;
            let last_modification = asked.time(1, set::MTIME, set::MTIME_NOW)?;
            let times = Timestamps { last_access, last_modification };
            utimensat(CWD, link_of(found.fd.as_fd()), &times, AtFlags::empty())?;
        }
        put_attr_out(&self.folder, reply, &stat(&found.fd)?);
        Ok(())
    }

    fn set_size(&self, head: &Head, asked: &SetAttr) -> Result<(), Errno> {
        if asked.size > i64::MAX as u64 {
            return Err(Errno::FBIG);
        }
        if asked.has(set::FH) {
            let handle = self.handles.get(asked.handle)?;
            return ftruncate(handle.fd(&self.nodes, kind::REGULAR)?, asked.size);
        }
        ftruncate(open_node(&self.nodes, head.node, kind::REGULAR, open::WRITE_ONLY)?, asked.size)
    }

    /// Changes owner and group. An ordinary user can give a file to nobody: only what the guest sees anyway can be set.
    fn set_owner(&self, found: &Found, asked: &SetAttr) -> Result<(), Errno> {
        let [uid, gid] = [(set::UID, asked.uid), (set::GID, asked.gid)]
            .map(|(bit, id)| asked.has(bit).then_some(id).filter(|id| *id != u32::MAX));
        if !self.folder.is_privileged() {
            let (own, group) = self.folder.owner(&stat(&found.fd)?);
            let same = uid.is_none_or(|id| id == own) && gid.is_none_or(|id| id == group);
            return if same { Ok(()) } else { Err(Errno::PERM) };
        }
        chownat(&found.fd, c"", uid.map(Uid::from_raw), gid.map(Gid::from_raw), AtFlags::EMPTY_PATH)
    }

    /// `ACCESS`.
    pub(crate) fn access(&self, head: &Head, body: &mut Body) -> Result<(), Errno> {
        let wanted = body.u32()?;
        let access = rustix::fs::Access::from_bits(wanted & 7).ok_or(Errno::INVAL)?;
        if access.contains(rustix::fs::Access::WRITE_OK) {
            self.folder.may_write()?;
        }
        let found = self.nodes.get(head.node)?;
        if found.kind == kind::SYMLINK {
            return Ok(());
        }
        accessat(CWD, link_of(found.fd.as_fd()), access, AtFlags::EACCESS)
    }

    /// `STATFS`.
    pub(crate) fn statfs(&self, head: &Head, reply: &mut Reply) -> Result<(), Errno> {
        reply.needs(80)?;
        let found = fstatvfs(self.nodes.get(head.node)?.fd)?;
        let (blocks, files) =
            ([found.f_blocks, found.f_bfree, found.f_bavail], [found.f_files, found.f_ffree]);
        blocks.iter().chain(&files).for_each(|n| reply.u64(*n));
        [found.f_bsize, found.f_namemax, found.f_frsize, 0].iter().for_each(|n| reply.u32(*n as u32));
        reply.space(24);
        Ok(())
    }

    /// Changes the mode. No file becomes set-user-ID or set-group-ID: its contents are the guest's, and it would run as
    /// somebody on the host. A directory may get the bit that gives its group to what is made in it.
    fn set_mode(&self, found: &Found, mode: u32) -> Result<(), Errno> {
        let mode = mode & PERMISSIONS;
        let now = stat(&found.fd)?;
        let allowed = if found.kind == kind::DIRECTORY { SET_GROUP } else { 0 };
        if mode & SET_IDS & !allowed & !u32::from(now.stx_mode) != 0 {
            return Err(Errno::PERM);
        }
        if found.kind == kind::SYMLINK {
            return Err(Errno::OPNOTSUPP);
        }
        let as_member = mode & allowed != 0 && self.folder.is_privileged();
        let _acting = as_member.then(|| ActingFor::group(now.stx_gid)).transpose()?;
        chmodat(CWD, link_of(found.fd.as_fd()), Mode::from_raw_mode(mode), AtFlags::empty())
    }
}
