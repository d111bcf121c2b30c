//! What the integer operations mean on plain numbers: used by the interpreter and to fold constants.

use crate::op::{Bin, Cmp, Rmw, Un};

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

/// A [`Bin`] operation. Division by zero gives zero, as bodies keep it away.
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
