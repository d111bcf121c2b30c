//! What a board does for its guest where real boards have firmware.

use crate::End;
use trine_base::{StateError, Vcpu};

/// Instructions after which [`Firmware::poll`] looks, where a firmware has nothing to look at.
const BUDGET: u64 = 10_000_000;

/// What a call of the firmware leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The vCPU goes on.
    Go,
    /// The vCPU waits for an interrupt first.
    Wait,
    /// The machine ends.
    End(End),
}

/// The part of a board that serves the guest's calls. All vCPUs share it; each calls it from its own thread.
///
/// It is told when a vCPU runs and when it does not: what one vCPU asks of another one by a call is done before the other
/// one runs its next instruction.
pub trait Firmware: Send + Sync {
    /// vCPU `index` is about to run: does what others asked of it. False where the vCPU is stopped; whoever starts it
    /// posts [`trine_base::Mailbox::PAUSE`] to it.
    fn enter(&self, _index: usize, _vcpu: &mut dyn Vcpu) -> bool {
        true
    }

    /// vCPU `index` does not run any more.
    fn leave(&self, _index: usize) {}

    /// Serves a call of vCPU `index`, which came back with [`trine_base::Exit::Firmware`].
    fn call(&self, _index: usize, vcpu: &mut dyn Vcpu, cause: u64, value: u64) -> Outcome {
        unserved(vcpu, cause, value)
    }

    /// The most instructions between two calls of [`Firmware::poll`].
    fn budget(&self) -> u64 {
        BUDGET
    }

    /// Looks for what a guest asks for without a call; the machine's end, if that is it.
    fn poll(&self) -> Option<End> {
        None
    }

    /// What it holds while no vCPU runs; empty where that is nothing. See [`trine_base::state`].
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes over a state saved by the firmware of a board with as many vCPUs.
    ///
    /// # Errors
    /// The state is damaged or that of another firmware.
    fn load(&self, state: &[u8]) -> Result<(), StateError> {
        match state {
            [] => Ok(()),
            _ => Err(StateError::Mismatch { what: "the firmware", why: "this board has none".into() }),
        }
    }
}

/// The end of a machine whose guest raised an exception that neither it nor the firmware takes.
pub fn unserved(vcpu: &dyn Vcpu, cause: u64, value: u64) -> Outcome {
    Outcome::End(End::Dead(format!(
        "the guest raised exception {cause} (value {value:#x}) at {:#x}, which no handler takes",
        vcpu.pc()
    )))
}

/// No firmware: what the guest asks for it finds in its devices.
pub struct NoFirmware;

impl Firmware for NoFirmware {}
