//! Products (SDM volume 2: MUL, IMUL, MULX).

use super::X86;
use crate::flags::{self, Kind};
use crate::operands::Operands;
use crate::state::gpr::{RAX, RDX};
use trine_ir::{Int, Res, V};

/// Writes a number of twice the size, or two numbers: AX, or rDX:rAX.
pub fn set_pair<S: X86, T: Int>(s: S, low: V<S, T>, high: V<S, T>) {
    if T::BITS == 8 {
        s.set_reg::<u16>(RAX as u8, high.zext::<u16>() << 8 | low.zext());
    } else {
        s.set_reg(RAX as u8, low);
        s.set_reg(RDX as u8, high);
    }
}

/// C and O: whether the upper half says more than the lower one.
fn set_flags<S: X86, T: Int>(s: S, low: V<S, T>, exceeds: V<S, bool>) {
    flags::set(s, Kind::Mul, low, exceeds.zext());
}

/// Multiply unsigned numbers.
pub fn mul<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let (a, b) = (s.reg::<T>(RAX as u8), s.arg::<T>(o, 0)?);
    let (low, high) = (a * b, a.mulh_u(b));
    set_pair(s, low, high);
    set_flags(s, low, high.ne(0));
    Ok(())
}

/// Multiply signed numbers.
pub fn imul<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let (a, b) = (s.reg::<T>(RAX as u8), s.arg::<T>(o, 0)?);
    let (low, high) = (a * b, a.mulh_s(b));
    set_pair(s, low, high);
    set_flags(s, low, high.ne(low.sar(T::BITS as i64 - 1)));
    Ok(())
}

/// The lower half of a signed product.
fn truncated<S: X86, T: Int>(s: S, o: &Operands, a: V<S, T>, b: V<S, T>) -> Res<S> {
    let (low, high) = (a * b, a.mulh_s(b));
    s.set_arg(o, 0, low)?;
    set_flags(s, low, high.ne(low.sar(T::BITS as i64 - 1)));
    Ok(())
}

/// Multiply signed numbers in a register.
pub fn imul2<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    truncated(s, o, s.arg::<T>(o, 0)?, s.arg::<T>(o, 1)?)
}

/// Multiply by a constant.
pub fn imul3<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    truncated(s, o, s.arg::<T>(o, 1)?, s.arg::<T>(o, 2)?)
}

/// Multiply by rDX without flags: the first operand gets the upper half, the second the lower one.
pub fn mulx<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let (a, b) = (s.reg::<T>(RDX as u8), s.arg::<T>(o, 2)?);
    let (low, high) = (a * b, a.mulh_u(b));
    // If both are one register, the upper half is what it gets.
    s.set_arg(o, 1, low)?;
    s.set_arg(o, 0, high)
}
