//! Comparison with LLVM's APFloat, in all five rounding directions.
//!
//! Three things differ and are tested in `host.rs` and `cases.rs` instead: NaN payloads; the underflow flag
//! of results that are rounded to the smallest normal number (APFloat checks the rounded result, RISC-V the
//! result with unbounded exponents); the overflow flag of results that are rounded to the largest number
//! (APFloat raises none).

mod common;

use common::{ROUNDS, canonical, each, is_nan, is_signaling, largest, run, smallest_normal};
use rustc_apfloat::ieee::{Double, Single};
use rustc_apfloat::{Float, FloatConvert, Round as Ap, Status, StatusAnd};
use std::cmp::Ordering;
use trine_softfloat::{self as sf, DZ, F32, F64, Format, IntKind, NV, NX, OF, Round, UF};

const COUNT: usize = 150_000;
const KINDS: [(IntKind, usize, bool); 4] = [
    (IntKind::I32, 32, true),
    (IntKind::U32, 32, false),
    (IntKind::I64, 64, true),
    (IntKind::U64, 64, false),
];

fn direction(round: Round) -> Ap {
    match round {
        Round::Rne => Ap::NearestTiesToEven,
        Round::Rtz => Ap::TowardZero,
        Round::Rdn => Ap::TowardNegative,
        Round::Rup => Ap::TowardPositive,
        Round::Rmm => Ap::NearestTiesToAway,
    }
}

fn flags(status: Status) -> u8 {
    let pairs = [
        (Status::INVALID_OP, NV),
        (Status::DIV_BY_ZERO, DZ),
        (Status::OVERFLOW, OF),
        (Status::UNDERFLOW, UF),
        (Status::INEXACT, NX),
    ];
    pairs.iter().filter(|(s, _)| status.contains(*s)).fold(0, |f, (_, bit)| f | bit)
}

fn bits<T: Float>(v: T) -> u64 {
    v.to_bits() as u64
}

/// Compares one result; `what` is printed with it.
fn compare<F: Format, T: Float>(ours: (u64, u8), theirs: StatusAnd<T>, what: impl std::fmt::Debug) {
    let expected = canonical::<F>(bits(theirs.value));
    let magnitude = expected & (F::SIGN - 1);
    let mask = match magnitude {
        m if m == smallest_normal::<F>() => !UF,
        m if m == largest::<F>() => !OF,
        _ => !0,
    };
    let flags = flags(theirs.status);
    assert_eq!((ours.0, ours.1 & mask), (expected, flags & mask), "{what:x?}");
}

fn arithmetic<F: Format, T: Float>(seed: u64) {
    each::<F>(COUNT, seed, |args| {
        let [a, b, c] = args;
        let [x, y, z] = args.map(|v| T::from_bits(v as u128));
        for round in ROUNDS {
            let ap = direction(round);
            compare::<F, T>(run(round, |e| sf::add::<F>(e, a, b)), x.add_r(y, ap), ("add", round, args));
            compare::<F, T>(run(round, |e| sf::sub::<F>(e, a, b)), x.sub_r(y, ap), ("sub", round, args));
            compare::<F, T>(run(round, |e| sf::mul::<F>(e, a, b)), x.mul_r(y, ap), ("mul", round, args));
            compare::<F, T>(run(round, |e| sf::div::<F>(e, a, b)), x.div_r(y, ap), ("div", round, args));
            for (p, s) in [(false, false), (false, true), (true, false), (true, true)] {
                let left = if p { -x } else { x };
                let addend = if s { -z } else { z };
                let expected = left.mul_add_r(y, addend, ap);
                compare::<F, T>(
                    run(round, |e| sf::fma::<F>(e, a, b, c, p, s)),
                    expected,
                    ("fma", p, s, round, args),
                );
            }
        }
    });
}

fn comparisons<F: Format, T: Float>(seed: u64) {
    each::<F>(COUNT * 4, seed, |[a, b, _]| {
        let order = T::from_bits(a as u128).partial_cmp(&T::from_bits(b as u128));
        let quiet = if is_signaling::<F>(a) || is_signaling::<F>(b) { NV } else { 0 };
        let signaling = if order.is_none() { NV } else { 0 };
        let equal = (order == Some(Ordering::Equal)) as u64;
        let less = (order == Some(Ordering::Less)) as u64;
        assert_eq!(run(Round::Rne, |e| sf::eq::<F>(e, a, b) as u64), (equal, quiet), "{a:x} = {b:x}");
        assert_eq!(run(Round::Rne, |e| sf::lt::<F>(e, a, b) as u64), (less, signaling), "{a:x} < {b:x}");
        assert_eq!(
            run(Round::Rne, |e| sf::le::<F>(e, a, b) as u64),
            (less | equal, signaling),
            "{a:x} <= {b:x}"
        );
        let (low, high) = extremes::<F>(a, b, order);
        assert_eq!(run(Round::Rne, |e| sf::min::<F>(e, a, b)), (low, quiet), "min {a:x} {b:x}");
        assert_eq!(run(Round::Rne, |e| sf::max::<F>(e, a, b)), (high, quiet), "max {a:x} {b:x}");
    });
}

fn extremes<F: Format>(a: u64, b: u64, order: Option<Ordering>) -> (u64, u64) {
    match order {
        Some(Ordering::Less) => (a, b),
        Some(Ordering::Greater) => (b, a),
        // Equal: the same, or zeros of different signs.
        Some(Ordering::Equal) => (a | b, a & b),
        None if is_nan::<F>(a) && is_nan::<F>(b) => (F::NAN, F::NAN),
        None if is_nan::<F>(a) => (b, b),
        None => (a, a),
    }
}

fn to_integers<F: Format, T: Float>(seed: u64) {
    each::<F>(COUNT, seed, |[a, _, _]| {
        for round in ROUNDS {
            for kind in KINDS {
                let ours = run(round, |e| sf::to_int::<F>(e, a, kind.0));
                assert_eq!(ours, to_integer::<T>(a, round, kind, is_nan::<F>(a)), "{a:x} {round:?} {kind:?}");
            }
        }
    });
}

fn to_integer<T: Float>(
    a: u64,
    round: Round,
    (_, width, signed): (IntKind, usize, bool),
    nan: bool,
) -> (u64, u8) {
    let (value, mut exact) = (T::from_bits(a as u128), false);
    let mask = u64::MAX >> (64 - width);
    if nan {
        return (mask >> signed as u32, NV);
    }
    let (result, status) = if signed {
        let r = value.to_i128_r(width, direction(round), &mut exact);
        (r.value as u64, r.status)
    } else {
        let r = value.to_u128_r(width, direction(round), &mut exact);
        (r.value as u64, r.status)
    };
    (result & mask, flags(status))
}

fn from_integers<F: Format, T: Float>(seed: u64) {
    let mut random = common::Random::new(seed);
    for _ in 0..COUNT {
        let shift = random.below(64);
        let v = (random.next() >> shift) << random.below(64 - shift / 2).min(63);
        let v = v.wrapping_add(random.below(5)).wrapping_sub(2);
        for round in ROUNDS {
            let (ap, what) = (direction(round), (v, round));
            let from = |kind| run(round, |e| sf::from_int::<F>(e, v, kind));
            compare::<F, T>(from(IntKind::I32), T::from_i128_r((v as i32).into(), ap), what);
            compare::<F, T>(from(IntKind::U32), T::from_u128_r((v as u32).into(), ap), what);
            compare::<F, T>(from(IntKind::I64), T::from_i128_r((v as i64).into(), ap), what);
            compare::<F, T>(from(IntKind::U64), T::from_u128_r(v.into(), ap), what);
        }
    }
}

fn conversions<F: Format, G: Format, T: FloatConvert<U>, U: Float>(seed: u64) {
    each::<F>(COUNT * 4, seed, |[a, _, _]| {
        for round in ROUNDS {
            let theirs = T::from_bits(a as u128).convert_r(direction(round), &mut false);
            compare::<G, U>(run(round, |e| sf::convert::<F, G>(e, a)), theirs, (round, a));
        }
    });
}

#[test]
fn arithmetic_single() {
    arithmetic::<F32, Single>(1);
}

#[test]
fn arithmetic_double() {
    arithmetic::<F64, Double>(2);
}

#[test]
fn comparisons_agree() {
    comparisons::<F32, Single>(3);
    comparisons::<F64, Double>(4);
}

#[test]
fn integers_agree() {
    to_integers::<F32, Single>(5);
    to_integers::<F64, Double>(6);
    from_integers::<F32, Single>(7);
    from_integers::<F64, Double>(8);
}

#[test]
fn formats_agree() {
    conversions::<F32, F64, Single, Double>(9);
    conversions::<F64, F32, Double, Single>(10);
}
