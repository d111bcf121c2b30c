//! Instruction semantics (`Sem`), the `Isa` trait and the intermediate representation.
//!
//! * [`sem`]: what an instruction's body is written against; an engine implements [`Sem`].
//! * [`isa`]: what an engine knows of a CPU ([`Isa`]) and a CPU of the engine ([`Hart`]).
//! * [`rows`]: what the `rows!` macro's tables are made of; disassembler and assembler over them.
//! * [`fp`]: a CPU's floating-point environment.
//! * [`memop`]: how memory is accessed.
//! * [`op`]: the operations, and [`eval`]: their meaning on plain numbers.
//! * [`vector`]: operations of vectors, and their meaning; [`vector_mix`]: those that mix lanes;
//!   [`vector_fp`]: those of numbers in lanes.
//! * [`inst`], [`builder`], [`verify`], [`text`]: the IR, what emits it, checks it, prints it; [`parse`] reads it again.
//! * [`replay`]: a block of IR performed by an engine, for tests.

pub mod builder;
pub mod eval;
mod forward;
pub mod fp;
pub mod inst;
pub mod isa;
pub mod memop;
mod names;
pub mod op;
pub mod parse;
pub mod replay;
pub mod rows;
pub mod sem;
pub mod text;
pub mod vector;
pub mod vector_fp;
pub mod vector_mix;
pub mod verify;

pub use builder::{Builder, Room};
pub use fp::{FpRules, NoFp};
pub use inst::{Block, Inst, Val};
pub use isa::{
    Access, Bytes, CodeSpace, Count, DecodeError, Decoded, Flush, Hart, Helper, Isa, Leave, Mapping, Regimes,
    SlotSet, Trap,
};
pub use memop::{Hints, MemOp, Order};
pub use op::{Bin, Carry, Cmp, Extra, Flow, Fmt, Fp, IntTy, Rmw, Round, Rounding, Sign, Signed, Un};
pub use rows::{Operands, Row, RowInfo};
pub use sem::{Float, Int, Res, Sem, V};
pub use vector::{Lane, VBin, VShift, Vop};
pub use vector_fp::{Lanes, VFp};
pub use vector_mix::VMix;
