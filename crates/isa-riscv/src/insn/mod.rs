//! Bodies of the instructions, one file for each group, and the functions that they are written with.

pub mod a;
pub mod fp;
pub mod i;
pub mod m;
pub mod system;
pub mod zb;

use crate::isa::{Xlen, dirty_fs};
use crate::state::{self, mode};
use crate::sys::trap;
use trine_ir::{Float, Int, Res, Round, Rounding, Sem, V};

/// An integer register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct X(pub u8);
/// A floating-point register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct F(pub u8);

impl From<u8> for X {
    #[inline(always)]
    fn from(n: u8) -> X {
        X(n & 31)
    }
}
impl From<u8> for F {
    #[inline(always)]
    fn from(n: u8) -> F {
        F(n & 31)
    }
}

/// What RISC-V bodies use on top of [`Sem`]. `Self::W` is the unsigned integer of XLEN bits.
pub trait Rv: Sem<Isa: Xlen> {
    /// The unsigned integer of XLEN bits.
    type W: Int;

    /// Reads an integer register.
    #[inline(always)]
    fn x(self, r: X) -> V<Self, Self::W> {
        if Self::EMITS && r.0 == 0 { self.k(0) } else { self.get(state::X + r.0 as u16) }
    }
    /// Writes an integer register; writes to `x0` are ignored.
    #[inline(always)]
    fn set_x(self, r: X, v: V<Self, Self::W>) {
        if r.0 != 0 {
            self.set(state::X + r.0 as u16, v);
        }
    }
    /// The low 32 bits of an integer register.
    #[inline(always)]
    fn w(self, r: X) -> V<Self, u32> {
        self.x(r).low()
    }
    /// Writes an integer register with 32 bits, sign-extended.
    #[inline(always)]
    fn set_w(self, r: X, v: V<Self, u32>) {
        self.set_x(r, v.sext());
    }
    /// Base register plus displacement.
    #[inline(always)]
    fn address(self, base: X, displacement: i64) -> V<Self, u64> {
        (self.x(base) + displacement).zext()
    }
    /// The instruction's bytes as a little-endian number, for handlers of illegal instructions.
    #[inline(always)]
    fn encoding(self) -> u32 {
        self.operands().word
    }
    /// Ends with an illegal-instruction exception.
    #[inline(always)]
    fn illegal(self) -> Res<Self> {
        self.raise(trap::ILLEGAL_INSTRUCTION, self.k(self.encoding() as i64))
    }
    /// Ends with an illegal-instruction exception if floating point is off.
    #[inline(always)]
    fn need_fp(self) -> Res<Self> {
        if mode::fp_off(self.mode()) { self.illegal() } else { Ok(()) }
    }
    /// The rounding direction of an `rm` field; an exception if it is reserved.
    #[inline(always)]
    fn rounding(self, rm: u8) -> Res<Self, Rounding> {
        let named = if rm == 7 && !mode::frm_invalid(self.mode()) {
            Some(Rounding::Dynamic)
        } else {
            Round::from_number(rm).map(Rounding::Static)
        };
        match named {
            Some(rounding) => Ok(rounding),
            None => self.illegal().map(|()| Rounding::Dynamic),
        }
    }
    /// Reads a floating-point register as `T`.
    #[inline(always)]
    fn f<T: Boxed>(self, r: F) -> V<Self, T> {
        T::unboxed(V::new(self, self.get_fp(state::F + r.0 as u16)))
    }
    /// Writes a floating-point register.
    #[inline(always)]
    fn set_f<T: Boxed>(self, r: F, v: V<Self, T>) {
        self.set_fp(state::F + r.0 as u16, v.boxed().raw);
        self.touch_fp();
    }
    /// Marks floating-point state dirty.
    #[inline(always)]
    fn touch_fp(self) {
        if !mode::fp_dirty(self.mode()) {
            let status = self.get::<u64>(state::MSTATUS);
            self.set(state::MSTATUS, status | dirty_fs(0) as i64);
        }
    }
}

impl<S: Sem<Isa: Xlen>> Rv for S {
    type W = <S::Isa as Xlen>::W;
}

/// A floating-point type as stored in a 64-bit register (unpriv 21.2).
pub trait Boxed: Float {
    /// The value in a register; the canonical NaN if the box is not valid.
    fn unboxed<S: Sem>(v: V<S, f64>) -> V<S, Self>;
    /// The register for a value.
    fn boxed<S: Sem>(v: V<S, Self>) -> V<S, f64>;
}
impl Boxed for f64 {
    #[inline(always)]
    fn unboxed<S: Sem>(v: V<S, f64>) -> V<S, f64> {
        v
    }
    #[inline(always)]
    fn boxed<S: Sem>(v: V<S, f64>) -> V<S, f64> {
        v
    }
}
impl Boxed for f32 {
    #[inline(always)]
    fn unboxed<S: Sem>(v: V<S, f64>) -> V<S, f32> {
        let boxed = v.bits().sar(32).eq(-1);
        let nan: V<S, u32> = v.sem.k(0x7fc0_0000);
        v.sem.select_float(boxed, v.low_half(), nan.as_float())
    }
    #[inline(always)]
    fn boxed<S: Sem>(v: V<S, f32>) -> V<S, f64> {
        let ones: V<S, u64> = v.sem.k(-1 << 32);
        ones.as_float::<f64>().with_low_half(v)
    }
}

trait IntoBoxed<S: Sem> {
    fn boxed(self) -> V<S, f64>;
}
impl<S: Sem, T: Boxed> IntoBoxed<S> for V<S, T> {
    #[inline(always)]
    fn boxed(self) -> V<S, f64> {
        T::boxed(self)
    }
}
