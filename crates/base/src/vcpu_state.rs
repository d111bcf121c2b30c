//! The saved state of a vCPU, independent of what executes its instructions: its registers, by name.
//!
//! The CPU's own timer is armed by its registers; interrupt inputs are in the mailbox, which the bus saves.

use crate::state::{self, StateError, Versioned};
use crate::{Fence, Vcpu};
use serde::{Deserialize, Serialize};

/// The first version of the saved state.
#[derive(Serialize, Deserialize)]
struct V1 {
    /// Instructions executed since power-on.
    count: u64,
    pc: u64,
    registers: Vec<(String, u64)>,
}

crate::versions!(Saved of "a vCPU" { V1(V1) });

/// The largest instruction count that is accepted: counting on from there does not overflow for days. Where
/// time is the count, a guest that waits for a time centuries away can come close to it.
const MOST_COUNT: u64 = u64::MAX - (1 << 48);

/// Saves the state of a vCPU, which must not be running.
pub fn save(vcpu: &dyn Vcpu) -> Vec<u8> {
    let registers = vcpu.registers().iter().map(|r| (r.name.to_owned(), vcpu.get(r.slot)));
    state::save(&Saved::V1(V1 { count: vcpu.count(), pc: vcpu.pc(), registers: registers.collect() }))
}

/// Loads the state of a vCPU of the same kind, and drops everything that the vCPU has cached. It must not be
/// running.
///
/// # Errors
/// The state is damaged or belongs to another kind of vCPU. The vCPU is unchanged then.
pub fn load(vcpu: &mut dyn Vcpu, bytes: &[u8]) -> Result<(), StateError> {
    let Saved::V1(saved) = state::load(bytes)?;
    let registers = vcpu.registers();
    if registers.len() != saved.registers.len() {
        let (there, here) = (saved.registers.len(), registers.len());
        return Err(Saved::mismatch(format!("it has {there} registers, but this vCPU has {here}")));
    }
    for (here, (name, value)) in registers.iter().zip(&saved.registers) {
        if here.name != name {
            return Err(Saved::mismatch(format!(
                "it has the register '{name}' where this one has '{}'",
                here.name
            )));
        }
        if value.checked_shr(here.bits.into()).unwrap_or(0) != 0 {
            return Err(Saved::damaged(format!(
                "the value of '{name}' does not fit into its {} bits",
                here.bits
            )));
        }
    }
    if saved.count > MOST_COUNT {
        return Err(Saved::damaged(format!("it has executed {} instructions", saved.count)));
    }
    for (here, (_, value)) in registers.iter().zip(&saved.registers) {
        vcpu.set(here.slot, *value);
    }
    vcpu.set_pc(saved.pc);
    vcpu.set_count(saved.count);
    vcpu.fence(Fence::All);
    Ok(())
}
