//! IEEE 754 binary32 and binary64 in integer arithmetic, with a CPU's choices: results and flags are
//! bit-exact.
//!
//! * [`mod@env`]: rounding directions and exception flags.
//! * [`mod@format`]: the two formats and their parts; [`mod@round`]: rounding and packing.
//! * [`mod@arith`]: add, subtract, multiply; [`mod@div`]: divide and square root; [`mod@fma`]: fused.
//! * [`mod@compare`]: comparisons, minimum, maximum; [`mod@convert`]: between formats and integers.
//!
//! A value is passed as a `u64`; binary32 uses the low half, and the upper half is ignored in operands and
//! zero in results. Where IEEE 754-2019 allows several behaviours, [`Rules`] select one; [`Rules::CANONICAL`]
//! are those of the RISC-V unprivileged manual (chapters 20 "F" and 21 "D"). [`UF`] is raised only for
//! inexact results.
//!
//! No function panics, whatever its operands.

pub mod arith;
pub mod compare;
pub mod convert;
pub mod div;
pub mod env;
pub mod fma;
pub mod format;
pub mod round;

pub use arith::{add, mul, sub};
pub use compare::{eq, le, le_quiet, lt, lt_quiet, max, min, unordered};
pub use convert::{IntKind, convert, from_int, to_int};
pub use div::{div, sqrt};
pub use env::{
    DE, DZ, Denormals, Env, Extremes, NV, NX, NanRule, OF, OutOfRange, Round, Rules, Tininess, Traps, UF,
};
pub use fma::fma;
pub use format::{F32, F64, Format};
