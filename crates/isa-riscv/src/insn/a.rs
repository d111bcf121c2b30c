//! A: atomic memory operations (unpriv 13). They are sequentially consistent, whatever `aq` and `rl` are.
//! Addresses must be aligned.

use super::{Rv, X};
use crate::state::{RES_ADDR, RES_VALUE};
use crate::sys::trap;
use trine_ir::{Int, Res, Rmw, V};

/// The address in `rs1`; an exception with `cause` if it is not aligned to `T`.
#[inline(always)]
fn aligned<S: Rv, T: Int>(s: S, rs1: X, cause: u64) -> Res<S, V<S, u64>> {
    let a = s.address(rs1, 0);
    s.when((a & (T::WIDTH.bytes() as i64 - 1)).ne(0), || s.raise(cause, a))?;
    Ok(a)
}

/// Load-reserved: remembers address and value.
#[inline(always)]
fn load_reserved<S: Rv, T: Int>(s: S, rd: X, rs1: X) -> Res<S> {
    let a = aligned::<S, T>(s, rs1, trap::LOAD_MISALIGNED)?;
    let v = s.load::<T>(a)?;
    s.set(RES_ADDR, a);
    s.set(RES_VALUE, v);
    s.set_x(rd, v.sext());
    Ok(())
}

/// Store-conditional: stores if the reservation is for this address and memory still holds the value that was
/// loaded. (It misses another hart that wrote the same value back, which no program can distinguish from no
/// write at all.)
#[inline(always)]
fn store_conditional<S: Rv, T: Int>(s: S, rd: X, rs1: X, rs2: X) -> Res<S> {
    let a = aligned::<S, T>(s, rs1, trap::STORE_MISALIGNED)?;
    let new = s.x(rs2).low::<T>();
    let held = s.get::<u64>(RES_ADDR).eq(a);
    let expect = s.get::<T>(RES_VALUE);
    let none = s.k::<u64>(-1);
    s.when(!held, || {
        s.set(RES_ADDR, none);
        s.set_x(rd, s.k(1));
        s.jump(s.next_pc())
    })?;
    let old = s.exchange::<T>(a, expect, new)?;
    s.set(RES_ADDR, none);
    s.set_x(rd, old.ne(expect).zext());
    Ok(())
}

#[inline(always)]
fn amo<S: Rv, T: Int>(s: S, op: Rmw, rd: X, rs1: X, rs2: X) -> Res<S> {
    let a = aligned::<S, T>(s, rs1, trap::STORE_MISALIGNED)?;
    let old = s.rmw::<T>(op, a, s.x(rs2).low())?;
    s.set_x(rd, old.sext());
    Ok(())
}

macro_rules! amos {
    ($($(#[$doc:meta])* $w:ident $d:ident $op:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $w<S: Rv>(s: S, rd: X, rs1: X, rs2: X) -> Res<S> {
            amo::<S, u32>(s, Rmw::$op, rd, rs1, rs2)
        }
        $(#[$doc])*
        ///
        /// Of a double-word.
        #[inline(always)]
        pub fn $d<S: Rv>(s: S, rd: X, rs1: X, rs2: X) -> Res<S> {
            amo::<S, u64>(s, Rmw::$op, rd, rs1, rs2)
        }
    )*};
}
amos! {
    /// Swap.
    amoswap_w amoswap_d Swap;
    /// Add.
    amoadd_w amoadd_d Add;
    /// Exclusive or.
    amoxor_w amoxor_d Xor;
    /// And.
    amoand_w amoand_d And;
    /// Or.
    amoor_w amoor_d Or;
    /// Signed minimum.
    amomin_w amomin_d MinS;
    /// Signed maximum.
    amomax_w amomax_d MaxS;
    /// Unsigned minimum.
    amominu_w amominu_d MinU;
    /// Unsigned maximum.
    amomaxu_w amomaxu_d MaxU;
}

/// Load-reserved word.
#[inline(always)]
pub fn lr_w<S: Rv>(s: S, rd: X, rs1: X) -> Res<S> {
    load_reserved::<S, u32>(s, rd, rs1)
}
/// Load-reserved double-word.
#[inline(always)]
pub fn lr_d<S: Rv>(s: S, rd: X, rs1: X) -> Res<S> {
    load_reserved::<S, u64>(s, rd, rs1)
}
/// Store-conditional word.
#[inline(always)]
pub fn sc_w<S: Rv>(s: S, rd: X, rs1: X, rs2: X) -> Res<S> {
    store_conditional::<S, u32>(s, rd, rs1, rs2)
}
/// Store-conditional double-word.
#[inline(always)]
pub fn sc_d<S: Rv>(s: S, rd: X, rs1: X, rs2: X) -> Res<S> {
    store_conditional::<S, u64>(s, rd, rs1, rs2)
}
