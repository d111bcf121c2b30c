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

/// A denormal operand, where the CPU reports those: x86 (Intel SDM volume 1, 4.9.1.2).
pub const DE: u8 = 32;

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

/// The rule for NaN results (IEEE 754-2019 6.2.3 only recommends that they come from an operand).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NanRule {
    /// Always the positive quiet NaN without payload: RISC-V (manual 20.3). Infinity times zero plus a quiet NaN is invalid.
    Canonical,
    /// The first operand that is a NaN, made quiet; if none is, the negative quiet NaN without payload: x86's
    /// SSE (Intel SDM volume 1, 4.8.3.5). Infinity times zero plus a quiet NaN is that NaN (14.5.2).
    FirstOperand,
}

/// The result of converting a NaN or a value out of range to an integer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutOfRange {
    /// The nearest integer; for a NaN the largest: RISC-V (manual 20.7).
    Saturate,
    /// The smallest signed integer or the largest unsigned one: x86.
    Indefinite,
}

/// When a result counts as tiny (IEEE 754-2019 7.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tininess {
    /// If it is still tiny after rounding: RISC-V, x86's SSE.
    AfterRounding,
    /// If it is tiny before rounding: Arm.
    BeforeRounding,
}

/// The result of the smaller and the larger of two numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extremes {
    /// minimumNumber and maximumNumber of IEEE 754-2019: RISC-V.
    Number,
    /// The second operand unless the first one compares less, or greater; any NaN is invalid: x86's SSE (Intel SDM volume 2,
    /// MINPS).
    Second,
}

/// The choices of a CPU where IEEE 754 allows several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// NaN results.
    pub nan: NanRule,
    /// Conversions to integers.
    pub out_of_range: OutOfRange,
    /// Underflow.
    pub tininess: Tininess,
    /// Minimum and maximum.
    pub extremes: Extremes,
    /// Denormal operands raise [`DE`], unless something more important is wrong.
    pub reports_denormals: bool,
}

impl Rules {
    /// RISC-V's rules.
    pub const CANONICAL: Rules = Rules {
        nan: NanRule::Canonical,
        out_of_range: OutOfRange::Saturate,
        tininess: Tininess::AfterRounding,
        extremes: Extremes::Number,
        reports_denormals: false,
    };
}

/// What becomes of denormal numbers, where the guest can choose (Intel SDM volume 1, 10.2.3.3 and 10.2.3.4).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Denormals {
    /// Operands count as zeros of their sign.
    pub zero_operands: bool,
    /// Tiny results become zeros of their sign, inexact and with underflow.
    pub zero_results: bool,
}

/// Exceptions that the guest takes as traps. Their flags are then about the result with an unbounded exponent: a tiny one raises
/// [`UF`] even if it is exact, and [`NX`] only if that result is inexact (IEEE 754-1985 7.3, 7.4; Intel SDM volume 1, 4.9.1.5).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Traps {
    /// Underflow.
    pub underflow: bool,
    /// Overflow.
    pub overflow: bool,
}

/// The environment of operations: what they depend on besides operands, and what they report besides results.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Env {
    /// The rounding direction.
    pub round: Round,
    /// The CPU's rules.
    pub rules: Rules,
    /// The guest's choices about denormal numbers.
    pub denormals: Denormals,
    /// The exceptions that the guest takes.
    pub traps: Traps,
    /// Flags raised so far: [`NX`], [`UF`], [`OF`], [`DZ`], [`NV`], [`DE`]. Operations only set
    /// bits.
    pub flags: u8,
}

impl Env {
    /// Creates an environment with this rounding direction, RISC-V's rules and no flags.
    pub const fn new(round: Round) -> Env {
        Env {
            round,
            rules: Rules::CANONICAL,
            denormals: Denormals { zero_operands: false, zero_results: false },
            traps: Traps { underflow: false, overflow: false },
            flags: 0,
        }
    }

    /// Raises these flags.
    #[inline]
    pub fn raise(&mut self, flags: u8) {
        self.flags |= flags;
    }
}

impl Round {
    /// Whether a magnitude is rounded away from zero. `odd`: the last kept bit is set; `rest`: the discarded
    /// part, in which `half` is half a unit of the last kept bit.
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

    /// Whether an overflow becomes infinity rather than the largest finite number (7.4).
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
