//! Division and square root (IEEE 754-2019 5.4.1; RISC-V manual 20.6).

use crate::env::{DZ, Env};
use crate::format::{Format, Parts, invalid, propagate, report_denormals, signed, unpack};
use crate::round::round_pack;

/// `a / b`.
#[inline]
pub fn div<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    let (a, b) = (unpack::<F>(env, a), unpack::<F>(env, b));
    let negative = a.negative != b.negative;
    if a.is_nan() || b.is_nan() {
        propagate::<F>(env, &[a, b])
    } else if a.is_infinite() && b.is_infinite() || a.is_zero() && b.is_zero() {
        invalid::<F>(env)
    } else if a.is_infinite() {
        report_denormals(env, &[b]);
        signed::<F>(negative, F::INFINITY)
    } else if a.is_zero() || b.is_infinite() {
        report_denormals(env, &[a, b]);
        signed::<F>(negative, 0)
    } else if b.is_zero() {
        env.raise(DZ);
        signed::<F>(negative, F::INFINITY)
    } else {
        report_denormals(env, &[a, b]);
        let (exponent, significand) = quotient(a, b);
        round_pack::<F>(env, negative, exponent, significand)
    }
}

/// Exponent and sticky significand of the quotient of two finite numbers, neither of them zero.
#[inline]
fn quotient(a: Parts, b: Parts) -> (i32, u64) {
    // The dividend is shifted so that the quotient has exactly 64 bits.
    let below = a.significand < b.significand;
    let dividend = (a.significand as u128) << (63 + below as u32);
    let divisor = b.significand as u128;
    let (q, rest) = (dividend / divisor, dividend % divisor);
    (a.exponent - b.exponent - below as i32, q as u64 | (rest != 0) as u64)
}

/// The square root of `a`.
#[inline]
pub fn sqrt<F: Format>(env: &mut Env, a: u64) -> u64 {
    let a = unpack::<F>(env, a);
    if a.is_nan() {
        propagate::<F>(env, &[a])
    } else if a.is_zero() {
        signed::<F>(a.negative, 0)
    } else if a.negative {
        invalid::<F>(env)
    } else if a.is_infinite() {
        F::INFINITY
    } else {
        report_denormals(env, &[a]);
        let (exponent, significand) = root(a);
        round_pack::<F>(env, false, exponent, significand)
    }
}

/// Exponent and sticky significand of the square root of a finite positive number.
#[inline]
fn root(a: Parts) -> (i32, u64) {
    // The radicand is shifted so that its exponent is even and its root has exactly 64 bits.
    let radicand = (a.significand as u128) << (63 + (a.exponent & 1) as u32);
    let root = radicand.isqrt();
    (a.exponent >> 1, root as u64 | (root * root != radicand) as u64)
}
