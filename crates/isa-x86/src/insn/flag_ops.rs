//! Instructions on single flags (SDM volume 2: CLC, STC, CMC), and of binary-coded decimal numbers, which live by flags (AAA,
//! AAD, AAM, AAS, DAA, DAS).

use super::X86;
use crate::flags;
use crate::operands::{AH, Operands};
use crate::state::gpr::RAX;
use crate::state::{eflags, vector};
use trine_ir::{Res, V};

/// Clear C.
pub fn clc<S: X86>(s: S, _: &Operands) -> Res<S> {
    flags::set_only_carry(s, s.k(0))
}

/// Set C.
pub fn stc<S: X86>(s: S, _: &Operands) -> Res<S> {
    flags::set_only_carry(s, s.k(1))
}

/// Complement C.
pub fn cmc<S: X86>(s: S, _: &Operands) -> Res<S> {
    let carry = flags::carry(s)?;
    flags::set_only_carry(s, !carry)
}

/// AL is 0 or all ones, by C (an instruction without documentation).
pub fn salc<S: X86>(s: S, _: &Operands) -> Res<S> {
    let carry = flags::carry(s)?;
    s.set_reg::<u8>(RAX as u8, s.select(carry, -1, 0));
    Ok(())
}

/// S, Z and P of a result of 8 bits, with C and A.
fn set<S: X86>(s: S, result: V<S, u8>, carry: V<S, bool>, adjust: V<S, bool>) {
    let parity = !result.popcount().low::<bool>();
    let bits = [(carry, 0), (parity, 2), (adjust, 4), (result.eq(0), 6), (result.lt_s(0), 7)];
    let all = bits.into_iter().map(|(bit, at)| bit.zext::<u64>() << at).reduce(|all, bit| all | bit);
    flags::set_packed(s, all.unwrap_or_else(|| s.k(0)));
}

/// C and A before the instruction.
fn carries<S: X86>(s: S) -> Res<S, [V<S, bool>; 2]> {
    let all = flags::all(s)?;
    Ok([all.low(), (all >> eflags::AF.trailing_zeros() as i64).low()])
}

/// Decimal adjust after a sum or a difference.
fn decimal<S: X86>(s: S, add: bool) -> Res<S> {
    let [carry, adjust] = carries(s)?;
    let al = s.reg::<u8>(RAX as u8);
    let low = (al & 15).ge_u(10) | adjust;
    let high = al.ge_u(0x9a) | carry;
    let by = s.select(low, 6, s.k::<u8>(0)) + s.select(high, 0x60, s.k::<u8>(0));
    let result = if add { al + by } else { al - by };
    s.set_reg(RAX as u8, result);
    // A borrow of the lower digit sets C, too.
    let borrow = if add { s.k::<bool>(0) } else { low & al.lt_u(6) };
    set(s, result, high | borrow, low);
    Ok(())
}

/// Decimal adjust after addition.
pub fn daa<S: X86>(s: S, _: &Operands) -> Res<S> {
    decimal(s, true)
}

/// Decimal adjust after subtraction.
pub fn das<S: X86>(s: S, _: &Operands) -> Res<S> {
    decimal(s, false)
}

/// ASCII adjust after a sum or a difference: unpacked digits in AH and AL.
fn ascii<S: X86>(s: S, add: bool) -> Res<S> {
    let [_, adjust] = carries(s)?;
    let ax = s.reg::<u16>(RAX as u8);
    let wrong = (ax.low::<u8>() & 15).ge_u(10) | adjust;
    let moved = if add { ax + 0x106 } else { ax - 0x106 };
    let result = s.select(wrong, moved, ax) & 0xff0f;
    s.set_reg(RAX as u8, result);
    set(s, result.low(), wrong, wrong);
    Ok(())
}

/// ASCII adjust after addition.
pub fn aaa<S: X86>(s: S, _: &Operands) -> Res<S> {
    ascii(s, true)
}

/// ASCII adjust after subtraction.
pub fn aas<S: X86>(s: S, _: &Operands) -> Res<S> {
    ascii(s, false)
}

/// ASCII adjust after multiplication: AL in digits of a base, which is 10 for the documented form.
pub fn aam<S: X86>(s: S, o: &Operands) -> Res<S> {
    let base = o.imm as u8 as i64;
    if base == 0 {
        return s.exception(vector::DE);
    }
    let al = s.reg::<u8>(RAX as u8);
    let low = al.rem_u(base);
    s.set_reg(AH, al.div_u(base));
    s.set_reg(RAX as u8, low);
    set(s, low, s.k(0), s.k(0));
    Ok(())
}

/// ASCII adjust before division: AL is the number whose digits AH and AL are.
pub fn aad<S: X86>(s: S, o: &Operands) -> Res<S> {
    let result = s.reg::<u8>(RAX as u8) + s.reg::<u8>(AH) * (o.imm as u8 as i64);
    s.set_reg::<u16>(RAX as u8, result.zext());
    set(s, result, s.k(0), s.k(0));
    Ok(())
}
