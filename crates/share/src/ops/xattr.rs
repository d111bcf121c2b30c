//! Extended attributes: those of users (`user.*`). The others mean something to the host: `security.capability` gives a program
//! capabilities, `trusted.*` belongs to the host's root.

use crate::Server;
use crate::folder::link_of;
use crate::nodes::kind;
use crate::wire::{Body, Head, Reply};
use rustix::fs::{XattrFlags, getxattr, listxattr, removexattr, setxattr};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// The most bytes of a value, and of all names of a file (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const MOST: usize = 64 << 10;
/// The longest name (`XATTR_NAME_MAX`).
const LONGEST: usize = 255;
/// What the names of users' attributes begin with.
const OF_USERS: &[u8] = b"user.";

/// The name of an attribute that the guest may use.
fn name<'a>(body: &mut Body<'a>) -> Result<&'a [u8], Errno> {
    let name = body.text()?;
    match name.strip_prefix(OF_USERS) {
        Some([]) => Err(Errno::INVAL),
        Some(_) if name.len() > LONGEST => Err(Errno::RANGE),
        Some(_) => Ok(name),
        None => Err(Errno::OPNOTSUPP),
    }
}

impl Server {
    /// A file that may have such attributes.
    fn with_attributes(&self, head: &Head) -> Result<Arc<OwnedFd>, Errno> {
        let found = self.nodes.get(head.node)?;
        match found.kind {
            kind::REGULAR | kind::DIRECTORY => Ok(found.fd),
            _ => Err(Errno::OPNOTSUPP),
        }
    }

    /// `SETXATTR`.
    pub(crate) fn set_xattr(&self, head: &Head, body: &mut Body) -> Result<(), Errno> {
        let [size, flags] = [body.u32()?, body.u32()?];
        let (name, value) = (name(body)?, body.bytes(size as usize)?);
        self.folder.may_write()?;
        if value.len() > MOST {
            return Err(Errno::TOOBIG);
        }
        let flags = XattrFlags::from_bits(flags).ok_or(Errno::INVAL)?;
        let fd = self.with_attributes(head)?;
        setxattr(link_of(fd.as_fd()), name, value, flags)
    }

    /// `GETXATTR`: the value, or its size where the guest has no room yet.
    pub(crate) fn get_xattr(&self, head: &Head, body: &mut Body, reply: &mut Reply) -> Result<(), Errno> {
        let [size, _] = [body.u32()?, body.u32()?];
        let name = name(body)?;
        let fd = self.with_attributes(head)?;
        let mut value = vec![0; MOST];
        let len = getxattr(link_of(fd.as_fd()), name, &mut value[..])?;
        answer(size, &value[..len], reply)
    }

    /// `LISTXATTR`.
    pub(crate) fn list_xattr(&self, head: &Head, body: &mut Body, reply: &mut Reply) -> Result<(), Errno> {
        let size = body.u32()?;
        let Ok(fd) = self.with_attributes(head) else { return answer(size, &[], reply) };
        let mut names = vec![0; MOST];
        let len = listxattr(link_of(fd.as_fd()), &mut names[..])?;
        let all = names[..len].split_inclusive(|b| *b == 0);
        let ours: Vec<u8> = all.filter(|name| name.starts_with(OF_USERS)).flatten().copied().collect();
        answer(size, &ours, reply)
    }

    /// `REMOVEXATTR`.
    pub(crate) fn remove_xattr(&self, head: &Head, body: &mut Body) -> Result<(), Errno> {
        let name = name(body)?;
        self.folder.may_write()?;
        let fd = self.with_attributes(head)?;
        removexattr(link_of(fd.as_fd()), name)
    }
}

/// Answers with bytes for which the guest has room for `size`, 0 meaning that it asks how many there are.
fn answer(size: u32, bytes: &[u8], reply: &mut Reply) -> Result<(), Errno> {
    if size == 0 {
        reply.needs(8)?;
        reply.u32(bytes.len() as u32);
        reply.u32(0);
        return Ok(());
    }
    if bytes.len() > size as usize || bytes.len() > reply.left() {
        return Err(Errno::RANGE);
    }
    reply.put(bytes);
    Ok(())
}
