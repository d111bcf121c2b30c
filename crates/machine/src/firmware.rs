//! The interface of a board's firmware: what Trine itself does where a real board has firmware.

use crate::End;
use serde::{Deserialize, Serialize};
use trine_base::{StateError, Trap, Vcpu};

/// The number of instructions between two calls of [`Firmware::poll`], for firmware without something to
/// poll.
const BUDGET: u64 = 10_000_000;

/// The outcome of a call of the firmware.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The vCPU goes on.
    Go,
    /// The vCPU waits for an interrupt first.
    Wait,
    /// The machine ends.
    End(End),
}

/// What serves the guest's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FirmwareKind {
    /// The board.
    Board,
    /// The guest's own firmware, or none.
    Guest,
    /// The same, and the board looks at the words of the host-target interface of test suites.
    Htif {
        /// Physical address of `tohost`.
        tohost: u64,
        /// Physical address of `fromhost`, if there is one.
        fromhost: Option<u64>,
    },
}

/// The firmware of a board, which serves the guest's calls. All vCPUs share it; each calls it from its own
/// thread.
///
/// It is told when a vCPU runs and when it does not. A request that one vCPU makes of another by a call is
/// served before the other one runs its next instruction.
pub trait Firmware: Send + Sync {
    /// What it is, for a machine that is restored from a snapshot.
    fn kind(&self) -> FirmwareKind {
        FirmwareKind::Guest
    }

    /// vCPU `index` is about to run: serves the requests that others made of it. Returns false while the vCPU
    /// is stopped; a call that starts it posts [`trine_base::Mailbox::PAUSE`] to it.
    fn enter(&self, _index: usize, _vcpu: &mut dyn Vcpu) -> bool {
        true
    }

    /// vCPU `index` has stopped running.
    fn leave(&self, _index: usize) {}

    /// Serves a call of vCPU `index`, whose `run` returned [`trine_base::Exit::Firmware`].
    fn call(&self, _index: usize, vcpu: &mut dyn Vcpu, trap: Trap) -> Outcome {
        unserved(vcpu, trap)
    }

    /// The largest number of instructions between two calls of [`Firmware::poll`].
    fn budget(&self) -> u64 {
        BUDGET
    }

    /// Looks for requests that a guest makes without a call; returns the machine's end, if that was
    /// requested.
    fn poll(&self) -> Option<End> {
        None
    }

    /// Saves its state, while no vCPU runs; empty where there is none. See [`trine_base::state`].
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Loads a state that the firmware of a board with the same number of vCPUs saved.
    ///
    /// # Errors
    /// The state is damaged or belongs to another firmware.
    fn load(&self, state: &[u8]) -> Result<(), StateError> {
        match state {
            [] => Ok(()),
            _ => Err(StateError::Mismatch { what: "the firmware", why: "this board has none".into() }),
        }
    }
}

/// The end of a machine whose guest raised an exception that neither the guest nor the firmware handles.
pub fn unserved(vcpu: &dyn Vcpu, trap: Trap) -> Outcome {
    let Trap { cause, code, value, .. } = trap;
    let code = if code == 0 { String::new() } else { format!("code {code:#x}, ") };
    Outcome::End(End::Dead(format!(
        "the guest raised exception {cause} ({code}value {value:#x}) at {:#x}, which no handler takes",
        vcpu.pc()
    )))
}

/// A board without firmware: its guest uses the devices only.
pub struct NoFirmware;

impl Firmware for NoFirmware {}
