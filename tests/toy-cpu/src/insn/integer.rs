//! Integer instructions. All write N and Z; sums and differences write C and V, too.

use super::{R, Toy};
use crate::state::{self, cause};
use trine_ir::{Res, V};

/// A sum with a carry in, and its condition codes.
fn sum<S: Toy>(s: S, a: V<S, u16>, b: V<S, u16>, carry: V<S, bool>) -> V<S, u16> {
    let wide = a.zext::<u32>() + b.zext() + carry.zext();
    let low = wide.low::<u16>();
    s.set_nz(low);
    s.set(state::C, wide.ge_u(0x1_0000));
    s.set(state::OV, ((a ^ low) & (b ^ low)).lt_s(0));
    low
}

/// A difference with a borrow in, and its condition codes.
fn difference<S: Toy>(s: S, a: V<S, u16>, b: V<S, u16>, borrow: V<S, bool>) -> V<S, u16> {
    let wide = a.zext::<u32>() - b.zext() - borrow.zext();
    let low = wide.low::<u16>();
    s.set_nz(low);
    s.set(state::C, wide.lt_s(0));
    s.set(state::OV, ((a ^ b) & (a ^ low)).lt_s(0));
    low
}

/// Add.
pub fn add<S: Toy>(s: S, rd: R, rs: R) -> Res<S> {
    s.set_r(rd, sum(s, s.r(rd), s.r(rs), s.k(0)));
    Ok(())
}

/// Add with carry.
pub fn addc<S: Toy>(s: S, rd: R, rs: R) -> Res<S> {
    s.set_r(rd, sum(s, s.r(rd), s.r(rs), s.flag(state::C)));
    Ok(())
}

/// Add a constant.
pub fn addi<S: Toy>(s: S, rd: R, imm: i64) -> Res<S> {
    s.set_r(rd, sum(s, s.r(rd), s.k(imm), s.k(0)));
    Ok(())
}

/// Subtract.
pub fn sub<S: Toy>(s: S, rd: R, rs: R) -> Res<S> {
    s.set_r(rd, difference(s, s.r(rd), s.r(rs), s.k(0)));
    Ok(())
}

/// Subtract with borrow.
pub fn subc<S: Toy>(s: S, rd: R, rs: R) -> Res<S> {
    s.set_r(rd, difference(s, s.r(rd), s.r(rs), s.flag(state::C)));
    Ok(())
}

/// Compare.
pub fn cmp<S: Toy>(s: S, rd: R, rs: R) -> Res<S> {
    difference(s, s.r(rd), s.r(rs), s.k(0));
    Ok(())
}

/// Writes a result and its condition codes N and Z.
fn result<S: Toy>(s: S, rd: R, v: V<S, u16>) -> Res<S> {
    s.set_nz(v);
    s.set_r(rd, v);
    Ok(())
}

macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident |$s:ident, $a:ident, $b:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name<S: Toy>($s: S, rd: R, rs: R) -> Res<S> {
            let ($a, $b) = ($s.r(rd), $s.r(rs));
            result($s, rd, $e)
        }
    )*};
}
plain! {
    /// Move.
    mov |s, _a, b| b;
    /// Bitwise and.
    and |s, a, b| a & b;
    /// Bitwise or.
    or |s, a, b| a | b;
    /// Bitwise exclusive or.
    xor |s, a, b| a ^ b;
    /// Low half of the product.
    mul |s, a, b| a * b;
    /// High half of the unsigned product.
    mulh |s, a, b| ((a.zext::<u32>() * b.zext()) >> 16).low();
    /// Shift left.
    shl |s, a, b| a << b;
    /// Logical shift right.
    shr |s, a, b| a >> b;
    /// Arithmetic shift right.
    sar |s, a, b| a.sar(b);
    /// Rotate left.
    rol |s, a, b| a.rol(b);
    /// Exchange the bytes.
    swpb |s, _a, b| b.bswap();
    /// Sign-extend a byte.
    sxb |s, _a, b| b.low::<u8>().sext();
    /// Count leading zeros.
    clz |s, _a, b| b.clz();
}

/// Divide `r0:rd`. A quotient of more than 16 bits is a fault, as that by zero.
pub fn div<S: Toy>(s: S, rd: R, rs: R) -> Res<S> {
    let (high, low, divisor) = (s.r(R(0)), s.r(rd), s.r(rs));
    s.when(divisor.eq(0) | high.ge_u(divisor), || s.raise(cause::DIVIDE, s.k(0)))?;
    let dividend = high.zext::<u32>() << 16 | low.zext();
    let by = divisor.zext::<u32>();
    s.set_r(R(0), dividend.rem_u(by).low());
    result(s, rd, dividend.div_u(by).low())
}

/// Load a constant.
pub fn ldi<S: Toy>(s: S, rd: R, imm: i64) -> Res<S> {
    s.set_r(rd, s.k(imm));
    Ok(())
}

/// Insert a field. Bits that would lie above the register are left out.
pub fn ins<S: Toy>(s: S, rd: R, rs: R, at: u8, len: u8) -> Res<S> {
    let mask = (((1u32 << (len + 1)) - 1) << at) as u16 as i64;
    s.set_r(rd, s.r(rd) & !mask | (s.r(rs) << at as i64) & mask);
    Ok(())
}
