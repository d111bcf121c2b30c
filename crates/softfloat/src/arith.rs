//! Addition, subtraction, multiplication (IEEE 754-2019 5.4.1; RISC-V manual 20.6).

use crate::env::{Env, Round};
use crate::format::{Format, Parts, invalid, propagate, report_denormals, signed, unpack};
use crate::round::{round_pack, shift_right_sticky_wide, upper_sticky};

/// `a + b`.
#[inline]
pub fn add<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    let (a, b) = (unpack::<F>(env, a), unpack::<F>(env, b));
    add_parts::<F>(env, a, b)
}

/// `a - b`.
#[inline]
pub fn sub<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    let (a, b) = (unpack::<F>(env, a), unpack::<F>(env, b).negated_if(true));
    add_parts::<F>(env, a, b)
}

/// `a * b`.
#[inline]
pub fn mul<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    let (a, b) = (unpack::<F>(env, a), unpack::<F>(env, b));
    let negative = a.negative != b.negative;
    if a.is_nan() || b.is_nan() {
        propagate::<F>(env, &[a, b])
    } else if a.is_infinite() || b.is_infinite() {
        if a.is_zero() || b.is_zero() {
            return invalid::<F>(env);
        }
        report_denormals(env, &[a, b]);
        signed::<F>(negative, F::INFINITY)
    } else if a.is_zero() || b.is_zero() {
        report_denormals(env, &[a, b]);
        signed::<F>(negative, 0)
    } else {
        report_denormals(env, &[a, b]);
        let p = product(a, b);
        round_pack::<F>(env, p.negative, p.exponent, upper_sticky(p.significand))
    }
}

fn add_parts<F: Format>(env: &mut Env, a: Parts, b: Parts) -> u64 {
    if a.is_nan() || b.is_nan() {
        propagate::<F>(env, &[a, b])
    } else if a.is_infinite() || b.is_infinite() {
        add_infinite::<F>(env, a, b)
    } else {
        report_denormals(env, &[a, b]);
        add_wide::<F>(env, Wide::from(a), Wide::from(b))
    }
}

/// The sum of two numbers, at least one of them infinite and none a NaN.
pub(crate) fn add_infinite<F: Format>(env: &mut Env, a: Parts, b: Parts) -> u64 {
    if a.is_infinite() && b.is_infinite() && a.negative != b.negative {
        return invalid::<F>(env);
    }
    report_denormals(env, &[a, b]);
    signed::<F>(if a.is_infinite() { a.negative } else { b.negative }, F::INFINITY)
}

/// A number `significand / 2^127 * 2^exponent`. The significand is zero or has its top bit set, and its
/// lowest 22 bits are zero (it is an operand, or a product of two).
#[derive(Clone, Copy)]
pub(crate) struct Wide {
    pub negative: bool,
    pub exponent: i32,
    pub significand: u128,
}

impl From<Parts> for Wide {
    #[inline]
    fn from(p: Parts) -> Wide {
        Wide { negative: p.negative, exponent: p.exponent, significand: (p.significand as u128) << 64 }
    }
}

/// The exact product of two finite numbers, neither of them zero.
#[inline]
pub(crate) fn product(a: Parts, b: Parts) -> Wide {
    let significand = a.significand as u128 * b.significand as u128;
    let shift = significand.leading_zeros();
    Wide {
        negative: a.negative != b.negative,
        exponent: a.exponent + b.exponent + 1 - shift as i32,
        significand: significand << shift,
    }
}

/// The rounded sum of two numbers.
#[inline]
pub(crate) fn add_wide<F: Format>(env: &mut Env, a: Wide, b: Wide) -> u64 {
    let sum = exact_sum(a, b);
    if sum.significand == 0 {
        let negative = if a.negative == b.negative { a.negative } else { env.round == Round::Rdn };
        return signed::<F>(negative, 0);
    }
    let shift = sum.significand.leading_zeros();
    let significand = upper_sticky(sum.significand << shift);
    round_pack::<F>(env, sum.negative, sum.exponent - shift as i32, significand)
}

/// The exact sum, not normalized; its lowest bit is sticky. Bits are cut off only if the exponents differ by
/// more than 20: then a difference loses at most one leading bit, and the sticky bit stays low.
#[inline]
fn exact_sum(a: Wide, b: Wide) -> Wide {
    let (large, small) =
        if (a.exponent, a.significand) >= (b.exponent, b.significand) { (a, b) } else { (b, a) };
    let distance = (large.exponent - small.exponent) as u32;
    let x = large.significand >> 1;
    let y = shift_right_sticky_wide(small.significand >> 1, distance);
    let significand = if a.negative == b.negative { x + y } else { x - y };
    Wide { negative: large.negative, exponent: large.exponent + 1, significand }
}
