//! `trine run` for guests with a record, which `ps` and the other verbs know.

use super::target::Target;
use crate::args::RunArgs;
use crate::{Refusal, code, run};
use std::ffi::OsString;
use std::io::IsTerminal;
use trine_control::ControlError;
use trine_control::record::{GuestOptions, HealthCheck, KindName, Line, Network, Record, Source, Word};
use trine_control::store::{Place, Store};
use trine_control::verbs::attach::Attached;
use trine_control::verbs::change;
use trine_control::verbs::create::{New, create, start_attached, start_detached};

/// Seconds that a whole Debian has to shut down, unless the user says otherwise.
const SHUT_DOWN_SECONDS: u64 = 60;

/// The part of this command's line from which the guest is started.
fn line(words: &[OsString], args: &RunArgs, kind: KindName) -> Line {
    // A program is followed by `--` and its arguments; a machine has no arguments.
    let options = match kind {
        KindName::Program => words.len().saturating_sub(args.args.len() + 2),
        _ => words.len(),
    };
    Line { words: words.iter().cloned().map(Word).collect(), options }
}

fn health(args: &RunArgs) -> Option<HealthCheck> {
    let command = args.guest.health_cmd.as_ref()?;
    let command = ["/bin/sh", "-c", command].map(Word::from).to_vec();
    Some(HealthCheck { command, ..args.guest.health_times() })
}

/// The options for the record. A machine has its console, and a program in the foreground the command's own
/// input, as without a record; a container has what `-i` and `-t` say.
pub fn options(args: &RunArgs, kind: KindName) -> Result<GuestOptions, Refusal> {
    let guest = &args.guest;
    let front = !guest.detach;
    let (stdin, stdout) = (std::io::stdin().is_terminal(), std::io::stdout().is_terminal());
    if guest.tty && front && !stdin && guest.interactive {
        return Err(Refusal::refused("-t needs a terminal: leave it out where standard input is none"));
    }
    let own_input = kind != KindName::Container && front;
    let tty = match kind {
        KindName::Machine => guest.tty || !front || stdin,
        KindName::Program => guest.tty || (front && stdin && stdout),
        KindName::Container => guest.tty,
    };
    Ok(GuestOptions {
        tty,
        stdin: guest.interactive || own_input || kind == KindName::Machine,
        stdin_once: front,
        remove: guest.rm,
        restart: guest.restart.unwrap_or_default(),
        health: health(args),
        stop_signal: guest.stop_signal,
        stop_seconds: guest.stop_timeout,
        log_bytes: guest.log_bytes(),
        labels: guest.label.iter().cloned().collect(),
        network: Network::default(),
    })
}

/// Creates the guest and runs it; a guest that cannot run is refused before anything is created.
pub fn run(args: &RunArgs, target: &Target, words: &[OsString]) -> Result<u8, Refusal> {
    crate::be_a_command();
    let kind = match target {
        Target::Program { .. } => KindName::Program,
        _ => {
            run::check(args, target)?;
            KindName::Machine
        }
    };
    let flash = args.flash.first().map(|bank| bank.path());
    let file = || {
        args.kernel.as_deref().or(args.restore.as_deref()).or(flash).map(|path| path.display().to_string())
    };
    let what = args.thing.clone().or_else(file).unwrap_or_default();
    let mut options = options(args, kind)?;
    if let Target::Debian(_) = target {
        // Its services take their time to end.
        options.stop_seconds = options.stop_seconds.or(Some(SHUT_DOWN_SECONDS));
    }
    if kind == KindName::Machine && args.container.network.is_private() {
        options.network = args.container.network.wanted()?;
    }
    let new = New {
        name: args.guest.name.clone(),
        kind,
        what,
        args: args.args.iter().cloned().map(Word).collect(),
        source: Source::Command(line(words, args, kind)),
        options,
    };
    begin(args, new)
}

/// Creates a guest of any kind and starts it, detached or with this command attached to it.
pub fn begin(args: &RunArgs, new: New) -> Result<u8, Refusal> {
    begin_with(args, new, |_, _| Ok(()))
}

/// As [`begin`]; `made` creates what the guest needs once it has an id. If that fails, nothing of the guest
/// stays.
pub fn begin_with(
    args: &RunArgs,
    new: New,
    prepare: impl FnOnce(&Place, &mut Record) -> Result<(), ControlError>,
) -> Result<u8, Refusal> {
    let store = Store::open()?;
    let stdin = new.options.stdin;
    let (place, mut record) = create(&store, new)?;
    if let Err(e) = prepare(&place, &mut record) {
        drop(change::remove(&store, &record.id, true));
        return Err(e.into());
    }
    if args.guest.detach {
        start_detached(&store, &place)?;
        let text = match args.guest.json {
            true => serde_json::json!({ "id": record.id, "name": record.name }).to_string(),
            false => record.id,
        };
        super::print(&format!("{text}\n"))?;
        return Ok(code::OK);
    }
    let how = Attached { stdin, proxy: true, keys: args.guest.detach_keys.clone() };
    Ok(start_attached(&store, &place, &record, how)?)
}
