//! Operations of vectors of 128 bits. A vector is one value; its lanes are numbered from the lowest.
//!
//! An operation exists for the lanes that hosts support ([`Vop::exists`]); bodies compose the others from
//! these.

use crate::op::Signed;
use crate::vector_mix::{self, VMix};

/// Bits of a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Lane {
    /// 16 lanes of 8 bits.
    L8,
    /// 8 lanes of 16 bits.
    L16,
    /// 4 lanes of 32 bits.
    L32,
    /// 2 lanes of 64 bits.
    L64,
}

impl Lane {
    /// Bits of one lane.
    pub const fn bits(self) -> u32 {
        8 << self as u32
    }

    /// Number of lanes.
    pub const fn count(self) -> u32 {
        16 >> self as u32
    }
}

/// Operations of two vectors, lane by lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum VBin {
    /// Sum, modulo the lane.
    Add,
    /// Difference, modulo the lane.
    Sub,
    /// Signed sum that saturates.
    AddS,
    /// Unsigned sum that saturates.
    AddU,
    /// Signed difference that saturates.
    SubS,
    /// Unsigned difference that saturates.
    SubU,
    /// Low half of the product.
    Mul,
    /// High half of the signed product.
    MulhS,
    /// High half of the unsigned product.
    MulhU,
    /// Smaller, signed.
    MinS,
    /// Smaller, unsigned.
    MinU,
    /// Larger, signed.
    MaxS,
    /// Larger, unsigned.
    MaxU,
    /// Average of unsigned numbers, rounded up.
    Avg,
    /// All ones where equal, else zero.
    Eq,
    /// All ones where the first is larger, signed, else zero.
    GtS,
    /// Bitwise and; the lane does not matter and is 64 bits.
    And,
    /// Bitwise or; as `And`.
    Or,
    /// Bitwise exclusive or; as `And`.
    Xor,
    /// `a & !b`; as `And`.
    Andn,
    /// The lanes of the lower halves, alternating, the first vector's first.
    Low,
    /// The lanes of the upper halves, alternating, the first vector's first.
    High,
}

/// Shifts of every lane by the same number of bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum VShift {
    /// Left.
    Shl,
    /// Right, filled with zeros.
    Shr,
    /// Right, filled with copies of the sign.
    Sar,
}

/// A pure operation from vectors to a vector.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Vop {
    /// Of two vectors, lane by lane.
    Bin(VBin, Lane),
    /// Absolute value of every lane, modulo the lane.
    Abs(Lane),
    /// Shift by a constant less than the lane's bits.
    Shift(VShift, Lane, u8),
    /// Lanes of 32 bits in another order: lane `n` is that whose number is in bits `2n` and `2n + 1`.
    Shuffle(u8),
    /// Bytes of the first vector by the numbers in the second one's bytes: the low four bits select, a set
    /// top bit makes the byte zero.
    Permute,
    /// The 16 bytes from byte `n` on of the second vector with the first one above it; `n` is at most 16.
    Align(u8),
    /// Bytes of the second vector where the top bit of the third one's byte is set, else of the first.
    Blend,
    /// Of two vectors, with lanes that mix.
    Mix(VMix),
    /// Shift by the number in the lower half of the second vector.
    ShiftBy(VShift, Lane),
    /// Shift by the number in the second vector's lane.
    ShiftEach(VShift, Lane),
    /// The lowest lanes in wider ones: signed or not, from, to.
    Extend(Signed, Lane, Lane),
    /// The four 16-bit lanes of the lower half (false) or the upper one in another order: see [`vector_mix::shuffle_half`].
    ShuffleHalf(bool, u8),
    /// Lanes chosen from two vectors: see [`vector_mix::shuffle_two`].
    ShuffleTwo(Lane, u8),
    /// The smallest lane and its number: see [`vector_mix::smallest`].
    Smallest,
    /// See [`vector_mix::multiple_sums`].
    MultipleSums(u8),
}

impl Vop {
    /// Number of operands.
    pub const fn operands(self) -> usize {
        match self {
            Vop::Abs(_) | Vop::Shift(..) | Vop::Shuffle(_) => 1,
            Vop::Extend(..) | Vop::ShuffleHalf(..) | Vop::Smallest => 1,
            Vop::Bin(..) | Vop::Permute | Vop::Align(_) => 2,
            Vop::Mix(_) | Vop::ShiftBy(..) | Vop::ShiftEach(..) => 2,
            Vop::ShuffleTwo(..) | Vop::MultipleSums(_) => 2,
            Vop::Blend => 3,
        }
    }

    /// Whether the operation exists for its lanes.
    pub const fn exists(self) -> bool {
        match self {
            Vop::Bin(op, lane) => match op {
                VBin::Add | VBin::Sub | VBin::Eq | VBin::GtS | VBin::Low | VBin::High => true,
                VBin::AddS | VBin::AddU | VBin::SubS | VBin::SubU | VBin::Avg => {
                    matches!(lane, Lane::L8 | Lane::L16)
                }
                VBin::Mul => matches!(lane, Lane::L16 | Lane::L32),
                VBin::MulhS | VBin::MulhU => matches!(lane, Lane::L16),
                VBin::MinS | VBin::MinU | VBin::MaxS | VBin::MaxU => !matches!(lane, Lane::L64),
                VBin::And | VBin::Or | VBin::Xor | VBin::Andn => matches!(lane, Lane::L64),
            },
            Vop::Abs(lane) => !matches!(lane, Lane::L64),
            Vop::Shift(op, lane, n) => {
                let lanes = match op {
                    VShift::Shl | VShift::Shr => !matches!(lane, Lane::L8),
                    VShift::Sar => matches!(lane, Lane::L16 | Lane::L32),
                };
                lanes && (n as u32) < lane.bits()
            }
            Vop::Align(n) => n <= 16,
            Vop::Shuffle(_) | Vop::Permute | Vop::Blend => true,
            Vop::Mix(_) | Vop::ShuffleHalf(..) | Vop::Smallest => true,
            Vop::ShiftBy(VShift::Shl | VShift::Shr, lane) => !matches!(lane, Lane::L8),
            Vop::ShiftBy(VShift::Sar, lane) => matches!(lane, Lane::L16 | Lane::L32),
            Vop::ShiftEach(VShift::Shl | VShift::Shr, lane) => matches!(lane, Lane::L32 | Lane::L64),
            Vop::ShiftEach(VShift::Sar, lane) => matches!(lane, Lane::L32),
            Vop::Extend(_, from, to) => (from as u8) < to as u8,
            Vop::ShuffleTwo(lane, order) => match lane {
                Lane::L32 => true,
                Lane::L64 => order < 4,
                _ => false,
            },
            Vop::MultipleSums(choice) => choice < 8,
        }
    }
}

/// Lane `n` of a vector.
#[inline(always)]
pub fn extract(lane: Lane, n: u32, v: u128) -> u64 {
    (v >> (lane.bits() * n)) as u64 & (u64::MAX >> (64 - lane.bits()))
}

/// The vector with lane `n` replaced by the low bits of `x`.
#[inline(always)]
pub fn insert(lane: Lane, n: u32, v: u128, x: u64) -> u128 {
    let mask = (u64::MAX >> (64 - lane.bits())) as u128;
    v & !(mask << (lane.bits() * n)) | (x as u128 & mask) << (lane.bits() * n)
}

/// The top bits of all lanes, the lowest lane's in bit 0.
pub fn mask(lane: Lane, v: u128) -> u64 {
    (0..lane.count()).fold(0, |mask, n| mask | (extract(lane, n, v) >> (lane.bits() - 1)) << n)
}

/// A vector made lane by lane.
pub(crate) fn lanes(lane: Lane, f: impl Fn(u32) -> u64) -> u128 {
    (0..lane.count()).fold(0, |v, n| insert(lane, n, v, f(n)))
}

/// The result of a [`Vop`]; further operands are ignored.
pub fn eval(op: Vop, [a, b, c]: [u128; 3]) -> u128 {
    match op {
        Vop::Bin(op, lane) => binary(op, lane, a, b),
        Vop::Abs(lane) => lanes(lane, |n| signed(lane, extract(lane, n, a)).unsigned_abs()),
        Vop::Shift(op, lane, by) => lanes(lane, |n| shift(op, lane, extract(lane, n, a), by.into())),
        Vop::Shuffle(order) => lanes(Lane::L32, |n| extract(Lane::L32, (order >> (2 * n) & 3) as u32, a)),
        Vop::Permute => lanes(Lane::L8, |n| {
            let from = extract(Lane::L8, n, b) as u32;
            if from & 0x80 != 0 { 0 } else { extract(Lane::L8, from & 15, a) }
        }),
        Vop::Align(0) => b,
        Vop::Align(16) => a,
        Vop::Align(n) => b >> (8 * n) | a << (128 - 8 * n as u32),
        Vop::Mix(op) => vector_mix::eval(op, a, b),
        Vop::ShiftBy(op, lane) => lanes(lane, |n| shift(op, lane, extract(lane, n, a), b as u64)),
        Vop::ShiftEach(op, lane) => {
            lanes(lane, |n| shift(op, lane, extract(lane, n, a), extract(lane, n, b)))
        }
        Vop::Extend(how, from, to) => lanes(to, |n| match (how, extract(from, n, a)) {
            (Signed::Yes, x) => signed(from, x) as u64,
            (Signed::No, x) => x,
        }),
        Vop::ShuffleHalf(high, order) => vector_mix::shuffle_half(high, order, a),
        Vop::ShuffleTwo(lane, order) => vector_mix::shuffle_two(lane, order, a, b),
        Vop::Smallest => vector_mix::smallest(a),
        Vop::MultipleSums(choice) => vector_mix::multiple_sums(choice, a, b),
        Vop::Blend => lanes(Lane::L8, |n| {
            let second = extract(Lane::L8, n, c) & 0x80 != 0;
            extract(Lane::L8, n, if second { b } else { a })
        }),
    }
}

/// A lane shifted by any number of bits: all of it may be shifted out.
fn shift(op: VShift, lane: Lane, x: u64, by: u64) -> u64 {
    let beyond = by >= lane.bits().into();
    match op {
        VShift::Shl | VShift::Shr if beyond => 0,
        VShift::Shl => x << by,
        VShift::Shr => x >> by,
        VShift::Sar => (signed(lane, x) >> by.min(63)) as u64,
    }
}

/// A lane as a signed number.
fn signed(lane: Lane, x: u64) -> i64 {
    crate::eval::sext(lane.bits(), x)
}

fn binary(op: VBin, lane: Lane, a: u128, b: u128) -> u128 {
    match op {
        VBin::And => return a & b,
        VBin::Or => return a | b,
        VBin::Xor => return a ^ b,
        VBin::Andn => return a & !b,
        VBin::Low | VBin::High => {
            let from = if op == VBin::High { lane.count() / 2 } else { 0 };
            return lanes(lane, |n| extract(lane, from + n / 2, if n % 2 == 0 { a } else { b }));
        }
        _ => {}
    }
    lanes(lane, |n| one_lane(op, lane, extract(lane, n, a), extract(lane, n, b)))
}

fn one_lane(op: VBin, lane: Lane, x: u64, y: u64) -> u64 {
    let bits = lane.bits();
    let (sx, sy) = (signed(lane, x), signed(lane, y));
    let (most, top) = (u64::MAX >> (64 - bits), i64::MAX >> (64 - bits));
    // Only lanes of 8 and 16 bits saturate: nothing here overflows 64.
    let clamp = |wide: i64| wide.clamp(-top - 1, top) as u64;
    let all = |yes: bool| if yes { u64::MAX } else { 0 };
    match op {
        VBin::Add => x.wrapping_add(y),
        VBin::Sub => x.wrapping_sub(y),
        VBin::AddS => clamp(sx.saturating_add(sy)),
        VBin::SubS => clamp(sx.saturating_sub(sy)),
        VBin::AddU => x.saturating_add(y).min(most),
        VBin::SubU => x.saturating_sub(y),
        VBin::Mul => x.wrapping_mul(y),
        VBin::MulhS => (sx.wrapping_mul(sy) >> bits) as u64,
        VBin::MulhU => x.wrapping_mul(y) >> bits,
        VBin::MinS => {
            if sx < sy {
                x
            } else {
                y
            }
        }
        VBin::MaxS => {
            if sx > sy {
                x
            } else {
                y
            }
        }
        VBin::MinU => x.min(y),
        VBin::MaxU => x.max(y),
        VBin::Avg => (x + y + 1) >> 1,
        VBin::Eq => all(x == y),
        VBin::GtS => all(sx > sy),
        VBin::And | VBin::Or | VBin::Xor | VBin::Andn | VBin::Low | VBin::High => 0,
    }
}
