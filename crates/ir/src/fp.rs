//! What IEEE 754 leaves to the CPU, and how the CPU's floating-point environment is laid out.

use crate::op::Round;
use std::cell::Cell;
use trine_softfloat::{Denormals, Rules, Traps};

/// MXCSR after a reset: to nearest, all exceptions masked, no flags (Intel SDM volume 1, 10.2.3).
pub const MXCSR: u32 = 0x1f80;
/// The flags of MXCSR: invalid 1, denormal 2, division by zero 4, overflow 8, underflow 16, inexact 32.
pub const MXCSR_FLAGS: u32 = 0x3f;

/// MXCSR's number for a rounding direction; `None` for the one that MXCSR lacks.
pub const fn mxcsr_rounding(round: Round) -> Option<u32> {
    match round {
        Round::Rne => Some(0),
        Round::Rdn => Some(1 << 13),
        Round::Rup => Some(2 << 13),
        Round::Rtz => Some(3 << 13),
        Round::Rmm => None,
    }
}

/// A CPU's floating-point environment. Engines work with flags and rounding as x86's MXCSR has
/// them, on every host: a back end for a host with another register translates.
pub trait FpRules {
    /// The slot with the accrued flags, in the CPU's own numbering; there may be other bits in it.
    const FLAGS: u16;
    /// What the CPU chose where IEEE 754 leaves a choice.
    const RULES: Rules;

    /// MXCSR's flags in the slot's numbering, in its low byte.
    fn flags(mxcsr: u32) -> u64;

    /// The direction of [`crate::Rounding::Dynamic`].
    fn round(slots: &[Cell<u64>]) -> Round;

    /// The same, as far as a translation for `mode` may rely on it; `None` if it is not a valid direction.
    fn rounding(mode: u32) -> Option<Round>;

    /// What the guest wants to become of denormal numbers.
    fn denormals(_slots: &[Cell<u64>]) -> Denormals {
        Denormals::default()
    }

    /// The exceptions that the guest takes.
    fn traps(_slots: &[Cell<u64>]) -> Traps {
        Traps::default()
    }

    /// Whether operations in `mode` are done in software: the guest has asked for what only traps would tell.
    fn in_software(_mode: u32) -> bool {
        false
    }

    /// MXCSR for generated code, with all flags clear.
    fn mxcsr(slots: &[Cell<u64>]) -> u32 {
        MXCSR | mxcsr_rounding(Self::round(slots)).unwrap_or(0)
    }

    /// Adds the flags that were gathered in `mxcsr`.
    fn harvest(slots: &[Cell<u64>], mxcsr: u32) {
        if let Some(flags) = slots.get(Self::FLAGS as usize) {
            flags.set(flags.get() | Self::flags(mxcsr));
        }
    }
}

/// The environment of a CPU without floating point.
pub struct NoFp;

impl FpRules for NoFp {
    const FLAGS: u16 = u16::MAX;
    const RULES: Rules = Rules::CANONICAL;
    fn flags(_: u32) -> u64 {
        0
    }
    fn round(_: &[Cell<u64>]) -> Round {
        Round::Rne
    }
    fn rounding(_: u32) -> Option<Round> {
        Some(Round::Rne)
    }
}
