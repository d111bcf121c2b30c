//! Vectors of eight lanes of 16 bits. Lane 0 is the one at the lowest address in memory, and the lowest one of the value.

use super::{R, Toy, VR};
use trine_ir::memop::Hints;
use trine_ir::vector::{Lane, VBin, Vop};
use trine_ir::{Res, V};

/// A constant, from its lower and its upper half.
fn constant<S: Toy>(s: S, low: u64, high: u64) -> S::Vec {
    let [low, high] = [low, high].map(|half| s.to_vec(s.k::<u64>(half as i64).raw));
    s.vector(Vop::Bin(VBin::Low, Lane::L64), [low, high, high])
}

/// The lanes with their bytes exchanged: memory is big-endian, and an access of 16 bytes is not.
fn swapped<S: Toy>(s: S, v: S::Vec) -> S::Vec {
    let order = constant(s, 0x0607_0405_0203_0001, 0x0e0f_0c0d_0a0b_0809);
    s.vector(Vop::Permute, [v, order, order])
}

/// Load a vector.
pub fn ldv<S: Toy>(s: S, vd: VR, rs: R) -> Res<S> {
    let v = s.load_vec(Hints::default(), s.data(s.r(rs)).raw)?;
    s.set_v(vd, swapped(s, v));
    Ok(())
}

/// Store a vector.
pub fn stv<S: Toy>(s: S, vd: VR, rs: R) -> Res<S> {
    s.store_vec(Hints::default(), s.data(s.r(rs)).raw, swapped(s, s.v(vd)))
}

macro_rules! lanes {
    ($($(#[$doc:meta])* $name:ident $op:ident $lane:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name<S: Toy>(s: S, vd: VR, va: VR, vb: VR) -> Res<S> {
            let (a, b) = (s.v(va), s.v(vb));
            s.set_v(vd, s.vector(Vop::Bin(VBin::$op, Lane::$lane), [a, b, b]));
            Ok(())
        }
    )*};
}
lanes! {
    /// Add lanes.
    vadd Add L16;
    /// Multiply lanes.
    vmul Mul L16;
    /// Bitwise exclusive or.
    vxor Xor L64;
    /// Compare lanes.
    vgt GtS L16;
}

/// A register in every lane.
pub fn vdup<S: Toy>(s: S, vd: VR, rs: R) -> Res<S> {
    let v = s.to_vec(s.r(rs).zext::<u64>().raw);
    let first = constant(s, 0x0100_0100_0100_0100, 0x0100_0100_0100_0100);
    s.set_v(vd, s.vector(Vop::Permute, [v, first, first]));
    Ok(())
}

/// A lane to a register.
pub fn vext<S: Toy>(s: S, rd: R, va: VR, lane: u8) -> Res<S> {
    let v = s.extract_lane(Lane::L16, lane & 7, s.v(va));
    s.set_r(rd, V::new(s, v));
    Ok(())
}
