//! `stop`, `kill`, `pause`, `resume`, `wait`, `rm`.

use crate::client::{Connection, does_not_run};
use crate::error::{ControlError, refused};
use crate::events::Event;
use crate::kinds;
use crate::monitor::repair::{look, settle};
use crate::process;
use crate::record::Record;
use crate::store::{Lock, Place, Store};
use crate::wire::Request;
use std::path::Path;
use std::time::Duration;

/// How long the monitor of an ended guest may take to end.
const LEAVING: Duration = Duration::from_secs(10);
/// How long to wait for an unresponsive monitor after its guest was killed.
const SILENT: Duration = Duration::from_secs(3);

/// Finds a guest by name or id, and reads its current record.
pub fn find(store: &Store, which: &str) -> Result<(Place, Record), ControlError> {
    let place = store.find(which)?;
    let record = look(store, &place).map_err(|e| renamed(e, which))?;
    Ok((place, record))
}

/// In the error for an unknown guest, uses the name that the user gave.
fn renamed(e: ControlError, which: &str) -> ControlError {
    if let ControlError::Unknown(_) = e { ControlError::Unknown(which.into()) } else { e }
}

/// Sends the same request to the monitors of several guests at once; returns a result for each.
fn ask_all(
    store: &Store,
    which: &[String],
    request: impl Fn(&Record) -> Result<Option<Request>, ControlError>,
) -> Vec<Result<(), ControlError>> {
    let asked: Vec<Result<Option<Connection>, ControlError>> = which
        .iter()
        .map(|which| {
            let (place, record) = find(store, which)?;
            let Some(request) = request(&record)? else { return Ok(None) };
            let mut connection = Connection::to(store, &place)?;
            connection.ask(request)?;
            Ok(Some(connection))
        })
        .collect();
    let answer = |connection: Option<Connection>, which: &String| {
        let Some(mut connection) = connection else { return Ok(()) };
        match connection.answer()? {
            Some(()) => Ok(()),
            // The monitor has gone before it received the request, because its guest had ended.
            None => does_not_run(&find(store, which)?.1),
        }
    };
    asked.into_iter().zip(which).map(|(c, which)| answer(c?, which)).collect()
}

/// `trine stop`. A guest that does not run counts as stopped.
pub fn stop(
    store: &Store,
    which: &[String],
    signal: Option<i32>,
    seconds: Option<u64>,
) -> Vec<Result<(), ControlError>> {
    let results = ask_all(store, which, |record| {
        Ok(record.state.status.is_up().then_some(Request::Stop { signal, seconds }))
    });
    let told = results.into_iter().zip(which).map(|(result, which)| {
        match result {
            // It ended by itself between our check and our request, and may have removed itself.
            Err(ControlError::Refused(_)) => match find(store, which) {
                Err(ControlError::Unknown(_)) => Ok(()),
                Ok((_, record)) if !record.state.status.is_up() => Ok(()),
                _ => result,
            },
            result => result,
        }
    });
    told.collect()
}

/// `trine kill`.
pub fn kill(store: &Store, which: &[String], signal: i32) -> Vec<Result<(), ControlError>> {
    ask_all(store, which, |_| Ok(Some(Request::Signal(signal))))
}

/// `trine pause`.
pub fn pause(store: &Store, which: &[String]) -> Vec<Result<(), ControlError>> {
    ask_all(store, which, |_| Ok(Some(Request::Pause)))
}

/// `trine resume`.
pub fn resume(store: &Store, which: &[String]) -> Vec<Result<(), ControlError>> {
    ask_all(store, which, |_| Ok(Some(Request::Resume)))
}

/// `trine snapshot`: saves a machine in a file, and waits until that is complete. `file` is absolute; with `replace` it
/// may exist.
///
/// # Errors
/// There is no such guest, it is not a machine that runs, or the file cannot be written.
pub fn snapshot(store: &Store, which: &str, file: &Path, replace: bool) -> Result<(), ControlError> {
    let (place, record) = find(store, which).map_err(|e| match e {
        ControlError::Unknown(name) => ControlError::Refused(format!(
            "there is no guest '{name}': `trine ps` lists those that can be saved; a machine without a name (`trine run --name`) \
             cannot"
        )),
        other => other,
    })?;
    let mut connection = Connection::to(store, &place)?;
    connection.ask(Request::Snapshot { file: file.as_os_str().into(), replace })?;
    match connection.answer()? {
        Some(()) => Ok(()),
        None => does_not_run(&find(store, &record.id)?.1),
    }
}

/// `trine wait`: returns the guest's exit code when it has ended for good.
///
/// # Errors
/// Fails where there is no such guest, or it was never started.
pub fn wait(store: &Store, which: &str) -> Result<i32, ControlError> {
    loop {
        let (place, record) = find(store, which)?;
        if !record.state.status.is_up() {
            return match record.state.exit_code {
                Some(code) => Ok(code),
                None => refused(format!("'{}' was never started", record.name)),
            };
        }
        let mut connection = match Connection::to(store, &place) {
            Err(ControlError::Refused(_)) => continue,
            connection => connection?,
        };
        connection.ask(Request::Wait)?;
        if let Some(ended) = connection.end()? {
            return Ok(ended.code);
        }
    }
}

/// `trine rm`; `force` ends a running guest first.
///
/// # Errors
/// Fails where it runs and `force` is not set.
pub fn remove(store: &Store, which: &str, force: bool) -> Result<(), ControlError> {
    let (place, record) = find(store, which)?;
    if record.state.status.is_up() && !force {
        let name = &record.name;
        return refused(format!(
            "'{name}' is {}: `trine stop {name}` first, or `trine rm -f {name}`",
            record.state.status.name()
        ));
    }
    match ended_lock(store, &place, &record, force) {
        // A guest with --rm has removed itself.
        Err(ControlError::Unknown(_)) => Ok(()),
        Err(e) => Err(e),
        Ok(lock) => {
            let mut record = place.read()?;
            settle(store, &place, &mut record);
            kinds::forget(&record)?;
            store.remove(&place, &record.name, &lock)?;
            Event::new(&record, "destroy").tell(store);
            Ok(())
        }
    }
}

/// Takes the guest's lock once its monitor has gone; with `force` the monitor is ended.
fn ended_lock(store: &Store, place: &Place, record: &Record, force: bool) -> Result<Lock, ControlError> {
    if let Some(lock) = place.lock_within(Duration::ZERO)? {
        return Ok(lock);
    }
    if force {
        // With no time to stop: SIGKILL at once, and no restart.
        let ask = |mut c: Connection| c.ask(Request::Stop { signal: Some(libc::SIGKILL), seconds: Some(0) });
        let _ = Connection::to(store, place).and_then(ask);
    }
    if let Some(lock) = place.lock_within(if force { SILENT } else { LEAVING })? {
        return Ok(lock);
    }
    if force {
        // A monitor that does not answer is killed; the guest does not outlive it.
        let now = place.read()?;
        process::kill_if_alive(now.traces.monitor);
        if let Some(lock) = place.lock_within(SILENT)? {
            return Ok(lock);
        }
    }
    let name = &record.name;
    refused(format!(
        "'{name}' is running, or its monitor still passes on its output: `trine rm -f {name}` ends both"
    ))
}

/// `trine start --all`: the guests to start after the host has booted, the oldest first: those whose policy
/// is `always`, or `unless-stopped` if the user has not stopped them.
pub fn to_start(store: &Store) -> Vec<String> {
    use crate::record::Restart::{Always, UnlessStopped};
    let (mut found, _) = store.list();
    found.reverse();
    let wanted = |r: &Record| match r.options.restart {
        Always => true,
        UnlessStopped => !r.state.stopped_by_user,
        _ => false,
    };
    let repaired = found.iter().filter_map(|(place, _)| look(store, place).ok());
    repaired.filter(|r| !r.state.status.is_up() && wanted(r)).map(|r| r.id).collect()
}
