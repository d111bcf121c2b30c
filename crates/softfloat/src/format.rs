//! The formats; numbers taken apart, rounded and put together.

use crate::{NX, OF, UF};

/// Rounding directions, numbered as RISC-V's `frm`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Round {
    /// To nearest, ties to even.
    Rne = 0,
    /// Towards zero.
    Rtz = 1,
    /// Down.
    Rdn = 2,
    /// Up.
    Rup = 3,
    /// To nearest, ties away from zero.
    Rmm = 4,
}

/// The floating-point environment.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    /// Rounding direction.
    pub round: Round,
    /// Flags raised so far.
    pub flags: u8,
}

/// A format of IEEE 754.
pub trait Format: Copy {
    /// Width in bits.
    const BITS: u32;
    /// Bits of the fraction field.
    const FRACTION: u32;
    /// Bias of the exponent.
    const BIAS: i32 = (1 << (Self::BITS - Self::FRACTION - 2)) - 1;
    /// The largest biased exponent: infinities and NaNs.
    const SPECIAL: i32 = 2 * Self::BIAS + 1;
    /// The sign bit.
    const SIGN: u64 = 1 << (Self::BITS - 1);
    /// Positive infinity.
    const INFINITY: u64 = (Self::SPECIAL as u64) << Self::FRACTION;
    /// The bit that makes a NaN quiet.
    const QUIET: u64 = 1 << (Self::FRACTION - 1);
    /// The canonical NaN.
    const NAN: u64 = Self::INFINITY | Self::QUIET;
}

/// binary32.
#[derive(Clone, Copy, Debug)]
pub struct F32;
/// binary64.
#[derive(Clone, Copy, Debug)]
pub struct F64;

impl Format for F32 {
    const BITS: u32 = 32;
    const FRACTION: u32 = 23;
}
impl Format for F64 {
    const BITS: u32 = 64;
    const FRACTION: u32 = 52;
}

/// What a number is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Zero.
    Zero,
    /// Finite and not zero.
    Finite,
    /// Infinite.
    Infinite,
    /// A quiet NaN.
    Quiet,
    /// A signaling NaN.
    Signaling,
}

/// A number taken apart. A finite one is `sig / 2^63 × 2^exp` with the top bit of `sig` set.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// What it is.
    pub kind: Kind,
    /// Negative.
    pub sign: bool,
    /// Exponent of the leading bit.
    pub exp: i32,
    /// Significand.
    pub sig: u64,
}

impl Parts {
    /// Whether it is a NaN.
    pub fn is_nan(&self) -> bool {
        matches!(self.kind, Kind::Quiet | Kind::Signaling)
    }
}

/// Takes a number apart.
pub fn unpack<F: Format>(bits: u64) -> Parts {
    let sign = bits & F::SIGN != 0;
    let biased = (bits >> F::FRACTION) as i32 & F::SPECIAL;
    let fraction = bits & ((1 << F::FRACTION) - 1);
    let parts = |kind, exp, sig| Parts { kind, sign, exp, sig };
    match (biased, fraction) {
        (0, 0) => parts(Kind::Zero, 0, 0),
        (0, _) => {
            let shift = fraction.leading_zeros();
            let exp = 1 - F::BIAS - (shift as i32 - (63 - F::FRACTION as i32));
            parts(Kind::Finite, exp, fraction << shift)
        }
        (b, 0) if b == F::SPECIAL => parts(Kind::Infinite, 0, 0),
        (b, f) if b == F::SPECIAL => {
            parts(if f & F::QUIET != 0 { Kind::Quiet } else { Kind::Signaling }, 0, 0)
        }
        (b, f) => parts(Kind::Finite, b - F::BIAS, (f | 1 << F::FRACTION) << (63 - F::FRACTION)),
    }
}

/// Zero with a sign.
pub fn zero<F: Format>(sign: bool) -> u64 {
    if sign { F::SIGN } else { 0 }
}

/// Infinity with a sign.
pub fn infinity<F: Format>(sign: bool) -> u64 {
    zero::<F>(sign) | F::INFINITY
}

impl Env {
    /// Whether a magnitude whose discarded part compares to half a unit as `half` says is rounded
    /// away from zero. `odd`: the kept part is odd; `rest`: something was discarded.
    pub fn away(&self, sign: bool, odd: bool, half: std::cmp::Ordering, rest: bool) -> bool {
        use std::cmp::Ordering::{Equal, Greater};
        match self.round {
            Round::Rne => half == Greater || half == Equal && odd,
            Round::Rmm => half != std::cmp::Ordering::Less,
            Round::Rtz => false,
            Round::Rdn => sign && rest,
            Round::Rup => !sign && rest,
        }
    }

    /// Drops the low `n` bits (1 to 127) of a magnitude: the rounded rest, and whether it is exact.
    pub fn round_off(&self, sign: bool, m: u128, n: u32) -> (u128, bool) {
        let kept = m >> n;
        let rest = m & ((1 << n) - 1);
        let half = rest.cmp(&(1 << (n - 1)));
        let away = self.away(sign, kept & 1 != 0, half, rest != 0);
        (kept + away as u128, rest == 0)
    }
}

/// Rounds `±sig / 2^63 × 2^exp` (top bit of `sig` set; its lowest bit may stand for anything
/// smaller) and puts it together, raising NX, UF, OF.
pub fn pack<F: Format>(env: &mut Env, sign: bool, exp: i32, sig: u64) -> u64 {
    let drop = 63 - F::FRACTION;
    let biased = exp.saturating_add(F::BIAS);
    if biased < 1 {
        return pack_subnormal::<F>(env, sign, biased, sig);
    }
    let (kept, exact) = env.round_off(sign, sig as u128, drop);
    // A carry out of the significand makes the exponent one larger by itself.
    let bits = kept as u64 - (1 << F::FRACTION);
    let biased = biased as i64 + (bits >> F::FRACTION) as i64;
    if biased >= F::SPECIAL as i64 {
        return overflow::<F>(env, sign);
    }
    if !exact {
        env.flags |= NX;
    }
    zero::<F>(sign) | (biased as u64) << F::FRACTION | bits & ((1 << F::FRACTION) - 1)
}

fn pack_subnormal<F: Format>(env: &mut Env, sign: bool, biased: i32, sig: u64) -> u64 {
    let drop = 63 - F::FRACTION;
    let more = (1 - biased as i64).min(64) as u32;
    // Everything below 64 bits more is less than a quarter of the smallest number either way.
    let (kept, exact) = env.round_off(sign, sig as u128, drop + more);
    // Tiny after rounding: with any exponent, it would stay below the smallest normal number.
    let (unbounded, _) = env.round_off(sign, sig as u128, drop);
    let tiny = biased < 0 || unbounded >> (F::FRACTION + 1) == 0;
    if !exact {
        env.flags |= NX | if tiny { UF } else { 0 };
    }
    zero::<F>(sign) | kept as u64
}

fn overflow<F: Format>(env: &mut Env, sign: bool) -> u64 {
    env.flags |= OF | NX;
    let to_infinity = match env.round {
        Round::Rne | Round::Rmm => true,
        Round::Rtz => false,
        Round::Rdn => sign,
        Round::Rup => !sign,
    };
    if to_infinity { infinity::<F>(sign) } else { infinity::<F>(sign) - 1 }
}

/// `m >> n`, with the lowest bit set where something was lost.
pub fn jam(m: u128, n: u32) -> u128 {
    match n {
        0 => m,
        1..=127 => m >> n | (m & ((1 << n) - 1) != 0) as u128,
        _ => (m != 0) as u128,
    }
}

/// Rounds `±m / 2^126 × 2^exp` (`m` not zero).
pub fn pack_wide<F: Format>(env: &mut Env, sign: bool, exp: i32, m: u128) -> u64 {
    let shift = m.leading_zeros();
    let top = m << shift;
    let sig = (top >> 64) as u64 | (top as u64 != 0) as u64;
    pack::<F>(env, sign, exp + 1 - shift as i32, sig)
}
