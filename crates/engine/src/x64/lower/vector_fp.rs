//! Floating point in lanes, by packed and scalar forms of AVX. What the host does otherwise than the CPU, in whatever lane,
//! is done in software for all of them: the flags that the host's own operation raised are raised by that, too.

use super::Lower;
use super::allocator::Allocator;
use crate::x64::asm::{Alu, Cc, Hole, Xmm, reg::*};
use crate::x64::side::Kind;
use crate::x64::thunks::SCRATCH_FP;
use trine_ir::inst::Val;
use trine_ir::{Fmt, Fp, FpRules, Isa, Lanes, Rounding, VFp};
use trine_softfloat::{Extremes, NanRule, OutOfRange};

/// Opcode map, prefix and W of an operation in this format.
fn form(fmt: Fmt, lanes: Lanes) -> (u8, u8, bool) {
    let prefix = match (fmt, lanes) {
        (Fmt::S, Lanes::All) => 0,
        (Fmt::D, Lanes::All) => 1,
        (Fmt::S, Lanes::First) => 2,
        (Fmt::D, Lanes::First) => 3,
    };
    (1, prefix, false)
}

/// The number of a comparison in `vcmpps` and the like.
fn predicate(op: Fp) -> u8 {
    match op {
        Fp::Eq(_) => 0,
        Fp::Lt(_) => 1,
        Fp::Le(_) => 2,
        Fp::LtQuiet(_) => 17,
        Fp::LeQuiet(_) => 18,
        _ => 3,
    }
}

impl<I: Isa, A> Lower<'_, I, A>
where
    Self: Allocator,
{
    /// An operation of numbers in lanes.
    pub fn vector_fp(&mut self, op: VFp, rounding: Rounding, [x, y]: [Val; 2]) {
        let (a, b) = (self.xmm(x), self.xmm(y));
        let d = self.take_xmm();
        let in_host = self.host_rounds(op.op, rounding)
            && !Self::host_underflows_otherwise(op.op)
            && !I::Fp::in_software(self.mode);
        let by_number = I::Fp::RULES.extremes == Extremes::Number;
        if !in_host || by_number && matches!(op.op, Fp::Min(_) | Fp::Max(_)) {
            self.soft_vector(op, rounding, [a, b], d);
            return self.own_fp(d);
        }
        self.need_fp();
        self.in_lanes(op, rounding, [a, b], d);
        let odd = match op.op {
            Fp::ToInt(..) if I::Fp::RULES.out_of_range == OutOfRange::Saturate => {
                Some(self.any_indefinite(d))
            }
            Fp::ToInt(..) | Fp::FromInt(..) => None,
            other if other.compares().is_some() => None,
            _ if I::Fp::RULES.nan == NanRule::FirstOperand => None,
            Fp::Convert(Fmt::S) => Some(self.any_nan(Fmt::D, op.lanes, d)),
            Fp::Convert(Fmt::D) => Some(self.any_nan(Fmt::S, op.lanes, d)),
            other => Some(self.any_nan(crate::fp::format(other), op.lanes, d)),
        };
        if let Some(odd) = odd {
            self.aside(&[odd], |e| e.soft_vector(op, rounding, [a, b], d));
        }
        self.own_fp(d);
    }

    /// The host's own operation.
    fn in_lanes(&mut self, op: VFp, rounding: Rounding, [a, b]: [Xmm; 2], d: Xmm) {
        let truncates = self.truncates(rounding);
        if let Some(fmt) = op.op.compares() {
            self.a.vop(form(fmt, op.lanes), 0xc2, d, a, b);
            return self.a.byte(predicate(op.op));
        }
        let mut binary = |fmt, code| self.a.vop(form(fmt, op.lanes), code, d, a, b);
        match op.op {
            Fp::Add(fmt) => binary(fmt, 0x58),
            Fp::Mul(fmt) => binary(fmt, 0x59),
            Fp::Sub(fmt) => binary(fmt, 0x5c),
            Fp::Div(fmt) => binary(fmt, 0x5e),
            Fp::Min(fmt) => binary(fmt, 0x5d),
            Fp::Max(fmt) => binary(fmt, 0x5f),
            Fp::Sqrt(fmt) if op.lanes == Lanes::First => binary(fmt, 0x51),
            Fp::Sqrt(fmt) => self.a.vop(form(fmt, op.lanes), 0x51, d, 0, a),
            Fp::Convert(fmt) if op.lanes == Lanes::First => binary(fmt, 0x5a),
            Fp::Convert(fmt) => self.a.vop(form(fmt, op.lanes), 0x5a, d, 0, a),
            Fp::FromInt(_, Fmt::S) => self.a.vop((1, 0, false), 0x5b, d, 0, a),
            Fp::FromInt(_, Fmt::D) => self.a.vop((1, 2, false), 0xe6, d, 0, a),
            Fp::ToInt(Fmt::S, _) => self.a.vop((1, if truncates { 2 } else { 1 }, false), 0x5b, d, 0, a),
            Fp::ToInt(Fmt::D, _) => self.a.vop((1, if truncates { 1 } else { 3 }, false), 0xe6, d, 0, a),
            // The verifier knows no others.
            _ => {}
        }
    }

    /// A way for a result with a NaN in it.
    fn any_nan(&mut self, fmt: Fmt, lanes: Lanes, x: Xmm) -> Hole {
        if lanes == Lanes::First {
            self.a.comis(0x2e, fmt == Fmt::D, x, x);
            return self.a.jcc(Cc::Parity);
        }
        // Unordered with itself, quietly.
        self.a.vop(form(fmt, lanes), 0xc2, SCRATCH_FP, x, x);
        self.a.byte(3);
        self.any_top_bit(fmt)
    }

    /// A way for a result with the integer in it that stands for what is out of range.
    fn any_indefinite(&mut self, x: Xmm) -> Hole {
        const P66: (u8, u8, bool) = (1, 1, false);
        // All ones, shifted left by 31, compared.
        self.a.vop(P66, 0x76, SCRATCH_FP, SCRATCH_FP, SCRATCH_FP);
        self.a.vop(P66, 0x72, 6, SCRATCH_FP, SCRATCH_FP);
        self.a.byte(31);
        self.a.vop(P66, 0x76, SCRATCH_FP, SCRATCH_FP, x);
        self.any_top_bit(Fmt::S)
    }

    /// A way for a top bit in any lane of the scratch register.
    fn any_top_bit(&mut self, fmt: Fmt) -> Hole {
        self.a.vop(form(fmt, Lanes::All), 0x50, RAX, 0, SCRATCH_FP);
        self.a.alu_imm(Alu::Cmp, false, RAX, 0);
        self.a.jcc(Cc::NotEqual)
    }

    /// All lanes in software.
    fn soft_vector(&mut self, op: VFp, rounding: Rounding, [a, b]: [Xmm; 2], d: Xmm) {
        self.a.movups_store(self.l.arg(0), a);
        self.a.movups_store(self.l.arg(2), b);
        self.call_slow(Kind::SoftVector(op, rounding));
        self.a.movups_load(d, self.l.arg(0));
    }
}
