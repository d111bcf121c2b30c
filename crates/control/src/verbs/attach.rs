//! `attach` and `exec`.

use crate::client::attach::{Attachment, Outcome, run};
use crate::client::terminal::Keys;
use crate::client::{Connection, does_not_run, terminal};
use crate::error::{ControlError, refused};
use crate::monitor::repair::look;
use crate::record::{KindName, Record};
use crate::store::{Place, Store};
use crate::wire::{Ended, Exec, Request};
use std::io::IsTerminal;

/// The options for attaching a command to a guest.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Whether its input is sent to the guest.
    pub stdin: bool,
    /// Whether its signals are forwarded to the guest.
    pub proxy: bool,
    /// The keys that detach; `None` means the default of the guest's kind.
    pub keys: Option<Keys>,
}

/// The default keys of a kind.
///
/// # Errors
/// Never fails: the defaults are valid.
fn keys(kind: KindName) -> Result<Keys, ControlError> {
    let text = if kind == KindName::Machine { Keys::MACHINE } else { Keys::USUAL };
    Keys::parse(text).map_err(ControlError::Refused)
}

/// The exit code of an ended guest, as a process reports it.
pub fn code(ended: &Ended) -> u8 {
    (ended.code & 0xff) as u8
}

/// Connects the command with a guest that has accepted it; returns the exit code.
///
/// # Errors
/// Fails where the host does, or the monitor is killed.
pub fn join(
    store: &Store,
    place: &Place,
    record: &Record,
    connection: Connection,
    how: Attached,
    owner: bool,
) -> Result<u8, ControlError> {
    let bring = |signal| {
        if let Ok(mut other) = Connection::to(store, place) {
            let _ = other.ask(Request::Signal(signal));
        }
    };
    let keys = how.keys.map_or_else(|| keys(record.kind), Ok)?;
    let signal: Option<&dyn Fn(i32)> = if how.proxy { Some(&bring) } else { None };
    let attachment =
        Attachment { stdin: how.stdin, tty: record.options.tty, keys, signal, owner: owner && how.proxy };
    match run(connection, attachment)? {
        Outcome::Ended(ended) => Ok(code(&ended)),
        Outcome::Detached => Ok(0),
        Outcome::Signal(n) => Ok(128 + n as u8),
        Outcome::Lost(Some(why)) => Err(ControlError::Failed(why)),
        Outcome::Lost(None) => {
            // What is left of the guest is ended now.
            let now = look(store, place);
            let fell_behind = now.is_ok_and(|r| r.state.status.is_up());
            Err(ControlError::Failed(match fell_behind {
                true => format!(
                    "output came faster than it was read: `trine logs {}` shows all of it",
                    record.name
                ),
                false => format!("the monitor of '{}' was killed, and the guest with it", record.name),
            }))
        }
    }
}

/// `trine attach`.
///
/// # Errors
/// Where the guest does not run.
pub fn attach(store: &Store, which: &str, how: Attached) -> Result<u8, ControlError> {
    let place = store.find(which)?;
    let record = look(store, &place)?;
    if !record.state.status.is_up() {
        return does_not_run(&record);
    }
    let mut connection = Connection::to(store, &place)?;
    let size = terminal::size().filter(|_| record.options.tty);
    connection.ask(Request::Attach { stdin: how.stdin, owner: false, start: false, size })?;
    match connection.answer()? {
        Some(()) => join(store, &place, &record, connection, how, false),
        None => does_not_run(&look(store, &place)?),
    }
}

/// `trine exec`.
///
/// # Errors
/// Where the guest does not run, or the command cannot be executed in it.
pub fn exec(store: &Store, which: &str, mut exec: Exec, keys_: Option<Keys>) -> Result<u8, ControlError> {
    let place = store.find(which)?;
    let record = look(store, &place)?;
    if exec.tty && exec.stdin && !std::io::stdin().is_terminal() {
        return refused("-t needs a terminal: leave it out where standard input is none");
    }
    exec.size = terminal::size().filter(|_| exec.tty);
    let mut connection = Connection::to(store, &place)?;
    connection.ask(Request::Exec(exec.clone()))?;
    if connection.answer()?.is_none() {
        return does_not_run(&look(store, &place)?);
    }
    if exec.detach {
        return Ok(0);
    }
    let keys = keys_.map_or_else(|| Keys::parse(Keys::USUAL), Ok).map_err(ControlError::Refused)?;
    let attachment = Attachment { stdin: exec.stdin, tty: exec.tty, keys, signal: None, owner: true };
    match run(connection, attachment)? {
        Outcome::Ended(ended) => Ok(code(&ended)),
        Outcome::Detached => Ok(0),
        Outcome::Signal(n) => Ok(128 + n as u8),
        Outcome::Lost(_) => Err(ControlError::Failed(format!("'{}' has ended", record.name))),
    }
}
