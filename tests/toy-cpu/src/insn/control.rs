//! Branches, jumps, calls.

use super::{R, Toy};
use crate::state::{self, LINK};
use trine_ir::{Flow, Res};

macro_rules! branch {
    ($($(#[$doc:meta])* $name:ident |$s:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name<S: Toy>($s: S, imm: i64) -> Res<S> {
            $s.when($e, || $s.jump($s.pc() + imm))
        }
    )*};
}
branch! {
    /// Branch if equal.
    beq |s| s.flag(state::Z);
    /// Branch if not equal.
    bne |s| !s.flag(state::Z);
    /// Branch if carry.
    bcs |s| s.flag(state::C);
    /// Branch if no carry.
    bcc |s| !s.flag(state::C);
    /// Branch if negative.
    bmi |s| s.flag(state::N);
    /// Branch if overflow.
    bvs |s| s.flag(state::OV);
    /// Branch if less, signed.
    blt |s| s.flag(state::N) ^ s.flag(state::OV);
    /// Branch if greater or equal, signed.
    bge |s| !(s.flag(state::N) ^ s.flag(state::OV));
}

/// Branch always.
pub fn bra<S: Toy>(s: S, imm: i64) -> Res<S> {
    s.jump(s.pc() + imm)
}

/// Jump to a register.
pub fn jmp<S: Toy>(s: S, rs: R) -> Res<S> {
    s.jump(s.r(rs).zext())
}

/// Call a register.
pub fn callr<S: Toy>(s: S, rs: R) -> Res<S> {
    let target = s.r(rs).zext();
    s.set_r(R(LINK), s.next_pc().low());
    s.jump_as(Flow::Call, target)
}

/// Call.
pub fn call<S: Toy>(s: S, target: i64) -> Res<S> {
    s.set_r(R(LINK), s.next_pc().low());
    s.jump_as(Flow::Call, s.k(target))
}

/// Return.
pub fn ret<S: Toy>(s: S) -> Res<S> {
    s.jump_as(Flow::Return, s.r(R(LINK)).zext())
}

/// Move the code base and jump. The program counter counts from the new one, so it is written before the jump.
pub fn jmpf<S: Toy>(s: S, rd: R, rs: R) -> Res<S> {
    let target = s.r(rd).zext();
    s.set(state::CB, s.get::<u64>(state::CB) + (s.r(rs).sext::<u64>() << 8));
    s.jump(target)
}
