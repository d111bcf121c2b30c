//! IEEE 754 binary32 and binary64 in integer arithmetic, bit-exact, with RISC-V's choices.
//!
//! Values travel as bits in a `u64` (the low half for binary32). Every NaN result is the canonical
//! quiet NaN; tininess is detected after rounding; conversions to integers saturate and give the
//! largest number for NaN (RISC-V unprivileged manual, chapters 20 and 21; IEEE 754-2019).
//!
//! * [`format`](mod@format): taking numbers apart, rounding them and putting them together.
//! * [`arith`]: sum, product, quotient, square root, fused multiply-add.
//! * [`compare`]: comparisons, minimum and maximum, classes.
//! * [`convert`](mod@convert): between formats and from and to integers.

pub mod arith;
pub mod compare;
pub mod convert;
pub mod format;

pub use arith::{add, div, fma, mul, sqrt, sub};
pub use compare::{class, eq, le, lt, max, min};
pub use convert::{IntKind, convert, from_int, to_int};
pub use format::{Env, F32, F64, Format, Round};

/// Flag: inexact.
pub const NX: u8 = 1;
/// Flag: underflow.
pub const UF: u8 = 2;
/// Flag: overflow.
pub const OF: u8 = 4;
/// Flag: division by zero.
pub const DZ: u8 = 8;
/// Flag: invalid operation.
pub const NV: u8 = 16;
