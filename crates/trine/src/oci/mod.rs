//! `trine oci`: an OCI runtime with the command line of runc.

pub mod args;
mod exec;
mod features;
mod foreground;
mod limits;
mod log;
mod ps;
mod signals;

use crate::{code, oci};
use args::{Create, Format, Oci, Verb};
use clap::Parser;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use trine_base::passed_fds;
use trine_base::replace_file::{self, Durability};
use trine_container::{Bundle, Container, CreateOptions, Created, Error, Runtime, Status};

type Result<T> = std::result::Result<T, Error>;

/// Runs a command line that [`args::line`] has found; returns the exit code.
pub fn run(line: Vec<std::ffi::OsString>) -> u8 {
    crate::be_a_command();
    let oci = match Oci::try_parse_from(line) {
        Ok(oci) => oci,
        Err(error) => {
            drop(error.print());
            return if error.use_stderr() { code::HOST } else { code::OK };
        }
    };
    run_parsed(oci)
}

/// Runs a parsed command line.
pub fn run_parsed(oci: Oci) -> u8 {
    let log = log::Log { file: oci.log.clone(), format: oci.log_format };
    match oci::verb(oci, &log) {
        Ok(code) => code,
        Err(error) => {
            log.error(&error.to_string());
            code::HOST
        }
    }
}

fn verb(oci: Oci, log: &log::Log) -> Result<u8> {
    if oci.version {
        println!("trine version {}\nspec: {}", env!("CARGO_PKG_VERSION"), trine_container::state::VERSION);
        return Ok(code::OK);
    }
    let Some(verb) = oci.verb else { return Err(Error::refused("no verb: `trine oci --help` shows them")) };
    let root = match oci.root {
        Some(root) => std::path::absolute(root).map_err(|error| system("--root", error))?,
        None => trine_base::xdg::runtime().map_err(|error| system("--root", error))?.join("oci"),
    };
    let runtime = Runtime::new(root);
    match verb {
        Verb::Create(args) => {
            log.notes(&create(&runtime, &args, true)?.notes);
            Ok(code::OK)
        }
        Verb::Start(args) => runtime.load(&args.id)?.start().map(|()| code::OK),
        Verb::Run(args) => foreground::run(&runtime, &args, log),
        Verb::State(args) => state(&runtime.load(&args.id)?),
        Verb::Kill(args) => {
            let signal = signals::parse(&args.signal)?;
            runtime.load(&args.id)?.kill(signal, args.all).map(|()| code::OK)
        }
        Verb::Delete(args) => delete(&runtime, &args),
        Verb::List(args) => list(&runtime, &args),
        Verb::Exec(args) => exec::exec(&runtime.load(&args.id)?, args, log),
        Verb::Ps(args) => ps::ps(&runtime.load(&args.id)?, &args),
        Verb::Pause(args) => runtime.load(&args.id)?.pause().map(|()| code::OK),
        Verb::Resume(args) => runtime.load(&args.id)?.resume().map(|()| code::OK),
        Verb::Update(args) => limits::update(&runtime.load(&args.id)?, &args, log),
        Verb::Events(args) => limits::events(&runtime.load(&args.id)?, &args),
        Verb::Features => features::features(),
        Verb::Spec(args) => spec(&args),
    }
}

fn system(what: &str, error: std::io::Error) -> Error {
    Error::System { what: what.into(), error }
}

/// Creates a container. If it is detached, its terminal was sent to the socket.
fn create(runtime: &Runtime, args: &Create, detached: bool) -> Result<Created> {
    let mut bundle = Bundle::load(&args.bundle)?;
    if let Some(process) = bundle.spec.process_mut() {
        activate(process);
        if !detached {
            foreground::size(process);
        }
    }
    let terminal = bundle.spec.process().as_ref().is_some_and(|p| p.terminal() == Some(true));
    let socket = console(args.console_socket.as_deref(), terminal, detached)?;
    let options = CreateOptions {
        preserve: preserved(args.preserve_fds),
        no_new_keyring: args.no_new_keyring,
        no_pivot: args.no_pivot,
        detached,
        ..CreateOptions::default()
    };
    let mut created = runtime.create(&args.id, &bundle, options)?;
    let told = tell(&mut created, socket, args.pid_file.as_deref());
    if let Err(error) = told {
        drop(created.container.delete(true));
        return Err(error);
    }
    Ok(created)
}

/// Tells the program of the sockets that systemd has opened for it (sd_listen_fds(3)).
fn activate(process: &mut oci_spec::runtime::Process) {
    let Ok(count) = std::env::var("LISTEN_FDS") else { return };
    let mut all = process.env().clone().unwrap_or_default();
    all.extend([format!("LISTEN_FDS={count}"), "LISTEN_PID=1".into()]);
    all.extend(std::env::var("LISTEN_FDNAMES").ok().map(|names| format!("LISTEN_FDNAMES={names}")));
    process.set_env(Some(all));
}

/// Number of descriptors, from 3 on, that the program inherits: those asked for, and those of systemd's
/// socket activation.
fn preserved(asked: u32) -> u32 {
    let listen = std::env::var("LISTEN_FDS").ok().and_then(|n| n.parse::<u32>().ok());
    asked.saturating_add(listen.unwrap_or(0))
}

/// The socket to which a terminal is sent.
fn console(path: Option<&Path>, terminal: bool, detached: bool) -> Result<Option<UnixStream>> {
    match path {
        Some(path) if terminal && detached => {
            let what = || format!("--console-socket {}", path.display());
            UnixStream::connect(path).map(Some).map_err(|error| system(&what(), error))
        }
        Some(_) => Err(Error::refused(
            "--console-socket is for containers in the background that have process.terminal",
        )),
        None if terminal && detached => {
            Err(Error::refused("process.terminal in the background needs --console-socket"))
        }
        None => Ok(None),
    }
}

/// Sends the terminal and writes the process ID, as the caller asked.
fn tell(created: &mut Created, socket: Option<UnixStream>, pid_file: Option<&Path>) -> Result<()> {
    if let Some(socket) = socket
        && let Some(terminal) = created.terminal.take()
    {
        send_terminal(&socket, &terminal)?;
    }
    match pid_file {
        Some(path) => write_pid(path, created.container.record().state.pid),
        None => Ok(()),
    }
}

fn send_terminal(socket: &UnixStream, terminal: &OwnedFd) -> Result<()> {
    // The text is the name that the receiver in Go gives the file.
    let sent = passed_fds::send(socket, b"/dev/ptmx", &[terminal.as_raw_fd()]);
    sent.map(drop).map_err(|error| system("--console-socket", error))
}

/// Writes a process ID so that a process that waits for the file finds it complete.
fn write_pid(path: &Path, pid: i32) -> Result<()> {
    let written = replace_file::replace(path, pid.to_string().as_bytes(), 0o666, Durability::Volatile);
    written.map_err(|error| system(&format!("--pid-file {}", path.display()), error))
}

/// A container in the form of `state` and `list`.
fn description(container: &Container) -> serde_json::Value {
    let (record, state) = (container.record(), container.state());
    let mut value = serde_json::to_value(&state).unwrap_or_default();
    value["rootfs"] = record.rootfs.display().to_string().into();
    value["created"] = record.created.clone().into();
    value["owner"] = record.owner.to_string().into();
    value
}

fn print(value: &serde_json::Value) {
    println!("{}", serde_json::to_string_pretty(value).unwrap_or_default());
}

fn state(container: &Container) -> Result<u8> {
    print(&description(container));
    Ok(code::OK)
}

fn delete(runtime: &Runtime, args: &args::Delete) -> Result<u8> {
    match runtime.load(&args.id) {
        Ok(container) => container.delete(args.force)?,
        // A container that was never completed has only its directory.
        Err(Error::Missing(_)) if args.force => runtime.clear(&args.id)?,
        Err(other) => return Err(other),
    }
    Ok(code::OK)
}

fn list(runtime: &Runtime, args: &args::List) -> Result<u8> {
    let all = runtime.list()?;
    if args.quiet {
        all.iter().for_each(|c| println!("{}", c.record().state.id));
    } else if args.format == Format::Json {
        println!("{}", serde_json::Value::from(all.iter().map(description).collect::<Vec<_>>()));
    } else {
        println!("{:<24} {:<8} {:<8} {:<40} {:<30} OWNER", "ID", "PID", "STATUS", "BUNDLE", "CREATED");
        for container in &all {
            let (r, s) = (container.record(), container.state());
            let bundle = s.bundle.display().to_string();
            println!("{:<24} {:<8} {:<8} {bundle:<40} {:<30} {}", s.id, s.pid, s.status, r.created, r.owner);
        }
    }
    Ok(code::OK)
}

/// `spec`.
fn spec(args: &args::Spec) -> Result<u8> {
    let path = args.bundle.join("config.json");
    let users = args.rootless.then(|| {
        // SAFETY: only give numbers.
        unsafe { (libc::geteuid(), libc::getegid()) }
    });
    let spec = trine_container::spec::default::configuration(users);
    let mut text = serde_json::to_string_pretty(&spec).map_err(Error::refused)?;
    text.push('\n');
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
    let written = file.and_then(|mut f| std::io::Write::write_all(&mut f, text.as_bytes()));
    written.map_err(|error| system(&path.display().to_string(), error))?;
    Ok(code::OK)
}

/// Whether a container has ended.
fn ended(container: &Container) -> bool {
    container.status() == Status::Stopped
}
