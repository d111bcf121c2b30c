//! Integers in the lanes of vectors (SDM volume 2: PADDB and the like, shifts, shuffles, PEXTRW, PINSRW, PMOVMSKB).

use super::X86;
use super::vec::Vector;
use crate::operands::Operands;
use trine_ir::{Lane, Res, VBin, VShift, Vop};

/// An operation of the destination and another vector.
pub fn binary<S: X86>(s: S, o: &Operands, op: Vop) -> Res<S> {
    let b = s.source(o, 1, false)?;
    let d = s.number(o, 0);
    s.set_xmm(o, d, s.vop2(op, s.xmm(d), b));
    Ok(())
}

/// The same with the operands the other way round: ANDN complements its first one.
pub fn reversed<S: X86>(s: S, o: &Operands, op: Vop) -> Res<S> {
    let b = s.source(o, 1, false)?;
    let d = s.number(o, 0);
    s.set_xmm(o, d, s.vop2(op, b, s.xmm(d)));
    Ok(())
}

/// An operation of another vector alone.
pub fn unary<S: X86>(s: S, o: &Operands, op: Vop) -> Res<S> {
    let b = s.source(o, 1, false)?;
    s.set_xmm(o, s.number(o, 0), s.vop1(op, b));
    Ok(())
}

/// A vector shifted by a constant, which may be larger than a lane.
pub fn shifted<S: X86>(s: S, v: S::Vec, op: VShift, lane: Lane, by: u8) -> S::Vec {
    let most = lane.bits() as u8 - 1;
    match op {
        VShift::Sar => s.vop1(Vop::Shift(op, lane, by.min(most)), v),
        _ if by > most => s.zero(),
        _ => s.vop1(Vop::Shift(op, lane, by), v),
    }
}

/// Shift lanes by a constant.
pub fn shift_imm<S: X86>(s: S, o: &Operands, op: VShift, lane: Lane) -> Res<S> {
    let d = s.number(o, 0);
    s.set_xmm(o, d, shifted(s, s.xmm(d), op, lane, o.imm as u8));
    Ok(())
}

/// Shift the whole vector left by bytes.
pub fn shift_bytes_left<S: X86>(s: S, o: &Operands) -> Res<S> {
    let (d, by) = (s.number(o, 0), (o.imm as u8).min(16));
    s.set_xmm(o, d, s.vop2(Vop::Align(16 - by), s.xmm(d), s.zero()));
    Ok(())
}

/// Shift the whole vector right by bytes.
pub fn shift_bytes_right<S: X86>(s: S, o: &Operands) -> Res<S> {
    let (d, by) = (s.number(o, 0), (o.imm as u8).min(16));
    s.set_xmm(o, d, s.vop2(Vop::Align(by), s.zero(), s.xmm(d)));
    Ok(())
}

/// Lanes of 32 bits in another order.
pub fn shuffle<S: X86>(s: S, o: &Operands) -> Res<S> {
    unary(s, o, Vop::Shuffle(o.imm as u8))
}

/// Lanes of 16 bits of one half in another order.
pub fn shuffle_half<S: X86>(s: S, o: &Operands, high: bool) -> Res<S> {
    unary(s, o, Vop::ShuffleHalf(high, o.imm as u8))
}

/// Lanes chosen from both vectors.
pub fn shuffle_two<S: X86>(s: S, o: &Operands, lane: Lane) -> Res<S> {
    let order = if lane == Lane::L64 { o.imm as u8 & 3 } else { o.imm as u8 };
    binary(s, o, Vop::ShuffleTwo(lane, order))
}

/// A lane of 16 bits as a number.
pub fn extract_word<S: X86>(s: S, o: &Operands) -> Res<S> {
    let v = s.lane::<u16>(Lane::L16, o.imm as u8 & 7, s.xmm(s.number(o, 1)));
    s.set_arg::<u32>(o, 0, v.zext())
}

/// A lane of 16 bits replaced.
pub fn insert_word<S: X86>(s: S, o: &Operands) -> Res<S> {
    let x = s.arg::<u16>(o, 1)?;
    let d = s.number(o, 0);
    s.set_xmm(o, d, s.with_lane(Lane::L16, o.imm as u8 & 7, s.xmm(d), x));
    Ok(())
}

/// The top bits of all lanes as a number.
pub fn mask<S: X86>(s: S, o: &Operands, lane: Lane) -> Res<S> {
    let v = s.mask_of(lane, s.xmm(s.number(o, 1)));
    s.set_arg::<u64>(o, 0, trine_ir::V::new(s, v))
}

/// Bytes of a vector to where rDI points, by the top bits of another vector's bytes.
pub fn store_masked<S: X86>(s: S, o: &Operands) -> Res<S> {
    let (v, mask) = (s.xmm(s.number(o, 0)), s.xmm(s.number(o, 1)));
    let chosen = trine_ir::V::<S, u64>::new(s, s.mask_of(Lane::L8, mask));
    super::mmx::store_bytes(s, o, chosen, 16, |n| s.lane::<u8>(Lane::L8, n, v))
}

/// The bitwise operations' lanes do not matter.
pub const fn bitwise(op: VBin) -> Vop {
    Vop::Bin(op, Lane::L64)
}
