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

/// What an operation depends on besides its operands, and what it reports besides its result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Env {
    /// The rounding direction.
    pub round: Round,
    /// Flags raised so far: [`NX`], [`UF`], [`OF`], [`DZ`], [`NV`]. Operations only set bits.
    pub flags: u8,
}

impl Env {
    /// This rounding direction, no flags.
    pub const fn new(round: Round) -> Env {
        Env { round, flags: 0 }
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
