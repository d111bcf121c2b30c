//! What the three kinds do differently. Everything else is the monitor's.
//!
//! * [`command`]: machines and programs are children that run `trine` in the foreground.
//! * [`container`]: containers are the OCI runtime's; `network` is their part of a network.

pub mod command;
pub mod container;
mod network;

use crate::error::ControlError;
use crate::process;
use crate::record::{Record, Source};
use crate::wire::{Exec, Size};
use std::os::fd::OwnedFd;

/// Standard descriptors that a process starts with.
#[derive(Debug)]
pub enum Stdio {
    /// A terminal of its own, which becomes its controlling terminal.
    Terminal(OwnedFd),
    /// A terminal that the kind makes, of this size where one is known.
    Made(Option<Size>),
    /// Pipes; no input where there is none.
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
    /// Its number; it is a child of the monitor.
    pub pid: i32,
    /// The monitor's side of a terminal that the kind has made.
    pub terminal: Option<OwnedFd>,
}

/// A guest as its monitor handles it. All its processes descend from the monitor, which is a subreaper.
pub trait Kind {
    /// Whether it makes a terminal itself where one is wanted.
    fn makes_terminals(&self) -> bool {
        false
    }

    /// Starts the guest; gives its first process, whose end the monitor is told of as its parent.
    ///
    /// # Errors
    /// A sentence where it cannot start; nothing of it is left then.
    fn start(&mut self, record: &mut Record, stdio: Stdio) -> Result<Started, ControlError>;

    /// Executes something beside it.
    ///
    /// # Errors
    /// A sentence where that cannot be.
    fn exec(&mut self, record: &Record, exec: &Exec, stdio: Stdio) -> Result<Started, ControlError>;

    /// Lets it use no CPU.
    ///
    /// # Errors
    /// A sentence where the host cannot.
    fn pause(&mut self, record: &Record) -> Result<(), ControlError>;

    /// Lets it go on.
    ///
    /// # Errors
    /// A sentence where the host cannot.
    fn resume(&mut self, record: &Record) -> Result<(), ControlError>;

    /// Sends its first process a signal; false where there is none.
    fn signal(&mut self, record: &Record, signal: i32) -> bool {
        record.state.pid.is_some_and(|pid| process::send(pid, signal))
    }

    /// Asks it to end, as this signal does; false where there is nothing to ask.
    fn ask_to_end(&mut self, record: &Record, signal: i32) -> bool {
        self.signal(record, signal)
    }

    /// The terminal of whoever is attached to it has this size now.
    fn resized(&mut self, _: Size) {}

    /// Whether the kernel ended a process of it because its memory was used up; asked before [`Kind::end`].
    fn out_of_memory(&mut self, _: &Record) -> bool {
        false
    }

    /// Ends all that is left of it after its first process has ended, and takes away what it was given.
    ///
    /// # Errors
    /// Something stays; all else is gone.
    fn end(&mut self, record: &Record) -> Result<(), ControlError>;
}

/// The kind of a guest.
///
/// # Errors
/// Where this Trine cannot run it.
pub fn of(record: &Record) -> Result<Box<dyn Kind>, ControlError> {
    match &record.source {
        Source::Command(line) => Ok(Box::new(command::Command::new(record.kind, line.clone()))),
        Source::Bundle(bundle) => Ok(Box::new(container::Container::new(bundle.clone())?)),
    }
}

/// Removes what was made for a guest beside its record, which goes with it.
///
/// # Errors
/// Something of the guest is left that could not be taken away when it ended, nor now: its record stays, too.
pub fn forget(record: &Record) -> Result<(), ControlError> {
    if let Source::Bundle(bundle) = &record.source {
        // Without a place for what runs, nothing does.
        container::runtime().map_or(Ok(()), |runtime| container::end(&runtime, &record.id))?;
        if bundle.owned {
            crate::bundle::remove(&bundle.path, &record.id);
        }
    }
    Ok(())
}

/// Ends all that a monitor that was killed has left of its guest. The caller holds the guest's lock.
///
/// # Errors
/// Something stays; all else is gone.
pub fn clean_up(record: &Record) -> Result<(), ControlError> {
    let traces = &record.traces;
    if traces.boot != process::boot() {
        return Ok(());
    }
    traces.guest.iter().for_each(|g| _ = g.signal(libc::SIGKILL));
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
