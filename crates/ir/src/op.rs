//! The operations that semantics are made of. Integers have 1, 8, 16, 32 or 64 bits and are kept
//! zero-extended; shifts take their amount modulo the width.

/// Integer operations of two values of one width.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Bin {
    /// Sum, modulo the width.
    Add,
    /// Difference, modulo the width.
    Sub,
    /// Low half of the product.
    Mul,
    /// High half of the signed product.
    MulhS,
    /// High half of the unsigned product.
    MulhU,
    /// High half of the product of a signed and an unsigned factor.
    MulhSU,
    /// Signed quotient, truncated. Bodies exclude zero divisors and overflow.
    DivS,
    /// Unsigned quotient. Bodies exclude zero divisors.
    DivU,
    /// Signed remainder with the dividend's sign. Bodies exclude zero divisors and overflow.
    RemS,
    /// Unsigned remainder. Bodies exclude zero divisors.
    RemU,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// Shift left.
    Shl,
    /// Logical shift right.
    Shr,
    /// Arithmetic shift right.
    Sar,
    /// Rotate left.
    Rol,
    /// Rotate right.
    Ror,
    /// `a & !b`.
    Andn,
}

/// Comparisons; the result has one bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Cmp {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less than, signed.
    LtS,
    /// Less than, unsigned.
    LtU,
    /// Greater or equal, signed.
    GeS,
    /// Greater or equal, unsigned.
    GeU,
}

impl Cmp {
    /// The comparison with the opposite result.
    #[must_use]
    pub const fn opposite(self) -> Cmp {
        match self {
            Cmp::Eq => Cmp::Ne,
            Cmp::Ne => Cmp::Eq,
            Cmp::LtS => Cmp::GeS,
            Cmp::GeS => Cmp::LtS,
            Cmp::LtU => Cmp::GeU,
            Cmp::GeU => Cmp::LtU,
        }
    }
}

/// Integer operations of one value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Un {
    /// Number of leading zero bits (the width for zero).
    Clz,
    /// Number of trailing zero bits (the width for zero).
    Ctz,
    /// Number of one bits.
    Popcount,
    /// Bytes in reverse order.
    Bswap,
}

/// Sums and differences that also give carry and overflow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Carry {
    /// `a + b + c`.
    Add,
    /// `a - b - c`; the carry is the borrow.
    Sub,
}

/// A further result of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Extra {
    /// Of a [`Carry`]: the unsigned result did not fit; one bit.
    Carry,
    /// Of a [`Carry`]: the signed result did not fit; one bit.
    Overflow,
    /// Of a wide division: the remainder, 64 bits.
    Remainder,
}

/// Whether a division is of signed numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Signed {
    /// Unsigned.
    No,
    /// Signed; the quotient is truncated.
    Yes,
}

/// The purpose of a jump. A hint: engines predict with it, and results never depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Flow {
    /// Neither of the others.
    Plain,
    /// A call: expected to return to the next instruction.
    Call,
    /// A return to the instruction after the latest call that has not returned yet.
    Return,
}

/// Read-modify-write operations on memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Rmw {
    /// Replace.
    Swap,
    /// Add.
    Add,
    /// And.
    And,
    /// Or.
    Or,
    /// Exclusive or.
    Xor,
    /// Signed minimum.
    MinS,
    /// Signed maximum.
    MaxS,
    /// Unsigned minimum.
    MinU,
    /// Unsigned maximum.
    MaxU,
}

/// A floating-point format of IEEE 754.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Fmt {
    /// binary32.
    S,
    /// binary64.
    D,
}

/// An integer type in a conversion.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum IntTy {
    /// Signed, 32 bits.
    I32,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 64 bits.
    U64,
}

/// How a sign is made from those of two operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Sign {
    /// That of the second.
    Copy,
    /// The opposite of that of the second.
    Negate,
    /// The exclusive or of both.
    Xor,
}

/// Floating-point operations. They raise flags besides giving a value, so they are never removed, merged or
/// moved across anything that reads or sets the environment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Fp {
    /// Sum.
    Add(Fmt),
    /// Difference.
    Sub(Fmt),
    /// Product.
    Mul(Fmt),
    /// Quotient.
    Div(Fmt),
    /// Square root.
    Sqrt(Fmt),
    /// `±(a × b) ± c` with one rounding.
    Fma {
        /// The format.
        fmt: Fmt,
        /// Negate the product.
        neg_product: bool,
        /// Negate the addend.
        neg_addend: bool,
    },
    /// The smaller number, as the CPU's [`crate::FpRules::RULES`] define it.
    Min(Fmt),
    /// The larger number, likewise.
    Max(Fmt),
    /// Equal; quiet.
    Eq(Fmt),
    /// Less than; signaling.
    Lt(Fmt),
    /// Less than or equal; signaling.
    Le(Fmt),
    /// Less than; quiet.
    LtQuiet(Fmt),
    /// Less than or equal; quiet.
    LeQuiet(Fmt),
    /// One is a NaN; quiet.
    Unordered(Fmt),
    /// Conversion to the other format; the format named is the source.
    Convert(Fmt),
    /// Conversion to an integer; numbers out of range and NaN are invalid, and give what the CPU's
    /// [`crate::FpRules::RULES`] say.
    ToInt(Fmt, IntTy),
    /// Conversion from an integer.
    FromInt(IntTy, Fmt),
    /// The first operand with a sign made from both; raises nothing.
    Sgnj(Fmt, Sign),
    /// The bits as an integer of the same size; raises nothing.
    ToBits(Fmt),
    /// An integer's bits as a number; raises nothing.
    FromBits(Fmt),
    /// The binary32 in the lower half of a binary64's bits; raises nothing.
    Low,
    /// The first operand, a binary64, with the lower half of its bits replaced by the second, a binary32; raises nothing.
    WithLow,
}

impl Fp {
    /// The format, if this is a comparison: its result is an integer of one bit.
    pub const fn compares(self) -> Option<Fmt> {
        match self {
            Fp::Eq(fmt) | Fp::Lt(fmt) | Fp::Le(fmt) => Some(fmt),
            Fp::LtQuiet(fmt) | Fp::LeQuiet(fmt) | Fp::Unordered(fmt) => Some(fmt),
            _ => None,
        }
    }
}

/// Rounding directions. The numbers are RISC-V's `frm`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Round {
    /// To nearest, ties to even.
    Rne = 0,
    /// Towards zero.
    Rtz = 1,
    /// Down.
    Rdn = 2,
    /// Up.
    Rup = 3,
    /// To nearest, ties away from zero.
    Rmm = 4,
}

impl Round {
    /// The direction with this number.
    pub const fn from_number(n: u8) -> Option<Round> {
        match n {
            0 => Some(Round::Rne),
            1 => Some(Round::Rtz),
            2 => Some(Round::Rdn),
            3 => Some(Round::Rup),
            4 => Some(Round::Rmm),
            _ => None,
        }
    }
}

/// The source of an operation's rounding direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Rounding {
    /// From the CPU's floating-point environment.
    Dynamic,
    /// From the instruction.
    Static(Round),
}
