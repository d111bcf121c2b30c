//! Quotients (SDM volume 2: DIV, IDIV).

use super::X86;
use super::multiply::set_pair;
use crate::operands::Operands;
use crate::state::gpr::{RAX, RDX};
use crate::state::vector;
use trine_ir::{Helper, Int, Res, Signed, SlotSet, V};

/// Ends with a divide error if `wrong`.
fn check<S: X86>(s: S, wrong: V<S, bool>) -> Res<S> {
    s.when(wrong, || s.exception(vector::DE))
}

/// The dividend of 8, 16 and 32 bits: twice the size, zero-extended.
fn dividend<S: X86, T: Int>(s: S) -> V<S, u64> {
    if T::BITS == 8 {
        return s.reg::<u16>(RAX as u8).zext();
    }
    let (high, low) = (s.reg::<T>(RDX as u8), s.reg::<T>(RAX as u8));
    high.zext::<u64>() << T::BITS as i64 | low.zext()
}

/// Divide unsigned numbers.
pub fn div<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let divisor = s.arg::<T>(o, 0)?;
    if T::BITS == 64 {
        return div64(s, divisor.zext());
    }
    check(s, divisor.eq(0))?;
    let (a, b) = (dividend::<S, T>(s), divisor.zext::<u64>());
    let quotient = a.div_u(b);
    check(s, (quotient >> T::BITS as i64).ne(0))?;
    set_pair(s, quotient.low::<T>(), a.rem_u(b).low());
    Ok(())
}

fn div64<S: X86>(s: S, divisor: V<S, u64>) -> Res<S> {
    let (high, low) = (s.get::<u64>(RDX), s.get::<u64>(RAX));
    check(s, divisor.eq(0))?;
    if s.known(high.raw) == Some(0) {
        set_pair(s, low.div_u(divisor), low.rem_u(divisor));
        return Ok(());
    }
    check(s, high.ge_u(divisor))?;
    let (quotient, remainder) = high.divide_wide(Signed::No, low, divisor);
    set_pair(s, quotient, remainder);
    Ok(())
}

/// Divide signed numbers.
pub fn idiv<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let divisor = s.arg::<T>(o, 0)?;
    if T::BITS == 64 {
        return idiv64(s, divisor.zext());
    }
    check(s, divisor.eq(0))?;
    let a = match T::BITS {
        8 => dividend::<S, T>(s).low::<u16>().sext::<u64>(),
        16 => dividend::<S, T>(s).low::<u32>().sext(),
        _ => dividend::<S, T>(s),
    };
    let b = divisor.sext::<u64>();
    // The smallest dividend has no quotient by -1 in 64 bits.
    check(s, a.eq(i64::MIN) & b.eq(-1))?;
    let quotient = a.div_s(b);
    check(s, quotient.low::<T>().sext::<u64>().ne(quotient))?;
    set_pair(s, quotient.low::<T>(), a.rem_s(b).low());
    Ok(())
}

/// The usual dividend is a number of 64 bits, sign-extended by CQO. Any other one is for a helper, as its quotient may not fit.
fn idiv64<S: X86>(s: S, divisor: V<S, u64>) -> Res<S> {
    let (high, low) = (s.get::<u64>(RDX), s.get::<u64>(RAX));
    check(s, divisor.eq(0))?;
    s.when(high.ne(low.sar(63)), || {
        s.call(&IDIV, [divisor, s.k(0), s.k(0)])?;
        s.jump(s.next_pc())
    })?;
    check(s, low.eq(i64::MIN) & divisor.eq(-1))?;
    set_pair(s, low.div_s(divisor), low.rem_s(divisor));
    Ok(())
}

/// Divides RDX:RAX by a number that is not 0.
static IDIV: Helper = Helper {
    name: "idiv",
    run: |hart, [divisor, ..]| {
        let a = (((hart.get(RDX) as u128) << 64) | hart.get(RAX) as u128) as i128;
        let b = divisor as i64 as i128;
        let quotient = a.checked_div(b).and_then(|q| i64::try_from(q).ok());
        let Some(quotient) = quotient else {
            return Err(hart.raise(trine_ir::Trap::fault(vector::DE, 0)));
        };
        hart.set(RAX, quotient as u64);
        hart.set(RDX, a.wrapping_rem(b) as u64);
        Ok(0)
    },
    reads: SlotSet::Only(&[RAX, RDX]),
    writes: SlotSet::Only(&[RAX, RDX]),
    leaves: true,
    flushes: false,
    fp: false,
};
