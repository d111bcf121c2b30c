//! Containers, run by the OCI runtime from a bundle.
//!
//! `run IMAGE` makes the bundle and a record with [`crate::record::Source::Bundle`]; everything after that is here.

use super::network::{self, Connected};
use super::{Kind, Started, Stdio};
use crate::bundle;
use crate::error::{ControlError, refused};
use crate::process;
use crate::record::{self, Record};
use crate::wire::Exec;
use oci_spec::runtime::{
    Box as ConsoleSize, BoxBuilder as ConsoleSizeBuilder, LinuxCapabilitiesBuilder, Process,
};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use trine_container::image::user;
use trine_container::process::caps;
use trine_container::{Container as Inside, CreateOptions, Execution, Runtime};

/// The largest user or group file of a container that is read, in bytes.
const USERS: u64 = 1 << 20;

/// A container.
#[derive(Debug)]
pub struct Container {
    bundle: record::Bundle,
    runtime: Runtime,
    /// Its network, while it runs.
    network: Option<Connected>,
}

impl From<trine_container::Error> for ControlError {
    fn from(e: trine_container::Error) -> ControlError {
        match e.exit_code() {
            Some(code) => ControlError::Command { code, why: e.to_string() },
            None => ControlError::Failed(e.to_string()),
        }
    }
}

/// The runtime that `trine oci` uses as well, so that both show the same containers.
///
/// # Errors
/// Fails where the user has no runtime directory.
pub fn runtime() -> Result<Runtime, ControlError> {
    let dir =
        trine_base::xdg::runtime().map_err(|e| ControlError::host("the directory for containers", e))?;
    Ok(Runtime::new(dir.join("oci")))
}

fn descriptors(stdio: Stdio) -> Result<[Option<OwnedFd>; 3], ControlError> {
    match stdio {
        Stdio::Made(_) => Ok([None, None, None]),
        Stdio::Pipes { input, out, err } => {
            let null = || File::open("/dev/null").map(OwnedFd::from);
            let input = input.map_or_else(null, Ok).map_err(|e| ControlError::host("/dev/null", e))?;
            Ok([Some(input), Some(out), Some(err)])
        }
        Stdio::Terminal(fd) => {
            let clone = || {
                fd.try_clone().map(Some).map_err(|e| ControlError::host("the descriptors of a container", e))
            };
            Ok([clone()?, clone()?, Some(fd)])
        }
    }
}

/// The size of the process's terminal before its first instruction: a program may ask for it only once.
fn size_of(stdio: &Stdio) -> Option<ConsoleSize> {
    let Stdio::Made(Some((rows, columns))) = stdio else { return None };
    ConsoleSizeBuilder::default().height(u64::from(*rows)).width(u64::from(*columns)).build().ok()
}

impl Container {
    /// Creates a guest from a bundle.
    ///
    /// # Errors
    /// As [`runtime`].
    pub fn new(bundle: record::Bundle) -> Result<Container, ControlError> {
        Ok(Container { bundle, runtime: runtime()?, network: None })
    }

    fn load(&self, record: &Record) -> Result<Inside, ControlError> {
        Ok(self.runtime.load(&record.id)?)
    }
}

impl Kind for Container {
    fn makes_terminals(&self) -> bool {
        true
    }

    fn start(&mut self, record: &mut Record, stdio: Stdio) -> Result<Started, ControlError> {
        // What a killed monitor left behind.
        end(&self.runtime, &record.id)?;
        let mut bundle = bundle::load(&self.bundle)?;
        let mut process = bundle.spec.process().clone().unwrap_or_default();
        process.set_terminal(Some(record.options.tty)).set_console_size(size_of(&stdio));
        bundle.spec.set_process(Some(process));
        let options = CreateOptions { stdio: descriptors(stdio)?, ..CreateOptions::default() };
        let mut created = self.runtime.create(&record.id, &bundle, options)?;
        let pid = created.container.record().state.pid;
        let terminal = created.terminal.take();
        let files = bundle::network_files(&self.bundle);
        let started = network::join(record, pid, &bundle.spec, files.as_deref()).and_then(|connected| {
            self.network = connected;
            Ok(created.start()?)
        });
        match started {
            Ok(()) => Ok(Started { pid, terminal }),
            Err(e) => {
                self.network = None;
                // If anything is left in spite of this, it is found again when the container is removed.
                drop(end(&self.runtime, &record.id));
                Err(e)
            }
        }
    }

    fn exec(&mut self, record: &Record, exec: &Exec, stdio: Stdio) -> Result<Started, ControlError> {
        let inside = self.load(record)?;
        let mut process = described(&inside, exec)?;
        process.set_console_size(size_of(&stdio));
        let what = Execution { stdio: descriptors(stdio)?, ..Execution::new(process) };
        let executed = inside.exec(what, |_, _| Ok(()))?;
        Ok(Started { pid: executed.pid, terminal: executed.terminal })
    }

    fn pause(&mut self, record: &Record) -> Result<(), ControlError> {
        Ok(self.load(record)?.pause()?)
    }

    fn resume(&mut self, record: &Record) -> Result<(), ControlError> {
        Ok(self.load(record)?.resume()?)
    }

    fn out_of_memory(&mut self, record: &Record) -> bool {
        let kills = |inside: Inside| inside.record().groups.as_ref()?.stats().memory.map(|m| m.oom_kills);
        self.load(record).ok().and_then(kills).is_some_and(|n| n > 0)
    }

    fn end(&mut self, record: &Record) -> Result<(), ControlError> {
        let ended = end(&self.runtime, &record.id);
        self.network = None;
        let (own, shared) = (std::process::id() as i32, network::shared());
        let left =
            || process::descendants(own).iter().map(|s| s.pid).filter(|pid| !shared.contains(pid)).collect();
        process::until_no_new(left, process::kill);
        ended
    }
}

/// Ends a container and removes it, if it exists.
///
/// # Errors
/// A process does not end, or a control group cannot be removed. The container's state is kept then, so that
/// this can be tried again.
pub fn end(runtime: &Runtime, id: &str) -> Result<(), ControlError> {
    if let Ok(inside) = runtime.load(id) {
        // A frozen process would not end.
        let _ = inside.resume();
        inside.delete(true)?;
    }
    Ok(runtime.clear(id)?)
}

/// The container's own process with the changes that `exec` asks for.
fn described(inside: &Inside, exec: &Exec) -> Result<Process, ControlError> {
    let text = |word: &record::Word| {
        let text = word.0.to_str().map(str::to_string);
        text.ok_or_else(|| {
            ControlError::Refused(format!("'{word}' is not UTF-8, which a container's configuration must be"))
        })
    };
    let texts = |words: &[record::Word]| words.iter().map(text).collect::<Result<Vec<_>, _>>();
    let mut process = inside.config()?.process().clone().unwrap_or_default();
    process.set_args(Some(texts(&exec.command)?)).set_terminal(Some(exec.tty));
    let mut env = process.env().clone().unwrap_or_default();
    for new in texts(&exec.env)? {
        let name = new.split('=').next().unwrap_or_default().to_string() + "=";
        env.retain(|old| !old.starts_with(&name));
        env.push(new);
    }
    let has = |env: &[String], name: &str| env.iter().any(|line| line.starts_with(name));
    // As other engines do; the container's own process may have a terminal or not.
    if exec.tty && !has(&env, "TERM=") {
        env.push("TERM=xterm".into());
    }
    if let Some(cwd) = &exec.cwd {
        process.set_cwd(Path::new(&cwd.0).to_path_buf());
    }
    if let Some(named) = &exec.user {
        let pid = inside.record().state.pid;
        let read = |path: &str| read_inside(pid, path);
        let user = user::find(named, &read).map_err(ControlError::Refused)?;
        let passwd = read("/etc/passwd").map_err(ControlError::Refused)?.unwrap_or_default();
        // Directories that depend on the first process's user are not inherited.
        let first = format!("HOME={}", user::home(&passwd, process.user().uid()));
        if !exec.env.iter().any(|word| word.0.as_encoded_bytes().starts_with(b"HOME="))
            && env.contains(&first)
        {
            env.retain(|line| !line.starts_with("HOME="));
            env.push(format!("HOME={}", user.home));
        }
        process.set_user(user.spec());
    }
    process.set_env(Some(env));
    if exec.privileged {
        let all = caps::every();
        let sets = LinuxCapabilitiesBuilder::default()
            .bounding(all.clone())
            .effective(all.clone())
            .inheritable(all.clone())
            .permitted(all)
            .build();
        let sets = sets.map_err(|e| ControlError::Failed(e.to_string()))?;
        process.set_capabilities(Some(sets)).set_no_new_privileges(Some(false));
    }
    if exec.command.is_empty() {
        return refused("there is no command to execute");
    }
    Ok(process)
}

/// Reads a file of a container; symbolic links are resolved inside it.
fn read_inside(pid: i32, path: &str) -> Result<Option<String>, String> {
    let read = || {
        let root = File::open(format!("/proc/{pid}/root"))?;
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match openat2(root, path, flags, Mode::empty(), how) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            opened => File::from(opened?),
        };
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(USERS).read_to_end(&mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    };
    read().map_err(|e: std::io::Error| format!("{path} of the container cannot be read: {e}"))
}
