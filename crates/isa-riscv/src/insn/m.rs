//! M: multiplication and division (unpriv 12).

use super::{Rv, X};
use trine_ir::{Int, Res, V};

macro_rules! multiply {
    ($($(#[$doc:meta])* $name:ident |$a:ident, $b:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Rv>(s: S, rd: X, rs1: X, rs2: X) -> Res<S> {
            let ($a, $b) = (s.x(rs1), s.x(rs2));
            s.set_x(rd, $e);
            Ok(())
        }
    )*};
}
multiply! {
    /// Low half of the product.
    mul |a, b| a * b;
    /// High half of the signed product.
    mulh |a, b| a.mulh_s(b);
    /// High half of the unsigned product.
    mulhu |a, b| a.mulh_u(b);
    /// High half of the signed-by-unsigned product.
    mulhsu |a, b| a.mulh_su(b);
}

/// Product of words, sign-extended.
#[inline(always)]
pub fn mulw<S: Rv>(s: S, rd: X, rs1: X, rs2: X) -> Res<S> {
    s.set_w(rd, s.w(rs1) * s.w(rs2));
    Ok(())
}

/// The smallest signed number of a type.
fn least<T: Int>() -> i64 {
    (-1i64) << (T::BITS - 1)
}

/// By zero the quotient is -1; where it overflows it is the dividend (unpriv 12.2).
#[inline(always)]
fn quotient_s<S: Rv, T: Int>(s: S, a: V<S, T>, b: V<S, T>) -> V<S, T> {
    let zero = b.eq(0);
    let over = a.eq(least::<T>()) & b.eq(-1);
    let q = a.div_s(s.select(zero | over, 1, b));
    s.select(zero, -1, q)
}

#[inline(always)]
fn quotient_u<S: Rv, T: Int>(s: S, a: V<S, T>, b: V<S, T>) -> V<S, T> {
    let zero = b.eq(0);
    let q = a.div_u(s.select(zero, 1, b));
    s.select(zero, -1, q)
}

/// By zero the remainder is the dividend; by -1 it is 0.
#[inline(always)]
fn remainder_s<S: Rv, T: Int>(s: S, a: V<S, T>, b: V<S, T>) -> V<S, T> {
    let zero = b.eq(0);
    let r = a.rem_s(s.select(zero | b.eq(-1), 1, b));
    s.select(zero, a, r)
}

#[inline(always)]
fn remainder_u<S: Rv, T: Int>(s: S, a: V<S, T>, b: V<S, T>) -> V<S, T> {
    let zero = b.eq(0);
    let r = a.rem_u(s.select(zero, 1, b));
    s.select(zero, a, r)
}

macro_rules! divide {
    ($($(#[$doc:meta])* $name:ident $word:ident $rule:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Rv>(s: S, rd: X, rs1: X, rs2: X) -> Res<S> {
            s.set_x(rd, $rule(s, s.x(rs1), s.x(rs2)));
            Ok(())
        }
        $(#[$doc])*
        ///
        /// Of words, sign-extended.
        #[inline(always)]
        pub fn $word<S: Rv>(s: S, rd: X, rs1: X, rs2: X) -> Res<S> {
            s.set_w(rd, $rule(s, s.w(rs1), s.w(rs2)));
            Ok(())
        }
    )*};
}
divide! {
    /// Signed quotient.
    div divw quotient_s;
    /// Unsigned quotient.
    divu divuw quotient_u;
    /// Signed remainder.
    rem remw remainder_s;
    /// Unsigned remainder.
    remu remuw remainder_u;
}
