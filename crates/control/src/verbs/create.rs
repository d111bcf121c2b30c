//! `start`, and `run` for a guest that has a record.

use super::attach::{self, Attached};
use crate::client::{Connection, terminal};
use crate::error::{ControlError, refused};
use crate::events::Event;
use crate::monitor::launch::launch;
use crate::monitor::repair::look;
use crate::names;
use crate::record::{GuestOptions, GuestState, KindName, Record, Source, Status, Traces, VERSION, Word};
use crate::store::{Place, Store};
use crate::time::Time;
use crate::wire::Request;
use std::os::unix::ffi::OsStringExt;

/// A guest to be created.
#[derive(Clone, Debug)]
pub struct New {
    /// Its name; `None` generates one.
    pub name: Option<String>,
    /// Its kind.
    pub kind: KindName,
    /// What runs, as the user named it.
    pub what: String,
    /// Its arguments.
    pub args: Vec<Word>,
    /// What it is started from.
    pub source: Source,
    /// Its options.
    pub options: GuestOptions,
}

/// Creates a guest's record.
///
/// # Errors
/// Fails where its name is not valid, or is taken.
pub fn create(store: &Store, new: New) -> Result<(Place, Record), ControlError> {
    if new.options.remove && new.options.restart != crate::record::Restart::No {
        return refused(
            "--rm and --restart contradict each other: a guest that is removed cannot be started again",
        );
    }
    if new.name.as_deref() == Some("") {
        names::check("")?;
    }
    let cwd =
        std::env::current_dir().map_err(|e| ControlError::host("cannot find the current directory", e))?;
    let variable = |(mut name, value): (std::ffi::OsString, std::ffi::OsString)| {
        name.push("=");
        name.push(value);
        Word(name)
    };
    let mut record = Record {
        version: VERSION,
        id: names::id(),
        name: new.name.unwrap_or_default(),
        kind: new.kind,
        what: new.what,
        args: new.args,
        source: new.source,
        cwd: Word(std::ffi::OsString::from_vec(cwd.into_os_string().into_vec())),
        env: std::env::vars_os().map(variable).collect(),
        created: Time::now(),
        options: new.options,
        state: GuestState::default(),
        traces: Traces::default(),
    };
    let place = store.create(&mut record)?;
    Event::new(&record, "create").tell(store);
    Ok((place, record))
}

/// Starts a stopped guest in the background.
///
/// # Errors
/// Fails where it is running already, or cannot start.
pub fn start_detached(store: &Store, place: &Place) -> Result<(), ControlError> {
    launch(place)?;
    let mut connection = Connection::new_one(store, place)?;
    connection.ask(Request::Start)?;
    match connection.answer()? {
        Some(()) => {
            tell_notes(place);
            Ok(())
        }
        None => Err(ControlError::Failed("the guest's monitor has gone before it started the guest".into())),
    }
}

/// Starts a stopped guest and stays attached to it; returns the exit code.
///
/// # Errors
/// Fails where it is running already, or cannot start.
pub fn start_attached(
    store: &Store,
    place: &Place,
    record: &Record,
    how: Attached,
) -> Result<u8, ControlError> {
    launch(place)?;
    let mut connection = Connection::new_one(store, place)?;
    let size = terminal::size().filter(|_| record.options.tty);
    connection.ask(Request::Attach { stdin: how.stdin, owner: true, start: true, size })?;
    connection.answer()?;
    tell_notes(place);
    attach::join(store, place, record, connection, how, true)
}

/// Prints the remarks about a guest that has just started.
fn tell_notes(place: &Place) {
    // A guest that has ended and is gone has no remarks.
    let notes = place.read().map(|record| record.state.network.notes).unwrap_or_default();
    notes.iter().for_each(|note| eprintln!("trine: {note}"));
}

/// `trine start`.
///
/// # Errors
/// Fails where there is no such guest, or it cannot start.
pub fn start(store: &Store, which: &str, attached: Option<Attached>) -> Result<u8, ControlError> {
    let place = store.find(which)?;
    let record = look(store, &place)?;
    match (record.state.status, attached) {
        (Status::Paused, _) => {
            refused(format!("'{}' is paused: `trine resume {}`", record.name, record.name))
        }
        // As Docker does.
        (status, None) if status.is_up() => Ok(0),
        (status, Some(how)) if status.is_up() => attach::attach(store, which, how),
        (_, None) => start_detached(store, &place).map(|()| 0),
        (_, Some(how)) => start_attached(store, &place, &record, how),
    }
}
