//! Rounding an exact (or sticky) intermediate result to a datum (IEEE 754-2019 4.3, 7.4-7.6).
//!
//! An intermediate significand is "sticky" if its lowest bit is set whenever anything below it was cut off.
//! This suffices for correct rounding if there is at least one bit between it and the last kept bit.

use crate::env::{Env, NX, OF, Tininess, UF};
use crate::format::{Format, signed};

/// Shifts right; the lowest bit is sticky.
#[inline]
pub(crate) fn shift_right_sticky(value: u64, by: u32) -> u64 {
    match by {
        0 => value,
        1..=63 => value >> by | (value << (64 - by) != 0) as u64,
        _ => (value != 0) as u64,
    }
}

/// Shifts right; the lowest bit is sticky.
#[inline]
pub(crate) fn shift_right_sticky_wide(value: u128, by: u32) -> u128 {
    match by {
        0 => value,
        1..=127 => value >> by | (value << (128 - by) != 0) as u128,
        _ => (value != 0) as u128,
    }
}

/// The upper half, sticky.
#[inline]
pub(crate) fn upper_sticky(value: u128) -> u64 {
    (value >> 64) as u64 | (value as u64 != 0) as u64
}

/// Rounds `significand / 2^63 * 2^exponent` to the format. The significand's top bit is set, its lowest bit
/// is sticky.
#[inline]
pub(crate) fn round_pack<F: Format>(env: &mut Env, negative: bool, exponent: i32, significand: u64) -> u64 {
    let field = exponent + F::BIAS;
    if field <= 0 {
        return round_subnormal::<F>(env, negative, field, significand);
    }
    let (kept, inexact) = cut::<F>(env, negative, significand);
    if field >= F::EXPONENT_MAX {
        return overflow::<F>(env, negative, inexact);
    }
    // The top bit of `kept` adds 1 to the exponent field, and so does a carry from rounding.
    let magnitude = ((field as u64 - 1) << F::FRACTION_BITS) + kept;
    if magnitude >= F::INFINITY {
        return overflow::<F>(env, negative, inexact);
    }
    env.raise(if inexact { NX } else { 0 });
    signed::<F>(negative, magnitude)
}

/// Rounds a number below the normal numbers; `field` is the exponent field that it would have.
#[cold]
fn round_subnormal<F: Format>(env: &mut Env, negative: bool, field: i32, significand: u64) -> u64 {
    // Tininess after rounding: with unbounded exponents, only a carry makes it a normal number.
    let tiny = env.rules.tininess == Tininess::BeforeRounding
        || field < 0
        || cut::<F>(env, negative, significand).0 < 2 << F::FRACTION_BITS;
    if tiny && env.denormals.zero_results {
        env.raise(UF | NX);
        return signed::<F>(negative, 0);
    }
    let shifted = shift_right_sticky(significand, (1 - field) as u32);
    let (kept, inexact) = cut::<F>(env, negative, shifted);
    if tiny && env.traps.underflow {
        let inexact = cut::<F>(env, negative, significand).1;
        env.raise(if inexact { UF | NX } else { UF });
    } else if inexact {
        env.raise(if tiny { UF | NX } else { NX });
    }
    signed::<F>(negative, kept)
}

/// Rounds to the format's precision: the significand with its top bit at `FRACTION_BITS` (one higher
/// after a carry), and whether that is inexact.
#[inline]
fn cut<F: Format>(env: &Env, negative: bool, significand: u64) -> (u64, bool) {
    let by = 63 - F::FRACTION_BITS;
    let kept = significand >> by;
    let rest = significand & ((1 << by) - 1);
    let away = env.round.away(negative, kept & 1 != 0, rest, 1 << (by - 1));
    (kept + away as u64, rest != 0)
}

/// The result of an overflow (IEEE 754-2019 7.4). With an unbounded exponent it was `inexact` or not.
#[cold]
fn overflow<F: Format>(env: &mut Env, negative: bool, inexact: bool) -> u64 {
    env.raise(if env.traps.overflow && !inexact { OF } else { OF | NX });
    let infinite = env.round.overflows_to_infinity(negative);
    signed::<F>(negative, F::INFINITY - !infinite as u64)
}
