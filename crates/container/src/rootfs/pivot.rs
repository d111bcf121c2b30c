//! Moving into the container's root.

use crate::channel::{Channel, Kind};
use crate::error::{Context, Error, Result};
use crate::plan::Plan;
use crate::rootfs::fuse;
use crate::rootfs::layers::Layers;
use crate::sys::{self, Attributes};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// What `linux.rootfsPropagation` says: flags of `mount(2)`.
///
/// # Errors
/// An unknown word.
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
                "linux.rootfsPropagation is '{other}': it may be private, shared, slave, unbindable, or one of these behind an r"
            )));
        }
    })
}

/// Makes the container's root a mount of its own in a namespace that the host sees nothing of (or what is asked for),
/// and opens it.
///
/// # Errors
/// There is no such directory, or the kernel's.
pub fn begin(plan: &Plan, asked: u64, channel: &mut Channel) -> Result<OwnedFd> {
    let rootfs = plan.rootfs.as_path();
    let what = || format!("cannot use {} as a root", rootfs.display());
    let shared = asked & libc::MS_SHARED != 0;
    // What is to be shared with the host may not be cut off first; the root's parent has to be, or nothing can move.
    let all = if shared { asked } else { libc::MS_SLAVE | libc::MS_REC };
    sys::mount(c"", c"/", c"", all, c"").context("cannot set the propagation of mounts")?;
    if shared {
        // Before it is copied: the copy would be shared as well, and could not become the root (pivot_root(2)).
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

/// The layers by the kernel, or by a server that the runtime starts on its side.
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
    // Only the server has it from now on: without one the next access fails, and does not wait.
    drop(device);
    channel.expect(Kind::Go)?;
    let log = fuse::log(&plan.state.bundle);
    sys::stat(&tree).with(|| format!("{why}; nor does fuse-overlayfs serve them: see {}", log.display()))?;
    Ok(tree)
}

/// Makes the root this process's, and lets the host's go.
///
/// # Errors
/// The kernel's.
pub fn finish(root: &OwnedFd, asked: u64, pivot: bool) -> Result<()> {
    let what = "cannot move into the container's root";
    // SAFETY: changes this process's directory.
    sys::check(unsafe { libc::fchdir(root.as_raw_fd()) }.into()).context(what)?;
    if pivot {
        let shared = asked & libc::MS_SHARED != 0;
        let old =
            if shared { Some(sys::open("/", libc::O_PATH | libc::O_DIRECTORY).context(what)?) } else { None };
        // The old root is put over the new one, and taken away there: no directory is needed for it (pivot_root(2)).
        // SAFETY: reads literals.
        let done = unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) };
        sys::check(done).context(what)?;
        if let Some(old) = old {
            // Or the host's mounts would go away with it.
            // SAFETY: changes this process's directory.
            sys::check(unsafe { libc::fchdir(old.as_raw_fd()) }.into()).context(what)?;
            sys::mount(c"", c".", c"", libc::MS_SLAVE | libc::MS_REC, c"").context(what)?;
        }
        // SAFETY: reads a literal.
        sys::check(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) }.into())
            .context("cannot let go of the host's root")?;
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
