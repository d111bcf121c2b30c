//! F and D: floating point of single and double precision (unpriv 20, 21). The type parameter of a
//! body is the format; the table names it.

use super::{Boxed, F, Rv, X};
use crate::state::{self, mode};
use std::cell::Cell;
use trine_ir::{Float, Fmt, Fp, FpRules, Int, IntTy, Res, Round, Rounding, Sign, V};
use trine_softfloat::Rules;

/// The floating-point environment: `fcsr` (unpriv 20.2).
pub struct Fcsr;

impl FpRules for Fcsr {
    const FLAGS: u16 = state::FFLAGS;
    const RULES: Rules = Rules::CANONICAL;

    fn flags(mxcsr: u32) -> u64 {
        let bit = |from: u32, to: u32| ((mxcsr >> from & 1) << to) as u64;
        // NX 1, UF 2, OF 4, DZ 8, NV 16.
        bit(5, 0) | bit(4, 1) | bit(3, 2) | bit(2, 3) | bit(0, 4)
    }

    fn round(slots: &[Cell<u64>]) -> Round {
        // A reserved direction makes the instructions that would use it illegal.
        Round::from_number(slots[state::FRM as usize].get() as u8).unwrap_or(Round::Rne)
    }

    fn rounding(mode: u32) -> Option<Round> {
        Round::from_number(mode::frm(mode))
    }
}

/// The rounding direction for operations that do not round.
const EXACT: Rounding = Rounding::Static(Round::Rne);

/// An operation of two numbers that rounds.
#[inline(always)]
fn arith<S: Rv, T: Boxed>(s: S, op: fn(Fmt) -> Fp, frd: F, frs1: F, frs2: F, rm: u8) -> Res<S> {
    s.need_fp()?;
    let rounding = s.rounding(rm)?;
    s.set_f(frd, s.f::<T>(frs1).arith(op, rounding, s.f(frs2)));
    Ok(())
}

macro_rules! arithmetic {
    ($($(#[$doc:meta])* $name:ident $op:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Rv, T: Boxed>(s: S, frd: F, frs1: F, frs2: F, rm: u8) -> Res<S> {
            arith::<S, T>(s, Fp::$op, frd, frs1, frs2, rm)
        }
    )*};
}
arithmetic! {
    /// Sum.
    fadd Add;
    /// Difference.
    fsub Sub;
    /// Product.
    fmul Mul;
    /// Quotient.
    fdiv Div;
}

/// Square root.
#[inline(always)]
pub fn fsqrt<S: Rv, T: Boxed>(s: S, frd: F, frs1: F, rm: u8) -> Res<S> {
    s.need_fp()?;
    let rounding = s.rounding(rm)?;
    s.set_f(frd, s.f::<T>(frs1).sqrt(rounding));
    Ok(())
}

macro_rules! fused {
    ($($(#[$doc:meta])* $name:ident $neg_product:literal $neg_addend:literal;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Rv, T: Boxed>(s: S, frd: F, frs1: F, frs2: F, frs3: F, rm: u8) -> Res<S> {
            s.need_fp()?;
            let rounding = s.rounding(rm)?;
            let (a, b, c) = (s.f::<T>(frs1), s.f::<T>(frs2), s.f::<T>(frs3));
            s.set_f(frd, a.fma(b, c, $neg_product, $neg_addend, rounding));
            Ok(())
        }
    )*};
}
fused! {
    /// Product plus addend.
    fmadd false false;
    /// Product minus addend.
    fmsub false true;
    /// Minus product, plus addend.
    fnmsub true false;
    /// Minus product, minus addend.
    fnmadd true true;
}

macro_rules! two {
    ($($(#[$doc:meta])* $name:ident |$a:ident, $b:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Rv, T: Boxed>(s: S, frd: F, frs1: F, frs2: F) -> Res<S> {
            s.need_fp()?;
            let ($a, $b) = (s.f::<T>(frs1), s.f::<T>(frs2));
            s.set_f(frd, $e);
            Ok(())
        }
    )*};
}
two! {
    /// Sign of the second operand.
    fsgnj |a, b| a.sign(Sign::Copy, b);
    /// Opposite of the second operand's sign.
    fsgnjn |a, b| a.sign(Sign::Negate, b);
    /// Exclusive or of the signs.
    fsgnjx |a, b| a.sign(Sign::Xor, b);
    /// Minimum.
    fmin |a, b| a.arith(Fp::Min, EXACT, b);
    /// Maximum.
    fmax |a, b| a.arith(Fp::Max, EXACT, b);
}

macro_rules! compare {
    ($($(#[$doc:meta])* $name:ident $op:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Rv, T: Boxed>(s: S, rd: X, frs1: F, frs2: F) -> Res<S> {
            s.need_fp()?;
            let less = s.f::<T>(frs1).compare(Fp::$op, s.f(frs2));
            s.set_x(rd, less.zext());
            s.touch_fp();
            Ok(())
        }
    )*};
}
compare! {
    /// Equal; quiet.
    feq Eq;
    /// Less than; signaling.
    flt Lt;
    /// Less than or equal; signaling.
    fle Le;
}

/// Class as one of ten bits.
#[inline(always)]
pub fn fclass<S: Rv, T: Boxed>(s: S, rd: X, frs1: F) -> Res<S> {
    s.need_fp()?;
    let (bits, exponent_bits) = if T::FMT == Fmt::S { (32, 8) } else { (64, 11) };
    // The sign is at the top of 64 bits, in both formats.
    let number: V<S, u64> = s.f::<T>(frs1).bits().zext::<u64>() << (64 - bits);
    let exponent = (number >> (63 - exponent_bits)) & ((1 << exponent_bits) - 1);
    // Most programs ask about normal numbers; other classes leave the block.
    let special = ((exponent + 1) & ((1 << exponent_bits) - 1)).lt_u(2);
    s.when(special, || {
        s.set_x(rd, (s.k::<u64>(1) << special_class(number, exponent_bits)).low());
        s.jump(s.next_pc())
    })?;
    s.set_x(rd, ((number.sar(63) & (1 << 6 | 1 << 1)) ^ (1 << 6)).low());
    Ok(())
}

/// The number of the class of zeros, subnormal numbers, infinities and NaNs (unpriv 20.9).
#[inline(always)]
fn special_class<S: Rv>(number: V<S, u64>, exponent_bits: i64) -> V<S, u64> {
    let s = number.sem;
    let magnitude = number << 1;
    let infinite = -1 << (64 - exponent_bits);
    let quiet = infinite | 1 << (63 - exponent_bits);
    let at_least = |bound: i64| magnitude.ge_u(bound).zext::<u64>();
    // 4 zero, 5 subnormal, 7 infinite; 3, 2 and 0 if negative.
    let rank = magnitude.ne(0).zext::<u64>() + (at_least(infinite) << 1) + 4;
    let signed = rank ^ (number.sar(63) & 7);
    s.select(magnitude.lt_u(infinite + 1), signed, at_least(quiet) + 8)
}

/// Number of format `T` to format `U`.
#[inline(always)]
pub fn fcvt<S: Rv, U: Boxed, T: Boxed>(s: S, frd: F, frs1: F, rm: u8) -> Res<S> {
    s.need_fp()?;
    let rounding = s.rounding(rm)?;
    s.set_f(frd, s.f::<T>(frs1).convert::<U>(rounding));
    Ok(())
}

/// An integer type in a conversion: signedness and width.
pub trait Kind {
    /// Its IR type.
    const TY: IntTy;
    /// The unsigned integer with as many bits.
    type Bits: Int;
}
impl Kind for i32 {
    const TY: IntTy = IntTy::I32;
    type Bits = u32;
}
impl Kind for u32 {
    const TY: IntTy = IntTy::U32;
    type Bits = u32;
}
impl Kind for i64 {
    const TY: IntTy = IntTy::I64;
    type Bits = u64;
}
impl Kind for u64 {
    const TY: IntTy = IntTy::U64;
    type Bits = u64;
}

/// Number to integer; results of 32 bits are sign-extended.
#[inline(always)]
pub fn fcvt_int<S: Rv, K: Kind, T: Boxed>(s: S, rd: X, frs1: F, rm: u8) -> Res<S> {
    s.need_fp()?;
    let rounding = s.rounding(rm)?;
    let v: V<S, K::Bits> = s.f::<T>(frs1).to_int(K::TY, rounding);
    s.set_x(rd, v.sext());
    s.touch_fp();
    Ok(())
}

/// Integer to number.
#[inline(always)]
pub fn fcvt_from<S: Rv, T: Boxed, K: Kind>(s: S, frd: F, rs1: X, rm: u8) -> Res<S> {
    s.need_fp()?;
    let rounding = s.rounding(rm)?;
    let v: V<S, K::Bits> = s.x(rs1).low();
    s.set_f(frd, v.to_float::<T>(K::TY, rounding));
    Ok(())
}

/// The bits of a register, whatever they mean.
#[inline(always)]
fn raw_bits<S: Rv, T: Boxed>(s: S, r: F) -> V<S, T::Bits> {
    let whole: V<S, f64> = V::new(s, s.get_fp(state::F + r.0 as u16));
    whole.bits().low()
}

/// Bits to an integer register, sign-extended.
#[inline(always)]
pub fn fmv_x<S: Rv, T: Boxed>(s: S, rd: X, frs1: F) -> Res<S> {
    s.need_fp()?;
    s.set_x(rd, raw_bits::<S, T>(s, frs1).sext());
    Ok(())
}

/// Bits from an integer register.
#[inline(always)]
pub fn fmv_f<S: Rv, T: Boxed>(s: S, frd: F, rs1: X) -> Res<S> {
    s.need_fp()?;
    let v: V<S, <T as Float>::Bits> = s.x(rs1).low();
    s.set_f(frd, v.as_float::<T>());
    Ok(())
}

/// Load.
#[inline(always)]
pub fn fload<S: Rv, T: Boxed>(s: S, frd: F, rs1: X, imm: i64) -> Res<S> {
    s.need_fp()?;
    let v: V<S, <T as Float>::Bits> = s.load(s.address(rs1, imm))?;
    s.set_f(frd, v.as_float::<T>());
    Ok(())
}

/// Store.
#[inline(always)]
pub fn fstore<S: Rv, T: Boxed>(s: S, frs2: F, rs1: X, imm: i64) -> Res<S> {
    s.need_fp()?;
    s.store(s.address(rs1, imm), raw_bits::<S, T>(s, frs2))
}
