//! The registers of a thread as a value.

use super::GuestAbi;
use trine_base::Vcpu;

/// The registers of a thread between two instructions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Registers {
    /// Address of the next instruction.
    pub pc: u64,
    /// Slots and their values.
    pub slots: Vec<(u16, u64)>,
}

impl Registers {
    /// The registers of this vCPU that a program can see.
    pub fn of<A: GuestAbi>(vcpu: &impl Vcpu) -> Registers {
        Registers { pc: vcpu.pc(), slots: A::STATE.iter().map(|&slot| (slot, vcpu.get(slot))).collect() }
    }

    /// Copies them to a vCPU.
    pub fn put(&self, vcpu: &mut impl Vcpu) {
        vcpu.set_pc(self.pc);
        self.slots.iter().for_each(|&(slot, value)| vcpu.set(slot, value));
    }

    /// The value of a slot; 0 if it is not among them.
    pub fn get(&self, slot: u16) -> u64 {
        self.slots.iter().find(|(known, _)| *known == slot).map_or(0, |(_, value)| *value)
    }
}
