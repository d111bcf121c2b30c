//! Bit manipulation: Zba, Zbb, Zbs (unpriv 28) and Zicond (unpriv 29).

use super::{Rv, X};
use trine_ir::{Res, V};

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident |$s:ident, $a:ident, $b:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Rv>(s: S, rd: X, rs1: X, rs2: X) -> Res<S> {
            let ($s, $a, $b) = (s, s.x(rs1), s.x(rs2));
            let _ = $s;
            s.set_x(rd, $e);
            Ok(())
        }
    )*};
}

/// The low word of a register, zero-extended.
#[inline(always)]
fn uw<S: Rv>(a: V<S, S::W>) -> V<S, S::W> {
    a.low::<u32>().zext()
}

/// A single bit at an index modulo XLEN.
#[inline(always)]
fn bit<S: Rv>(s: S, n: V<S, S::W>) -> V<S, S::W> {
    s.k::<S::W>(1) << n
}

binary! {
    /// Shift by 1 and add.
    sh1add |s, a, b| b + (a << 1);
    /// Shift by 2 and add.
    sh2add |s, a, b| b + (a << 2);
    /// Shift by 3 and add.
    sh3add |s, a, b| b + (a << 3);
    /// Add an unsigned word.
    add_uw |s, a, b| b + uw(a);
    /// Shift an unsigned word by 1 and add.
    sh1add_uw |s, a, b| b + (uw(a) << 1);
    /// Shift an unsigned word by 2 and add.
    sh2add_uw |s, a, b| b + (uw(a) << 2);
    /// Shift an unsigned word by 3 and add.
    sh3add_uw |s, a, b| b + (uw(a) << 3);
    /// And with inverted operand.
    andn |s, a, b| a.andn(b);
    /// Or with inverted operand.
    orn |s, a, b| a | !b;
    /// Exclusive nor.
    xnor |s, a, b| !(a ^ b);
    /// Maximum, signed.
    max |s, a, b| a.max_s(b);
    /// Maximum, unsigned.
    maxu |s, a, b| a.max_u(b);
    /// Minimum, signed.
    min |s, a, b| a.min_s(b);
    /// Minimum, unsigned.
    minu |s, a, b| a.min_u(b);
    /// Rotate left.
    rol |s, a, b| a.rol(b);
    /// Rotate right.
    ror |s, a, b| a.ror(b);
    /// Clear one bit.
    bclr |s, a, b| a.andn(bit(s, b));
    /// Extract one bit.
    bext |s, a, b| (a >> b) & 1;
    /// Invert one bit.
    binv |s, a, b| a ^ bit(s, b);
    /// Set one bit.
    bset |s, a, b| a | bit(s, b);
    /// Zero where the second operand is zero.
    czero_eqz |s, a, b| s.select(b.eq(0), 0, a);
    /// Zero where the second operand is not zero.
    czero_nez |s, a, b| s.select(b.eq(0), a, 0);
}

macro_rules! by_constant {
    ($($(#[$doc:meta])* $name:ident |$s:ident, $a:ident, $n:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Rv>(s: S, rd: X, rs1: X, shamt: u8) -> Res<S> {
            let ($s, $a, $n) = (s, s.x(rs1), s.k::<S::W>(shamt as i64));
            let _ = $s;
            s.set_x(rd, $e);
            Ok(())
        }
    )*};
}
by_constant! {
    /// Rotate right by a constant.
    rori |s, a, n| a.ror(n);
    /// Clear a bit named by a constant.
    bclri |s, a, n| a.andn(bit(s, n));
    /// Extract a bit named by a constant.
    bexti |s, a, n| (a >> n) & 1;
    /// Invert a bit named by a constant.
    binvi |s, a, n| a ^ bit(s, n);
    /// Set a bit named by a constant.
    bseti |s, a, n| a | bit(s, n);
    /// Shift an unsigned word left by a constant.
    slli_uw |s, a, n| uw(a) << n;
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident |$a:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Rv>(s: S, rd: X, rs1: X) -> Res<S> {
            let $a = s.x(rs1);
            s.set_x(rd, $e);
            Ok(())
        }
    )*};
}
unary! {
    /// Leading zeros.
    clz |a| a.clz();
    /// Trailing zeros.
    ctz |a| a.ctz();
    /// One bits.
    cpop |a| a.popcount();
    /// Leading zeros of a word.
    clzw |a| a.low::<u32>().clz().zext();
    /// Trailing zeros of a word.
    ctzw |a| a.low::<u32>().ctz().zext();
    /// One bits of a word.
    cpopw |a| a.low::<u32>().popcount().zext();
    /// Sign-extend a byte.
    sext_b |a| a.low::<u8>().sext();
    /// Sign-extend a half-word.
    sext_h |a| a.low::<u16>().sext();
    /// Zero-extend a half-word.
    zext_h |a| a.low::<u16>().zext();
    /// Zero-extend a byte.
    zext_b |a| a.low::<u8>().zext();
    /// Zero-extend a word.
    zext_w |a| uw(a);
    /// Reverse the bytes.
    rev8 |a| a.bswap();
    /// Every byte that is not zero becomes all ones.
    orc_b |a| orc(a);
}

/// A byte's bits ored into its lowest one, then spread over the byte.
#[inline(always)]
fn orc<S: Rv>(a: V<S, S::W>) -> V<S, S::W> {
    let step = |v: V<S, S::W>, n: i64| v | (v >> n);
    let low = step(step(step(a, 4) & 0x0f0f_0f0f_0f0f_0f0f, 2) & 0x0303_0303_0303_0303, 1);
    (low & 0x0101_0101_0101_0101) * 0xff
}

/// Rotate a word left.
#[inline(always)]
pub fn rolw<S: Rv>(s: S, rd: X, rs1: X, rs2: X) -> Res<S> {
    s.set_w(rd, s.w(rs1).rol(s.w(rs2)));
    Ok(())
}
/// Rotate a word right.
#[inline(always)]
pub fn rorw<S: Rv>(s: S, rd: X, rs1: X, rs2: X) -> Res<S> {
    s.set_w(rd, s.w(rs1).ror(s.w(rs2)));
    Ok(())
}
/// Rotate a word right by a constant.
#[inline(always)]
pub fn roriw<S: Rv>(s: S, rd: X, rs1: X, shamt: u8) -> Res<S> {
    s.set_w(rd, s.w(rs1).ror(shamt as i64));
    Ok(())
}
