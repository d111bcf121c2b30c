//! Signals by name, and signals read from a descriptor.

use crate::error::ControlError;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{FromRawFd, OwnedFd};

/// Names of the standard signals (signal(7), x86-64's numbers).
const NAMES: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGIOT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGPOLL),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// Parses a signal as users name it: `TERM`, `SIGTERM`, `15`, `RTMIN+3`, `RTMAX-1`.
///
/// # Errors
/// A sentence where there is no such signal.
pub fn parse(text: &str) -> Result<i32, String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |n: &str| match n.as_bytes().first() {
        None => Some(34),
        Some(b'+') => n[1..].parse::<i32>().ok().and_then(|n| n.checked_add(34)),
        Some(_) => None,
    };
    let from_last = |n: &str| match n.is_empty() {
        true => Some(64),
        false => n.strip_prefix('-')?.parse::<i32>().ok().map(|n| 64 - n.clamp(0, 64)).filter(|n| *n >= 34),
    };
    let number = match NAMES.iter().find(|(n, _)| *n == name) {
        Some((_, number)) => Some(*number),
        None => name
            .parse()
            .ok()
            .or_else(|| name.strip_prefix("RTMIN").and_then(real_time))
            .or_else(|| from_last(name.strip_prefix("RTMAX")?)),
    };
    let number = number.filter(|n| (1..=64).contains(n));
    number.ok_or_else(|| {
        format!("'{text}' is not a signal: write a name such as TERM, or a number from 1 to 64")
    })
}

/// A signal's name, as `kill -l` prints it.
pub fn name(signal: i32) -> String {
    match NAMES.iter().find(|(_, n)| *n == signal) {
        Some((name, _)) => format!("SIG{name}"),
        None => format!("signal {signal}"),
    }
}

/// Signals of this process, read from a descriptor instead of performing their actions. Children inherit the
/// blocked signals: see [`unblock`].
pub struct Signals(File);

impl Signals {
    /// Blocks these signals for good, to be read here.
    ///
    /// # Errors
    /// Fails where the host has no descriptor left.
    pub fn take(list: &[i32]) -> Result<Signals, ControlError> {
        // SAFETY: `set` is plain data that `sigemptyset` fills.
        let set = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            list.iter().for_each(|s| _ = libc::sigaddset(&mut set, *s));
            set
        };
        Signals::of(&set).map_err(|e| ControlError::host("signals cannot be taken", e))
    }

    /// Blocks all signals for good, to be read here, except those that report errors of this process itself.
    ///
    /// # Errors
    /// Fails where the host has no descriptor left.
    pub fn take_all() -> io::Result<Signals> {
        let errors = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT, libc::SIGTRAP];
        // SAFETY: `set` is plain data that `sigfillset` fills.
        let set = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut set);
            errors.iter().for_each(|s| _ = libc::sigdelset(&mut set, *s));
            set
        };
        Signals::of(&set)
    }

    fn of(set: &libc::sigset_t) -> io::Result<Signals> {
        // SAFETY: reads the set; the descriptor is new and nobody else's.
        unsafe {
            libc::sigprocmask(libc::SIG_BLOCK, set, std::ptr::null_mut());
            let fd = libc::signalfd(-1, set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Signals(File::from(OwnedFd::from_raw_fd(fd))))
        }
    }

    /// Reads the next signal, if one has come.
    pub fn take_next(&mut self) -> Option<i32> {
        // struct signalfd_siginfo: 128 bytes, the number first (signalfd(2)).
        let mut info = [0; 128];
        match self.0.read(&mut info) {
            Ok(128) => Some(i32::from_ne_bytes([info[0], info[1], info[2], info[3]])),
            _ => None,
        }
    }
}

/// Unblocks all signals in this thread.
pub fn unblock() {
    // SAFETY: `set` is plain data that `sigemptyset` fills; allowed between fork and exec (signal-safety(7)).
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
}

impl std::os::fd::AsFd for Signals {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(parse("sigterm"), Ok(15));
        assert_eq!(parse("KILL"), Ok(9));
        assert_eq!(parse("9"), Ok(9));
        assert_eq!(parse("SIGRTMIN+3"), Ok(37));
        for bad in ["", "0", "65", "SIGFOO", "-9", "RTMIN+99", "RTMIN3"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(name(9), "SIGKILL");
    }
}
