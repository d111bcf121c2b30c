//! How directories are read.

use super::{ENTRY_OUT, put_entry};
use crate::Server;
use crate::nodes::{ROOT, kind};
use crate::wire::{Body, MOST_DATA, Reply};
use rustix::fs::{FileType, RawDir, SeekFrom, seek};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::sync::PoisonError;

/// Bytes of `fuse_dirent` without the name.
const DIRENT: usize = 24;
/// An inode's number that is not known (`FUSE_UNKNOWN_INO`).
const UNKNOWN: u64 = 0xffff_ffff;

/// The type of a file in a directory (`DT_*`).
fn type_of(file: FileType) -> u32 {
    match file {
        FileType::Unknown => 0,
        file => file.as_raw_mode() >> 12,
    }
}

impl Server {
    /// `READDIR`, and `READDIRPLUS`, which has each file's attributes, too: as many entries as there is room for, from a place on that
    /// an earlier reply has named.
    pub(crate) fn read_directory(&self, body: &mut Body, reply: &mut Reply, plus: bool) -> Result<(), Errno> {
        let [number, offset] = [body.u64()?, body.u64()?];
        let mut left = (body.u32()? as usize).min(MOST_DATA).min(reply.left());
        let handle = self.handles.get(number)?;
        let fd = handle.fd(&self.nodes, kind::DIRECTORY)?;
        // An entry here is never shorter than the host's, so not much more is read than fits.
        let mut buffer = vec![MaybeUninit::uninit(); left.clamp(4096, 64 << 10)];
        let reading = handle.reading.lock().unwrap_or_else(PoisonError::into_inner);
        seek(fd, SeekFrom::Start(offset))?;
        let mut entries = RawDir::new(fd, &mut buffer);
        let mut any = false;
        // One call of the host's: the rest is read from the place that the last entry names.
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let more = if plus { ENTRY_OUT } else { 0 };
            let size = more + (DIRENT + name.len()).next_multiple_of(8);
            if size > left {
                // A guest that has no room for one entry would take an empty reply for the end.
                return if any { Ok(()) } else { Err(Errno::INVAL) };
            }
            left -= size;
            any = true;
            // What lies above the folder is not the guest's to know.
            let inode = if name == b".." && handle.node() == ROOT { UNKNOWN } else { entry.ino() };
            if plus {
                self.put_child(handle.node(), name, reply);
            }
            reply.u64(inode);
            reply.u64(entry.next_entry_cookie());
            reply.u32(name.len() as u32);
            reply.u32(type_of(entry.file_type()));
            reply.put(name);
            reply.space(size - more - DIRENT - name.len());
            if entries.is_buffer_empty() {
                break;
            }
        }
        drop(reading);
        Ok(())
    }

    /// Tells the guest of a file in a directory; where that does not work, it asks again when it needs the file.
    fn put_child(&self, parent: u64, name: &[u8], reply: &mut Reply) {
        let found = match name {
            b"." | b".." => Err(Errno::INVAL),
            name => self.nodes.look_up(parent, name),
        };
        match found {
            Ok((node, stat)) => put_entry(&self.folder, reply, node, &stat),
            Err(_) => drop(reply.space(ENTRY_OUT)),
        }
    }
}
