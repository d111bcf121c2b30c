//! T16, an invented CPU. It has what RISC-V lacks, so that no engine can depend on RISC-V unnoticed:
//!
//! * big-endian memory and instructions of two and four bytes;
//! * eight registers of 16 bits and four condition codes, which nearly every instruction writes;
//! * code and data each at a base of its own, with a program counter of 16 bits;
//! * four vector registers of 128 bits;
//! * traps that report the next instruction, faults that report their own, and a bus whose empty addresses read as ones;
//! * system and user mode, the latter through a table of pages.
//!
//! It is also the shortest complete example of a CPU: `docs/add-a-cpu.md` explains these files.
//!
//! * [`state`]: the slots that make up the CPU. * [`table`]: every instruction, a row each. * [`insn`]: their bodies.
//! * [`isa`]: what an engine asks of it. * [`asm`]: programs from text. * [`machine`]: a CPU with memory, for tests.

pub mod asm;
pub mod insn;
pub mod isa;
pub mod machine;
pub mod state;
pub mod table;

pub use isa::T16;
