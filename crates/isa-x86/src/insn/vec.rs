//! Vector registers and operands: what the bodies of MMX, SSE and AVX are written with.

use super::X86;
use crate::operands::{Arg, Operands};
use crate::state::{X87, XMM, YMM_HIGH};
use trine_ir::{Hints, Lane, Res, V, VBin, Vop};

/// A half of a vector of 256 bits; vectors of 128 bits have the lower one only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// Bits 0 to 127.
    Low,
    /// Bits 128 to 255.
    High,
}

impl Half {
    /// The slot of this half of a register.
    #[inline(always)]
    fn slot(self, number: u8) -> u16 {
        let first = if self == Half::Low { XMM } else { YMM_HIGH };
        first + 2 * (number & 15) as u16
    }
}

/// What bodies of vector instructions use on top of [`X86`].
pub trait Vector: X86 {
    /// Half a register.
    #[inline(always)]
    fn half(self, half: Half, number: u8) -> Self::Vec {
        self.get_vec(half.slot(number))
    }

    /// A vector register's lower 128 bits.
    #[inline(always)]
    fn xmm(self, number: u8) -> Self::Vec {
        self.half(Half::Low, number)
    }

    /// Writes the lower 128 bits of a register. With VEX, those above become zero.
    #[inline(always)]
    fn set_xmm(self, o: &Operands, number: u8, v: Self::Vec) {
        self.set_vec(Half::Low.slot(number), v);
        if o.vex {
            self.set_vec(Half::High.slot(number), self.zero());
        }
    }

    /// Zeros.
    #[inline(always)]
    fn zero(self) -> Self::Vec {
        self.to_vec(self.constant(64, 0))
    }

    /// The number of a register operand.
    #[inline(always)]
    fn number(self, o: &Operands, n: usize) -> u8 {
        match o.args[n] {
            Arg::Reg(number) => number,
            _ => 0,
        }
    }

    /// An operand of 16 bytes. In memory, it must be aligned unless `any` alignment or VEX allows the opposite.
    #[inline(always)]
    fn source(self, o: &Operands, n: usize, any: bool) -> Res<Self, Self::Vec> {
        match o.args[n] {
            Arg::Mem => self.load_vec(self.vector_hints(o, any || o.vex), self.address(o).raw),
            _ => Ok(self.xmm(self.number(o, n))),
        }
    }

    /// How a vector in memory is accessed. One that is not aligned is a general-protection fault whatever its segment.
    #[inline(always)]
    fn vector_hints(self, o: &Operands, any: bool) -> Hints {
        if any { self.access::<u64>(o).hints } else { Hints { aligned: true, ..Hints::NONE } }
    }

    /// The lowest `T` of an operand, in a vector whose other lanes are zero if it is in memory.
    #[inline(always)]
    fn scalar_source<T: trine_ir::Int>(self, o: &Operands, n: usize) -> Res<Self, Self::Vec> {
        match o.args[n] {
            Arg::Mem => Ok(self.to_vec(self.load_mem::<T>(o)?.zext::<u64>().raw)),
            _ => Ok(self.xmm(self.number(o, n))),
        }
    }

    /// An MMX register in the lower half of a vector.
    #[inline(always)]
    fn mmx(self, number: u8) -> Self::Vec {
        self.to_vec(self.get_raw(X87 + 2 * (number & 7) as u16))
    }

    /// An MMX operand in the lower half of a vector.
    #[inline(always)]
    fn mmx_source(self, o: &Operands, n: usize) -> Res<Self, Self::Vec> {
        match o.args[n] {
            Arg::Mem => Ok(self.to_vec(self.load_mem::<u64>(o)?.raw)),
            _ => Ok(self.mmx(self.number(o, n))),
        }
    }

    /// A lane as an integer of its width.
    #[inline(always)]
    fn lane<T: trine_ir::Int>(self, lane: Lane, n: u8, v: Self::Vec) -> V<Self, T> {
        let raw: V<Self, u64> = V::new(self, self.extract_lane(lane, n, v));
        raw.low()
    }

    /// The vector with a lane replaced.
    #[inline(always)]
    fn with_lane<T: trine_ir::Int>(self, lane: Lane, n: u8, v: Self::Vec, x: V<Self, T>) -> Self::Vec {
        self.insert_lane(lane, n, v, x.zext::<u64>().raw)
    }

    /// An operation of two vectors.
    #[inline(always)]
    fn vop2(self, op: Vop, a: Self::Vec, b: Self::Vec) -> Self::Vec {
        self.vector(op, [a, b, b])
    }

    /// An operation of one vector.
    #[inline(always)]
    fn vop1(self, op: Vop, a: Self::Vec) -> Self::Vec {
        self.vector(op, [a, a, a])
    }

    /// A bitwise operation of two vectors.
    #[inline(always)]
    fn bitwise(self, op: VBin, a: Self::Vec, b: Self::Vec) -> Self::Vec {
        self.vop2(Vop::Bin(op, Lane::L64), a, b)
    }

    /// The lower lanes of 64 bits of two vectors in one.
    #[inline(always)]
    fn join(self, low: Self::Vec, high: Self::Vec) -> Self::Vec {
        self.bitwise(VBin::Low, low, high)
    }

    /// A constant from its halves.
    #[inline(always)]
    fn vector_constant(self, low: u64, high: u64) -> Self::Vec {
        let half = |v| self.to_vec(self.constant(64, v));
        self.join(half(low), half(high))
    }
}

impl<S: X86> Vector for S {}
