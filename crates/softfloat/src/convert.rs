//! Conversions (IEEE 754-2019, 5.4; unpriv 20.7).

use crate::format::{Kind, infinity, pack, unpack, zero};
use crate::{Env, Format, NV, NX};

/// An integer type.
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
    fn bits(self) -> u32 {
        match self {
            IntKind::I32 | IntKind::U32 => 32,
            IntKind::I64 | IntKind::U64 => 64,
        }
    }

    fn signed(self) -> bool {
        matches!(self, IntKind::I32 | IntKind::I64)
    }

    fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// Largest magnitude of a number with this sign.
    fn limit(self, negative: bool) -> u128 {
        match (self.signed(), negative) {
            (true, true) => 1 << (self.bits() - 1),
            (true, false) => (1 << (self.bits() - 1)) - 1,
            (false, true) => 0,
            (false, false) => self.mask() as u128,
        }
    }

    fn saturated(self, negative: bool) -> u64 {
        let limit = self.limit(negative) as u64;
        if negative { limit.wrapping_neg() & self.mask() } else { limit }
    }
}

/// Number of format `F` to format `G`.
pub fn convert<F: Format, G: Format>(env: &mut Env, a: u64) -> u64 {
    let p = unpack::<F>(a);
    match p.kind {
        Kind::Zero => zero::<G>(p.sign),
        Kind::Infinite => infinity::<G>(p.sign),
        Kind::Finite => pack::<G>(env, p.sign, p.exp, p.sig),
        Kind::Quiet => G::NAN,
        Kind::Signaling => {
            env.flags |= NV;
            G::NAN
        }
    }
}

/// Number to integer, zero-extended. What does not fit saturates, NaN gives the largest; NV only.
pub fn to_int<F: Format>(env: &mut Env, a: u64, kind: IntKind) -> u64 {
    let p = unpack::<F>(a);
    let (magnitude, exact) = match p.kind {
        Kind::Zero => return 0,
        Kind::Infinite => (u128::MAX, true),
        Kind::Quiet | Kind::Signaling => {
            env.flags |= NV;
            return kind.saturated(false);
        }
        Kind::Finite if p.exp >= 64 => (u128::MAX, true),
        Kind::Finite if p.exp == 63 => (p.sig as u128, true),
        // Below a quarter all magnitudes round alike.
        Kind::Finite => env.round_off(p.sign, p.sig as u128, (63 - p.exp).min(66) as u32),
    };
    if magnitude > kind.limit(p.sign) {
        env.flags |= NV;
        return kind.saturated(p.sign);
    }
    if !exact {
        env.flags |= NX;
    }
    let value = magnitude as u64;
    if p.sign { value.wrapping_neg() & kind.mask() } else { value }
}

/// Integer (its low bits) to number.
pub fn from_int<F: Format>(env: &mut Env, value: u64, kind: IntKind) -> u64 {
    let n = match kind {
        IntKind::I32 => value as i32 as i128,
        IntKind::U32 => value as u32 as i128,
        IntKind::I64 => value as i64 as i128,
        IntKind::U64 => value as i128,
    };
    let magnitude = n.unsigned_abs() as u64;
    if magnitude == 0 {
        return 0;
    }
    let shift = magnitude.leading_zeros();
    pack::<F>(env, n < 0, 63 - shift as i32, magnitude << shift)
}
