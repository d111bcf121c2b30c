//! The differences between the three kinds of guests. Everything else is done by the monitor.
//!
//! * [`command`]: machines and programs are children that run `trine` in the foreground.
//! * [`container`]: containers are the OCI runtime's.
//! * `network`: how containers and machines are part of a network.

pub mod command;
pub mod container;
mod network;

use crate::error::{ControlError, refused};
use crate::process;
use crate::record::{Record, Source, Word};
use crate::wire::{Exec, Size};
use std::os::fd::OwnedFd;

/// The standard descriptors that a process starts with.
#[derive(Debug)]
pub enum Stdio {
    /// A terminal of its own, which becomes its controlling terminal.
    Terminal(OwnedFd),
    /// A terminal that the kind creates, of this size if it is known.
    Made(Option<Size>),
    /// Pipes; without `input` there is no standard input.
    Pipes {
        /// Standard input.
        input: Option<OwnedFd>,
        /// Standard output.
        out: OwnedFd,
        /// Standard error.
        err: OwnedFd,
    },
}

/// A process that was started.
#[derive(Debug)]
pub struct Started {
    /// Its process ID; it is a child of the monitor.
    pub pid: i32,
    /// The monitor's side of a terminal that the kind created.
    pub terminal: Option<OwnedFd>,
}

/// A guest as its monitor handles it. All its processes are descendants of the monitor, which is a child
/// subreaper.
pub trait Kind {
    /// Whether this kind creates terminals itself.
    fn makes_terminals(&self) -> bool {
        false
    }

    /// Starts the guest and returns its first process, which is a child of the monitor.
    ///
    /// # Errors
    /// Returns a sentence where it cannot start; nothing of it is left then.
    fn start(&mut self, record: &mut Record, stdio: Stdio) -> Result<Started, ControlError>;

    /// Executes a command in the guest, besides its first process.
    ///
    /// # Errors
    /// Returns a sentence where that is not possible.
    fn exec(&mut self, record: &Record, exec: &Exec, stdio: Stdio) -> Result<Started, ControlError>;

    /// Pauses the guest, so that it uses no CPU time.
    ///
    /// # Errors
    /// Returns a sentence where the host cannot.
    fn pause(&mut self, record: &Record) -> Result<(), ControlError>;

    /// Lets a paused guest go on.
    ///
    /// # Errors
    /// Returns a sentence where the host cannot.
    fn resume(&mut self, record: &Record) -> Result<(), ControlError>;

    /// Sends its first process a signal; returns false where there is none.
    fn signal(&mut self, record: &Record, signal: i32) -> bool {
        record.state.pid.is_some_and(|pid| process::send(pid, signal))
    }

    /// Asks it to end, as this signal does; returns false where there is nothing to ask.
    fn ask_to_end(&mut self, record: &Record, signal: i32) -> bool {
        self.signal(record, signal)
    }

    /// Begins to save the guest in a file.
    ///
    /// # Errors
    /// Returns a sentence where that is not possible.
    fn snapshot(&mut self, record: &Record, _file: &Word, _replace: bool) -> Result<(), ControlError> {
        refused(format!("'{}' is a {}: only machines can be saved", record.name, record.kind))
    }

    /// Whether what [`Kind::snapshot`] began is complete.
    ///
    /// # Errors
    /// Returns a sentence where it has failed.
    fn saved(&mut self) -> Result<bool, ControlError> {
        Ok(true)
    }

    /// Tells it the new size of an attached client's terminal.
    fn resized(&mut self, _: Size) {}

    /// Whether the kernel killed one of its processes because its memory was used up; asked before
    /// [`Kind::end`].
    fn out_of_memory(&mut self, _: &Record) -> bool {
        false
    }

    /// Ends everything that is left of it after its first process has ended, and releases its resources.
    ///
    /// # Errors
    /// Something could not be removed; everything else was.
    fn end(&mut self, record: &Record) -> Result<(), ControlError>;
}

/// Creates the kind of a guest.
///
/// # Errors
/// Fails where this build of Trine cannot run it.
pub fn of(record: &Record) -> Result<Box<dyn Kind>, ControlError> {
    match &record.source {
        Source::Command(line) => Ok(Box::new(command::Command::new(record.kind, line.clone()))),
        Source::Bundle(bundle) => Ok(Box::new(container::Container::new(bundle.clone())?)),
    }
}

/// Removes what was created for a guest besides its record, which is removed next.
///
/// # Errors
/// Something of the guest could not be removed, neither when it ended nor now: its record stays, too.
pub fn forget(record: &Record) -> Result<(), ControlError> {
    if let Source::Bundle(bundle) = &record.source {
        // Without a runtime directory nothing of it can be running.
        container::runtime().map_or(Ok(()), |runtime| container::end(&runtime, &record.id))?;
        if bundle.owned {
            crate::bundle::remove(&bundle.path, &record.id);
        }
    }
    Ok(())
}

/// Ends everything that a killed monitor has left of its guest. The caller holds the guest's lock.
///
/// # Errors
/// Something could not be removed; everything else was.
pub fn clean_up(record: &Record) -> Result<(), ControlError> {
    let traces = &record.traces;
    if traces.boot != process::boot() {
        return Ok(());
    }
    process::kill_if_alive(traces.guest);
    let ended = match &record.source {
        Source::Bundle(_) => container::runtime().and_then(|runtime| container::end(&runtime, &record.id)),
        Source::Command(_) => Ok(()),
    };
    let (mark, shared) = (process::Mark::of(&record.id), network::shared());
    let left = || mark.bearers().into_iter().filter(|pid| !shared.contains(pid)).collect();
    process::until_no_new(left, process::kill);
    network::repair();
    ended
}
