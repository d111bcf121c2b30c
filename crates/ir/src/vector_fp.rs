//! Floating point in the lanes of vectors: operations of numbers, lane by lane.
//!
//! Each lane has the result and raises the flags that the operation has alone, under the same rules and rounding. The flags
//! of all lanes are one set, so the order of the lanes cannot be seen.

use crate::op::{Fmt, Fp, IntTy};
use crate::vector::{Lane, extract, insert};

/// Which lanes an operation works on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Lanes {
    /// All that both source and result have, from the lowest on; what is above them in the result is zero.
    All,
    /// The lowest one. All other bits are those of the first operand, which is also the operation's, where that has two. An
    /// operation of one number takes it from the second.
    First,
}

/// An operation of numbers on lanes. Comparisons give all ones or zero. It raises flags: it never dies, merges or moves across
/// what reads or sets the environment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct VFp {
    /// What is done with each lane.
    pub op: Fp,
    /// With which.
    pub lanes: Lanes,
}

fn lane_of(fmt: Fmt) -> Lane {
    match fmt {
        Fmt::S => Lane::L32,
        Fmt::D => Lane::L64,
    }
}

impl VFp {
    /// Whether there is such an operation: those that hosts have.
    pub const fn exists(self) -> bool {
        match self.op {
            Fp::Add(_) | Fp::Sub(_) | Fp::Mul(_) | Fp::Div(_) | Fp::Sqrt(_) | Fp::Min(_) | Fp::Max(_) => true,
            Fp::Convert(_) => true,
            op if op.compares().is_some() => true,
            Fp::ToInt(_, IntTy::I32) | Fp::FromInt(IntTy::I32, _) => matches!(self.lanes, Lanes::All),
            _ => false,
        }
    }

    /// Whether the operation is one of two numbers.
    pub const fn is_binary(self) -> bool {
        !matches!(self.op, Fp::Sqrt(_) | Fp::Convert(_) | Fp::ToInt(..) | Fp::FromInt(..))
    }

    /// Number of vectors that it takes.
    pub const fn operands(self) -> usize {
        if self.is_binary() || matches!(self.lanes, Lanes::First) { 2 } else { 1 }
    }

    /// The lanes that it reads, and those that it makes.
    pub fn formats(self) -> (Lane, Lane) {
        match self.op {
            Fp::Convert(Fmt::S) => (Lane::L32, Lane::L64),
            Fp::Convert(Fmt::D) => (Lane::L64, Lane::L32),
            Fp::ToInt(fmt, _) => (lane_of(fmt), Lane::L32),
            Fp::FromInt(_, fmt) => (Lane::L32, lane_of(fmt)),
            Fp::Add(fmt) | Fp::Sub(fmt) | Fp::Mul(fmt) | Fp::Div(fmt) | Fp::Sqrt(fmt) => {
                (lane_of(fmt), lane_of(fmt))
            }
            Fp::Min(fmt) | Fp::Max(fmt) => (lane_of(fmt), lane_of(fmt)),
            // There are no others but comparisons.
            op => op.compares().map_or((Lane::L64, Lane::L64), |fmt| (lane_of(fmt), lane_of(fmt))),
        }
    }

    /// What the operation makes, where `one` does its operation with one lane's numbers.
    pub fn perform(self, [a, b]: [u128; 2], mut one: impl FnMut([u64; 3]) -> u64) -> u128 {
        let (from, to) = self.formats();
        let compares = self.op.compares().is_some();
        let mut lane = |n: u32, a: u128, b: u128| {
            let (x, y) = (extract(from, n, a), extract(from, n, b));
            let made = one([x, y, y]);
            if compares { made.wrapping_neg() } else { made }
        };
        match self.lanes {
            Lanes::First => insert(to, 0, a, lane(0, if self.is_binary() { a } else { b }, b)),
            Lanes::All => (0..from.count().min(to.count())).fold(0, |v, n| insert(to, n, v, lane(n, a, b))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vector of four lanes of 32 bits, the lowest first.
    fn words(lanes: [u32; 4]) -> u128 {
        lanes.into_iter().rev().fold(0, |v, x| v << 32 | u128::from(x))
    }

    #[test]
    fn lanes_and_what_is_above_them() {
        let (a, b) = (words([1, 2, 3, 4]), words([10, 20, 30, 40]));
        let all = VFp { op: Fp::Add(Fmt::S), lanes: Lanes::All };
        assert_eq!(all.perform([a, b], |[x, y, _]| x + y), words([11, 22, 33, 44]));
        let first = VFp { lanes: Lanes::First, ..all };
        assert_eq!(first.perform([a, b], |[x, y, _]| x + y), words([11, 2, 3, 4]));
        let root = VFp { op: Fp::Sqrt(Fmt::S), lanes: Lanes::First };
        assert_eq!(root.perform([a, b], |[x, ..]| x + 1), words([11, 2, 3, 4]));
        let narrow = VFp { op: Fp::Convert(Fmt::D), lanes: Lanes::All };
        assert_eq!(narrow.perform([a, 0], |[x, ..]| x >> 32), words([2, 4, 0, 0]));
        let wide = VFp { op: Fp::FromInt(IntTy::I32, Fmt::D), lanes: Lanes::All };
        assert_eq!(wide.perform([a, 0], |[x, ..]| x << 32), words([0, 1, 0, 2]));
        let equal = VFp { op: Fp::Eq(Fmt::D), lanes: Lanes::All };
        assert_eq!(
            equal.perform([a, words([1, 2, 0, 0])], |[x, y, _]| (x == y) as u64),
            words([!0, !0, 0, 0])
        );
    }
}
