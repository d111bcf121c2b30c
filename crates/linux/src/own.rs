//! Trine's own executable, which is executed again for each child of the guest's CPU: it is `/proc/self/exe`,
//! but a program may change to a root without `/proc`.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

/// The open executable and its identity: the program may close the descriptor and open another file with the
/// same number.
struct Kept {
    fd: OwnedFd,
    file: (u64, u64),
}

static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

/// The lowest descriptor that Trine uses, so that the program finds those numbers free that it expects.
pub const LOWEST: RawFd = 500;

fn identity(fd: RawFd) -> Option<(u64, u64)> {
    // SAFETY: a structure of integers, which `fstat` fills.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: writes a structure of ours.
    (unsafe { libc::fstat(fd, &mut stat) } == 0).then_some((stat.st_dev, stat.st_ino))
}

fn open() -> Option<OwnedFd> {
    // SAFETY: reads a literal.
    let fd = unsafe { libc::open(c"/proc/self/exe".as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
    // SAFETY: just opened; nobody else owns it.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Keeps the executable open: the program is about to change its root.
pub fn keep() {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.as_ref().is_some_and(|k| identity(k.fd.as_raw_fd()) == Some(k.file)) {
        return;
    }
    let Some(low) = open() else { return };
    // SAFETY: makes a copy of a descriptor of ours.
    let fd = unsafe { libc::fcntl(low.as_raw_fd(), libc::F_DUPFD_CLOEXEC, LOWEST) };
    // SAFETY: just made; nobody else owns it.
    let fd = if fd >= 0 { unsafe { OwnedFd::from_raw_fd(fd) } } else { low };
    // A file that the program has put in the old one's place stays open.
    if let Some(Kept { fd, .. }) = identity(fd.as_raw_fd()).and_then(|file| kept.replace(Kept { fd, file })) {
        std::mem::forget(fd);
    }
}

/// A descriptor of the executable; `None` if it cannot be opened.
pub fn descriptor() -> Option<OwnedFd> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let fd = kept.as_ref().filter(|k| identity(k.fd.as_raw_fd()) == Some(k.file));
    fd.and_then(|k| k.fd.try_clone().ok()).or_else(open)
}
