//! What the builder knows while it emits a block: the current values of slots, and the values computed so
//! far.

use crate::inst::{Class, Inst, Val};
use crate::isa::SlotSet;
use crate::op::Fp;

/// Entries of the table of computed values; a newer one may replace an older one.
const NUMBERS: usize = 256;
/// No value.
const NONE: u32 = u32::MAX;

/// What is known at one place of a block.
pub struct Known {
    /// Current values of slots, read as a class.
    slots: Vec<(u16, Class, Val)>,
    /// Values by a hash of the instruction that computed them.
    numbers: Box<[u32; NUMBERS]>,
    /// Places in `numbers` in the order in which they were written.
    written: Vec<u8>,
}

/// What was known at the beginning of an arm.
pub struct Before {
    slots: Vec<(u16, Class, Val)>,
    written: usize,
}

impl Default for Known {
    fn default() -> Self {
        Known { slots: Vec::new(), numbers: Box::new([NONE; NUMBERS]), written: Vec::new() }
    }
}

impl Known {
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

    /// The value of an equal pure instruction emitted before. `inst_of` gives the instruction of a value, to
    /// check that it is equal.
    pub fn number(&self, inst: &Inst, inst_of: impl Fn(Val) -> Inst) -> Option<Val> {
        let key = key(inst)?;
        let found = self.numbers[place(key)];
        (found != NONE && self::key(&inst_of(Val(found))) == Some(key)).then_some(Val(found))
    }

    /// Records that `inst` made this value.
    pub fn made(&mut self, inst: &Inst, value: Val) {
        if let Some(key) = key(inst) {
            self.numbers[place(key)] = value.0;
            self.written.push(place(key) as u8);
        }
    }

    /// An arm begins.
    pub fn enter(&self) -> Before {
        Before { slots: self.slots.clone(), written: self.written.len() }
    }

    /// The arm ends. Values made in it are not used after it; the values of slots that it did not write stay
    /// known.
    pub fn leave(&mut self, before: Before, exits: bool) {
        for place in self.written.drain(before.written..) {
            self.numbers[place as usize] = NONE;
        }
        let after = std::mem::replace(&mut self.slots, before.slots);
        if !exits {
            self.slots.retain(|known| after.contains(known));
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
