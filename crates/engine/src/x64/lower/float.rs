//! Floating point on the host's FPU, under the guest's MXCSR. Where x86 differs from the IR's operations (NaN
//! results, conversions out of range, rounding directions other than the current one), software does it out
//! of line.
//!
//! A binary32 in a register has undefined bits above it: the lower half of a number needs no other register
//! than the number.

use super::Lower;
use super::allocator::Allocator;
use super::facts::number_constant;
use crate::x64::asm::{Alu, Cc, Hole, Reg, Xmm, reg::*};
use crate::x64::side::Kind;
use crate::x64::thunks::SCRATCH_FP;
use trine_ir::inst::{Class, Inst, Val};
use trine_ir::{Fmt, Fp, FpRules, IntTy, Isa, Round, Rounding, Sign};
use trine_softfloat::{Extremes, NanRule, OutOfRange, Tininess};

/// The canonical NaN.
fn nan(double: bool) -> u64 {
    if double { 0x7ff8_0000_0000_0000 } else { 0x7fc0_0000 }
}

fn sign_bit(double: bool) -> u64 {
    if double { 1 << 63 } else { 1 << 31 }
}

impl<I: Isa, A> Lower<'_, I, A>
where
    Self: Allocator,
{
    /// A floating-point operation.
    pub fn float(&mut self, op: Fp, rounding: Rounding, args: [Val; 3]) {
        let double = crate::fp::format(op) == Fmt::D;
        match op {
            Fp::ToBits(_) => return self.number_bits(double, args[0]),
            Fp::FromBits(_) => return self.bits_number(double, args[0]),
            // A binary32 in a register has undefined bits above it.
            Fp::Low => return self.alias(args[0]),
            Fp::WithLow => return self.with_low_half(args[0], args[1]),
            Fp::Sgnj(_, sign) => return self.sign_inject(double, sign, args[0], args[1]),
            _ => {}
        }
        if !self.host_rounds(op, rounding)
            || Self::host_underflows_otherwise(op)
            || I::Fp::in_software(self.mode)
        {
            return self.soft(op, rounding, args);
        }
        self.need_fp();
        match op {
            Fp::Add(_) => self.arithmetic(0x58, double, args),
            Fp::Sub(_) => self.arithmetic(0x5c, double, args),
            Fp::Mul(_) => self.arithmetic(0x59, double, args),
            Fp::Div(_) => self.arithmetic(0x5e, double, args),
            Fp::Sqrt(_) => self.unary_fp(0x51, double, double, args[0]),
            Fp::Convert(_) => self.unary_fp(0x5a, double, !double, args[0]),
            Fp::Fma { neg_product, neg_addend, .. } => {
                self.fused(op, rounding, double, neg_product, neg_addend, args);
            }
            Fp::Min(_) => self.extreme(op, rounding, 0x5d, double, args),
            Fp::Max(_) => self.extreme(op, rounding, 0x5f, double, args),
            Fp::Eq(_) => self.equal(double, args),
            Fp::Lt(_) if self.facts.of(self.at).quiet => self.less_quiet(Cc::Above, double, args),
            Fp::Le(_) if self.facts.of(self.at).quiet => self.less_quiet(Cc::AboveEqual, double, args),
            Fp::Lt(_) => self.less(0x2f, Cc::Above, double, args),
            Fp::Le(_) => self.less(0x2f, Cc::AboveEqual, double, args),
            Fp::LtQuiet(_) => self.less(0x2e, Cc::Above, double, args),
            Fp::LeQuiet(_) => self.less(0x2e, Cc::AboveEqual, double, args),
            Fp::Unordered(_) => self.less(0x2e, Cc::Parity, double, args),
            Fp::ToInt(_, ty) => self.number_to_int(op, ty, rounding, double, args),
            Fp::FromInt(ty, _) => self.int_to_number(op, ty, rounding, double, args),
            _ => self.soft(op, rounding, args),
        }
    }

    /// The accrued flags: those in the slot and those that the host's FPU gathered since.
    pub fn flags_value(&mut self) {
        self.need_fp();
        let d = self.def();
        self.a.mxcsr(3, self.l.guest_fp_control());
        self.a.load(4, RAX, self.l.guest_fp_control());
        self.a.alu_imm(Alu::And, false, RAX, 0x3f);
        self.a.load(1, d, self.l.fp_flag_numbers(RAX));
        self.a.alu_mem(Alu::Or, true, d, self.l.slot(I::Fp::FLAGS));
    }

    /// Sets the flags to `v`: all of them in the slot, none in the host's FPU.
    pub fn set_flags(&mut self, v: Val) {
        if self.facts.of(self.at).quiet {
            return;
        }
        let r = self.gpr(v);
        self.a.store(8, self.l.slot(I::Fp::FLAGS), r);
        self.need_fp();
        self.a.mxcsr(3, self.l.guest_fp_control());
        self.a.load(4, RAX, self.l.guest_fp_control());
        self.a.test_eax_imm(0x3f);
        let any = self.a.jcc(Cc::NotEqual);
        self.aside(&[any], |e| {
            e.a.alu_imm(Alu::And, false, RAX, !0x3f);
            e.a.store(4, e.l.guest_fp_control(), RAX);
            e.a.mxcsr(2, e.l.guest_fp_control());
        });
    }

    /// `a < b` or `a <= b` without a change of the flags, which [`Lower::flags_value`] left in memory.
    fn less_quiet(&mut self, cc: Cc, double: bool, args: [Val; 3]) {
        let (a, b) = (self.xmm(args[0]), self.xmm(args[1]));
        let d = self.def();
        self.a.comis(0x2e, double, b, a);
        let unordered = self.a.jcc(Cc::Parity);
        self.flag_to(cc, d);
        self.aside(&[unordered], |e| {
            // A signaling NaN was noted.
            e.a.mxcsr(2, e.l.guest_fp_control());
            e.a.mov_imm(d, 0);
        });
    }

    /// Whether the host and the CPU may disagree about an underflow.
    pub(super) fn host_underflows_otherwise(op: Fp) -> bool {
        let exact = matches!(op, Fp::Min(_) | Fp::Max(_)) || op.compares().is_some();
        let in_range = matches!(op, Fp::ToInt(..) | Fp::FromInt(..) | Fp::Sqrt(_) | Fp::Convert(Fmt::S));
        I::Fp::RULES.tininess == Tininess::BeforeRounding && !exact && !in_range
    }

    /// Whether the host's current rounding direction is the required one, or does not matter.
    pub(super) fn host_rounds(&self, op: Fp, rounding: Rounding) -> bool {
        let current = I::Fp::rounding(self.mode);
        let wanted = match rounding {
            Rounding::Dynamic => current,
            Rounding::Static(r) => Some(r),
        };
        match op {
            Fp::Min(_) | Fp::Max(_) => true,
            op if op.compares().is_some() => true,
            Fp::Convert(Fmt::S) | Fp::FromInt(IntTy::I32 | IntTy::U32, Fmt::D) => true,
            Fp::ToInt(..) if wanted == Some(Round::Rtz) => true,
            _ => wanted == current && wanted.is_some() && wanted != Some(Round::Rmm),
        }
    }

    /// Loads the guest's MXCSR, if it is not loaded.
    pub(super) fn need_fp(&mut self) {
        if self.fp_ready() {
            return;
        }
        self.a.cmp_mem_imm8(self.l.fp_live(), 0);
        let load = self.a.jcc(Cc::Equal);
        self.aside(&[load], |e| {
            e.a.mxcsr(2, e.l.guest_fp_control());
            e.a.store_imm(false, e.l.fp_live(), 1);
        });
    }

    /// Passes operands to software; `rax` gets the result.
    fn call_soft(&mut self, op: Fp, rounding: Rounding, args: [Val; 3]) {
        for (n, v) in args[..Inst::fp_operands(op)].iter().enumerate() {
            self.store_to(self.l.arg(n), *v);
        }
        self.call_slow(Kind::Soft(op, rounding));
    }

    /// The whole operation in software.
    fn soft(&mut self, op: Fp, rounding: Rounding, args: [Val; 3]) {
        self.call_soft(op, rounding, args);
        if self.insts[self.at as usize].result() == Some(Class::Float) {
            let x = self.def_fp();
            self.a.movq_to(true, x, RAX);
        } else {
            let r = self.def();
            self.a.mov(true, r, RAX);
        }
    }

    /// Out of line from `ways`: the operation in software, with its result in a vector register.
    fn soft_aside(&mut self, ways: &[Hole], op: Fp, rounding: Rounding, args: [Val; 3], to: Xmm) {
        self.aside(ways, |e| {
            e.call_soft(op, rounding, args);
            e.a.movq_to(true, to, RAX);
        });
    }

    /// The same with a general register.
    fn soft_aside_int(&mut self, ways: &[Hole], op: Fp, rounding: Rounding, args: [Val; 3], to: Reg) {
        self.aside(ways, |e| {
            e.call_soft(op, rounding, args);
            e.a.mov(true, to, RAX);
        });
    }

    /// Replaces a NaN result by the canonical one.
    fn canonical(&mut self, double: bool, x: Xmm) {
        if I::Fp::RULES.nan == NanRule::FirstOperand {
            // The host's own NaN.
            return;
        }
        self.a.comis(0x2e, double, x, x);
        let is_nan = self.a.jcc(Cc::Parity);
        self.nan_aside(is_nan, double, x);
    }

    /// Out of line from `way`: the canonical NaN into `x`.
    fn nan_aside(&mut self, way: Hole, double: bool, x: Xmm) {
        self.aside(&[way], |e| e.number_to(x, nan(double)));
    }

    fn arithmetic(&mut self, opcode: u8, double: bool, args: [Val; 3]) {
        let b = self.xmm(args[1]);
        let d = self.def_fp_from(args[0]);
        self.a.sse(opcode, double, d, b);
        self.canonical(double, d);
    }

    fn unary_fp(&mut self, opcode: u8, double: bool, result_double: bool, v: Val) {
        let s = self.xmm(v);
        let d = self.def_fp();
        // The scalar forms keep the destination's upper half; this avoids a dependency on it.
        self.a.xorps(d, d);
        self.a.sse(opcode, double, d, s);
        self.canonical(result_double, d);
    }

    fn fused(
        &mut self,
        op: Fp,
        rounding: Rounding,
        double: bool,
        neg_product: bool,
        neg_addend: bool,
        args: [Val; 3],
    ) {
        let (a, b, c) = (self.xmm(args[0]), self.xmm(args[1]), self.xmm(args[2]));
        let d = self.take_xmm();
        let opcode = match (neg_product, neg_addend) {
            (false, false) => 0xa9,
            (false, true) => 0xab,
            (true, false) => 0xad,
            (true, true) => 0xaf,
        };
        self.a.movaps(d, a);
        self.a.fma213(opcode, double, d, b, c);
        // Infinity times zero plus a quiet NaN raises NV in the guest, but not on x86.
        self.a.comis(0x2e, double, d, d);
        let is_nan = self.a.jcc(Cc::Parity);
        self.soft_aside(&[is_nan], op, rounding, args, d);
        self.own_fp(d);
    }

    fn extreme(&mut self, op: Fp, rounding: Rounding, opcode: u8, double: bool, args: [Val; 3]) {
        if I::Fp::RULES.extremes == Extremes::Second {
            return self.arithmetic(opcode, double, args);
        }
        let (a, b) = (self.xmm(args[0]), self.xmm(args[1]));
        let d = self.take_xmm();
        self.a.movaps(d, a);
        self.a.movaps(SCRATCH_FP, b);
        self.a.comis(0x2e, double, a, b);
        // Unordered and equal (zeros of either sign) set ZF.
        let special = self.a.jcc(Cc::Equal);
        self.a.sse(opcode, double, d, SCRATCH_FP);
        self.soft_aside(&[special], op, rounding, args, d);
        self.own_fp(d);
    }

    fn equal(&mut self, double: bool, args: [Val; 3]) {
        self.clobber(RCX);
        let (a, b) = (self.xmm(args[0]), self.xmm(args[1]));
        let d = self.def();
        self.a.comis(0x2e, double, a, b);
        self.flag_to(Cc::Equal, d);
        self.flag_to(Cc::NoParity, RCX);
        self.a.alu(Alu::And, false, d, RCX);
    }

    /// A condition of `b` compared with `a`, by `comis` (2f) or the quiet `ucomis` (2e). `a < b` as `b > a` is 0 if unordered.
    fn less(&mut self, opcode: u8, cc: Cc, double: bool, args: [Val; 3]) {
        let (a, b) = (self.xmm(args[0]), self.xmm(args[1]));
        let d = self.def();
        self.a.comis(opcode, double, b, a);
        self.flag_to(cc, d);
    }

    fn number_to_int(&mut self, op: Fp, ty: IntTy, rounding: Rounding, double: bool, args: [Val; 3]) {
        self.clobber(RCX);
        let s = self.xmm(args[0]);
        let d = self.take_gpr();
        let w = matches!(ty, IntTy::I64 | IntTy::U64);
        let truncate = self.truncates(rounding);
        let mut ways = Vec::new();
        if matches!(ty, IntTy::U32 | IntTy::U64) {
            // Not negative and below half of the range: as signed. The bits order like numbers there.
            let bound = match (double, w) {
                (true, true) => 0x43e0_0000_0000_0000,
                (true, false) => 0x41e0_0000_0000_0000,
                (false, true) => 0x5f00_0000,
                (false, false) => 0x4f00_0000,
            };
            self.a.movq_from(double, RAX, s);
            self.a.mov_imm(RCX, bound);
            self.a.alu(Alu::Cmp, double, RAX, RCX);
            ways.push(self.a.jcc(Cc::AboveEqual));
            self.a.cvts2si(double, truncate, w, d, s);
        } else {
            // Out of range and NaN give the smallest number.
            self.a.cvts2si(double, truncate, w, d, s);
            if I::Fp::RULES.out_of_range == OutOfRange::Saturate {
                self.a.mov_imm(RAX, if w { 1 << 63 } else { 1 << 31 });
                self.a.alu(Alu::Cmp, w, d, RAX);
                ways.push(self.a.jcc(Cc::Equal));
            }
        }
        self.soft_aside_int(&ways, op, rounding, args, d);
        self.own(d);
    }

    pub(super) fn truncates(&self, rounding: Rounding) -> bool {
        match rounding {
            Rounding::Dynamic => I::Fp::rounding(self.mode) == Some(Round::Rtz),
            Rounding::Static(r) => r == Round::Rtz,
        }
    }

    fn int_to_number(&mut self, op: Fp, ty: IntTy, rounding: Rounding, double: bool, args: [Val; 3]) {
        let s = self.gpr(args[0]);
        let d = self.take_xmm();
        self.a.xorps(d, d);
        match ty {
            IntTy::I32 => self.a.cvtsi2s(double, false, d, s),
            IntTy::U32 | IntTy::I64 => self.a.cvtsi2s(double, true, d, s),
            IntTy::U64 => {
                self.a.test(true, s, s);
                let large = self.a.jcc(Cc::Less);
                self.a.cvtsi2s(double, true, d, s);
                self.soft_aside(&[large], op, rounding, args, d);
            }
        }
        self.own_fp(d);
    }

    fn number_bits(&mut self, double: bool, v: Val) {
        let d = self.take_gpr();
        if double {
            self.copy_to(d, v)
        } else {
            self.copy_low_to(d, v)
        }
        self.own(d);
    }

    fn bits_number(&mut self, double: bool, v: Val) {
        // As every user sees it: a slot that is known to hold a constant is not one.
        if number_constant(self.insts, self.at).is_some() {
            // Made at its use.
            return;
        }
        let s = self.gpr(v);
        let d = self.def_fp();
        self.a.movq_to(double, d, s);
    }

    /// A binary32 below the upper half of another number.
    fn with_low_half(&mut self, high: Val, low: Val) {
        if self.number_constant(high).is_some_and(|k| k >> 32 == u32::MAX as u64) {
            let (d, low) = self.def_fp_over(low);
            return self.a.vorps_mem(d, low, self.l.upper_ones());
        }
        let (high, low) = (self.xmm(high), self.xmm(low));
        let d = self.def_fp();
        // vmovss
        self.a.vop((1, 2, false), 0x10, d, high, low);
    }

    /// `x` if `c`, else `y`; `x` is the fast path.
    pub fn select_float(&mut self, c: Val, x: Val, y: Val) {
        let constant = self.number_constant(y);
        let other = if constant.is_none() { self.xmm(y) } else { SCRATCH_FP };
        let d = self.def_fp_from(x);
        let cc = self.condition(c);
        let not = self.a.jcc(cc.opposite());
        self.aside(&[not], |e| match constant {
            Some(k) => e.number_to(d, k),
            None => e.a.movaps(d, other),
        });
    }

    fn sign_inject(&mut self, double: bool, sign: Sign, x: Val, y: Val) {
        [RCX, RDX].into_iter().for_each(|r| self.clobber(r));
        let d = self.take_xmm();
        self.copy_to(RAX, x);
        self.copy_to(RCX, y);
        self.a.mov_imm(RDX, sign_bit(double));
        match sign {
            Sign::Copy | Sign::Negate => {
                if sign == Sign::Negate {
                    self.a.group3(2, true, RCX); // not
                }
                self.a.alu(Alu::And, true, RCX, RDX);
                self.a.andn(true, RAX, RDX, RAX);
                self.a.alu(Alu::Or, true, RAX, RCX);
            }
            Sign::Xor => {
                self.a.alu(Alu::And, true, RCX, RDX);
                self.a.alu(Alu::Xor, true, RAX, RCX);
            }
        }
        self.a.movq_to(true, d, RAX);
        self.own_fp(d);
    }
}
