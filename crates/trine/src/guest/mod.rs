//! The verbs for guests, which are the same for machines, programs and containers.

pub mod args;
pub mod boot;
pub mod confine;
pub mod container;
pub mod cp;
pub mod debian;
pub mod disk;
pub mod effects;
pub mod flash;
pub mod machine;
pub mod network;
pub mod options;
mod passt;
pub mod resources;
pub mod restore;
pub mod run;
pub mod share;
pub mod ssh;
pub mod sysroot;
pub mod target;
pub mod trace;
pub mod user_network;
pub mod vsock;

use crate::{Refusal, code};
use args::{
    AttachArgs, EventsArgs, ExecArgs, KillArgs, LogsArgs, PsArgs, RmArgs, StartArgs, StatsArgs, StopArgs,
    TopArgs,
};
use std::io::{IsTerminal, Write};
use trine_control::ControlError;
use trine_control::record::KindName;
use trine_control::store::Store;
use trine_control::verbs::attach::Attached;
use trine_control::verbs::{attach, change, create, events, logs, show, stats};
use trine_control::wire::Exec;

impl From<ControlError> for Refusal {
    fn from(e: ControlError) -> Refusal {
        let code = match &e {
            ControlError::Command { code, .. } => *code,
            other if other.is_refusal() => code::REFUSED,
            _ => code::HOST,
        };
        Refusal { code, message: e.to_string() }
    }
}

/// The id of the record of the machine that this process runs, if it has one.
pub fn own_record() -> Option<String> {
    // Its runtime directory has the id as its name.
    Some(trine_control::machine_link::directory()?.file_name()?.to_str()?.to_owned())
}

/// Prints a text; returns false where nobody reads it, which is not a failure.
pub fn print(text: &str) -> Result<bool, Refusal> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Refusal::host(format!("cannot write to standard output: {e}")))
        }
        written => Ok(written.is_ok()),
    }
}

/// Prints the result for each of several guests: its name where it succeeded. Returns the worst exit code.
fn each(guests: &[String], results: Vec<Result<(), ControlError>>) -> Result<u8, Refusal> {
    let mut worst = code::OK;
    for (guest, result) in guests.iter().zip(results) {
        match result {
            Ok(()) => drop(print(&format!("{guest}\n"))?),
            Err(e) => {
                let refusal = Refusal::from(e);
                eprintln!("trine: {}", refusal.message);
                worst = if worst == code::OK { refusal.code } else { worst.min(refusal.code) };
            }
        }
    }
    Ok(worst)
}

/// `trine ps`.
pub fn ps(args: PsArgs) -> Result<u8, Refusal> {
    let wanted = show::List {
        all: args.all,
        quiet: args.quiet,
        json: args.json,
        whole: args.no_trunc,
        last: args.last,
        filters: args.filter,
        format: args.format,
    };
    let (text, damaged) = show::list(&Store::open()?, &wanted)?;
    damaged.iter().for_each(|d| eprintln!("trine: {d}"));
    print(&text)?;
    Ok(code::OK)
}

/// `trine attach`.
pub fn attach(args: AttachArgs) -> Result<u8, Refusal> {
    let how = Attached { stdin: !args.no_stdin, proxy: args.sig_proxy, keys: args.detach_keys };
    Ok(attach::attach(&Store::open()?, &args.guest, how)?)
}

/// `trine exec`.
pub fn exec(args: ExecArgs) -> Result<u8, Refusal> {
    let store = Store::open()?;
    let kind = store.find(&args.guest)?.read().ok().map(|record| record.kind);
    if kind == Some(KindName::Machine) {
        return ssh::exec(&store, args);
    }
    let exec = Exec {
        command: args.command.into_iter().map(Into::into).collect(),
        env: args.env.into_iter().map(Into::into).collect(),
        cwd: args.workdir.map(Into::into),
        user: args.user,
        privileged: args.privileged,
        tty: args.tty,
        stdin: args.interactive && !args.detach,
        detach: args.detach,
        size: None,
    };
    let container = kind == Some(KindName::Container);
    let done = attach::exec(&store, &args.guest, exec, args.detach_keys);
    Ok(done.map_err(|e| if container { e.of_container() } else { e })?)
}

/// `trine logs`.
pub fn logs(args: LogsArgs) -> Result<u8, Refusal> {
    let wanted = logs::Wanted {
        follow: args.follow,
        tail: args.tail.and_then(|t| t.0),
        since: args.since,
        until: args.until,
        timestamps: args.timestamps,
    };
    logs::logs(&Store::open()?, &args.guest, &wanted)?;
    Ok(code::OK)
}

/// `trine start`.
pub fn start(args: StartArgs) -> Result<u8, Refusal> {
    let store = Store::open()?;
    let attached = args.attach || args.interactive;
    if attached && args.guests.len() > 1 {
        return Err(Refusal::refused("--attach and --interactive are for one guest only"));
    }
    if attached && let Some(guest) = args.guests.first() {
        let how = Attached { stdin: args.interactive, proxy: true, keys: None };
        return Ok(create::start(&store, guest, Some(how))?);
    }
    let guests = if args.all { change::to_start(&store) } else { args.guests };
    let results = guests.iter().map(|g| create::start(&store, g, None).map(drop)).collect();
    each(&guests, results)
}

/// `trine stop`.
pub fn stop(args: StopArgs) -> Result<u8, Refusal> {
    let results = change::stop(&Store::open()?, &args.guests, args.signal, args.time);
    each(&args.guests, results)
}

/// `trine restart`.
pub fn restart(args: StopArgs) -> Result<u8, Refusal> {
    let store = Store::open()?;
    let stopped = change::stop(&store, &args.guests, args.signal, args.time);
    let start = |(guest, stopped): (&String, Result<(), ControlError>)| {
        stopped?;
        create::start(&store, guest, None).map(drop)
    };
    let results = args.guests.iter().zip(stopped).map(start).collect();
    each(&args.guests, results)
}

/// `trine kill`.
pub fn kill(args: KillArgs) -> Result<u8, Refusal> {
    let results = change::kill(&Store::open()?, &args.guests, args.signal);
    each(&args.guests, results)
}

/// `trine pause`.
pub fn pause(guests: &[String]) -> Result<u8, Refusal> {
    each(guests, change::pause(&Store::open()?, guests))
}

/// `trine resume`.
pub fn resume(guests: &[String]) -> Result<u8, Refusal> {
    each(guests, change::resume(&Store::open()?, guests))
}

/// `trine wait`: prints the exit codes.
pub fn wait(guests: &[String]) -> Result<u8, Refusal> {
    let store = Store::open()?;
    let mut worst = code::OK;
    for guest in guests {
        match change::wait(&store, guest) {
            Ok(exit) => drop(print(&format!("{exit}\n"))?),
            Err(e) => {
                let refusal = Refusal::from(e);
                eprintln!("trine: {}", refusal.message);
                worst = refusal.code;
            }
        }
    }
    Ok(worst)
}

/// `trine rm`.
pub fn rm(args: RmArgs) -> Result<u8, Refusal> {
    let store = Store::open()?;
    let remove = |guest: &String| match change::remove(&store, guest, args.force) {
        Err(ControlError::Unknown(_)) if args.force => Ok(()),
        result => result,
    };
    let results = std::thread::scope(|s| {
        let all: Vec<_> = args.guests.iter().map(|g| s.spawn(|| remove(g))).collect();
        let joined = all.into_iter().map(|t| t.join());
        joined.map(|r| r.unwrap_or_else(|_| Err(ControlError::Failed("rm failed".into())))).collect()
    });
    each(&args.guests, results)
}

/// `trine stats`.
pub fn stats(args: StatsArgs) -> Result<u8, Refusal> {
    let store = Store::open()?;
    let mut watcher = stats::Watcher::new(args.guests);
    watcher.look(&store)?;
    let screen = !args.no_stream && !args.json && std::io::stdout().is_terminal();
    loop {
        std::thread::sleep(stats::EVERY);
        let list = watcher.look(&store)?;
        let text = match args.json {
            true => serde_json::to_string(&list).map_err(Refusal::host)? + "\n",
            false => stats::usage_table(&list),
        };
        // Moves to the screen's top left corner and clears everything below.
        let clear = if screen { "\x1b[H\x1b[J" } else { "" };
        if !print(&format!("{clear}{text}"))? || args.no_stream {
            return Ok(code::OK);
        }
    }
}

/// `trine top`.
pub fn top(args: TopArgs) -> Result<u8, Refusal> {
    let list = stats::members(&Store::open()?, &args.guest)?;
    let text = match args.json {
        true => serde_json::to_string_pretty(&list).map_err(Refusal::host)? + "\n",
        false => stats::members_table(&list),
    };
    print(&text)?;
    Ok(code::OK)
}

/// `trine events`.
pub fn events(args: EventsArgs) -> Result<u8, Refusal> {
    let wanted = events::Wanted { since: args.since, until: args.until, filters: args.filter };
    let mut failed = None;
    events::events(&Store::open()?, &wanted, |event| {
        let json = || serde_json::to_string(event).unwrap_or_default() + "\n";
        let told = print(&if args.json { json() } else { events::line(event) });
        told.unwrap_or_else(|refusal| {
            failed = Some(refusal);
            false
        })
    });
    failed.map_or(Ok(code::OK), Err)
}
