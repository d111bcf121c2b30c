//! A terminal for the container's program, from the container's own devpts.

use crate::error::{Context, Error, Result};
use crate::rootfs::paths::Root;
use crate::sys;
use oci_spec::runtime::Process;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

/// Both ends of a terminal.
pub struct Terminal {
    /// The caller's end.
    pub master: OwnedFd,
    /// The program's end.
    pub slave: OwnedFd,
}

impl Terminal {
    /// Opens a terminal.
    ///
    /// # Errors
    /// The container has no devpts.
    pub fn open(root: &Root, process: &Process) -> Result<Terminal> {
        let what = "process.terminal: cannot open a terminal in the container's /dev/pts";
        let flags = libc::O_RDWR | libc::O_NOCTTY;
        let Some(master) = root.open(Path::new("/dev/pts/ptmx"), flags)? else {
            return Err(Error::refused("process.terminal: the container has no devpts at /dev/pts"));
        };
        let unlock = 0i32;
        // SAFETY: reads a number of ours.
        sys::check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlock) }.into())
            .context(what)?;
        // The other end is opened by its descriptor: a name could lead elsewhere.
        // SAFETY: makes a descriptor.
        let slave = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags | libc::O_CLOEXEC) };
        let slave = sys::check(slave.into()).context(what)? as RawFd;
        // SAFETY: just made; nobody else owns it.
        let slave = unsafe { OwnedFd::from_raw_fd(slave) };
        if let Some(size) = process.console_size() {
            resize(&slave, size.height(), size.width());
        }
        Ok(Terminal { master, slave })
    }

    /// Makes the program's end the controlling terminal of this session, and standard input, output and
    /// error.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn become_stdio(&self) -> Result<()> {
        let what = "cannot make the terminal the container's";
        // SAFETY: changes this process's session and descriptors.
        unsafe {
            sys::check(libc::ioctl(self.slave.as_raw_fd(), libc::TIOCSCTTY, 0).into()).context(what)?;
            for fd in 0..3 {
                sys::check(libc::dup2(self.slave.as_raw_fd(), fd).into()).context(what)?;
            }
        }
        Ok(())
    }
}

/// Sets a terminal's size in characters; invalid sizes are ignored.
pub fn resize(terminal: &impl AsRawFd, rows: u64, columns: u64) {
    if let (Ok(rows), Ok(columns)) = (u16::try_from(rows), u16::try_from(columns)) {
        trine_base::terminal::set_size(terminal, (rows, columns));
    }
}
