//! Conversions between the formats and to and from integers (IEEE 754-2019 5.4.1, 5.4.2, 5.8;
//! RISC-V manual 20.7, 21.5).

use crate::env::{Env, NV, NX, OutOfRange};
use crate::format::{Format, Kind, Parts, propagate, report_denormals, signed, unpack};
use crate::round::{round_pack, shift_right_sticky_wide};

/// An integer type to convert to or from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntKind {
    /// Signed, 32 bits.
    I32,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 64 bits.
    U64,
}

impl IntKind {
    fn signed(self) -> bool {
        matches!(self, IntKind::I32 | IntKind::I64)
    }

    /// All bits of the type.
    fn mask(self) -> u64 {
        match self {
            IntKind::I32 | IntKind::U32 => u32::MAX as u64,
            IntKind::I64 | IntKind::U64 => u64::MAX,
        }
    }

    /// The largest magnitude with this sign.
    fn limit(self, negative: bool) -> u64 {
        match (self.signed(), negative) {
            (true, _) => (self.mask() >> 1) + negative as u64,
            (false, true) => 0,
            (false, false) => self.mask(),
        }
    }

    /// The bits of the integer with this magnitude.
    fn bits(self, negative: bool, magnitude: u64) -> u64 {
        self.mask() & if negative { magnitude.wrapping_neg() } else { magnitude }
    }
}

/// Converts `a` from format `F` to format `G`.
#[inline]
pub fn convert<F: Format, G: Format>(env: &mut Env, a: u64) -> u64 {
    let a = unpack::<F>(env, a);
    match a.kind {
        Kind::Quiet | Kind::Signaling => propagate::<G>(env, &[a]),
        Kind::Infinite => signed::<G>(a.negative, G::INFINITY),
        Kind::Zero => signed::<G>(a.negative, 0),
        Kind::Finite => {
            report_denormals(env, &[a]);
            round_pack::<G>(env, a.negative, a.exponent, a.significand)
        }
    }
}

/// Converts `a` to an integer, zero-extended to 64 bits. A value that is out of range after rounding, or a
/// NaN, is invalid (and not inexact): see [`OutOfRange`].
#[inline]
pub fn to_int<F: Format>(env: &mut Env, a: u64, kind: IntKind) -> u64 {
    let a = unpack::<F>(env, a);
    let negative = a.negative && !a.is_nan();
    let limit = kind.limit(negative);
    if !a.is_nan() && !a.is_infinite() && a.exponent < 64 {
        let (magnitude, inexact) = integral(env, a);
        if magnitude <= limit as u128 {
            env.raise(if inexact { NX } else { 0 });
            return kind.bits(negative, magnitude as u64);
        }
    }
    env.raise(NV);
    match env.rules.out_of_range {
        OutOfRange::Saturate => kind.bits(negative, limit),
        OutOfRange::Indefinite => kind.bits(kind.signed(), kind.limit(kind.signed())),
    }
}

/// The rounded magnitude of a finite number below 2^64, and whether that is inexact.
#[inline]
fn integral(env: &Env, a: Parts) -> (u128, bool) {
    // A fixed-point number: 64 bits before the point, 64 after it.
    let wide = (a.significand as u128) << 64;
    let fixed = shift_right_sticky_wide(wide, (63 - a.exponent) as u32);
    let (whole, rest) = (fixed >> 64, fixed as u64);
    let away = env.round.away(a.negative, whole & 1 != 0, rest, 1 << 63);
    (whole + away as u128, rest != 0)
}

/// Converts the integer in the low bits of `v` to format `F`.
#[inline]
pub fn from_int<F: Format>(env: &mut Env, v: u64, kind: IntKind) -> u64 {
    let v = v & kind.mask();
    let negative = kind.signed() && v > kind.limit(false);
    let magnitude = kind.bits(negative, v);
    if magnitude == 0 {
        return 0;
    }
    let shift = magnitude.leading_zeros();
    round_pack::<F>(env, negative, 63 - shift as i32, magnitude << shift)
}
