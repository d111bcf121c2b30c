//! Comparisons, minimum and maximum, classes (IEEE 754-2019, 5.11, 9.6; unpriv 20.7 to 20.9).

use crate::format::{Kind, unpack};
use crate::{Env, Format, NV};
use std::cmp::Ordering;

fn raise_if(env: &mut Env, c: bool) {
    if c {
        env.flags |= NV;
    }
}

fn is_signaling<F: Format>(a: u64) -> bool {
    unpack::<F>(a).kind == Kind::Signaling
}

fn is_nan<F: Format>(a: u64) -> bool {
    unpack::<F>(a).is_nan()
}

/// Bits as an integer that is ordered like the numbers, -0 below +0.
fn ordered<F: Format>(a: u64) -> i64 {
    let magnitude = (a & (F::SIGN - 1)) as i64;
    if a & F::SIGN != 0 { -magnitude - 1 } else { magnitude }
}

/// Order of two numbers that are not NaNs; zeros are equal.
fn order<F: Format>(a: u64, b: u64) -> Ordering {
    if (a | b) & (F::SIGN - 1) == 0 { Ordering::Equal } else { ordered::<F>(a).cmp(&ordered::<F>(b)) }
}

/// Equal; NV only for signaling NaNs.
pub fn eq<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    raise_if(env, is_signaling::<F>(a) || is_signaling::<F>(b));
    !is_nan::<F>(a) && !is_nan::<F>(b) && order::<F>(a, b) == Ordering::Equal
}

fn signaling<F: Format>(env: &mut Env, a: u64, b: u64) -> Option<Ordering> {
    let unordered = is_nan::<F>(a) || is_nan::<F>(b);
    raise_if(env, unordered);
    (!unordered).then(|| order::<F>(a, b))
}

/// Less than; NV for any NaN.
pub fn lt<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    signaling::<F>(env, a, b) == Some(Ordering::Less)
}

/// Less than or equal; NV for any NaN.
pub fn le<F: Format>(env: &mut Env, a: u64, b: u64) -> bool {
    signaling::<F>(env, a, b).is_some_and(Ordering::is_le)
}

fn extreme<F: Format>(env: &mut Env, a: u64, b: u64, first: Ordering) -> u64 {
    raise_if(env, is_signaling::<F>(a) || is_signaling::<F>(b));
    match (is_nan::<F>(a), is_nan::<F>(b)) {
        (true, true) => F::NAN,
        (true, false) => b,
        (false, true) => a,
        _ if ordered::<F>(a).cmp(&ordered::<F>(b)) == first => a,
        _ => b,
    }
}

/// minimumNumber; -0 is below +0.
pub fn min<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    extreme::<F>(env, a, b, Ordering::Less)
}

/// maximumNumber; +0 is above -0.
pub fn max<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    extreme::<F>(env, a, b, Ordering::Greater)
}

/// The class as one of ten bits: -∞, negative normal, negative subnormal, -0, +0, positive
/// subnormal, positive normal, +∞, signaling NaN, quiet NaN.
pub fn class<F: Format>(a: u64) -> u64 {
    let p = unpack::<F>(a);
    let positive = match p.kind {
        Kind::Signaling => return 1 << 8,
        Kind::Quiet => return 1 << 9,
        Kind::Zero => 4,
        Kind::Finite if p.exp < 1 - F::BIAS => 5,
        Kind::Finite => 6,
        Kind::Infinite => 7,
    };
    1 << if p.sign { 7 - positive } else { positive }
}
