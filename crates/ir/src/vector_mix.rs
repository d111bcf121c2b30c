//! Operations of two vectors whose lanes are made of several lanes, of other widths, or of a choice among many.

use crate::eval::sext;
use crate::vector::{Lane, extract, lanes};

/// Such an operation. The first vector's lanes make the lower half of the result where each half has its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum VMix {
    /// Sums of adjacent products of signed 16-bit numbers, in 32 bits.
    MulAdd16,
    /// Sums of adjacent products of an unsigned byte of the first and a signed one of the second vector; 16 bits, saturated.
    MulAdd8,
    /// Sums of the absolute differences of eight unsigned bytes each, in 64 bits.
    SumAbs,
    /// Products of the even unsigned 32-bit lanes, in 64 bits.
    MulEvenU,
    /// Products of the even signed 32-bit lanes, in 64 bits.
    MulEvenS,
    /// Products of signed 16-bit numbers, divided by 2^15 and rounded to nearest.
    MulRound,
    /// Signed 16-bit numbers as signed bytes, saturated.
    PackS16,
    /// Signed 16-bit numbers as unsigned bytes, saturated.
    PackU16,
    /// Signed 32-bit numbers as signed 16-bit numbers, saturated.
    PackS32,
    /// Signed 32-bit numbers as unsigned 16-bit numbers, saturated.
    PackU32,
    /// Sums of adjacent 16-bit lanes.
    AddPairs16,
    /// Sums of adjacent 32-bit lanes.
    AddPairs32,
    /// Sums of adjacent signed 16-bit lanes, saturated.
    AddPairsS16,
    /// Differences of adjacent 16-bit lanes, the lower one minus the upper one.
    SubPairs16,
    /// Differences of adjacent 32-bit lanes.
    SubPairs32,
    /// Differences of adjacent signed 16-bit lanes, saturated.
    SubPairsS16,
    /// Bytes, negated or cleared by the sign of the second vector's.
    Sign8,
    /// The same with 16-bit lanes.
    Sign16,
    /// The same with 32-bit lanes.
    Sign32,
}

/// The result of a [`VMix`].
pub fn eval(op: VMix, a: u128, b: u128) -> u128 {
    use Lane::{L8, L16, L32, L64};
    let get = |lane: Lane, n: u32, v: u128| extract(lane, n, v);
    let signed = |lane: Lane, n: u32, v: u128| sext(lane.bits(), extract(lane, n, v));
    let saturate = |x: i64, bits: u32| x.clamp(-1 << (bits - 1), (1 << (bits - 1)) - 1) as u64;
    // The lanes of both vectors, one after the other.
    let both = |lane: Lane, n: u32| match n < lane.count() {
        true => signed(lane, n, a),
        false => signed(lane, n - lane.count(), b),
    };
    let pairs = |lane: Lane, f: &dyn Fn(i64, i64) -> u64| {
        lanes(lane, |n| f(both(lane, 2 * n), both(lane, 2 * n + 1)))
    };
    let sign =
        |lane: Lane| lanes(lane, |n| (signed(lane, n, a).wrapping_mul(signed(lane, n, b).signum())) as u64);
    match op {
        VMix::MulAdd16 => lanes(L32, |n| {
            let product = |n| signed(L16, n, a) * signed(L16, n, b);
            (product(2 * n) + product(2 * n + 1)) as u64
        }),
        VMix::MulAdd8 => lanes(L16, |n| {
            let product = |n| get(L8, n, a) as i64 * signed(L8, n, b);
            saturate(product(2 * n) + product(2 * n + 1), 16)
        }),
        VMix::SumAbs => {
            lanes(L64, |n| (8 * n..8 * n + 8).map(|n| get(L8, n, a).abs_diff(get(L8, n, b))).sum())
        }
        VMix::MulEvenU => lanes(L64, |n| get(L32, 2 * n, a).wrapping_mul(get(L32, 2 * n, b))),
        VMix::MulEvenS => lanes(L64, |n| signed(L32, 2 * n, a).wrapping_mul(signed(L32, 2 * n, b)) as u64),
        VMix::MulRound => lanes(L16, |n| ((((signed(L16, n, a) * signed(L16, n, b)) >> 14) + 1) >> 1) as u64),
        VMix::PackS16 => lanes(L8, |n| saturate(both(L16, n), 8)),
        VMix::PackU16 => lanes(L8, |n| both(L16, n).clamp(0, 0xff) as u64),
        VMix::PackS32 => lanes(L16, |n| saturate(both(L32, n), 16)),
        VMix::PackU32 => lanes(L16, |n| both(L32, n).clamp(0, 0xffff) as u64),
        VMix::AddPairs16 => pairs(L16, &|x, y| (x + y) as u64),
        VMix::AddPairs32 => pairs(L32, &|x, y| (x + y) as u64),
        VMix::AddPairsS16 => pairs(L16, &|x, y| saturate(x + y, 16)),
        VMix::SubPairs16 => pairs(L16, &|x, y| (x - y) as u64),
        VMix::SubPairs32 => pairs(L32, &|x, y| (x - y) as u64),
        VMix::SubPairsS16 => pairs(L16, &|x, y| saturate(x - y, 16)),
        VMix::Sign8 => sign(L8),
        VMix::Sign16 => sign(L16),
        VMix::Sign32 => sign(L32),
    }
}

/// Four 16-bit lanes of one half in another order; the other half stays. Lane `n` of that half is the one whose number is in bits
/// `2n` and `2n + 1`.
pub fn shuffle_half(high: bool, order: u8, v: u128) -> u128 {
    let first = if high { 4 } else { 0 };
    lanes(Lane::L16, |n| match n.wrapping_sub(first) {
        at @ 0..4 => extract(Lane::L16, first + (order >> (2 * at) & 3) as u32, v),
        _ => extract(Lane::L16, n, v),
    })
}

/// The lower lanes chosen from the first vector, the upper ones from the second, by two bits (one for lanes of 64 bits) each.
pub fn shuffle_two(lane: Lane, order: u8, a: u128, b: u128) -> u128 {
    let bits = lane.count() / 2;
    lanes(lane, |n| {
        let from = (order >> (bits * n)) as u32 & (lane.count() - 1);
        extract(lane, from, if n < lane.count() / 2 { a } else { b })
    })
}

/// The smallest unsigned 16-bit lane, above it the number of the first lane that is it, zeros above.
pub fn smallest(v: u128) -> u128 {
    let least = (0..8).map(|n| (extract(Lane::L16, n, v), n)).min().unwrap_or_default();
    least.0 as u128 | (least.1 as u128) << 16
}

/// Eight sums of absolute differences of four bytes of the first vector, from byte 4 times bit 2 of `choice` on, one byte further
/// each, and the four of the second vector from byte 4 times the low two bits on.
pub fn multiple_sums(choice: u8, a: u128, b: u128) -> u128 {
    let (from, with) = ((choice >> 2 & 1) as u32 * 4, (choice & 3) as u32 * 4);
    let byte = |v: u128, n: u32| extract(Lane::L8, n, v);
    lanes(Lane::L16, |n| (0..4).map(|m| byte(a, from + n + m).abs_diff(byte(b, with + m))).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_mixed() {
        // Examples by hand.
        assert_eq!(eval(VMix::MulAdd16, 0x0002_0003, 0xffff_0005), 13);
        assert_eq!(eval(VMix::MulAdd8, 0xffff, 0x7f7f) as u16, 0x7fff);
        assert_eq!(eval(VMix::SumAbs, 0x05_01, 0x02_03), 5);
        assert_eq!(eval(VMix::MulEvenS, 0xffff_ffff, 2), 0xffff_ffff_ffff_fffe);
        assert_eq!(eval(VMix::MulRound, 0x8000, 0x8000) as u16, 0x8000);
        assert_eq!(eval(VMix::PackU16, 0xffff_0100, 0), 0x00ff);
        assert_eq!(eval(VMix::PackS32, 0x8000_0000, 0) as u16, 0x8000);
        assert_eq!(eval(VMix::SubPairs16, 0x0001_0003, 0), 2);
        assert_eq!(eval(VMix::Sign8, 0x80_05, 0xff_ff), 0x80_fb);
        assert_eq!(shuffle_half(false, 0b00_01_10_11, 0x0004_0003_0002_0001), 0x0001_0002_0003_0004);
        assert_eq!(shuffle_two(Lane::L64, 0b01, 1 << 64 | 2, 3), 3 << 64 | 1);
        assert_eq!(smallest(0x0005_0001_0001 | u128::MAX << 48), 0x0000_0001);
        assert_eq!(multiple_sums(0, 0x0201, 0) as u32, 0x0002_0003);
    }
}
