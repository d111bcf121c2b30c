//! What a row of a table says: encoding, operands, operand size. The macro `x86_rows!` makes these of Intel's notation.

pub use crate::cpu::Feature;

/// Where an operand comes from (SDM volume 2, A.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A far pointer in the instruction.
    A,
    /// A general register by VEX.vvvv.
    B,
    /// A control register by ModRM.reg.
    C,
    /// A debug register by ModRM.reg.
    D,
    /// A general register or memory by ModRM.
    E,
    /// A general register by ModRM.reg.
    G,
    /// A vector register by VEX.vvvv.
    H,
    /// An immediate.
    I,
    /// A displacement from the next instruction.
    J,
    /// A vector register by the upper four bits of an immediate byte.
    L,
    /// Memory by ModRM.
    M,
    /// An MMX register by ModRM.r/m.
    N,
    /// Memory at an address in the instruction.
    O,
    /// An MMX register by ModRM.reg.
    P,
    /// An MMX register or memory by ModRM.
    Q,
    /// A general register by ModRM.r/m.
    R,
    /// A segment register by ModRM.reg.
    S,
    /// A vector register by ModRM.r/m.
    U,
    /// A vector register by ModRM.reg.
    V,
    /// A vector register or memory by ModRM.
    W,
    /// Memory at `DS:rSI`.
    X,
    /// Memory at `ES:rDI`.
    Y,
    /// A general register by the opcode's low three bits.
    Z,
    /// This general register.
    Gpr(u8),
    /// This segment register.
    Segment(u8),
    /// The number 1.
    One,
    /// This vector register.
    Vector(u8),
    /// This x87 register, counted from the top of the stack.
    Stack(u8),
    /// The x87 register with the number in ModRM.r/m.
    StackRm,
}

/// How large an operand is (SDM volume 2, A.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// It has no size: an address that is only computed.
    None,
    /// 8 bits.
    B,
    /// 16 bits.
    W,
    /// 32 bits.
    D,
    /// 64 bits.
    Q,
    /// 16, 32 or 64 bits by the operand size.
    V,
    /// 16 bits, or 32 for the operand sizes 32 and 64.
    Z,
    /// 32 bits, or 64 for the operand size 64.
    Y,
    /// 128 or 256 bits by VEX.L.
    X,
    /// 128 bits.
    O,
    /// 256 bits.
    H,
    /// A far pointer: a selector above an offset in the operand size.
    Far,
    /// A limit and a base of a descriptor table.
    Table,
    /// Two bounds in the operand size.
    Bounds,
    /// 80 bits.
    T,
    /// Half of [`Size::X`].
    Half,
    /// A quarter of [`Size::X`].
    Quarter,
    /// An eighth of [`Size::X`].
    Eighth,
}

/// An operand of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operand {
    /// Where it comes from.
    pub kind: Kind,
    /// How large it is.
    pub size: Size,
}

/// Bits of [`RowInfo::flags`].
pub mod flag {
    /// A lock prefix is allowed if the first operand is memory.
    pub const LOCK: u8 = 1;
    /// Repeat prefixes repeat it.
    pub const REP: u8 = 2;
    /// In 64-bit mode, its operand size is 64 bits, or 16 with the prefix 66.
    pub const D64: u8 = 4;
    /// In 64-bit mode, its operand size is 64 bits whatever its prefixes.
    pub const F64: u8 = 8;
    /// A translation ends behind it.
    pub const ENDS: u8 = 16;
    /// It is privileged.
    pub const CPL0: u8 = 32;
    /// `mod` of ModRM is ignored: `r/m` is always a register.
    pub const NOMOD: u8 = 64;
}

/// What a row's [`RowInfo::mask`] and [`RowInfo::value`] are about: the lowest bit of each part.
pub mod key {
    /// Mandatory prefix, two bits: 0 none, 1 `66`, 2 `F3`, 3 `F2`.
    pub const PREFIX: u16 = 0;
    /// `reg` of ModRM, three bits.
    pub const REG: u16 = 2;
    /// `mod` of ModRM is 3.
    pub const REGISTER: u16 = 5;
    /// `r/m` of ModRM, three bits.
    pub const RM: u16 = 6;
    /// W of REX or VEX.
    pub const W: u16 = 9;
    /// L of VEX.
    pub const L: u16 = 10;
    /// 64-bit mode.
    pub const LONG: u16 = 11;
}

/// One encoding of an instruction.
#[derive(Clone, Copy, Debug)]
pub struct RowInfo {
    /// The doc comment of its group.
    pub doc: &'static str,
    /// The encoding, as the manual has it.
    pub encoding: &'static str,
    /// The instruction with the codes of its operands.
    pub syntax: &'static str,
    /// It has a VEX prefix.
    pub vex: bool,
    /// Opcode map: 0 one byte, 1 `0F`, 2 `0F 38`, 3 `0F 3A`.
    pub map: u8,
    /// The first opcode.
    pub opcode: u8,
    /// Number of opcodes: 1, 8 with a register in the low bits, 16 with a condition.
    pub span: u8,
    /// A ModRM byte, or a byte that stands in its place, follows the opcode.
    pub modrm: bool,
    /// The parts of the [`key`] that it demands.
    pub mask: u16,
    /// Their values.
    pub value: u16,
    /// Operand size.
    pub size: Size,
    /// The feature without which the opcode is invalid.
    pub feature: Feature,
    /// Number of its body in its table.
    pub body: u16,
    /// [`flag`]s.
    pub flags: u8,
    /// The operands, in Intel's order: destination first.
    pub operands: &'static [Operand],
}

impl RowInfo {
    /// Whether it has all of these [`flag`]s.
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// First word of the syntax.
    pub fn mnemonic(&self) -> &'static str {
        self.syntax.split(' ').next().unwrap_or_default()
    }
}
