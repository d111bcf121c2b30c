//! Sums, differences, bitwise operations (SDM volume 2: ADD, ADC, SUB, SBB, CMP, AND, OR, XOR, TEST, INC, DEC, NEG, NOT, XADD,
//! CMPXCHG).

use super::{X86, modify};
use crate::flags::{self, Kind};
use crate::operands::{Operands, prefix};
use crate::state::gpr;
use trine_ir::{Int, Res, Rmw, V};

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident $rmw:ident |$a:ident, $b:ident| $e:expr, $flags:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
            let $b = s.arg::<T>(o, 1)?;
            let $a = if o.has(prefix::LOCK) {
                lock!($rmw s o $b |$a| $e)
            } else {
                let $a = s.arg::<T>(o, 0)?;
                s.set_arg(o, 0, $e)?;
                $a
            };
            let set: fn(S, V<S, T>, V<S, T>, V<S, T>) = $flags;
            set(s, $a, $b, $e);
            Ok(())
        }
    )*};
}
macro_rules! lock {
    (None $s:ident $o:ident $b:ident |$a:ident| $e:expr) => {
        modify($s, $o, |$a: V<S, T>| $e)?[0]
    };
    ($rmw:ident $s:ident $o:ident $b:ident |$a:ident| $e:expr) => {
        $s.rmw_mem(Rmw::$rmw, $o, $b)?
    };
}
binary! {
    /// Add.
    add Add |a, b| a + b, |s, a, b, _| flags::set(s, Kind::Add, a, b);
    /// Subtract.
    sub None |a, b| a - b, |s, a, b, _| flags::set(s, Kind::Sub, a, b);
    /// Bitwise and.
    and And |a, b| a & b, |s, _, _, r| flags::set_logic(s, r);
    /// Bitwise or.
    or Or |a, b| a | b, |s, _, _, r| flags::set_logic(s, r);
    /// Bitwise exclusive or.
    xor Xor |a, b| a ^ b, |s, _, _, r| flags::set_logic(s, r);
}

/// Add with carry.
pub fn adc<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let carry = flags::carry(s)?;
    let b = s.arg::<T>(o, 1)?;
    let [a, _] = modify(s, o, |a: V<S, T>| a.add_carry(b, carry).0)?;
    let (_, out, _) = a.add_carry(b, carry);
    flags::set_carry(s, Kind::Adc, a, b, [carry, out]);
    Ok(())
}

/// Subtract with borrow.
pub fn sbb<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let carry = flags::carry(s)?;
    let b = s.arg::<T>(o, 1)?;
    let [a, _] = modify(s, o, |a: V<S, T>| a.sub_borrow(b, carry).0)?;
    let (_, out, _) = a.sub_borrow(b, carry);
    flags::set_carry(s, Kind::Sbb, a, b, [carry, out]);
    Ok(())
}

/// Compare.
pub fn cmp<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let (a, b) = (s.arg::<T>(o, 0)?, s.arg::<T>(o, 1)?);
    flags::set(s, Kind::Sub, a, b);
    Ok(())
}

/// Bitwise and of which only the flags are kept.
pub fn test<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let (a, b) = (s.arg::<T>(o, 0)?, s.arg::<T>(o, 1)?);
    flags::set_logic(s, a & b);
    Ok(())
}

/// Add or subtract 1.
fn step<S: X86, T: Int>(s: S, o: &Operands, kind: Kind, by: i64) -> Res<S> {
    let new = if o.has(prefix::LOCK) {
        s.rmw_mem(Rmw::Add, o, s.k::<T>(by))? + by
    } else {
        let new = s.arg::<T>(o, 0)? + by;
        s.set_arg(o, 0, new)?;
        new
    };
    flags::set_but_carry(s, kind, new);
    Ok(())
}

/// Add 1.
pub fn inc<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    step::<S, T>(s, o, Kind::Inc, 1)
}

/// Subtract 1.
pub fn dec<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    step::<S, T>(s, o, Kind::Dec, -1)
}

/// Negate.
pub fn neg<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let [old, _] = modify(s, o, |a: V<S, T>| s.k::<T>(0) - a)?;
    flags::set(s, Kind::Sub, s.k(0), old);
    Ok(())
}

/// Complement; no flags.
pub fn not<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    if o.has(prefix::LOCK) {
        s.rmw_mem(Rmw::Xor, o, s.k::<T>(-1))?;
        return Ok(());
    }
    s.set_arg(o, 0, !s.arg::<T>(o, 0)?)
}

/// Exchange and add.
pub fn xadd<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let b = s.arg::<T>(o, 1)?;
    let a = if o.has(prefix::LOCK) {
        let a = s.rmw_mem(Rmw::Add, o, b)?;
        s.set_arg(o, 1, a)?;
        a
    } else {
        let a = s.arg::<T>(o, 0)?;
        // A store may fault. If both are one register, the sum is what stays.
        if matches!(o.args[0], crate::operands::Arg::Mem) {
            s.set_arg(o, 0, a + b)?;
            s.set_arg(o, 1, a)?;
        } else {
            s.set_arg(o, 1, a)?;
            s.set_arg(o, 0, a + b)?;
        }
        a
    };
    flags::set(s, Kind::Add, a, b);
    Ok(())
}

/// Compare the accumulator and exchange.
pub fn cmpxchg<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let (expect, new) = (s.reg::<T>(gpr::RAX as u8), s.arg::<T>(o, 1)?);
    let found = if o.has(prefix::LOCK) {
        s.exchange_mem(o, expect, new)?
    } else {
        let found = s.arg::<T>(o, 0)?;
        // The destination is written in either case. Its upper half stays as it is if 32 bits are not exchanged in a register.
        let equal = found.eq(expect);
        match o.args[0] {
            crate::operands::Arg::Mem => s.set_arg(o, 0, s.select(equal, new, found))?,
            _ => s.when(equal, || s.set_arg(o, 0, new))?,
        }
        found
    };
    s.when(found.ne(expect), || {
        s.set_reg::<T>(gpr::RAX as u8, found);
        Ok(())
    })?;
    flags::set(s, Kind::Sub, expect, found);
    Ok(())
}

/// Compare EDX:EAX, or RDX:RAX, and exchange: with a memory operand of twice the size.
pub fn cmpxchg8b<S: X86>(s: S, o: &Operands) -> Res<S> {
    let pair = |high: u16, low: u16| {
        let (high, low) = (s.reg::<u32>(high as u8), s.reg::<u32>(low as u8));
        high.zext::<u64>() << 32 | low.zext()
    };
    let (expect, new) = (pair(gpr::RDX, gpr::RAX), pair(gpr::RCX, gpr::RBX));
    let found = if o.has(prefix::LOCK) {
        s.exchange_mem(o, expect, new)?
    } else {
        let found = s.load_mem::<u64>(o)?;
        s.store_mem(o, s.select(found.eq(expect), new, found))?;
        found
    };
    let equal = found.eq(expect);
    s.when(!equal, || {
        s.set_reg::<u32>(gpr::RAX as u8, found.low());
        s.set_reg::<u32>(gpr::RDX as u8, (found >> 32).low());
        Ok(())
    })?;
    set_zero(s, equal)
}

/// Sets Z alone.
pub fn set_zero<S: X86>(s: S, zero: V<S, bool>) -> Res<S> {
    let others = flags::all(s)? & !(crate::state::eflags::ZF as i64);
    flags::set_packed(s, others | zero.zext::<u64>() << 6);
    Ok(())
}
