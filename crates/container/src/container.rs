//! Operations on an existing container.

use crate::channel::{Channel, Kind};
use crate::error::{Context, Error, Result};
use crate::state::{self, ContainerState, Directory, Record, START, Status};
use crate::{hooks, sys};
use oci_spec::runtime::{LinuxResources, Spec};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use trine_base::{passed_fds, process_stat::ProcessIdentity};
use trine_cgroup::{Manager, OomEvents, Stats};

/// How long a killed process may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it may then wait for others before the runtime stops waiting for it.
const LAST: Duration = Duration::from_secs(1);

/// A container.
#[derive(Debug)]
pub struct Container {
    pub(crate) directory: Directory,
    pub(crate) record: Record,
}

impl Container {
    /// Its record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Its configuration.
    ///
    /// # Errors
    /// The configuration cannot be read.
    pub fn config(&self) -> Result<Spec> {
        self.directory.config()
    }

    /// Whether its first process exists.
    pub fn is_alive(&self) -> bool {
        let Record { state, started, .. } = &self.record;
        ProcessIdentity { pid: state.pid, start: *started }.is_alive()
    }

    /// A descriptor of its first process, which cannot refer to another process later.
    ///
    /// # Errors
    /// The process has ended.
    pub fn process(&self) -> Result<OwnedFd> {
        let fd = sys::pidfd(self.record.state.pid.max(1)).map_err(|_| Error::NotRunning)?;
        // Checked after the descriptor is open.
        if self.is_alive() { Ok(fd) } else { Err(Error::NotRunning) }
    }

    /// Its current status.
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
        // A killed `start` may have left the name of the socket behind; then nobody listens there.
        path.exists() && connect(self.directory.path()).is_ok()
    }

    /// The container's state, as the command `state` shows it.
    pub fn state(&self) -> ContainerState {
        let status = self.status();
        let pid = if status == Status::Stopped { 0 } else { self.record.state.pid };
        ContainerState { status, pid, ..self.record.state.clone() }
    }

    /// Starts its program.
    ///
    /// # Errors
    /// The container does not wait to be started, the program cannot be executed, or a hook failed.
    pub fn start(&self) -> Result<()> {
        match self.status() {
            Status::Created => {}
            Status::Stopped => return Err(Error::refused("cannot start a container that has stopped")),
            other => return Err(Error::refused(format!("cannot start a container in the {other} state"))),
        }
        let config = self.config()?;
        // Opened before it goes on: a short program may have ended by the time it is needed.
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
    /// The container has ended.
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
            // Opened before it is signalled, so that no other process can get its ID meanwhile.
            let Ok(process) = sys::pidfd(pid) else { continue };
            sys::signal(&process, signal).or_else(gone).with(|| format!("cannot signal process {pid}"))?;
        }
        Ok(())
    }

    fn groups(&self) -> Result<&Manager> {
        let groups = self.record.groups.as_ref();
        groups.ok_or_else(|| Error::refused("the container has no control groups"))
    }

    /// The process IDs of its processes, as this process sees them.
    ///
    /// # Errors
    /// It has no control group.
    pub fn processes(&self) -> Result<Vec<i32>> {
        Ok(self.groups()?.processes()?)
    }

    /// Freezes its processes.
    ///
    /// # Errors
    /// It is not running, or has no control group that can freeze it.
    pub fn pause(&self) -> Result<()> {
        match self.status() {
            Status::Running | Status::Created => Ok(self.groups()?.freeze()?),
            other => {
                Err(Error::refused(format!("container not running: it is {other} and cannot be paused")))
            }
        }
    }

    /// Thaws its processes.
    ///
    /// # Errors
    /// It is not paused.
    pub fn resume(&self) -> Result<()> {
        match self.status() {
            Status::Paused => Ok(self.groups()?.thaw()?),
            other => Err(Error::refused(format!("container not paused: it is {other}"))),
        }
    }

    /// Changes its resource limits; returns sentences about limits that were ignored.
    ///
    /// # Errors
    /// The container has ended, or a limit cannot be set.
    pub fn update(&self, resources: &LinuxResources) -> Result<Vec<String>> {
        if !self.is_alive() {
            return Err(Error::NotRunning);
        }
        Ok(self.groups()?.apply(resources)?)
    }

    /// Its resource usage.
    ///
    /// # Errors
    /// The container has ended.
    pub fn stats(&self) -> Result<Stats> {
        if self.is_alive() { Ok(self.groups()?.stats()) } else { Err(Error::NotRunning) }
    }

    /// Notifications that its memory was used up.
    ///
    /// # Errors
    /// It has no control group for this.
    pub fn oom_events(&self) -> Result<OomEvents> {
        Ok(self.groups()?.oom_events()?)
    }

    /// Deletes it: its processes if `force` is set, and its directory.
    ///
    /// # Errors
    /// It is still running.
    pub fn delete(self, force: bool) -> Result<()> {
        match self.status() {
            Status::Stopped => {}
            // A waiting container has executed nothing yet; a container whose creator has gone never will.
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

    /// Kills its first process, and with it, if it has a PID namespace, all others.
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

    /// Whether its first process has ended except for waiting until other processes have been reaped: the
    /// kernel keeps it until every process of its PID namespace is gone, and a process from `exec` has a
    /// parent outside, which may never reap it.
    fn only_waits(&self) -> bool {
        // A user's container may have no control group to check.
        let some = |groups: &Manager| groups.processes().is_ok_and(|all| !all.is_empty());
        state::is_exiting(self.record.state.pid) && !self.record.groups.as_ref().is_some_and(some)
    }

    /// Thaws its processes: frozen by cgroup v1, even killed processes do not end.
    fn thaw(&self) -> Result<()> {
        match self.record.groups.as_ref().filter(|g| g.is_frozen()) {
            Some(groups) => Ok(groups.thaw()?),
            None => Ok(()),
        }
    }

    /// Removes the directory of a container that has ended, and runs its last hooks, whose failure has no
    /// effect.
    pub(crate) fn remove(self) -> Result<()> {
        let config = self.config().ok();
        if let Some(groups) = &self.record.groups {
            // Without a PID namespace of its own, other processes may have outlived the first one.
            if groups.processes().is_ok_and(|all| !all.is_empty()) {
                groups.kill()?;
            }
            groups.remove()?;
        }
        self.directory.remove()?;
        if let Some(h) = config.as_ref().and_then(|c| c.hooks().as_ref()) {
            let state = ContainerState { pid: 0, ..self.record.state };
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

/// Waits until the program of a process has started: its `exec` closes the other end.
pub(crate) fn begun(
    channel: &mut Channel,
    config: &Spec,
    state: &ContainerState,
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
                let what = "the process inside sent an unexpected message";
                return Err(Error::refused(what));
            }
        }
    }
    Ok(())
}

/// Runs the last hooks of a start.
pub(crate) fn started(config: &Spec, state: &ContainerState) -> Result<()> {
    match config.hooks() {
        Some(h) => hooks::run("poststart", h.poststart(), state, Status::Running),
        None => Ok(()),
    }
}

/// Sends the descriptor for system call notifications to the listener (runtime-spec, "Container Process
/// State").
fn notified(config: &Spec, state: &ContainerState, listener: &OwnedFd, pid: i32) -> Result<()> {
    let profile = config.linux().as_ref().and_then(|l| l.seccomp().as_ref());
    let Some((profile, path)) = profile.and_then(|p| Some((p, p.listener_path().as_ref()?))) else {
        return Err(Error::refused("linux.seccomp.listenerPath is missing"));
    };
    let what = || format!("linux.seccomp.listenerPath {}", path.display());
    let status = if pid == state.pid { Status::Creating } else { Status::Running };
    let state = ContainerState { status, ..state.clone() };
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

/// A short path to a socket in a directory: the path of a socket may have at most 107 bytes (unix(7)).
fn short(directory: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(START)
}

fn connect(directory: &Path) -> std::io::Result<UnixStream> {
    let dir = sys::open(directory, libc::O_PATH | libc::O_DIRECTORY)?;
    UnixStream::connect(short(&dir))
}

/// The socket on which a container's first process waits until it is started.
pub(crate) fn listen(directory: &Path) -> Result<OwnedFd> {
    let what = "cannot create the socket for the start";
    let dir = sys::open(directory, libc::O_PATH | libc::O_DIRECTORY).context(what)?;
    Ok(UnixListener::bind(short(&dir)).context(what)?.into())
}
