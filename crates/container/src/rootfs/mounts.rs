//! The mounts of a configuration, in its order.

use super::Place;
use super::paths::{Make, clean};
use crate::error::{Context, Error, Result};
use crate::spec::options::{MountOptions, attributes};
use crate::sys::{self, Attributes};
use oci_spec::runtime::Mount;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Files below `/proc` that may be covered by a mount, so that tools show the container's resources instead
/// of the host's.
const IN_PROC: &[&str] = &[
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
    "uptime",
];

/// File systems that take the label of the container's files as a mount option.
const LABELLED: &[&str] = &["tmpfs", "devpts", "mqueue", "overlay", "ext4", "xfs"];

/// Makes one mount. `prepared` is its tree, if the runtime outside has opened it.
///
/// # Errors
/// The kernel refused, or the place must not be covered; the message names the mount.
pub fn make(place: &Place, mount: &Mount, prepared: Option<OwnedFd>) -> Result<()> {
    let options = parse(mount)?;
    let to = clean(mount.destination());
    let kind = mount.typ().as_deref().unwrap_or(if options.is_bind() { "bind" } else { "none" });
    let bind = options.is_bind() || kind == "bind";
    covers(&to, kind == "proc", bind)?;
    match kind {
        "cgroup" | "cgroup2" => super::groups::mount(place, &to, &options),
        _ if bind || prepared.is_some() => {
            let tree = match prepared {
                Some(tree) => tree,
                None => tree(&source(place.bundle, mount)?, &options)?,
            };
            attach(place, &tree, &to)
        }
        _ => filesystem(place, mount, kind, &to, options),
    }
}

/// Parses the options of a mount.
///
/// # Errors
/// An option is not allowed, or not for a bind mount.
pub fn parse(mount: &Mount) -> Result<MountOptions> {
    let options = MountOptions::parse(mount.options().iter().flatten().map(String::as_str))?;
    let bind = options.is_bind() || mount.typ().as_deref() == Some("bind");
    if bind && !options.data.is_empty() {
        let (to, data) = (mount.destination().display(), &options.data);
        return Err(Error::refused(format!("mount at {to}: a bind mount has no options '{data}'")));
    }
    Ok(options)
}

/// Checks that a mount may be at this path: covering `/proc` would circumvent the kernel's checks and our
/// masks. `proc`: whether it is a procfs, `bind`: whether it is a bind mount.
fn covers(to: &Path, proc: bool, bind: bool) -> Result<()> {
    let Ok(below) = to.strip_prefix("/proc") else { return Ok(()) };
    let is_proc = below.as_os_str().is_empty() && (proc || bind);
    if is_proc || (bind && IN_PROC.iter().any(|p| below == Path::new(p))) {
        return Ok(());
    }
    Err(Error::refused(format!("mount at {}: a place inside /proc cannot be covered", to.display())))
}

/// The path of an open descriptor inside the root: links of the image may lead elsewhere than the requested
/// path says.
fn lead(place: &Place, at: &OwnedFd) -> Result<PathBuf> {
    let path =
        |fd: &OwnedFd| sys::read_link(libc::AT_FDCWD, &sys::path_of(fd)).context("cannot read /proc/self/fd");
    let (root, at) = (path(place.root.fd())?, path(at)?);
    let (root, at) = (Path::new(OsStr::from_bytes(&root)), Path::new(OsStr::from_bytes(&at)));
    match at.strip_prefix(root) {
        Ok(inside) => Ok(Path::new("/").join(inside)),
        Err(_) => Err(Error::refused(format!("{} is not in the container's root", at.display()))),
    }
}

/// The source of a bind mount.
fn source(bundle: &Path, mount: &Mount) -> Result<PathBuf> {
    match mount.source() {
        Some(path) if !path.as_os_str().is_empty() => Ok(bundle.join(path)),
        _ => Err(Error::refused(format!("mount at {}: it has no source", mount.destination().display()))),
    }
}

/// A detached clone of the source, with its attributes.
fn tree(from: &Path, options: &MountOptions) -> Result<OwnedFd> {
    let what = || format!("cannot mount {}", from.display());
    let name = sys::text(from).with(what)?;
    let tree = sys::clone_tree(libc::AT_FDCWD, &name, options.set & libc::MS_REC != 0).with(what)?;
    set(&tree, options).with(what)?;
    Ok(tree)
}

/// A tree that the runtime outside opens: root inside only may not be able to access its source, or to map
/// its owners.
///
/// # Errors
/// The source does not exist, or its file system cannot map owners.
pub fn outside(
    bundle: &Path,
    mount: &Mount,
    options: &MountOptions,
    users: Option<&OwnedFd>,
) -> Result<OwnedFd> {
    use std::os::fd::AsFd;
    let from = source(bundle, mount)?;
    let what = || format!("cannot mount {}", from.display());
    let name = sys::text(&from).with(what)?;
    let tree = sys::clone_tree(libc::AT_FDCWD, &name, options.set & libc::MS_REC != 0).with(what)?;
    let apart = Attributes { propagation: libc::MS_SLAVE, ..Attributes::default() };
    sys::set_attributes(&tree, true, apart, None).with(what)?;
    if let Some(users) = users {
        let deep = options.map_owners == Some(true);
        let mapped = sys::set_attributes(&tree, deep, Attributes::default(), Some(users.as_fd()));
        mapped.with(|| {
            format!("cannot map the owners of {}: its filesystem may not allow that", from.display())
        })?;
    }
    set(&tree, options).with(what)?;
    Ok(tree)
}

/// Sets the attributes of a mount and its propagation.
fn set(mount: &OwnedFd, options: &MountOptions) -> std::io::Result<()> {
    let own = attributes(options.set, options.clear);
    for (deep, what) in [(false, own), (true, options.recursive)] {
        if !what.is_empty() {
            sys::set_attributes(mount, deep, what, None)?;
        }
    }
    propagate(mount, options)
}

fn propagate(mount: &OwnedFd, options: &MountOptions) -> std::io::Result<()> {
    for flags in &options.propagation {
        let what = Attributes { propagation: flags & !libc::MS_REC, ..Attributes::default() };
        sys::set_attributes(mount, flags & libc::MS_REC != 0, what, None)?;
    }
    Ok(())
}

/// The places of the kernel's own file systems: masks are applied to these names later, so that links of the
/// image must not lead to where something else could be put meanwhile (CVE-2019-19921, CVE-2023-27561).
const KERNELS: &[&str] = &["/proc", "/sys"];

/// The place of a mount, which is created if it does not exist. Whether it may be covered depends on where it
/// really is, not on its name: an image may have a link there.
///
/// # Errors
/// The place cannot be created, or must not be covered by this mount.
pub fn target(place: &Place, to: &Path, what: Make, proc: bool, bind: bool) -> Result<OwnedFd> {
    if what == Make::Directory && KERNELS.iter().any(|own| to == Path::new(own)) {
        return place.root.own_directory(to);
    }
    let at = place.root.make(to, what)?;
    let lead = lead(place, &at)?;
    if lead == Path::new("/") || (lead != to && KERNELS.iter().any(|own| lead == Path::new(own))) {
        return Err(Error::refused(format!(
            "mount at {}: it leads to {}, which cannot be covered",
            to.display(),
            lead.display()
        )));
    }
    covers(&lead, proc, bind)?;
    Ok(at)
}

/// The ID of the mount that a path of the root is in; `None` where the path does not exist.
pub fn mount_at(place: &Place, path: &Path) -> Option<u64> {
    let fd = place.root.find(path).ok()??;
    sys::mount_number(&fd).ok()
}

/// Attaches a tree; its place is created with the same type.
pub fn attach(place: &Place, tree: &OwnedFd, to: &Path) -> Result<()> {
    let what = || format!("cannot mount at {}", to.display());
    let directory = sys::stat(tree).with(what)?.st_mode & libc::S_IFMT == libc::S_IFDIR;
    let at = target(place, to, if directory { Make::Directory } else { Make::File }, false, true)?;
    sys::move_mount(tree, &at).with(what)
}

/// Mounts a new file system.
fn filesystem(place: &Place, mount: &Mount, kind: &str, to: &Path, options: MountOptions) -> Result<()> {
    let what = || format!("cannot mount {kind} at {}", to.display());
    let there = place.root.find(to)?.is_some();
    let at = target(place, to, Make::Directory, kind == "proc", false)?;
    let name = |s: &str| CString::new(s).map_err(|_| Error::refused(format!("{}: a zero byte", what())));
    let mut data = options.data.clone();
    let mut more = |text: String| {
        data = if data.is_empty() { text } else { format!("{data},{text}") };
    };
    // Over an existing directory it takes that one's mode; otherwise it is writable to everybody, the
    // kernel's default.
    if kind == "tmpfs" && there && !options.data.split(',').any(|o| o.starts_with("mode=")) {
        more(format!("mode={:o}", sys::stat(&at).with(what)?.st_mode & 0o7777));
    }
    if let Some(label) = place.label.filter(|_| LABELLED.contains(&kind)) {
        more(format!("context=\"{label}\""));
    }
    let from = mount.source().as_deref().and_then(Path::to_str).unwrap_or(kind);
    let late = if options.copy_up { options.set & libc::MS_RDONLY } else { 0 };
    let flags = options.set & !late & !libc::MS_REC;
    let result = sys::mount(&name(from)?, &sys::path_of(&at), &name(kind)?, flags, &name(&data)?);
    match result {
        Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::EBUSY)) => {
            let Some(host) = instead(place, kind) else { return Err(e).with(what) };
            let shown = MountOptions { set: options.set | libc::MS_BIND | libc::MS_REC, ..options };
            return attach(place, &tree(Path::new(host), &shown)?, to);
        }
        other => other.with(what)?,
    }
    let plain = options.propagation.is_empty() && options.recursive.is_empty();
    if plain && !options.copy_up {
        return Ok(());
    }
    let Some(made) = place.root.find(to)? else { return Err(Error::refused(what())) };
    if options.copy_up {
        super::copy::tree(&at, &made)
            .with(|| format!("cannot copy what was at {} into a tmpfs", to.display()))?;
    }
    set(&made, &MountOptions { set: late, clear: 0, ..options }).with(what)
}

/// The file system of the host that is bind-mounted if the kernel does not allow a user to mount a new one,
/// because that would reveal more than the namespaces that the user has created.
fn instead(place: &Place, kind: &str) -> Option<&'static str> {
    let made = |flag| place.new & flag != 0;
    match kind {
        "sysfs" if !made(libc::CLONE_NEWNET) || place.users => Some("/sys"),
        "proc" if !made(libc::CLONE_NEWPID) => Some("/proc"),
        "mqueue" if !made(libc::CLONE_NEWIPC) => Some("/dev/mqueue"),
        _ => None,
    }
}

/// Bind-mounts an open file of this mount namespace at another place.
pub fn show(place: &Place, file: &OwnedFd, to: &Path) -> Result<()> {
    let what = || format!("cannot show a file at {}", to.display());
    attach(place, &sys::clone_tree(file.as_raw_fd(), c"", false).with(what)?, to)
}

#[cfg(test)]
mod tests {
    use super::super::paths::Root;
    use super::*;

    fn allowed(to: &str, kind: &str, options: &[&str]) -> bool {
        let options = MountOptions::parse(options.iter().copied()).unwrap();
        covers(&clean(Path::new(to)), kind == "proc", options.is_bind() || kind == "bind").is_ok()
    }

    #[test]
    fn places_are_where_links_lead() {
        let dir = std::env::temp_dir().join(format!("trine-mounts-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&dir));
        for name in ["proc/self", "sys/fs", "dev", "data"] {
            std::fs::create_dir_all(dir.join(name)).unwrap();
        }
        for (to, at) in
            [("/proc", "p"), ("../../sys", "s"), ("/dev", "d"), ("/", "r"), ("/p/self", "data/deep")]
        {
            std::os::unix::fs::symlink(to, dir.join(at)).unwrap();
        }
        let root = Root::new(sys::open(&dir, libc::O_PATH | libc::O_DIRECTORY).unwrap());
        let place = Place {
            root,
            bundle: &dir,
            label: None,
            new: 0,
            users: false,
            own_groups: false,
            hierarchies: &[],
        };
        let at = |to: &str| target(&place, Path::new(to), Make::Directory, false, true);
        for refused in ["/p", "/s", "/r", "/p/self", "/data/deep", "/r/r/proc/self"] {
            assert!(at(refused).unwrap_err().to_string().contains("cannot be covered"), "{refused}");
        }
        for (to, where_it_is) in
            [("/d", "/dev"), ("/s/fs", "/sys/fs"), ("/new/one", "/new/one"), ("/proc", "/proc")]
        {
            assert_eq!(lead(&place, &at(to).unwrap()).unwrap(), Path::new(where_it_is), "{to}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn proc_is_not_covered() {
        assert!(allowed("/proc", "proc", &[]));
        assert!(allowed("/proc", "bind", &["rbind"]));
        assert!(allowed("/proc/cpuinfo", "bind", &["bind", "ro"]));
        assert!(allowed("/process", "tmpfs", &[]));
        assert!(!allowed("/proc", "tmpfs", &[]));
        assert!(!allowed("/proc/self/attr", "bind", &["bind"]));
        assert!(!allowed("/x/../proc/sys", "tmpfs", &[]));
        assert!(!allowed("/proc/cpuinfo", "tmpfs", &[]));
    }
}
