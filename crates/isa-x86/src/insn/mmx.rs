//! MMX: vectors of 64 bits in the significands of the x87 registers (SDM volume 1, chapter 9). Each instruction leaves the top of
//! the stack at 0 and no register empty; one that is written has an exponent of ones.

use super::X86;
use super::packed::shifted;
use super::vec::Vector;
use crate::operands::{Arg, Operands};
use crate::state::gpr::RDI;
use crate::state::{FEMPTY, FSW, X87, segment};
use trine_ir::{Int, Lane, Res, Rmw, V, VShift, Vop};

/// The top of the stack in the status word.
const TOP: i64 = 7 << 11;

/// The transition to MMX (SDM volume 1, 9.5.1).
pub fn enter<S: X86>(s: S) {
    s.set(FSW, s.get::<u64>(FSW) & !TOP);
    s.set(FEMPTY, s.k::<u64>(0));
}

/// Writes a register with the lower half of a vector.
pub fn set<S: X86>(s: S, number: u8, v: S::Vec) {
    set_bits(s, number, V::new(s, s.extract_lane(Lane::L64, 0, v)));
}

/// Writes a register.
pub fn set_bits<S: X86>(s: S, number: u8, v: V<S, u64>) {
    let slot = X87 + 2 * (number & 7) as u16;
    s.set(slot, v);
    s.set(slot + 1, s.k::<u64>(0xffff));
    enter(s);
}

/// An operation of the destination and another vector. What it makes of the upper halves, which are zero, is dropped.
pub fn binary<S: X86>(s: S, o: &Operands, op: Vop) -> Res<S> {
    let b = s.mmx_source(o, 1)?;
    let d = s.number(o, 0);
    set(s, d, s.vop2(op, s.mmx(d), b));
    Ok(())
}

/// The same with the operands the other way round.
pub fn reversed<S: X86>(s: S, o: &Operands, op: Vop) -> Res<S> {
    let b = s.mmx_source(o, 1)?;
    let d = s.number(o, 0);
    set(s, d, s.vop2(op, b, s.mmx(d)));
    Ok(())
}

/// An operation of another vector alone.
pub fn unary<S: X86>(s: S, o: &Operands, op: Vop) -> Res<S> {
    let b = s.mmx_source(o, 1)?;
    set(s, s.number(o, 0), s.vop1(op, b));
    Ok(())
}

/// An operation whose result's lower half comes from the first vector and its upper half from the second one: here each has the
/// half of the width.
pub fn halves<S: X86>(s: S, o: &Operands, op: Vop) -> Res<S> {
    let b = s.mmx_source(o, 1)?;
    let d = s.number(o, 0);
    let joined = s.join(s.mmx(d), b);
    set(s, d, s.vop2(op, joined, joined));
    Ok(())
}

/// The upper lanes of the lower halves, alternating: what is the upper half of a wider interleaving.
pub fn interleave_high<S: X86>(s: S, o: &Operands, lane: Lane) -> Res<S> {
    let b = s.mmx_source(o, 1)?;
    let d = s.number(o, 0);
    let all = s.vop2(Vop::Bin(trine_ir::VBin::Low, lane), s.mmx(d), b);
    set_bits(s, d, s.lane(Lane::L64, 1, all));
    Ok(())
}

/// Shift lanes by a constant.
pub fn shift_imm<S: X86>(s: S, o: &Operands, op: VShift, lane: Lane) -> Res<S> {
    let d = s.number(o, 0);
    set(s, d, shifted(s, s.mmx(d), op, lane, o.imm as u8));
    Ok(())
}

/// Lanes of 16 bits in another order.
pub fn shuffle<S: X86>(s: S, o: &Operands) -> Res<S> {
    unary(s, o, Vop::ShuffleHalf(false, o.imm as u8))
}

/// A lane of 16 bits as a number.
pub fn extract_word<S: X86>(s: S, o: &Operands) -> Res<S> {
    let v = s.lane::<u16>(Lane::L16, o.imm as u8 & 3, s.mmx(s.number(o, 1)));
    enter(s);
    s.set_arg::<u32>(o, 0, v.zext())
}

/// A lane of 16 bits replaced.
pub fn insert_word<S: X86>(s: S, o: &Operands) -> Res<S> {
    let x = s.arg::<u16>(o, 1)?;
    let d = s.number(o, 0);
    set(s, d, s.with_lane(Lane::L16, o.imm as u8 & 3, s.mmx(d), x));
    Ok(())
}

/// The top bits of all bytes as a number.
pub fn mask<S: X86>(s: S, o: &Operands) -> Res<S> {
    let v = V::<S, u64>::new(s, s.mask_of(Lane::L8, s.mmx(s.number(o, 1))));
    enter(s);
    s.set_arg::<u32>(o, 0, v.low())
}

/// Stores the bytes whose bits in `chosen` are set to where rDI points. All can be stored, or none is.
pub fn store_bytes<S: X86>(
    s: S,
    o: &Operands,
    chosen: V<S, u64>,
    count: u8,
    byte: impl Fn(u8) -> V<S, u8>,
) -> Res<S> {
    let segment = if o.mem.segment < segment::FS { o.mem.segment } else { s.flat_segment(segment::DS) };
    let address = s.linear(segment, s.address_reg(o, RDI));
    let each = |f: &dyn Fn(V<S, u64>, u8) -> Res<S>| {
        (0..count).try_for_each(|n| {
            let one = (chosen >> n as i64).low::<bool>();
            s.when(one, || f(address + n as i64, n))
        })
    };
    // Nothing is stored if a byte cannot be.
    each(&|at, _| s.rmw(Rmw::Or, at, s.k::<u8>(0)).map(drop))?;
    each(&|at, n| s.store(at, byte(n)))
}

/// Interleave the lanes of the lower halves: of memory, no more is read.
pub fn interleave_low<S: X86>(s: S, o: &Operands, lane: Lane) -> Res<S> {
    let b = match o.args[1] {
        Arg::Mem => s.to_vec(s.load_mem::<u32>(o)?.zext::<u64>().raw),
        _ => s.mmx(s.number(o, 1)),
    };
    let d = s.number(o, 0);
    set(s, d, s.vop2(Vop::Bin(trine_ir::VBin::Low, lane), s.mmx(d), b));
    Ok(())
}

/// Bytes of a vector to where rDI points, by the top bits of another vector's bytes.
pub fn store_masked<S: X86>(s: S, o: &Operands) -> Res<S> {
    let (v, mask) = (s.mmx(s.number(o, 0)), s.mmx(s.number(o, 1)));
    let chosen = V::<S, u64>::new(s, s.mask_of(Lane::L8, mask));
    store_bytes(s, o, chosen, 8, |n| s.lane::<u8>(Lane::L8, n, v))?;
    enter(s);
    Ok(())
}

/// Move 32 or 64 bits to a register, zero-extended.
pub fn from_general<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.arg::<T>(o, 1)?;
    set_bits(s, s.number(o, 0), v.zext());
    Ok(())
}

/// Move the low 32 or 64 bits of a register.
pub fn to_general<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.get::<u64>(X87 + 2 * (s.number(o, 1) & 7) as u16);
    s.set_arg::<T>(o, 0, v.low())?;
    enter(s);
    Ok(())
}

/// Move to a register.
pub fn load<S: X86>(s: S, o: &Operands) -> Res<S> {
    let v = match o.args[1] {
        Arg::Mem => s.load_mem::<u64>(o)?,
        _ => s.get(X87 + 2 * (s.number(o, 1) & 7) as u16),
    };
    set_bits(s, s.number(o, 0), v);
    Ok(())
}

/// Move from a register.
pub fn store<S: X86>(s: S, o: &Operands) -> Res<S> {
    let v = s.get::<u64>(X87 + 2 * (s.number(o, 1) & 7) as u16);
    match o.args[0] {
        Arg::Mem => s.store_mem(o, v)?,
        _ => set_bits(s, s.number(o, 0), v),
    }
    enter(s);
    Ok(())
}

/// Move to the lower half of a vector register; zeros above.
pub fn to_vector<S: X86>(s: S, o: &Operands) -> Res<S> {
    let v = s.mmx(s.number(o, 1));
    s.set_xmm(o, s.number(o, 0), v);
    enter(s);
    Ok(())
}

/// Move the lower half of a vector register.
pub fn from_vector<S: X86>(s: S, o: &Operands) -> Res<S> {
    set(s, s.number(o, 0), s.xmm(s.number(o, 1)));
    Ok(())
}

/// Leave MMX: all registers are empty.
pub fn emms<S: X86>(s: S, _: &Operands) -> Res<S> {
    enter(s);
    s.set(FEMPTY, s.k::<u64>(0xff));
    Ok(())
}
