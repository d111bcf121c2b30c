//! Cleaning up after a killed monitor: the next command finds the guest's lock free and repairs its state.

use crate::error::ControlError;
use crate::events::Event;
use crate::kinds;
use crate::record::{Joined, Record, Status};
use crate::store::{Place, Store};
use crate::time::Time;
use std::time::Duration;
use trine_base::replace_file::Durability;

/// Exit code of a guest that was ended by SIGKILL.
const KILLED: i32 = 137;

/// Ends what is left of a guest without a monitor, and records that it is dead. The caller holds its lock.
pub fn settle(store: &Store, place: &Place, record: &mut Record) {
    if !is_left(record) {
        return;
    }
    let cleaned = kinds::clean_up(record);
    record.traces.open = false;
    let _ = std::fs::remove_dir_all(store.running(&place.id));
    if !record.state.status.is_up() {
        let _ = place.write(record, Durability::Volatile);
        return;
    }
    let state = &mut record.state;
    state.status = Status::Dead;
    state.pid = None;
    state.network = Joined::default();
    state.finished = Some(Time::now());
    state.exit_code = Some(KILLED);
    state.signal = Some(libc::SIGKILL);
    let mut error = "its monitor was killed, or the host was restarted".to_owned();
    if let Err(left) = cleaned {
        error += &format!("; not all of it could be removed: {left}");
    }
    state.error = Some(error);
    let _ = place.write(record, Durability::Volatile);
    Event::new(record, "die").with("exit_code", KILLED).tell(store);
}

/// Whether there would be something to repair if there is no monitor.
fn is_left(record: &Record) -> bool {
    record.state.status.is_up() || record.traces.open
}

/// Reads the record of a guest, repaired if necessary.
///
/// # Errors
/// Fails where the guest does not exist any more.
pub fn look(store: &Store, place: &Place) -> Result<Record, ControlError> {
    let mut record = place.read()?;
    if !is_left(&record) {
        return Ok(record);
    }
    let Some(lock) = place.lock_within(Duration::ZERO)? else { return Ok(record) };
    // It may have ended since.
    record = place.read()?;
    if is_left(&record) {
        settle(store, place, &mut record);
        if record.options.remove && kinds::forget(&record).is_ok() {
            store.remove(place, &record.name, &lock)?;
            Event::new(&record, "destroy").tell(store);
        }
    }
    Ok(record)
}
