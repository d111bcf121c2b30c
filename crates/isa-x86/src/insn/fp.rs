//! Floating point in vector registers: SSE and SSE2 (SDM volume 1, chapters 10 and 11), and MXCSR.

use super::X86;
use super::mmx;
use super::vec::Vector;
use crate::flags;
use crate::isa::Mxcsr;
use crate::operands::{Arg, Operands};
use crate::state::{MXCSR, mode, mxcsr, vector};
use trine_ir::fp::MXCSR_FLAGS;
use trine_ir::{
    Float, Fmt, Fp, FpRules, Helper, Int, IntTy, Lane, Lanes, Res, Round, Rounding, SlotSet, Trap, V, VBin,
    VFp, Vop,
};
use trine_softfloat::{self as sf, Denormals, Env};

/// The exceptions of what was computed since [`begin`]: one that is not masked is taken instead of the result.
fn check<S: X86>(s: S) -> Res<S> {
    if s.mode() & mode::FP_TRAPS != 0 {
        s.call(&CHECK, [s.k(0), s.k(0), s.k(0)])?;
    }
    Ok(())
}

/// Before a computation whose exceptions may be taken.
fn begin<S: X86>(s: S) -> Res<S> {
    if s.mode() & mode::FP_TRAPS != 0 {
        s.call(&BEGIN, [s.k(0), s.k(0), s.k(0)])?;
    }
    Ok(())
}

/// The flags before an instruction lie above MXCSR's own bits while it is executed.
const ASIDE: u32 = 32;

static BEGIN: Helper = Helper {
    name: "fp_begin",
    run: |hart, _| {
        hart.harvest_fp();
        let flags = MXCSR_FLAGS as u64;
        let now = hart.get(MXCSR) & mxcsr::ALL;
        hart.set(MXCSR, now & !flags | (now & flags) << ASIDE);
        hart.load_fp();
        Ok(0)
    },
    reads: SlotSet::Only(&[MXCSR]),
    writes: SlotSet::Only(&[MXCSR]),
    leaves: false,
    flushes: false,
    fp: true,
};

/// The exceptions that are found before a computation: invalid operation, denormal operand, division by zero (SDM volume 1,
/// 11.5.2).
const BEFORE: u64 = 7;

static CHECK: Helper = Helper {
    name: "fp_check",
    run: |hart, _| {
        hart.harvest_fp();
        let all = hart.get(MXCSR);
        let (flags, masks) = (MXCSR_FLAGS as u64, all >> 7);
        let mut raised = all & flags;
        if raised & !masks & BEFORE != 0 {
            // Nothing was computed in any lane.
            raised &= BEFORE;
        }
        hart.set(MXCSR, all & mxcsr::ALL & !flags | raised | all >> ASIDE);
        hart.load_fp();
        if raised & !masks != 0 {
            return Err(hart.raise(Trap::fault(vector::XM, 0)));
        }
        Ok(0)
    },
    reads: SlotSet::All,
    writes: SlotSet::Only(&[MXCSR]),
    leaves: true,
    flushes: false,
    fp: true,
};

/// The second operand: a vector, or for a number in the lowest lane what an instruction reads of it.
fn operand<S: X86>(s: S, o: &Operands, n: usize, fmt: Fmt, lanes: Lanes) -> Res<S, S::Vec> {
    match (lanes, fmt) {
        (Lanes::All, _) => s.source(o, n, false),
        (_, Fmt::S) => s.scalar_source::<u32>(o, n),
        (_, Fmt::D) => s.scalar_source::<u64>(o, n),
    }
}

/// An operation of numbers in all lanes or the lowest one; `fmt` is the format of the second operand.
pub fn compute<S: X86>(s: S, o: &Operands, op: Fp, fmt: Fmt, lanes: Lanes) -> Res<S> {
    let b = operand(s, o, 1, fmt, lanes)?;
    let d = s.number(o, 0);
    let op = VFp { op, lanes };
    // What takes one vector alone gets the operand.
    let args = if op.operands() == 2 { [s.xmm(d), b] } else { [b, b] };
    begin(s)?;
    let v = s.vector_fp(op, Rounding::Dynamic, args);
    check(s)?;
    s.set_xmm(o, d, v);
    Ok(())
}

/// A conversion of numbers in the lower half: memory has 64 bits.
pub fn convert_low<S: X86>(s: S, o: &Operands, op: Fp) -> Res<S> {
    let b = s.scalar_source::<u64>(o, 1)?;
    begin(s)?;
    let v = s.vector_fp(VFp { op, lanes: Lanes::All }, Rounding::Dynamic, [b, b]);
    check(s)?;
    s.set_xmm(o, s.number(o, 0), v);
    Ok(())
}

/// A conversion of all lanes to integers, rounded as MXCSR says or towards zero.
pub fn convert<S: X86>(s: S, o: &Operands, op: Fp, rounding: Rounding) -> Res<S> {
    let b = s.source(o, 1, false)?;
    begin(s)?;
    let v = s.vector_fp(VFp { op, lanes: Lanes::All }, rounding, [b, b]);
    check(s)?;
    s.set_xmm(o, s.number(o, 0), v);
    Ok(())
}

/// Rounding by MXCSR.
pub const CURRENT: Rounding = Rounding::Dynamic;
/// Rounding towards zero.
pub const TRUNCATE: Rounding = Rounding::Static(Round::Rtz);

/// The comparison of a predicate (SDM volume 2, CMPPD, table 3-1), and whether its result is inverted.
fn predicate(number: u8, fmt: Fmt) -> (Fp, bool) {
    let op = match number & 3 {
        0 => Fp::Eq(fmt),
        1 => Fp::Lt(fmt),
        2 => Fp::Le(fmt),
        _ => Fp::Unordered(fmt),
    };
    (op, number & 4 != 0)
}

/// Compare lanes: all ones or zero.
pub fn compare<S: X86>(s: S, o: &Operands, fmt: Fmt, lanes: Lanes) -> Res<S> {
    let b = operand(s, o, 1, fmt, lanes)?;
    let d = s.number(o, 0);
    let (op, inverted) = predicate(o.imm as u8, fmt);
    begin(s)?;
    let mut v = s.vector_fp(VFp { op, lanes }, Rounding::Dynamic, [s.xmm(d), b]);
    check(s)?;
    if inverted {
        let ones = match (lanes, fmt) {
            (Lanes::All, _) => s.vector_constant(u64::MAX, u64::MAX),
            (_, Fmt::S) => s.vector_constant(u32::MAX.into(), 0),
            (_, Fmt::D) => s.vector_constant(u64::MAX, 0),
        };
        v = s.bitwise(VBin::Xor, v, ones);
    }
    s.set_xmm(o, d, v);
    Ok(())
}

/// Compare the lowest lanes and set Z, P and C; a quiet NaN is invalid or not.
pub fn compare_flags<S: X86>(s: S, o: &Operands, fmt: Fmt, quiet: bool) -> Res<S> {
    let b = operand(s, o, 1, fmt, Lanes::First)?;
    let a = s.xmm(s.number(o, 0));
    let op = if quiet { Fp::LeQuiet(fmt) } else { Fp::Le(fmt) };
    let op = VFp { op, lanes: Lanes::First };
    begin(s)?;
    let [at_most, at_least] = [[a, b], [b, a]].map(|args| {
        let v = s.vector_fp(op, Rounding::Dynamic, args);
        s.lane::<u32>(Lane::L32, 0, v).low::<bool>()
    });
    check(s)?;
    flags::set_order(s, at_least, at_most);
    Ok(())
}

/// The integer type of `T`.
fn signed<T: Int>() -> IntTy {
    if T::BITS == 32 { IntTy::I32 } else { IntTy::I64 }
}

/// Convert an integer to the number in the lowest lane.
pub fn from_integer<S: X86, T: Int>(s: S, o: &Operands, fmt: Fmt) -> Res<S> {
    let x = s.arg::<T>(o, 1)?;
    let d = s.number(o, 0);
    begin(s)?;
    let v = match fmt {
        Fmt::S => s.with_lane(Lane::L32, 0, s.xmm(d), x.to_float::<f32>(signed::<T>(), CURRENT).bits()),
        Fmt::D => s.with_lane(Lane::L64, 0, s.xmm(d), x.to_float::<f64>(signed::<T>(), CURRENT).bits()),
    };
    check(s)?;
    s.set_xmm(o, d, v);
    Ok(())
}

/// Convert the number in the lowest lane to an integer.
pub fn to_integer<S: X86, T: Int>(s: S, o: &Operands, fmt: Fmt, rounding: Rounding) -> Res<S> {
    let v = operand(s, o, 1, fmt, Lanes::First)?;
    begin(s)?;
    let x: V<S, T> = match fmt {
        Fmt::S => number::<S, f32>(s, Lane::L32, v).to_int(signed::<T>(), rounding),
        Fmt::D => number::<S, f64>(s, Lane::L64, v).to_int(signed::<T>(), rounding),
    };
    check(s)?;
    s.set_arg(o, 0, x)
}

/// The number in the lowest lane.
fn number<S: X86, F: Float>(s: S, lane: Lane, v: S::Vec) -> V<S, F> {
    s.lane::<F::Bits>(lane, 0, v).as_float()
}

/// Convert two integers of an MMX register or memory. Only a register makes this an MMX instruction.
pub fn from_mmx<S: X86>(s: S, o: &Operands, fmt: Fmt) -> Res<S> {
    let b = s.mmx_source(o, 1)?;
    let d = s.number(o, 0);
    let op = VFp { op: Fp::FromInt(IntTy::I32, fmt), lanes: Lanes::All };
    begin(s)?;
    let v = s.vector_fp(op, Rounding::Dynamic, [b, b]);
    check(s)?;
    let all =
        if fmt == Fmt::D { v } else { s.with_lane(Lane::L64, 0, s.xmm(d), s.lane::<u64>(Lane::L64, 0, v)) };
    if o.args[1] != Arg::Mem {
        mmx::enter(s);
    }
    s.set_xmm(o, d, all);
    Ok(())
}

/// Convert two numbers to integers in an MMX register.
pub fn to_mmx<S: X86>(s: S, o: &Operands, fmt: Fmt, rounding: Rounding) -> Res<S> {
    let b = if fmt == Fmt::S { s.scalar_source::<u64>(o, 1)? } else { s.source(o, 1, false)? };
    // The upper two numbers of a register are no operands.
    let b = if fmt == Fmt::S { s.join(b, s.zero()) } else { b };
    let op = VFp { op: Fp::ToInt(fmt, IntTy::I32), lanes: Lanes::All };
    begin(s)?;
    let v = s.vector_fp(op, rounding, [b, b]);
    check(s)?;
    mmx::set(s, s.number(o, 0), v);
    Ok(())
}

/// Sums or differences of adjacent numbers: one operation of the even lanes of both vectors with the odd ones.
pub fn horizontal<S: X86>(s: S, o: &Operands, op: Fp, lane: Lane) -> Res<S> {
    let b = s.source(o, 1, false)?;
    let d = s.number(o, 0);
    let a = s.xmm(d);
    let (even, odd) = if lane == Lane::L32 { (0b10_00_10_00, 0b11_01_11_01) } else { (0b00, 0b11) };
    let [even, odd] = [even, odd].map(|order| s.vop2(Vop::ShuffleTwo(lane, order), a, b));
    begin(s)?;
    let v = s.vector_fp(VFp { op, lanes: Lanes::All }, Rounding::Dynamic, [even, odd]);
    check(s)?;
    s.set_xmm(o, d, v);
    Ok(())
}

/// Differences in the even lanes, sums in the odd ones: a sum with the signs of the even lanes changed.
pub fn add_sub<S: X86>(s: S, o: &Operands, fmt: Fmt) -> Res<S> {
    let b = s.source(o, 1, false)?;
    let d = s.number(o, 0);
    let (sum, difference) =
        (VFp { op: Fp::Add(fmt), lanes: Lanes::All }, VFp { op: Fp::Sub(fmt), lanes: Lanes::All });
    // Each lane's flags count once: the other operands are zeros there.
    let odd = match fmt {
        Fmt::S => s.vector_constant(0xffff_ffff_0000_0000, 0xffff_ffff_0000_0000),
        Fmt::D => s.vector_constant(0, u64::MAX),
    };
    let a = s.xmm(d);
    let only = |mask, v| s.bitwise(VBin::And, v, mask);
    let even = s.bitwise(VBin::Xor, odd, s.vector_constant(u64::MAX, u64::MAX));
    begin(s)?;
    let sums = s.vector_fp(sum, Rounding::Dynamic, [only(odd, a), only(odd, b)]);
    let differences = s.vector_fp(difference, Rounding::Dynamic, [only(even, a), only(even, b)]);
    check(s)?;
    s.set_xmm(o, d, s.bitwise(VBin::Or, only(odd, sums), only(even, differences)));
    Ok(())
}

/// Load MXCSR.
pub fn load_mxcsr<S: X86>(s: S, o: &Operands) -> Res<S> {
    let v = s.arg::<u32>(o, 0)?;
    s.when((v & !(mxcsr::ALL as i64)).ne(0), || s.exception(vector::GP))?;
    s.call(&LOAD, [v.zext(), s.k(0), s.k(0)])?;
    Ok(())
}

static LOAD: Helper = Helper {
    name: "ldmxcsr",
    run: |hart, [value, ..]| {
        hart.harvest_fp();
        let changed = (hart.get(MXCSR) ^ value) & !(MXCSR_FLAGS as u64);
        hart.set(MXCSR, value);
        hart.load_fp();
        if changed == 0 {
            return Ok(0);
        }
        hart.mode_changed();
        Err(trine_ir::Leave::EndBlock)
    },
    reads: SlotSet::All,
    writes: SlotSet::Only(&[MXCSR]),
    leaves: true,
    flushes: true,
    fp: true,
};

/// Store MXCSR.
pub fn store_mxcsr<S: X86>(s: S, o: &Operands) -> Res<S> {
    let v = s.call(&STORE, [s.k(0), s.k(0), s.k(0)])?;
    s.set_arg::<u32>(o, 0, v.low())
}

static STORE: Helper = Helper {
    name: "stmxcsr",
    run: |hart, _| {
        hart.harvest_fp();
        Ok(hart.get(MXCSR))
    },
    reads: SlotSet::Only(&[MXCSR]),
    writes: SlotSet::Only(&[MXCSR]),
    leaves: false,
    flushes: false,
    fp: true,
};

/// Reciprocals, or reciprocals of square roots, to 12 bits, in all lanes or the lowest one. They raise nothing.
pub fn estimate<S: X86>(s: S, o: &Operands, root: bool, lanes: Lanes) -> Res<S> {
    let b = operand(s, o, 1, Fmt::S, lanes)?;
    let d = s.number(o, 0);
    let helper = if root { &RECIPROCAL_ROOT } else { &RECIPROCAL };
    let mut v = s.xmm(d);
    for n in 0..if lanes == Lanes::All { 4 } else { 1 } {
        let x = s.lane::<u32>(Lane::L32, n, b).zext();
        let r = s.call(helper, [x, s.k(0), s.k(0)])?;
        v = s.with_lane(Lane::L32, n, v, r.low::<u32>());
    }
    s.set_xmm(o, d, v);
    Ok(())
}

macro_rules! estimates {
    ($($(#[$doc:meta])* $name:ident $text:literal $root:literal;)*) => {$(
        $(#[$doc])*
        static $name: Helper = Helper {
            name: $text,
            run: |_, [x, ..]| Ok(estimated(x, $root)),
            reads: SlotSet::NONE,
            writes: SlotSet::NONE,
            leaves: false,
            flushes: false,
            fp: false,
        };
    )*};
}
estimates! {
    /// The reciprocal of a number.
    RECIPROCAL "rcp" false;
    /// The reciprocal of a number's square root.
    RECIPROCAL_ROOT "rsqrt" true;
}

/// An estimate of a reciprocal, whose error is less than 1.5 times 2^-12 (SDM volume 2, RCPPS, RSQRTPS). Denormal operands count
/// as zeros, and tiny results are zeros.
pub fn estimated(x: u64, root: bool) -> u64 {
    const ONE: u64 = 0x3f80_0000;
    let denormals = Denormals { zero_operands: true, zero_results: true };
    let mut env = Env { rules: Mxcsr::RULES, denormals, ..Env::new(sf::Round::Rne) };
    let by = if root { sf::sqrt::<sf::F32>(&mut env, x) } else { x };
    let exact = sf::div::<sf::F32>(&mut env, ONE, by);
    let special = exact & 0x7f80_0000 == 0x7f80_0000 || exact & 0x7fff_ffff == 0;
    // Rounded to 12 bits behind the point.
    if special { exact } else { (exact + 0x400) & !0x7ff }
}
