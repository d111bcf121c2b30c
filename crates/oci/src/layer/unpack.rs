//! Unpacks a layer's archive into a directory that overlayfs stacks (OCI Layer Specification 1.1).

use super::below::Below;
use super::root::{Late, Marks, Place, Root, is_whiteout, times};
use super::tar::{Entry, Kind, Reader};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The prefix of whiteouts.
const WHITEOUT: &[u8] = b".wh.";
/// The name of an opaque whiteout.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Limits of a layer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Number of entries.
    pub entries: u64,
    /// Bytes of files, holes included; also bytes of the archive.
    pub bytes: u64,
    /// Bytes of memory for the names of directories, which get their permissions and times at the end.
    pub names: u64,
}

impl Default for Limits {
    /// Two million entries, 256 GiB, 128 MiB of names (a million directories with names of usual length).
    fn default() -> Limits {
        Limits { entries: 2 << 20, bytes: 256 << 30, names: 128 << 20 }
    }
}

/// The result of unpacking a layer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Unpacked {
    /// Number of entries.
    pub entries: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Number of device nodes that this user cannot create.
    pub left_out: u64,
    /// Whether files have the owners that the layer says.
    pub owners: bool,
    /// Whether whiteouts use user attributes, so that overlayfs needs `userxattr`.
    pub user_xattrs: bool,
    /// Whether whiteouts are files, which only fuse-overlayfs supports.
    pub fuse_only: bool,
    /// Whether it depends on the layers below.
    pub leans: bool,
}

/// Unpacks an archive that is not compressed into the empty directory `path`, over the layers `below` (the
/// topmost first). Reads up to the archive's end only.
///
/// # Errors
/// The archive is damaged or leads out of the directory, a limit is exceeded, or the host fails; the message
/// names the entry.
pub fn unpack<R: Read>(
    archive: &mut Reader<R>,
    path: &Path,
    below: Below<'_>,
    owners: bool,
    limits: Limits,
) -> io::Result<Unpacked> {
    let root = Root::open(path, owners, below, limits.names)?;
    let mut unpacker = Unpacker { root, limits, done: Unpacked::default(), buffer: vec![0; 1 << 17] };
    while let Some(entry) = archive.entry()? {
        unpacker.entry(&entry, archive).map_err(|e| {
            let kind = match e.kind() {
                io::ErrorKind::StorageFull => io::ErrorKind::StorageFull,
                _ => io::ErrorKind::InvalidData,
            };
            io::Error::new(kind, format!("{}: {e}", String::from_utf8_lossy(&entry.path)))
        })?;
    }
    let marks = unpacker.root.marks();
    let leans = unpacker.root.finish()?;
    Ok(Unpacked {
        owners,
        user_xattrs: marks == Marks::User,
        fuse_only: marks == Marks::Files,
        leans,
        ..unpacker.done
    })
}

struct Unpacker<'a> {
    root: Root<'a>,
    limits: Limits,
    done: Unpacked,
    buffer: Vec<u8>,
}

fn refuse<T>(what: impl Into<String>) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, what.into()))
}

fn is_whiteout_name(path: &[u8]) -> bool {
    path.rsplit(|&b| b == b'/').next().is_some_and(|name| name.starts_with(WHITEOUT))
}

fn id(id: u64) -> io::Result<u32> {
    // The largest ID means "unchanged" to chown.
    match u32::try_from(id) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => refuse(format!("{id} is not the id of a user or group")),
    }
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, entry: &Entry, archive: &mut Reader<R>) -> io::Result<()> {
        self.done.entries += 1;
        if self.done.entries > self.limits.entries {
            return refuse(format!("the layer has more than {} entries", self.limits.entries));
        }
        self.done.bytes = self.done.bytes.saturating_add(entry.size);
        if self.done.bytes > self.limits.bytes {
            return refuse(format!("the layer's files have more than {} bytes", self.limits.bytes));
        }
        let late = Late { mode: entry.mode, mtime: Some(entry.mtime) };
        let place = match self.root.place(&entry.path) {
            // Tools still list the removed contents of a directory that has become a file.
            Err(e) if e.kind() == io::ErrorKind::NotADirectory && is_whiteout_name(&entry.path) => {
                return Ok(());
            }
            place => place?,
        };
        let Some(place) = place else {
            return match entry.kind {
                Kind::Directory => self.root.own_root(id(entry.uid)?, id(entry.gid)?, &entry.xattrs, late),
                _ => refuse("the layer's root must be a directory"),
            };
        };
        let name = place.name.as_bytes();
        if let Some(gone) = name.strip_prefix(WHITEOUT) {
            let gone = gone.to_vec();
            return self.whiteout(place, &gone);
        }
        if entry.kind == Kind::Directory {
            self.root.make_directory(&place, late)?;
            return self.describe(&place, entry);
        }
        if entry.kind == Kind::Hard {
            return self.hard(&place, entry);
        }
        self.root.remove(&place)?;
        match entry.kind {
            Kind::File => return self.file(&place, entry, archive),
            Kind::Symbolic if entry.link.is_empty() => return refuse("a symbolic link without a target"),
            Kind::Symbolic => fs::symlinkat(&entry.link[..], &place.dir, &place.name)?,
            Kind::Fifo => self.node(&place, FileType::Fifo, 0)?,
            Kind::Character(0, 0) => return refuse("a device 0:0 would be a whiteout"),
            Kind::Character(major, minor) => {
                self.node(&place, FileType::CharacterDevice, fs::makedev(major, minor))?;
            }
            Kind::Block(major, minor) => {
                self.node(&place, FileType::BlockDevice, fs::makedev(major, minor))?
            }
            Kind::Directory | Kind::Hard => (),
        }
        if self.root.stat(&place)?.is_none() {
            // A device that this user cannot create.
            self.done.left_out += 1;
            return Ok(());
        }
        self.describe(&place, entry)?;
        if entry.kind != Kind::Symbolic {
            fs::chmodat(&place.dir, &place.name, Mode::from_raw_mode(entry.mode), AtFlags::empty())?;
        }
        Ok(fs::utimensat(&place.dir, &place.name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn whiteout(&mut self, mut place: Place, gone: &[u8]) -> io::Result<()> {
        if place.name.as_bytes() == OPAQUE {
            return match (place.path.parent(), place.path.file_name()) {
                (Some(above), Some(name)) => {
                    let above = above.join(name);
                    match self.root.place(above.as_os_str().as_bytes())? {
                        Some(dir) => self.root.hide(&dir),
                        None => self.root.hide_all(),
                    }
                }
                _ => self.root.hide_all(),
            };
        }
        match gone {
            // Files that AUFS uses for itself.
            _ if gone.starts_with(WHITEOUT) => Ok(()),
            b"" | b"." | b".." => refuse("a whiteout without a name"),
            _ => {
                place.name = std::ffi::OsStr::from_bytes(gone).to_os_string();
                self.root.white_out(place)
            }
        }
    }

    fn node(&self, place: &Place, kind: FileType, device: fs::Dev) -> io::Result<()> {
        match fs::mknodat(&place.dir, &place.name, kind, Mode::from_raw_mode(0o600), device) {
            Err(Errno::PERM) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Sets owner and attributes; permissions and times are set later.
    fn describe(&self, place: &Place, entry: &Entry) -> io::Result<()> {
        self.root.own(place, id(entry.uid)?, id(entry.gid)?)?;
        entry.xattrs.iter().try_for_each(|(name, value)| self.root.set_xattr(place, name, value))
    }

    fn create(&self, place: &Place) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(fs::openat(&place.dir, &place.name, flags, Mode::from_raw_mode(0o600))?.into())
    }

    fn file<R: Read>(&mut self, place: &Place, entry: &Entry, archive: &mut Reader<R>) -> io::Result<()> {
        let mut file = self.create(place)?;
        match &entry.pieces {
            None => self.copy(archive, &mut file, entry.size)?,
            Some(pieces) => {
                for &(offset, length) in pieces {
                    file.seek(SeekFrom::Start(offset))?;
                    self.copy(archive, &mut file, length)?;
                }
                file.set_len(entry.size)?;
            }
        }
        self.describe(place, entry)?;
        // After the owner, since changing it clears set-user-ID bits.
        fs::fchmod(&file, Mode::from_raw_mode(entry.mode))?;
        Ok(fs::futimens(&file, &times(entry.mtime))?)
    }

    fn copy<R: Read>(&mut self, archive: &mut Reader<R>, file: &mut File, length: u64) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let n = archive.data().read(&mut self.buffer[..most])?;
            if n == 0 {
                return refuse("its content is shorter than its size");
            }
            file.write_all(&self.buffer[..n])?;
            left -= n as u64;
        }
        Ok(())
    }

    /// Creates a hard link; for a file of a lower layer it is a copy.
    fn hard(&mut self, place: &Place, entry: &Entry) -> io::Result<()> {
        let shown = String::from_utf8_lossy(&entry.link).into_owned();
        let Some(target) = self.root.place(&entry.link)? else { return refuse("a hard link to the root") };
        let stat = self.root.stat(&target)?.filter(|s| !is_whiteout(s));
        let Some(stat) = stat else { return self.copy_up(place, entry) };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return refuse(format!("a hard link to the directory {shown}"));
        }
        if (&target.path, &target.name) == (&place.path, &place.name) {
            return Ok(());
        }
        self.root.remove(place)?;
        match fs::linkat(&target.dir, &target.name, &place.dir, &place.name, AtFlags::empty()) {
            Err(Errno::NOENT) => refuse(format!("a hard link to {shown}, which does not exist")),
            linked => Ok(linked?),
        }
    }

    fn copy_up(&mut self, place: &Place, entry: &Entry) -> io::Result<()> {
        let shown = String::from_utf8_lossy(&entry.link).into_owned();
        let Some(found) = self.root.find_below(&entry.link)? else {
            return refuse(format!("a hard link to {shown}, which does not exist"));
        };
        self.root.remove(place)?;
        let (uid, gid, mode) = (found.stat.st_uid, found.stat.st_gid, found.stat.st_mode & 0o7777);
        if found.is_symlink() {
            fs::symlinkat(found.link()?, &place.dir, &place.name)?;
            return self.root.own(place, uid, gid);
        }
        let (from, file) = (found.file()?, self.create(place)?);
        let size = from.metadata()?.len();
        self.done.bytes = self.done.bytes.saturating_add(size);
        if self.done.bytes > self.limits.bytes {
            return refuse(format!("the layer's files have more than {} bytes", self.limits.bytes));
        }
        let mut at = 0;
        loop {
            let n = from.read_at(&mut self.buffer, at)?;
            if n == 0 {
                break;
            }
            file.write_all_at(&self.buffer[..n], at)?;
            at += n as u64;
        }
        self.root.own(place, uid, gid)?;
        for (name, value) in found.xattrs() {
            self.root.set_xattr(place, &name, &value)?;
        }
        fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        Ok(fs::futimens(&file, &times(found.mtime()))?)
    }
}
