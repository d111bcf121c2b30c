//! Comparisons, minimum and maximum (IEEE 754-2019 5.11, 9.6; RISC-V manual 20.6, 20.8).

use crate::env::{Env, Extremes, NV};
use crate::format::{Format, propagate, report_denormals, unpack};

/// The smaller number: see [`Extremes`].
#[inline]
pub fn min<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    match env.rules.extremes {
        Extremes::Number => choose::<F>(env, a, b, order::<F>(a) <= order::<F>(b)),
        Extremes::Second => second_unless::<F>(env, a, b, lt::<F>),
    }
}

/// The larger number: see [`Extremes`].
#[inline]
pub fn max<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    match env.rules.extremes {
        Extremes::Number => choose::<F>(env, a, b, order::<F>(a) >= order::<F>(b)),
        Extremes::Second => second_unless::<F>(env, a, b, |env, a, b| lt::<F>(env, b, a)),
    }
}

/// `a` if `first` holds, else `b`.
fn second_unless<F: Format>(env: &mut Env, a: u64, b: u64, first: fn(&mut Env, u64, u64) -> bool) -> u64 {
    let chosen = if first(env, a, b) { a } else { b };
    flushed::<F>(env, chosen)
}

/// An operand as the operation sees it: a zero in place of a denormal number, if the guest wants that.
#[inline]
fn flushed<F: Format>(env: &Env, bits: u64) -> u64 {
    let is_zero = unpack::<F>(env, bits).is_zero();
    if is_zero { bits & F::SIGN } else { bits & (F::SIGN | (F::SIGN - 1)) }
}

/// `a` if `first`, else `b`; the number if only one is a NaN.
fn choose<F: Format>(env: &mut Env, a: u64, b: u64, first: bool) -> u64 {
    let (pa, pb) = (unpack::<F>(env, a), unpack::<F>(env, b));
    let nan = propagate::<F>(env, &[pa, pb]);
    let chosen = match (pa.is_nan(), pb.is_nan()) {
        (true, true) => nan,
        (true, false) => b,
        (false, true) => a,
        (false, false) => {
            if first {
                a
            } else {
                b
            }
        }
    };
    chosen & (F::SIGN | (F::SIGN - 1))
}

/// Whether a comparison of a quiet NaN is invalid.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nans {
    Quiet,
    Signaling,
}

/// The numbers in an order, as [`value`] gives it; `None` if one is a NaN.
#[inline]
fn ordered<F: Format>(env: &mut Env, a: u64, b: u64, nans: Nans) -> Option<(i64, i64)> {
    let (pa, pb) = (unpack::<F>(env, a), unpack::<F>(env, b));
    if pa.is_nan() || pb.is_nan() {
        propagate::<F>(env, &[pa, pb]);
        env.raise(if nans == Nans::Signaling { NV } else { 0 });
        return None;
    }
    report_denormals(env, &[pa, pb]);
    Some((value::<F>(flushed::<F>(env, a)), value::<F>(flushed::<F>(env, b))))
}

/// Whether `a = b`; only a signaling NaN is invalid (`compareQuietEqual`).
#[inline]
pub fn eq<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    ordered::<F>(env, a, b, Nans::Quiet).is_some_and(|(a, b)| a == b)
}

/// Whether `a < b`; any NaN is invalid (`compareSignalingLess`).
#[inline]
pub fn lt<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    ordered::<F>(env, a, b, Nans::Signaling).is_some_and(|(a, b)| a < b)
}

/// Whether `a <= b`; any NaN is invalid (`compareSignalingLessEqual`).
#[inline]
pub fn le<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    ordered::<F>(env, a, b, Nans::Signaling).is_some_and(|(a, b)| a <= b)
}

/// Whether `a < b`; only a signaling NaN is invalid (`compareQuietLess`).
#[inline]
pub fn lt_quiet<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    ordered::<F>(env, a, b, Nans::Quiet).is_some_and(|(a, b)| a < b)
}

/// Whether `a <= b`; only a signaling NaN is invalid (`compareQuietLessEqual`).
#[inline]
pub fn le_quiet<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    ordered::<F>(env, a, b, Nans::Quiet).is_some_and(|(a, b)| a <= b)
}

/// Whether one is a NaN; only a signaling one is invalid (`compareQuietUnordered`).
#[inline]
pub fn unordered<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    ordered::<F>(env, a, b, Nans::Quiet).is_none()
}

/// An integer in the order of the numbers, 0 for both zeros.
#[inline]
fn value<F: Format>(bits: u64) -> i64 {
    let magnitude = (bits & (F::SIGN - 1)) as i64;
    if bits & F::SIGN != 0 { -magnitude } else { magnitude }
}

/// An integer in the order of the numbers, -0 below +0.
#[inline]
fn order<F: Format>(bits: u64) -> i64 {
    let magnitude = (bits & (F::SIGN - 1)) as i64;
    if bits & F::SIGN != 0 { !magnitude } else { magnitude }
}
