//! What the builder knows while it emits a block: the current values of slots, and the values computed so
//! far.

use crate::inst::{Class, Inst, Val};
use crate::isa::SlotSet;
use crate::op::Fp;

/// Entries of the table of computed values; a newer one may replace an older one.
const NUMBERS: usize = 256;
/// No value.
const NONE: u32 = u32::MAX;

/// What is known at one place of a block. [`Known::clear`] comes first.
#[derive(Default)]
pub struct Known {
    /// Current values of slots, read as a class.
    slots: Vec<(u16, Class, Val)>,
    /// Keys of pure instructions and the values that they made, by a hash of the key.
    numbers: Vec<(u128, u32)>,
    /// Places in `numbers` in the order in which they were written.
    written: Vec<u8>,
    /// The values of slots at the beginnings of the arms that have not ended, of the outermost one first.
    before: Vec<(u16, Class, Val)>,
}

/// What was known at the beginning of an arm, as lengths of the lists.
pub struct Before {
    before: usize,
    written: usize,
}

impl Known {
    /// Forgets everything, for another block.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.before.clear();
        self.forget_numbers(0);
        self.numbers.resize(NUMBERS, (0, NONE));
    }

    fn forget_numbers(&mut self, first: usize) {
        for place in self.written.drain(first..) {
            self.numbers[place as usize].1 = NONE;
        }
    }

    /// The current value of a slot.
    pub fn slot(&self, slot: u16, class: Class) -> Option<Val> {
        self.slots.iter().find(|(s, c, _)| *s == slot && *c == class).map(|known| known.2)
    }

    /// Records that the slot was read, and has this value.
    pub fn read(&mut self, slot: u16, class: Class, value: Val) {
        self.slots.push((slot, class, value));
    }

    /// Records that the slot is written.
    pub fn write(&mut self, slot: u16, class: Class, value: Val) {
        self.slots.retain(|known| known.0 != slot);
        self.slots.push((slot, class, value));
    }

    /// Forgets the values of these slots, which have changed.
    pub fn forget(&mut self, slots: SlotSet) {
        self.slots.retain(|known| !slots.has(known.0));
    }

    /// The value of an equal pure instruction emitted before, or that of `emit`, which emits this one.
    pub fn number(&mut self, inst: &Inst, emit: impl FnOnce() -> Val) -> Val {
        let Some(key) = key(inst) else { return emit() };
        let place = place(key);
        let number = &mut self.numbers[place];
        if number.0 == key && number.1 != NONE {
            return Val(number.1);
        }
        let value = emit();
        *number = (key, value.0);
        self.written.push(place as u8);
        value
    }

    /// An arm begins.
    pub fn enter(&mut self) -> Before {
        let before = Before { before: self.before.len(), written: self.written.len() };
        self.before.extend_from_slice(&self.slots);
        before
    }

    /// The arm ends. Values made in it are not used after it; the values of slots that it did not write stay
    /// known.
    pub fn leave(&mut self, before: Before, exits: bool) {
        self.forget_numbers(before.written);
        let slots = self.before.drain(before.before..);
        if exits {
            self.slots.clear();
            self.slots.extend(slots);
        } else {
            let same: Vec<_> = slots.filter(|known| self.slots.contains(known)).collect();
            self.slots = same;
        }
    }
}

/// A place in the table of numbers.
fn place(key: u128) -> usize {
    let folded = key as u64 ^ (key >> 64) as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - NUMBERS.ilog2())) as usize
}

/// A pure instruction as a number: equal for instructions that make the same value.
fn key(inst: &Inst) -> Option<u128> {
    let pack = |kind: u8, op: u8, bits: u8, operands: [u32; 3]| {
        let [a, b, c] = operands.map(u128::from);
        a | b << 32 | c << 64 | (bits as u128) << 96 | (op as u128) << 104 | (kind as u128) << 112
    };
    let halves = |k: u64| [k as u32, (k >> 32) as u32, 0];
    Some(match *inst {
        Inst::Const(k) => pack(0, 0, 0, halves(k)),
        Inst::Pc(offset) => pack(1, 0, 0, halves(offset as u64)),
        Inst::Bin(op, bits, a, b) => pack(2, op as u8, bits, [a.0, b.0, 0]),
        Inst::Cmp(op, bits, a, b) => pack(3, op as u8, bits, [a.0, b.0, 0]),
        Inst::Un(op, bits, a) => pack(4, op as u8, bits, [a.0, 0, 0]),
        Inst::Zext(from, to, a) => pack(5, from, to, [a.0, 0, 0]),
        Inst::Sext(from, to, a) => pack(6, from, to, [a.0, 0, 0]),
        Inst::Select(bits, c, a, b) => pack(7, 0, bits, [c.0, a.0, b.0]),
        Inst::Insert(at, len, a, b) => pack(8, at, len, [a.0, b.0, 0]),
        Inst::SelectF(c, a, b) => pack(9, 0, 0, [c.0, a.0, b.0]),
        Inst::Fp(Fp::ToBits(fmt), _, [a, ..]) => pack(10, fmt as u8, 0, [a.0, 0, 0]),
        Inst::Fp(Fp::FromBits(fmt), _, [a, ..]) => pack(11, fmt as u8, 0, [a.0, 0, 0]),
        Inst::Fp(Fp::Low, _, [a, ..]) => pack(12, 0, 0, [a.0, 0, 0]),
        Inst::Fp(Fp::WithLow, _, [a, b, _]) => pack(13, 0, 0, [a.0, b.0, 0]),
        _ => return None,
    })
}
