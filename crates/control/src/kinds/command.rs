//! Machines and programs: a child that runs `trine` in the foreground.

use super::network::{self, Connected};
use super::{Kind, Started, Stdio};
use crate::error::{ControlError, refused};
use crate::machine_link::{self, Ask, Link};
use crate::process;
use crate::record::{KindName, Line, Record, Word};
use crate::wire::{Exec, Size};
use rustix::process as host;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command as Child;
use trine_base::terminal::set_size;
use trine_machine::snapshot::{NewFiles, SnapshotError};

/// This executable, even if its file has been replaced since it was started.
pub const OWN: &str = "/proc/self/exe";
/// The hidden verb that runs a thing in the foreground, as `trine run` does; options for guests are ignored.
pub const GUEST_VERB: &str = "__guest";
/// The hidden verb that runs another command with a program's options.
pub const EXEC_VERB: &str = "__exec";

/// A machine or a program.
#[derive(Debug)]
pub struct Command {
    kind: KindName,
    line: Line,
    /// The connection to a running machine, for requests that signals cannot express.
    link: Option<Link>,
    /// The files of the snapshot that the machine writes.
    saving: Option<NewFiles>,
    /// The private network of a running machine.
    network: Option<Connected>,
}

impl Command {
    /// Creates a guest of this kind from a command line.
    pub fn new(kind: KindName, line: Line) -> Command {
        Command { kind, line, link: None, saving: None, network: None }
    }
}

/// Sets an environment of `NAME=VALUE` words in place of the command's own.
fn set_environment(child: &mut Child, env: &[Word]) {
    child.env_clear();
    for word in env {
        let bytes = word.0.as_bytes();
        let at = bytes.iter().position(|&b| b == b'=').unwrap_or(bytes.len());
        child
            .env(OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(bytes.get(at + 1..).unwrap_or_default()));
    }
}

/// Starts a child in a new session, which ends when this process does. It inherits `passed` besides its
/// standard descriptors.
fn spawn(child: &mut Child, stdio: Stdio, passed: Vec<OwnedFd>) -> Result<Started, ControlError> {
    let clone =
        |fd: &OwnedFd| fd.try_clone().map_err(|e| ControlError::host("the descriptors of a guest", e));
    let terminal = match stdio {
        Stdio::Terminal(fd) => {
            child.stdin(clone(&fd)?).stdout(clone(&fd)?).stderr(fd);
            true
        }
        Stdio::Made(_) => return refused("the terminal must exist before the child"),
        Stdio::Pipes { input, out, err } => {
            child.stdin(input.map_or(std::process::Stdio::null(), Into::into)).stdout(out).stderr(err);
            false
        }
    };
    let monitor = host::getpid();
    let prepare = move || {
        crate::signals::unblock();
        host::setsid()?;
        if terminal {
            host::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        host::set_parent_process_death_signal(Some(host::Signal::KILL))?;
        passed.iter().try_for_each(machine_link::let_inherit)?;
        // The monitor may have ended before the death signal was set.
        if host::getppid() != Some(monitor) {
            Err(std::io::Error::other("the monitor has ended"))
        } else {
            Ok(())
        }
    };
    // SAFETY: system calls only, between fork and exec.
    unsafe { child.pre_exec(prepare) };
    let started = child.spawn();
    started
        .map(|c| Started { pid: c.id() as i32, terminal: None })
        .map_err(|e| ControlError::host("the guest cannot be started", e))
}

impl Command {
    fn child(&self, record: &Record, verb: &str, words: &[Word], cwd: &Word) -> Result<Child, ControlError> {
        if !Path::new(&cwd.0).is_dir() {
            return refused(format!(
                "{cwd} is not a directory any more: the guest '{}' was created there",
                record.name
            ));
        }
        let mut child = Child::new(OWN);
        child.arg0("trine").arg(verb).args(words).current_dir(&cwd.0);
        set_environment(&mut child, &record.env);
        Ok(child)
    }
}

impl Kind for Command {
    fn start(&mut self, record: &mut Record, stdio: Stdio) -> Result<Started, ControlError> {
        let mut child = self.child(record, GUEST_VERB, &self.line.words, &record.cwd)?;
        if self.kind != KindName::Machine {
            return spawn(&mut child, stdio, Vec::new());
        }
        let (link, theirs) = Link::new()?;
        let (name, value) = machine_link::variable(&theirs);
        child.env(name, value);
        if let Some(directory) = &record.traces.directory {
            child.env(machine_link::DIRECTORY, directory);
        }
        let mut passed = vec![theirs];
        if let Some((connected, port)) = network::join_machine(record)? {
            let (name, value) = port.variable()?;
            child.env(name, value);
            passed.extend([port.tap, port.hosts]);
            self.network = Some(connected);
        }
        self.link = Some(link);
        let started = spawn(&mut child, stdio, passed);
        if started.is_err() {
            self.network = None;
        }
        started
    }

    fn exec(&mut self, record: &Record, exec: &Exec, stdio: Stdio) -> Result<Started, ControlError> {
        if self.kind == KindName::Machine {
            let name = &record.name;
            return refused(format!(
                "'{name}' is a machine, whose own SSH server starts commands: use `trine exec {name}`, or its console by \
                 `trine attach {name}`"
            ));
        }
        if exec.user.is_some() || exec.privileged {
            return refused(format!(
                "'{}' is a program: only containers have users and privileges",
                record.name
            ));
        }
        let mut words = self.line.words.get(..self.line.options).unwrap_or_default().to_vec();
        words.extend(exec.env.iter().flat_map(|e| ["--env".into(), e.clone()]));
        words.extend(exec.cwd.iter().flat_map(|d| ["--cwd".into(), d.clone()]));
        let Some((name, args)) = exec.command.split_first() else {
            return refused("there is no command to execute");
        };
        words.extend([name.clone(), "--".into()]);
        words.extend(args.iter().cloned());
        spawn(&mut self.child(record, EXEC_VERB, &words, &record.cwd)?, stdio, Vec::new())
    }

    fn pause(&mut self, _: &Record) -> Result<(), ControlError> {
        if let Some(link) = &mut self.link {
            return link.ask(Ask::Pause).map(drop);
        }
        process::until_no_new(descendants, |pid| _ = process::send(pid, libc::SIGSTOP));
        Ok(())
    }

    fn resume(&mut self, _: &Record) -> Result<(), ControlError> {
        if let Some(link) = &mut self.link {
            return link.ask(Ask::Resume).map(drop);
        }
        descendants().into_iter().for_each(|pid| _ = process::send(pid, libc::SIGCONT));
        Ok(())
    }

    fn snapshot(&mut self, record: &Record, file: &Word, replace: bool) -> Result<(), ControlError> {
        let Some(link) = &mut self.link else {
            return refused(format!("'{}' is a {}: only machines can be saved", record.name, record.kind));
        };
        let copied = link.ask(Ask::Status)?.copied_disks;
        let places: Vec<usize> = (0..32).filter(|place| copied >> place & 1 != 0).collect();
        let failed = |e: SnapshotError| ControlError::Failed(e.to_string());
        // The machine is confined: it can write files that it is given, and make none.
        let files = NewFiles::create(Path::new(&file.0), replace, &places).map_err(failed)?;
        link.ask_with(Ask::Snapshot { file: file.clone() }, &files.files().collect::<Vec<_>>())?;
        self.saving = Some(files);
        Ok(())
    }

    fn saved(&mut self) -> Result<bool, ControlError> {
        let Some(link) = &mut self.link else {
            return Err(ControlError::Failed("the machine has ended".into()));
        };
        let files = match link.ask(Ask::Saved) {
            Ok(status) if status.saving => return Ok(false),
            answer => answer.map(|_| self.saving.take()).inspect_err(|_| self.saving = None)?,
        };
        let put = files.map_or(Ok(()), NewFiles::put);
        put.map(|()| true).map_err(|e| ControlError::Failed(e.to_string()))
    }

    fn ask_to_end(&mut self, record: &Record, signal: i32) -> bool {
        let power_off = self.link.as_mut().filter(|_| signal == libc::SIGTERM);
        power_off.is_some_and(|link| link.tell(Ask::PowerOff).is_ok()) || self.signal(record, signal)
    }

    fn resized(&mut self, size: Size) {
        // A machine that has just ended does not need it.
        self.link.iter_mut().for_each(|link| drop(link.tell(Ask::TerminalSize(size))));
    }

    fn end(&mut self, _: &Record) -> Result<(), ControlError> {
        self.link = None;
        self.saving = None;
        let was_connected = self.network.take().is_some();
        // The processes that a network's members share may be this monitor's children.
        let shared = if was_connected { network::shared() } else { Vec::new() };
        let left = || descendants().into_iter().filter(|pid| !shared.contains(pid)).collect();
        process::until_no_new(left, process::kill);
        Ok(())
    }
}

/// All descendants of this process, which is the guest's monitor.
fn descendants() -> Vec<i32> {
    let own = std::process::id() as i32;
    process::descendants(own).iter().map(|s| s.pid).collect()
}

/// Opens a terminal: the monitor's side and the guest's.
///
/// # Errors
/// Fails where the host has none left.
pub fn terminal(size: Option<Size>) -> Result<(OwnedFd, OwnedFd), ControlError> {
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let go = || -> rustix::io::Result<_> {
        let own = openpt(flags)?;
        unlockpt(&own)?;
        let guests = ioctl_tiocgptpeer(&own, flags)?;
        Ok((own, guests))
    };
    let (own, guests) = go().map_err(|e| ControlError::host("cannot open a terminal for the guest", e))?;
    if let Some(size) = size {
        set_size(&own, size);
    }
    Ok((own, guests))
}
