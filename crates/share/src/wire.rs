//! Layouts of requests and replies (Linux, include/uapi/linux/fuse.h). All integers are little-endian, as on the guests
//! that there are.

use rustix::io::Errno;

/// The protocol's version that is spoken.
pub const MAJOR: u32 = 7;
pub const MINOR: u32 = 38;
/// The oldest minor version of a guest: the first one whose requests all have today's layout.
pub const OLDEST_MINOR: u32 = 27;

/// The most bytes of data in a read or write.
pub const MOST_DATA: usize = 1 << 20;
/// The most bytes of a request that are looked at: data and what comes before it.
pub const MOST_REQUEST: usize = MOST_DATA + 4096;
/// Bytes of `fuse_out_header`, without which there is no reply.
pub const SHORTEST_REPLY: usize = 16;
/// Bytes of `fuse_in_header`.
const HEADER: usize = 40;
/// The longest name of a file in bytes (`NAME_MAX`).
pub const LONGEST_NAME: usize = 255;
/// The longest target of a symbolic link in bytes (`PATH_MAX` without the zero byte).
pub const LONGEST_TARGET: usize = 4095;

/// Kinds of requests (`enum fuse_opcode`).
#[allow(missing_docs)]
pub mod op {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const SETATTR: u32 = 4;
    pub const READLINK: u32 = 5;
    pub const SYMLINK: u32 = 6;
    pub const MKNOD: u32 = 8;
    pub const MKDIR: u32 = 9;
    pub const UNLINK: u32 = 10;
    pub const RMDIR: u32 = 11;
    pub const RENAME: u32 = 12;
    pub const LINK: u32 = 13;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const WRITE: u32 = 16;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const FSYNC: u32 = 20;
    pub const SETXATTR: u32 = 21;
    pub const GETXATTR: u32 = 22;
    pub const LISTXATTR: u32 = 23;
    pub const REMOVEXATTR: u32 = 24;
    pub const FLUSH: u32 = 25;
    pub const INIT: u32 = 26;
    pub const OPENDIR: u32 = 27;
    pub const READDIR: u32 = 28;
    pub const RELEASEDIR: u32 = 29;
    pub const FSYNCDIR: u32 = 30;
    pub const ACCESS: u32 = 34;
    pub const CREATE: u32 = 35;
    pub const INTERRUPT: u32 = 36;
    pub const DESTROY: u32 = 38;
    pub const BATCH_FORGET: u32 = 42;
    pub const FALLOCATE: u32 = 43;
    pub const READDIRPLUS: u32 = 44;
    pub const RENAME2: u32 = 45;
    pub const LSEEK: u32 = 46;
    pub const COPY_FILE_RANGE: u32 = 47;
}

/// Features that are agreed on (`FUSE_INIT` flags).
pub mod feature {
    pub const ASYNC_READ: u32 = 1 << 0;
    pub const ATOMIC_O_TRUNC: u32 = 1 << 3;
    pub const BIG_WRITES: u32 = 1 << 5;
    pub const AUTO_INVAL_DATA: u32 = 1 << 12;
    pub const DO_READDIRPLUS: u32 = 1 << 13;
    pub const READDIRPLUS_AUTO: u32 = 1 << 14;
    pub const ASYNC_DIO: u32 = 1 << 15;
    pub const PARALLEL_DIROPS: u32 = 1 << 18;
    pub const MAX_PAGES: u32 = 1 << 22;
    pub const HANDLE_KILLPRIV_V2: u32 = 1 << 28;
    /// Not among them: locks (the guest's own kernel keeps them), and caching of writes, which would keep them from the host.
    pub const ALL: u32 = ASYNC_READ
        | ATOMIC_O_TRUNC
        | BIG_WRITES
        | AUTO_INVAL_DATA
        | DO_READDIRPLUS
        | READDIRPLUS_AUTO
        | ASYNC_DIO
        | PARALLEL_DIROPS
        | MAX_PAGES
        | HANDLE_KILLPRIV_V2;
}

/// Flags of `open` as guests with Linux's generic numbers have them (include/uapi/asm-generic/fcntl.h), which are this host's, too.
pub mod open {
    pub const ACCESS: u32 = 0o3;
    pub const READ_ONLY: u32 = 0o0;
    pub const WRITE_ONLY: u32 = 0o1;
    #[cfg(test)]
    pub const READ_WRITE: u32 = 0o2;
    pub const EXCLUSIVE: u32 = 0o200;
    pub const TRUNCATE: u32 = 0o1000;
    pub const APPEND: u32 = 0o2000;
    pub const DSYNC: u32 = 0o10000;
    pub const SYNC: u32 = 0o4010000;
    /// Those that mean something here.
    pub const HEEDED: u32 = ACCESS | TRUNCATE | APPEND | DSYNC | SYNC;
}

/// A request, without its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub opcode: u32,
    pub unique: u64,
    pub node: u64,
    /// User and group of the guest's process.
    pub uid: u32,
    pub gid: u32,
}

/// The rest of a request.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a>(&'a [u8]);

/// Splits a request; `None` where it is shorter than its header, or than it says.
pub fn parse(request: &[u8]) -> Option<(Head, Body<'_>)> {
    let (head, _) = request.split_at_checked(HEADER)?;
    let mut head = Body(head);
    let len = head.u32().ok()? as usize;
    let opcode = head.u32().ok()?;
    let [unique, node] = [head.u64().ok()?, head.u64().ok()?];
    let [uid, gid] = [head.u32().ok()?, head.u32().ok()?];
    let body = request.get(HEADER..len)?;
    Some((Head { opcode, unique, node, uid, gid }, Body(body)))
}

impl<'a> Body<'a> {
    /// The next bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Errno> {
        let (now, rest) = self.0.split_at_checked(len).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(now)
    }

    pub fn u32(&mut self) -> Result<u32, Errno> {
        let bytes = self.bytes(4)?;
        Ok(u32::from_le_bytes(bytes.try_into().map_err(|_| Errno::INVAL)?))
    }

    pub fn u64(&mut self) -> Result<u64, Errno> {
        let bytes = self.bytes(8)?;
        Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| Errno::INVAL)?))
    }

    /// Bytes that end with a zero byte, without it.
    pub fn text(&mut self) -> Result<&'a [u8], Errno> {
        let end = self.0.iter().position(|b| *b == 0).ok_or(Errno::INVAL)?;
        let text = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Ok(text)
    }

    /// The name of a file in a directory.
    pub fn name(&mut self) -> Result<&'a [u8], Errno> {
        let name = self.text()?;
        check_name(name)?;
        Ok(name)
    }
}

/// Whether bytes are the name of a file in a directory, which leads neither out of it nor below it.
pub fn check_name(name: &[u8]) -> Result<(), Errno> {
    match name {
        b"" | b"." | b".." => Err(Errno::INVAL),
        _ if name.len() > LONGEST_NAME => Err(Errno::NAMETOOLONG),
        _ if name.iter().any(|b| matches!(b, b'/' | 0)) => Err(Errno::INVAL),
        _ => Ok(()),
    }
}

/// A reply under construction.
pub struct Reply<'a> {
    bytes: &'a mut Vec<u8>,
    room: usize,
}

impl<'a> Reply<'a> {
    /// A reply in `bytes`, of at most `room` bytes.
    pub fn new(bytes: &'a mut Vec<u8>, room: usize) -> Reply<'a> {
        bytes.clear();
        bytes.resize(SHORTEST_REPLY, 0);
        Reply { bytes, room }
    }

    /// Bytes so far, with the header.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many more bytes the guest has room for.
    pub fn left(&self) -> usize {
        self.room.saturating_sub(self.bytes.len())
    }

    /// Makes sure that the guest has room for the whole reply, before anything is done.
    pub fn needs(&self, bytes: usize) -> Result<(), Errno> {
        if self.left() >= bytes { Ok(()) } else { Err(Errno::INVAL) }
    }

    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    /// Adds zero bytes up to a length without the header, which is returned for the caller to fill.
    pub fn space(&mut self, len: usize) -> &mut [u8] {
        let at = self.bytes.len();
        self.bytes.resize(at + len, 0);
        &mut self.bytes[at..]
    }

    /// Takes bytes off the end.
    pub fn shorten(&mut self, bytes: usize) {
        let len = self.bytes.len().saturating_sub(bytes).max(SHORTEST_REPLY);
        self.bytes.truncate(len);
    }

    /// Writes the header.
    pub fn finish(self, unique: u64, result: Result<(), Errno>) {
        let error = result.err().map_or(0, Errno::raw_os_error);
        if error != 0 {
            self.bytes.truncate(SHORTEST_REPLY);
        }
        let len = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&len.to_le_bytes());
        self.bytes[4..8].copy_from_slice(&(-error).to_le_bytes());
        self.bytes[8..16].copy_from_slice(&unique.to_le_bytes());
    }
}
