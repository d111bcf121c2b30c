//! A decoded instruction.

/// An operand, in the order of Intel's syntax.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Arg {
    /// There is none.
    #[default]
    None,
    /// A register; the row says of which file. General registers of 8 bits have the numbers 16 to 19 if they are AH, CH, DH
    /// or BH.
    Reg(u8),
    /// [`Operands::mem`].
    Mem,
    /// [`Operands::imm`].
    Imm,
    /// [`Operands::imm2`].
    Imm2,
}

/// The number of AH among registers of 8 bits; CH, DH and BH follow.
pub const AH: u8 = 16;

/// Stands for no register in an address.
pub const NO_REGISTER: u8 = 0xff;
/// Stands for the next instruction's address in [`Mem::base`].
pub const RIP: u8 = 0xfe;
/// Stands for [`Operands::imm`] in [`Mem::base`].
pub const ABSOLUTE: u8 = 0xfd;

/// A memory operand: `segment:[base + index * 2^scale + disp]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mem {
    /// A general register, [`RIP`], [`ABSOLUTE`] or [`NO_REGISTER`].
    pub base: u8,
    /// A general register or [`NO_REGISTER`].
    pub index: u8,
    /// log2 of the index's factor.
    pub scale: u8,
    /// The segment register whose base is added; [`NO_REGISTER`] if that is known to be 0.
    pub segment: u8,
    /// The segment register that the instruction names or implies.
    pub named: u8,
    /// Displacement.
    pub disp: i32,
}

impl Default for Mem {
    fn default() -> Mem {
        let no = NO_REGISTER;
        Mem { base: no, index: no, scale: 0, segment: no, named: no, disp: 0 }
    }
}

/// The prefixes that bodies look at.
pub mod prefix {
    /// `F0`.
    pub const LOCK: u8 = 1;
    /// `F3`.
    pub const REP: u8 = 2;
    /// `F2`.
    pub const REPNE: u8 = 4;
    /// An address has 32 bits.
    pub const A32: u8 = 8;
    /// An address has 16 bits.
    pub const A16: u8 = 16;
    /// `66`.
    pub const OPERAND: u8 = 32;
}

/// The operands of one instruction.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Operands {
    /// Operands in Intel's order.
    pub args: [Arg; 4],
    /// The low four bits of the opcode: the condition, where there is one.
    pub low: u8,
    /// [`prefix`]es.
    pub prefixes: u8,
    /// A second immediate of 8 bits, or the selector of a far pointer.
    pub imm2: u16,
    /// VEX.L: vectors have 256 bits.
    pub wide: bool,
    /// VEX: the upper parts of vector registers become zero.
    pub vex: bool,
    /// The memory operand.
    pub mem: Mem,
    /// The immediate, sign-extended; or an address in the instruction.
    pub imm: i64,
}

impl Operands {
    /// Whether it has any of these [`prefix`]es.
    #[inline(always)]
    pub fn has(&self, prefixes: u8) -> bool {
        self.prefixes & prefixes != 0
    }
}
