//! Hand-written cases: those that the other implementations lack, and those that RISC-V's manual describes in
//! words.

mod common;

use common::run;
use trine_softfloat::IntKind::{I32, I64, U32, U64};
use trine_softfloat::Round::{Rdn, Rmm, Rne, Rtz, Rup};
use trine_softfloat::*;

const ONE: u64 = 0x3f80_0000;
const INF: u64 = 0x7f80_0000;
const MAX: u64 = 0x7f7f_ffff;
const MIN: u64 = 0x0080_0000;
const QNAN: u64 = 0x7fc0_1234;
const SNAN: u64 = 0xff80_0001;
const NAN: u64 = 0x7fc0_0000;
const NEG: u64 = 0x8000_0000;

fn mul32(round: Round, a: u64, b: u64) -> (u64, u8) {
    run(round, |e| mul::<F32>(e, a, b))
}

fn add32(round: Round, a: u64, b: u64) -> (u64, u8) {
    run(round, |e| add::<F32>(e, a, b))
}

fn fma32(round: Round, a: u64, b: u64, c: u64) -> (u64, u8) {
    run(round, |e| fma::<F32>(e, a, b, c, false, false))
}

fn int32(round: Round, a: u64, kind: IntKind) -> (u64, u8) {
    run(round, |e| to_int::<F32>(e, a, kind))
}

#[test]
fn constants() {
    assert_eq!([NX, UF, OF, DZ, NV], [1, 2, 4, 8, 16]);
    assert_eq!([Rne, Rtz, Rdn, Rup, Rmm].map(|r| r as u8), [0, 1, 2, 3, 4]);
    assert_eq!((F32::NAN, F64::NAN), (0x7fc0_0000, 0x7ff8_0000_0000_0000));
}

#[test]
fn nans() {
    assert_eq!(add32(Rne, QNAN, ONE), (NAN, 0));
    assert_eq!(add32(Rne, ONE, SNAN), (NAN, NV));
    assert_eq!(add32(Rne, QNAN, SNAN), (NAN, NV));
    assert_eq!(add32(Rne, INF, INF | NEG), (NAN, NV));
    assert_eq!(mul32(Rne, INF, NEG), (NAN, NV));
    assert_eq!(run(Rne, |e| div::<F32>(e, 0, NEG)), (NAN, NV));
    assert_eq!(run(Rne, |e| div::<F32>(e, ONE, NEG)), (INF | NEG, DZ));
    assert_eq!(run(Rne, |e| div::<F32>(e, INF, 0)), (INF, 0));
    assert_eq!(run(Rne, |e| sqrt::<F32>(e, ONE | NEG)), (NAN, NV));
    assert_eq!(run(Rne, |e| sqrt::<F32>(e, NEG)), (NEG, 0));
    assert_eq!(run(Rne, |e| sqrt::<F32>(e, SNAN)), (NAN, NV));
    assert_eq!(run(Rne, |e| convert::<F32, F64>(e, SNAN)), (F64::NAN, NV));
    assert_eq!(run(Rne, |e| convert::<F64, F32>(e, 0xfff8_0000_0000_0001)), (NAN, 0));
}

#[test]
fn fused() {
    assert_eq!(fma32(Rne, INF, 0, QNAN), (NAN, NV));
    assert_eq!(fma32(Rne, 0, INF | NEG, ONE), (NAN, NV));
    assert_eq!(fma32(Rne, QNAN, INF, 0), (NAN, 0));
    assert_eq!(fma32(Rne, INF, ONE, INF | NEG), (NAN, NV));
    assert_eq!(fma32(Rne, MAX, MAX, INF | NEG), (INF | NEG, 0));
    assert_eq!(fma32(Rne, ONE, ONE, ONE | NEG), (0, 0));
    assert_eq!(fma32(Rdn, ONE, ONE, ONE | NEG), (NEG, 0));
    assert_eq!(fma32(Rdn, 0, ONE, 0), (0, 0));
    assert_eq!(fma32(Rne, NEG, ONE, NEG), (NEG, 0));
    assert_eq!(run(Rne, |e| fma::<F32>(e, 0, ONE, 0, true, true)), (NEG, 0));
    assert_eq!(run(Rne, |e| fma::<F32>(e, ONE, ONE, ONE, true, false)), (0, 0));
    assert_eq!(run(Rne, |e| fma::<F32>(e, ONE, ONE, ONE, true, true)), (0xc000_0000, 0));
}

#[test]
fn tininess_is_detected_after_rounding() {
    // (1 - 2^-24) * 2^-126 has 24 bits, so it is tiny; the format has a bit less, so it is a tie.
    assert_eq!(mul32(Rne, 0x3f7f_ffff, MIN), (MIN, NX | UF));
    assert_eq!(mul32(Rmm, 0x3f7f_ffff, MIN), (MIN, NX | UF));
    assert_eq!(mul32(Rup, 0x3f7f_ffff, MIN), (MIN, NX | UF));
    assert_eq!(mul32(Rtz, 0x3f7f_ffff, MIN), (MIN - 1, NX | UF));
    // (1 + 2^-23)(1 - 2^-23) * 2^-126 = (1 - 2^-46) * 2^-126 rounds to 2^-126 in any exponent range.
    assert_eq!(mul32(Rne, ONE + 1, 0x007f_ffff), (MIN, NX));
    assert_eq!(mul32(Rmm, ONE + 1, 0x007f_ffff), (MIN, NX));
    assert_eq!(mul32(Rup, ONE + 1, 0x007f_ffff), (MIN, NX));
    assert_eq!(mul32(Rdn, ONE + 1, 0x007f_ffff), (MIN - 1, NX | UF));
    // Ties at 24 bits: 2^-126 - 2^-151, exact in binary64.
    assert_eq!(run(Rne, |e| convert::<F64, F32>(e, 0x380f_ffff_f000_0000)), (MIN, NX));
    assert_eq!(run(Rmm, |e| convert::<F64, F32>(e, 0x380f_ffff_f000_0000)), (MIN, NX));
    assert_eq!(run(Rmm, |e| convert::<F64, F32>(e, 0x380f_ffff_efff_ffff)), (MIN, NX | UF));
    // Tiny and exact: no underflow.
    assert_eq!(mul32(Rne, MIN, 0x3f00_0000), (MIN / 2, 0));
    assert_eq!(mul32(Rmm, 1, 0x3f00_0000), (1, NX | UF));
    assert_eq!(mul32(Rne, 1, 0x3f00_0000), (0, NX | UF));
}

#[test]
fn overflow_by_direction() {
    assert_eq!(mul32(Rne, MAX, MAX), (INF, OF | NX));
    assert_eq!(mul32(Rmm, MAX, MAX | NEG), (INF | NEG, OF | NX));
    assert_eq!(mul32(Rtz, MAX, MAX), (MAX, OF | NX));
    assert_eq!(mul32(Rdn, MAX, MAX), (MAX, OF | NX));
    assert_eq!(mul32(Rdn, MAX, MAX | NEG), (INF | NEG, OF | NX));
    assert_eq!(mul32(Rup, MAX, MAX | NEG), (MAX | NEG, OF | NX));
    // Half a unit above the largest, which is odd: a tie that overflows.
    assert_eq!(add32(Rmm, MAX, 0x7300_0000), (INF, OF | NX));
    assert_eq!(add32(Rne, MAX, 0x7300_0000), (INF, OF | NX));
    assert_eq!(add32(Rmm, MAX, 0x72ff_ffff), (MAX, NX));
    assert_eq!(add32(Rtz, MAX, 0x7300_0000), (MAX, NX));
}

#[test]
fn ties_away() {
    assert_eq!(add32(Rne, ONE, 0x3380_0000), (ONE, NX));
    assert_eq!(add32(Rmm, ONE, 0x3380_0000), (ONE + 1, NX));
    assert_eq!(add32(Rmm, ONE | NEG, 0xb380_0000), ((ONE + 1) | NEG, NX));
    assert_eq!(add32(Rmm, ONE, 0x337f_ffff), (ONE, NX));
}

#[test]
fn signs_of_zero() {
    assert_eq!(add32(Rne, 0, NEG), (0, 0));
    assert_eq!(add32(Rdn, 0, NEG), (NEG, 0));
    assert_eq!(add32(Rne, NEG, NEG), (NEG, 0));
    assert_eq!(add32(Rdn, 0, 0), (0, 0));
    assert_eq!(run(Rne, |e| sub::<F32>(e, ONE, ONE)), (0, 0));
    assert_eq!(run(Rdn, |e| sub::<F32>(e, ONE, ONE)), (NEG, 0));
}

#[test]
fn minimum_and_maximum() {
    assert_eq!(run(Rne, |e| min::<F32>(e, 0, NEG)), (NEG, 0));
    assert_eq!(run(Rne, |e| min::<F32>(e, NEG, 0)), (NEG, 0));
    assert_eq!(run(Rne, |e| max::<F32>(e, 0, NEG)), (0, 0));
    assert_eq!(run(Rne, |e| max::<F32>(e, NEG, 0)), (0, 0));
    assert_eq!(run(Rne, |e| min::<F32>(e, QNAN, ONE)), (ONE, 0));
    assert_eq!(run(Rne, |e| max::<F32>(e, ONE, SNAN)), (ONE, NV));
    assert_eq!(run(Rne, |e| max::<F32>(e, QNAN, QNAN)), (NAN, 0));
    assert_eq!(run(Rne, |e| min::<F32>(e, SNAN, QNAN)), (NAN, NV));
    assert_eq!(run(Rne, |e| min::<F32>(e, ONE | NEG, INF | NEG)), (INF | NEG, 0));
}

#[test]
fn comparisons() {
    assert_eq!(run(Rne, |e| eq::<F32>(e, 0, NEG) as u64), (1, 0));
    assert_eq!(run(Rne, |e| lt::<F32>(e, NEG, 0) as u64), (0, 0));
    assert_eq!(run(Rne, |e| le::<F32>(e, 0, NEG) as u64), (1, 0));
    assert_eq!(run(Rne, |e| eq::<F32>(e, QNAN, QNAN) as u64), (0, 0));
    assert_eq!(run(Rne, |e| eq::<F32>(e, ONE, SNAN) as u64), (0, NV));
    assert_eq!(run(Rne, |e| lt::<F32>(e, ONE, QNAN) as u64), (0, NV));
    assert_eq!(run(Rne, |e| le::<F32>(e, QNAN, ONE) as u64), (0, NV));
}

#[test]
fn integers() {
    assert_eq!(int32(Rne, QNAN | NEG, I32), (0x7fff_ffff, NV));
    assert_eq!(int32(Rne, SNAN, U32), (0xffff_ffff, NV));
    assert_eq!(int32(Rne, QNAN, I64), (i64::MAX as u64, NV));
    assert_eq!(int32(Rne, QNAN, U64), (u64::MAX, NV));
    assert_eq!(int32(Rne, INF | NEG, I32), (0x8000_0000, NV));
    assert_eq!(int32(Rne, INF | NEG, U64), (0, NV));
    assert_eq!(int32(Rne, INF, U32), (0xffff_ffff, NV));
    assert_eq!(int32(Rtz, 0xbf7f_ffff, U32), (0, NX));
    assert_eq!(int32(Rdn, 0xbf7f_ffff, U32), (0, NV));
    assert_eq!(int32(Rtz, ONE | NEG, U64), (0, NV));
    assert_eq!(int32(Rtz, ONE | NEG, I32), (0xffff_ffff, 0));
    assert_eq!(int32(Rne, 0x3f00_0000, I32), (0, NX));
    assert_eq!(int32(Rmm, 0x3f00_0000, I32), (1, NX));
    assert_eq!(int32(Rup, 1, I64), (1, NX));
    assert_eq!(int32(Rne, 0xcf00_0000, I32), (0x8000_0000, 0));
    assert_eq!(int32(Rne, 0x4f00_0000, I32), (0x7fff_ffff, NV));
    assert_eq!(int32(Rne, 0x5f80_0000, U64), (u64::MAX, NV));
    assert_eq!(int32(Rne, NEG, U32), (0, 0));
    // 4294967295.5: rounds out of range, then it is invalid but not inexact.
    assert_eq!(run(Rne, |e| to_int::<F64>(e, 0x41ef_ffff_fff0_0000, U32)), (0xffff_ffff, NV));
    assert_eq!(run(Rtz, |e| to_int::<F64>(e, 0x41ef_ffff_fff0_0000, U32)), (0xffff_ffff, NX));
    assert_eq!(run(Rne, |e| from_int::<F32>(e, 0xdead_0000_ffff_ffff, I32)), (ONE | NEG, 0));
    assert_eq!(run(Rne, |e| from_int::<F32>(e, u64::MAX, U64)), (0x5f80_0000, NX));
    assert_eq!(run(Rtz, |e| from_int::<F32>(e, u64::MAX, U64)), (0x5f7f_ffff, NX));
    assert_eq!(run(Rne, |e| from_int::<F64>(e, i64::MIN as u64, I64)), (0xc3e0_0000_0000_0000, 0));
    assert_eq!(run(Rdn, |e| from_int::<F64>(e, 0, I64)), (0, 0));
}

#[test]
fn flags_accumulate() {
    let mut env = Env { flags: DZ, ..Env::new(Rne) };
    add::<F32>(&mut env, ONE, 1);
    assert_eq!(env.flags, DZ | NX);
}

#[test]
fn upper_halves_are_ignored() {
    let junk = 0xdead_beef_0000_0000;
    assert_eq!(add32(Rne, junk | ONE, ONE), (0x4000_0000, 0));
    assert_eq!(run(Rne, |e| max::<F32>(e, junk | ONE, 0)), (ONE, 0));
    assert_eq!(run(Rne, |e| eq::<F32>(e, junk, NEG) as u64), (1, 0));
}
