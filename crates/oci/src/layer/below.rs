//! What the layers below a layer show at a path, as overlayfs would.

use super::root::is_whiteout;
use rustix::fs::{self, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The directories of layers, the topmost first.
#[derive(Clone, Copy, Debug)]
pub struct Below<'a>(pub &'a [PathBuf]);

/// A file, directory or other node of a lower layer.
pub struct Found {
    fd: OwnedFd,
    /// Its status.
    pub stat: Stat,
}

enum Look {
    Found(Found),
    /// Not in this layer; maybe in a lower one.
    On,
    /// Not in this layer, and lower layers are hidden.
    Hidden,
}

impl Below<'_> {
    /// What the layers show at this path; symbolic links on the way are not followed.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn find(&self, path: &Path) -> io::Result<Option<Found>> {
        for layer in self.0 {
            match look(layer, path)? {
                Look::Found(found) => return Ok(Some(found)),
                Look::On => (),
                Look::Hidden => return Ok(None),
            }
        }
        Ok(None)
    }
}

fn look(layer: &Path, path: &Path) -> io::Result<Look> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut fd = fs::open(layer, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut stat = fs::fstat(&fd)?;
    let mut hides = hides(&fd);
    let mut names = path.iter().peekable();
    while let Some(name) = names.next() {
        let mut marker = std::ffi::OsString::from(".wh.");
        marker.push(name);
        let next = match fs::openat(&fd, name, flags, Mode::empty()) {
            Err(Errno::NOENT) if hides || exists(&fd, &marker) => return Ok(Look::Hidden),
            Err(Errno::NOENT) => return Ok(Look::On),
            opened => opened?,
        };
        stat = fs::fstat(&next)?;
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_whiteout(&stat) || (names.peek().is_some() && !directory) {
            return Ok(Look::Hidden);
        }
        fd = next;
        hides = hides || directory && self::hides(&fd);
    }
    Ok(Look::Found(Found { fd, stat }))
}

fn exists(dir: &OwnedFd, name: &OsStr) -> bool {
    fs::statat(dir, name, fs::AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn proc(fd: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(fd.as_raw_fd().to_string())
}

fn hides(dir: &OwnedFd) -> bool {
    let set = |name: &str| {
        let mut value = [0; 2];
        fs::getxattr(proc(dir), name, &mut value).is_ok_and(|n| value[..n] == *b"y")
    };
    set("trusted.overlay.opaque") || set("user.overlay.opaque") || exists(dir, OsStr::new(".wh..wh..opq"))
}

impl Found {
    /// Opens a name in a directory without following links; `None` where it does not exist.
    pub(super) fn open(dir: &OwnedFd, name: &OsStr) -> io::Result<Option<Found>> {
        match fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT) => Ok(None),
            opened => Found::of(opened?).map(Some),
        }
    }

    pub(super) fn of(fd: OwnedFd) -> io::Result<Found> {
        let stat = fs::fstat(&fd)?;
        Ok(Found { fd, stat })
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Whether it is a directory that hides the contents of lower layers.
    pub(super) fn hides(&self) -> bool {
        self.is_directory() && hides(&self.fd)
    }

    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind() == FileType::RegularFile
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.kind() == FileType::Symlink
    }

    /// Reads a symbolic link.
    ///
    /// # Errors
    /// It is not a symbolic link.
    pub fn link(&self) -> io::Result<std::ffi::CString> {
        Ok(fs::readlinkat(&self.fd, "", Vec::new())?)
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// It is not a regular file.
    pub fn file(&self) -> io::Result<File> {
        match self.kind() {
            FileType::RegularFile => File::open(proc(&self.fd)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file")),
        }
    }

    /// The time of its last modification.
    pub fn mtime(&self) -> (i64, u32) {
        (self.stat.st_mtime, u32::try_from(self.stat.st_mtime_nsec).unwrap_or(0))
    }

    /// Its extended attributes.
    pub fn xattrs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        if self.is_symlink() {
            return Vec::new();
        }
        let mut names = vec![0; 65536];
        let listed = fs::listxattr(proc(&self.fd), &mut names[..]).unwrap_or(0);
        let each = names[..listed].split(|&b| b == 0).filter(|n| !n.is_empty());
        let value = |name: &[u8]| {
            let mut value = vec![0; 65536];
            let n = fs::getxattr(proc(&self.fd), OsStr::from_bytes(name), &mut value[..]).ok()?;
            value.truncate(n);
            Some((name.to_vec(), value))
        };
        each.filter_map(value).collect()
    }
}
