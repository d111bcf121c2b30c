//! The saved state of a machine: of its devices, vCPUs and firmware, and how large its memory is.
//!
//! The memory's contents are not in it. Whoever saves a machine keeps them, and has them in place before the state is
//! loaded.

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
    /// The bus's: clock, devices, timers, interrupt inputs.
    bus: Vec<u8>,
    firmware: Vec<u8>,
    vcpus: Vec<Vec<u8>>,
    turns: SavedTurns,
}

/// Where memory lies and how large it is, in bytes.
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

    /// All that the machine holds besides the contents of its memory, each vCPU between two instructions.
    pub fn save(&self) -> Vec<u8> {
        // Devices and clock stand still while they are read one after the other.
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

    /// Takes over the state of a machine with the same board, devices, number of vCPUs and size of memory. The contents
    /// of the memory are those that belong to it.
    ///
    /// # Errors
    /// The state is damaged or that of another kind of machine. This one may have a part of it then, and must not run.
    pub fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let Saved::V1(saved) = state::load(bytes)?;
        if saved.board != self.name {
            let (there, here) = (saved.board, self.name);
            return Err(Saved::mismatch(format!("it is of the board '{there}', and this one is '{here}'")));
        }
        let (there, here) = (saved.ram, self.saved_ram());
        if there != here {
            let text = |ram: SavedRam| format!("{} MiB of memory at {:#x}", ram.size >> 20, ram.base);
            return Err(Saved::mismatch(format!("it has {}, and this one {}", text(there), text(here))));
        }
        if saved.vcpus.len() != self.vcpus.len() {
            let (there, here) = (saved.vcpus.len(), self.vcpus.len());
            return Err(Saved::mismatch(format!("it has {there} vCPUs, and this one {here}")));
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
