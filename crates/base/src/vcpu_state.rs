//! The saved state of a vCPU, whoever runs its instructions: what it has in registers, by their names.
//!
//! The CPU's own timer is armed by what its registers say; interrupt inputs are in the mailbox, which the bus saves.

use crate::Vcpu;
use crate::state::{self, StateError, Versioned};
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

/// The state of a vCPU that does not run.
pub fn save(vcpu: &dyn Vcpu) -> Vec<u8> {
    let registers = vcpu.registers().iter().map(|r| (r.name.to_owned(), vcpu.get(r.slot)));
    state::save(&Saved::V1(V1 { count: vcpu.count(), pc: vcpu.pc(), registers: registers.collect() }))
}

/// Gives a vCPU that does not run the state of one of the same kind, and has it forget what it cached.
///
/// # Errors
/// The state is damaged, or that of another kind of vCPU; the vCPU is as it was then.
pub fn load(vcpu: &mut dyn Vcpu, bytes: &[u8]) -> Result<(), StateError> {
    let Saved::V1(saved) = state::load(bytes)?;
    let registers = vcpu.registers();
    if registers.len() != saved.registers.len() {
        let (there, here) = (saved.registers.len(), registers.len());
        return Err(Saved::mismatch(format!("it has {there} registers, and this one {here}")));
    }
    for (here, (name, value)) in registers.iter().zip(&saved.registers) {
        if here.name != name {
            return Err(Saved::mismatch(format!(
                "it has the register '{name}' where this one has '{}'",
                here.name
            )));
        }
        if value.checked_shr(here.bits.into()).unwrap_or(0) != 0 {
            return Err(Saved::damaged(format!("'{name}' has {} bits, and its value more", here.bits)));
        }
    }
    for (here, (_, value)) in registers.iter().zip(&saved.registers) {
        vcpu.set(here.slot, *value);
    }
    vcpu.set_pc(saved.pc);
    vcpu.set_count(saved.count);
    vcpu.fence();
    Ok(())
}
