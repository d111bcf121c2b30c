//! `trine oci exec`.

use super::args::Exec;
use super::foreground::{self, Tty};
use super::{console, log::Log, preserved, send_terminal, system, write_pid};
use crate::code;
use oci_spec::runtime::{Capability, Process};
use std::collections::HashSet;
use std::path::Path;
use trine_container::{Below, Container, Error, Execution, sys};

type Result<T> = std::result::Result<T, Error>;

/// Runs another process in a container.
pub fn exec(container: &Container, args: Exec, log: &Log) -> Result<u8> {
    let mut process = match &args.process {
        Some(path) => read(path)?,
        None => described(container, &args)?,
    };
    let terminal = process.terminal() == Some(true);
    if !args.detach {
        foreground::size(&mut process);
    }
    let socket = console(args.console_socket.as_deref(), terminal, args.detach)?;
    let signals = if args.detach { None } else { Some(foreground::take_signals()?) };
    let execution = Execution {
        preserve: preserved(args.preserve_fds),
        ignore_paused: args.ignore_paused,
        groups: args.cgroup.iter().map(|text| below(text)).collect(),
        ..Execution::new(process)
    };
    let executed = container.exec(execution, |pid, terminal| {
        if let Some(socket) = &socket
            && let Some(terminal) = terminal.take()
        {
            send_terminal(socket, &terminal)?;
        }
        args.pid_file.as_deref().map_or(Ok(()), |path| write_pid(path, pid))
    })?;
    log.notes(&executed.notes);
    match signals {
        None => Ok(code::OK),
        Some(mut signals) => {
            let tty = executed.terminal.map(Tty::enter);
            let status = foreground::accompany(&mut signals, &executed.process, executed.pid, tty.as_ref())?;
            Ok(sys::exit_code(status) as u8)
        }
    }
}

/// Parses `--cgroup`: a group, or for cgroup v1 controllers and their group.
fn below(text: &str) -> Below {
    match text.split_once(':') {
        Some((names, dir)) => {
            Below { controllers: names.split(',').map(str::to_owned).collect(), dir: dir.into() }
        }
        None => Below { controllers: Vec::new(), dir: text.into() },
    }
}

fn read(path: &Path) -> Result<Process> {
    let what = || format!("--process {}", path.display());
    let text = std::fs::read(path).map_err(|error| system(&what(), error))?;
    serde_json::from_slice(&text).map_err(|error| Error::refused(format!("{}: {error}", what())))
}

/// The container's own process with the changes that the options ask for.
fn described(container: &Container, args: &Exec) -> Result<Process> {
    if args.line.is_empty() {
        return Err(Error::refused("exec needs a command, or --process"));
    }
    let mut process = container.config()?.process().clone().unwrap_or_default();
    process.set_args(Some(args.line.clone()));
    process.set_terminal(Some(args.tty));
    process.set_env(Some(process.env().iter().flatten().chain(&args.env).cloned().collect()));
    if let Some(cwd) = &args.cwd {
        process.set_cwd(cwd.clone());
    }
    if let Some(user) = &args.user {
        let (uid, gid) = user.split_once(':').map_or((user.as_str(), None), |(u, g)| (u, Some(g)));
        let number = |text: &str| {
            text.parse::<u32>().map_err(|_| Error::refused(format!("--user {user}: this is not a number")))
        };
        let mut new = process.user().clone();
        new.set_uid(number(uid)?);
        if let Some(gid) = gid {
            new.set_gid(number(gid)?);
        }
        process.set_user(new);
    }
    if !args.additional_gids.is_empty() {
        let mut user = process.user().clone();
        // As with runc: in addition to those of the container's own process.
        let all = user.additional_gids().iter().flatten().chain(&args.additional_gids).copied().collect();
        user.set_additional_gids(Some(all));
        process.set_user(user);
    }
    if args.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    if args.apparmor.is_some() {
        process.set_apparmor_profile(args.apparmor.clone());
    }
    if args.process_label.is_some() {
        process.set_selinux_label(args.process_label.clone());
    }
    if !args.cap.is_empty() {
        grant(&mut process, &args.cap)?;
    }
    Ok(process)
}

/// Adds capabilities to those of a process.
fn grant(process: &mut Process, names: &[String]) -> Result<()> {
    let list = serde_json::Value::from(names.to_vec());
    let list: HashSet<Capability> =
        serde_json::from_value(list).map_err(|e| Error::refused(format!("--cap: {e}")))?;
    let none = serde_json::from_str("{}").map_err(Error::refused)?;
    let mut all = process.capabilities().clone().unwrap_or(none);
    let with = |old: &Option<HashSet<Capability>>| Some(old.iter().flatten().chain(&list).copied().collect());
    let (bounding, effective) = (with(all.bounding()), with(all.effective()));
    let permitted = with(all.permitted());
    all.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
    process.set_capabilities(Some(all));
    Ok(())
}
