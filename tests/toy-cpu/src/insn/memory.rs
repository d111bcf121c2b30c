//! Loads, stores and atomic operations. Words are big-endian and may lie at any address; atomic ones at even ones.

use super::{R, Toy};
use crate::state::{self, cause};
use trine_base::Width;
use trine_ir::{MemOp, Order, Res, Rmw, V};

/// A word in memory.
const WORD: MemOp = MemOp { width: Width::B2, order: Order::Big };

/// Load a byte.
pub fn ldb<S: Toy>(s: S, rd: R, rs: R) -> Res<S> {
    let v = s.load::<u8>(s.data(s.r(rs)))?;
    s.set_r(rd, v.zext());
    Ok(())
}

/// Load a word.
pub fn ldw<S: Toy>(s: S, rd: R, rs: R, imm: i64) -> Res<S> {
    let v = s.load_as(WORD, s.data(s.r(rs) + imm))?;
    s.set_r(rd, v);
    Ok(())
}

/// Store a byte.
pub fn stb<S: Toy>(s: S, rd: R, rs: R) -> Res<S> {
    s.store::<u8>(s.data(s.r(rs)), s.r(rd).low())
}

/// Store a word.
pub fn stw<S: Toy>(s: S, rd: R, rs: R, imm: i64) -> Res<S> {
    s.store_as(WORD, s.data(s.r(rs) + imm), s.r(rd))
}

/// The linear address of an atomic access, which must be even.
fn even<S: Toy>(s: S, rs: R) -> Res<S, V<S, u64>> {
    let address = s.data(s.r(rs));
    s.when((address & 1).ne(0), || s.raise(cause::ALIGNMENT, address))?;
    Ok(address)
}

/// Add to a word of memory.
pub fn xadd<S: Toy>(s: S, rd: R, rs: R) -> Res<S> {
    let address = even(s, rs)?;
    let old = s.rmw_raw(Rmw::Add, WORD, address.raw, s.r(rd).raw)?;
    s.set_r(rd, V::new(s, old));
    Ok(())
}

/// Compare and store.
pub fn cas<S: Toy>(s: S, rd: R, rs: R) -> Res<S> {
    let address = even(s, rs)?;
    let expect = s.r(R(0));
    let old = V::new(s, s.exchange_raw(WORD, address.raw, expect.raw, s.r(rd).raw)?);
    s.set(state::Z, old.eq(expect));
    s.set_r(R(0), old);
    Ok(())
}
