//! RV32I and RV64I: integer computation, loads and stores, jumps and branches (unpriv 2, 4).

use super::{Rv, X};
use trine_ir::{Flow, Res, Sem};

/// Register-register and register-immediate forms of one operation.
macro_rules! alu {
    ($($(#[$doc:meta])* $reg:ident $imm:ident |$a:ident, $b:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $reg<S: Rv>(s: S, rd: X, rs1: X, rs2: X) -> Res<S> {
            let ($a, $b) = (s.x(rs1), s.x(rs2));
            s.set_x(rd, $e);
            Ok(())
        }
        $(#[$doc])*
        ///
        /// The second operand is an immediate.
        #[inline(always)]
        pub fn $imm<S: Rv>(s: S, rd: X, rs1: X, imm: i64) -> Res<S> {
            let ($a, $b) = (s.x(rs1), s.k::<S::W>(imm));
            s.set_x(rd, $e);
            Ok(())
        }
    )*};
}
alu! {
    /// Sum.
    add addi |a, b| a + b;
    /// Bitwise and.
    and andi |a, b| a & b;
    /// Bitwise or.
    or ori |a, b| a | b;
    /// Bitwise exclusive or.
    xor xori |a, b| a ^ b;
    /// 1 where the first is less, signed.
    slt slti |a, b| a.lt_s(b).zext();
    /// 1 where the first is less, unsigned.
    sltu sltiu |a, b| a.lt_u(b).zext();
}

/// Difference.
#[inline(always)]
pub fn sub<S: Rv>(s: S, rd: X, rs1: X, rs2: X) -> Res<S> {
    s.set_x(rd, s.x(rs1) - s.x(rs2));
    Ok(())
}

/// Shifts: by a register's low bits, by a constant.
macro_rules! shift {
    ($($(#[$doc:meta])* $reg:ident $imm:ident |$a:ident, $n:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $reg<S: Rv>(s: S, rd: X, rs1: X, rs2: X) -> Res<S> {
            let ($a, $n) = (s.x(rs1), s.x(rs2));
            s.set_x(rd, $e);
            Ok(())
        }
        $(#[$doc])*
        ///
        /// The amount is a constant.
        #[inline(always)]
        pub fn $imm<S: Rv>(s: S, rd: X, rs1: X, shamt: u8) -> Res<S> {
            let ($a, $n) = (s.x(rs1), s.k::<S::W>(shamt as i64));
            s.set_x(rd, $e);
            Ok(())
        }
    )*};
}
shift! {
    /// Shift left.
    sll slli |a, n| a << n;
    /// Logical shift right.
    srl srli |a, n| a >> n;
    /// Arithmetic shift right.
    sra srai |a, n| a.sar(n);
}

/// Operations on the low 32 bits whose result is sign-extended.
macro_rules! word {
    ($($(#[$doc:meta])* $name:ident |$a:ident, $b:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Rv>(s: S, rd: X, rs1: X, rs2: X) -> Res<S> {
            let ($a, $b) = (s.w(rs1), s.w(rs2));
            s.set_w(rd, $e);
            Ok(())
        }
    )*};
}
word! {
    /// Sum of words.
    addw |a, b| a + b;
    /// Difference of words.
    subw |a, b| a - b;
    /// Shift a word left.
    sllw |a, n| a << n;
    /// Logical shift of a word right.
    srlw |a, n| a >> n;
    /// Arithmetic shift of a word right.
    sraw |a, n| a.sar(n);
}

/// Sum of a word and an immediate.
#[inline(always)]
pub fn addiw<S: Rv>(s: S, rd: X, rs1: X, imm: i64) -> Res<S> {
    s.set_w(rd, s.w(rs1) + imm);
    Ok(())
}

/// Shifts of a word by a constant.
macro_rules! word_shift {
    ($($(#[$doc:meta])* $name:ident |$a:ident, $n:ident| $e:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Rv>(s: S, rd: X, rs1: X, shamt: u8) -> Res<S> {
            let ($a, $n) = (s.w(rs1), s.k::<u32>(shamt as i64));
            s.set_w(rd, $e);
            Ok(())
        }
    )*};
}
word_shift! {
    /// Shift a word left by a constant.
    slliw |a, n| a << n;
    /// Logical shift of a word right by a constant.
    srliw |a, n| a >> n;
    /// Arithmetic shift of a word right by a constant.
    sraiw |a, n| a.sar(n);
}

/// Upper immediate.
#[inline(always)]
pub fn lui<S: Rv>(s: S, rd: X, imm: i64) -> Res<S> {
    s.set_x(rd, s.k(imm));
    Ok(())
}

/// PC plus upper immediate.
#[inline(always)]
pub fn auipc<S: Rv>(s: S, rd: X, imm: i64) -> Res<S> {
    s.set_x(rd, (s.pc() + imm).low());
    Ok(())
}

/// Whether a register holds return addresses by convention: `ra` and `t0`.
fn is_link(x: X) -> bool {
    matches!(x.0, 1 | 5)
}

/// The purpose of a jump, from its registers (unpriv 2.5.1, table 3). Two different link registers are a
/// coroutine's switch.
fn flow(rd: X, rs1: Option<X>) -> Flow {
    let from = rs1.filter(|&x| is_link(x));
    match (is_link(rd), from) {
        (true, None) => Flow::Call,
        (true, Some(rs1)) if rs1 == rd => Flow::Call,
        (false, Some(_)) => Flow::Return,
        _ => Flow::Plain,
    }
}

/// Jump and link.
#[inline(always)]
pub fn jal<S: Rv>(s: S, rd: X, imm: i64) -> Res<S> {
    s.set_x(rd, s.next_pc().low());
    s.jump_as(flow(rd, None), s.pc() + imm)
}

/// Jump and link to a register.
#[inline(always)]
pub fn jalr<S: Rv>(s: S, rd: X, rs1: X, imm: i64) -> Res<S> {
    let target = s.address(rs1, imm) & -2;
    s.set_x(rd, s.next_pc().low());
    s.jump_as(flow(rd, Some(rs1)), target)
}

macro_rules! branch {
    ($($(#[$doc:meta])* $name:ident $cmp:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Rv>(s: S, rs1: X, rs2: X, imm: i64) -> Res<S> {
            s.when(s.x(rs1).$cmp(s.x(rs2)), || s.jump(s.pc() + imm))
        }
    )*};
}
branch! {
    /// Branch if equal.
    beq eq;
    /// Branch if not equal.
    bne ne;
    /// Branch if less, signed.
    blt lt_s;
    /// Branch if less, unsigned.
    bltu lt_u;
    /// Branch if greater or equal, signed.
    bge ge_s;
    /// Branch if greater or equal, unsigned.
    bgeu ge_u;
}

macro_rules! load {
    ($($(#[$doc:meta])* $name:ident $ty:ty, $extend:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Rv>(s: S, rd: X, rs1: X, imm: i64) -> Res<S> {
            let v = s.load::<$ty>(s.address(rs1, imm))?;
            s.set_x(rd, v.$extend());
            Ok(())
        }
    )*};
}
load! {
    /// Load byte, sign-extended.
    lb u8, sext;
    /// Load byte, zero-extended.
    lbu u8, zext;
    /// Load half-word, sign-extended.
    lh u16, sext;
    /// Load half-word, zero-extended.
    lhu u16, zext;
    /// Load word, sign-extended.
    lw u32, sext;
    /// Load word, zero-extended.
    lwu u32, zext;
    /// Load double-word.
    ld u64, zext;
}

macro_rules! store {
    ($($(#[$doc:meta])* $name:ident $ty:ty;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<S: Rv>(s: S, rs2: X, rs1: X, imm: i64) -> Res<S> {
            s.store::<$ty>(s.address(rs1, imm), s.x(rs2).zext())
        }
    )*};
}
store! {
    /// Store byte.
    sb u8;
    /// Store half-word.
    sh u16;
    /// Store word.
    sw u32;
    /// Store double-word.
    sd u64;
}

/// Memory ordering. The host keeps loads and stores in order, except a store before a load.
#[inline(always)]
pub fn fence<S: Rv>(s: S, pred: u8, succ: u8) -> Res<S> {
    // Bits of the sets: 1 W, 2 R, 4 O, 8 I (unpriv 2.7).
    if pred & 5 != 0 && succ & 10 != 0 {
        s.fence();
    }
    Ok(())
}

/// Does nothing (hints).
#[inline(always)]
pub fn nop<S: Sem>(_: S) -> Res<S> {
    Ok(())
}
