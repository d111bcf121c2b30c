//! Loads, stores and atomic operations. Words are big-endian and may lie at any address.

use super::{R, Toy};
use trine_ir::Res;

/// Load a byte.
pub fn ldb<S: Toy>(s: S, rd: R, rs: R) -> Res<S> {
    let v = s.load::<u8>(s.data(s.r(rs)))?;
    s.set_r(rd, v.zext());
    Ok(())
}

/// Load a word.
pub fn ldw<S: Toy>(s: S, rd: R, rs: R, imm: i64) -> Res<S> {
    let v = s.load::<u16>(s.data(s.r(rs) + imm))?;
    s.set_r(rd, v.bswap());
    Ok(())
}

/// Store a byte.
pub fn stb<S: Toy>(s: S, rd: R, rs: R) -> Res<S> {
    s.store::<u8>(s.data(s.r(rs)), s.r(rd).low())
}

/// Store a word.
pub fn stw<S: Toy>(s: S, rd: R, rs: R, imm: i64) -> Res<S> {
    s.store::<u16>(s.data(s.r(rs) + imm), s.r(rd).bswap())
}
