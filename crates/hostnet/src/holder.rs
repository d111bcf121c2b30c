//! The holder of an ordinary user's group: a small process that owns the user and network namespaces that
//! contain the group's bridge. It waits for a lock that the processes of all members share. It gets the lock
//! when the last of them has ended, however they ended, and then ends as well: namespaces and bridge are
//! gone.

use crate::error::{Doing, Error};
use crate::inside::{self, Place, close_but, detached, errno};
use crate::{Result, sys};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use trine_base::passed_fds;
use trine_base::process_stat::ProcessIdentity;

/// Stays open as long as the holder runs: one end of a pipe whose other end only the holder has.
pub(crate) type Lifeline = OwnedFd;

/// A kernel setting: a file and the text to write. Prepared before the fork, because the child must not
/// allocate.
struct Setting {
    path: &'static std::ffi::CStr,
    text: String,
    needed: bool,
}

/// Maps the user and its group to root of the namespace; no other users exist there.
fn settings() -> [Setting; 5] {
    // SAFETY: take nothing.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    let one = |path, text: String, needed| Setting { path, text, needed };
    [
        one(c"/proc/self/setgroups", "deny".into(), false),
        one(c"/proc/self/uid_map", format!("0 {user} 1"), true),
        one(c"/proc/self/gid_map", format!("0 {group} 1"), true),
        one(c"/proc/sys/net/ipv4/ip_forward", "1".into(), false),
        one(inside::ROUTERS, "0".into(), false),
    ]
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).file(path)
}

fn flock(file: &File, how: i32) -> io::Result<()> {
    // SAFETY: takes no pointers.
    sys::check(unsafe { libc::flock(file.as_raw_fd(), how) }).map(drop)
}

/// Takes a member's share of the lock; `None` where a holder has it, which is about to end.
pub(crate) fn share(path: &Path) -> Result<Option<File>> {
    let file = open(path)?;
    match flock(&file, libc::LOCK_SH | libc::LOCK_NB) {
        Ok(()) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(why) => Err(Error::File { path: path.into(), why }),
    }
}

/// Starts a holder that waits for the lock, of which the caller has a share.
pub(crate) fn start(lock: &Path) -> Result<(ProcessIdentity, Lifeline)> {
    let what = || "cannot start a process to hold the network".to_owned();
    let file = open(lock)?;
    let settings = settings();
    let (ours, theirs) = sys::pair().doing(what)?;
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors, which nobody else has.
    let (line, end) = unsafe {
        sys::check(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC)).doing(what)?;
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    };
    let (say, wait) = (theirs.as_raw_fd(), file.as_raw_fd());
    let mut keep = [say, wait, end.as_raw_fd()];
    keep.sort_unstable();
    let pid = detached(|| {
        close_but(&keep);
        hold(&settings, say, wait)
    })
    .doing(what)?;
    drop(theirs);
    match sys::receive_byte(ours.as_fd()).doing(what)? {
        Some((0, _)) => {}
        Some((number, _)) => {
            let why = io::Error::from_raw_os_error(number.into());
            let what = "no user namespace can be made for the network: ordinary users need sysctl \
                        user.max_user_namespaces above 0 and no policy against it";
            return Err(Error::System { what: what.into(), why });
        }
        None => return Err(io::Error::from(io::ErrorKind::BrokenPipe)).doing(what),
    }
    let process =
        ProcessIdentity::of(pid).ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe)).doing(what)?;
    Ok((process, line))
}

/// The main function of the holder. Makes system calls only.
fn hold(settings: &[Setting], say: i32, wait: i32) -> i32 {
    // SAFETY: changes only this process, which has one thread; constant strings.
    let mut number = unsafe {
        libc::prctl(libc::PR_SET_NAME, c"trine-holder".as_ptr());
        libc::chdir(c"/".as_ptr());
        // Makes its files in /proc belong to the user: by them, others enter its namespaces.
        libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
        if libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) != 0 { errno() } else { 0 }
    };
    if number == 0 {
        let failed = settings.iter().map(|s| (inside::set(s.path, s.text.as_bytes()), s.needed));
        number = failed.filter(|&(n, needed)| needed && n != 0).map(|(n, _)| n).next().unwrap_or(0);
    }
    if passed_fds::send(&say, &[number as u8], &[]).is_err() || number != 0 {
        return 1;
    }
    // SAFETY: descriptors of this process.
    unsafe {
        libc::close(say);
        while libc::flock(wait, libc::LOCK_EX) != 0 {
            if errno() != libc::EINTR {
                return 1;
            }
        }
    }
    0
}

/// Opens the holder's namespaces; `None` where it has ended.
pub(crate) fn place(process: ProcessIdentity) -> Option<Place> {
    let open = |kind: &str| File::open(format!("/proc/{}/ns/{kind}", process.pid)).map(OwnedFd::from);
    let (user, net) = (open("user").ok()?, open("net").ok()?);
    // Only now is it certain that the process ID was still the holder's.
    process.is_alive().then_some(Place { user: Some(user), net })
}

/// Kills a process if it still is the recorded one, and waits until it has ended.
pub(crate) fn end(process: ProcessIdentity) {
    // SAFETY: takes no pointers.
    let Ok(fd) = sys::owned(unsafe { libc::syscall(libc::SYS_pidfd_open, process.pid, 0) } as i32) else {
        return;
    };
    if !process.is_alive() {
        return;
    }
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: a descriptor of that very process; a structure of ours.
    unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), libc::SIGKILL, std::ptr::null::<u8>(), 0);
        libc::poll(&raw mut poll, 1, 5000);
    }
}
