//! A container that is there.

use crate::channel::{Channel, Kind};
use crate::error::{Context, Error, Result};
use crate::state::{self, Directory, Record, START, State, Status};
use crate::{hooks, sys};
use oci_spec::runtime::Spec;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a process that was killed may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A container.
#[derive(Debug)]
pub struct Container {
    pub(crate) directory: Directory,
    pub(crate) record: Record,
}

impl Container {
    /// What is kept of it.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Its configuration.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn config(&self) -> Result<Spec> {
        self.directory.config()
    }

    /// Whether its first process is there.
    pub fn is_alive(&self) -> bool {
        let Record { state, started, .. } = &self.record;
        state::began(state.pid) == Some(*started)
    }

    /// Its first process, which no other can take the place of.
    ///
    /// # Errors
    /// It has ended.
    pub fn process(&self) -> Result<OwnedFd> {
        let fd = sys::pidfd(self.record.state.pid.max(1)).map_err(|_| Error::NotRunning)?;
        // Asked after the process is held.
        if self.is_alive() { Ok(fd) } else { Err(Error::NotRunning) }
    }

    /// Where it is in its life now.
    pub fn status(&self) -> Status {
        if !self.is_alive() {
            let making = self.record.state.status == Status::Creating && self.record.state.pid == 0;
            return if making { Status::Creating } else { Status::Stopped };
        }
        if self.record.state.status == Status::Creating {
            return Status::Creating;
        }
        if self.waits() {
            return Status::Created;
        }
        Status::Running
    }

    /// Whether its first process waits to be started.
    fn waits(&self) -> bool {
        let path = self.directory.path().join(START);
        // A starter that was killed may have left the name behind; then nobody listens there.
        path.exists() && connect(self.directory.path()).is_ok()
    }

    /// The container as `state` shows it.
    pub fn state(&self) -> State {
        let status = self.status();
        let pid = if status == Status::Stopped { 0 } else { self.record.state.pid };
        State { status, pid, ..self.record.state.clone() }
    }

    /// Starts its program.
    ///
    /// # Errors
    /// It is not waiting for that; the program cannot be executed; a hook failed.
    pub fn start(&self) -> Result<()> {
        match self.status() {
            Status::Created => {}
            Status::Stopped => return Err(Error::refused("cannot start a container that has stopped")),
            other => return Err(Error::refused(format!("cannot start a container in the {other} state"))),
        }
        let config = self.config()?;
        let stream = connect(self.directory.path()).context("cannot reach the container's first process")?;
        let mut channel = Channel::from_fd(stream.into());
        channel.send(Kind::Go, &[], &[])?;
        drop(std::fs::remove_file(self.directory.path().join(START)));
        begun(&mut channel, &config, &self.record.state)
    }

    /// Sends a signal to its first process, or to all of its processes.
    ///
    /// # Errors
    /// It has ended.
    pub fn kill(&self, signal: i32, _all: bool) -> Result<()> {
        sys::signal(&self.process()?, signal).context("cannot signal the container's first process")
    }

    /// Takes it away: its processes where `force` says so, its directory.
    ///
    /// # Errors
    /// It still runs.
    pub fn delete(self, force: bool) -> Result<()> {
        match self.status() {
            Status::Stopped => {}
            // One that waits has run nothing yet; one that is being made without a maker never will.
            Status::Created => self.end()?,
            _ if force => self.end()?,
            other => {
                return Err(Error::refused(format!(
                    "cannot delete container {} that is not stopped: {other} (--force ends it)",
                    self.record.state.id
                )));
            }
        }
        self.remove()
    }

    /// Ends its first process, and with it, where it has a namespace of processes, all others.
    fn end(&self) -> Result<()> {
        let Ok(process) = self.process() else { return Ok(()) };
        sys::signal(&process, libc::SIGKILL)
            .or_else(gone)
            .context("cannot end the container's first process")?;
        let begin = Instant::now();
        while self.is_alive() && begin.elapsed() < PATIENCE {
            sys::ready(&process, libc::POLLIN, 100)
                .context("cannot wait for the container's first process")?;
        }
        if self.is_alive() {
            return Err(Error::refused("the container's first process does not end"));
        }
        Ok(())
    }

    /// Takes away what is kept of a container that has ended, and runs its last hooks, whose failure changes nothing.
    pub(crate) fn remove(self) -> Result<()> {
        let config = self.config().ok();
        self.directory.remove()?;
        if let Some(h) = config.as_ref().and_then(|c| c.hooks().as_ref()) {
            let state = State { pid: 0, ..self.record.state };
            if let Err(error) = hooks::run("poststop", h.poststop(), &state, Status::Stopped) {
                eprintln!("trine: {error}");
            }
        }
        Ok(())
    }
}

fn gone(error: std::io::Error) -> std::io::Result<()> {
    if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) }
}

/// Waits until the program has begun: its `exec` closes the other end. Then the last hooks of the start run.
pub(crate) fn begun(channel: &mut Channel, config: &Spec, state: &State) -> Result<()> {
    match channel.receive()? {
        None => {}
        Some(frame) if frame.kind == Kind::Failed => return Err(crate::channel::failure(&frame)),
        Some(_) => {
            return Err(Error::refused("the process inside and the runtime do not understand each other"));
        }
    }
    if let Some(h) = config.hooks() {
        hooks::run("poststart", h.poststart(), state, Status::Running)?;
    }
    Ok(())
}

/// A short path to a socket in a directory: a socket's own may have 107 bytes (unix(7)).
fn short(directory: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(START)
}

fn connect(directory: &Path) -> std::io::Result<UnixStream> {
    let dir = sys::open(directory, libc::O_PATH | libc::O_DIRECTORY)?;
    UnixStream::connect(short(&dir))
}

/// The socket that a container's first process waits on until it is started.
pub(crate) fn listen(directory: &Path) -> Result<OwnedFd> {
    let what = "cannot make the socket that the start comes by";
    let dir = sys::open(directory, libc::O_PATH | libc::O_DIRECTORY).context(what)?;
    Ok(UnixListener::bind(short(&dir)).context(what)?.into())
}

/// The descriptors that a caller has handed over (`LISTEN_FDS` of sd_listen_fds(3), `--preserve-fds`).
pub fn duplicate(fd: RawFd) -> Result<OwnedFd> {
    // SAFETY: makes a copy of a descriptor.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    let copy = sys::check(copy.into()).with(|| format!("descriptor {fd}"))? as RawFd;
    // SAFETY: just made; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}
