//! Bodies of the instructions, one file for each group, and the functions that they are written with.

pub mod alu;
pub mod bits;
pub mod control;
pub mod divide;
pub mod flag_ops;
pub mod fp;
pub mod mmx;
pub mod mov;
pub mod multiply;
pub mod packed;
pub mod shift;
pub mod stack;
pub mod string;
pub mod system;
pub mod vec;
pub mod vec_mov;

use crate::isa::X64;
use crate::operands::{ABSOLUTE, AH, Arg, Mem, NO_REGISTER, Operands, RIP, prefix};
use crate::state::{BASE, GPR, gpr, mode, segment, vector};
use trine_ir::{Hints, Int, MemOp, Res, Rmw, Sem, V};

/// An access to the stack.
pub const STACK: Hints = Hints { stack: true, ..Hints::NONE };

/// What x86 bodies use on top of [`Sem`].
pub trait X86: Sem<Isa = X64> {
    /// A general register.
    #[inline(always)]
    fn reg<T: Int>(self, number: u8) -> V<Self, T> {
        if T::BITS == 8 && number >= AH {
            return (self.get::<u64>(GPR + (number - AH) as u16) >> 8).low();
        }
        self.get(GPR + (number & 15) as u16)
    }

    /// Writes a general register: 32 bits clear those above them, 8 and 16 leave them alone.
    #[inline(always)]
    fn set_reg<T: Int>(self, number: u8, v: V<Self, T>) {
        if T::BITS >= 32 {
            return self.set(GPR + (number & 15) as u16, v);
        }
        let high = T::BITS == 8 && number >= AH;
        let slot = GPR + if high { number - AH } else { number & 15 } as u16;
        self.set(slot, self.get::<u64>(slot).insert(if high { 8 } else { 0 }, v));
    }

    /// Whether the code runs in 64-bit mode.
    #[inline(always)]
    fn long(self) -> bool {
        mode::long(self.mode())
    }

    /// A register as an address of the instruction's address size.
    #[inline(always)]
    fn address_reg(self, o: &Operands, number: u16) -> V<Self, u64> {
        self.cut_address(o, self.get(GPR + number))
    }

    /// The bits of the instruction's address size.
    #[inline(always)]
    fn cut_address(self, o: &Operands, v: V<Self, u64>) -> V<Self, u64> {
        if o.has(prefix::A32) {
            v.low::<u32>().zext()
        } else if o.has(prefix::A16) {
            v.low::<u16>().zext()
        } else {
            v
        }
    }

    /// Writes a register that counts or addresses in the instruction's address size.
    #[inline(always)]
    fn set_address_reg(self, o: &Operands, number: u16, v: V<Self, u64>) {
        if o.has(prefix::A16) {
            self.set_reg::<u16>(number as u8, v.low());
        } else {
            self.set(GPR + number, self.cut_address(o, v));
        }
    }

    /// The offset of the memory operand in its segment.
    #[inline(always)]
    fn offset(self, o: &Operands) -> V<Self, u64> {
        let Mem { base, index, scale, disp, .. } = o.mem;
        let v = match base {
            RIP => self.next_pc() + disp as i64,
            ABSOLUTE => self.k(o.imm),
            _ => {
                let base = (base != NO_REGISTER).then(|| self.get::<u64>(GPR + (base & 15) as u16));
                let index = (index != NO_REGISTER)
                    .then(|| self.get::<u64>(GPR + (index & 15) as u16) << (scale & 3) as i64);
                let registers = match (base, index) {
                    (Some(base), Some(index)) => Some(base + index),
                    (base, index) => base.or(index),
                };
                registers.map_or(self.k(disp as i64), |v| v + disp as i64)
            }
        };
        self.cut_address(o, v)
    }

    /// A segment's offset as a linear address.
    #[inline(always)]
    fn linear(self, segment: u8, offset: V<Self, u64>) -> V<Self, u64> {
        let v = match segment {
            NO_REGISTER => return offset,
            _ => self.get::<u64>(BASE + (segment & 7) as u16) + offset,
        };
        if self.long() { v } else { v.low::<u32>().zext() }
    }

    /// The linear address of the memory operand.
    #[inline(always)]
    fn address(self, o: &Operands) -> V<Self, u64> {
        self.linear(o.mem.segment, self.offset(o))
    }

    /// How the memory operand is accessed: a fault in the stack segment is another exception.
    #[inline(always)]
    fn access<T: Int>(self, o: &Operands) -> MemOp {
        let stack = o.mem.named == segment::SS;
        MemOp::from(T::WIDTH).hinted(Hints { stack, ..Hints::NONE })
    }

    /// Loads the memory operand.
    #[inline(always)]
    fn load_mem<T: Int>(self, o: &Operands) -> Res<Self, V<Self, T>> {
        self.load_as(self.access::<T>(o), self.address(o))
    }

    /// Ends with a general-protection fault if the memory operand lies in a code segment, which cannot be written.
    #[inline(always)]
    fn need_writable(self, o: &Operands) -> Res<Self> {
        if o.mem.named == segment::CS && !self.long() { self.exception(vector::GP) } else { Ok(()) }
    }

    /// Stores to the memory operand.
    #[inline(always)]
    fn store_mem<T: Int>(self, o: &Operands, v: V<Self, T>) -> Res<Self> {
        self.need_writable(o)?;
        self.store_as(self.access::<T>(o), self.address(o), v)
    }

    /// A read-modify-write of the memory operand.
    #[inline(always)]
    fn rmw_mem<T: Int>(self, op: Rmw, o: &Operands, v: V<Self, T>) -> Res<Self, V<Self, T>> {
        self.need_writable(o)?;
        let old = self.rmw_raw(op, self.access::<T>(o), self.address(o).raw, v.raw)?;
        Ok(V::new(self, old))
    }

    /// A compare-and-exchange of the memory operand.
    #[inline(always)]
    fn exchange_mem<T: Int>(
        self,
        o: &Operands,
        expect: V<Self, T>,
        new: V<Self, T>,
    ) -> Res<Self, V<Self, T>> {
        self.need_writable(o)?;
        let old = self.exchange_raw(self.access::<T>(o), self.address(o).raw, expect.raw, new.raw)?;
        Ok(V::new(self, old))
    }

    /// An operand by its position.
    #[inline(always)]
    fn arg<T: Int>(self, o: &Operands, n: usize) -> Res<Self, V<Self, T>> {
        Ok(match o.args[n] {
            Arg::Reg(number) => self.reg(number),
            Arg::Mem => self.load_mem(o)?,
            Arg::Imm => self.k(o.imm),
            Arg::Imm2 => self.k(o.imm2 as i64),
            Arg::None => self.k(0),
        })
    }

    /// Writes an operand by its position.
    #[inline(always)]
    fn set_arg<T: Int>(self, o: &Operands, n: usize, v: V<Self, T>) -> Res<Self> {
        match o.args[n] {
            Arg::Reg(number) => self.set_reg(number, v),
            Arg::Mem => self.store_mem(o, v)?,
            _ => {}
        }
        Ok(())
    }

    /// The base of a segment for an address with this default segment: what is added, if it is not known to be 0.
    #[inline(always)]
    fn flat_segment(self, segment: u8) -> u8 {
        if mode::flat(self.mode()) { NO_REGISTER } else { segment }
    }

    /// Bytes of an address of the stack.
    #[inline(always)]
    fn stack_bits(self) -> u32 {
        match (self.long(), mode::code32(self.mode())) {
            (true, _) => 64,
            (_, true) => 32,
            _ => 16,
        }
    }

    /// The stack pointer, moved.
    #[inline(always)]
    fn stack_pointer(self, by: i64) -> V<Self, u64> {
        self.cut_stack(self.get::<u64>(GPR + gpr::RSP) + by)
    }

    /// The bits of a stack pointer.
    #[inline(always)]
    fn cut_stack(self, v: V<Self, u64>) -> V<Self, u64> {
        match self.stack_bits() {
            64 => v,
            32 => v.low::<u32>().zext(),
            _ => v.low::<u16>().zext(),
        }
    }

    /// Writes the stack pointer.
    #[inline(always)]
    fn set_stack_pointer(self, v: V<Self, u64>) {
        match self.stack_bits() {
            16 => self.set_reg::<u16>(gpr::RSP as u8, v.low()),
            _ => self.set(GPR + gpr::RSP, v),
        }
    }

    /// The linear address of an offset in the stack segment.
    #[inline(always)]
    fn stack_address(self, offset: V<Self, u64>) -> V<Self, u64> {
        self.linear(self.flat_segment(segment::SS), offset)
    }

    /// Loads from an offset in the stack segment.
    #[inline(always)]
    fn load_stack<T: Int>(self, offset: V<Self, u64>) -> Res<Self, V<Self, T>> {
        self.load_as(MemOp::from(T::WIDTH).hinted(STACK), self.stack_address(offset))
    }

    /// Stores to an offset in the stack segment.
    #[inline(always)]
    fn store_stack<T: Int>(self, offset: V<Self, u64>, v: V<Self, T>) -> Res<Self> {
        self.store_as(MemOp::from(T::WIDTH).hinted(STACK), self.stack_address(offset), v)
    }

    /// Pushes a value.
    #[inline(always)]
    fn push<T: Int>(self, v: V<Self, T>) -> Res<Self> {
        let sp = self.stack_pointer(-(T::BITS as i64 / 8));
        self.store_stack(sp, v)?;
        self.set_stack_pointer(sp);
        Ok(())
    }

    /// The value on top of the stack, which stays there.
    #[inline(always)]
    fn top<T: Int>(self) -> Res<Self, V<Self, T>> {
        self.load_stack(self.stack_pointer(0))
    }

    /// Pops a value.
    #[inline(always)]
    fn pop<T: Int>(self) -> Res<Self, V<Self, T>> {
        let v = self.top()?;
        self.set_stack_pointer(self.stack_pointer(T::BITS as i64 / 8));
        Ok(v)
    }

    /// Ends with an exception whose error code is 0, or that has none.
    #[inline(always)]
    fn exception(self, vector: u64) -> Res<Self> {
        self.raise(vector, self.k(0))
    }

    /// Ends with an invalid opcode.
    #[inline(always)]
    fn undefined(self) -> Res<Self> {
        self.exception(vector::UD)
    }
}

impl<S: Sem<Isa = X64>> X86 for S {}

/// A memory operand is replaced by `f` of it, in one step if the instruction is locked. Gives the old and the new value.
#[inline(always)]
pub fn modify<S: X86, T: Int>(
    s: S,
    o: &Operands,
    f: impl FnOnce(V<S, T>) -> V<S, T>,
) -> Res<S, [V<S, T>; 2]> {
    let old = s.arg::<T>(o, 0)?;
    let new = f(old);
    if o.has(prefix::LOCK) {
        // Somebody else was faster: once more from the beginning.
        let found = s.exchange_mem(o, old, new)?;
        s.when(found.ne(old), || s.jump(s.pc()))?;
    } else {
        s.set_arg(o, 0, new)?;
    }
    Ok([old, new])
}
