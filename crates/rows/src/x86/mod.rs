//! `x86_rows!`: tables of x86 instructions in Intel's notation.
//!
//! ```text
//! x86_rows! {
//!     /// Add.
//!     alu::add<T> {
//!         "00 /r" "add Eb, Gb" lock;
//!         "01 /r" "add Ev, Gv" lock;
//!         "83 /0" "add Ev, Ib" lock;
//!     }
//!     /// Add packed integers.
//!     packed::binary(VBin::Add, Lane::L8) {
//!         "66 0F FC /r" "paddb Vx, Wx" SSE2;
//!     }
//! }
//! ```
//!
//! A group is a doc comment, the body of its instructions, and its encodings, a row each: the opcode column of the manual,
//! the instruction with its operands, attributes. With `<T>` there is a body for each operand size; arguments in parentheses
//! are passed to the body behind the operands.
//!
//! The words of an encoding: a mandatory prefix (`NP`, `66`, `F3`, `F2`; without one the row takes any), `0F`, `0F 38` or
//! `0F 3A`, or `VEX.L.pp.map.W` in place of both; the opcode, with `+r` or `+cc` if its low bits are a register or a
//! condition; `/r` or `/0` to `/7`, `mem` or `reg` if only that form is meant, or a second byte that stands in ModRM's place
//! (`0F 01 D0`, `D8 C0+i`). Immediates follow from the operands.
//!
//! Operands have the codes of the manual's opcode maps (Intel SDM volume 2, A.2: `Ev`, `Gb`, `Iz`, `Jb`, `Vx`, `Wsd` …); `Z`
//! is the register in the opcode's low bits. Registers that are not encoded have their names, with `rAX` for the
//! accumulator in the operand size.

mod emit;
mod parse;
mod pattern;

pub use emit::items;
pub use parse::table;
