//! The client's side of a guest's socket.

pub mod attach;
pub mod terminal;

use crate::error::{ControlError, refused};
use crate::monitor::launch::connect;
use crate::monitor::repair::look;
use crate::record::Record;
use crate::store::{Place, Store};
use crate::wire::{Ended, Frame, Request};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a live monitor may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a guest's monitor.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
}

/// The error for a guest that does not run.
pub fn does_not_run<T>(record: &Record) -> Result<T, ControlError> {
    let name = &record.name;
    refused(format!(
        "'{name}' does not run ({}): `trine start {name}` starts it again",
        record.state.status.name()
    ))
}

/// Finds a guest that is up. Also returns its runtime directory.
///
/// # Errors
/// Fails where there is no such guest, or it is not up.
pub fn find_up(store: &Store, which: &str) -> Result<(Record, PathBuf), ControlError> {
    let place = store.find(which)?;
    let record = look(store, &place)?;
    if !record.state.status.is_up() {
        return does_not_run(&record);
    }
    let directory = record.traces.directory.clone().unwrap_or_else(|| store.running(&place.id));
    Ok((record, directory))
}

impl Connection {
    /// Connects to a monitor that was started just now.
    ///
    /// # Errors
    /// Fails where it does not answer.
    pub fn new_one(store: &Store, place: &Place) -> Result<Connection, ControlError> {
        let stream =
            connect(&store.running(&place.id)).map_err(|e| ControlError::host("the guest's monitor", e))?;
        Ok(Connection { stream, input: Vec::new() })
    }

    /// Connects to the monitor of a guest that is up.
    ///
    /// # Errors
    /// Fails where the guest is not up, or its monitor does not answer.
    pub fn to(store: &Store, place: &Place) -> Result<Connection, ControlError> {
        let end = Instant::now() + PATIENCE;
        loop {
            let record = look(store, place)?;
            if !record.state.status.is_up() {
                return does_not_run(&record);
            }
            let dir = record.traces.directory.clone().unwrap_or_else(|| store.running(&place.id));
            match connect(&dir) {
                Ok(stream) => return Ok(Connection { stream, input: Vec::new() }),
                // The guest is ending just now, and its record will say so.
                Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
                Err(e) => {
                    return Err(ControlError::Host {
                        what: format!(
                            "the monitor of '{}' does not answer (`trine rm -f` ends it)",
                            record.name
                        ),
                        source: e,
                    });
                }
            }
        }
    }

    /// Sends a request. It is not an error here if the monitor has gone meanwhile; it just does not answer.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn ask(&mut self, request: Request) -> Result<(), ControlError> {
        let sent = self.stream.write_all(&Frame::Request(request).bytes());
        match sent {
            Err(e) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(()),
            sent => sent.map_err(|e| ControlError::host("the guest's monitor", e)),
        }
    }

    /// Receives the next frame; `None` where the monitor has gone.
    fn frame(&mut self) -> Result<Option<Frame>, ControlError> {
        loop {
            let strange = |_| {
                ControlError::Failed(
                    "the guest's monitor sent a message that this trine does not understand".into(),
                )
            };
            if let Some(frame) = Frame::take(&mut self.input).map_err(strange)? {
                return Ok(Some(frame));
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(None),
                Ok(n) => self.input.extend_from_slice(&piece[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(e) => return Err(ControlError::host("the guest's monitor", e)),
            }
        }
    }

    /// Waits for the answer; `None` where the monitor has gone without answering.
    ///
    /// # Errors
    /// The monitor's reason for refusing.
    pub fn answer(&mut self) -> Result<Option<()>, ControlError> {
        match self.frame()? {
            Some(Frame::Reply(Ok(()))) => Ok(Some(())),
            Some(Frame::Reply(Err(why))) => Err(ControlError::Refused(why)),
            Some(Frame::NoCommand(code, why)) => Err(ControlError::Command { code, why }),
            Some(_) | None => Ok(None),
        }
    }

    /// Waits for the guest's end; `None` where the monitor has gone without reporting it.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn end(&mut self) -> Result<Option<Ended>, ControlError> {
        match self.frame()? {
            Some(Frame::Ended(ended)) => Ok(Some(ended)),
            Some(_) | None => Ok(None),
        }
    }
}
