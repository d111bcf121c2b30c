//! The folder that is shared.

use crate::nodes::Identity;
use crate::thread::{self, host};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Statx, StatxFlags, openat, openat2, statx};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How often a step is tried again that another process of the host has disturbed.
const TRIES: usize = 8;
/// The user and group of files that belong to others than an ordinary user (`/proc/sys/fs/overflowuid`).
pub const OTHERS: u32 = 65534;

/// Whether a guest may change what is in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Write,
    /// It may not.
    ReadOnly,
}

/// Why a folder cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// It cannot be opened.
    #[error("cannot share {path}: {error}")]
    Open {
        /// The folder.
        path: PathBuf,
        /// The host's reason.
        error: io::Error,
    },
    /// It is something else.
    #[error("cannot share {path}: it is not a directory")]
    NotDirectory {
        /// What was named.
        path: PathBuf,
    },
    /// The host lacks something.
    #[error("folders cannot be shared on this host: {what}: {error}")]
    Host {
        /// What it lacks.
        what: &'static str,
        /// The host's reason.
        error: io::Error,
    },
}

/// A folder of the host that guests may be given. It stays the same folder when it is renamed.
pub struct Folder {
    path: PathBuf,
    root: Arc<OwnedFd>,
    access: Access,
    /// The number of the folder's own device.
    device: u64,
    /// Whether files can be given to any user: Trine runs as root.
    privileged: bool,
    uid: u32,
    gid: u32,
}

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    /// It does not exist, cannot be read, or is not a directory; or the host has no `openat2` (Linux 5.6) or no `/proc`.
    pub fn open(path: &Path, access: Access) -> Result<Folder, ShareError> {
        let fail = |e: Errno| match e {
            Errno::NOTDIR => ShareError::NotDirectory { path: path.into() },
            e => ShareError::Open { path: path.into(), error: host(e) },
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, path, flags, Mode::empty()).map_err(fail)?;
        let lacks = |what| move |e: Errno| ShareError::Host { what, error: host(e) };
        // What every request needs is tried once, so that what is missing is said here.
        let again = open_link(&root, OFlags::RDONLY | OFlags::DIRECTORY);
        again.map_err(|e| if e == Errno::ACCESS { fail(e) } else { lacks("/proc/self/fd")(e) })?;
        let beneath = openat2(&root, c".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), RESOLVE);
        beneath.map_err(lacks("the system call openat2"))?;
        let prepared = std::thread::spawn(thread::prepare).join().unwrap_or(Err(Errno::AGAIN));
        prepared.map_err(lacks("threads with a umask and capabilities of their own"))?;
        let device = device(&stat(&root).map_err(fail)?);
        let [uid, gid] = [rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()];
        let privileged = thread::is_privileged();
        Ok(Folder { path: path.into(), root: Arc::new(root), access, device, privileged, uid, gid })
    }

    /// Its path, as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether guests may change what is in it.
    pub fn access(&self) -> Access {
        self.access
    }

    /// The open folder (`O_PATH`), for rules about it.
    ///
    /// # Errors
    /// The host has no descriptor left.
    pub fn descriptor(&self) -> std::io::Result<OwnedFd> {
        self.root.try_clone()
    }

    /// The same folder, as if an ordinary user of this number shared it.
    #[cfg(test)]
    pub(crate) fn of_user(self, uid: u32, gid: u32) -> Folder {
        Folder { privileged: false, uid, gid, ..self }
    }

    pub(crate) fn root(&self) -> Arc<OwnedFd> {
        self.root.clone()
    }

    pub(crate) fn is_privileged(&self) -> bool {
        self.privileged
    }

    /// Refuses a change of a folder that is read-only.
    pub(crate) fn may_write(&self) -> Result<(), Errno> {
        if self.access == Access::Write { Ok(()) } else { Err(Errno::ROFS) }
    }

    /// The owner and group of a file as the guest sees them: root sees everybody's own numbers. An ordinary user, who can
    /// give files to nobody else, sees themselves as 0, so that the guest's root is the owner, and everybody else as 65534.
    pub(crate) fn owner(&self, stat: &Statx) -> (u32, u32) {
        let shown = |id, own| if id == own { 0 } else { OTHERS };
        match self.privileged {
            true => (stat.stx_uid, stat.stx_gid),
            false => (shown(stat.stx_uid, self.uid), shown(stat.stx_gid, self.gid)),
        }
    }

    /// What tells a file from all others.
    pub(crate) fn identity(&self, stat: &Statx) -> Identity {
        let device = device(stat);
        let born = match stat.stx_mask & StatxFlags::BTIME.bits() {
            0 => (0, 0),
            _ => (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec),
        };
        Identity { device: (device != self.device).then_some(device), inode: stat.stx_ino, born }
    }
}

fn device(stat: &Statx) -> u64 {
    u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor)
}

impl AsFd for Folder {
    /// An `O_PATH` descriptor of the folder.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// How names are resolved: never out of the directory, and never through a link.
const RESOLVE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Opens a name in a directory, which may be a symbolic link only with `O_PATH` and is then that link itself.
pub fn open_beneath(directory: impl AsFd, name: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 0..TRIES {
        match openat2(&directory, name, flags, mode, RESOLVE) {
            // A rename elsewhere in the same file system happened meanwhile.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

/// A file in a directory, for its attributes and as a start of further steps.
pub fn find(directory: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    open_beneath(directory, name, OFlags::PATH, Mode::empty())
}

/// The path of an open descriptor, by which calls reach its file that take paths only. It is valid as long as the descriptor.
pub fn link_of(fd: BorrowedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Opens what an `O_PATH` descriptor refers to, which must be a regular file or a directory.
pub fn open_link(fd: impl AsFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(CWD, link_of(fd.as_fd()), flags | OFlags::CLOEXEC, Mode::empty())
}

/// The attributes of an open file.
pub fn stat(fd: impl AsFd) -> Result<Statx, Errno> {
    statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::BTIME)
}

/// Lets this process have as many open files as the host allows it, since a guest's open files are this process's.
pub fn raise_limit_of_files() {
    let now = getrlimit(Resource::Nofile);
    // Where the host refuses, the guest can have fewer files open.
    let _ = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: now.maximum, ..now });
}

/// How many files this process may have open.
pub fn limit_of_files() -> usize {
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
}
