//! Operations with further results, and fields: carries, wide divisions.

use super::Lower;
use super::allocator::Allocator;
use crate::x64::asm::{Alu, Cc, Reg, Shift, mem2, reg::*};
use trine_ir::inst::{Inst, Val};
use trine_ir::{Carry, Extra, Isa, Signed};

impl<I: Isa, A> Lower<'_, I, A>
where
    Self: Allocator,
{
    /// The instruction that takes `extra` of the current one, if it is needed.
    fn wanted(&self, extra: Extra) -> Option<u32> {
        let behind = self.insts.iter().enumerate().skip(self.at as usize + 1);
        let mut extras = behind.take_while(|(_, inst)| matches!(inst, Inst::Extra(..)));
        let found = extras.find(|(_, inst)| matches!(inst, Inst::Extra(e, _) if *e == extra));
        found.map(|(i, _)| i as u32).filter(|&i| self.facts.of(i).uses != 0)
    }

    /// A sum or difference with carry-in, and those of its carry and overflow that are needed.
    pub fn carry(&mut self, op: Carry, bits: u8, [x, y, c]: [Val; 3]) {
        let outs = [Extra::Carry, Extra::Overflow].map(|extra| self.wanted(extra));
        if bits < 32 {
            return self.narrow_carry(op, bits, [x, y, c], outs);
        }
        let w = bits == 64;
        let (a, b) = (self.gpr(x), self.gpr(y));
        let alu = if op == Carry::Add { Alu::Add } else { Alu::Sub };
        let no_carry = self.constant(c) == Some(0);
        let c = if no_carry { None } else { Some(self.gpr(c)) };
        let d = self.take_gpr();
        let registers = outs.map(|out| out.map(|_| self.take_gpr()));
        self.a.mov(w, d, a);
        match c {
            None => self.a.alu(alu, w, d, b),
            Some(c) => {
                self.a.low_bit_to_carry(c);
                self.a.alu_carry(alu, w, d, b);
            }
        }
        for ((out, r), cc) in outs.into_iter().zip(registers).zip([Cc::Below, Cc::Overflow]) {
            if let (Some(out), Some(r)) = (out, r) {
                self.flag_to(cc, r);
                self.own_as(out, r);
            }
        }
        self.own(d);
    }

    /// The same in 8 or 16 bits: a sum of 32 bits has the carry above its own.
    fn narrow_carry(&mut self, op: Carry, bits: u8, [x, y, c]: [Val; 3], outs: [Option<u32>; 2]) {
        let (a, b, c) = (self.gpr(x), self.gpr(y), self.gpr(c));
        let d = self.take_gpr();
        match op {
            Carry::Add => self.a.lea(false, d, mem2(a, b, 0)),
            Carry::Sub => {
                self.a.mov(false, d, a);
                self.a.alu(Alu::Sub, false, d, b);
            }
        }
        self.a.alu(if op == Carry::Add { Alu::Add } else { Alu::Sub }, false, d, c);
        if let Some(out) = outs[0] {
            let r = self.take_gpr();
            self.a.mov(false, r, d);
            self.bit_of(r, bits);
            self.own_as(out, r);
        }
        if let Some(out) = outs[1] {
            let r = self.take_gpr();
            // The sign differs from that of both operands, or of the first if the second has the other sign.
            let other = if op == Carry::Add { d } else { b };
            self.a.mov(false, r, a);
            self.a.alu(Alu::Xor, false, r, d);
            self.a.mov(false, RAX, if op == Carry::Add { b } else { a });
            self.a.alu(Alu::Xor, false, RAX, other);
            self.a.alu(Alu::And, false, r, RAX);
            self.bit_of(r, bits - 1);
            self.own_as(out, r);
        }
        self.a.movzx(bits as u64 / 8, d, d);
        self.own(d);
    }

    /// One bit of a register as 0 or 1.
    fn bit_of(&mut self, r: Reg, bit: u8) {
        self.a.shift_imm(Shift::Shr, false, r, bit);
        self.a.alu_imm(Alu::And, false, r, 1);
    }

    /// Quotient and remainder of a dividend of 128 bits.
    pub fn divide_wide(&mut self, signed: Signed, [high, low, divisor]: [Val; 3]) {
        let remainder = self.wanted(Extra::Remainder);
        self.clobber(RDX);
        let (high, low, divisor) = (self.gpr(high), self.gpr(low), self.gpr(divisor));
        let d = self.take_gpr();
        let r = remainder.map(|_| self.take_gpr());
        self.a.mov(true, RDX, high);
        self.a.mov(true, RAX, low);
        self.a.group3(if signed == Signed::Yes { 7 } else { 6 }, true, divisor);
        self.a.mov(true, d, RAX);
        if let (Some(out), Some(r)) = (remainder, r) {
            self.a.mov(true, r, RDX);
            self.own_as(out, r);
        }
        self.own(d);
    }

    /// Replaces a field of `old` by the low bits of `v`.
    pub fn insert(&mut self, at: u8, len: u8, old: Val, v: Val) {
        let s = self.gpr(v);
        let d = self.def_from(true, old);
        if at == 0 && (len == 8 || len == 16) {
            return self.a.mov_low(len as u64 / 8, d, s);
        }
        self.clobber(RCX);
        let field = u64::MAX >> (64 - len);
        self.a.mov(true, RAX, s);
        self.a.mov_imm(RCX, field);
        self.a.alu(Alu::And, true, RAX, RCX);
        self.a.shift_imm(Shift::Shl, true, RAX, at);
        self.a.mov_imm(RCX, !(field << at));
        self.a.alu(Alu::And, true, d, RCX);
        self.a.alu(Alu::Or, true, d, RAX);
    }
}
