//! Shifts and rotations (SDM volume 2: SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD).

use super::X86;
use crate::flags::{self, Kind};
use crate::operands::Operands;
use crate::state::eflags;
use trine_ir::{Int, Res, V};

/// The count of a shift or rotation, cut to the bits that count.
struct Count<S: X86, T: Int> {
    by: V<S, T>,
    /// Whether it is not 0; `None` if that is known.
    changes: Option<V<S, bool>>,
}

/// The count by operand `n`; `None` if it is known to be 0.
fn count<S: X86, T: Int>(s: S, o: &Operands, n: usize) -> Res<S, Option<Count<S, T>>> {
    let mask = if T::BITS == 64 { 63 } else { 31 };
    let by = s.arg::<u8>(o, n)? & mask;
    Ok(match s.known(by.raw) {
        Some(0) => None,
        Some(_) => Some(Count { by: by.zext(), changes: None }),
        None => Some(Count { by: by.zext(), changes: Some(by.ne(0)) }),
    })
}

macro_rules! shifts {
    ($($(#[$doc:meta])* $name:ident $kind:ident |$a:ident, $by:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
            let a = s.arg::<T>(o, 0)?;
            let Some(Count { by, changes }) = count::<S, T>(s, o, 1)? else { return s.set_arg(o, 0, a) };
            // Counts up to 31 are larger than operands of 8 and 16 bits.
            let result: V<S, T> = if T::BITS >= 32 {
                let ($a, $by) = (a, by);
                $e
            } else {
                let ($a, $by) = (shifts!(@$kind a), by.zext::<u32>());
                ($e).low()
            };
            s.set_arg(o, 0, result)?;
            flags::set_shifted(s, Kind::$kind, a, by, changes);
            Ok(())
        }
    )*};
    (@Sar $a:ident) => { $a.sext::<u32>() };
    (@$kind:ident $a:ident) => { $a.zext::<u32>() };
}
shifts! {
    /// Shift left.
    shl Shl |a, by| a << by;
    /// Shift right.
    shr Shr |a, by| a >> by;
    /// Shift right, filled with copies of the sign.
    sar Sar |a, by| a.sar(by);
}

macro_rules! rotations {
    ($($(#[$doc:meta])* $name:ident $kind:ident $method:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
            let a = s.arg::<T>(o, 0)?;
            let Some(Count { by, changes }) = count::<S, T>(s, o, 1)? else { return s.set_arg(o, 0, a) };
            let result = a.$method(by);
            s.set_arg(o, 0, result)?;
            flags::set_rotated(s, Kind::$kind, result, changes);
            Ok(())
        }
    )*};
}
rotations! {
    /// Rotate left.
    rol Rol rol;
    /// Rotate right.
    ror Ror ror;
}

/// Rotate through carry: the operand with C above it, a register of one bit more.
fn through_carry<S: X86, T: Int>(s: S, o: &Operands, left: bool) -> Res<S> {
    let a = s.arg::<T>(o, 0)?;
    let carry = flags::carry(s)?;
    let bits = T::BITS as i64;
    let mask = if bits == 64 { 63 } else { 31 };
    let by = s.arg::<u8>(o, 1)?.zext::<u64>() & mask;
    // Modulo 9 and 17 for the smaller sizes.
    let by = match bits {
        8 | 16 => by.rem_u(bits + 1),
        _ => by,
    };
    let wide = a.zext::<u64>();
    let carry_bit = carry.zext::<u64>();
    // In two steps, as a shift by the whole width has no meaning.
    let back = s.k::<u64>(bits) - by;
    let (result, out) = if left {
        let low = (wide << by) | (carry_bit << (by - 1)) | shift_out(s, wide, back, false);
        (low, (wide >> back) & 1)
    } else {
        let high = (wide >> by) | (carry_bit << back) | shift_out(s, wide, back, true);
        (high, (wide >> (by - 1)) & 1)
    };
    let changes = by.ne(0);
    let result = s.select(changes, result.low::<T>(), a);
    let out = s.select(changes, out, carry_bit).low::<bool>();
    s.set_arg(o, 0, result)?;
    // O is defined for rotations by one bit: left, the exclusive or of the new top bit and C; right, of the top two.
    let overflow = match left {
        true => result.lt_s(0) ^ out,
        false => (result ^ (result << 1)).lt_s(0),
    };
    let old = flags::all(s)?;
    let others = old & !((eflags::CF | eflags::OF) as i64);
    let new = others | out.zext::<u64>() | overflow.zext::<u64>() << 11;
    flags::set_packed(s, s.select(changes, new, old));
    Ok(())
}

/// The bits that come round: shifted by one more than `back`, which may be the whole width.
fn shift_out<S: X86>(s: S, wide: V<S, u64>, back: V<S, u64>, left: bool) -> V<S, u64> {
    let once = if left { wide << 1 } else { wide >> 1 };
    let all = if left { once << back } else { once >> back };
    s.select(back.ge_u(64), 0, all)
}

/// Rotate left through carry.
pub fn rcl<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    through_carry::<S, T>(s, o, true)
}

/// Rotate right through carry.
pub fn rcr<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    through_carry::<S, T>(s, o, false)
}

/// Shift two registers as one.
fn double<S: X86, T: Int>(s: S, o: &Operands, left: bool) -> Res<S> {
    let (a, b) = (s.arg::<T>(o, 0)?, s.arg::<T>(o, 1)?);
    let Some(Count { by, changes }) = count::<S, T>(s, o, 2)? else { return s.set_arg(o, 0, a) };
    let bits = T::BITS as i64;
    let result = if bits == 16 {
        // Counts above 16 are undefined: processors shift the bits of both registers, and then of the first again.
        let [wide, by] = [a.zext::<u64>() << 32 | b.zext::<u64>() << 16 | a.zext(), by.zext()];
        let low = b.zext::<u64>() << 16 | a.zext::<u64>() | a.zext::<u64>() << 32;
        if left { (wide >> (s.k::<u64>(32) - by)).low() } else { (low >> by).low() }
    } else {
        let back = s.k::<T>(bits) - by;
        let moved = if left { a << by | b >> back } else { a >> by | b << back };
        match changes {
            Some(changes) => s.select(changes, moved, a),
            None => moved,
        }
    };
    s.set_arg(o, 0, result)?;
    // C is the last bit that left the first operand, S, Z and P are those of the result; O is defined for one bit: whether the
    // sign changed.
    let last = if left {
        a.zext::<u64>() << (by.zext::<u64>() - 1)
    } else {
        a.zext::<u64>() >> (by.zext::<u64>() - 1)
    };
    let carry = if left { (last >> (bits - 1)).low::<bool>() } else { last.low() };
    let overflow = (a ^ result).lt_s(0);
    let of_result = result_flags(s, result);
    let new = of_result | carry.zext::<u64>() | overflow.zext::<u64>() << 11;
    match changes {
        None => flags::set_packed(s, new),
        Some(changes) => {
            let old = flags::all(s)?;
            flags::set_packed(s, s.select(changes, new, old));
        }
    }
    Ok(())
}

/// S, Z and P of a result, as EFLAGS has them.
fn result_flags<S: X86, T: Int>(_: S, result: V<S, T>) -> V<S, u64> {
    let parity = !result.low::<u8>().popcount().low::<bool>();
    result.lt_s(0).zext::<u64>() << 7 | result.eq(0).zext::<u64>() << 6 | parity.zext::<u64>() << 2
}

/// Shift left, filled from another register.
pub fn shld<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    double::<S, T>(s, o, true)
}

/// Shift right, filled from another register.
pub fn shrd<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    double::<S, T>(s, o, false)
}

macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident |$a:ident, $by:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
            let ($a, $by) = (s.arg::<T>(o, 1)?, s.arg::<T>(o, 2)?);
            s.set_arg(o, 0, $e)
        }
    )*};
}
plain! {
    /// Shift left without flags.
    shlx |a, by| a << by;
    /// Shift right without flags.
    shrx |a, by| a >> by;
    /// Shift right with copies of the sign, without flags.
    sarx |a, by| a.sar(by);
    /// Rotate right without flags.
    rorx |a, by| a.ror(by);
}
