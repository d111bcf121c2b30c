//! Single bits, bit counts, bit fields (SDM volume 2: BT, BTS, BTR, BTC, BSF, BSR, TZCNT, LZCNT, POPCNT, and BMI1, BMI2, ADX).

use super::X86;
use super::alu::set_zero;
use crate::flags;
use crate::operands::{Arg, Operands, prefix};
use trine_ir::{Int, Res, Rmw, V};

/// What happens to the bit that is tested.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It stays as it is.
    Nothing,
    /// It becomes 1.
    Set,
    /// It becomes 0.
    Reset,
    /// It is inverted.
    Complement,
}

/// Test a bit, whose number is in the second operand. In memory, a register's number reaches beyond the operand.
pub fn bit<S: X86, T: Int>(s: S, o: &Operands, then: Then) -> Res<S> {
    let number = s.arg::<T>(o, 1)?;
    let mask = s.k::<T>(1) << number;
    let changed = |old: V<S, T>| match then {
        Then::Nothing => old,
        Then::Set => old | mask,
        Then::Reset => old & !mask,
        Then::Complement => old ^ mask,
    };
    let old = match o.args[0] {
        Arg::Mem => {
            let mut offset = s.offset(o);
            if matches!(o.args[1], Arg::Reg(_)) {
                let log = T::BITS.trailing_zeros() as i64;
                let elements = number.sext::<u64>().sar(log);
                offset = s.cut_address(o, offset + (elements << (log - 3)));
            }
            let (how, address) = (s.access::<T>(o), s.linear(o.mem.segment, offset));
            let locked = |op, v: V<S, T>| Ok(V::new(s, s.rmw_raw(op, how, address.raw, v.raw)?));
            if o.has(prefix::LOCK) {
                match then {
                    Then::Set => locked(Rmw::Or, mask)?,
                    Then::Reset => locked(Rmw::And, !mask)?,
                    _ => locked(Rmw::Xor, mask)?,
                }
            } else {
                let old = s.load_as::<T>(how, address)?;
                if then != Then::Nothing {
                    s.store_as(how, address, changed(old))?;
                }
                old
            }
        }
        _ => {
            let old = s.arg::<T>(o, 0)?;
            if then != Then::Nothing {
                s.set_arg(o, 0, changed(old))?;
            }
            old
        }
    };
    flags::set_carry_bit(s, (old >> number).low());
    Ok(())
}

/// Number of the lowest bit, or the highest. If there is none, the destination stays as it is, and Z is set.
fn scan<S: X86, T: Int>(s: S, o: &Operands, number: impl FnOnce(V<S, T>) -> V<S, T>) -> Res<S> {
    let v = s.arg::<T>(o, 1)?;
    let none = v.eq(0);
    let found = number(v);
    // Not even the upper half of a register changes then.
    s.when(!none, || s.set_arg(o, 0, found))?;
    set_zero(s, none)
}

/// Bit scan forward.
pub fn bsf<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    scan(s, o, |v: V<S, T>| v.ctz())
}

/// Bit scan reverse.
pub fn bsr<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    scan(s, o, |v: V<S, T>| s.k::<T>(T::BITS as i64 - 1) - v.clz())
}

/// Writes a count of zeros: C is set if the operand was 0, Z if the count is.
fn zeros<S: X86, T: Int>(s: S, o: &Operands, v: V<S, T>, count: V<S, T>) -> Res<S> {
    s.set_arg(o, 0, count)?;
    flags::set_packed(s, v.eq(0).zext::<u64>() | count.eq(0).zext::<u64>() << 6);
    Ok(())
}

/// Count trailing zeros.
pub fn tzcnt<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.arg::<T>(o, 1)?;
    zeros(s, o, v, v.ctz())
}

/// Count leading zeros.
pub fn lzcnt<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.arg::<T>(o, 1)?;
    zeros(s, o, v, v.clz())
}

/// Count ones.
pub fn popcnt<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.arg::<T>(o, 1)?;
    s.set_arg(o, 0, v.popcount())?;
    flags::set_packed(s, v.eq(0).zext::<u64>() << 6);
    Ok(())
}

/// Bitwise and of the complement of the second operand and the third.
pub fn andn<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let (a, b) = (s.arg::<T>(o, 1)?, s.arg::<T>(o, 2)?);
    let result = b.andn(a);
    s.set_arg(o, 0, result)?;
    flags::set_logic(s, result);
    Ok(())
}

macro_rules! lowest {
    ($($(#[$doc:meta])* $name:ident |$a:ident| $result:expr, $carry:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
            let $a = s.arg::<T>(o, 1)?;
            let result: V<S, T> = $result;
            s.set_arg(o, 0, result)?;
            let carry: V<S, bool> = $carry;
            let (zero, sign) = (result.eq(0), result.lt_s(0));
            flags::set_packed(s, carry.zext::<u64>() | zero.zext::<u64>() << 6 | sign.zext::<u64>() << 7);
            Ok(())
        }
    )*};
}
lowest! {
    /// Isolate the lowest set bit.
    blsi |a| a & (s0(a) - a), a.ne(0);
    /// Mask up to the lowest set bit.
    blsmsk |a| a ^ (a - 1), a.eq(0);
    /// Reset the lowest set bit.
    blsr |a| a & (a - 1), a.eq(0);
}

/// 0 of the same type.
fn s0<S: X86, T: Int>(v: V<S, T>) -> V<S, T> {
    v.sem.k(0)
}

/// Extract bits: start and length are the third operand's two low bytes.
pub fn bextr<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let (v, control) = (s.arg::<T>(o, 1)?, s.arg::<T>(o, 2)?);
    let start = control.low::<u8>().zext::<u64>();
    let length = (control >> 8).low::<u8>().zext::<u64>();
    let moved = s.select(start.ge_u(T::BITS as i64), 0, v.zext::<u64>() >> start);
    let result = low_bits(s, moved, length).low::<T>();
    s.set_arg(o, 0, result)?;
    flags::set_packed(s, result.eq(0).zext::<u64>() << 6);
    Ok(())
}

/// The low `count` bits; all if there are fewer.
fn low_bits<S: X86>(s: S, v: V<S, u64>, count: V<S, u64>) -> V<S, u64> {
    let mask = (s.k::<u64>(1) << count) - 1;
    s.select(count.ge_u(64), v, v & mask)
}

/// Clear the bits from a number on, which is the third operand's low byte.
pub fn bzhi<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.arg::<T>(o, 1)?;
    let count = s.arg::<T>(o, 2)?.low::<u8>().zext::<u64>();
    let result = low_bits(s, v.zext(), count).low::<T>();
    s.set_arg(o, 0, result)?;
    let carry = count.ge_u(T::BITS as i64);
    let (zero, sign) = (result.eq(0), result.lt_s(0));
    flags::set_packed(s, carry.zext::<u64>() | zero.zext::<u64>() << 6 | sign.zext::<u64>() << 7);
    Ok(())
}

/// Gather the bits that a mask selects at the low end.
pub fn pext<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let (v, mask) = (s.arg::<T>(o, 1)?, s.arg::<T>(o, 2)?);
    let result = s.call(&PEXT, [v.zext(), mask.zext(), s.k(0)])?;
    s.set_arg::<T>(o, 0, result.low())
}

/// Scatter the low bits to where a mask has ones.
pub fn pdep<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let (v, mask) = (s.arg::<T>(o, 1)?, s.arg::<T>(o, 2)?);
    let result = s.call(&PDEP, [v.zext(), mask.zext(), s.k(0)])?;
    s.set_arg::<T>(o, 0, result.low())
}

macro_rules! pure_helpers {
    ($($(#[$doc:meta])* $name:ident $text:literal |$a:ident, $b:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        static $name: trine_ir::Helper = trine_ir::Helper {
            name: $text,
            run: |_, [$a, $b, _]| Ok($e),
            reads: trine_ir::SlotSet::NONE,
            writes: trine_ir::SlotSet::NONE,
            leaves: false,
            flushes: false,
            fp: false,
        };
    )*};
}
pure_helpers! {
    /// Gathers bits.
    PEXT "pext" |v, mask| gather(v, mask);
    /// Scatters bits.
    PDEP "pdep" |v, mask| scatter(v, mask);
}

/// The bits of `v` where `mask` has ones, next to each other.
pub fn gather(v: u64, mut mask: u64) -> u64 {
    let (mut result, mut to) = (0, 0);
    while mask != 0 {
        result |= (v >> mask.trailing_zeros() & 1) << to;
        to += 1;
        mask &= mask - 1;
    }
    result
}

/// The low bits of `v`, where `mask` has ones.
pub fn scatter(v: u64, mut mask: u64) -> u64 {
    let (mut result, mut from) = (0, 0);
    while mask != 0 {
        result |= (v >> from & 1) << mask.trailing_zeros();
        from += 1;
        mask &= mask - 1;
    }
    result
}

/// Add with C, or with O, as the only flag.
pub fn add_with<S: X86, T: Int>(s: S, o: &Operands, flag: u64) -> Res<S> {
    let all = flags::all(s)?;
    let at = flag.trailing_zeros() as i64;
    let (a, b) = (s.arg::<T>(o, 0)?, s.arg::<T>(o, 1)?);
    let (sum, carry, _) = a.add_carry(b, (all >> at).low());
    s.set_arg(o, 0, sum)?;
    flags::set_packed(s, all & !(flag as i64) | carry.zext::<u64>() << at);
    Ok(())
}

/// CRC-32C of the first operand and further bytes.
pub fn crc32<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.arg::<T>(o, 1)?;
    let Arg::Reg(number) = o.args[0] else { return s.undefined() };
    let sum = s.call(&CRC32, [s.reg::<u32>(number).zext(), v.zext(), s.k(T::BITS as i64 / 8)])?;
    s.set_reg::<u32>(number, sum.low());
    Ok(())
}

static CRC32: trine_ir::Helper = trine_ir::Helper {
    name: "crc32",
    run: |_, [sum, v, bytes]| Ok(crc32c(sum as u32, &v.to_le_bytes()[..bytes.min(8) as usize]).into()),
    reads: trine_ir::SlotSet::NONE,
    writes: trine_ir::SlotSet::NONE,
    leaves: false,
    flushes: false,
    fp: false,
};

/// The remainder for the polynomial 11EDC6F41, its bits reflected.
fn crc32c(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, &byte| {
        (0..8).fold(sum ^ byte as u32, |sum, _| if sum & 1 != 0 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 })
    })
}
