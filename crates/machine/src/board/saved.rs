//! The saved state of a machine: its devices, vCPUs and firmware, and the size of its memory.
//!
//! The contents of memory are not part of it. The caller keeps them, and must have restored them before the
//! state is loaded.

use super::Board;
use super::turns::SavedTurns;
use serde::{Deserialize, Serialize};
use trine_base::state::{self, StateError, Versioned};
use trine_base::vcpu_state;

/// The first version of the saved state.
#[derive(Serialize, Deserialize)]
struct V1 {
    /// Name of the board.
    board: String,
    ram: SavedRam,
    /// The bus: clock, devices, timers, interrupt inputs.
    bus: Vec<u8>,
    firmware: Vec<u8>,
    vcpus: Vec<Vec<u8>>,
    turns: SavedTurns,
}

/// Address and size of memory, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct SavedRam {
    base: u64,
    size: u64,
}

trine_base::versions!(Saved of "the machine" { V1(V1) });

impl Board {
    fn saved_ram(&self) -> SavedRam {
        SavedRam { base: self.parts.ram.base(), size: self.parts.ram.size() }
    }

    /// Saves everything that the machine holds except the contents of its memory. Each vCPU is between two
    /// instructions.
    pub fn save(&self) -> Vec<u8> {
        // Devices and clock are paused while they are read one after the other.
        let still = self.parts.control.is_still();
        self.parts.bus.pause();
        let saved = Saved::V1(V1 {
            board: self.name.to_owned(),
            ram: self.saved_ram(),
            bus: self.parts.bus.save(),
            firmware: self.parts.firmware.save(),
            vcpus: self.vcpus.iter().map(|vcpu| vcpu_state::save(&**vcpu)).collect(),
            turns: self.turns.save(),
        });
        if !still {
            self.parts.bus.resume();
        }
        state::save(&saved)
    }

    /// Loads the state of a machine with the same board, devices, number of vCPUs and size of memory. The
    /// caller must have restored the contents of the memory.
    ///
    /// # Errors
    /// The state is damaged or belongs to another kind of machine. It may have been loaded in part: this
    /// machine must not run.
    pub fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let Saved::V1(saved) = state::load(bytes)?;
        if saved.board != self.name {
            let (there, here) = (saved.board, self.name);
            return Err(Saved::mismatch(format!(
                "it belongs to the board '{there}', but this machine is '{here}'"
            )));
        }
        let (there, here) = (saved.ram, self.saved_ram());
        if there != here {
            let text = |ram: SavedRam| format!("{} MiB of memory at {:#x}", ram.size >> 20, ram.base);
            return Err(Saved::mismatch(format!("it has {}, but this machine {}", text(there), text(here))));
        }
        if saved.vcpus.len() != self.vcpus.len() {
            let (there, here) = (saved.vcpus.len(), self.vcpus.len());
            return Err(Saved::mismatch(format!("it has {there} vCPUs, but this machine has {here}")));
        }
        let still = self.parts.control.is_still();
        self.parts.bus.pause();
        self.parts.bus.load(&saved.bus)?;
        self.parts.firmware.load(&saved.firmware)?;
        for (vcpu, state) in self.vcpus.iter_mut().zip(&saved.vcpus) {
            vcpu_state::load(&mut **vcpu, state)?;
        }
        self.turns.load(saved.turns)?;
        if !still {
            self.parts.bus.resume();
        }
        Ok(())
    }
}
