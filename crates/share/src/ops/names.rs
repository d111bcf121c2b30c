//! Requests that find names, or change what names there are.

use super::{ENTRY_OUT, OPEN_OUT, put_entry, put_open};
use crate::Server;
use crate::folder::{link_of, open_beneath};
use crate::handles::{host_flags, open_node, writes};
use crate::nodes::kind;
use crate::thread::ActingFor;
use crate::wire::{Body, Head, LONGEST_TARGET, Reply, open};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, linkat, mkdirat, mknodat, readlinkat, renameat_with,
    symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::os::fd::AsFd;

/// The bits of a new file's mode: permissions, and the sticky bit. Never set-user-ID or set-group-ID.
const OF_NEW: u32 = 0o1777;
/// The most attempts to create or open a file that comes and goes meanwhile.
const TRIES: usize = 8;

impl Server {
    /// Has what the thread creates belong to the guest's user, where Trine runs as root; otherwise it belongs to the user
    /// who runs Trine.
    fn act_for(&self, head: &Head) -> Result<Option<ActingFor>, Errno> {
        match self.folder.is_privileged() && (head.uid, head.gid) != (0, 0) {
            true => ActingFor::user(head.uid, head.gid).map(Some),
            false => Ok(None),
        }
    }

    /// Finds a name and tells the guest.
    fn entry(&self, parent: u64, name: &[u8], reply: &mut Reply) -> Result<(), Errno> {
        let (node, stat) = self.nodes.look_up(parent, name)?;
        put_entry(&self.folder, reply, node, &stat);
        Ok(())
    }

    /// `LOOKUP`.
    pub(crate) fn look_up(&self, head: &Head, body: &mut Body, reply: &mut Reply) -> Result<(), Errno> {
        let name = body.name()?;
        reply.needs(ENTRY_OUT)?;
        self.entry(head.node, name, reply)
    }

    /// `READLINK`: the target is text, which is not followed here.
    pub(crate) fn read_link(&self, head: &Head, reply: &mut Reply) -> Result<(), Errno> {
        let found = self.nodes.get(head.node)?;
        if found.kind != kind::SYMLINK {
            return Err(Errno::INVAL);
        }
        let target = readlinkat(&found.fd, c"", Vec::with_capacity(256))?.into_bytes();
        reply.needs(target.len())?;
        reply.put(&target);
        Ok(())
    }

    /// `SYMLINK`.
    pub(crate) fn symlink(&self, head: &Head, body: &mut Body, reply: &mut Reply) -> Result<(), Errno> {
        let (name, target) = (body.name()?, body.text()?);
        self.folder.may_write()?;
        reply.needs(ENTRY_OUT)?;
        match target.len() {
            0 => return Err(Errno::NOENT),
            1..=LONGEST_TARGET => {}
            _ => return Err(Errno::NAMETOOLONG),
        }
        let parent = self.nodes.directory(head.node)?;
        let acting = self.act_for(head)?;
        symlinkat(target, &parent, name)?;
        drop(acting);
        self.entry(head.node, name, reply)
    }

    /// `MKNOD`: regular files and FIFOs. A device node would be one of the host, a socket nobody's.
    pub(crate) fn mknod(&self, head: &Head, body: &mut Body, reply: &mut Reply) -> Result<(), Errno> {
        let [mode, _, _, _] = [body.u32()?, body.u32()?, body.u32()?, body.u32()?];
        let name = body.name()?;
        self.folder.may_write()?;
        reply.needs(ENTRY_OUT)?;
        let what = match mode & 0o170000 {
            0 | kind::REGULAR => FileType::RegularFile,
            kind::FIFO => FileType::Fifo,
            _ => return Err(Errno::PERM),
        };
        let parent = self.nodes.directory(head.node)?;
        let acting = self.act_for(head)?;
        mknodat(&parent, name, what, Mode::from_raw_mode(mode & OF_NEW), 0)?;
        drop(acting);
        self.entry(head.node, name, reply)
    }

    /// `MKDIR`.
    pub(crate) fn mkdir(&self, head: &Head, body: &mut Body, reply: &mut Reply) -> Result<(), Errno> {
        let [mode, _] = [body.u32()?, body.u32()?];
        let name = body.name()?;
        self.folder.may_write()?;
        reply.needs(ENTRY_OUT)?;
        let parent = self.nodes.directory(head.node)?;
        let acting = self.act_for(head)?;
        mkdirat(&parent, name, Mode::from_raw_mode(mode & OF_NEW))?;
        drop(acting);
        self.entry(head.node, name, reply)
    }

    /// `LINK`.
    pub(crate) fn link(&self, head: &Head, body: &mut Body, reply: &mut Reply) -> Result<(), Errno> {
        let (of, name) = (body.u64()?, body.name()?);
        self.folder.may_write()?;
        reply.needs(ENTRY_OUT)?;
        let (found, parent) = (self.nodes.get(of)?, self.nodes.directory(head.node)?);
        if found.kind == kind::DIRECTORY {
            return Err(Errno::PERM);
        }
        // The link under /proc is followed to the open file, and not further where that is a symbolic link itself.
        linkat(CWD, link_of(found.fd.as_fd()), &parent, name, AtFlags::SYMLINK_FOLLOW)?;
        self.entry(head.node, name, reply)
    }

    /// `UNLINK` and `RMDIR`.
    pub(crate) fn remove(&self, head: &Head, body: &mut Body, directory: bool) -> Result<(), Errno> {
        let name = body.name()?;
        self.folder.may_write()?;
        let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        unlinkat(self.nodes.directory(head.node)?, name, flags)
    }

    /// `RENAME`, and `RENAME2`, which has flags.
    pub(crate) fn rename(&self, head: &Head, body: &mut Body, has_flags: bool) -> Result<(), Errno> {
        let to = body.u64()?;
        let flags = if has_flags { [body.u32()?, body.u32()?][0] } else { 0 };
        let (old, new) = (body.name()?, body.name()?);
        self.folder.may_write()?;
        let allowed = RenameFlags::NOREPLACE | RenameFlags::EXCHANGE;
        let flags = RenameFlags::from_bits(flags).filter(|f| allowed.contains(*f)).ok_or(Errno::INVAL)?;
        let (source, target) = (self.nodes.directory(head.node)?, self.nodes.directory(to)?);
        renameat_with(&source, old, &target, new, flags)?;
        self.nodes.renamed(to, new);
        if flags.contains(RenameFlags::EXCHANGE) {
            self.nodes.renamed(head.node, old);
        }
        Ok(())
    }

    /// `CREATE`: a regular file that is opened at once, a new one if there is none.
    pub(crate) fn create(&self, head: &Head, body: &mut Body, reply: &mut Reply) -> Result<(), Errno> {
        let [flags, mode, _, _] = [body.u32()?, body.u32()?, body.u32()?, body.u32()?];
        let name = body.name()?;
        self.folder.may_write()?;
        reply.needs(ENTRY_OUT + OPEN_OUT)?;
        self.handles.has_room()?;
        host_flags(flags)?;
        for _ in 0..TRIES {
            match self.create_new(head, name, flags, mode, reply) {
                Err(Errno::EXIST) if flags & open::EXCLUSIVE == 0 => {}
                result => return result,
            }
            match self.open_existing(head, name, flags, reply) {
                Err(Errno::NOENT | Errno::STALE) => {}
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    fn create_new(
        &self,
        head: &Head,
        name: &[u8],
        flags: u32,
        mode: u32,
        reply: &mut Reply,
    ) -> Result<(), Errno> {
        let parent = self.nodes.directory(head.node)?;
        let acting = self.act_for(head)?;
        let new = host_flags(flags)? | OFlags::CREATE | OFlags::EXCL;
        let fd = open_beneath(&parent, name, new, Mode::from_raw_mode(mode & OF_NEW))?;
        drop(acting);
        let (node, stat) = self.nodes.look_up(head.node, name)?;
        let handle = self.handles.add(node, kind::REGULAR, flags, fd);
        let handle = handle.inspect_err(|_| self.nodes.forget(node, 1))?;
        put_entry(&self.folder, reply, node, &stat);
        put_open(reply, handle);
        Ok(())
    }

    fn open_existing(&self, head: &Head, name: &[u8], flags: u32, reply: &mut Reply) -> Result<(), Errno> {
        let (node, stat) = self.nodes.look_up(head.node, name)?;
        let opened = open_node(&self.nodes, node, kind::REGULAR, flags)
            .and_then(|fd| self.handles.add(node, kind::REGULAR, flags, fd));
        let handle = opened.inspect_err(|_| self.nodes.forget(node, 1))?;
        put_entry(&self.folder, reply, node, &stat);
        put_open(reply, handle);
        Ok(())
    }

    /// `OPEN`: a regular file.
    pub(crate) fn open(&self, head: &Head, body: &mut Body, reply: &mut Reply) -> Result<(), Errno> {
        let [flags, _] = [body.u32()?, body.u32()?];
        reply.needs(OPEN_OUT)?;
        if writes(flags) {
            self.folder.may_write()?;
        }
        self.handles.has_room()?;
        let fd = open_node(&self.nodes, head.node, kind::REGULAR, flags)?;
        put_open(reply, self.handles.add(head.node, kind::REGULAR, flags, fd)?);
        Ok(())
    }

    /// `OPENDIR`.
    pub(crate) fn open_directory(&self, head: &Head, reply: &mut Reply) -> Result<(), Errno> {
        reply.needs(OPEN_OUT)?;
        self.handles.has_room()?;
        let fd = open_node(&self.nodes, head.node, kind::DIRECTORY, open::READ_ONLY)?;
        put_open(reply, self.handles.add(head.node, kind::DIRECTORY, open::READ_ONLY, fd)?);
        Ok(())
    }
}
