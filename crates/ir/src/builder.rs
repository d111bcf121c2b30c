//! The engine that *emits IR*: bodies bound to `&Builder` describe themselves.

use crate::eval;
use crate::inst::{Block, Inst, Label, Val};
use crate::isa::{Helper, Isa};
use crate::op::{Bin, Cmp, Flow, Fp, Rmw, Rounding, Un};
use crate::sem::{Res, Sem};
use crate::verify::reads_low_bits;
use std::cell::{Cell, RefCell};
use trine_base::Width;

/// Collects the IR of one block.
pub struct Builder<I: Isa> {
    insts: RefCell<Vec<Inst>>,
    labels: Cell<u32>,
    guest: Cell<u32>,
    offset: Cell<i64>,
    bytes: Cell<u8>,
    operands: Cell<I::Operands>,
    mode: u32,
}

/// The rest of a body is not reached.
#[derive(Debug)]
pub struct Ended;

impl<I: Isa> Builder<I> {
    /// An empty block for code in `mode`.
    pub fn new(mode: u32) -> Self {
        Builder {
            insts: RefCell::new(Vec::with_capacity(256)),
            labels: Cell::new(0),
            guest: Cell::new(0),
            offset: Cell::new(0),
            bytes: Cell::new(0),
            operands: Cell::default(),
            mode,
        }
    }

    /// Starts the guest instruction at `offset` in its page.
    pub fn begin(&self, offset: i64, bytes: u8, operands: I::Operands) {
        self.offset.set(offset);
        self.operands.set(operands);
        self.bytes.set(bytes);
        self.guest.set(self.guest.get() + 1);
        self.emit(Inst::Begin(offset, bytes));
    }

    /// Ends the block by going to the instruction after the last one.
    pub fn fall_through(&self) {
        let next = self.next_pc_raw();
        self.emit(Inst::Jump(Flow::Plain, next));
    }

    /// The finished block.
    pub fn finish(self) -> Block {
        Block { insts: self.insts.into_inner(), guest: self.guest.get(), labels: self.labels.get() }
    }

    /// Number of IR instructions so far.
    pub fn len(&self) -> usize {
        self.insts.borrow().len()
    }

    /// Whether nothing was emitted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn emit(&self, inst: Inst) -> Val {
        let mut insts = self.insts.borrow_mut();
        insts.push(inst);
        Val(insts.len() as u32 - 1)
    }

    fn inst(&self, v: Val) -> Inst {
        self.insts.borrow()[v.0 as usize]
    }

    fn known(&self, v: Val) -> Option<u64> {
        match self.inst(v) {
            Inst::Const(k) => Some(k),
            _ => None,
        }
    }

    /// The value whose low `bits` bits are those of `v`, where only they are read: an operation of 32 bits takes a register of
    /// 64 as it is.
    fn low_bits(&self, bits: u32, v: Val) -> Val {
        match self.inst(v) {
            Inst::Zext(64, to, x) if to as u32 == bits && bits >= 32 => x,
            _ => v,
        }
    }

    /// What an operation with a constant second operand simplifies to.
    fn simplify(&self, op: Bin, bits: u32, a: Val, k: u64) -> Option<Val> {
        match op {
            Bin::Add | Bin::Sub if bits == 64 => match self.inst(a) {
                Inst::Pc(offset) => {
                    let k = if op == Bin::Add { k as i64 } else { (k as i64).wrapping_neg() };
                    Some(self.emit(Inst::Pc(offset.wrapping_add(k))))
                }
                _ => (k == 0).then_some(a),
            },
            Bin::Add | Bin::Sub | Bin::Or | Bin::Xor | Bin::Andn => (k == 0).then_some(a),
            Bin::Shl | Bin::Shr | Bin::Sar | Bin::Rol | Bin::Ror => (k & (bits as u64 - 1) == 0).then_some(a),
            Bin::And if k == 0 => Some(self.emit(Inst::Const(0))),
            Bin::And => (k == eval::zext(bits, u64::MAX)).then_some(a),
            _ => None,
        }
    }
}

fn commutes(op: Bin) -> bool {
    matches!(op, Bin::Add | Bin::Mul | Bin::And | Bin::Or | Bin::Xor | Bin::MulhS | Bin::MulhU)
}

impl<I: Isa> Sem for &Builder<I> {
    type Isa = I;
    type Exit = Ended;
    type Raw = Val;
    const EMITS: bool = true;

    fn mode(self) -> u32 {
        self.mode
    }

    fn operands(self) -> I::Operands {
        self.operands.get()
    }

    fn constant(self, _bits: u32, value: u64) -> Val {
        self.emit(Inst::Const(value))
    }

    fn binary(self, op: Bin, bits: u32, a: Val, b: Val) -> Val {
        let (a, b) = if commutes(op) && self.known(a).is_some() { (b, a) } else { (a, b) };
        match (self.known(a), self.known(b)) {
            (Some(x), Some(y)) => return self.emit(Inst::Const(eval::binary(op, bits, x, y))),
            (None, Some(k)) => {
                if let Some(v) = self.simplify(op, bits, a, k) {
                    return v;
                }
            }
            _ => {}
        }
        let (a, b) = match reads_low_bits(op) {
            true => (self.low_bits(bits, a), self.low_bits(bits, b)),
            false => (a, b),
        };
        self.emit(Inst::Bin(op, bits as u8, a, b))
    }

    fn compare(self, op: Cmp, bits: u32, a: Val, b: Val) -> Val {
        if let (Some(x), Some(y)) = (self.known(a), self.known(b)) {
            return self.emit(Inst::Const(eval::compare(op, bits, x, y) as u64));
        }
        let (a, b) = (self.low_bits(bits, a), self.low_bits(bits, b));
        self.emit(Inst::Cmp(op, bits as u8, a, b))
    }

    fn unary(self, op: Un, bits: u32, a: Val) -> Val {
        match self.known(a) {
            Some(x) => self.emit(Inst::Const(eval::unary(op, bits, x))),
            None => self.emit(Inst::Un(op, bits as u8, a)),
        }
    }

    fn zero_extend(self, from: u32, to: u32, a: Val) -> Val {
        match self.known(a) {
            Some(x) => self.emit(Inst::Const(eval::zext(from.min(to), x))),
            None if to > from => a,
            None => self.emit(Inst::Zext(from as u8, to as u8, a)),
        }
    }

    fn sign_extend(self, from: u32, to: u32, a: Val) -> Val {
        if let Some(x) = self.known(a) {
            return self.emit(Inst::Const(eval::zext(to, eval::sext(from, x) as u64)));
        }
        let a = match self.inst(a) {
            Inst::Zext(_, n, x) if n as u32 == from => x,
            _ => a,
        };
        self.emit(Inst::Sext(from as u8, to as u8, a))
    }

    fn select_raw(self, bits: u32, c: Val, a: Val, b: Val) -> Val {
        match self.known(c) {
            Some(0) => b,
            Some(_) => a,
            None => self.emit(Inst::Select(bits as u8, c, a, b)),
        }
    }

    fn get_raw(self, slot: u16) -> Val {
        self.emit(Inst::Get(slot))
    }

    fn set_raw(self, slot: u16, value: Val) {
        self.emit(Inst::Set(slot, value));
    }

    fn get_fp(self, slot: u16) -> Val {
        self.emit(Inst::GetF(slot))
    }

    fn set_fp(self, slot: u16, value: Val) {
        self.emit(Inst::SetF(slot, value));
    }

    fn load_raw(self, width: Width, address: Val) -> Res<Self, Val> {
        Ok(self.emit(Inst::Load(width, address)))
    }

    fn store_raw(self, width: Width, address: Val, value: Val) -> Res<Self> {
        // A store takes the low bytes of a register.
        let value = match self.inst(value) {
            Inst::Zext(64, to, x) if to as u32 == width.bits() => x,
            _ => value,
        };
        self.emit(Inst::Store(width, address, value));
        Ok(())
    }

    fn rmw_raw(self, op: Rmw, width: Width, address: Val, v: Val) -> Res<Self, Val> {
        Ok(self.emit(Inst::Rmw(op, width, address, v)))
    }

    fn exchange_raw(self, width: Width, address: Val, expect: Val, new: Val) -> Res<Self, Val> {
        Ok(self.emit(Inst::Exchange(width, address, expect, new)))
    }

    fn fence(self) {
        self.emit(Inst::Fence);
    }

    fn when_raw(self, c: Val, f: impl FnOnce() -> Res<Self>) -> Res<Self> {
        match self.known(c) {
            Some(0) => return Ok(()),
            Some(_) => return f(),
            None => {}
        }
        let to = Label(self.labels.get());
        self.labels.set(to.0 + 1);
        let at = self.emit(Inst::IfNot { c, to, exits: false });
        let exits = f().is_err();
        self.insts.borrow_mut()[at.0 as usize] = Inst::IfNot { c, to, exits };
        self.emit(Inst::Label(to));
        Ok(())
    }

    fn pc_raw(self) -> Val {
        self.emit(Inst::Pc(self.offset.get()))
    }

    fn next_pc_raw(self) -> Val {
        self.emit(Inst::Pc(self.offset.get() + self.bytes.get() as i64))
    }

    fn jump_raw(self, flow: Flow, target: Val) -> Res<Self> {
        self.emit(Inst::Jump(flow, target));
        Err(Ended)
    }

    fn raise_raw(self, cause: u64, value: Val) -> Res<Self> {
        self.emit(Inst::Raise(cause, value));
        Err(Ended)
    }

    fn call_raw(self, helper: &'static Helper, args: [Val; 3]) -> Res<Self, Val> {
        Ok(self.emit(Inst::Call(helper, args)))
    }

    fn fp_flags(self) -> Val {
        self.emit(Inst::Flags)
    }

    fn set_fp_flags(self, flags: Val) {
        self.emit(Inst::SetFlags(flags));
    }

    fn fp(self, op: Fp, rounding: Rounding, args: [Val; 3]) -> Val {
        self.emit(Inst::Fp(op, rounding, args))
    }
}
