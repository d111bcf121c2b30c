//! The files that the guest knows, by the numbers that it was given for them.
//!
//! A node is a name in the directory of another one, and an open descriptor while it is in use: of the rest, those used longest ago are closed
//! and are found again by their names, which must then lead to the same file. So a guest can know far more files than this process
//! may have open.

use crate::folder::{Folder, find, stat};
use crate::wire::check_name;
use rustix::fs::Statx;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The folder itself.
pub const ROOT: u64 = 1;
/// The most files that a guest may know.
pub const MOST_NODES: usize = 1 << 20;
/// The most steps from the folder to a file. Linux has no such limit, but nobody names deeper files.
const MOST_STEPS: usize = 2048;
/// The bits of a mode that say what a file is (`S_IFMT`).
const KIND: u32 = 0o170000;

/// What a file is.
#[allow(missing_docs)]
pub mod kind {
    pub const DIRECTORY: u32 = 0o040000;
    pub const REGULAR: u32 = 0o100000;
    pub const SYMLINK: u32 = 0o120000;
    pub const FIFO: u32 = 0o010000;
}

/// What a file is, from its attributes.
pub fn kind_of(stat: &Statx) -> u32 {
    u32::from(stat.stx_mode) & KIND
}

/// What tells a file from all others. An inode's number is given to another file once its own is gone; the time of its
/// birth tells the two apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// `None`: the device of the folder itself, whose number may be another one when a saved machine is loaded.
    pub device: Option<u64>,
    pub inode: u64,
    /// Seconds and nanoseconds since 1970; 0 where the file system does not know.
    pub born: (i64, u32),
}

struct Node {
    identity: Identity,
    kind: u32,
    /// The directory in which it was found last, and its name there.
    parent: u64,
    name: Box<[u8]>,
    /// How many replies have told the guest of it that it has not forgotten.
    lookups: u64,
    /// How many nodes were found in it.
    children: u64,
    /// The descriptor, and when it was used last.
    open: Option<(Arc<OwnedFd>, u64)>,
}

/// A node as it is saved.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SavedNode {
    pub id: u64,
    pub identity: Identity,
    pub kind: u32,
    pub parent: u64,
    pub name: Vec<u8>,
    pub lookups: u64,
}

/// A file that the guest knows: a descriptor for attributes and further steps, and what it is.
#[derive(Clone)]
pub struct Found {
    pub fd: Arc<OwnedFd>,
    pub kind: u32,
}

/// Names, and the directory from which they lead: an ancestor's, or the folder.
type Way = (Vec<Box<[u8]>>, Option<Arc<OwnedFd>>);

#[derive(Default)]
struct Table {
    nodes: HashMap<u64, Node>,
    by_identity: HashMap<Identity, u64>,
    /// The last number that was given.
    last: u64,
    /// The open nodes, by when they were used last.
    open: BTreeMap<u64, u64>,
    clock: u64,
}

/// All nodes.
pub struct Nodes {
    folder: Arc<Folder>,
    table: Mutex<Table>,
    most_open: usize,
}

impl Table {
    /// Notes that a node is used now.
    fn touch(&mut self, id: u64) {
        self.clock += 1;
        if let Some((_, used)) = self.nodes.get_mut(&id).and_then(|node| node.open.as_mut()) {
            self.open.remove(used);
            *used = self.clock;
            self.open.insert(self.clock, id);
        }
    }

    /// Keeps a node's descriptor, and closes others where there are too many.
    fn keep_open(&mut self, id: u64, fd: Arc<OwnedFd>, most: usize) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.open.is_none() {
            self.clock += 1;
            node.open = Some((fd, self.clock));
            self.open.insert(self.clock, id);
        }
        while self.open.len() > most {
            let Some((_, id)) = self.open.pop_first() else { return };
            if let Some(node) = self.nodes.get_mut(&id) {
                node.open = None;
            }
        }
    }

    /// Whether a node is another one's ancestor, or itself.
    fn leads_through(&self, mut id: u64, ancestor: u64) -> bool {
        for _ in 0..MOST_STEPS {
            if id == ancestor {
                return true;
            }
            match self.nodes.get(&id) {
                Some(node) => id = node.parent,
                None => return false,
            }
        }
        true
    }

    /// Notes that a node was found under this name.
    fn place(&mut self, id: u64, parent: u64, name: &[u8]) {
        let Some(node) = self.nodes.get(&id) else { return };
        // Directories that the host moves about could look as if they contained each other.
        if (node.parent == parent && *node.name == *name) || self.leads_through(parent, id) {
            return;
        }
        if let Some(to) = self.nodes.get_mut(&parent) {
            to.children += 1;
        } else if parent != ROOT {
            return;
        }
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let old = std::mem::replace(&mut node.parent, parent);
        node.name = name.into();
        self.release(old);
    }

    /// A node has one child less.
    fn release(&mut self, id: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.children = node.children.saturating_sub(1);
            self.remove_unused(id);
        }
    }

    /// Removes a node that nobody knows any more, and its ancestors that were there for its sake.
    fn remove_unused(&mut self, mut id: u64) {
        while let Some(node) = self.nodes.get(&id)
            && node.lookups == 0
            && node.children == 0
        {
            let Some(node) = self.nodes.remove(&id) else { return };
            if let Some((_, used)) = node.open {
                self.open.remove(&used);
            }
            if self.by_identity.get(&node.identity) == Some(&id) {
                self.by_identity.remove(&node.identity);
            }
            id = node.parent;
            if let Some(parent) = self.nodes.get_mut(&id) {
                parent.children = parent.children.saturating_sub(1);
            }
        }
    }

    /// Adds a node.
    fn insert(&mut self, id: u64, node: Node) {
        if let Some(parent) = self.nodes.get_mut(&node.parent) {
            parent.children += 1;
        }
        self.by_identity.insert(node.identity, id);
        self.nodes.insert(id, node);
    }

    /// The names from the nearest open ancestor to a node, the last one first, and that ancestor's descriptor, `None` for the folder.
    fn way(&self, mut id: u64) -> Result<Way, Errno> {
        let mut names = Vec::new();
        while id != ROOT {
            let node = self.nodes.get(&id).ok_or(Errno::STALE)?;
            if let Some((fd, _)) = &node.open {
                return Ok((names, Some(fd.clone())));
            }
            if names.len() >= MOST_STEPS {
                return Err(Errno::STALE);
            }
            names.push(node.name.clone());
            id = node.parent;
        }
        Ok((names, None))
    }
}

impl Nodes {
    /// No nodes but the folder, of which at most `most_open` are open at a time.
    pub fn new(folder: Arc<Folder>, most_open: usize) -> Nodes {
        let table = Table { last: ROOT, ..Table::default() };
        Nodes { folder, table: Mutex::new(table), most_open: most_open.max(1) }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of a number.
    ///
    /// # Errors
    /// `ESTALE`: the guest was never given this number, or another file is where its file was.
    pub fn get(&self, id: u64) -> Result<Found, Errno> {
        if id == ROOT {
            return Ok(Found { fd: self.folder.root(), kind: kind::DIRECTORY });
        }
        let mut table = self.table();
        let node = table.nodes.get(&id).ok_or(Errno::STALE)?;
        let (identity, kind) = (node.identity, node.kind);
        if let Some((fd, _)) = &node.open {
            let fd = fd.clone();
            table.touch(id);
            return Ok(Found { fd, kind });
        }
        let (names, from) = table.way(id)?;
        drop(table);
        let mut fd = from.unwrap_or_else(|| self.folder.root());
        for name in names.iter().rev() {
            fd = Arc::new(find(&fd, name).map_err(gone)?);
        }
        let there = stat(&fd)?;
        if self.folder.identity(&there) != identity || kind_of(&there) != kind {
            return Err(Errno::STALE);
        }
        self.table().keep_open(id, fd.clone(), self.most_open);
        Ok(Found { fd, kind })
    }

    /// The descriptor of a directory.
    pub fn directory(&self, id: u64) -> Result<Arc<OwnedFd>, Errno> {
        let found = self.get(id)?;
        if found.kind == kind::DIRECTORY { Ok(found.fd) } else { Err(Errno::NOTDIR) }
    }

    /// Finds a name in a directory. The guest is told of it: it counts until it is forgotten.
    pub fn look_up(&self, parent: u64, name: &[u8]) -> Result<(u64, Statx), Errno> {
        let directory = self.directory(parent)?;
        let fd = find(&directory, name)?;
        let stat = stat(&fd)?;
        Ok((self.tell(parent, name, Arc::new(fd), &stat)?, stat))
    }

    /// The number of a file that was found, which the guest is told.
    fn tell(&self, parent: u64, name: &[u8], fd: Arc<OwnedFd>, stat: &Statx) -> Result<u64, Errno> {
        let identity = self.folder.identity(stat);
        let mut table = self.table();
        if let Some(&id) = table.by_identity.get(&identity)
            && let Some(node) = table.nodes.get_mut(&id).filter(|node| node.kind == kind_of(stat))
        {
            node.lookups = node.lookups.saturating_add(1);
            table.place(id, parent, name);
            table.keep_open(id, fd, self.most_open);
            return Ok(id);
        }
        if table.nodes.len() >= MOST_NODES {
            return Err(Errno::NFILE);
        }
        if parent != ROOT && !table.nodes.contains_key(&parent) {
            return Err(Errno::STALE);
        }
        table.last += 1;
        let id = table.last;
        let (kind, name) = (kind_of(stat), name.into());
        table.insert(id, Node { identity, kind, parent, name, lookups: 1, children: 0, open: None });
        table.keep_open(id, fd, self.most_open);
        Ok(id)
    }

    /// Notes that what has this name now was renamed: a file that the guest knows is found there from now on.
    pub fn renamed(&self, parent: u64, name: &[u8]) {
        let there = || {
            let fd = find(self.directory(parent)?, name)?;
            stat(&fd)
        };
        let Ok(stat) = there() else { return };
        let mut table = self.table();
        if let Some(&id) = table.by_identity.get(&self.folder.identity(&stat)) {
            table.place(id, parent, name);
        }
    }

    /// The guest has forgotten as many replies that told it of a file.
    pub fn forget(&self, id: u64, lookups: u64) {
        let mut table = self.table();
        if let Some(node) = table.nodes.get_mut(&id) {
            node.lookups = node.lookups.saturating_sub(lookups);
            table.remove_unused(id);
        }
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        let mut table = self.table();
        *table = Table { last: table.last, ..Table::default() };
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.table().nodes.len()
    }

    /// All of them, and the last number that was given.
    pub fn save(&self) -> (Vec<SavedNode>, u64) {
        let table = self.table();
        let one = |(&id, node): (&u64, &Node)| SavedNode {
            id,
            identity: node.identity,
            kind: node.kind,
            parent: node.parent,
            name: node.name.to_vec(),
            lookups: node.lookups,
        };
        let mut nodes: Vec<SavedNode> = table.nodes.iter().map(one).collect();
        nodes.sort_unstable_by_key(|node| node.id);
        (nodes, table.last)
    }

    /// Takes over what was saved. No file is looked for before the guest asks.
    pub fn load(&self, saved: Vec<SavedNode>, last: u64) -> Result<(), String> {
        if saved.len() > MOST_NODES {
            return Err(format!("it has {} files", saved.len()));
        }
        let mut new = Table { last, ..Table::default() };
        let ids: std::collections::HashSet<u64> = saved.iter().map(|node| node.id).collect();
        for node in &saved {
            let SavedNode { id, parent, .. } = *node;
            let known = id > ROOT && id <= last && id != parent && (parent == ROOT || ids.contains(&parent));
            if !known || new.nodes.contains_key(&id) || check_name(&node.name).is_err() {
                return Err(format!("file {id} is not possible"));
            }
            let SavedNode { identity, kind, lookups, .. } = *node;
            let name = node.name.clone().into_boxed_slice();
            new.nodes.insert(id, Node { identity, kind, parent, name, lookups, children: 0, open: None });
            new.by_identity.insert(identity, id);
        }
        for node in &saved {
            if let Some(parent) = new.nodes.get_mut(&node.parent) {
                parent.children += 1;
            }
        }
        *self.table() = new;
        Ok(())
    }
}

/// What a step says to a guest that knew the file.
fn gone(error: Errno) -> Errno {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV => Errno::STALE,
        other => other,
    }
}
