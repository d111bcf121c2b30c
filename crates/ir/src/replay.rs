//! Executes IR through an engine, for tests: the interpreter runs it, the builder emits it again in its
//! simplest form.

use crate::inst::{Block, Inst, Label, Val};
use crate::op::{Bin, Extra};
use crate::sem::{Res, Sem};
use crate::verify::reads_low_bits;
use std::cell::{Cell, RefCell};

/// Executes `block`, which keeps the IR's rules; the guest's program counter must be the linear one. `begin`
/// is called at the start of each guest instruction, with its offset and its length; it returns the engine's
/// handle and the offset of the instruction that the handle takes for the current one.
pub fn replay<S: Sem>(block: &Block, begin: &mut dyn FnMut(i64, u8) -> (S, i64)) -> Res<S> {
    let Some(&Inst::Begin(offset, bytes)) = block.insts.first() else { return Ok(()) };
    let now = Cell::new(begin(offset, bytes));
    let values = RefCell::new(vec![None; block.insts.len()]);
    let vectors = RefCell::new(vec![None; block.insts.len()]);
    let replay = Replay { block, now: &now, values: &values, vectors: &vectors };
    let mut at = 1;
    while let Some(inst) = block.insts.get(at) {
        match *inst {
            Inst::Begin(offset, bytes) => now.set(begin(offset, bytes)),
            _ => at = replay.one(at)?,
        }
        at += 1;
    }
    Ok(())
}

struct Replay<'a, S: Sem> {
    block: &'a Block,
    /// The engine's handle, and the offset of its current instruction.
    now: &'a Cell<(S, i64)>,
    values: &'a RefCell<Vec<Option<S::Raw>>>,
    /// The values of vectors.
    vectors: &'a RefCell<Vec<Option<S::Vec>>>,
}

impl<S: Sem> Replay<'_, S> {
    /// A value made before.
    fn value(&self, v: Val) -> S::Raw {
        self.values.borrow()[v.0 as usize].expect("a value is made before it is used")
    }

    /// A value of which an operation of `bits` bits reads only the low ones; engines get it without the
    /// others.
    fn low(&self, bits: u8, v: Val) -> S::Raw {
        let raw = self.value(v);
        if bits == 32 { self.now.get().0.zero_extend(64, 32, raw) } else { raw }
    }

    /// Executes the instruction at `at`, with the arm that it starts; returns the index of the last one
    /// executed.
    fn one(&self, at: usize) -> Res<S, usize> {
        let inst = self.block.insts[at];
        if let Inst::IfNot { c, to, .. } = inst {
            let is_end = |i: &Inst| matches!(i, Inst::Label(Label(n)) if *n == to.0);
            let end = self.block.insts.iter().position(is_end).unwrap_or(self.block.insts.len());
            self.now.get().0.when_raw(self.value(c), || self.arm(at + 1, end))?;
            return Ok(end);
        }
        if self.vector(at)? {
            return Ok(at);
        }
        if let Some(end) = self.several(at) {
            return Ok(end);
        }
        let made = match self.integer(inst) {
            Some(made) => Some(made),
            None => self.effect(inst)?,
        };
        self.values.borrow_mut()[at] = made;
        Ok(at)
    }

    fn arm(&self, from: usize, to: usize) -> Res<S> {
        let mut at = from;
        while at < to {
            at = self.one(at)? + 1;
        }
        Ok(())
    }

    /// A vector made before.
    fn vec(&self, v: Val) -> S::Vec {
        self.vectors.borrow()[v.0 as usize].expect("a vector is made before it is used")
    }

    /// Executes the instruction at `at` if it has to do with vectors.
    fn vector(&self, at: usize) -> Res<S, bool> {
        let s = self.now.get().0;
        let inst = self.block.insts[at];
        let integer = match inst {
            Inst::VExtract(lane, n, v) => Some(s.extract_lane(lane, n, self.vec(v))),
            Inst::VMask(lane, v) => Some(s.mask_of(lane, self.vec(v))),
            _ => None,
        };
        if integer.is_some() {
            self.values.borrow_mut()[at] = integer;
            return Ok(true);
        }
        let made = match inst {
            Inst::GetV(slot) => Some(s.get_vec(slot)),
            Inst::Vec(op, args) => Some(s.vector(op, args.map(|v| self.vec(v)))),
            Inst::VFp(op, rounding, args) => Some(s.vector_fp(op, rounding, args.map(|v| self.vec(v)))),
            Inst::ToVec(x) => Some(s.to_vec(self.value(x))),
            Inst::VInsert(lane, n, v, x) => Some(s.insert_lane(lane, n, self.vec(v), self.value(x))),
            Inst::LoadV(hints, a) => Some(s.load_vec(hints, self.value(a))?),
            Inst::SetV(slot, v) => {
                s.set_vec(slot, self.vec(v));
                None
            }
            Inst::StoreV(hints, a, v) => {
                s.store_vec(hints, self.value(a), self.vec(v))?;
                None
            }
            _ => return Ok(false),
        };
        self.vectors.borrow_mut()[at] = made;
        Ok(true)
    }

    /// Executes an instruction with further results, and the instructions for those; returns the index of the
    /// last of them.
    fn several(&self, at: usize) -> Option<usize> {
        let s = self.now.get().0;
        let (made, extras): (Vec<S::Raw>, &[Extra]) = match self.block.insts[at] {
            Inst::Carry(op, bits, args) => {
                let made = s.carry_raw(op, bits.into(), args.map(|v| self.value(v)));
                (made.into(), &[Extra::Carry, Extra::Overflow])
            }
            Inst::DivWide(signed, args) => {
                (s.divide_wide_raw(signed, args.map(|v| self.value(v))).into(), &[Extra::Remainder])
            }
            _ => return None,
        };
        let values = &mut self.values.borrow_mut();
        values[at] = Some(made[0]);
        let mut end = at;
        while let Some(&Inst::Extra(extra, _)) = self.block.insts.get(end + 1) {
            end += 1;
            values[end] = extras.iter().position(|e| *e == extra).map(|n| made[n + 1]);
        }
        Some(end)
    }

    /// Executes an instruction that only computes.
    fn integer(&self, inst: Inst) -> Option<S::Raw> {
        let (s, offset) = self.now.get();
        let v = |v| self.value(v);
        Some(match inst {
            Inst::Const(k) => s.constant(64, k),
            Inst::Pc(o) => s.binary(Bin::Add, 64, s.pc_raw(), s.constant(64, o.wrapping_sub(offset) as u64)),
            Inst::Get(slot) => s.get_raw(slot),
            Inst::GetF(slot) => s.get_fp(slot),
            Inst::Bin(op, bits, a, b) if reads_low_bits(op) => {
                s.binary(op, bits.into(), self.low(bits, a), self.low(bits, b))
            }
            Inst::Bin(op, bits, a, b) => s.binary(op, bits.into(), v(a), v(b)),
            Inst::Cmp(op, bits, a, b) => s.compare(op, bits.into(), self.low(bits, a), self.low(bits, b)),
            Inst::Un(op, bits, a) => s.unary(op, bits.into(), v(a)),
            Inst::Zext(from, to, a) => s.zero_extend(from.into(), to.into(), v(a)),
            Inst::Sext(from, to, a) => s.sign_extend(from.into(), to.into(), v(a)),
            Inst::Insert(at, len, old, value) => s.insert_raw(at.into(), len.into(), v(old), v(value)),
            Inst::Select(bits, c, a, b) => s.select_raw(bits.into(), v(c), v(a), v(b)),
            Inst::SelectF(c, a, b) => s.select_fp(v(c), v(a), v(b)),
            Inst::Fp(op, rounding, args) => s.fp(op, rounding, args.map(v)),
            Inst::Flags => s.fp_flags(),
            _ => return None,
        })
    }

    /// Executes an instruction with an effect.
    fn effect(&self, inst: Inst) -> Res<S, Option<S::Raw>> {
        let s = self.now.get().0;
        let v = |v| self.value(v);
        match inst {
            Inst::Load(how, a) => return s.load_raw(how, v(a)).map(Some),
            Inst::Store(how, a, value) => s.store_raw(how, v(a), v(value))?,
            Inst::Rmw(op, how, a, value) => return s.rmw_raw(op, how, v(a), v(value)).map(Some),
            Inst::Exchange(how, a, expect, new) => {
                return s.exchange_raw(how, v(a), v(expect), v(new)).map(Some);
            }
            Inst::Call(helper, args) => return s.call_raw(helper, args.map(v)).map(Some),
            Inst::Set(slot, value) => s.set_raw(slot, v(value)),
            Inst::SetF(slot, value) => s.set_fp(slot, v(value)),
            Inst::SetFlags(value) => s.set_fp_flags(v(value)),
            Inst::Fence => s.fence(),
            Inst::Jump(flow, target) => s.jump_raw(flow, v(target))?,
            Inst::Raise(cause, code, value) => s.raise_raw(cause, code, v(value))?,
            _ => {}
        }
        Ok(None)
    }
}
