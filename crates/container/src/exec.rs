//! Running another process in an existing container.

use crate::channel::{Channel, Kind};
use crate::container::{self, Container};
use crate::create::{inside_user_namespace, may_set_groups};
use crate::error::{Context, Error, Result};
use crate::launch::{Launch, Launched};
use crate::plan::{Plan, Task};
use crate::state::Status;
use crate::{namespaces, spec, sys};
use oci_spec::runtime::{Linux, Process, Spec};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use trine_cgroup::Below;

/// How often the container's control groups are looked up while the container changes them.
const TRIES: u32 = 5;

/// A process to be run, with options.
pub struct Execution {
    /// The process.
    pub process: Process,
    /// Number of descriptors, from 3 on, that it inherits from the caller.
    pub preserve: u32,
    /// Its standard input, output and error; `None` means the caller's own.
    pub stdio: [Option<OwnedFd>; 3],
    /// Whether it is also created in a paused container, where it waits.
    pub ignore_paused: bool,
    /// Groups below the container's that it joins; empty means the container's own.
    pub groups: Vec<Below>,
}

impl Execution {
    /// A process with the caller's standard input, output and error.
    pub fn new(process: Process) -> Execution {
        Execution {
            process,
            preserve: 0,
            stdio: [None, None, None],
            ignore_paused: false,
            groups: Vec::new(),
        }
    }
}

/// A running process.
#[derive(Debug)]
pub struct Executed {
    /// Its process ID, as this process sees it.
    pub pid: i32,
    /// Its descriptor; it is a child of this process.
    pub process: OwnedFd,
    /// The caller's end of its terminal.
    pub terminal: Option<OwnedFd>,
    /// Sentences about settings that were left out.
    pub notes: Vec<String>,
}

impl Container {
    /// Runs a process in the container. `prepared` is called when everything is ready except the program,
    /// with the process ID and the caller's end of the terminal, which it may take.
    ///
    /// # Errors
    /// The container does not run, the process cannot be created, or its program cannot be executed. No
    /// process is left then.
    pub fn exec(
        &self,
        what: Execution,
        prepared: impl FnOnce(i32, &mut Option<OwnedFd>) -> Result<()>,
    ) -> Result<Executed> {
        spec::process(&what.process)?;
        match self.status() {
            Status::Stopped | Status::Creating => {
                return Err(Error::refused("cannot exec in a stopped container: container not running"));
            }
            Status::Paused if !what.ignore_paused => {
                return Err(Error::refused("cannot exec in a paused container (--ignore-paused does)"));
            }
            _ => {}
        }
        let first = self.process()?;
        let config = self.config()?;
        let mut launched = self.launch(&first, &config, &what)?;
        let done = go(self, &mut launched, config, what, prepared);
        let Launched { pid, pidfd, .. } = launched;
        match done {
            Ok((terminal, notes)) => Ok(Executed { pid, process: pidfd, terminal, notes }),
            Err(error) => {
                drop(sys::signal(&pidfd, libc::SIGKILL));
                drop(sys::wait(pid));
                Err(error)
            }
        }
    }

    /// Creates the process in the container's namespaces and control groups.
    fn launch(&self, first: &OwnedFd, config: &Spec, what: &Execution) -> Result<Launched> {
        let all = joined(config, self.record.state.pid)?;
        let own = |fd: &Option<OwnedFd>| fd.as_ref().map(OwnedFd::try_clone).transpose();
        let [a, b, c] = &what.stdio;
        let stdio = [own(a), own(b), own(c)];
        let [a, b, c] = stdio.map(|fd| fd.context("cannot make a descriptor"));
        let below = match (&self.record.groups, what.groups.as_slice()) {
            (_, []) => None,
            (None, _) => return Err(Error::refused("the container has no control groups")),
            (Some(groups), below) => Some(groups.below(below)?),
        };
        let groups = below.as_ref().or(self.record.groups.as_ref());
        let mut launch = Launch {
            joins: vec![(first.try_clone().context("cannot make a descriptor")?, all)],
            stdio: [a?, b?, c?],
            preserve: what.preserve,
            ..Launch::default()
        };
        for left in (0..TRIES).rev() {
            launch.entry_descriptors = groups.map(|g| g.entry_descriptors()).transpose()?;
            match launch.go() {
                // The container has just created groups below its own group, which then accepts no processes;
                // its processes have moved to one of those.
                Err(Error::System { error, .. }) if left > 0 && error.raw_os_error() == Some(libc::EBUSY) => {
                }
                done => return done,
            }
        }
        Err(Error::NotRunning)
    }
}

/// The namespaces of a container that this process is not in.
fn joined(config: &Spec, pid: i32) -> Result<i32> {
    let list = config.linux().as_ref().and_then(|l| l.namespaces().as_deref()).unwrap_or_default();
    let mut all = namespaces::all(list)?;
    // The kernel does not allow joining one's own user namespace.
    let users = |pid: &str| std::fs::metadata(format!("/proc/{pid}/ns/user")).map(|m| m.ino()).ok();
    if users("self") == users(&pid.to_string()) {
        all &= !libc::CLONE_NEWUSER;
    }
    Ok(all)
}

type Prepared = (Option<OwnedFd>, Vec<String>);

fn go(
    container: &Container,
    launched: &mut Launched,
    config: Spec,
    what: Execution,
    prepared: impl FnOnce(i32, &mut Option<OwnedFd>) -> Result<()>,
) -> Result<Prepared> {
    let state = container.record.state.clone();
    let list = config.linux().as_ref().map(Linux::namespaces);
    let users = list
        .and_then(|l| l.as_deref())
        .is_some_and(|l| namespaces::all(l).is_ok_and(|all| all & libc::CLONE_NEWUSER != 0));
    let mut spec = config;
    spec.set_process(Some(what.process));
    let plan = Plan {
        task: Task::Exec,
        spec,
        state,
        rootfs: container.record.rootfs.clone(),
        layers: None,
        new: 0,
        users: users || inside_user_namespace(),
        may_set_groups: may_set_groups(launched.pid),
        hierarchies: Vec::new(),
        preserve: what.preserve,
        keyring: !container.record.callers_keys,
        pivot: false,
        listens: false,
        trees: Vec::new(),
        hooks: false,
    };
    let text = serde_json::to_vec(&plan).map_err(Error::refused)?;
    let channel: &mut Channel = &mut launched.channel;
    channel.send(Kind::Plan, &text, &[])?;
    drop(launched.executable.take());
    let mut ready = channel.expect(Kind::Ready)?;
    let mut terminal = ready.fds.pop();
    let notes = serde_json::from_slice(&ready.bytes).unwrap_or_default();
    prepared(launched.pid, &mut terminal)?;
    channel.send(Kind::Go, &[], &[])?;
    container::begun(channel, &plan.spec, &plan.state, &launched.pidfd, launched.pid)?;
    Ok((terminal, notes))
}
