//! The host registers of pinned slots ([`Isa::PINNED`]): the same at the beginning of every block, whatever
//! compiled it.

use super::asm::{Reg, reg::*};
use std::marker::PhantomData;
use trine_ir::Isa;

/// Host registers of pinned slots, in the order of [`Isa::PINNED`].
pub const PINS: [Reg; 7] = [RBX, 8, 9, 10, 11, R14, RDI];

/// The pinned slots of a CPU and their registers.
pub fn pinned<I: Isa>() -> impl Iterator<Item = (u16, Reg)> + Clone {
    const { assert!(I::PINNED.len() <= PINS.len(), "there is a host register for each pinned slot") };
    I::PINNED.iter().copied().zip(PINS)
}

/// The pinned slots as tables.
struct Table<I>(PhantomData<I>);

/// A slot that is not pinned.
const NO_PIN: Reg = Reg::MAX;

impl<I: Isa> Table<I> {
    /// Registers by slot. Pinned slots must be among the first ones.
    const PLACES: [Reg; 64] = {
        let (mut places, mut n) = ([NO_PIN; 64], 0);
        while n < I::PINNED.len() {
            places[I::PINNED[n] as usize] = PINS[n];
            n += 1;
        }
        places
    };
    /// A bit for each register that has a slot.
    const REGISTERS: u16 = {
        let (mut bits, mut n) = (0, 0);
        while n < I::PINNED.len() {
            bits |= 1 << PINS[n];
            n += 1;
        }
        bits
    };
}

/// The register of a slot, if it is pinned.
pub fn pin_of<I: Isa>(slot: u16) -> Option<Reg> {
    Table::<I>::PLACES.get(slot as usize).copied().filter(|&r| r != NO_PIN)
}

/// The registers that have a pinned slot, a bit for each.
pub fn pin_registers<I: Isa>() -> u16 {
    Table::<I>::REGISTERS
}
