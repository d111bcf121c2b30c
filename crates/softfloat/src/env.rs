//! Rounding directions and exception flags (IEEE 754-2019 chapters 4 and 7; RISC-V `fcsr`, 20.2).

/// Inexact: the result had to be rounded. Bits are those of RISC-V's `fflags`.
pub const NX: u8 = 1;
/// Underflow: tiny after rounding, and inexact.
pub const UF: u8 = 2;
/// Overflow: too large for the format after rounding.
pub const OF: u8 = 4;
/// Division of a finite number by zero.
pub const DZ: u8 = 8;
/// Invalid operation.
pub const NV: u8 = 16;

/// Rounding direction, numbered as in RISC-V's `frm` (IEEE 754-2019 4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Round {
    /// To nearest, ties to even.
    Rne = 0,
    /// Towards zero.
    Rtz = 1,
    /// Towards negative infinity.
    Rdn = 2,
    /// Towards positive infinity.
    Rup = 3,
    /// To nearest, ties away from zero.
    Rmm = 4,
}

/// What NaN results are (IEEE 754-2019 6.2.3 only recommends that they come from an operand).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NanRule {
    /// Always the positive quiet NaN without payload: RISC-V (manual 20.3). Infinity times zero plus a quiet NaN is invalid.
    Canonical,
    /// The first operand that is a NaN, made quiet; where none is, the negative quiet NaN without payload: x86's SSE
    /// (Intel SDM volume 1, 4.8.3.5). Infinity times zero plus a quiet NaN is that NaN (14.5.2).
    FirstOperand,
}

/// What a conversion to an integer gives that is out of range, or of a NaN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutOfRange {
    /// The nearest integer; the largest of a NaN: RISC-V (manual 20.7).
    Saturate,
    /// The smallest signed integer, the largest unsigned one: x86.
    Indefinite,
}

/// When a result counts as tiny (IEEE 754-2019 7.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tininess {
    /// Where it still is after rounding: RISC-V, x86's SSE.
    AfterRounding,
    /// Where it is before: Arm.
    BeforeRounding,
}

/// What a CPU decides where IEEE 754 leaves it open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// NaN results.
    pub nan: NanRule,
    /// Conversions to integers.
    pub out_of_range: OutOfRange,
    /// Underflow.
    pub tininess: Tininess,
}

impl Rules {
    /// RISC-V's.
    pub const CANONICAL: Rules = Rules {
        nan: NanRule::Canonical,
        out_of_range: OutOfRange::Saturate,
        tininess: Tininess::AfterRounding,
    };
}

/// What an operation depends on besides its operands, and what it reports besides its result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Env {
    /// The rounding direction.
    pub round: Round,
    /// What the CPU decides.
    pub rules: Rules,
    /// Flags raised so far: [`NX`], [`UF`], [`OF`], [`DZ`], [`NV`]. Operations only set bits.
    pub flags: u8,
}

impl Env {
    /// This rounding direction, RISC-V's rules, no flags.
    pub const fn new(round: Round) -> Env {
        Env { round, rules: Rules::CANONICAL, flags: 0 }
    }

    /// Raises these flags.
    #[inline]
    pub fn raise(&mut self, flags: u8) {
        self.flags |= flags;
    }
}

impl Round {
    /// Whether a magnitude is rounded away from zero. `odd`: its last kept bit is set; `rest`: the
    /// discarded part, where `half` is half a unit of the last kept bit.
    #[inline]
    pub(crate) fn away(self, negative: bool, odd: bool, rest: u64, half: u64) -> bool {
        match self {
            Round::Rne => rest > half || rest == half && odd,
            Round::Rtz => false,
            Round::Rdn => negative && rest != 0,
            Round::Rup => !negative && rest != 0,
            Round::Rmm => rest >= half,
        }
    }

    /// Whether what overflows becomes infinite rather than the largest finite number (7.4).
    #[inline]
    pub(crate) fn overflows_to_infinity(self, negative: bool) -> bool {
        match self {
            Round::Rne | Round::Rmm => true,
            Round::Rtz => false,
            Round::Rdn => negative,
            Round::Rup => !negative,
        }
    }
}
