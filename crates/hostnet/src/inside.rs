//! A helper process inside a guest's network: it is in the guest's user and network namespaces (and no others
//! of the guest), creates sockets there, and passes them out. A thread could enter a network namespace but
//! not a user namespace, without which an ordinary user may not enter the former.
//!
//! The process is a fork of this one that makes system calls only, keeps no other descriptor open, and ends
//! when its socket's other side is closed. The guest cannot trace it: it is not in the guest's PID namespace
//! and not dumpable.
//! dumpable.

use crate::error::Doing;
use crate::{Result, sys};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use trine_base::passed_fds;

/// A request to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Route = 1,
    Tcp,
    Udp,
    /// A packet socket, to be bound to a link.
    Packet,
    /// Move to a *new* network namespace with the same owner and return a [`Kind::Route`] socket in it; all
    /// further sockets are created there. The namespace lives as long as one of them.
    Apart,
    /// Not a socket: links created from now on ignore router advertisements, which any member could send.
    Guard,
    /// Not a socket: `/dev/net/tun`, whose device is created in this network namespace.
    Tap,
}

impl Kind {
    /// The arguments of socket(2): family, type and protocol.
    fn call(byte: u8) -> Option<(i32, i32, i32)> {
        use libc::{AF_INET, AF_NETLINK, AF_PACKET, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM};
        Some(match byte {
            1 | 5 => (AF_NETLINK, SOCK_RAW, libc::NETLINK_ROUTE),
            2 => (AF_INET, SOCK_STREAM, 0),
            3 => (AF_INET, SOCK_DGRAM, 0),
            // Protocol 0 receives nothing before the socket is bound.
            4 => (AF_PACKET, SOCK_RAW, 0),
            _ => return None,
        })
    }
}

/// The namespaces to enter.
pub(crate) struct Place {
    /// The user namespace, if it is not this process's own.
    pub user: Option<OwnedFd>,
    pub net: OwnedFd,
}

impl Place {
    /// A network namespace and the user namespace that owns it.
    pub fn of(net: BorrowedFd) -> Result<Place> {
        let what = || "the guest's network namespace".to_owned();
        let owner = sys::owner(net).doing(what)?;
        let own = sys::same(owner.as_fd(), sys::namespace("user")?.as_fd()).doing(what)?;
        Ok(Place { user: (!own).then_some(owner), net: net.try_clone_to_owned().doing(what)? })
    }

    /// Enters both, in a process with one thread. Makes system calls only.
    pub fn enter(&self) -> io::Result<()> {
        let user = self.user.as_ref().map_or(-1, |f| f.as_raw_fd());
        match enter(user, self.net.as_raw_fd()) {
            0 => Ok(()),
            number => Err(io::Error::from_raw_os_error(number)),
        }
    }
}

/// Enters both; returns the error number, or 0.
fn enter(user: i32, net: i32) -> i32 {
    // SAFETY: changes only the calling process, which has one thread.
    let failed = unsafe {
        (user >= 0 && libc::setns(user, libc::CLONE_NEWUSER) != 0)
            || libc::setns(net, libc::CLONE_NEWNET) != 0
    };
    if failed { errno() } else { 0 }
}

pub(crate) fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// Forks this process; the child calls `run`, which must make system calls only, and exits. Other code's
/// `wait` does not find the child, since it exits without a signal. Returns its process ID.
pub(crate) fn copy(run: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: with no flags at all this is fork(2), whose child has one thread; that child only runs `run`, which
    // by contract neither allocates nor locks, and leaves by _exit.
    unsafe {
        match libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                let all = u64::MAX;
                libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, 0, 8);
                libc::setsid();
                libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
                libc::_exit(run())
            }
            pid => Ok(pid as i32),
        }
    }
}

/// As [`copy`], but the child is reparented: it outlives this process, and nobody has to wait for it.
pub(crate) fn detached(run: impl FnOnce() -> i32) -> io::Result<i32> {
    let (ours, theirs) = sys::pair()?;
    let to = theirs.as_raw_fd();
    let between = copy(|| {
        // SAFETY: as in `copy`; sends four bytes of ours.
        unsafe {
            let pid = libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) as i32;
            if pid == 0 {
                libc::_exit(run())
            }
            let pid = if pid < 0 { -errno() } else { pid };
            libc::send(to, (&raw const pid).cast(), 4, libc::MSG_NOSIGNAL);
        }
        0
    })?;
    drop(theirs);
    reap(between);
    let mut pid = 0i32;
    // SAFETY: writes at most four bytes into four bytes.
    match unsafe { libc::recv(ours.as_raw_fd(), (&raw mut pid).cast(), 4, 0) } {
        4 if pid > 0 => Ok(pid),
        4 => Err(io::Error::from_raw_os_error(-pid)),
        _ => Err(io::Error::from_raw_os_error(libc::ECHILD)),
    }
}

/// Waits for such a child.
pub(crate) fn reap(pid: i32) {
    // SAFETY: waits for a child of ours, whose number is not given to others before.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) } < 0 {
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

/// Closes every descriptor except these, which must be sorted. Negative numbers are ignored.
pub(crate) fn close_but(keep: &[i32]) {
    let mut from = 0u32;
    for &fd in keep.iter().filter(|&&fd| fd >= 0) {
        let fd = fd as u32;
        if fd > from {
            // SAFETY: closes descriptors of this copy, of which nothing is used any more.
            unsafe { libc::close_range(from, fd - 1, 0) };
        }
        from = fd + 1;
    }
    // SAFETY: as above.
    unsafe { libc::close_range(from, u32::MAX, 0) };
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "its process has ended")
}

/// The process, as seen by its parent.
pub(crate) struct Inside {
    socket: Option<OwnedFd>,
    pid: i32,
}

impl Inside {
    /// Starts the process.
    pub fn start(place: &Place) -> Result<Inside> {
        let what = || "cannot start a process in the guest's network".to_owned();
        let (ours, theirs) = sys::pair().doing(what)?;
        let (user, net) = (place.user.as_ref().map_or(-1, |f| f.as_raw_fd()), place.net.as_raw_fd());
        let socket = theirs.as_raw_fd();
        let mut keep = [user, net, socket];
        keep.sort_unstable();
        let pid = copy(|| {
            close_but(&keep);
            serve(socket, user, net)
        })
        .doing(what)?;
        drop(theirs);
        let inside = Inside { socket: Some(ours), pid };
        inside.answer().doing(|| "cannot enter the guest's network namespace".into())?;
        Ok(inside)
    }

    /// Receives one answer: an error number, or 0 and possibly a descriptor.
    fn answer(&self) -> io::Result<Option<OwnedFd>> {
        match sys::receive_byte(self.socket.as_ref().ok_or_else(gone)?.as_fd())? {
            Some((0, fd)) => Ok(fd),
            Some((number, _)) => Err(io::Error::from_raw_os_error(number.into())),
            None => Err(gone()),
        }
    }

    fn ask(&self, kind: Kind) -> io::Result<Option<OwnedFd>> {
        passed_fds::send(self.socket.as_ref().ok_or_else(gone)?, &[kind as u8], &[])?;
        self.answer()
    }

    /// Creates a socket, or opens a TAP device, in the guest's network: close-on-exec, blocking.
    pub fn socket(&self, kind: Kind) -> io::Result<OwnedFd> {
        self.ask(kind)?.ok_or_else(gone)
    }
}

impl Inside {
    /// See [`Kind::Guard`].
    pub fn guard(&self) -> io::Result<()> {
        self.ask(Kind::Guard).map(drop)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // The process ends when the socket is closed.
        self.socket = None;
        reap(self.pid);
    }
}

/// The main function of the process. Makes system calls only.
fn serve(socket: i32, user: i32, net: i32) -> i32 {
    // SAFETY: names this process for those who look; a constant string.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"trine-inside".as_ptr()) };
    let number = enter(user, net);
    if passed_fds::send(&socket, &[number as u8], &[]).is_err() || number != 0 {
        return 1;
    }
    loop {
        let mut byte = 0u8;
        // SAFETY: reads one byte into one byte.
        match unsafe { libc::recv(socket, (&raw mut byte).cast(), 1, 0) } {
            1 => {}
            -1 if errno() == libc::EINTR => continue,
            _ => return 0,
        }
        let made = make(byte);
        let (number, fd) = match byte == Kind::Guard as u8 {
            true => (guard(), None),
            false if made < 0 => (-made, None),
            false => (0, Some(made)),
        };
        if passed_fds::send(&socket, &[number as u8], fd.as_slice()).is_err() {
            return 1;
        }
        if let Some(fd) = fd {
            // SAFETY: made above, and sent: not used here any more.
            unsafe { libc::close(fd) };
        }
    }
}

/// Writes a setting below `/proc/sys`; returns the error number, or 0. Makes system calls only.
pub(crate) fn set(path: &std::ffi::CStr, text: &[u8]) -> i32 {
    // SAFETY: a path that ends with a zero; writes bytes of ours; closes what it opened.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return errno();
        }
        let written = libc::write(fd, text.as_ptr().cast(), text.len());
        let number = errno();
        libc::close(fd);
        if written < 0 { number } else { 0 }
    }
}

/// See [`Kind::Guard`].
fn guard() -> i32 {
    match set(ROUTERS, b"0") {
        // There is no IPv6 here, or settings are read-only, as in containers of other engines.
        libc::ENOENT | libc::EROFS => 0,
        number => number,
    }
}

/// The setting that says whether links accept router advertisements.
pub(crate) const ROUTERS: &std::ffi::CStr = c"/proc/sys/net/ipv6/conf/default/accept_ra";

/// Returns a descriptor, or a negative error number.
fn make(byte: u8) -> i32 {
    if byte == Kind::Tap as u8 {
        // SAFETY: a constant string.
        let fd = unsafe { libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
        return if fd < 0 { -errno() } else { fd };
    }
    // SAFETY: changes only this process, which has one thread.
    if byte == Kind::Apart as u8 && unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return -errno();
    }
    let Some((family, kind, protocol)) = Kind::call(byte) else { return -libc::EINVAL };
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 { -errno() } else { fd }
}
