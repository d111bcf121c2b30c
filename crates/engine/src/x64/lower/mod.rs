//! Lowering: from IR instructions to the host's.

pub mod allocator;
mod atomic;
mod carry;
pub mod facts;
mod float;
mod integer;
mod memory;
mod quiet;
#[cfg(test)]
mod tests;
mod vector;
mod vector_fp;

use super::asm::{Asm, Hole, Part, Place, Reg, Xmm, reg::*};
use super::side::{Kind, Row, Side};
use super::thunks::{Layout, Thunk};
use allocator::{Allocator, RowSlots};
use facts::Facts;
use std::marker::PhantomData;
use trine_ir::Isa;
use trine_ir::inst::{Inst, Val};

/// The lowering of one block, with registers from the allocator `A`.
pub struct Lower<'a, I: Isa, A> {
    pub a: &'a mut Asm,
    pub side: &'a mut Side,
    pub l: Layout,
    pub insts: &'a [Inst],
    /// Facts about the instructions' values.
    pub facts: &'a Facts,
    /// Index of the current IR instruction.
    pub at: u32,
    /// Guest instructions in the block.
    pub guest: u32,
    /// Guest instructions begun.
    pub begun: u32,
    /// Offset in the page and length of the current guest instruction.
    pub offset: i64,
    pub bytes: u8,
    /// Mode of the block.
    pub mode: u32,
    /// Accesses that the host may refuse, and their rows.
    pub accesses: &'a mut Vec<(Place, u32)>,
    /// The allocator's state.
    pub alloc: A,
    pub isa: PhantomData<I>,
}

impl<I: Isa, A> Lower<'_, I, A> {
    /// Whether the instruction at `i` needs no code.
    pub fn is_dead(&self, i: usize) -> bool {
        self.facts.is_dead(i, &self.insts[i])
    }

    /// Emits code out of line, reached from `from`. The code emitted last must not fall through.
    pub fn cold(&mut self, from: &[Hole], emit: impl FnOnce(&mut Self)) {
        let part = self.a.switch(Part::Cold);
        from.iter().for_each(|hole| self.a.fix_here(*hole));
        emit(self);
        self.a.switch(part);
    }

    /// The same if it does fall through: code that is out of line already, as in an arm that exits, jumps
    /// over it.
    pub fn cold_with<T>(&mut self, from: &[Hole], emit: impl FnOnce(&mut Self) -> T) -> T {
        let part = self.a.switch(Part::Cold);
        let over = (part == Part::Cold).then(|| self.a.jmp());
        from.iter().for_each(|hole| self.a.fix_here(*hole));
        let result = emit(self);
        if let Some(over) = over {
            self.a.fix_here(over);
        }
        self.a.switch(part);
        result
    }

    /// Emits code out of line, reached from `from`, which then continues here.
    pub fn aside(&mut self, from: &[Hole], emit: impl FnOnce(&mut Self)) {
        let back = self.a.here();
        self.cold_with(from, |e| {
            emit(e);
            let jump = e.a.jmp();
            e.a.fix(jump, back);
        });
    }

    /// Instructions of the block that are not completed; with `this`, the current one counts as completed.
    pub fn undone(&self, this: bool) -> u32 {
        self.guest - self.begun + !this as u32
    }
}

impl<I: Isa, A> Lower<'_, I, A>
where
    Self: Allocator,
{
    /// Lowers an instruction. Reads and writes of slots, calls, branches and exits are left to the caller.
    pub fn lower(&mut self, inst: Inst) {
        match inst {
            Inst::Const(_) | Inst::Pc(_) => {}
            Inst::Bin(op, bits, x, y) => self.binary(op, bits, x, y),
            Inst::Cmp(op, bits, x, y) => self.compare(op, bits, x, y),
            Inst::Un(op, bits, x) => self.unary(op, bits, x),
            Inst::Zext(from, to, x) => self.zero_extend(from.min(to), x),
            Inst::Sext(from, to, x) => self.sign_extend(from, to, x),
            Inst::Select(_, c, x, y) => self.select(c, x, y),
            Inst::SelectF(c, x, y) => self.select_float(c, x, y),
            Inst::Vec(op, args) => self.vector(op, args),
            Inst::VFp(op, rounding, args) => self.vector_fp(op, rounding, args),
            Inst::ToVec(x) => self.vector_of(x),
            Inst::VInsert(lane, n, v, x) => self.vector_insert(lane, n, v, x),
            Inst::VExtract(lane, n, v) => self.vector_extract(lane, n, v),
            Inst::VMask(lane, v) => self.vector_mask(lane, v),
            Inst::LoadV(hints, a) => self.load_vector(hints, a),
            Inst::StoreV(hints, a, v) => self.store_vector(hints, a, v),
            Inst::Carry(op, bits, args) => self.carry(op, bits, args),
            Inst::DivWide(signed, args) => self.divide_wide(signed, args),
            // Emitted with the operation that it belongs to.
            Inst::Extra(..) => {}
            Inst::Insert(at, len, old, v) => self.insert(at, len, old, v),
            Inst::Load(how, a) => self.load(how, a),
            Inst::Store(how, a, v) => self.store(how, a, v),
            Inst::Rmw(op, how, a, v) => self.rmw(op, how, a, v),
            Inst::Exchange(how, a, old, new) => self.exchange(how, a, old, new),
            Inst::Fence => self.a.barrier(),
            Inst::Fp(op, rounding, args) => self.float(op, rounding, args),
            Inst::Flags => self.flags_value(),
            Inst::SetFlags(v) => self.set_flags(v),
            Inst::Begin(offset, bytes) => {
                self.offset = offset;
                self.bytes = bytes;
                self.begun += 1;
            }
            Inst::Get(_)
            | Inst::GetF(_)
            | Inst::GetV(_)
            | Inst::Set(..)
            | Inst::SetF(..)
            | Inst::SetV(..)
            | Inst::Call(..)
            | Inst::IfNot { .. }
            | Inst::Label(_)
            | Inst::Jump(..)
            | Inst::Raise(..) => {}
        }
    }

    /// A register for the result of the current instruction, different from those given to it before.
    pub fn def(&mut self) -> Reg {
        self.def_over(&[])
    }

    /// A vector register for the result of the current instruction, different from those given to it before.
    pub fn def_fp(&mut self) -> Xmm {
        let x = self.take_xmm();
        self.own_fp(x);
        x
    }

    /// Records that the current instruction's result is in this register, which was taken before.
    pub fn own(&mut self, r: Reg) {
        self.own_as(self.at, r);
    }

    /// A vector register for the result that already holds all of `v`.
    pub fn def_fp_from(&mut self, v: Val) -> Xmm {
        let (d, s) = self.def_fp_over(v);
        if d != s {
            self.a.movaps(d, s);
        }
        d
    }

    /// Puts a number with these bits into a vector register. Keeps the flags, and uses `rax`.
    pub fn number_to(&mut self, x: Xmm, bits: u64) {
        self.a.mov_imm(RAX, bits);
        self.a.movq_to(true, x, RAX);
    }

    /// The bits of a number, if it is constant.
    pub fn number_constant(&self, v: Val) -> Option<u64> {
        facts::number_constant(self.insts, self.resolve(v))
    }

    /// The value, if it is constant.
    pub fn constant(&self, v: Val) -> Option<u64> {
        match self.insts[self.resolve(v) as usize] {
            Inst::Const(k) => Some(k),
            _ => None,
        }
    }

    /// The constant, if it fits a sign-extended immediate of 32 bits.
    pub fn imm32(&self, v: Val, bits: u8) -> Option<i32> {
        let k = self.constant(v)?;
        if bits <= 32 {
            return Some(k as u32 as i32);
        }
        i32::try_from(k as i64).ok()
    }

    /// Calls the slow path of the current instruction, whose arguments are stored. The result is in `rax`.
    pub fn call_slow(&mut self, kind: Kind) {
        [RCX, RDX].into_iter().for_each(|r| self.clobber(r));
        let row = self.add_row(kind);
        self.a.call_mem(self.l.thunk(Thunk::Slow));
        self.a.mark(row);
    }

    /// Adds a row of the side table for the current state of the current instruction; returns its number.
    pub fn add_row(&mut self, kind: Kind) -> u32 {
        let RowSlots { displaced, first, dirty } = self.row_slots();
        let (offset, undone) = (self.offset as u16, self.undone(false) as u16);
        let row = Row { kind, offset, undone, displaced, first, dirty };
        self.side.rows.push(row);
        self.side.first_row + self.side.rows.len() as u32 - 1
    }
}
