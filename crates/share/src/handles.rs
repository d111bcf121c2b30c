//! What the guest has open.

use crate::folder::open_link;
use crate::nodes::{Nodes, kind};
use crate::wire::open;
use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The most files that a guest may have open, whatever the host allows.
pub const MOST_HANDLES: usize = 1 << 16;

/// An open file or directory.
pub struct Handle {
    node: u64,
    kind: u32,
    /// Flags of `open`, those of [`open::HEEDED`] without truncation.
    flags: u32,
    /// Empty in a loaded state until it is used.
    fd: OnceLock<OwnedFd>,
    /// Held while a directory is read, which is two calls: to the place, and from there.
    pub reading: Mutex<()>,
}

/// An open file as it is saved.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedHandle {
    pub number: u64,
    pub node: u64,
    pub directory: bool,
    pub flags: u32,
}

#[derive(Default)]
struct Table {
    open: HashMap<u64, Arc<Handle>>,
    last: u64,
}

/// All of them.
pub struct Handles {
    table: Mutex<Table>,
    most: usize,
}

/// Flags as the host's `open` takes them.
pub fn host_flags(flags: u32) -> Result<OFlags, Errno> {
    if flags & open::ACCESS == open::ACCESS {
        return Err(Errno::INVAL);
    }
    Ok(OFlags::from_bits_retain(flags & open::HEEDED))
}

/// Whether files opened with these flags change.
pub fn writes(flags: u32) -> bool {
    flags & open::ACCESS != open::READ_ONLY || flags & open::TRUNCATE != 0
}

/// Opens a node, which must be of this kind: a device node, a socket or a FIFO of the host is opened by nobody but the host.
pub fn open_node(nodes: &Nodes, node: u64, wanted: u32, flags: u32) -> Result<OwnedFd, Errno> {
    let flags = host_flags(flags)?;
    let found = nodes.get(node)?;
    match (wanted, found.kind) {
        (kind::DIRECTORY, kind::DIRECTORY) => open_link(&found.fd, OFlags::RDONLY | OFlags::DIRECTORY),
        (kind::REGULAR, kind::REGULAR) => open_link(&found.fd, flags),
        (kind::DIRECTORY, _) => Err(Errno::NOTDIR),
        (_, kind::DIRECTORY) => Err(Errno::ISDIR),
        (_, kind::SYMLINK) => Err(Errno::LOOP),
        _ => Err(Errno::NXIO),
    }
}

impl Handle {
    /// The directory or file that it is an open one of.
    pub fn node(&self) -> u64 {
        self.node
    }

    /// The descriptor, whatever is open.
    pub fn any_fd(&self, nodes: &Nodes) -> Result<&OwnedFd, Errno> {
        self.fd(nodes, self.kind)
    }

    /// The descriptor of an open file of this kind.
    ///
    /// # Errors
    /// `EBADF`: it is something else, or a loaded state's file is not there any more.
    pub fn fd(&self, nodes: &Nodes, wanted: u32) -> Result<&OwnedFd, Errno> {
        if self.kind != wanted {
            return Err(Errno::BADF);
        }
        if let Some(fd) = self.fd.get() {
            return Ok(fd);
        }
        let fd = open_node(nodes, self.node, self.kind, self.flags).map_err(|_| Errno::BADF)?;
        Ok(self.fd.get_or_init(|| fd))
    }
}

impl Handles {
    /// None, and at most `most` at a time.
    pub fn new(most: usize) -> Handles {
        Handles { table: Mutex::default(), most: most.clamp(1, MOST_HANDLES) }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more can be opened.
    pub fn has_room(&self) -> Result<(), Errno> {
        if self.table().open.len() < self.most { Ok(()) } else { Err(Errno::NFILE) }
    }

    /// Adds an open file; returns its number.
    pub fn add(&self, node: u64, kind: u32, flags: u32, fd: OwnedFd) -> Result<u64, Errno> {
        let flags = flags & open::HEEDED & !open::TRUNCATE;
        let handle = Handle { node, kind, flags, fd: OnceLock::from(fd), reading: Mutex::default() };
        let mut table = self.table();
        if table.open.len() >= self.most {
            return Err(Errno::NFILE);
        }
        table.last += 1;
        let number = table.last;
        table.open.insert(number, Arc::new(handle));
        Ok(number)
    }

    /// The open file of a number.
    pub fn get(&self, number: u64) -> Result<Arc<Handle>, Errno> {
        self.table().open.get(&number).cloned().ok_or(Errno::BADF)
    }

    /// Closes one. Whatever a close takes on the host is not waited for under the lock.
    pub fn close(&self, number: u64) -> Result<(), Errno> {
        let closed = self.table().open.remove(&number);
        closed.map(drop).ok_or(Errno::BADF)
    }

    /// Closes all.
    pub fn clear(&self) {
        let mut table = self.table();
        let all = std::mem::take(&mut table.open);
        drop(table);
        drop(all);
    }

    /// All of them, and the last number that was given.
    pub fn save(&self) -> (Vec<SavedHandle>, u64) {
        let table = self.table();
        let one = |(&number, handle): (&u64, &Arc<Handle>)| {
            let Handle { node, kind, flags, .. } = **handle;
            SavedHandle { number, node, directory: kind == kind::DIRECTORY, flags }
        };
        let mut handles: Vec<SavedHandle> = table.open.iter().map(one).collect();
        handles.sort_unstable_by_key(|handle| handle.number);
        (handles, table.last)
    }

    /// Takes over what was saved.
    pub fn load(&self, saved: Vec<SavedHandle>, last: u64) -> Result<(), String> {
        if saved.len() > MOST_HANDLES {
            return Err(format!("it has {} open files", saved.len()));
        }
        let mut new = Table { last, ..Table::default() };
        for SavedHandle { number, node, directory, flags } in saved {
            let kind = if directory { kind::DIRECTORY } else { kind::REGULAR };
            let valid =
                host_flags(flags).is_ok() && flags & !open::HEEDED == 0 && flags & open::TRUNCATE == 0;
            if number == 0 || number > last || !valid || new.open.contains_key(&number) {
                return Err(format!("open file {number} is not possible"));
            }
            let (fd, reading) = Default::default();
            new.open.insert(number, Arc::new(Handle { node, kind, flags, fd, reading }));
        }
        *self.table() = new;
        Ok(())
    }
}
