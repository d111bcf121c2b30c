//! A container's process in the foreground: signals are forwarded to it, and its exit code becomes this
//! command's.

use super::args::Run;
use super::{create, ended, log::Log, system};
use crate::code;
use oci_spec::runtime::{BoxBuilder, Process};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use trine_base::terminal::{self, RawTerminal};
use trine_container::{Created, Error, Runtime, sys};
use trine_control::signals::Signals;

type Result<T> = std::result::Result<T, Error>;

/// `run`.
pub fn run(runtime: &Runtime, args: &Run, log: &Log) -> Result<u8> {
    let signals = if args.detach { None } else { Some(take_signals()?) };
    if !args.no_subreaper && !args.detach {
        // SAFETY: changes this process.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    }
    let mut created = create(runtime, &args.create, args.detach)?;
    log.notes(&created.notes);
    let Some(mut signals) = signals else {
        let started = created.container.start();
        if started.is_err() && !args.keep {
            drop(created.container.delete(true));
        }
        return started.map(|()| code::OK);
    };
    let tty = created.terminal.take().map(Tty::enter);
    let status = created.start().and_then(|()| {
        accompany(&mut signals, &created.process, created.container.record().state.pid, tty.as_ref())
    });
    drop(tty);
    if !args.keep {
        let Created { container, .. } = created;
        let force = status.is_err() && !ended(&container);
        container.delete(force)?;
    }
    status.map(|s| sys::exit_code(s) as u8)
}

/// Sets the size of a process's terminal to this one's before the process starts, unless its configuration
/// has one: the process may ask for it only once.
pub fn size(process: &mut Process) {
    if process.terminal() == Some(true)
        && process.console_size().is_none()
        && let Some((rows, columns)) = crate::terminal::size()
    {
        let size = BoxBuilder::default().height(u64::from(rows)).width(u64::from(columns)).build();
        process.set_console_size(size.ok());
    }
}

/// Takes all signals of this process: nothing ends it but what cannot be taken.
///
/// # Errors
/// The kernel refused.
pub fn take_signals() -> Result<Signals> {
    Signals::take_all().map_err(|e| system("cannot take signals", e))
}

/// Forwards signals until the process has ended; returns its status as `waitpid(2)` does.
///
/// # Errors
/// The kernel refused.
pub fn accompany(signals: &mut Signals, process: &OwnedFd, pid: i32, tty: Option<&Tty>) -> Result<i32> {
    let failed = |e| system("cannot wait for the container", e);
    let input = if tty.is_some() { 0 } else { -1 };
    let mut all =
        [signals.as_fd().as_raw_fd(), process.as_raw_fd(), tty.map_or(-1, |t| t.master.as_raw_fd()), input]
            .map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    loop {
        // SAFETY: writes an array of ours, of this length.
        let polled = sys::check(unsafe { libc::poll(all.as_mut_ptr(), 4, -1) }.into());
        polled.map_err(failed)?;
        while let Some(signal) = signals.take_next() {
            pass(signal, process, tty);
        }
        if let Some(tty) = tty {
            if all[3].revents != 0 && !tty.input() {
                all[3].fd = -1;
            }
            if all[2].revents != 0 && !tty.output() {
                all[2].fd = -1;
            }
        }
        if all[1].revents != 0 {
            if let Some(tty) = tty {
                tty.rest();
            }
            return sys::wait(pid).map_err(failed);
        }
    }
}

fn pass(signal: i32, process: &OwnedFd, tty: Option<&Tty>) {
    match (signal, tty) {
        (libc::SIGWINCH, Some(tty)) => tty.resize(),
        // These are about this process itself.
        (libc::SIGWINCH | libc::SIGCHLD | libc::SIGPIPE | libc::SIGURG, _) => {}
        // The process may have ended meanwhile.
        _ => drop(sys::signal(process, signal)),
    }
}

/// The terminal of a process, connected with this process's.
pub struct Tty {
    master: File,
    /// What makes this process's terminal raw.
    _raw: RawTerminal,
}

impl Tty {
    /// Connects it: this process's terminal, if it has one, becomes raw.
    pub fn enter(master: OwnedFd) -> Tty {
        let tty = Tty { master: master.into(), _raw: RawTerminal::enter() };
        tty.resize();
        tty
    }

    /// Sets its size to that of this process's terminal.
    fn resize(&self) {
        terminal::copy_size(&0, &self.master);
    }

    /// Forwards typed input; returns whether there may be more.
    fn input(&self) -> bool {
        let mut bytes = [0u8; 4096];
        // SAFETY: writes into a buffer of ours, of this length. `Stdin` is not used because it buffers.
        let got = unsafe { libc::read(0, bytes.as_mut_ptr().cast(), bytes.len()) };
        match usize::try_from(got) {
            Ok(0) => {
                // The end of a pipe is sent as an end of file for programs that read lines.
                drop((&self.master).write_all(&[4]));
                false
            }
            Ok(n) => (&self.master).write_all(&bytes[..n]).is_ok(),
            Err(_) => io::Error::last_os_error().kind() == io::ErrorKind::Interrupted,
        }
    }

    /// Prints output; returns whether there may be more.
    fn output(&self) -> bool {
        let mut bytes = [0u8; 16384];
        // Reading fails once no process has it open any more.
        let Ok(n) = (&self.master).read(&mut bytes) else { return false };
        let mut out = io::stdout().lock();
        n > 0 && out.write_all(&bytes[..n]).and_then(|()| out.flush()).is_ok()
    }

    /// Prints the remaining output.
    fn rest(&self) {
        while sys::ready(&self.master, libc::POLLIN, 0).unwrap_or(false) && self.output() {}
    }
}
