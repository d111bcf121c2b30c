//! x86: 64-bit mode and 32-bit protected mode, as programs see them.
//!
//! * [`state`]: the slots that make up a CPU, and what translations depend on. * [`table`]: every instruction, in Intel's
//!   notation (`trine_rows::x86_rows`). * [`row`]: what a row says. * [`decode`]: prefixes, ModRM, immediates.
//! * [`operands`]: a decoded instruction; [`disasm`]: as text. * [`insn`]: the bodies, one file for each group. * [`flags`]: the condition flags,
//!   which are kept as the operation and the operands that they come from. * [`cpu`]: models and their features.
//! * [`isa`]: what an engine asks of the CPU.
//!
//! "SDM" is Intel's *64 and IA-32 Architectures Software Developer's Manual*, by volume and section.

pub mod cpu;
pub mod decode;
pub mod disasm;
pub mod flags;
pub mod insn;
pub mod isa;
pub mod operands;
pub mod row;
pub mod state;
pub mod table;

pub use isa::{Config, X64};
