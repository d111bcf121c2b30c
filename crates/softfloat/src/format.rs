//! The interchange formats and their parts (IEEE 754-2019 3.4).

use crate::env::{DE, Env, NV, NanRule};

mod sealed {
    pub trait Sealed {}
}

/// A binary interchange format; implemented by [`F32`] and [`F64`] alone.
pub trait Format: sealed::Sealed {
    /// Bits in the fraction field.
    const FRACTION_BITS: u32;
    /// Bits in the exponent field.
    const EXPONENT_BITS: u32;

    /// The number that is added to an exponent to store it.
    const BIAS: i32 = (1 << (Self::EXPONENT_BITS - 1)) - 1;
    /// The exponent field of infinities and NaNs.
    const EXPONENT_MAX: i32 = (1 << Self::EXPONENT_BITS) - 1;
    /// The fraction field.
    const FRACTION: u64 = (1 << Self::FRACTION_BITS) - 1;
    /// The sign bit.
    const SIGN: u64 = 1 << (Self::FRACTION_BITS + Self::EXPONENT_BITS);
    /// Positive infinity.
    const INFINITY: u64 = Self::SIGN - (1 << Self::FRACTION_BITS);
    /// The bit that makes a NaN quiet.
    const QUIET: u64 = 1 << (Self::FRACTION_BITS - 1);
    /// RISC-V's canonical NaN (manual 20.3, "NaN Generation and Propagation").
    const NAN: u64 = Self::INFINITY | Self::QUIET;
}

/// binary32, single precision.
#[derive(Clone, Copy, Debug)]
pub struct F32;

/// binary64, double precision.
#[derive(Clone, Copy, Debug)]
pub struct F64;

impl sealed::Sealed for F32 {}
impl sealed::Sealed for F64 {}

impl Format for F32 {
    const FRACTION_BITS: u32 = 23;
    const EXPONENT_BITS: u32 = 8;
}

impl Format for F64 {
    const FRACTION_BITS: u32 = 52;
    const EXPONENT_BITS: u32 = 11;
}

/// The kind of a datum (IEEE 754-2019 3.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Zero,
    /// Finite and not zero.
    Finite,
    Infinite,
    Quiet,
    Signaling,
}

/// The parts of a datum. If it is finite: `significand / 2^63 * 2^exponent`, with the significand's top bit
/// set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub kind: Kind,
    pub negative: bool,
    pub exponent: i32,
    pub significand: u64,
    /// It is a denormal number.
    pub denormal: bool,
}

/// The exponent of zeros: below all others, but far from the limits of an `i32`.
const ZERO_EXPONENT: i32 = -(1 << 24);

impl Parts {
    #[inline]
    pub fn is_nan(self) -> bool {
        matches!(self.kind, Kind::Quiet | Kind::Signaling)
    }

    #[inline]
    pub fn is_infinite(self) -> bool {
        self.kind == Kind::Infinite
    }

    #[inline]
    pub fn is_zero(self) -> bool {
        self.kind == Kind::Zero
    }

    /// With the sign flipped if `flip`; a NaN is unchanged.
    #[inline]
    pub fn negated_if(self, flip: bool) -> Parts {
        Parts { negative: self.negative ^ (flip && !self.is_nan()), ..self }
    }
}

/// Splits an operand into its parts.
#[inline]
pub(crate) fn unpack<F: Format>(env: &Env, bits: u64) -> Parts {
    let negative = bits & F::SIGN != 0;
    let field = (bits >> F::FRACTION_BITS) as i32 & F::EXPONENT_MAX;
    let fraction = bits & F::FRACTION;
    let top = fraction << (63 - F::FRACTION_BITS);
    let denormal = field == 0 && fraction != 0 && !env.denormals.zero_operands;
    let (kind, exponent, significand) = if field == F::EXPONENT_MAX {
        (unpack_special::<F>(fraction), 0, top)
    } else if field != 0 {
        (Kind::Finite, field - F::BIAS, 1 << 63 | top)
    } else if !denormal {
        (Kind::Zero, ZERO_EXPONENT, 0)
    } else {
        let shift = top.leading_zeros();
        (Kind::Finite, 1 - F::BIAS - shift as i32, top << shift)
    };
    Parts { kind, negative, exponent, significand, denormal }
}

/// Reports denormal operands of an operation that has no NaN and is valid.
#[inline]
pub(crate) fn report_denormals(env: &mut Env, operands: &[Parts]) {
    if env.rules.reports_denormals && operands.iter().any(|p| p.denormal) {
        env.raise(DE);
    }
}

#[inline]
fn unpack_special<F: Format>(fraction: u64) -> Kind {
    match fraction {
        0 => Kind::Infinite,
        f if f & F::QUIET != 0 => Kind::Quiet,
        _ => Kind::Signaling,
    }
}

/// The datum with these magnitude bits and this sign.
#[inline]
pub(crate) fn signed<F: Format>(negative: bool, magnitude: u64) -> u64 {
    if negative { F::SIGN | magnitude } else { magnitude }
}

/// The result of an invalid operation (IEEE 754-2019 7.2).
#[inline]
pub(crate) fn invalid<F: Format>(env: &mut Env) -> u64 {
    env.raise(NV);
    default_nan::<F>(env)
}

/// The NaN of operations without a NaN operand.
fn default_nan<F: Format>(env: &Env) -> u64 {
    match env.rules.nan {
        NanRule::Canonical => F::NAN,
        NanRule::FirstOperand => F::SIGN | F::NAN,
    }
}

/// The result of an operation if one of its operands is a NaN (IEEE 754-2019 6.2).
#[inline]
pub(crate) fn propagate<F: Format>(env: &mut Env, operands: &[Parts]) -> u64 {
    if operands.iter().any(|p| p.kind == Kind::Signaling) {
        env.raise(NV);
    }
    match operands.iter().find(|p| p.is_nan()) {
        Some(nan) if env.rules.nan == NanRule::FirstOperand => {
            signed::<F>(nan.negative, F::NAN | nan.significand >> (63 - F::FRACTION_BITS))
        }
        _ => default_nan::<F>(env),
    }
}
