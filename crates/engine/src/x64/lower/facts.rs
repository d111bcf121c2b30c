//! Facts about a block's values, whatever the register allocator: which are not needed, where each is last
//! used, and which are better emitted as a part of their only user.

use super::quiet;
use trine_ir::inst::{Inst, Val};
use trine_ir::{Bin, Fmt, Fp};

/// Facts about a value, or an instruction without one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fact {
    /// Index of the last instruction whose code uses it.
    pub last: u32,
    /// Number of uses.
    pub uses: u32,
    /// Number of uses as the address of an access.
    addresses: u32,
    /// Number of uses as the condition of an arm or a selection.
    conditions: u32,
    /// Its code is emitted at its use.
    pub deferred: bool,
    /// It is a write of a slot that is written again before any read.
    overwritten: bool,
    /// It is a load that is sign-extended to 64 bits.
    pub signed: bool,
    /// It is a comparison, or a write of the flags after one, that leaves the flags unchanged.
    pub quiet: bool,
}

/// Slots with small numbers, a bit for each; the others are never in it.
#[derive(Clone, Copy, Default)]
struct Slots([u64; 4]);

impl Slots {
    fn has(&self, slot: u16) -> bool {
        self.0.get(slot as usize / 64).is_some_and(|word| word >> (slot % 64) & 1 != 0)
    }

    fn add(&mut self, slot: u16) {
        self.0.get_mut(slot as usize / 64).into_iter().for_each(|word| *word |= 1 << (slot % 64));
    }

    fn remove(&mut self, slot: u16) {
        self.0.get_mut(slot as usize / 64).into_iter().for_each(|word| *word &= !(1 << (slot % 64)));
    }
}

/// The facts of a block; the memory is reused from block to block.
pub struct Facts {
    values: Vec<Fact>,
    /// Index of the last read of each of the first slots.
    last_read: [u32; 64],
}

impl Default for Facts {
    fn default() -> Facts {
        Facts { values: Vec::new(), last_read: [0; 64] }
    }
}

impl Facts {
    /// Finds everything about the first `end` instructions, which are the block; after them there are only
    /// reads of slots.
    pub fn find(&mut self, insts: &[Inst], end: usize) {
        self.values.clear();
        self.values.resize(insts.len(), Fact::default());
        self.last_read = [0; 64];
        self.count_live_uses(&insts[..end]);
        self.fuse(&insts[..end]);
    }

    /// The facts about a value.
    pub fn of(&self, v: u32) -> Fact {
        self.values[v as usize]
    }

    /// All of them, by value.
    pub fn all(&self) -> &[Fact] {
        &self.values
    }

    /// Whether a slot may be read after an instruction.
    pub fn may_be_read(&self, slot: u16, behind: u32) -> bool {
        self.last_read.get(slot as usize).is_none_or(|&last| last > behind)
    }

    /// Whether the instruction at `i` needs no code.
    pub fn is_dead(&self, i: usize, inst: &Inst) -> bool {
        let fact = &self.values[i];
        fact.overwritten || (fact.uses == 0 && inst.is_pure())
    }

    /// Counts each value's uses and finds its last one, in one walk from the end: dead instructions use
    /// nothing.
    fn count_live_uses(&mut self, insts: &[Inst]) {
        let mut overwritten = Slots::default();
        for (i, inst) in insts.iter().enumerate().rev() {
            match *inst {
                Inst::Set(slot, _) | Inst::SetF(slot, _) | Inst::SetV(slot, _) if overwritten.has(slot) => {
                    self.values[i].overwritten = true;
                }
                Inst::Set(slot, _) | Inst::SetF(slot, _) | Inst::SetV(slot, _) => overwritten.add(slot),
                Inst::Get(slot) | Inst::GetF(slot) | Inst::GetV(slot) => overwritten.remove(slot),
                _ if sees_slots(inst) => overwritten = Slots::default(),
                _ => {}
            }
            if self.is_dead(i, inst) {
                continue;
            }
            inst.operands(|v| {
                let fact = &mut self.values[v.0 as usize];
                fact.uses += 1;
                fact.last = fact.last.max(i as u32);
            });
            if let Inst::Load(_, a)
            | Inst::Store(_, a, _)
            | Inst::Rmw(_, _, a, _)
            | Inst::Exchange(_, a, ..)
            | Inst::LoadV(_, a)
            | Inst::StoreV(_, a, _) = *inst
            {
                self.values[a.0 as usize].addresses += 1;
            }
            if let Inst::IfNot { c, .. } | Inst::Select(_, c, ..) | Inst::SelectF(c, ..) = *inst {
                self.values[c.0 as usize].conditions += 1;
            }
        }
    }

    /// Finds values that are better emitted at their only use, and the last read of each slot.
    fn fuse(&mut self, insts: &[Inst]) {
        for (i, inst) in insts.iter().enumerate() {
            if self.is_dead(i, inst) {
                continue;
            }
            match *inst {
                Inst::Get(slot) | Inst::GetF(slot) | Inst::GetV(slot) => {
                    if let Some(last) = self.last_read.get_mut(slot as usize) {
                        *last = i as u32;
                    }
                }
                Inst::Load(_, a)
                | Inst::Store(_, a, _)
                | Inst::Rmw(_, _, a, _)
                | Inst::Exchange(_, a, ..)
                | Inst::LoadV(_, a)
                | Inst::StoreV(_, a, _) => self.defer_address(insts, a, i as u32),
                Inst::Sext(from, 64, x) => self.sign_load(insts, from, x),
                Inst::IfNot { c, .. } | Inst::Select(_, c, ..) | Inst::SelectF(c, ..) => {
                    self.defer_compare(insts, c, i as u32)
                }
                Inst::Flags => {
                    for quiet in quiet::compare(insts, i).into_iter().flatten() {
                        self.values[quiet].quiet = true;
                    }
                }
                _ => {}
            }
        }
    }

    fn defer(&mut self, v: Val, user: u32, operands: &[Val]) {
        self.values[v.0 as usize].deferred = true;
        for o in operands {
            let fact = &mut self.values[o.0 as usize];
            fact.last = fact.last.max(user);
        }
    }

    /// A load that is only used sign-extended becomes a sign-extending load.
    fn sign_load(&mut self, insts: &[Inst], from: u8, x: Val) {
        if let Inst::Load(how, _) = insts[x.0 as usize]
            && how.width.bits() == from as u32
            && self.values[x.0 as usize].uses == 1
        {
            self.values[x.0 as usize].signed = true;
        }
    }

    /// Base plus constant becomes part of the access.
    fn defer_address(&mut self, insts: &[Inst], a: Val, user: u32) {
        let fact = &self.values[a.0 as usize];
        if fact.uses != fact.addresses {
            return;
        }
        if let Inst::Bin(Bin::Add, 64, base, k) = insts[a.0 as usize]
            && let Inst::Const(k) = insts[k.0 as usize]
            && (k as i64).unsigned_abs() < 1 << 30
        {
            self.defer(a, user, &[base]);
        }
    }

    /// A comparison used once becomes part of its user, and one with a constant part of each user: to test its
    /// result would take as long there.
    fn defer_compare(&mut self, insts: &[Inst], c: Val, user: u32) {
        let Fact { uses, conditions, .. } = self.values[c.0 as usize];
        if let Inst::Cmp(_, bits @ (8 | 16 | 32 | 64), x, y) = insts[c.0 as usize]
            && uses == conditions
            && (uses == 1 || matches!(insts[y.0 as usize], Inst::Const(_)))
        {
            self.defer(c, user, &[x, y]);
            if uses == 1
                && bits == 64
                && matches!(insts[y.0 as usize], Inst::Const(k) if k as i64 == k as i32 as i64)
            {
                self.defer_upper_half(insts, x, user);
            }
        }
    }

    /// If the upper half of a number's bits is only compared, it needs no register of its own.
    fn defer_upper_half(&mut self, insts: &[Inst], x: Val, user: u32) {
        if let Some((_, bits, number)) = upper_half(insts, x)
            && [x, bits].iter().all(|v| self.values[v.0 as usize].uses == 1)
        {
            self.defer(x, user, &[]);
            self.defer(bits, user, &[number]);
        }
    }
}

/// Shift, bits and number, where `x` is the upper half of a binary64.
pub fn upper_half(insts: &[Inst], x: Val) -> Option<(Bin, Val, Val)> {
    let Inst::Bin(op @ (Bin::Shr | Bin::Sar), 64, bits, by) = insts[x.0 as usize] else { return None };
    match (insts[bits.0 as usize], insts[by.0 as usize]) {
        (Inst::Fp(Fp::ToBits(Fmt::D), _, [number, ..]), Inst::Const(32)) => Some((op, bits, number)),
        _ => None,
    }
}

/// The bits of a constant number. Like other constants, it is made at its use.
pub fn number_constant(insts: &[Inst], v: u32) -> Option<u64> {
    match insts[v as usize] {
        Inst::Fp(Fp::FromBits(_), _, [bits, ..]) => insts[bits.0 as usize].constant(),
        _ => None,
    }
}

/// Whether slots must have their values at this instruction: it may leave the block, or be reached by a jump.
fn sees_slots(inst: &Inst) -> bool {
    inst.is_access()
        || matches!(
            inst,
            Inst::Call(..) | Inst::IfNot { .. } | Inst::Label(_) | Inst::Jump(..) | Inst::Raise(..)
        )
}
