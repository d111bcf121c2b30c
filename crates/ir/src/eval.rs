//! What the integer operations mean on plain numbers: used by the interpreter and to fold constants.

use crate::op::{Bin, Carry, Cmp, Rmw, Signed, Un};

/// The low `bits` bits of `a`.
#[inline(always)]
pub fn zext(bits: u32, a: u64) -> u64 {
    a & (u64::MAX >> (64 - bits))
}

/// `a`'s low `bits` bits as a signed number.
#[inline(always)]
pub fn sext(bits: u32, a: u64) -> i64 {
    ((a << (64 - bits)) as i64) >> (64 - bits)
}

/// A [`Bin`] operation. Division by zero gives zero; bodies exclude it.
#[inline(always)]
pub fn binary(op: Bin, bits: u32, a: u64, b: u64) -> u64 {
    let n = b as u32 & (bits - 1);
    let (sa, sb) = (sext(bits, a), sext(bits, b));
    let wide = match op {
        Bin::Add => a.wrapping_add(b),
        Bin::Sub => a.wrapping_sub(b),
        Bin::Mul => a.wrapping_mul(b),
        Bin::MulhS => ((sa as i128 * sb as i128) >> bits) as u64,
        Bin::MulhU => ((a as u128 * b as u128) >> bits) as u64,
        Bin::MulhSU => ((sa as i128 * b as i128) >> bits) as u64,
        Bin::DivS => sa.checked_div(sb).map_or(if sb == 0 { 0 } else { a }, |q| q as u64),
        Bin::DivU => a.checked_div(b).unwrap_or(0),
        Bin::RemS => sa.checked_rem(sb).map_or(0, |r| r as u64),
        Bin::RemU => a.checked_rem(b).unwrap_or(0),
        Bin::And => a & b,
        Bin::Or => a | b,
        Bin::Xor => a ^ b,
        Bin::Shl => a << n,
        Bin::Shr => a >> n,
        Bin::Sar => (sa >> n) as u64,
        Bin::Rol => (a << n) | if n == 0 { 0 } else { a >> (bits - n) },
        Bin::Ror => (a >> n) | if n == 0 { 0 } else { a << (bits - n) },
        Bin::Andn => a & !b,
    };
    zext(bits, wide)
}

/// A comparison.
#[inline(always)]
pub fn compare(op: Cmp, bits: u32, a: u64, b: u64) -> bool {
    let (sa, sb) = (sext(bits, a), sext(bits, b));
    match op {
        Cmp::Eq => a == b,
        Cmp::Ne => a != b,
        Cmp::LtS => sa < sb,
        Cmp::LtU => a < b,
        Cmp::GeS => sa >= sb,
        Cmp::GeU => a >= b,
    }
}

/// A [`Un`] operation.
#[inline(always)]
pub fn unary(op: Un, bits: u32, a: u64) -> u64 {
    match op {
        Un::Clz => (a.leading_zeros() - (64 - bits)) as u64,
        Un::Ctz => a.trailing_zeros().min(bits) as u64,
        Un::Popcount => a.count_ones() as u64,
        Un::Bswap => a.swap_bytes() >> (64 - bits),
    }
}

/// A [`Carry`] operation of clean operands, with a carry-in of 0 or 1: value, carry, overflow.
#[inline(always)]
pub fn carry(op: Carry, bits: u32, a: u64, b: u64, c: u64) -> (u64, bool, bool) {
    let sign = |x: u64| x >> (bits - 1) & 1 != 0;
    let (wa, wb, wc) = (a as u128, b as u128, c as u128);
    match op {
        Carry::Add => {
            let sum = zext(bits, a.wrapping_add(b).wrapping_add(c));
            (sum, (wa + wb + wc) >> bits != 0, sign((a ^ sum) & (b ^ sum)))
        }
        Carry::Sub => {
            let difference = zext(bits, a.wrapping_sub(b).wrapping_sub(c));
            (difference, wa < wb + wc, sign((a ^ b) & (a ^ difference)))
        }
    }
}

/// Quotient and remainder of `high:low` by `divisor`, cut to 64 bits. Division by zero gives zeros; bodies
/// exclude it.
pub fn divide_wide(signed: Signed, high: u64, low: u64, divisor: u64) -> (u64, u64) {
    let dividend = (high as u128) << 64 | low as u128;
    match signed {
        Signed::No => {
            let divisor = divisor as u128;
            let quotient = dividend.checked_div(divisor).unwrap_or(0);
            (quotient as u64, dividend.checked_rem(divisor).unwrap_or(0) as u64)
        }
        Signed::Yes => {
            let (dividend, divisor) = (dividend as i128, divisor as i64 as i128);
            let quotient = dividend.checked_div(divisor).unwrap_or(0);
            (quotient as u64, dividend.checked_rem(divisor).unwrap_or(0) as u64)
        }
    }
}

/// `old` with its `len` bits from bit `at` on replaced by the low ones of `value`. The field lies inside 64 bits.
#[inline(always)]
pub fn insert(at: u32, len: u32, old: u64, value: u64) -> u64 {
    let mask = (u64::MAX >> (64 - len)) << at;
    old & !mask | value << at & mask
}

/// The value that a [`Rmw`] operation stores.
#[inline(always)]
pub fn rmw(op: Rmw, bits: u32, old: u64, operand: u64) -> u64 {
    let pick = |first: bool| if first { old } else { operand };
    match op {
        Rmw::Swap => operand,
        Rmw::Add => zext(bits, old.wrapping_add(operand)),
        Rmw::And => old & operand,
        Rmw::Or => old | operand,
        Rmw::Xor => old ^ operand,
        Rmw::MinS => pick(compare(Cmp::LtS, bits, old, operand)),
        Rmw::MaxS => pick(compare(Cmp::GeS, bits, old, operand)),
        Rmw::MinU => pick(old < operand),
        Rmw::MaxU => pick(old >= operand),
    }
}
