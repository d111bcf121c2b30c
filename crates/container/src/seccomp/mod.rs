//! Seccomp filters (seccomp(2)): compiles `linux.seccomp` of the runtime specification to a classic BPF
//! program that the kernel runs before each system call.
//!
//! * [`compile`] makes the program: for each ABI one binary search over ranges of numbers, then comparisons
//!   of
//!   arguments. [`load`] installs it; it may be called between fork and exec.
//! * [`default_profile`] is the profile of containers without one of their own.
//!
//! Where the specification leaves something open, decisions are those of libseccomp under runc: a rule for a
//! call without conditions takes precedence over those with; otherwise the first match counts; two conditions
//! on the same argument are two rules; unknown names are ignored; a rule with the default action has no
//! effect.

mod bpf;
mod compile;
mod default;
mod numbers;
#[cfg(test)]
mod tests;

pub use compile::{compile, compile_for};
pub use default::default_profile;
pub use numbers::Abi;

use libc::{sock_filter, sock_fprog};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Why a profile cannot be compiled.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SeccompError {
    /// There is no table for the host's own ABI.
    #[error(
        "linux.seccomp: system calls of this host's architecture ({0}) are not known: run without a profile"
    )]
    Host(&'static str),
    /// `errnoRet` is given for an action that returns no error.
    #[error(
        "linux.seccomp: {at} has an errnoRet, which {action} cannot return: remove it, or use SCMP_ACT_ERRNO"
    )]
    Errno {
        /// The entry.
        at: String,
        /// Its action.
        action: String,
    },
    /// The error number is too large.
    #[error("linux.seccomp: errnoRet {value} of {at} is too large: the largest is {most}")]
    ErrnoRange {
        /// The entry.
        at: String,
        /// Its value.
        value: u32,
        /// The largest possible.
        most: u32,
    },
    /// The index of an argument is invalid.
    #[error("linux.seccomp: {at} compares argument {index}: calls have arguments 0 to 5")]
    Argument {
        /// The entry.
        at: String,
        /// Its index.
        index: usize,
    },
    /// A listener would have to answer for the call by which the container is started.
    #[error("linux.seccomp: SCMP_ACT_NOTIFY cannot be used {0}: the container could not be started")]
    Notify(&'static str),
    /// `listenerPath` is missing or has no effect.
    #[error("linux.seccomp: {0}")]
    Listener(&'static str),
    /// The filter has more instructions than the kernel accepts.
    #[error(
        "linux.seccomp: the filter has {0} instructions, but the kernel accepts at most 4096: use fewer conditions"
    )]
    Long(usize),
}

/// A compiled filter, ready for [`load`].
#[derive(Clone)]
pub struct Filter {
    program: Vec<sock_filter>,
    flags: libc::c_ulong,
}

impl Filter {
    /// The instructions.
    pub fn program(&self) -> &[sock_filter] {
        &self.program
    }

    /// Whether the filter notifies a listener: then [`load`] returns its descriptor.
    pub fn notifies(&self) -> bool {
        self.flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0
    }
}

/// Installs the filter for this thread and everything it starts, for good; with `SECCOMP_FILTER_FLAG_TSYNC`
/// for all threads. Returns the listener's descriptor (close-on-exec) if the filter has one. Allocates
/// nothing and takes no lock, so that a child can call it before `exec`.
///
/// # Errors
/// `EACCES` if the thread has neither `no_new_privs` nor `CAP_SYS_ADMIN` in its user namespace; `EBUSY` if it
/// has a filter with a listener already; `EINVAL` for a flag that this kernel does not know.
pub fn load(filter: &Filter) -> io::Result<Option<OwnedFd>> {
    // The length is at most 4096.
    let program = sock_fprog { len: filter.program.len() as u16, filter: filter.program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, which lives until after the call.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, filter.flags, &raw const program)
    };
    match result {
        ..0 => Err(io::Error::last_os_error()),
        // SAFETY: a descriptor made just now, for us.
        fd if filter.notifies() => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) })),
        0 => Ok(None),
        // A thread could not be given the filter (TSYNC without TSYNC_ESRCH).
        _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}
