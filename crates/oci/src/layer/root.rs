//! A layer's directory, accessed only through descriptors: no path of a layer leads out of it, whatever links
//! it has.

use super::below::{Below, Found};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Bound;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The deepest directory level. Removing a tree opens one descriptor per level.
const DEEPEST: usize = 400;
/// The most symbolic links in a path to a directory, as the kernel's `MAXSYMLINKS`.
const LINKS_MOST: usize = 40;

/// How overlayfs is told that a directory is opaque and that a name is removed
/// (Documentation/filesystems/overlayfs.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// `trusted.overlay.opaque` and 0:0 devices: for the kernel's overlayfs, as root.
    Trusted,
    /// `user.overlay.opaque` and 0:0 devices: for the kernel's overlayfs with `userxattr`, and for
    /// fuse-overlayfs.
    User,
    /// Files named as in the archive: for fuse-overlayfs only.
    Files,
}

/// Attributes that a directory gets when its contents are complete.
#[derive(Clone, Copy, Debug)]
pub struct Late {
    /// Permission bits.
    pub mode: u32,
    /// Modification time in seconds and nanoseconds; `None` leaves it as it is.
    pub mtime: Option<(i64, u32)>,
}

/// A layer that is being unpacked.
pub struct Root<'a> {
    fd: Rc<OwnedFd>,
    marks: Marks,
    /// Whether owners can be set.
    owners: bool,
    below: Below<'a>,
    /// The directory of the last entry, by its path without links.
    last: Option<(PathBuf, Rc<OwnedFd>)>,
    late: BTreeMap<PathBuf, Late>,
    /// Directories of this layer that hide all lower layers.
    opaque: BTreeSet<PathBuf>,
    /// Directories of this layer that contain whiteouts.
    whited: BTreeSet<PathBuf>,
    /// Bytes of memory that names of directories may still use.
    room: u64,
    /// Whether the layer omits directories that it needs, so that the result depends on the layers below.
    pub leans: bool,
}

/// The place of an entry: its directory, that directory's path without links, its name.
pub struct Place {
    /// The directory.
    pub dir: Rc<OwnedFd>,
    /// The directory's path in the layer, without symbolic links.
    pub path: PathBuf,
    /// The name in the directory.
    pub name: OsString,
}

fn refuse(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// Bytes of memory needed to remember a directory.
fn held(path: &Path) -> u64 {
    (path.as_os_str().len() + size_of::<(PathBuf, Late)>()) as u64
}

/// The components of a path.
///
/// # Errors
/// The path contains `..` that leads out of the layer, or is too deep.
pub fn components(path: &[u8]) -> io::Result<Vec<&OsStr>> {
    let names: Vec<&OsStr> =
        path.split(|&b| b == b'/').filter(|n| !n.is_empty() && *n != b".").map(OsStr::from_bytes).collect();
    if names.contains(&OsStr::new("..")) {
        return Err(refuse("its path leads out of the layer"));
    }
    match names.len() > DEEPEST {
        true => Err(refuse(format!("it is more than {DEEPEST} directories deep"))),
        false => Ok(names),
    }
}

impl<'a> Root<'a> {
    /// Opens the empty directory `path` for unpacking, over the directories `below`, the topmost first. The
    /// names of the layer's directories may use at most `room` bytes of memory.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn open(path: &Path, owners: bool, below: Below<'a>, room: u64) -> io::Result<Root<'a>> {
        let fd = fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
        let marks = marks_of(fd.as_fd())?;
        let (late, opaque, whited) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Ok(Root {
            fd: Rc::new(fd),
            marks,
            owners,
            below,
            last: None,
            late,
            opaque,
            whited,
            room,
            leans: false,
        })
    }

    /// How whiteouts are represented here.
    pub fn marks(&self) -> Marks {
        self.marks
    }

    /// Finds the place of a path; directories on the way that the layer does not have are created like those
    /// below. `None` for the layer's root.
    ///
    /// # Errors
    /// The path leads out of the layer, is too deep, or passes through something that is not a directory.
    pub fn place(&mut self, path: &[u8]) -> io::Result<Option<Place>> {
        let mut names = components(path)?;
        let Some(name) = names.pop() else { return Ok(None) };
        let (dir, path) = self.directory(&names)?;
        Ok(Some(Place { dir, path, name: name.to_os_string() }))
    }

    fn directory(&mut self, names: &[&OsStr]) -> io::Result<(Rc<OwnedFd>, PathBuf)> {
        let path: PathBuf = names.iter().collect();
        if names.is_empty() {
            return Ok((self.fd.clone(), path));
        }
        if let Some((last, dir)) = &self.last
            && *last == path
        {
            return Ok((dir.clone(), path));
        }
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let (dir, path) = match fs::openat2(&self.fd, &path, flags, Mode::empty(), resolve) {
            Ok(fd) => (Rc::new(fd), path),
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NOSYS | Errno::PERM) => {
                self.walk(names)?
            }
            Err(e) => return Err(e.into()),
        };
        self.last = Some((path.clone(), dir.clone()));
        Ok((dir, path))
    }

    /// Walks the components, following the layer's own symbolic links inside the layer.
    fn walk(&mut self, names: &[&OsStr]) -> io::Result<(Rc<OwnedFd>, PathBuf)> {
        let mut todo: VecDeque<OsString> = names.iter().map(|n| n.to_os_string()).collect();
        let mut stack: Vec<(OsString, Rc<OwnedFd>)> = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                stack.pop();
                continue;
            }
            let dir = stack.last().map_or_else(|| self.fd.clone(), |(_, fd)| fd.clone());
            let here: PathBuf = stack.iter().map(|(n, _)| n).collect();
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = match fs::openat(&dir, &name, flags, Mode::empty()) {
                Err(Errno::NOENT) => {
                    self.imply(&Place { dir, path: here, name: name.clone() })?;
                    todo.push_front(name);
                    continue;
                }
                opened => opened?,
            };
            let stat = fs::fstat(&fd)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory if stack.len() >= DEEPEST => {
                    return Err(refuse(format!("it is more than {DEEPEST} directories deep")));
                }
                FileType::Directory => stack.push((name, Rc::new(fd))),
                FileType::Symlink => {
                    links += 1;
                    if links > LINKS_MOST {
                        return Err(Errno::LOOP.into());
                    }
                    let target = fs::readlinkat(&fd, "", Vec::new())?.into_bytes();
                    if target.starts_with(b"/") {
                        stack.clear();
                    }
                    let parts = target.split(|&b| b == b'/').filter(|n| !n.is_empty() && *n != b".");
                    for part in parts.rev() {
                        todo.push_front(OsString::from_vec(part.to_vec()));
                    }
                }
                FileType::CharacterDevice if is_whiteout(&stat) => {
                    let place = Place { dir, path: here, name: name.clone() };
                    self.make_directory(&place, Late { mode: 0o755, mtime: None })?;
                    todo.push_front(name);
                }
                _ => {
                    let what = format!("{} is not a directory", here.join(&name).display());
                    return Err(io::Error::new(io::ErrorKind::NotADirectory, what));
                }
            }
        }
        let path = stack.iter().map(|(n, _)| n).collect();
        Ok((stack.pop().map_or_else(|| self.fd.clone(), |(_, fd)| fd), path))
    }

    /// Creates a directory, or a link to one, that the layer implies but does not contain.
    fn imply(&mut self, place: &Place) -> io::Result<()> {
        self.leans = true;
        let path = place.path.join(&place.name);
        let hidden = path.ancestors().any(|p| self.opaque.contains(p)) || self.is_marked(place);
        let found = if hidden { None } else { self.below.find(&path)? };
        match found {
            Some(found) if found.is_symlink() => {
                let target = found.link()?;
                fs::symlinkat(target, &place.dir, &place.name)?;
                self.own(place, found.stat.st_uid, found.stat.st_gid)
            }
            Some(found) if found.is_directory() => {
                let late = Late { mode: found.stat.st_mode & 0o7777, mtime: Some(found.mtime()) };
                self.make_directory(place, late)?;
                self.own(place, found.stat.st_uid, found.stat.st_gid)?;
                for (name, value) in found.xattrs() {
                    self.set_xattr(place, &name, &value)?;
                }
                Ok(())
            }
            _ => self.make_directory(place, Late { mode: 0o755, mtime: None }),
        }
    }

    /// Creates a directory, or keeps an existing one. In place of a whiteout, the new directory hides lower
    /// layers.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn make_directory(&mut self, place: &Place, late: Late) -> io::Result<()> {
        let gone = match self.stat(place)? {
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                return self.finish_later(place.path.join(&place.name), late);
            }
            Some(stat) => {
                self.remove(place)?;
                is_whiteout(&stat)
            }
            None => self.marks == Marks::Files && self.unmark(place)?,
        };
        fs::mkdirat(&place.dir, &place.name, Mode::from_raw_mode(0o700))?;
        self.finish_later(place.path.join(&place.name), late)?;
        if gone { self.hide(place) } else { Ok(()) }
    }

    /// Remembers attributes that a directory gets at the end.
    fn finish_later(&mut self, path: PathBuf, late: Late) -> io::Result<()> {
        if !self.late.contains_key(&path) {
            self.take_room(&path)?;
        }
        self.late.insert(path, late);
        Ok(())
    }

    fn take_room(&mut self, path: &Path) -> io::Result<()> {
        let left = self.room.checked_sub(held(path));
        self.room =
            left.ok_or_else(|| refuse("the names of the layer's directories need too much memory"))?;
        Ok(())
    }

    /// The status of a place, without following links.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn stat(&self, place: &Place) -> io::Result<Option<Stat>> {
        match fs::statat(&place.dir, &place.name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            stat => Ok(Some(stat?)),
        }
    }

    /// Removes what exists at a place.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn remove(&mut self, place: &Place) -> io::Result<()> {
        if self.marks == Marks::Files {
            self.unmark(place)?;
        }
        let path = place.path.join(&place.name);
        match fs::unlinkat(&place.dir, &place.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // It is a directory.
            Err(Errno::ISDIR | Errno::PERM) => {
                self.last = None;
                let under = (Bound::Included(path.clone()), Bound::Unbounded);
                let gone: Vec<PathBuf> = self
                    .late
                    .range(under)
                    .map(|(p, _)| p)
                    .take_while(|p| p.starts_with(&path))
                    .cloned()
                    .collect();
                for path in gone {
                    self.room += held(&path);
                    self.late.remove(&path);
                }
                std::fs::remove_dir_all(self.proc(place))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// The place as a path for calls that take no descriptor. The calls used here do not follow a link in the
    /// last component.
    pub fn proc(&self, place: &Place) -> PathBuf {
        Path::new("/proc/self/fd").join(place.dir.as_raw_fd().to_string()).join(&place.name)
    }

    /// Sets the owner, if owners can be set.
    ///
    /// # Errors
    /// The user namespace does not have this ID.
    pub fn own(&self, place: &Place, uid: u32, gid: u32) -> io::Result<()> {
        if !self.owners {
            return Ok(());
        }
        let (uid, gid) = (fs::Uid::from_raw(uid), fs::Gid::from_raw(gid));
        fs::chownat(&place.dir, &place.name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(unmapped)
    }

    /// Sets an extended attribute, if an image may have it; others are ignored.
    ///
    /// # Errors
    /// The host fails for another reason than missing support.
    pub fn set_xattr(&self, place: &Place, name: &[u8], value: &[u8]) -> io::Result<()> {
        if !may_have(name) {
            return Ok(());
        }
        let set = fs::lsetxattr(self.proc(place), OsStr::from_bytes(name), value, fs::XattrFlags::empty());
        match set {
            // User attributes are for files and directories only; and without a namespace, capabilities
            // cannot be set.
            Err(Errno::OPNOTSUPP | Errno::PERM) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Creates a whiteout: the name is removed from what lower layers show.
    ///
    /// # Errors
    /// The name is not valid, or the host fails.
    pub fn white_out(&mut self, dir: Place) -> io::Result<()> {
        match self.stat(&dir)? {
            // What this layer itself contains stays (OCI Layer Specification, "Whiteouts").
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => self.hide(&dir),
            Some(_) => Ok(()),
            None if self.marks == Marks::Files => self.mark(&dir),
            None => {
                if !self.whited.contains(&dir.path) {
                    self.take_room(&dir.path)?;
                    self.whited.insert(dir.path.clone());
                }
                let mode = Mode::from_raw_mode(0);
                Ok(fs::mknodat(&dir.dir, &dir.name, FileType::CharacterDevice, mode, fs::makedev(0, 0))?)
            }
        }
    }

    /// Makes a directory opaque, so that only what this layer contains is visible.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn hide(&mut self, place: &Place) -> io::Result<()> {
        let path = place.path.join(&place.name);
        if !self.opaque.contains(&path) {
            self.take_room(&path)?;
            self.opaque.insert(path);
        }
        let name = match self.marks {
            Marks::Trusted => "trusted.overlay.opaque",
            Marks::User => "user.overlay.opaque",
            Marks::Files => {
                let inside = fs::openat(
                    &place.dir,
                    &place.name,
                    OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                    Mode::empty(),
                )?;
                return touch(inside.as_fd(), OsStr::new(".wh..wh..opq"));
            }
        };
        Ok(fs::lsetxattr(self.proc(place), name, b"y", fs::XattrFlags::empty())?)
    }

    /// As [`Root::hide`] for the layer's root, which hides all lower layers.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn hide_all(&mut self) -> io::Result<()> {
        self.opaque.insert(PathBuf::new());
        let name = match self.marks {
            Marks::Trusted => "trusted.overlay.opaque",
            Marks::User => "user.overlay.opaque",
            Marks::Files => return touch(self.fd.as_fd(), OsStr::new(".wh..wh..opq")),
        };
        Ok(fs::fsetxattr(&self.fd, name, b"y", fs::XattrFlags::empty())?)
    }

    fn marker(place: &Place) -> OsString {
        let mut name = OsString::from(".wh.");
        name.push(&place.name);
        name
    }

    fn is_marked(&self, place: &Place) -> bool {
        let marker = Root::marker(place);
        self.marks == Marks::Files && fs::statat(&place.dir, marker, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    fn mark(&self, place: &Place) -> io::Result<()> {
        touch(place.dir.as_fd(), &Root::marker(place))
    }

    fn unmark(&self, place: &Place) -> io::Result<bool> {
        match fs::unlinkat(&place.dir, Root::marker(place), AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Sets the owner and attributes of the root itself.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn own_root(
        &mut self,
        uid: u32,
        gid: u32,
        xattrs: &[(Vec<u8>, Vec<u8>)],
        late: Late,
    ) -> io::Result<()> {
        if self.owners {
            let (uid, gid) = (fs::Uid::from_raw(uid), fs::Gid::from_raw(gid));
            fs::fchown(&self.fd, Some(uid), Some(gid)).map_err(unmapped)?;
        }
        for (name, value) in xattrs.iter().filter(|(n, _)| may_have(n)) {
            match fs::fsetxattr(&self.fd, OsStr::from_bytes(name), value, fs::XattrFlags::empty()) {
                Err(Errno::OPNOTSUPP | Errno::PERM) => (),
                other => other?,
            }
        }
        self.finish_later(PathBuf::new(), late)
    }

    /// What the lower layers show at a path.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn find_below(&mut self, path: &[u8]) -> io::Result<Option<Found>> {
        self.leans = true;
        self.below.find(&components(path)?.iter().collect::<PathBuf>())
    }

    /// Removes whiteouts that hide nothing: in a directory that only this layer has, overlayfs would list
    /// them as files.
    fn unmark_needless(&mut self) -> io::Result<()> {
        for path in std::mem::take(&mut self.whited) {
            let alone = match path.ancestors().any(|p| self.opaque.contains(p)) {
                true => true,
                false => {
                    self.leans = true;
                    !self.below.find(&path)?.is_some_and(|found| found.is_directory())
                }
            };
            if !alone {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Some(dir) = self.own_directory(&path, flags)? else { continue };
            let mut signs = Vec::new();
            for entry in fs::Dir::read_from(&dir)? {
                let name = entry?.file_name().to_owned();
                match fs::statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) if is_whiteout(&stat) => signs.push(name),
                    Ok(_) | Err(Errno::NOENT) => (),
                    Err(e) => return Err(e.into()),
                }
            }
            signs.iter().try_for_each(|name| fs::unlinkat(&dir, name, AtFlags::empty()))?;
        }
        Ok(())
    }

    /// Opens a directory of this layer by its path without links; `None` where it does not exist any more.
    fn own_directory(&self, path: &Path, flags: OFlags) -> io::Result<Option<OwnedFd>> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let opened = match fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
            Err(Errno::NOSYS | Errno::PERM) => fs::openat(&self.fd, path, flags, Mode::empty()),
            opened => opened,
        };
        match opened {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            opened => Ok(Some(opened?)),
        }
    }

    /// Sets permissions and times of all directories, the deepest first; returns whether the layer depends on
    /// those below.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn finish(mut self) -> io::Result<bool> {
        self.unmark_needless()?;
        let late = std::mem::take(&mut self.late);
        for (path, late) in late.iter().rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = self.own_directory(path, flags)?.ok_or(io::ErrorKind::NotFound)?;
            fs::fchmod(&fd, Mode::from_raw_mode(late.mode))?;
            if let Some(mtime) = late.mtime {
                fs::futimens(&fd, &times(mtime))?;
            }
        }
        Ok(self.leans)
    }
}

/// Creates an empty file.
fn touch(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fs::openat(dir, name, flags, Mode::from_raw_mode(0o600)).map(drop)?)
}

/// Times for a file: both access and modification time are this one.
pub fn times((seconds, nanoseconds): (i64, u32)) -> fs::Timestamps {
    let time = fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    fs::Timestamps { last_access: time, last_modification: time }
}

/// Whether this is overlayfs's whiteout device.
pub fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether an image may set this attribute. It may not set overlayfs's own, or a layer could refer to any
/// directory.
fn may_have(name: &[u8]) -> bool {
    let reserved: [&[u8]; 3] = [b"user.overlay.", b"user.fuseoverlayfs.", b"user.containers."];
    name == b"security.capability"
        || name.starts_with(b"user.") && name.len() <= 255 && !reserved.iter().any(|r| name.starts_with(r))
}

fn unmapped(e: Errno) -> io::Error {
    match e {
        Errno::INVAL => refuse(
            "its owner is none of this user's ids: give the user a larger range in /etc/subuid and /etc/subgid (65536 \
             ids serve most images)",
        ),
        e => e.into(),
    }
}

/// The best representation of whiteouts that is possible here.
fn marks_of(fd: BorrowedFd<'_>) -> io::Result<Marks> {
    let probe = |name: &str| {
        let set = fs::fsetxattr(fd, name, b"y", fs::XattrFlags::empty()).is_ok();
        set && fs::fremovexattr(fd, name).is_ok()
    };
    let node = ".trine-probe";
    let device = fs::mknodat(fd, node, FileType::CharacterDevice, Mode::from_raw_mode(0), fs::makedev(0, 0));
    if device.is_ok() {
        fs::unlinkat(fd, node, AtFlags::empty())?;
    }
    Ok(match device {
        Ok(()) if probe("trusted.overlay.opaque") => Marks::Trusted,
        Ok(()) if probe("user.overlay.opaque") => Marks::User,
        _ => Marks::Files,
    })
}
