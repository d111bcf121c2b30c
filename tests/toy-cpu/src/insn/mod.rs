//! Bodies of the instructions, and the words they are written in.

pub mod control;
pub mod integer;
pub mod memory;
pub mod system;
pub mod vector;

use crate::isa::T16;
use crate::state::{self, cause, mode};
use trine_ir::{Res, Sem, V};

/// A register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct R(pub u8);

impl From<u8> for R {
    fn from(n: u8) -> R {
        R(n & 7)
    }
}

/// A vector register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VR(pub u8);

impl From<u8> for VR {
    fn from(n: u8) -> VR {
        VR(n & 3)
    }
}

/// What the CPU's bodies say on top of [`Sem`].
pub trait Toy: Sem<Isa = T16> {
    /// Reads a register.
    #[inline(always)]
    fn r(self, r: R) -> V<Self, u16> {
        self.get(state::R + r.0 as u16)
    }
    /// Writes a register.
    #[inline(always)]
    fn set_r(self, r: R, v: V<Self, u16>) {
        self.set(state::R + r.0 as u16, v);
    }
    /// Reads a vector register.
    #[inline(always)]
    fn v(self, r: VR) -> Self::Vec {
        self.get_vec(state::VR + 2 * r.0 as u16)
    }
    /// Writes a vector register.
    #[inline(always)]
    fn set_v(self, r: VR, v: Self::Vec) {
        self.set_vec(state::VR + 2 * r.0 as u16, v);
    }
    /// Reads a condition code.
    #[inline(always)]
    fn flag(self, slot: u16) -> V<Self, bool> {
        self.get(slot)
    }
    /// Writes N and Z for a result.
    #[inline(always)]
    fn set_nz(self, v: V<Self, u16>) {
        self.set(state::N, v.lt_s(0));
        self.set(state::Z, v.eq(0));
    }
    /// The linear address that a data address means.
    #[inline(always)]
    fn data(self, address: V<Self, u16>) -> V<Self, u64> {
        self.get::<u64>(state::DB) + address.zext()
    }
    /// Ends with a fault in user mode: the instruction is the system's.
    #[inline(always)]
    fn privileged(self) -> Res<Self> {
        if self.mode() & mode::USER != 0 { self.raise(cause::PRIVILEGE, self.k(0)) } else { Ok(()) }
    }
}

impl<S: Sem<Isa = T16>> Toy for S {}
