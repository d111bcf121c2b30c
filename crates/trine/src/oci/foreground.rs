//! A process of a container in front of this terminal: signals go on to it, and its exit code is this command's.

use super::args::Run;
use super::{create, ended, system};
use crate::code;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use trine_container::{Created, Error, Runtime, sys};

type Result<T> = std::result::Result<T, Error>;

/// `run`.
pub fn run(runtime: &Runtime, args: &Run) -> Result<u8> {
    let signals = if args.detach { None } else { Some(Signals::take()?) };
    if !args.no_subreaper && !args.detach {
        // SAFETY: changes this process.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    }
    let mut created = create(runtime, &args.create, args.detach)?;
    let id = args.create.id.as_str();
    if args.detach {
        let started = created.container.start();
        if started.is_err() && !args.keep {
            drop(created.container.delete(true));
        }
        return started.map(|()| code::OK);
    }
    let status = created.start().and_then(|()| match &signals {
        Some(signals) => signals.accompany(&created),
        None => Ok(0),
    });
    if !args.keep {
        let Created { container, process, .. } = created;
        // Its number is free for others only now that it has been waited for.
        drop(process);
        if status.is_err() && !ended(&container) {
            container.delete(true)?;
        } else {
            drop(container);
            runtime.load(id)?.delete(true)?;
        }
    }
    status.map(|s| sys::exit_code(s) as u8)
}

/// All signals of this process, to be read from a descriptor.
pub struct Signals(OwnedFd);

impl Signals {
    /// Takes them: nothing ends this process but what cannot be taken.
    ///
    /// # Errors
    /// The kernel's.
    pub fn take() -> Result<Signals> {
        // SAFETY: the set is ours; changes this process's mask and makes a descriptor.
        unsafe {
            let mut all = std::mem::zeroed();
            libc::sigfillset(&mut all);
            // Errors of this process's own stay errors.
            for signal in
                [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT, libc::SIGTRAP]
            {
                libc::sigdelset(&mut all, signal);
            }
            libc::sigprocmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
            let fd = libc::signalfd(-1, &all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            let fd = sys::check(fd.into()).map_err(|e| system("cannot take signals", e))?;
            Ok(Signals(OwnedFd::from_raw_fd(fd as RawFd)))
        }
    }

    /// Waits until the process has ended; gives its status as `waitpid(2)` does.
    fn accompany(&self, created: &Created) -> Result<i32> {
        let failed = |e| system("cannot wait for the container", e);
        let mut two = [self.0.as_raw_fd(), created.process.as_raw_fd()].map(|fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        });
        loop {
            // SAFETY: writes an array of ours, of this length.
            let polled = sys::check(unsafe { libc::poll(two.as_mut_ptr(), 2, -1) }.into());
            polled.map_err(failed)?;
            while let Some(signal) = self.next() {
                self.pass(signal, &created.process);
            }
            if two[1].revents != 0 {
                return sys::wait(created.container.record().state.pid).map_err(failed);
            }
        }
    }

    /// The next signal that has come.
    pub fn next(&self) -> Option<i32> {
        // SAFETY: a structure of integers, which the call fills.
        unsafe {
            let mut info: libc::signalfd_siginfo = std::mem::zeroed();
            let size = size_of_val(&info);
            let got = libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size);
            (got == size as isize).then_some(info.ssi_signo as i32)
        }
    }

    fn pass(&self, signal: i32, process: &OwnedFd) {
        // Those that tell about this process itself.
        if ![libc::SIGCHLD, libc::SIGPIPE, libc::SIGURG, libc::SIGWINCH].contains(&signal) {
            drop(sys::signal(process, signal));
        }
    }
}
