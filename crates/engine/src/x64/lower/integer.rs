//! Integer operations.

use super::Lower;
use super::allocator::{Allocator, Operand};
use super::facts::upper_half;
use crate::x64::asm::{Alu, Cc, Reg, Shift, mem, mem2, reg::*};
use trine_ir::inst::{Inst, Val};
use trine_ir::{Bin, Cmp, Isa, Un};

/// The x86 condition of a comparison.
pub fn cc(op: Cmp) -> Cc {
    match op {
        Cmp::Eq => Cc::Equal,
        Cmp::Ne => Cc::NotEqual,
        Cmp::LtS => Cc::Less,
        Cmp::LtU => Cc::Below,
        Cmp::GeS => Cc::GreaterEqual,
        Cmp::GeU => Cc::AboveEqual,
    }
}

fn is_signed(op: Cmp) -> bool {
    matches!(op, Cmp::LtS | Cmp::GeS)
}

/// Maximal depth of the search through operations for what is known of a value's bits.
const DEPTH: u32 = 3;

impl<I: Isa, A> Lower<'_, I, A>
where
    Self: Allocator,
{
    /// `op bits x y`.
    pub fn binary(&mut self, op: Bin, bits: u8, x: Val, y: Val) {
        let w = bits == 64;
        match op {
            Bin::Add => self.add(bits, x, y),
            Bin::Sub => self.alu(Alu::Sub, bits, x, y),
            Bin::And => self.alu(Alu::And, bits, x, y),
            Bin::Or => self.alu(Alu::Or, bits, x, y),
            Bin::Xor => self.alu(Alu::Xor, bits, x, y),
            Bin::Andn => {
                let (n, s) = (self.gpr(y), self.gpr(x));
                let d = self.def_over(&[x, y]);
                self.a.andn(w, d, n, s);
            }
            Bin::Mul => {
                let b = self.gpr(y);
                let d = self.def_from(w, x);
                self.a.imul(w, d, b);
                self.trim(d, bits);
            }
            Bin::MulhS | Bin::MulhU | Bin::MulhSU => self.high_product(op, bits, x, y),
            Bin::DivS | Bin::DivU | Bin::RemS | Bin::RemU => self.divide(op, bits, x, y),
            Bin::Shl => self.shift(Shift::Shl, bits, x, y),
            Bin::Shr => self.shift(Shift::Shr, bits, x, y),
            Bin::Sar => self.shift(Shift::Sar, bits, x, y),
            Bin::Rol => self.rotate(Shift::Rol, bits, x, y),
            Bin::Ror => self.rotate(Shift::Ror, bits, x, y),
        }
    }

    /// Clears the bits that a 32-bit operation left above a narrower type.
    fn trim(&mut self, d: Reg, bits: u8) {
        match bits {
            1 => self.a.alu_imm(Alu::And, false, d, 1),
            8 => self.a.movzx(1, d, d),
            16 => self.a.movzx(2, d, d),
            _ => {}
        }
    }

    fn add(&mut self, bits: u8, x: Val, y: Val) {
        let w = bits == 64;
        match self.imm32(y, bits) {
            Some(k) if bits >= 32 => {
                let s = self.gpr(x);
                let d = self.def_over(&[x]);
                if d == s { self.a.alu_imm(Alu::Add, w, d, k) } else { self.a.lea(w, d, mem(s, k)) }
            }
            None if bits >= 32 => {
                let (s, t) = (self.gpr(x), self.gpr(y));
                let d = self.def_over(&[x, y]);
                match d {
                    _ if d == s => self.a.alu(Alu::Add, w, d, t),
                    _ if d == t => self.a.alu(Alu::Add, w, d, s),
                    _ => self.a.lea(w, d, mem2(s, t, 0)),
                }
            }
            _ => self.alu(Alu::Add, bits, x, y),
        }
    }

    fn alu(&mut self, op: Alu, bits: u8, x: Val, y: Val) {
        let w = bits == 64;
        if let Some(k) = self.imm32(y, bits) {
            let d = self.def_from(w, x);
            self.a.alu_imm(op, w, d, k);
            self.trim(d, bits);
            return;
        }
        let operand = if bits >= 32 { self.gpr_or_mem(y) } else { Operand::Reg(self.gpr(y)) };
        let d = self.def_from(w, x);
        match operand {
            Operand::Reg(b) => self.a.alu(op, w, d, b),
            Operand::Mem(m) => self.a.alu_mem(op, w, d, m),
        }
        self.trim(d, bits);
    }

    fn shift(&mut self, op: Shift, bits: u8, x: Val, y: Val) {
        let w = bits == 64;
        if bits < 32 && op == Shift::Sar {
            self.clobber(RCX);
            let s = self.gpr(x);
            let n = self.gpr(y);
            let d = self.def();
            self.a.movsx(bits as u64 / 8, false, d, s);
            self.a.mov(false, RCX, n);
            self.a.alu_imm(Alu::And, false, RCX, bits as i32 - 1);
            self.a.shift_cl(op, false, d);
            self.trim(d, bits);
            return;
        }
        match self.constant(y) {
            Some(k) => {
                let d = self.def_from(w, x);
                self.a.shift_imm(op, w, d, (k & (bits as u64 - 1)) as u8);
                self.trim(d, bits);
            }
            None if bits >= 32 => {
                let (s, n) = (self.gpr(x), self.gpr(y));
                let d = self.def_over(&[x, y]);
                self.a.shift_x(op, w, d, s, n);
            }
            None => {
                self.clobber(RCX);
                let n = self.gpr(y);
                self.a.mov(false, RCX, n);
                self.a.alu_imm(Alu::And, false, RCX, bits as i32 - 1);
                let d = self.def_from(false, x);
                self.a.shift_cl(op, false, d);
                self.trim(d, bits);
            }
        }
    }

    fn rotate(&mut self, op: Shift, bits: u8, x: Val, y: Val) {
        let w = bits == 64;
        if let Some(k) = self.constant(y) {
            let d = self.def_from(w, x);
            let k = (k & (bits as u64 - 1)) as u8;
            if bits < 32 {
                self.a.rotate_narrow(op, bits, d, Some(k));
            } else {
                self.a.shift_imm(op, w, d, k);
            }
            return;
        }
        self.clobber(RCX);
        let n = self.gpr(y);
        let d = self.def_from(w, x);
        self.a.mov(false, RCX, n);
        if bits < 32 {
            self.a.rotate_narrow(op, bits, d, None);
        } else {
            self.a.shift_cl(op, w, d);
        }
    }

    fn high_product(&mut self, op: Bin, bits: u8, x: Val, y: Val) {
        [RCX, RDX].into_iter().for_each(|r| self.clobber(r));
        let (a, b) = (self.gpr(x), self.gpr(y));
        let d = self.def();
        if bits <= 32 {
            // The whole product, of extended factors.
            let bytes = bits as u64 / 8;
            let w = bits == 32;
            match op {
                Bin::MulhU => self.a.mov(false, RAX, a),
                _ => self.a.movsx(bytes, w, RAX, a),
            }
            match op {
                Bin::MulhS => self.a.movsx(bytes, w, RCX, b),
                _ => self.a.mov(false, RCX, b),
            }
            self.a.imul(w, RAX, RCX);
            self.a.shift_imm(Shift::Shr, w, RAX, bits);
            self.a.mov(w, d, RAX);
            self.trim(d, bits);
            return;
        }
        self.a.mov(true, RAX, a);
        self.a.group3(if op == Bin::MulhS { 5 } else { 4 }, true, b);
        if op == Bin::MulhSU {
            // The unsigned product is too large by 2^64 times the second factor if the first factor is
            // negative.
            self.a.mov(true, RCX, a);
            self.a.shift_imm(Shift::Sar, true, RCX, 63);
            self.a.alu(Alu::And, true, RCX, b);
            self.a.alu(Alu::Sub, true, RDX, RCX);
        }
        self.a.mov(true, d, RDX);
    }

    fn divide(&mut self, op: Bin, bits: u8, x: Val, y: Val) {
        let w = bits == 64;
        let signed = matches!(op, Bin::DivS | Bin::RemS);
        self.clobber(RDX);
        let extended = signed && bits < 32;
        if extended {
            self.clobber(RCX);
        }
        let (a, mut b) = (self.gpr(x), self.gpr(y));
        let d = self.def_over(&[x, y]);
        if extended {
            self.a.movsx(bits as u64 / 8, false, RAX, a);
            self.a.movsx(bits as u64 / 8, false, RCX, b);
            b = RCX;
        } else {
            self.a.mov(w, RAX, a);
        }
        if signed {
            self.a.cqo(w);
            self.a.group3(7, w, b);
        } else {
            self.a.alu(Alu::Xor, false, RDX, RDX);
            self.a.group3(6, w, b);
        }
        self.a.mov(w, d, if matches!(op, Bin::DivS | Bin::DivU) { RAX } else { RDX });
        if extended {
            self.trim(d, bits);
        }
    }

    /// Emits a comparison; returns the condition for true.
    fn flags(&mut self, op: Cmp, bits: u8, x: Val, y: Val) -> Cc {
        let w = bits == 64;
        if bits < 32 && is_signed(op) {
            self.clobber(RCX);
            let (a, b) = (self.gpr(x), self.gpr(y));
            // As words with the sign of the narrow type.
            self.a.mov(false, RAX, a);
            self.a.mov(false, RCX, b);
            self.a.shift_imm(Shift::Shl, false, RAX, 32 - bits);
            self.a.shift_imm(Shift::Shl, false, RCX, 32 - bits);
            self.a.alu(Alu::Cmp, false, RAX, RCX);
            return cc(op);
        }
        match self.imm32(y, bits) {
            Some(0) if matches!(op, Cmp::Eq | Cmp::Ne | Cmp::LtS | Cmp::GeS) => {
                let a = self.compared(x);
                self.a.test(w, a, a);
            }
            Some(k) => {
                let a = self.compared(x);
                self.a.alu_imm(Alu::Cmp, w, a, k);
            }
            None => {
                let (a, b) = (self.gpr(x), self.gpr(y));
                self.a.alu(Alu::Cmp, w, a, b);
            }
        }
        cc(op)
    }

    /// The register of a value that is compared with a constant.
    fn compared(&mut self, x: Val) -> Reg {
        match upper_half(self.insts, x) {
            Some((op, _, number)) if self.facts.of(x.0).deferred => {
                self.copy_to(RAX, number);
                let op = if op == Bin::Sar { Shift::Sar } else { Shift::Shr };
                self.a.shift_imm(op, true, RAX, 32);
                RAX
            }
            _ => self.gpr(x),
        }
    }

    /// Emits the test of `c`; returns the condition for 1.
    pub fn condition(&mut self, c: Val) -> Cc {
        match self.insts[c.0 as usize] {
            Inst::Cmp(op, bits, x, y) if self.facts.of(c.0).deferred => self.flags(op, bits, x, y),
            _ => {
                let r = self.gpr(c);
                self.a.test(false, r, r);
                Cc::NotEqual
            }
        }
    }

    /// A comparison as a value.
    pub fn compare(&mut self, op: Cmp, bits: u8, x: Val, y: Val) {
        let cc = self.flags(op, bits, x, y);
        let d = self.def_over(&[x, y]);
        self.flag_to(cc, d);
    }

    /// A condition as 0 or 1. Moves do not change the flags, and a register that was just written has no old
    /// value for `setcc` to wait for.
    pub fn flag_to(&mut self, cc: Cc, d: Reg) {
        self.a.mov_imm(d, 0);
        self.a.setcc(cc, d);
    }

    /// `op bits x`.
    pub fn unary(&mut self, op: Un, bits: u8, x: Val) {
        let w = bits == 64;
        if op == Un::Bswap {
            let d = self.def_from(w, x);
            match bits {
                8 => {}
                16 => {
                    self.a.bswap(false, d);
                    self.a.shift_imm(Shift::Shr, false, d, 16);
                }
                _ => self.a.bswap(w, d),
            }
            return;
        }
        let s = self.gpr(x);
        let d = self.def();
        match op {
            Un::Clz => {
                self.a.count(0xbd, w, d, s);
                if bits < 32 {
                    self.a.alu_imm(Alu::Sub, false, d, 32 - bits as i32);
                }
            }
            Un::Ctz if bits < 32 => {
                self.a.mov(false, RAX, s);
                self.a.alu_imm(Alu::Or, false, RAX, 1 << bits);
                self.a.count(0xbc, false, d, RAX);
            }
            Un::Ctz => self.a.count(0xbc, w, d, s),
            Un::Popcount | Un::Bswap => self.a.count(0xb8, w, d, s),
        }
    }

    /// The low `bits` bits.
    pub fn zero_extend(&mut self, bits: u8, x: Val) {
        if bits == 1 {
            let d = self.def_from(false, x);
            self.a.alu_imm(Alu::And, false, d, 1);
            return;
        }
        let s = self.gpr(x);
        let d = self.def_over(&[x]);
        match bits {
            8 => self.a.movzx(1, d, s),
            16 => self.a.movzx(2, d, s),
            32 => self.a.mov(false, d, s),
            _ => self.a.mov(true, d, s),
        }
    }

    /// Sign-extension from `from` to `to` bits; the rest is zero.
    pub fn sign_extend(&mut self, from: u8, to: u8, x: Val) {
        if from == 1 {
            let d = self.def_from(false, x);
            self.a.alu_imm(Alu::And, false, d, 1);
            self.a.group3(3, to == 64, d); // neg
            self.trim(d, to);
            return;
        }
        if self.facts.of(x.0).signed {
            return self.alias(x);
        }
        if (from, to) == (32, 64) && self.is_sign_extended(x, DEPTH) {
            return self.alias(x);
        }
        let s = self.gpr(x);
        let d = self.def_over(&[x]);
        self.a.movsx(from as u64 / 8, to == 64, d, s);
        self.trim(d, to);
    }

    /// Whether all bits of a value above the lowest 31 are copies of its sign: compilers for RISC-V extend
    /// such values again, and a loop may wait for that.
    fn is_sign_extended(&self, v: Val, depth: u32) -> bool {
        let v = self.resolve(v);
        match self.insts[v as usize] {
            Inst::Sext(from, 64, _) => from <= 32,
            Inst::Load(how, _) => how.width.bits() < 32 || self.facts.of(v).signed,
            Inst::Const(k) => k as i64 == k as i32 as i64,
            // A 0 is shifted in at the top.
            Inst::Bin(Bin::Shr, 32, _, k) => self.constant(k).is_some_and(|k| k & 31 != 0),
            Inst::Bin(Bin::And, 64, _, k) if self.constant(k).is_some_and(|k| k <= i32::MAX as u64) => true,
            Inst::Bin(Bin::And | Bin::Or | Bin::Xor, 64, a, b) if depth > 0 => {
                self.is_sign_extended(a, depth - 1) && self.is_sign_extended(b, depth - 1)
            }
            _ => false,
        }
    }

    /// `x` if `c`, else `y`.
    pub fn select(&mut self, c: Val, x: Val, y: Val) {
        let b = self.gpr(x);
        let a = self.gpr(y);
        let cc = self.condition(c);
        let d = self.def();
        // Moves do not change the flags.
        self.a.mov(true, d, a);
        self.a.cmov(cc, true, d, b);
    }
}
