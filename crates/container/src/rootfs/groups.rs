//! Control groups as a container sees them.

use super::paths::Make;
use super::{Place, mounts};
use crate::error::{Context, Error, Result};
use crate::spec::options::{MountOptions, attributes};
use crate::sys;
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// A hierarchy of the host that contains the container's group.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Hierarchy {
    /// Name of its directory, such as `cpu,cpuacct`; `None` means the hierarchy of cgroup v2.
    pub name: Option<String>,
    /// Its mount options.
    pub options: String,
    /// The container's group in it, as a directory of the host.
    pub group: PathBuf,
}

/// Mounts the control group file systems.
///
/// # Errors
/// The kernel refused.
pub fn mount(place: &Place, to: &Path, options: &MountOptions) -> Result<()> {
    let what = || format!("cannot mount control groups at {}", to.display());
    if let [Hierarchy { name: None, group, .. }] = place.hierarchies {
        let at = mounts::target(place, to, Make::Directory, false, false)?;
        let flags = options.set & !libc::MS_REC;
        if place.own_groups && sys::mount(c"cgroup2", &sys::path_of(&at), c"cgroup2", flags, c"").is_ok() {
            return Ok(());
        }
        return show(place, group, to, options);
    }
    let at = mounts::target(place, to, Make::Directory, false, false)?;
    let flags = options.set & !libc::MS_RDONLY & !libc::MS_REC;
    sys::mount(c"tmpfs", &sys::path_of(&at), c"tmpfs", flags, c"mode=755").with(what)?;
    for hierarchy in place.hierarchies {
        let Some(name) = &hierarchy.name else { continue };
        let path = to.join(name);
        let own = place.own_groups && mount_one(place, hierarchy, &path, options).is_ok();
        if !own {
            show(place, &hierarchy.group, &path, options)?;
        }
        for link in name.split(',').filter(|_| name.contains(',')) {
            let link = CString::new(link).map_err(Error::refused)?;
            let Some(dir) = place.root.find(to)? else { continue };
            let name = sys::text(name).with(what)?;
            // SAFETY: reads strings of ours.
            let made = unsafe { libc::symlinkat(name.as_ptr(), dir.as_raw_fd(), link.as_ptr()) };
            sys::check(made.into()).with(what)?;
        }
    }
    if options.set & libc::MS_RDONLY != 0 {
        let Some(dir) = place.root.find(to)? else { return Ok(()) };
        sys::set_attributes(&dir, false, attributes(libc::MS_RDONLY, 0), None).with(what)?;
    }
    Ok(())
}

/// Mounts a hierarchy; a cgroup namespace makes the container's group its root.
fn mount_one(place: &Place, hierarchy: &Hierarchy, path: &Path, options: &MountOptions) -> Result<()> {
    let at = mounts::target(place, path, Make::Directory, false, false)?;
    let data = CString::new(hierarchy.options.as_str()).map_err(Error::refused)?;
    let flags = options.set & !libc::MS_REC;
    sys::mount(c"cgroup", &sys::path_of(&at), c"cgroup", flags, &data).context("cannot mount control groups")
}

/// Bind-mounts the group's directory of the host.
fn show(place: &Place, group: &Path, to: &Path, options: &MountOptions) -> Result<()> {
    let what = || format!("cannot show control group {}", group.display());
    let tree = sys::clone_tree(libc::AT_FDCWD, &sys::text(group).with(what)?, false).with(what)?;
    sys::set_attributes(&tree, false, attributes(options.set, 0), None).with(what)?;
    mounts::attach(place, &tree, to)
}
