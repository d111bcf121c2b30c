//! Moves, exchanges, conversions of size (SDM volume 2: MOV, MOVZX, MOVSX, MOVSXD, LEA, XCHG, CMOVcc, SETcc, BSWAP, CBW, CWD,
//! XLAT, MOVBE).

use super::X86;
use crate::flags;
use crate::operands::{Arg, Operands, prefix};
use crate::state::gpr::{RAX, RBX, RDX};
use crate::state::{self, SELECTOR};
use trine_ir::{Int, Res, Rmw, V};

/// Move.
pub fn mov<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.arg::<T>(o, 1)?;
    s.set_arg(o, 0, v)
}

/// Move with zero-extension from 8 bits.
pub fn movzx8<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.arg::<u8>(o, 1)?;
    s.set_arg::<T>(o, 0, v.zext())
}

/// Move with zero-extension from 16 bits.
pub fn movzx16<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.arg::<u16>(o, 1)?;
    s.set_arg::<T>(o, 0, v.zext())
}

/// Move with sign-extension from 8 bits.
pub fn movsx8<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.arg::<u8>(o, 1)?;
    s.set_arg::<T>(o, 0, v.sext())
}

/// Move with sign-extension from 16 bits.
pub fn movsx16<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.arg::<u16>(o, 1)?;
    s.set_arg::<T>(o, 0, v.sext())
}

/// Move with sign-extension from 32 bits. With operands of 16 bits, only those are read.
pub fn movsxd<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    if T::BITS == 16 {
        return mov::<S, T>(s, o);
    }
    let v = s.arg::<u32>(o, 1)?;
    s.set_arg::<T>(o, 0, v.sext())
}

/// Load effective address.
pub fn lea<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    s.set_arg::<T>(o, 0, s.offset(o).low())
}

/// Exchange. With memory it is locked, prefix or not.
pub fn xchg<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let b = s.arg::<T>(o, 1)?;
    let a = match o.args[0] {
        Arg::Mem => s.rmw_mem(Rmw::Swap, o, b)?,
        _ => {
            let a = s.arg::<T>(o, 0)?;
            s.set_arg(o, 0, b)?;
            a
        }
    };
    s.set_arg(o, 1, a)
}

/// Move if a condition holds.
pub fn cmov<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.arg::<T>(o, 1)?;
    let c = flags::condition(s, o.low)?;
    let old = s.arg::<T>(o, 0)?;
    s.set_arg(o, 0, s.select(c, v, old))
}

/// Set a byte by a condition.
pub fn setcc<S: X86>(s: S, o: &Operands) -> Res<S> {
    let c = flags::condition(s, o.low)?;
    s.set_arg::<u8>(o, 0, c.zext())
}

/// Reverse the order of bytes. Undefined for 16 bits: the result is 0 here, as on processors.
pub fn bswap<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.arg::<T>(o, 0)?;
    s.set_arg(o, 0, if T::BITS == 16 { s.k(0) } else { v.bswap() })
}

/// Move with the bytes reversed.
pub fn movbe<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.arg::<T>(o, 1)?;
    s.set_arg(o, 0, v.bswap())
}

/// Sign-extend the lower half of the accumulator.
pub fn cbw<S: X86, T: Int>(s: S, _: &Operands) -> Res<S> {
    let a = RAX as u8;
    let v: V<S, T> = match T::BITS {
        16 => s.reg::<u8>(a).sext(),
        32 => s.reg::<u16>(a).sext(),
        _ => s.reg::<u32>(a).sext(),
    };
    s.set_reg(a, v);
    Ok(())
}

/// Sign-extend the accumulator into rDX.
pub fn cwd<S: X86, T: Int>(s: S, _: &Operands) -> Res<S> {
    let a = s.reg::<T>(RAX as u8);
    s.set_reg(RDX as u8, a.sar(T::BITS as i64 - 1));
    Ok(())
}

/// Look up a byte in a table.
pub fn xlat<S: X86>(s: S, o: &Operands) -> Res<S> {
    let offset = s.get::<u64>(RBX) + s.reg::<u8>(RAX as u8).zext();
    let v = s.load::<u8>(s.linear(o.mem.segment, s.cut_address(o, offset)))?;
    s.set_reg(RAX as u8, v);
    Ok(())
}

/// Move a selector to a general register or to memory.
pub fn mov_from_segment<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let Arg::Reg(number) = o.args[1] else { return s.undefined() };
    if number > state::segment::GS {
        return s.undefined();
    }
    let v = s.get::<u16>(SELECTOR + number as u16);
    match o.args[0] {
        Arg::Mem => s.store_mem(o, v),
        _ => s.set_arg::<T>(o, 0, v.zext()),
    }
}

/// Nothing: a hint, or a prefetch.
pub fn nop<S: X86>(_: S, _: &Operands) -> Res<S> {
    Ok(())
}

/// `90` exchanges rAX with a register, which is rAX itself without REX.B: nothing, or PAUSE with F3.
pub fn xchg_accumulator<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    if o.args[0] == o.args[1] {
        return if o.has(prefix::REP) { super::system::pause(s, o) } else { Ok(()) };
    }
    xchg::<S, T>(s, o)
}
