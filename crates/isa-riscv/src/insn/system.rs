//! Zicsr, Zifencei, Zicboz, environment calls and the privileged instructions (unpriv 6, 7, 24;
//! priv 3.3, 12.2).

use super::{Rv, X};
use crate::state::{self, level, mode};
use crate::sys::csr::{self, Op};
use crate::sys::{cache, hint, trap};
use trine_ir::{Res, V};

/// A CSR access. Generated code accesses registers that are plain state directly.
#[inline(always)]
fn access<S: Rv>(s: S, rd: X, number: i64, op: Op, operand: V<S, S::W>) -> Res<S> {
    if S::EMITS
        && let Some((slot, mask)) = csr::plain(number as u16, mode::level(s.mode()))
    {
        return plain(s, rd, slot, mask, op, operand);
    }
    if S::EMITS
        && let Some(fp) = csr::FpCsr::of(number as u16, op)
    {
        return float(s, rd, fp, op, operand);
    }
    let what = s.k::<u64>(number | (op as i64) << 12);
    let encoding = s.k::<u64>(s.encoding() as i64);
    let old = s.call(&csr::ACCESS, [what, operand.zext(), encoding])?;
    s.set_x(rd, old.low());
    Ok(())
}

#[inline(always)]
fn plain<S: Rv>(s: S, rd: X, slot: u16, mask: u64, op: Op, operand: V<S, S::W>) -> Res<S> {
    let old = s.get::<S::W>(slot);
    match op {
        Op::Read => {}
        Op::Write | Op::Swap => s.set(slot, operand & mask as i64),
        Op::Set => s.set(slot, (old | operand) & mask as i64),
        Op::Clear => s.set(slot, old.andn(operand) & mask as i64),
    }
    s.set_x(rd, old);
    Ok(())
}

/// The floating-point registers, if the rounding direction stays unchanged: the C library reads and writes
/// the flags around its comparisons.
#[inline(always)]
fn float<S: Rv>(s: S, rd: X, fp: csr::FpCsr, op: Op, operand: V<S, S::W>) -> Res<S> {
    s.need_fp()?;
    if op == Op::Write {
        s.set_fp_flags((operand.zext::<u64>() & 31).raw);
        s.touch_fp();
        return Ok(());
    }
    let flags = V::<S, u64>::new(s, s.fp_flags());
    let old = match fp {
        csr::FpCsr::Flags => flags,
        csr::FpCsr::Rounding => s.get::<u64>(state::FRM),
        csr::FpCsr::Both => flags | (s.get::<u64>(state::FRM) << 5),
    };
    let operand = operand.zext::<u64>() & 31;
    let new = match op {
        Op::Read | Op::Write => None,
        Op::Swap => Some(operand),
        Op::Set => Some(old | operand),
        Op::Clear => Some(old.andn(operand)),
    };
    if let Some(new) = new {
        s.set_fp_flags(new.raw);
        s.touch_fp();
    }
    s.set_x(rd, old.low());
    Ok(())
}

/// Read and write.
#[inline(always)]
pub fn csrrw<S: Rv>(s: S, rd: X, csr: i64, rs1: X) -> Res<S> {
    access(s, rd, csr, if rd.0 == 0 { Op::Write } else { Op::Swap }, s.x(rs1))
}
/// Read and set bits.
#[inline(always)]
pub fn csrrs<S: Rv>(s: S, rd: X, csr: i64, rs1: X) -> Res<S> {
    access(s, rd, csr, if rs1.0 == 0 { Op::Read } else { Op::Set }, s.x(rs1))
}
/// Read and clear bits.
#[inline(always)]
pub fn csrrc<S: Rv>(s: S, rd: X, csr: i64, rs1: X) -> Res<S> {
    access(s, rd, csr, if rs1.0 == 0 { Op::Read } else { Op::Clear }, s.x(rs1))
}
/// Read and write a constant.
#[inline(always)]
pub fn csrrwi<S: Rv>(s: S, rd: X, csr: i64, zimm: u8) -> Res<S> {
    access(s, rd, csr, if rd.0 == 0 { Op::Write } else { Op::Swap }, s.k(zimm as i64))
}
/// Read and set the bits of a constant.
#[inline(always)]
pub fn csrrsi<S: Rv>(s: S, rd: X, csr: i64, zimm: u8) -> Res<S> {
    access(s, rd, csr, if zimm == 0 { Op::Read } else { Op::Set }, s.k(zimm as i64))
}
/// Read and clear the bits of a constant.
#[inline(always)]
pub fn csrrci<S: Rv>(s: S, rd: X, csr: i64, zimm: u8) -> Res<S> {
    access(s, rd, csr, if zimm == 0 { Op::Read } else { Op::Clear }, s.k(zimm as i64))
}

/// Environment call.
#[inline(always)]
pub fn ecall<S: Rv>(s: S) -> Res<S> {
    s.raise(trap::ECALL_U + mode::level(s.mode()), s.k(0))
}

/// Breakpoint.
#[inline(always)]
pub fn ebreak<S: Rv>(s: S) -> Res<S> {
    s.raise(trap::BREAKPOINT, s.pc())
}

macro_rules! privileged {
    ($($(#[$doc:meta])* $name:ident $least:ident $helper:path;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Rv>(s: S) -> Res<S> {
            if mode::level(s.mode()) < level::$least {
                return s.illegal();
            }
            let encoding = s.k::<u64>(s.encoding() as i64);
            s.call(&$helper, [encoding; 3])?;
            Ok(())
        }
    )*};
}
privileged! {
    /// Return from a trap to S.
    sret S trap::SRET;
    /// Return from a trap to M.
    mret M trap::MRET;
    /// Wait for an interrupt.
    wfi U trap::WFI;
}

/// Forget address translations.
#[inline(always)]
pub fn sfence_vma<S: Rv>(s: S, rs1: X, rs2: X) -> Res<S> {
    if mode::level(s.mode()) < level::S {
        return s.illegal();
    }
    let encoding = s.k::<u64>(s.encoding() as i64);
    let page = if rs1.0 == 0 { 0 } else { 1 };
    let space = if rs2.0 == 0 { 0 } else { 2 };
    s.call(&cache::SFENCE_VMA, [s.x(rs1).zext(), s.k(page | space), encoding])?;
    Ok(())
}

/// Make stores visible to instruction fetches.
#[inline(always)]
pub fn fence_i<S: Rv>(s: S) -> Res<S> {
    let none = s.k::<u64>(0);
    s.call(&cache::FENCE_I, [none; 3])?;
    Ok(())
}

/// Wait for another hart, for a moment.
#[inline(always)]
pub fn pause<S: Rv>(s: S) -> Res<S> {
    let none = s.k::<u64>(0);
    s.call(&hint::PAUSE, [none; 3])?;
    Ok(())
}

/// Zero a cache block.
#[inline(always)]
pub fn cbo_zero<S: Rv>(s: S, rs1: X) -> Res<S> {
    let encoding = s.k::<u64>(s.encoding() as i64);
    s.call(&cache::CBO_ZERO, [s.address(rs1, 0), encoding, encoding])?;
    Ok(())
}
