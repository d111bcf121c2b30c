//! The requests: [`attributes`], [`names`] (what changes directories), [`files`] (what is open), [`directories`] (how they are read),
//! [`xattr`] (extended attributes).

mod attributes;
mod directories;
mod files;
mod names;
mod xattr;

use crate::folder::Folder;
use crate::wire::Reply;
use rustix::fs::Statx;

/// Seconds for which a guest may keep attributes and names without asking again.
const VALID: u64 = 1;
/// Bytes of `fuse_attr`, `fuse_attr_out` and `fuse_entry_out`.
const ATTR: usize = 88;
const ATTR_OUT: usize = ATTR + 16;
pub(crate) const ENTRY_OUT: usize = ATTR + 40;
/// Bytes of `fuse_open_out`.
const OPEN_OUT: usize = 16;

/// Writes `fuse_attr`.
fn put_attr(folder: &Folder, reply: &mut Reply, stat: &Statx) {
    // Files of another device may have the same inode numbers. The guest tells files apart by their nodes; this is for
    // programs that compare.
    let other = folder.identity(stat).device.unwrap_or(0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    reply.u64(stat.stx_ino ^ other);
    reply.u64(stat.stx_size);
    reply.u64(stat.stx_blocks);
    let times = [stat.stx_atime, stat.stx_mtime, stat.stx_ctime];
    times.iter().for_each(|time| reply.u64(time.tv_sec as u64));
    times.iter().for_each(|time| reply.u32(time.tv_nsec));
    reply.u32(stat.stx_mode.into());
    reply.u32(stat.stx_nlink);
    let (uid, gid) = folder.owner(stat);
    reply.u32(uid);
    reply.u32(gid);
    // The number of a device node, as the kernel encodes it (`new_encode_dev`).
    let (major, minor) = (stat.stx_rdev_major, stat.stx_rdev_minor);
    reply.u32(minor & 0xff | major << 8 | (minor & !0xff) << 12);
    reply.u32(stat.stx_blksize);
    reply.u32(0);
}

/// Writes `fuse_attr_out`.
fn put_attr_out(folder: &Folder, reply: &mut Reply, stat: &Statx) {
    reply.u64(VALID);
    reply.u64(0);
    put_attr(folder, reply, stat);
}

/// Writes `fuse_entry_out`.
fn put_entry(folder: &Folder, reply: &mut Reply, node: u64, stat: &Statx) {
    reply.u64(node);
    // Numbers of nodes are never given twice, so there are no generations.
    reply.u64(0);
    reply.u64(VALID);
    reply.u64(VALID);
    reply.u64(0);
    put_attr(folder, reply, stat);
}

/// Writes `fuse_open_out`. The guest's cache of the file is dropped at each open, so that it sees what the host wrote.
fn put_open(reply: &mut Reply, handle: u64) {
    reply.u64(handle);
    reply.u64(0);
}
