//! A container that is there.

use crate::channel::{Channel, Kind};
use crate::error::{Context, Error, Result};
use crate::state::{self, Directory, Record, START, State, Status};
use crate::{hooks, sys};
use oci_spec::runtime::{LinuxResources, Spec};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use trine_base::{passed_fds, process_stat::ProcessIdentity};
use trine_cgroup::{Manager, OomEvents, Stats};

/// How long a process that was killed may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it may then wait for others before it is not waited for any more.
const LAST: Duration = Duration::from_secs(1);

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
        ProcessIdentity { pid: state.pid, start: *started }.is_alive()
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
        let frozen = self.record.groups.as_ref().is_some_and(Manager::is_frozen);
        if frozen { Status::Paused } else { Status::Running }
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
        // Held before it goes on: a short program has ended when it is asked for later.
        let process = self.process()?;
        let stream = connect(self.directory.path()).context("cannot reach the container's first process")?;
        let mut channel = Channel::from_fd(stream.into());
        channel.send(Kind::Go, &[], &[])?;
        if channel.receive()?.is_none_or(|frame| frame.kind != Kind::Ready) {
            return Err(Error::refused("cannot start a container that another command has just started"));
        }
        drop(std::fs::remove_file(self.directory.path().join(START)));
        begun(&mut channel, &config, &self.record.state, &process, self.record.state.pid)?;
        started(&config, &self.record.state)
    }

    /// Sends a signal to its first process, or to all of its processes.
    ///
    /// # Errors
    /// It has ended.
    pub fn kill(&self, signal: i32, all: bool) -> Result<()> {
        if !all {
            sys::signal(&self.process()?, signal).context("cannot signal the container's first process")?;
            return if signal == libc::SIGKILL { self.thaw() } else { Ok(()) };
        }
        let groups = self.groups()?;
        if signal == libc::SIGKILL {
            return Ok(groups.kill()?);
        }
        for pid in groups.processes()? {
            // Held before it is signalled, so that no other process can take its number meanwhile.
            let Ok(process) = sys::pidfd(pid) else { continue };
            sys::signal(&process, signal).or_else(gone).with(|| format!("cannot signal process {pid}"))?;
        }
        Ok(())
    }

    fn groups(&self) -> Result<&Manager> {
        let groups = self.record.groups.as_ref();
        groups.ok_or_else(|| Error::refused("the container has no control groups"))
    }

    /// Numbers of its processes as this process sees them.
    ///
    /// # Errors
    /// It has no control group.
    pub fn processes(&self) -> Result<Vec<i32>> {
        Ok(self.groups()?.processes()?)
    }

    /// Freezes its processes.
    ///
    /// # Errors
    /// It is not running, or has no control group that can.
    pub fn pause(&self) -> Result<()> {
        match self.status() {
            Status::Running | Status::Created => Ok(self.groups()?.freeze()?),
            other => {
                Err(Error::refused(format!("container not running: it is {other} and cannot be paused")))
            }
        }
    }

    /// Lets its processes go on.
    ///
    /// # Errors
    /// It is not paused.
    pub fn resume(&self) -> Result<()> {
        match self.status() {
            Status::Paused => Ok(self.groups()?.thaw()?),
            other => Err(Error::refused(format!("container not paused: it is {other}"))),
        }
    }

    /// Changes its limits; gives sentences about what was passed over.
    ///
    /// # Errors
    /// It has ended, or a limit cannot be set.
    pub fn update(&self, resources: &LinuxResources) -> Result<Vec<String>> {
        if !self.is_alive() {
            return Err(Error::NotRunning);
        }
        Ok(self.groups()?.apply(resources)?)
    }

    /// What it uses.
    ///
    /// # Errors
    /// It has ended.
    pub fn stats(&self) -> Result<Stats> {
        if self.is_alive() { Ok(self.groups()?.stats()) } else { Err(Error::NotRunning) }
    }

    /// News of its memory running out.
    ///
    /// # Errors
    /// It has no control group that tells.
    pub fn oom_events(&self) -> Result<OomEvents> {
        Ok(self.groups()?.oom_events()?)
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
        self.thaw()?;
        let begin = Instant::now();
        while self.is_alive() && begin.elapsed() < PATIENCE {
            if begin.elapsed() > LAST && self.only_waits() {
                return Ok(());
            }
            sys::ready(&process, libc::POLLIN, 100)
                .context("cannot wait for the container's first process")?;
        }
        if self.is_alive() {
            return Err(Error::refused("the container's first process does not end"));
        }
        Ok(())
    }

    /// Whether its first process has done all but to wait until others have been waited for: the kernel keeps it until
    /// every process of its namespace is gone, and one that `exec` made has a parent outside, which may never ask.
    fn only_waits(&self) -> bool {
        // A user's may have no group that could tell.
        let some = |groups: &Manager| groups.processes().is_ok_and(|all| !all.is_empty());
        state::is_exiting(self.record.state.pid) && !self.record.groups.as_ref().is_some_and(some)
    }

    /// Lets what is frozen go on: the first version's freezer holds even those that were killed.
    fn thaw(&self) -> Result<()> {
        match self.record.groups.as_ref().filter(|g| g.is_frozen()) {
            Some(groups) => Ok(groups.thaw()?),
            None => Ok(()),
        }
    }

    /// Takes away what is kept of a container that has ended, and runs its last hooks, whose failure changes nothing.
    pub(crate) fn remove(self) -> Result<()> {
        let config = self.config().ok();
        if let Some(groups) = &self.record.groups {
            // Without a namespace of processes of its own, others may have outlived the first.
            if groups.processes().is_ok_and(|all| !all.is_empty()) {
                groups.kill()?;
            }
            groups.remove()?;
        }
        self.directory.remove()?;
        if let Some(h) = config.as_ref().and_then(|c| c.hooks().as_ref()) {
            let state = State { pid: 0, ..self.record.state };
            for error in hooks::run_all("poststop", h.poststop(), &state, Status::Stopped) {
                eprintln!("trine: {error}");
            }
        }
        Ok(())
    }
}

fn gone(error: std::io::Error) -> std::io::Result<()> {
    if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) }
}

/// Waits until the program of a process has begun: its `exec` closes the other end.
pub(crate) fn begun(
    channel: &mut Channel,
    config: &Spec,
    state: &State,
    process: &OwnedFd,
    pid: i32,
) -> Result<()> {
    while let Some(frame) = channel.receive()? {
        match frame.kind {
            Kind::Failed => return Err(crate::channel::failure(&frame)),
            Kind::Notify => {
                let number = frame.bytes.try_into().map_or(-1, i32::from_le_bytes);
                let what = "linux.seccomp.listenerPath: cannot take the listener";
                let listener = sys::descriptor_of(process, number).context(what)?;
                notified(config, state, &listener, pid)?;
                channel.send(Kind::Go, &[], &[])?;
            }
            _ => {
                let what = "the process inside and the runtime do not understand each other";
                return Err(Error::refused(what));
            }
        }
    }
    Ok(())
}

/// The last hooks of a start.
pub(crate) fn started(config: &Spec, state: &State) -> Result<()> {
    match config.hooks() {
        Some(h) => hooks::run("poststart", h.poststart(), state, Status::Running),
        None => Ok(()),
    }
}

/// Hands the descriptor on which system calls are notified to who listens (runtime-spec, "Container Process State").
fn notified(config: &Spec, state: &State, listener: &OwnedFd, pid: i32) -> Result<()> {
    let profile = config.linux().as_ref().and_then(|l| l.seccomp().as_ref());
    let Some((profile, path)) = profile.and_then(|p| Some((p, p.listener_path().as_ref()?))) else {
        return Err(Error::refused("linux.seccomp.listenerPath is missing"));
    };
    let what = || format!("linux.seccomp.listenerPath {}", path.display());
    let status = if pid == state.pid { Status::Creating } else { Status::Running };
    let state = State { status, ..state.clone() };
    let text = serde_json::json!({
        "ociVersion": state.oci_version,
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": profile.listener_metadata().clone().unwrap_or_default(),
        "state": state,
    });
    let socket = UnixStream::connect(path).with(what)?;
    let text = text.to_string();
    passed_fds::send(&socket, text.as_bytes(), &[listener.as_raw_fd()]).map(drop).with(what)
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
