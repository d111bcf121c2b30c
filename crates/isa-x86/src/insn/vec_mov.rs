//! Moves of vectors (SDM volume 2: MOVAPS, MOVUPS, MOVSS, MOVLPS, MOVHPS, MOVD, MOVQ, MOVNTPS and the like).

use super::X86;
use super::vec::Vector;
use crate::operands::{Arg, Operands};
use trine_ir::{Int, Lane, Res, VBin, Vop};

/// Move a vector; `any` alignment in memory or not.
pub fn load<S: X86>(s: S, o: &Operands, any: bool) -> Res<S> {
    let v = s.source(o, 1, any)?;
    s.set_xmm(o, s.number(o, 0), v);
    Ok(())
}

/// Move a vector to a register or memory.
pub fn store<S: X86>(s: S, o: &Operands, any: bool) -> Res<S> {
    let v = s.xmm(s.number(o, 1));
    match o.args[0] {
        Arg::Mem => {
            s.need_writable(o)?;
            s.store_vec(s.vector_hints(o, any), s.address(o).raw, v)
        }
        _ => {
            s.set_xmm(o, s.number(o, 0), v);
            Ok(())
        }
    }
}

/// The lane that has as many bits as `T`.
fn lane_of<T: Int>() -> Lane {
    if T::BITS == 32 { Lane::L32 } else { Lane::L64 }
}

/// Move a number: from memory it clears what is above it, from a register it leaves that alone.
pub fn load_scalar<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.scalar_source::<T>(o, 1)?;
    let d = s.number(o, 0);
    let all = match o.args[1] {
        Arg::Mem => v,
        _ => s.with_lane(lane_of::<T>(), 0, s.xmm(d), s.lane::<T>(lane_of::<T>(), 0, v)),
    };
    s.set_xmm(o, d, all);
    Ok(())
}

/// Move a number to a register, of which only that changes, or to memory.
pub fn store_scalar<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let x = s.lane::<T>(lane_of::<T>(), 0, s.xmm(s.number(o, 1)));
    match o.args[0] {
        Arg::Mem => s.store_mem(o, x),
        _ => {
            let d = s.number(o, 0);
            s.set_xmm(o, d, s.with_lane(lane_of::<T>(), 0, s.xmm(d), x));
            Ok(())
        }
    }
}

/// Replace one half by 64 bits of memory, or by a half of another register.
pub fn load_half<S: X86>(s: S, o: &Operands, to: u8, from: u8) -> Res<S> {
    let x = match o.args[1] {
        Arg::Mem => s.load_mem::<u64>(o)?,
        _ => s.lane(Lane::L64, from, s.xmm(s.number(o, 1))),
    };
    let d = s.number(o, 0);
    s.set_xmm(o, d, s.with_lane(Lane::L64, to, s.xmm(d), x));
    Ok(())
}

/// Move one half to memory.
pub fn store_half<S: X86>(s: S, o: &Operands, from: u8) -> Res<S> {
    s.store_mem(o, s.lane::<u64>(Lane::L64, from, s.xmm(s.number(o, 1))))
}

/// Move from a general register or memory; zeros above.
pub fn from_general<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.arg::<T>(o, 1)?.zext::<u64>();
    s.set_xmm(o, s.number(o, 0), s.to_vec(v.raw));
    Ok(())
}

/// Move to a general register or memory.
pub fn to_general<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    s.set_arg::<T>(o, 0, s.lane(lane_of::<T>(), 0, s.xmm(s.number(o, 1))))
}

/// Move the lower half; zeros above.
pub fn load_low<S: X86>(s: S, o: &Operands) -> Res<S> {
    let v = s.scalar_source::<u64>(o, 1)?;
    s.set_xmm(o, s.number(o, 0), s.join(v, s.zero()));
    Ok(())
}

/// Move the lower half to memory, or to a register with zeros above.
pub fn store_low<S: X86>(s: S, o: &Operands) -> Res<S> {
    let v = s.xmm(s.number(o, 1));
    match o.args[0] {
        Arg::Mem => s.store_mem(o, s.lane::<u64>(Lane::L64, 0, v)),
        _ => {
            s.set_xmm(o, s.number(o, 0), s.join(v, s.zero()));
            Ok(())
        }
    }
}

/// Double lanes: the even ones of 32 bits, the odd ones, or the lower one of 64 bits.
pub fn duplicate<S: X86>(s: S, o: &Operands, order: u8) -> Res<S> {
    super::packed::unary(s, o, Vop::Shuffle(order))
}

/// Double the lower half, of which alone memory has.
pub fn duplicate_low<S: X86>(s: S, o: &Operands) -> Res<S> {
    let v = s.scalar_source::<u64>(o, 1)?;
    s.set_xmm(o, s.number(o, 0), s.bitwise(VBin::Low, v, v));
    Ok(())
}
