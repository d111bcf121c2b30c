//! Comparison with the host's SSE and FMA units, in the four rounding directions that they have. They detect
//! tininess after rounding, as RISC-V does, so all flags are compared.
//!
//! With x86's own rules, every bit of the results is compared, including NaNs and conversions out of range.
//!
//! For the fifth direction, to nearest with ties away, `apfloat.rs` compares the values; the flags are
//! compared here. They are those of ties to even: the numbers just below a power of two are odd, so both
//! directions reach the smallest normal number, or exceed the largest one, from the same values.

#![cfg(target_arch = "x86_64")]

mod common;

use common::{canonical, each, is_nan, is_signaling, run};
use std::arch::asm;
use trine_softfloat::{
    self as sf, DE, DZ, Denormals, Env, Extremes, F32, F64, Format, IntKind, NV, NX, NanRule, OF, OutOfRange,
    Round, Rules, Tininess, UF,
};

const COUNT: usize = 250_000;
const ROUNDS: [Round; 4] = [Round::Rne, Round::Rtz, Round::Rdn, Round::Rup];
/// MXCSR with every exception masked, no flags, to nearest.
const DEFAULT: u32 = 0x1f80;

fn control(round: Round) -> u32 {
    let field = match round {
        Round::Rne => 0,
        Round::Rdn => 1,
        Round::Rup => 2,
        Round::Rtz => 3,
        Round::Rmm => unreachable!("SSE has no such rounding"),
    };
    DEFAULT | field << 13
}

fn flags(mxcsr: u32) -> u8 {
    [(1, NV), (2, DE), (4, DZ), (8, OF), (16, UF), (32, NX)]
        .iter()
        .filter(|(m, _)| mxcsr & m != 0)
        .fold(0, |f, (_, b)| f | b)
}

/// A function that performs one instruction on xmm0, xmm1, xmm2 (or rax) and gives xmm0 and the flags.
macro_rules! host {
    ($name:ident, $instruction:literal) => {
        fn $name(control: u32, [a, b, c]: [u64; 3]) -> (u64, u8) {
            let mut mxcsr = control;
            let result: u64;
            // SAFETY: reads and writes `mxcsr` and DEFAULT alone, declares the registers it changes, and
            // restores MXCSR's control bits.
            unsafe {
                asm!(
                    "movq xmm0, {a}", "movq xmm1, {b}", "movq xmm2, {c}",
                    "ldmxcsr [{env}]", $instruction, "stmxcsr [{env}]", "ldmxcsr [{default}]",
                    "movq {a}, xmm0",
                    a = inout(reg) a => result, b = in(reg) b, c = in(reg) c,
                    env = in(reg) &mut mxcsr, default = in(reg) &DEFAULT, inout("rax") a => _,
                    out("xmm0") _, out("xmm1") _, out("xmm2") _, options(nostack),
                );
            }
            (result, flags(mxcsr))
        }
    };
}

host!(add32, "addss xmm0, xmm1");
host!(sub32, "subss xmm0, xmm1");
host!(mul32, "mulss xmm0, xmm1");
host!(div32, "divss xmm0, xmm1");
host!(sqrt32, "sqrtss xmm0, xmm0");
host!(fma32, "vfmadd213ss xmm0, xmm1, xmm2");
host!(fms32, "vfmsub213ss xmm0, xmm1, xmm2");
host!(fnma32, "vfnmadd213ss xmm0, xmm1, xmm2");
host!(fnms32, "vfnmsub213ss xmm0, xmm1, xmm2");
host!(widen, "cvtss2sd xmm0, xmm0");
host!(from_i32_32, "cvtsi2ss xmm0, eax");
host!(from_i64_32, "cvtsi2ss xmm0, rax");
host!(add64, "addsd xmm0, xmm1");
host!(sub64, "subsd xmm0, xmm1");
host!(mul64, "mulsd xmm0, xmm1");
host!(div64, "divsd xmm0, xmm1");
host!(sqrt64, "sqrtsd xmm0, xmm0");
host!(fma64, "vfmadd213sd xmm0, xmm1, xmm2");
host!(fms64, "vfmsub213sd xmm0, xmm1, xmm2");
host!(fnma64, "vfnmadd213sd xmm0, xmm1, xmm2");
host!(fnms64, "vfnmsub213sd xmm0, xmm1, xmm2");
host!(narrow, "cvtsd2ss xmm0, xmm0");
host!(from_i32_64, "cvtsi2sd xmm0, eax");
host!(from_i64_64, "cvtsi2sd xmm0, rax");
host!(to_i32_32, "cvtss2si eax, xmm0\nmovq xmm0, rax");
host!(to_i64_32, "cvtss2si rax, xmm0\nmovq xmm0, rax");
host!(to_i32_64, "cvtsd2si eax, xmm0\nmovq xmm0, rax");
host!(to_i64_64, "cvtsd2si rax, xmm0\nmovq xmm0, rax");
host!(min32, "minss xmm0, xmm1");
host!(max32, "maxss xmm0, xmm1");
host!(eq32, "cmpss xmm0, xmm1, 0");
host!(lt32, "cmpss xmm0, xmm1, 1");
host!(le32, "cmpss xmm0, xmm1, 2");
host!(unordered32, "cmpss xmm0, xmm1, 3");
host!(lt_quiet32, "vcmpss xmm0, xmm0, xmm1, 17");
host!(le_quiet32, "vcmpss xmm0, xmm0, xmm1, 18");
host!(min64, "minsd xmm0, xmm1");
host!(max64, "maxsd xmm0, xmm1");
host!(eq64, "cmpsd xmm0, xmm1, 0");
host!(lt64, "cmpsd xmm0, xmm1, 1");
host!(le64, "cmpsd xmm0, xmm1, 2");
host!(unordered64, "cmpsd xmm0, xmm1, 3");
host!(lt_quiet64, "vcmpsd xmm0, xmm0, xmm1, 17");
host!(le_quiet64, "vcmpsd xmm0, xmm0, xmm1, 18");

/// SSE's choices where IEEE 754 allows several behaviours.
const SSE: Rules = Rules {
    nan: NanRule::FirstOperand,
    out_of_range: OutOfRange::Indefinite,
    tininess: Tininess::AfterRounding,
    extremes: Extremes::Second,
    reports_denormals: true,
};

/// DAZ and FTZ, in all combinations.
const DENORMALS: [(u32, Denormals); 4] = [
    (0, Denormals { zero_operands: false, zero_results: false }),
    (1 << 6, Denormals { zero_operands: true, zero_results: false }),
    (1 << 15, Denormals { zero_operands: false, zero_results: true }),
    (1 << 6 | 1 << 15, Denormals { zero_operands: true, zero_results: true }),
];

/// Gives the result under this MXCSR, and the flags.
type Host = fn(u32, [u64; 3]) -> (u64, u8);

/// The host's result, converted to RISC-V's conventions.
fn theirs<F: Format>(host: Host, round: Round, args: [u64; 3]) -> (u64, u8) {
    let (bits, flags) = host(control(round), args);
    (canonical::<F>(bits & (F::SIGN | (F::SIGN - 1))), flags & !DE)
}

fn arithmetic<F: Format>(seed: u64, [add, sub, mul, div, sqrt]: [Host; 5]) {
    each::<F>(COUNT, seed, |args| {
        let [a, b, _] = args;
        for r in ROUNDS {
            assert_eq!(run(r, |e| sf::add::<F>(e, a, b)), theirs::<F>(add, r, args), "add {r:?} {args:x?}");
            assert_eq!(run(r, |e| sf::sub::<F>(e, a, b)), theirs::<F>(sub, r, args), "sub {r:?} {args:x?}");
            assert_eq!(run(r, |e| sf::mul::<F>(e, a, b)), theirs::<F>(mul, r, args), "mul {r:?} {args:x?}");
            assert_eq!(run(r, |e| sf::div::<F>(e, a, b)), theirs::<F>(div, r, args), "div {r:?} {args:x?}");
            assert_eq!(run(r, |e| sf::sqrt::<F>(e, a)), theirs::<F>(sqrt, r, args), "sqrt {r:?} {args:x?}");
        }
        away(|e| sf::add::<F>(e, a, b), add, args);
        away(|e| sf::sub::<F>(e, a, b), sub, args);
        away(|e| sf::mul::<F>(e, a, b), mul, args);
        away(|e| sf::div::<F>(e, a, b), div, args);
        // The root of a number is never halfway between two: both roundings to nearest agree.
        let nearest = theirs::<F>(sqrt, Round::Rne, args);
        assert_eq!(run(Round::Rmm, |e| sf::sqrt::<F>(e, a)), nearest, "sqrt Rmm {a:x}");
    });
}

/// Compares the flags of `op` with ties away with the host's with ties to even.
fn away(op: impl FnOnce(&mut Env) -> u64, host: Host, args: [u64; 3]) {
    assert_eq!(run(Round::Rmm, op).1, host(control(Round::Rne), args).1 & !DE, "flags Rmm {args:x?}");
}

fn fused<F: Format>(seed: u64, hosts: [(Host, bool, bool); 4]) {
    if !is_x86_feature_detected!("fma") {
        return;
    }
    each::<F>(COUNT, seed, |args| {
        let [a, b, c] = args;
        for round in ROUNDS {
            for (host, p, s) in hosts {
                let (bits, mut flags) = theirs::<F>(host, round, args);
                // In this case RISC-V raises a flag that x86 does not.
                flags |= if infinity_times_zero::<F>(a, b) { NV } else { 0 };
                let ours = run(round, |e| sf::fma::<F>(e, a, b, c, p, s));
                assert_eq!(ours, (bits, flags), "fma {p} {s} {round:?} {args:x?}");
            }
        }
        if !infinity_times_zero::<F>(a, b) {
            for (host, p, s) in hosts {
                away(|e| sf::fma::<F>(e, a, b, c, p, s), host, args);
            }
        }
    });
}

fn infinity_times_zero<F: Format>(a: u64, b: u64) -> bool {
    let (a, b) = (a & (F::SIGN - 1), b & (F::SIGN - 1));
    (a == F::INFINITY && b == 0) || (a == 0 && b == F::INFINITY)
}

fn conversion<F: Format, G: Format>(seed: u64, host: Host) {
    each::<F>(COUNT * 4, seed, |args| {
        for r in ROUNDS {
            let ours = run(r, |e| sf::convert::<F, G>(e, args[0]));
            assert_eq!(ours, theirs::<G>(host, r, args), "{r:?} {:x}", args[0]);
        }
        away(|e| sf::convert::<F, G>(e, args[0]), host, args);
    });
}

fn from_integers<F: Format>(seed: u64, narrow: Host, wide: Host) {
    let mut random = common::Random::new(seed);
    for _ in 0..COUNT {
        let v = random.next() >> random.below(64);
        for r in ROUNDS {
            let args = [v, 0, 0];
            assert_eq!(
                run(r, |e| sf::from_int::<F>(e, v, IntKind::I32)),
                theirs::<F>(narrow, r, args),
                "{r:?} {v:x}"
            );
            assert_eq!(
                run(r, |e| sf::from_int::<F>(e, v, IntKind::I64)),
                theirs::<F>(wide, r, args),
                "{r:?} {v:x}"
            );
        }
    }
}

#[test]
fn arithmetic_single() {
    arithmetic::<F32>(11, [add32, sub32, mul32, div32, sqrt32]);
}

#[test]
fn arithmetic_double() {
    arithmetic::<F64>(12, [add64, sub64, mul64, div64, sqrt64]);
}

#[test]
fn fused_single() {
    fused::<F32>(
        13,
        [(fma32, false, false), (fms32, false, true), (fnma32, true, false), (fnms32, true, true)],
    );
}

#[test]
fn fused_double() {
    fused::<F64>(
        14,
        [(fma64, false, false), (fms64, false, true), (fnma64, true, false), (fnms64, true, true)],
    );
}

#[test]
fn conversions() {
    conversion::<F32, F64>(15, widen);
    conversion::<F64, F32>(16, narrow);
    from_integers::<F32>(17, from_i32_32, from_i64_32);
    from_integers::<F64>(18, from_i32_64, from_i64_64);
}

/// Runs one operation with SSE's rules; result and flags.
fn run_sse(round: Round, denormals: Denormals, op: impl FnOnce(&mut Env) -> u64) -> (u64, u8) {
    let mut env = Env { rules: SSE, denormals, ..Env::new(round) };
    let result = op(&mut env);
    (result, env.flags)
}

/// An operation in software.
type Ours = fn(&mut Env, [u64; 3]) -> u64;

/// Compares all bits of results of format `G`, or of integers, with those of the host.
fn exactly<F: Format>(seed: u64, mask: u64, ops: &[(&str, Ours, Host)]) {
    each::<F>(COUNT / 8, seed, |args| {
        for (round, (bits, denormals)) in ROUNDS.into_iter().flat_map(|r| DENORMALS.map(|d| (r, d))) {
            for (name, ours, host) in ops {
                let (theirs, flags) = host(control(round) | bits, args);
                let ours = run_sse(round, denormals, |e| ours(e, args));
                assert_eq!(ours, (theirs & mask, flags), "{name} {round:?} {denormals:?} {args:x?}");
            }
        }
    });
}

fn exact_arithmetic<F: Format>(seed: u64, [add, sub, mul, div, sqrt]: [Host; 5], fused: [Host; 4]) {
    let mask = F::SIGN | (F::SIGN - 1);
    exactly::<F>(
        seed,
        mask,
        &[
            ("add", |e, [a, b, _]| sf::add::<F>(e, a, b), add),
            ("sub", |e, [a, b, _]| sf::sub::<F>(e, a, b), sub),
            ("mul", |e, [a, b, _]| sf::mul::<F>(e, a, b), mul),
            ("div", |e, [a, b, _]| sf::div::<F>(e, a, b), div),
            ("sqrt", |e, [a, ..]| sf::sqrt::<F>(e, a), sqrt),
        ],
    );
    if is_x86_feature_detected!("fma") {
        // In the 213 form the second register is the first factor: its NaN wins.
        exactly::<F>(
            seed + 1,
            mask,
            &[
                ("fma", |e, [a, b, c]| sf::fma::<F>(e, b, a, c, false, false), fused[0]),
                ("fms", |e, [a, b, c]| sf::fma::<F>(e, b, a, c, false, true), fused[1]),
                ("fnma", |e, [a, b, c]| sf::fma::<F>(e, b, a, c, true, false), fused[2]),
                ("fnms", |e, [a, b, c]| sf::fma::<F>(e, b, a, c, true, true), fused[3]),
            ],
        );
    }
}

#[test]
fn sse_single() {
    let [add, sub, mul, div, sqrt] = [add32 as Host, sub32, mul32, div32, sqrt32];
    exact_arithmetic::<F32>(21, [add, sub, mul, div, sqrt], [fma32, fms32, fnma32, fnms32]);
}

#[test]
fn sse_double() {
    let [add, sub, mul, div, sqrt] = [add64 as Host, sub64, mul64, div64, sqrt64];
    exact_arithmetic::<F64>(23, [add, sub, mul, div, sqrt], [fma64, fms64, fnma64, fnms64]);
}

fn exact_comparisons<F: Format>(
    seed: u64,
    [min, max]: [Host; 2],
    [eq, lt, le, unordered]: [Host; 4],
    quiet: [Host; 2],
) {
    let mask = F::SIGN | (F::SIGN - 1);
    exactly::<F>(
        seed,
        mask,
        &[
            ("min", |e, [a, b, _]| sf::min::<F>(e, a, b), min),
            ("max", |e, [a, b, _]| sf::max::<F>(e, a, b), max),
        ],
    );
    // The host gives all ones for true.
    exactly::<F>(
        seed + 1,
        1,
        &[
            ("eq", |e, [a, b, _]| sf::eq::<F>(e, a, b).into(), eq),
            ("lt", |e, [a, b, _]| sf::lt::<F>(e, a, b).into(), lt),
            ("le", |e, [a, b, _]| sf::le::<F>(e, a, b).into(), le),
            ("unordered", |e, [a, b, _]| sf::unordered::<F>(e, a, b).into(), unordered),
        ],
    );
    if is_x86_feature_detected!("avx") {
        exactly::<F>(
            seed + 2,
            1,
            &[
                ("lt quiet", |e, [a, b, _]| sf::lt_quiet::<F>(e, a, b).into(), quiet[0]),
                ("le quiet", |e, [a, b, _]| sf::le_quiet::<F>(e, a, b).into(), quiet[1]),
            ],
        );
    }
}

#[test]
fn sse_comparisons() {
    exact_comparisons::<F32>(31, [min32, max32], [eq32, lt32, le32, unordered32], [lt_quiet32, le_quiet32]);
    exact_comparisons::<F64>(34, [min64, max64], [eq64, lt64, le64, unordered64], [lt_quiet64, le_quiet64]);
}

#[test]
fn sse_conversions() {
    let all = u64::MAX;
    exactly::<F32>(
        25,
        all,
        &[
            ("widen", |e, [a, ..]| sf::convert::<F32, F64>(e, a), widen),
            ("i32", |e, [a, ..]| sf::to_int::<F32>(e, a, IntKind::I32), to_i32_32),
            ("i64", |e, [a, ..]| sf::to_int::<F32>(e, a, IntKind::I64), to_i64_32),
        ],
    );
    exactly::<F64>(
        26,
        all,
        &[
            ("i32", |e, [a, ..]| sf::to_int::<F64>(e, a, IntKind::I32), to_i32_64),
            ("i64", |e, [a, ..]| sf::to_int::<F64>(e, a, IntKind::I64), to_i64_64),
        ],
    );
    exactly::<F64>(27, u32::MAX as u64, &[("narrow", |e, [a, ..]| sf::convert::<F64, F32>(e, a), narrow)]);
}

#[test]
fn tininess_before_rounding_sees_what_rounds_to_the_smallest_normal_number() {
    // (1 + 2^-52) (1 - 2^-52) times the smallest normal number: tiny before it is rounded up to that, and not after.
    let min = F64::SIGN >> 11;
    let (a, b) = (min | 1, 0x3fef_ffff_ffff_fffe);
    for (tininess, flags) in [(Tininess::AfterRounding, NX), (Tininess::BeforeRounding, NX | UF)] {
        let mut env = Env { rules: Rules { tininess, ..SSE }, ..Env::new(Round::Rne) };
        assert_eq!((sf::mul::<F64>(&mut env, a, b), env.flags), (min, flags), "{tininess:?}");
    }
}

/// The predicates on which the comparisons rely.
#[test]
fn nan_predicates() {
    assert!(is_nan::<F32>(0x7f80_0001) && is_signaling::<F32>(0xff80_0001));
    assert!(is_nan::<F64>(F64::NAN) && !is_signaling::<F64>(F64::NAN));
}
