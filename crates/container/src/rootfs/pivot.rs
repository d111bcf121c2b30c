//! Changing to the container's root.

use crate::channel::{Channel, Kind};
use crate::error::{Context, Error, Result};
use crate::plan::Plan;
use crate::rootfs::fuse;
use crate::rootfs::layers::Layers;
use crate::sys::{self, Attributes};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// Parses `linux.rootfsPropagation` to flags of `mount(2)`.
///
/// # Errors
/// The word is unknown.
pub fn propagation(word: Option<&str>) -> Result<u64> {
    Ok(match word {
        None | Some("" | "rslave") => libc::MS_SLAVE | libc::MS_REC,
        Some("slave") => libc::MS_SLAVE,
        Some("private") => libc::MS_PRIVATE,
        Some("rprivate") => libc::MS_PRIVATE | libc::MS_REC,
        Some("shared") => libc::MS_SHARED,
        Some("rshared") => libc::MS_SHARED | libc::MS_REC,
        Some("unbindable") => libc::MS_UNBINDABLE,
        Some("runbindable") => libc::MS_UNBINDABLE | libc::MS_REC,
        Some(other) => {
            return Err(Error::refused(format!(
                "linux.rootfsPropagation is '{other}': it must be private, shared, slave or unbindable, or one of these with an r in front"
            )));
        }
    })
}

/// Makes the container's root a mount of its own, with the requested propagation (by default the host sees no
/// mounts of the container), and opens it.
///
/// # Errors
/// The directory does not exist, or the kernel refused.
pub fn begin(plan: &Plan, asked: u64, channel: &mut Channel) -> Result<OwnedFd> {
    let rootfs = plan.rootfs.as_path();
    let what = || format!("cannot use {} as a root", rootfs.display());
    let shared = asked & libc::MS_SHARED != 0;
    // Mounts that are shared with the host must not be made private first; but the root's parent must be
    // private, or nothing can be moved.
    let all = if shared { asked } else { libc::MS_SLAVE | libc::MS_REC };
    sys::mount(c"", c"/", c"", all, c"").context("cannot set the propagation of mounts")?;
    if shared {
        // Before it is cloned: the clone would be shared as well, and could not become the root
        // (pivot_root(2)).
        let mut above = Some(rootfs);
        let private = |path: &Path| sys::mount(c"", &sys::text(path)?, c"", libc::MS_PRIVATE, c"");
        while let Some(path) = above.filter(|p| private(p).is_err()) {
            above = path.parent();
        }
    }
    let name = sys::text(rootfs).with(what)?;
    let tree = match &plan.layers {
        Some(layers) => lay(layers, plan, channel)?,
        None => sys::clone_tree(libc::AT_FDCWD, &name, true).with(what)?,
    };
    let at = sys::open(rootfs, libc::O_PATH | libc::O_DIRECTORY).with(what)?;
    sys::move_mount(&tree, &at).with(what)?;
    Ok(tree)
}

/// Mounts the layers by the kernel, or by a server that the runtime starts on its side.
fn lay(layers: &Layers, plan: &Plan, channel: &mut Channel) -> Result<OwnedFd> {
    let kernels = match layers.fuse {
        true => Err(Error::refused("this kernel cannot mark in an ordinary user's layers what is no more")),
        false => layers.mount(plan.users),
    };
    let why = match kernels {
        Ok(tree) => return channel.send(Kind::Layers, &[], &[]).map(|()| tree),
        Err(why) => why,
    };
    let both = |e: Error| Error::refused(format!("{why}; nor can fuse-overlayfs: {e}"));
    channel.send(Kind::Layers, b"F", &[])?;
    let given = channel.expect(Kind::Go)?.fds.pop();
    let (tree, device) = fuse::mount(given).map_err(both)?;
    channel.send(Kind::Layers, &[], &[device.as_raw_fd()])?;
    // From now on only the server has it: without a server the next access fails instead of waiting.
    drop(device);
    channel.expect(Kind::Go)?;
    let log = fuse::log(&plan.state.bundle);
    sys::stat(&tree).with(|| format!("{why}; nor does fuse-overlayfs serve them: see {}", log.display()))?;
    Ok(tree)
}

/// Makes it this process's root, and detaches the host's.
///
/// # Errors
/// The kernel refused.
pub fn finish(root: &OwnedFd, asked: u64, pivot: bool) -> Result<()> {
    let what = "cannot move into the container's root";
    // SAFETY: changes this process's directory.
    sys::check(unsafe { libc::fchdir(root.as_raw_fd()) }.into()).context(what)?;
    if pivot {
        let shared = asked & libc::MS_SHARED != 0;
        let old =
            if shared { Some(sys::open("/", libc::O_PATH | libc::O_DIRECTORY).context(what)?) } else { None };
        // The old root is mounted over the new one, and detached there: this needs no directory
        // (pivot_root(2)).
        // SAFETY: reads literals.
        let done = unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) };
        sys::check(done).context(what)?;
        if let Some(old) = old {
            // Otherwise the host's mounts would be unmounted, too.
            // SAFETY: changes this process's directory.
            sys::check(unsafe { libc::fchdir(old.as_raw_fd()) }.into()).context(what)?;
            sys::mount(c"", c".", c"", libc::MS_SLAVE | libc::MS_REC, c"").context(what)?;
        }
        // SAFETY: reads a literal.
        sys::check(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) }.into())
            .context("cannot detach the host's root")?;
    } else {
        sys::mount(c".", c"/", c"", libc::MS_MOVE, c"").context(what)?;
        // SAFETY: reads a literal.
        sys::check(unsafe { libc::chroot(c".".as_ptr()) }.into()).context(what)?;
    }
    // SAFETY: as above.
    sys::check(unsafe { libc::chdir(c"/".as_ptr()) }.into()).context(what)?;
    if asked & libc::MS_SLAVE == 0 {
        let what = "cannot set the propagation of the root";
        let own = Attributes { propagation: asked & !libc::MS_REC, ..Attributes::default() };
        sys::set_attributes(root, asked & libc::MS_REC != 0, own, None).context(what)?;
    }
    Ok(())
}
