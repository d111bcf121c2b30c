//! Comparisons, minimum and maximum (IEEE 754-2019 5.11, 9.6; RISC-V manual 20.6, 20.8).

use crate::env::{Env, NV};
use crate::format::{Format, propagate, unpack};

/// `minimumNumber`: a number is preferred to a NaN, and -0 is less than +0.
#[inline]
pub fn min<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    choose::<F>(env, a, b, order::<F>(a) <= order::<F>(b))
}

/// `maximumNumber`: a number is preferred to a NaN, and +0 is greater than -0.
#[inline]
pub fn max<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    choose::<F>(env, a, b, order::<F>(a) >= order::<F>(b))
}

/// `a` if `first`, else `b`; the number if only one is a NaN.
fn choose<F: Format>(env: &mut Env, a: u64, b: u64, first: bool) -> u64 {
    let (pa, pb) = (unpack::<F>(a), unpack::<F>(b));
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

/// Whether `a = b`; only a signaling NaN is invalid (`compareQuietEqual`).
#[inline]
pub fn eq<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    let (pa, pb) = (unpack::<F>(a), unpack::<F>(b));
    if pa.is_nan() || pb.is_nan() {
        propagate::<F>(env, &[pa, pb]);
        return false;
    }
    value::<F>(a) == value::<F>(b)
}

/// Whether `a < b`; any NaN is invalid (`compareSignalingLess`).
#[inline]
pub fn lt<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    ordered::<F>(env, a, b) && value::<F>(a) < value::<F>(b)
}

/// Whether `a <= b`; any NaN is invalid (`compareSignalingLessEqual`).
#[inline]
pub fn le<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    ordered::<F>(env, a, b) && value::<F>(a) <= value::<F>(b)
}

/// Whether neither is a NaN; invalid otherwise.
#[inline]
fn ordered<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    let ordered = !unpack::<F>(a).is_nan() && !unpack::<F>(b).is_nan();
    env.raise(if ordered { 0 } else { NV });
    ordered
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
