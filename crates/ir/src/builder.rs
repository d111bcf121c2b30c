//! The engine that *emits IR*: bodies bound to `&Builder` describe themselves.

use crate::eval;
use crate::forward::Known;
use crate::inst::{Block, Class, Inst, Label, Val};
use crate::isa::{CodeSpace, Helper, Isa};
use crate::memop::{Hints, MemOp};
use crate::op::{Bin, Carry, Cmp, Extra, Flow, Fmt, Fp, Rmw, Round, Rounding, Signed, Un};
use crate::sem::{Res, Sem};
use crate::vector::{Lane, Vop};
use crate::vector_fp::VFp;
use crate::verify::{bits_of, reads_low_bits};
use std::cell::{Cell, RefCell};

/// Collects the IR of one block.
pub struct Builder<I: Isa> {
    insts: RefCell<Vec<Inst>>,
    labels: Cell<u32>,
    guest: Cell<u32>,
    offset: Cell<i64>,
    bytes: Cell<u8>,
    operands: Cell<I::Operands>,
    mode: u32,
    space: CodeSpace,
    /// Values of slots, and what was computed before.
    known: RefCell<Known>,
}

/// The rest of a body is not reached.
#[derive(Debug)]
pub struct Ended;

/// Memory that is reused from block to block.
#[derive(Default)]
pub struct Room {
    insts: Vec<Inst>,
    known: Known,
}

impl Room {
    /// Takes back the memory of a block that is no longer needed.
    pub fn reuse(&mut self, block: Block) {
        self.insts = block.insts;
    }
}

impl<I: Isa> Builder<I> {
    /// An empty block for code in `mode`.
    pub fn new(mode: u32) -> Self {
        Self::with_room(mode, &mut Room::default())
    }

    /// The same with the memory of `room`, which [`Builder::finish_into`] and [`Room::reuse`] return.
    pub fn with_room(mode: u32, room: &mut Room) -> Self {
        let Room { mut insts, mut known } = std::mem::take(room);
        insts.clear();
        known.clear();
        Builder {
            insts: RefCell::new(insts),
            labels: Cell::new(0),
            guest: Cell::new(0),
            offset: Cell::new(0),
            bytes: Cell::new(0),
            operands: Cell::default(),
            mode,
            space: I::code_space(mode),
            known: RefCell::new(known),
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
        let next = self.linear_of(self.next_pc_raw());
        self.emit(Inst::Jump(Flow::Plain, next));
    }

    /// The finished block.
    pub fn finish(self) -> Block {
        self.finish_into(&mut Room::default())
    }

    /// The finished block; `room` gets what else can be reused.
    pub fn finish_into(self, room: &mut Room) -> Block {
        room.known = self.known.into_inner();
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

    /// Emits a pure instruction, unless its value exists already.
    fn pure(&self, inst: Inst) -> Val {
        self.known.borrow_mut().number(&inst, || self.emit(inst))
    }

    /// The current value of a slot if it is known; else reads the slot.
    fn slot(&self, slot: u16, class: Class, read: fn(u16) -> Inst) -> Val {
        let known = self.known.borrow().slot(slot, class);
        known.unwrap_or_else(|| {
            let value = self.emit(read(slot));
            self.known.borrow_mut().read(slot, class, value);
            value
        })
    }

    fn inst(&self, v: Val) -> Inst {
        self.insts.borrow()[v.0 as usize]
    }

    /// A value whose low `bits` bits equal those of `v`, for a user that reads only those: an operation of 32
    /// bits takes a 64-bit value unchanged.
    fn low_bits(&self, bits: u32, v: Val) -> Val {
        match self.inst(v) {
            Inst::Zext(64, to, x) if to as u32 == bits && bits >= 32 => x,
            _ => v,
        }
    }

    /// The guest's program counter at an offset from the page.
    fn guest_pc(&self, offset: i64) -> Val {
        let pc = self.pure(Inst::Pc(offset));
        let pc = match self.space.base {
            Some(slot) => self.pure(Inst::Bin(Bin::Sub, 64, pc, self.get_raw(slot))),
            None => pc,
        };
        if (0..PAGE).contains(&offset) { pc } else { self.masked(pc) }
    }

    fn masked(&self, pc: Val) -> Val {
        match self.space.mask {
            u64::MAX => pc,
            mask => self.binary(Bin::And, 64, pc, self.constant(64, mask)),
        }
    }

    /// The linear address of the guest's program counter `pc`: a plain offset from the page if it is known to
    /// be one.
    fn linear_of(&self, pc: Val) -> Val {
        let Some(slot) = self.space.base else {
            return match self.inst(pc) {
                // The page's own addresses have no bits above those of a program counter.
                Inst::Pc(0..PAGE) => pc,
                _ => self.masked(pc),
            };
        };
        let base = self.get_raw(slot);
        match self.inst(pc) {
            Inst::Bin(Bin::Sub, 64, pc, b) if self.space.mask == u64::MAX && b == base => pc,
            _ => self.binary(Bin::Add, 64, self.masked(pc), base),
        }
    }

    /// The value that an operation which only moves bits gives, if its operand comes from another such
    /// operation.
    fn moved_bits(&self, op: Fp, a: Val) -> Option<Val> {
        match (op, self.inst(a)) {
            (Fp::ToBits(to), Inst::Fp(Fp::FromBits(from), _, [bits, ..])) if to == from => Some(bits),
            (Fp::FromBits(to), Inst::Fp(Fp::ToBits(from), _, [number, ..])) if to == from => Some(number),
            (Fp::Low, Inst::Fp(Fp::WithLow, _, [_, low, _])) => Some(low),
            _ => None,
        }
    }

    /// The operands of a [`Fp::WithLow`] whose bits are `v`.
    fn joined(&self, v: Val) -> Option<(Val, Val)> {
        let Inst::Fp(Fp::ToBits(Fmt::D), _, [number, ..]) = self.inst(v) else { return None };
        match self.inst(number) {
            Inst::Fp(Fp::WithLow, _, [high, low, _]) => Some((high, low)),
            _ => None,
        }
    }

    /// The bits of a number, if they are known.
    fn known_bits(&self, number: Val) -> Option<u64> {
        match self.inst(number) {
            Inst::Fp(Fp::FromBits(_), _, [bits, ..]) => self.inst(bits).constant(),
            _ => None,
        }
    }

    /// What an operation with a constant second operand simplifies to.
    fn simplify(&self, op: Bin, bits: u32, a: Val, k: u64) -> Option<Val> {
        match op {
            Bin::Add | Bin::Sub if bits == 64 => match self.inst(a) {
                Inst::Pc(offset) => Some(self.pure(Inst::Pc(moved(op, offset, k)))),
                Inst::Bin(Bin::Sub, 64, pc, base) => match self.inst(pc) {
                    Inst::Pc(offset) => {
                        let pc = self.pure(Inst::Pc(moved(op, offset, k)));
                        Some(self.pure(Inst::Bin(Bin::Sub, 64, pc, base)))
                    }
                    _ => (k == 0).then_some(a),
                },
                _ => (k == 0).then_some(a),
            },
            Bin::Add | Bin::Sub | Bin::Or | Bin::Xor | Bin::Andn => (k == 0).then_some(a),
            Bin::Shr | Bin::Sar if bits == 64 && k & 63 >= 32 => {
                // Nothing is left of the lower half.
                let (high, _) = self.joined(a)?;
                let high = self.known_bits(high)?;
                Some(self.pure(Inst::Const(eval::binary(op, bits, high, k))))
            }
            Bin::Shl | Bin::Shr | Bin::Sar | Bin::Rol | Bin::Ror => (k & (bits as u64 - 1) == 0).then_some(a),
            Bin::And if k == 0 => Some(self.pure(Inst::Const(0))),
            Bin::And => (k == eval::zext(bits, u64::MAX)).then_some(a),
            _ => None,
        }
    }
}

/// An offset plus or minus a constant.
fn moved(op: Bin, offset: i64, k: u64) -> i64 {
    if op == Bin::Add { offset.wrapping_add(k as i64) } else { offset.wrapping_sub(k as i64) }
}

/// Bytes of a page.
const PAGE: i64 = 0x1000;

fn commutes(op: Bin) -> bool {
    matches!(op, Bin::Add | Bin::Mul | Bin::And | Bin::Or | Bin::Xor | Bin::MulhS | Bin::MulhU)
}

impl<I: Isa> Sem for &Builder<I> {
    type Isa = I;
    type Exit = Ended;
    type Raw = Val;
    type Vec = Val;
    const EMITS: bool = true;

    fn mode(self) -> u32 {
        self.mode
    }

    fn operands(self) -> I::Operands {
        self.operands.get()
    }

    fn known(self, v: Val) -> Option<u64> {
        self.inst(v).constant()
    }

    fn constant(self, _bits: u32, value: u64) -> Val {
        self.pure(Inst::Const(value))
    }

    fn binary(self, op: Bin, bits: u32, a: Val, b: Val) -> Val {
        let (a, b) = if commutes(op) && self.known(a).is_some() { (b, a) } else { (a, b) };
        match (self.known(a), self.known(b)) {
            (Some(x), Some(y)) => return self.pure(Inst::Const(eval::binary(op, bits, x, y))),
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
        if let (Bin::Xor, 1, Some(1), Inst::Cmp(op, n, x, y)) = (op, bits, self.known(b), self.inst(a)) {
            return self.pure(Inst::Cmp(op.opposite(), n, x, y));
        }
        self.pure(Inst::Bin(op, bits as u8, a, b))
    }

    fn compare(self, op: Cmp, bits: u32, a: Val, b: Val) -> Val {
        if let (Some(x), Some(y)) = (self.known(a), self.known(b)) {
            return self.pure(Inst::Const(eval::compare(op, bits, x, y) as u64));
        }
        let (a, b) = (self.low_bits(bits, a), self.low_bits(bits, b));
        self.pure(Inst::Cmp(op, bits as u8, a, b))
    }

    fn unary(self, op: Un, bits: u32, a: Val) -> Val {
        match self.known(a) {
            Some(x) => self.pure(Inst::Const(eval::unary(op, bits, x))),
            None => self.pure(Inst::Un(op, bits as u8, a)),
        }
    }

    fn zero_extend(self, from: u32, to: u32, a: Val) -> Val {
        match self.known(a) {
            Some(x) => self.pure(Inst::Const(eval::zext(from.min(to), x))),
            None if to > from || bits_of(&self.inst(a)) <= to => a,
            None if to == 32
                && let Some((_, low)) = self.joined(a) =>
            {
                self.fp(Fp::ToBits(Fmt::S), Rounding::Static(Round::Rne), [low; 3])
            }
            None => self.pure(Inst::Zext(from as u8, to as u8, a)),
        }
    }

    fn sign_extend(self, from: u32, to: u32, a: Val) -> Val {
        if let Some(x) = self.known(a) {
            return self.pure(Inst::Const(eval::zext(to, eval::sext(from, x) as u64)));
        }
        let a = match self.inst(a) {
            Inst::Zext(_, n, x) if n as u32 == from => x,
            _ => a,
        };
        if let Inst::Sext(n, 64, _) = self.inst(a)
            && n as u32 <= from
            && to == 64
        {
            return a;
        }
        self.pure(Inst::Sext(from as u8, to as u8, a))
    }

    fn carry_raw(self, op: Carry, bits: u32, args: [Val; 3]) -> [Val; 3] {
        if let [Some(a), Some(b), Some(c)] = args.map(|v| self.known(v)) {
            let (value, carry, overflow) = eval::carry(op, bits, a, b, c);
            return [value, carry as u64, overflow as u64].map(|k| self.pure(Inst::Const(k)));
        }
        let value = self.emit(Inst::Carry(op, bits as u8, args));
        let [carry, overflow] = [Extra::Carry, Extra::Overflow].map(|e| self.emit(Inst::Extra(e, value)));
        [value, carry, overflow]
    }

    fn divide_wide_raw(self, signed: Signed, args: [Val; 3]) -> [Val; 2] {
        if let [Some(high), Some(low), Some(divisor)] = args.map(|v| self.known(v)) {
            let (quotient, remainder) = eval::divide_wide(signed, high, low, divisor);
            return [quotient, remainder].map(|k| self.pure(Inst::Const(k)));
        }
        let quotient = self.emit(Inst::DivWide(signed, args));
        [quotient, self.emit(Inst::Extra(Extra::Remainder, quotient))]
    }

    fn insert_raw(self, at: u32, len: u32, old: Val, value: Val) -> Val {
        match (self.known(old), self.known(value)) {
            (Some(old), Some(value)) => self.pure(Inst::Const(eval::insert(at, len, old, value))),
            _ if len == 64 => value,
            _ => {
                let value = self.low_bits(len, value);
                self.pure(Inst::Insert(at as u8, len as u8, old, value))
            }
        }
    }

    fn select_raw(self, bits: u32, c: Val, a: Val, b: Val) -> Val {
        match self.known(c) {
            Some(0) => b,
            Some(_) => a,
            None => self.pure(Inst::Select(bits as u8, c, a, b)),
        }
    }

    fn select_fp(self, c: Val, a: Val, b: Val) -> Val {
        match self.known(c) {
            Some(0) => b,
            Some(_) => a,
            None => self.pure(Inst::SelectF(c, a, b)),
        }
    }

    fn get_raw(self, slot: u16) -> Val {
        self.slot(slot, Class::Int, Inst::Get)
    }

    fn set_raw(self, slot: u16, value: Val) {
        self.known.borrow_mut().write(slot, Class::Int, value);
        self.emit(Inst::Set(slot, value));
    }

    fn get_fp(self, slot: u16) -> Val {
        self.slot(slot, Class::Float, Inst::GetF)
    }

    fn set_fp(self, slot: u16, value: Val) {
        self.known.borrow_mut().write(slot, Class::Float, value);
        self.emit(Inst::SetF(slot, value));
    }

    fn get_vec(self, slot: u16) -> Val {
        self.slot(slot, Class::Vec, Inst::GetV)
    }

    fn set_vec(self, slot: u16, value: Val) {
        self.known.borrow_mut().write(slot, Class::Vec, value);
        self.emit(Inst::SetV(slot, value));
    }

    fn vector(self, op: Vop, args: [Val; 3]) -> Val {
        let last = args[op.operands() - 1];
        self.emit(Inst::Vec(op, std::array::from_fn(|n| if n < op.operands() { args[n] } else { last })))
    }

    fn vector_fp(self, op: VFp, rounding: Rounding, [a, b]: [Val; 2]) -> Val {
        self.emit(Inst::VFp(op, rounding, [a, if op.operands() == 2 { b } else { a }]))
    }

    fn to_vec(self, value: Val) -> Val {
        self.emit(Inst::ToVec(value))
    }

    fn insert_lane(self, lane: Lane, n: u8, v: Val, x: Val) -> Val {
        self.emit(Inst::VInsert(lane, n, v, self.low_bits(lane.bits(), x)))
    }

    fn extract_lane(self, lane: Lane, n: u8, v: Val) -> Val {
        self.emit(Inst::VExtract(lane, n, v))
    }

    fn mask_of(self, lane: Lane, v: Val) -> Val {
        self.emit(Inst::VMask(lane, v))
    }

    fn load_vec(self, hints: Hints, address: Val) -> Res<Self, Val> {
        Ok(self.emit(Inst::LoadV(hints, address)))
    }

    fn store_vec(self, hints: Hints, address: Val, value: Val) -> Res<Self> {
        self.emit(Inst::StoreV(hints, address, value));
        Ok(())
    }

    fn load_raw(self, how: MemOp, address: Val) -> Res<Self, Val> {
        Ok(self.emit(Inst::Load(how, address)))
    }

    fn store_raw(self, how: MemOp, address: Val, value: Val) -> Res<Self> {
        // A store takes the low bytes of a register.
        let value = match self.inst(value) {
            Inst::Zext(64, to, x) if to as u32 == how.width.bits() => x,
            _ => value,
        };
        self.emit(Inst::Store(how, address, value));
        Ok(())
    }

    fn rmw_raw(self, op: Rmw, how: MemOp, address: Val, v: Val) -> Res<Self, Val> {
        Ok(self.emit(Inst::Rmw(op, how, address, v)))
    }

    fn exchange_raw(self, how: MemOp, address: Val, expect: Val, new: Val) -> Res<Self, Val> {
        Ok(self.emit(Inst::Exchange(how, address, expect, new)))
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
        let before = self.known.borrow_mut().enter();
        let exits = f().is_err();
        self.known.borrow_mut().leave(before, exits);
        self.insts.borrow_mut()[at.0 as usize] = Inst::IfNot { c, to, exits };
        self.emit(Inst::Label(to));
        Ok(())
    }

    fn pc_raw(self) -> Val {
        self.guest_pc(self.offset.get())
    }

    fn next_pc_raw(self) -> Val {
        self.guest_pc(self.offset.get() + self.bytes.get() as i64)
    }

    fn jump_raw(self, flow: Flow, target: Val) -> Res<Self> {
        let target = self.linear_of(target);
        self.emit(Inst::Jump(flow, target));
        Err(Ended)
    }

    fn raise_raw(self, cause: u64, code: u32, value: Val) -> Res<Self> {
        self.emit(Inst::Raise(cause, code, value));
        Err(Ended)
    }

    fn call_raw(self, helper: &'static Helper, args: [Val; 3]) -> Res<Self, Val> {
        self.known.borrow_mut().forget(helper.writes);
        Ok(self.emit(Inst::Call(helper, args)))
    }

    fn fp_flags(self) -> Val {
        self.emit(Inst::Flags)
    }

    fn set_fp_flags(self, flags: Val) {
        self.emit(Inst::SetFlags(flags));
    }

    fn fp(self, op: Fp, rounding: Rounding, args: [Val; 3]) -> Val {
        let inst = Inst::Fp(op, rounding, args);
        match op {
            Fp::ToBits(_) | Fp::FromBits(_) | Fp::Low | Fp::WithLow => {
                self.moved_bits(op, args[0]).unwrap_or_else(|| self.pure(inst))
            }
            _ => self.emit(inst),
        }
    }
}
