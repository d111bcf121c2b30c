//! Device nodes and links in `/dev` (runtime-spec, "Default Devices", "Default Filesystems").

use super::paths::{Make, clean};
use super::{Place, mounts};
use crate::error::{Context, Error, Result};
use crate::sys;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// Character devices of every container: name, major, minor.
const DEFAULT: &[(&str, u32, u32)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Creates the default devices, those of the configuration, and the links.
///
/// # Errors
/// The host does not have a device, or something cannot be created.
pub fn make(place: &Place, devices: &[LinuxDevice]) -> Result<()> {
    let dev = place.root.make(Path::new("/dev"), Make::Directory)?;
    // SAFETY: changes this process's mask.
    let mask = unsafe { libc::umask(0) };
    let mut made =
        DEFAULT.iter().filter(|d| !devices.iter().any(|o| o.path() == &Path::new("/dev").join(d.0)));
    let result = made
        .try_for_each(|&(name, major, minor)| {
            let node =
                Node { mode: libc::S_IFCHR | 0o666, number: libc::makedev(major, minor), owner: (0, 0) };
            node.make(place, &dev, name, &Path::new("/dev").join(name))
        })
        .and_then(|()| devices.iter().try_for_each(|d| configured(place, &dev, d)))
        .and_then(|()| links(&dev));
    // SAFETY: as above.
    unsafe { libc::umask(mask) };
    result
}

fn configured(place: &Place, dev: &OwnedFd, device: &LinuxDevice) -> Result<()> {
    let path = clean(device.path());
    let kind = match device.typ() {
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::C | LinuxDeviceType::U => libc::S_IFCHR,
        LinuxDeviceType::P => libc::S_IFIFO,
        LinuxDeviceType::A => return Err(Error::refused(format!("device {}: no type", path.display()))),
    };
    let number = |n: i64| u32::try_from(n).unwrap_or(0);
    let node = Node {
        mode: kind | device.file_mode().unwrap_or(0o666) & 0o7777,
        number: libc::makedev(number(device.major()), number(device.minor())),
        owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)),
    };
    match path.strip_prefix("/dev").ok().and_then(Path::to_str).filter(|n| !n.contains('/')) {
        Some(name) => node.make(place, dev, name, &path),
        None => {
            let (parent, name) = place.root.parent(&path)?;
            node.make(place, &parent, &name.to_string_lossy(), &path)
        }
    }
}

/// A node to be created.
struct Node {
    mode: libc::mode_t,
    number: libc::dev_t,
    owner: (u32, u32),
}

impl Node {
    fn make(&self, place: &Place, dir: &OwnedFd, name: &str, path: &Path) -> Result<()> {
        let what = || format!("cannot make device {}", path.display());
        let name = CString::new(name).map_err(|_| Error::refused(what()))?;
        if !place.users {
            let (uid, gid) = self.owner;
            // SAFETY: reads a string of ours.
            let made = unsafe { libc::mknodat(dir.as_raw_fd(), name.as_ptr(), self.mode, self.number) };
            match sys::check(made.into()) {
                Ok(_) if (uid, gid) == (0, 0) => return Ok(()),
                Ok(_) => {
                    let flags = libc::AT_SYMLINK_NOFOLLOW;
                    // SAFETY: as above.
                    let owned = unsafe { libc::fchownat(dir.as_raw_fd(), name.as_ptr(), uid, gid, flags) };
                    return sys::check(owned.into()).map(drop).with(what);
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
                // Inside a user namespace, devices cannot be created.
                Err(e) if e.raw_os_error() == Some(libc::EPERM) => {}
                other => return other.map(drop).with(what),
            }
        }
        mounts::show(place, &self.of_host(path).with(what)?, path)
    }

    /// The host's own node: at the same path or, if that is another device or does not exist, where the
    /// kernel says it is, because it may have another name inside.
    fn of_host(&self, path: &Path) -> io::Result<OwnedFd> {
        let at = |path: &Path| {
            let host = sys::open(path, libc::O_PATH)?;
            let stat = sys::stat(&host)?;
            let same = stat.st_mode & libc::S_IFMT == self.mode & libc::S_IFMT && stat.st_rdev == self.number;
            if same {
                Ok(host)
            } else {
                Err(io::Error::other(format!("the host's {} is a different device", path.display())))
            }
        };
        at(path).or_else(|error| {
            let kind = if self.mode & libc::S_IFMT == libc::S_IFBLK { "block" } else { "char" };
            let (major, minor) = (libc::major(self.number), libc::minor(self.number));
            let told = std::fs::read_to_string(format!("/sys/dev/{kind}/{major}:{minor}/uevent"))
                .unwrap_or_default();
            let name = told.lines().find_map(|line| line.strip_prefix("DEVNAME="));
            name.map_or(Err(error), |name| at(&Path::new("/dev").join(name)))
        })
    }
}

fn links(dev: &OwnedFd) -> Result<()> {
    let core = Path::new("/proc/kcore").exists().then_some(("core", "/proc/kcore"));
    let make = |name: &str, target: &str| {
        let (name, target) = (CString::new(name)?, CString::new(target)?);
        // SAFETY: reads strings of ours.
        let made = unsafe { libc::symlinkat(target.as_ptr(), dev.as_raw_fd(), name.as_ptr()) };
        sys::check(made.into()).map(drop)
    };
    for &(name, target) in LINKS.iter().chain(core.iter()) {
        match make(name, target) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(e).with(|| format!("cannot make link /dev/{name}"));
            }
            _ => {}
        }
    }
    // The image's own link would lead to the host's terminals.
    // SAFETY: reads a literal.
    unsafe { libc::unlinkat(dev.as_raw_fd(), c"ptmx".as_ptr(), 0) };
    make("ptmx", "pts/ptmx").context("cannot make link /dev/ptmx")
}
