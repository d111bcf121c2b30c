//! Filters of system calls (seccomp(2)): `linux.seccomp` of the runtime specification becomes a program of classic BPF
//! that the kernel runs before each call.
//!
//! * [`compile`] makes the program: one binary search over ranges of numbers for each ABI, then comparisons of
//!   arguments. [`load`] puts it up; it may run between fork and exec.
//! * [`default_profile`] is what a container gets that brings none of its own.
//!
//! Where the specification leaves something open, decisions are those of libseccomp under runc: a rule for a call
//! without conditions beats those with; otherwise the first that fits counts; two conditions on the same argument are
//! two rules; names that no table has are passed over; a rule that says what happens anyway is none.

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

/// Why a profile does not become a filter.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SeccompError {
    /// The host's own ABI has no table here.
    #[error(
        "linux.seccomp: system calls of this host's architecture ({0}) are not known: run without a profile"
    )]
    Host(&'static str),
    /// `errnoRet` beside an action that returns no error.
    #[error(
        "linux.seccomp: {at} has an errnoRet, which {action} cannot return: remove it, or use SCMP_ACT_ERRNO"
    )]
    Errno {
        /// Which entry.
        at: String,
        /// Its action.
        action: String,
    },
    /// An error number that is none.
    #[error("linux.seccomp: errnoRet {value} of {at} is too large: the largest is {most}")]
    ErrnoRange {
        /// Which entry.
        at: String,
        /// Its value.
        value: u32,
        /// The largest possible.
        most: u32,
    },
    /// An argument that no call has.
    #[error("linux.seccomp: {at} compares argument {index}: calls have arguments 0 to 5")]
    Argument {
        /// Which entry.
        at: String,
        /// Its index.
        index: usize,
    },
    /// A listener would have to answer for the call by which the container is started.
    #[error("linux.seccomp: SCMP_ACT_NOTIFY cannot be used {0}: the container could not be started")]
    Notify(&'static str),
    /// `listenerPath` is missing or useless.
    #[error("linux.seccomp: {0}")]
    Listener(&'static str),
    /// More instructions than the kernel takes.
    #[error("linux.seccomp: the filter has {0} instructions, the kernel takes 4096: use fewer conditions")]
    Long(usize),
}

/// A filter, ready for [`load`].
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

    /// Whether calls are handed to a listener: then [`load`] gives its descriptor.
    pub fn notifies(&self) -> bool {
        self.flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0
    }
}

/// Puts the filter up for this thread and all that it starts, for good; with `SECCOMP_FILTER_FLAG_TSYNC` for all
/// threads. Gives the listener's descriptor (close-on-exec) where the filter has one. Allocates nothing and takes no
/// lock, so a child may call it before it executes.
///
/// # Errors
/// `EACCES` where the thread has neither `no_new_privs` nor `CAP_SYS_ADMIN` in its user namespace; `EBUSY` where it has
/// a filter with a listener already; `EINVAL` for a flag this kernel does not know.
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
        // A thread that could not be given the filter (TSYNC without TSYNC_ESRCH).
        _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}
