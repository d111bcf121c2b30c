//! RISC-V: decode, semantics and system state.
//!
//! * [`table`]: every instruction, one row each; [`insn`]: their bodies, one file a group.
//! * [`state`]: the slots that make up a hart, and the translation mode.
//! * [`sys`]: CSRs, traps, page walks, physical memory protection.
//! * [`asm`]: one-line assembler and disassembler over the table.
//! * [`helpers`]: which rows are helpers. [`debug`]: the registers that debuggers see.
//!
//! Sources: *The RISC-V Instruction Set Manual, Volume I: Unprivileged Architecture* and *Volume
//! II: Privileged Architecture*, both version 20240411 and later ratified extensions, called
//! "unpriv" and "priv" in the comments.

pub mod asm;
pub mod debug;
pub mod extensions;
pub mod helpers;
pub mod insn;
pub mod isa;
pub mod state;
pub mod sys;
pub mod table;

pub use isa::{Config, Rv32, Rv64, Start};
