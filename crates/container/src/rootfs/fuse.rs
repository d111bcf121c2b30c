//! Stacking layers with `fuse-overlayfs` if the kernel cannot: it is older than 5.11 and this is a user
//! namespace, or the container's own layer is on a file system that cannot be the upper one (overlayfs
//! itself, network file systems).
//!
//! The work is divided between the two sides of the channel. *Inside*, the process that builds the container
//! creates a mount that nobody serves yet ([`mount`]). *Outside*, the runtime starts the server for it
//! ([`serve`]), in the container's user namespace but in none of its other namespaces: no process of the
//! container sees it. It ends when the last mount is gone, and so with the container, however that ends
//! (fuse(4)).

use super::layers::Layers;
use crate::error::{Context, Result};
use crate::sys;
use std::ffi::CString;
use std::fs::File;
use std::io::{Error, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The server, which is searched for in PATH.
const SERVER: &str = "fuse-overlayfs";
/// `FSCONFIG_SET_FLAG`, `_SET_STRING` and `_CMD_CREATE` of fsconfig(2).
const FLAG: u32 = 0;
const STRING: u32 = 1;
const CREATE: u32 = 6;

/// The server's log file for the container of a bundle.
pub fn log(bundle: &Path) -> PathBuf {
    bundle.join("fuse-overlayfs.log")
}

/// Opens the FUSE device for a mount. It must be opened in the user namespace in which the mount is made, and
/// by a process whose control group allows the device, unlike a container's.
///
/// # Errors
/// The kernel has no FUSE, or does not allow it.
pub fn device() -> Result<OwnedFd> {
    sys::open("/dev/fuse", libc::O_RDWR).context("cannot open /dev/fuse")
}

/// Creates a detached mount, and returns it with the device by which it will be served: the given one, or a
/// new one.
///
/// # Errors
/// As [`device`].
pub fn mount(given: Option<OwnedFd>) -> Result<(OwnedFd, OwnedFd)> {
    let device = given.map_or_else(device, Ok)?;
    let make = || {
        let fs = sys::open_filesystem(c"fuse")?;
        let number = CString::new(device.as_raw_fd().to_string())?;
        let settings = [(c"fd", &*number), (c"rootmode", c"40000"), (c"user_id", c"0"), (c"group_id", c"0")];
        for (name, value) in settings.into_iter().chain([(c"source", c"fuse-overlayfs")]) {
            sys::configure(&fs, STRING, Some(name), Some(value))?;
        }
        // The kernel checks permissions, because the server does everything for everybody.
        for name in [c"allow_other", c"default_permissions"] {
            sys::configure(&fs, FLAG, Some(name), None)?;
        }
        sys::configure(&fs, CREATE, None, None)?;
        sys::mount_filesystem(&fs)
    };
    Ok((make().context("cannot make a mount of FUSE")?, device))
}

/// Starts the server of a mount, in this user namespace if one is given.
///
/// # Errors
/// The server is not installed, or cannot start.
pub fn serve(layers: &Layers, device: &OwnedFd, users: Option<&OwnedFd>, log: &Path) -> Result<()> {
    let what = || format!("cannot start the layers' server {SERVER}");
    let said = File::create(log).with(|| log.display().to_string())?;
    let mut command = Command::new(SERVER);
    command.args(["-f", "-o", &options(layers)]).arg(format!("/dev/fd/{}", device.as_raw_fd()));
    command.current_dir("/").stdin(Stdio::null()).stdout(said.try_clone().with(what)?).stderr(said);
    let (device, users) = (device.as_raw_fd(), users.map(AsRawFd::as_raw_fd));
    let enter = move || {
        // SAFETY: changes this process, which has one thread, and descriptors that it has.
        unsafe {
            sys::check(libc::fcntl(device, libc::F_SETFD, 0).into())?;
            if let Some(users) = users {
                sys::check(libc::setns(users, libc::CLONE_NEWUSER).into())?;
            }
            libc::setsid();
        }
        Ok(())
    };
    // SAFETY: makes system calls only, between fork and exec.
    unsafe { command.pre_exec(enter) };
    match command.spawn() {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            Err(Error::other("it is not installed (Debian's package fuse-overlayfs)")).with(what)
        }
        Err(e) => Err(e).with(what),
    }
}

/// The mount options: `lowerdir=HIGHEST:…:LOWEST,upperdir=…,workdir=…`.
fn options(layers: &Layers) -> String {
    let all =
        [("lowerdir", layers.list()), ("upperdir", text(&layers.upper)), ("workdir", text(&layers.work))];
    let escaped = |value: &str| value.replace('\\', "\\\\").replace(',', "\\,");
    all.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect::<Vec<_>>().join(",")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_in_names_are_the_names_own() {
        let layers = Layers {
            lower: vec!["/low".into(), "/a:b,c".into()],
            upper: "/u,p".into(),
            work: "/w".into(),
            fuse: true,
        };
        assert_eq!(options(&layers), r"lowerdir=/a\\:b\,c:/low,upperdir=/u\,p,workdir=/w");
    }
}
