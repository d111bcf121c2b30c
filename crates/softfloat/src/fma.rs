//! Fused multiply-add (IEEE 754-2019 5.4.1; RISC-V manual 20.6: FMADD, FMSUB, FNMSUB, FNMADD).

use crate::arith::{Wide, add_infinite, add_wide, product};
use crate::env::{Env, NanRule};
use crate::format::{Format, Kind, Parts, invalid, propagate, report_denormals, signed, unpack};

/// `±(a * b) ± c`, rounded once; `neg_product` and `neg_addend` select the minus signs. [`NanRule`] says
/// whether infinity times zero is invalid if the addend is a quiet NaN.
#[inline]
pub fn fma<F: Format>(env: &mut Env, a: u64, b: u64, c: u64, neg_product: bool, neg_addend: bool) -> u64 {
    let a = unpack::<F>(env, a).negated_if(neg_product);
    let b = unpack::<F>(env, b);
    let c = unpack::<F>(env, c).negated_if(neg_addend);
    let nan_counts = env.rules.nan == NanRule::FirstOperand && c.is_nan();
    if (a.is_infinite() && b.is_zero() || a.is_zero() && b.is_infinite()) && !nan_counts {
        invalid::<F>(env)
    } else if a.is_nan() || b.is_nan() || c.is_nan() {
        propagate::<F>(env, &[a, b, c])
    } else if a.is_infinite() || b.is_infinite() {
        let negative = a.negative != b.negative;
        let product = Parts { kind: Kind::Infinite, negative, denormal: a.denormal || b.denormal, ..a };
        add_infinite::<F>(env, product, c)
    } else if c.is_infinite() {
        report_denormals(env, &[a, b]);
        signed::<F>(c.negative, F::INFINITY)
    } else {
        report_denormals(env, &[a, b, c]);
        add_wide::<F>(env, finite_product(a, b), Wide::from(c))
    }
}

/// The exact product of two finite numbers.
#[inline]
fn finite_product(a: Parts, b: Parts) -> Wide {
    let negative = a.negative != b.negative;
    if a.is_zero() {
        return Wide::from(Parts { negative, ..a });
    }
    if b.is_zero() {
        return Wide::from(Parts { negative, ..b });
    }
    product(a, b)
}
