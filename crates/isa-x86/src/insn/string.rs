//! String instructions (SDM volume 2: MOVS, STOS, LODS, SCAS, CMPS, REP). A repeated one is a round that jumps to itself while
//! there is something left: interrupts and faults find it between two rounds.

use super::X86;
use crate::flags::{self, Kind};
use crate::operands::{Operands, prefix};
use crate::state::gpr::{RAX, RCX, RDI, RSI};
use crate::state::{mode, segment};
use trine_ir::{Int, Res, V};

/// The linear address that rSI points to.
fn source<S: X86>(s: S, o: &Operands) -> V<S, u64> {
    s.linear(o.mem.segment, s.address_reg(o, RSI))
}

/// The linear address that rDI points to: always in ES.
fn destination<S: X86>(s: S, o: &Operands) -> V<S, u64> {
    s.linear(s.flat_segment(segment::ES), s.address_reg(o, RDI))
}

/// Moves an address behind its element.
fn advance<S: X86, T: Int>(s: S, o: &Operands, number: u16) {
    let bytes = T::BITS as i64 / 8;
    let by = if s.mode() & mode::DOWN != 0 { -bytes } else { bytes };
    s.set_address_reg(o, number, s.get::<u64>(number) + by);
}

/// One round, or one of several. `again` says whether a repeated one goes on, given its flags.
fn round<S: X86>(
    s: S,
    o: &Operands,
    one: impl FnOnce() -> Res<S>,
    again: impl FnOnce() -> Option<V<S, bool>>,
) -> Res<S> {
    if !o.has(prefix::REP | prefix::REPNE) {
        return one();
    }
    let count = s.address_reg(o, RCX);
    s.when(count.eq(0), || s.jump(s.next_pc()))?;
    one()?;
    s.set_address_reg(o, RCX, count - 1);
    match again() {
        None => s.jump(s.pc()),
        Some(again) => s.when(again, || s.jump(s.pc())),
    }
}

/// Copy an element.
pub fn movs<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let one = || {
        let v = s.load::<T>(source(s, o))?;
        s.store(destination(s, o), v)?;
        advance::<S, T>(s, o, RSI);
        advance::<S, T>(s, o, RDI);
        Ok(())
    };
    round(s, o, one, || None)
}

/// Store the accumulator.
pub fn stos<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let one = || {
        s.store(destination(s, o), s.reg::<T>(RAX as u8))?;
        advance::<S, T>(s, o, RDI);
        Ok(())
    };
    round(s, o, one, || None)
}

/// Load the accumulator.
pub fn lods<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let one = || {
        let v = s.load::<T>(source(s, o))?;
        s.set_reg(RAX as u8, v);
        advance::<S, T>(s, o, RSI);
        Ok(())
    };
    round(s, o, one, || None)
}

/// Whether a comparison goes on: REPE while equal, REPNE while not.
fn goes_on<S: X86, T: Int>(o: &Operands, a: V<S, T>, b: V<S, T>) -> V<S, bool> {
    if o.has(prefix::REPNE) { a.ne(b) } else { a.eq(b) }
}

/// Compare the accumulator with an element.
pub fn scas<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let a = s.reg::<T>(RAX as u8);
    compare(s, o, || Ok((a, s.load::<T>(destination(s, o))?)), &[RDI])
}

/// Compare two elements.
pub fn cmps<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    compare(s, o, || Ok((s.load::<T>(source(s, o))?, s.load::<T>(destination(s, o))?)), &[RSI, RDI])
}

fn compare<S: X86, T: Int>(
    s: S,
    o: &Operands,
    load: impl FnOnce() -> Res<S, (V<S, T>, V<S, T>)>,
    moves: &[u16],
) -> Res<S> {
    let repeats = o.has(prefix::REP | prefix::REPNE);
    let count = s.address_reg(o, RCX);
    if repeats {
        s.when(count.eq(0), || s.jump(s.next_pc()))?;
    }
    let (a, b) = load()?;
    moves.iter().for_each(|&number| advance::<S, T>(s, o, number));
    flags::set(s, Kind::Sub, a, b);
    if !repeats {
        return Ok(());
    }
    s.set_address_reg(o, RCX, count - 1);
    s.when(goes_on(o, a, b), || s.jump(s.pc()))
}
