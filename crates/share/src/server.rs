//! A guest's session with a folder.

use crate::folder::{Folder, limit_of_files};
use crate::handles::Handles;
use crate::nodes::Nodes;
use crate::thread;
use crate::wire::{self, Body, Head, Reply, SHORTEST_REPLY, op};
use rustix::io::Errno;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Descriptors that the rest of the process needs.
const OF_OTHERS: usize = 256;
/// The most nodes that are open at a time, whatever the host allows.
const MOST_OPEN_NODES: usize = 1 << 14;

/// A guest's session with a folder. Any number of threads may serve it at once.
pub struct Server {
    pub(crate) folder: Arc<Folder>,
    pub(crate) nodes: Nodes,
    pub(crate) handles: Handles,
    /// Whether the guest has begun a session.
    pub(crate) begun: AtomicBool,
}

impl Server {
    /// A session that has not begun. The machine has `sessions` of them in all, which divide what files this process may
    /// have open among themselves.
    pub fn new(folder: Arc<Folder>, sessions: usize) -> Server {
        let each = limit_of_files().saturating_sub(OF_OTHERS) / sessions.max(1);
        let (nodes, handles) = ((each / 3).clamp(16, MOST_OPEN_NODES), (each / 2).max(16));
        Server {
            nodes: Nodes::new(folder.clone(), nodes),
            folder,
            handles: Handles::new(handles),
            begun: AtomicBool::new(false),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Serves a request, whatever its bytes are. The reply, of at most `room` bytes, is left in `reply`; it is empty where there is none.
    ///
    /// Call this on threads that do nothing else: the calling thread gets a umask of its own, and loses all capabilities
    /// but those that are needed here.
    pub fn handle(&self, request: &[u8], room: usize, reply: &mut Vec<u8>) {
        reply.clear();
        let Some((head, body)) = wire::parse(request) else { return };
        match head.opcode {
            op::FORGET => return self.forget(&head, body),
            op::BATCH_FORGET => return self.forget_many(body),
            // Nothing that is served waits for the guest, so there is nothing to interrupt.
            op::INTERRUPT => return,
            _ if room < SHORTEST_REPLY => return,
            _ => {}
        }
        let mut made = Reply::new(reply, room);
        let result = thread::prepare().and_then(|()| self.perform(&head, body, &mut made));
        made.finish(head.unique, result);
    }

    fn perform(&self, head: &Head, mut body: Body, reply: &mut Reply) -> Result<(), Errno> {
        if head.opcode == op::INIT {
            return self.begin(&mut body, reply);
        }
        if !self.begun.load(Ordering::Acquire) {
            return Err(Errno::IO);
        }
        let body = &mut body;
        match head.opcode {
            op::LOOKUP => self.look_up(head, body, reply),
            op::GETATTR => self.get_attributes(head, body, reply),
            op::SETATTR => self.set_attributes(head, body, reply),
            op::ACCESS => self.access(head, body),
            op::STATFS => self.statfs(head, reply),
            op::READLINK => self.read_link(head, reply),
            op::SYMLINK => self.symlink(head, body, reply),
            op::MKNOD => self.mknod(head, body, reply),
            op::MKDIR => self.mkdir(head, body, reply),
            op::LINK => self.link(head, body, reply),
            op::UNLINK => self.remove(head, body, false),
            op::RMDIR => self.remove(head, body, true),
            op::RENAME => self.rename(head, body, false),
            op::RENAME2 => self.rename(head, body, true),
            op::OPEN => self.open(head, body, reply),
            op::CREATE => self.create(head, body, reply),
            op::READ => self.read(body, reply),
            op::WRITE => self.write(body, reply),
            op::FLUSH => self.flush(body),
            op::FSYNC => self.fsync(body, crate::nodes::kind::REGULAR),
            op::RELEASE | op::RELEASEDIR => self.release(body),
            op::FALLOCATE => self.fallocate(body),
            op::LSEEK => self.lseek(body, reply),
            op::COPY_FILE_RANGE => self.copy_file_range(body, reply),
            op::OPENDIR => self.open_directory(head, reply),
            op::READDIR => self.read_directory(body, reply, false),
            op::READDIRPLUS => self.read_directory(body, reply, true),
            op::FSYNCDIR => self.fsync(body, crate::nodes::kind::DIRECTORY),
            op::SETXATTR => self.set_xattr(head, body),
            op::GETXATTR => self.get_xattr(head, body, reply),
            op::LISTXATTR => self.list_xattr(head, body, reply),
            op::REMOVEXATTR => self.remove_xattr(head, body),
            op::DESTROY => {
                self.reset();
                Ok(())
            }
            // Among these are locks, which the guest's own kernel keeps, and IOCTL, POLL, BMAP and TMPFILE, for which it
            // has its own answers.
            _ => Err(Errno::NOSYS),
        }
    }

    /// Ends the session: nothing is known or open any more.
    pub fn reset(&self) {
        self.begun.store(false, Ordering::Release);
        self.handles.clear();
        self.nodes.clear();
    }

    /// Agrees on version and features.
    fn begin(&self, body: &mut Body, reply: &mut Reply) -> Result<(), Errno> {
        let [major, minor, read_ahead, flags] = [body.u32()?, body.u32()?, body.u32()?, body.u32()?];
        reply.needs(64)?;
        if major < wire::MAJOR || (major == wire::MAJOR && minor < wire::OLDEST_MINOR) {
            return Err(Errno::PROTO);
        }
        self.reset();
        reply.u32(wire::MAJOR);
        reply.u32(wire::MINOR);
        // A newer guest asks again, with a version that this one knows.
        if major == wire::MAJOR {
            reply.u32(read_ahead.min(wire::MOST_DATA as u32));
            reply.u32(flags & wire::feature::ALL);
            // Requests in the background, and how many of them are a jam.
            reply.put(&64u16.to_le_bytes());
            reply.put(&48u16.to_le_bytes());
            reply.u32(wire::MOST_DATA as u32);
            // Times have nanoseconds.
            reply.u32(1);
            reply.put(&((wire::MOST_DATA / 4096) as u16).to_le_bytes());
            self.begun.store(true, Ordering::Release);
        }
        let rest = 64 + SHORTEST_REPLY - reply.len();
        reply.space(rest);
        Ok(())
    }

    fn forget(&self, head: &Head, mut body: Body) {
        if let Ok(lookups) = body.u64() {
            self.nodes.forget(head.node, lookups);
        }
    }

    fn forget_many(&self, mut body: Body) {
        let Ok(count) = body.u32().and_then(|count| body.u32().map(|_| count)) else { return };
        for _ in 0..count {
            // The request's length ends this, whatever the count says.
            let (Ok(node), Ok(lookups)) = (body.u64(), body.u64()) else { return };
            self.nodes.forget(node, lookups);
        }
    }
}
