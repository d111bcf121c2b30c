//! A guest's kernel, as far as requests go.

use crate::wire::{MINOR, op};
use crate::{Access, Folder, Server};
use rustix::io::Errno;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory with a folder `shared` in it, removed at the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("trine-share-{}-{number}", std::process::id()));
        std::fs::create_dir_all(dir.join("shared")).unwrap();
        Scratch(dir)
    }

    pub fn shared(&self) -> PathBuf {
        self.0.join("shared")
    }
}

impl Deref for Scratch {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// What a reply says of a file.
#[derive(Debug, Clone, Copy)]
pub struct Attr {
    pub inode: u64,
    pub size: u64,
    pub mtime: (u64, u32),
    pub atime: (u64, u32),
    pub mode: u32,
    pub links: u32,
    pub uid: u32,
    pub gid: u32,
}

pub fn attr(bytes: &[u8]) -> Attr {
    let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    Attr {
        inode: long(0),
        size: long(8),
        atime: (long(24), word(48)),
        mtime: (long(32), word(52)),
        mode: word(60),
        links: word(64),
        uid: word(68),
        gid: word(72),
    }
}

/// A guest with a session that has begun.
pub struct Client {
    pub server: Server,
    pub uid: u32,
    pub gid: u32,
}

pub fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub fn longs(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub fn text(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

impl Client {
    pub fn new(folder: Folder) -> Client {
        let client = Client { server: Server::new(Arc::new(folder), 1), uid: 0, gid: 0 };
        client.begin();
        client
    }

    pub fn of(scratch: &Scratch, access: Access) -> Client {
        Client::new(Folder::open(&scratch.shared(), access).unwrap())
    }

    pub fn begin(&self) -> Vec<u8> {
        self.ask(op::INIT, 0, &words(&[7, MINOR, 1 << 17, u32::MAX])).unwrap()
    }

    /// Makes a request; returns what follows the reply's header.
    pub fn ask(&self, opcode: u32, node: u64, body: &[u8]) -> Result<Vec<u8>, Errno> {
        self.ask_with_room(opcode, node, body, 2 << 20)
    }

    pub fn ask_with_room(&self, opcode: u32, node: u64, body: &[u8], room: usize) -> Result<Vec<u8>, Errno> {
        let head = [
            words(&[40 + body.len() as u32, opcode]),
            longs(&[77, node]),
            words(&[self.uid, self.gid, 1, 0]),
        ];
        let mut reply = Vec::new();
        self.server.handle(&[&head.concat(), body].concat(), room, &mut reply);
        assert_eq!(u32::from_le_bytes(reply[..4].try_into().unwrap()) as usize, reply.len());
        assert_eq!(u64::from_le_bytes(reply[8..16].try_into().unwrap()), 77);
        assert!(reply.len() <= room);
        match i32::from_le_bytes(reply[4..8].try_into().unwrap()) {
            0 => Ok(reply.split_off(16)),
            error => {
                assert_eq!(reply.len(), 16);
                Err(Errno::from_raw_os_error(-error))
            }
        }
    }

    /// A node and its attributes, from a reply with an entry.
    pub fn entry(reply: &[u8]) -> (u64, Attr) {
        (u64::from_le_bytes(reply[..8].try_into().unwrap()), attr(&reply[40..]))
    }

    pub fn look_up(&self, parent: u64, name: &str) -> Result<(u64, Attr), Errno> {
        self.ask(op::LOOKUP, parent, &text(name)).map(|reply| Client::entry(&reply))
    }

    /// The node of a path below the folder.
    pub fn walk(&self, path: &str) -> Result<u64, Errno> {
        path.split('/').try_fold(1, |node, name| self.look_up(node, name).map(|found| found.0))
    }

    pub fn attributes(&self, node: u64) -> Result<Attr, Errno> {
        self.ask(op::GETATTR, node, &[0; 16]).map(|reply| attr(&reply[16..]))
    }

    pub fn mkdir(&self, parent: u64, name: &str, mode: u32) -> Result<(u64, Attr), Errno> {
        let body = [words(&[mode, 0]), text(name)].concat();
        self.ask(op::MKDIR, parent, &body).map(|reply| Client::entry(&reply))
    }

    /// Creates and opens a file; returns its node, attributes and handle.
    pub fn create(&self, parent: u64, name: &str, flags: u32, mode: u32) -> Result<(u64, Attr, u64), Errno> {
        let body = [words(&[flags, mode, 0, 0]), text(name)].concat();
        let reply = self.ask(op::CREATE, parent, &body)?;
        let (node, attr) = Client::entry(&reply);
        Ok((node, attr, u64::from_le_bytes(reply[128..136].try_into().unwrap())))
    }

    pub fn open(&self, node: u64, flags: u32) -> Result<u64, Errno> {
        let reply = self.ask(op::OPEN, node, &words(&[flags, 0]))?;
        Ok(u64::from_le_bytes(reply[..8].try_into().unwrap()))
    }

    pub fn open_directory(&self, node: u64) -> Result<u64, Errno> {
        let reply = self.ask(op::OPENDIR, node, &words(&[0, 0]))?;
        Ok(u64::from_le_bytes(reply[..8].try_into().unwrap()))
    }

    pub fn read(&self, handle: u64, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        self.ask(op::READ, 0, &[longs(&[handle, offset]), words(&[size, 0, 0, 0, 0, 0])].concat())
    }

    pub fn write(&self, handle: u64, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        let head = [longs(&[handle, offset]), words(&[data.len() as u32, 0, 0, 0, 0, 0])].concat();
        let reply = self.ask(op::WRITE, 0, &[&head, data].concat())?;
        Ok(u32::from_le_bytes(reply[..4].try_into().unwrap()))
    }

    pub fn rename(&self, from: (u64, &str), to: (u64, &str), flags: u32) -> Result<(), Errno> {
        let body = [longs(&[to.0]), words(&[flags, 0]), text(from.1), text(to.1)].concat();
        self.ask(op::RENAME2, from.0, &body).map(drop)
    }

    /// Sets attributes: which, size, times, mode, owner.
    pub fn set(&self, node: u64, valid: u32, size: u64, mode: u32, owner: (u32, u32)) -> Result<Attr, Errno> {
        let body = [
            words(&[valid, 0]),
            longs(&[0, size, 0, 1000, 2000, 0]),
            words(&[11, 22, 0, mode, 0, owner.0, owner.1, 0]),
        ];
        self.ask(op::SETATTR, node, &body.concat()).map(|reply| attr(&reply[16..]))
    }

    pub fn symlink(&self, parent: u64, name: &str, target: &str) -> Result<(u64, Attr), Errno> {
        let body = [text(name), text(target)].concat();
        self.ask(op::SYMLINK, parent, &body).map(|reply| Client::entry(&reply))
    }

    /// All entries of a directory: names, and nodes where `plus`.
    pub fn list(&self, node: u64, plus: bool, size: u32) -> Result<Vec<(String, u64)>, Errno> {
        let handle = self.open_directory(node)?;
        let (mut found, mut offset) = (Vec::new(), 0);
        loop {
            let body = [longs(&[handle, offset]), words(&[size, 0, 0, 0, 0, 0])].concat();
            let mut rest = &self.ask(if plus { op::READDIRPLUS } else { op::READDIR }, node, &body)?[..];
            assert!(rest.len() <= size as usize);
            if rest.is_empty() {
                self.ask(op::RELEASEDIR, node, &longs(&[handle, 0, 0]))?;
                found.sort();
                return Ok(found);
            }
            while !rest.is_empty() {
                let (mut node, before) = (0, if plus { 128 } else { 0 });
                if plus {
                    node = Client::entry(rest).0;
                }
                offset = u64::from_le_bytes(rest[before + 8..before + 16].try_into().unwrap());
                let len = u32::from_le_bytes(rest[before + 16..before + 20].try_into().unwrap()) as usize;
                let name = String::from_utf8(rest[before + 24..before + 24 + len].to_vec()).unwrap();
                found.push((name, node));
                rest = &rest[before + (24 + len).next_multiple_of(8)..];
            }
        }
    }
}
