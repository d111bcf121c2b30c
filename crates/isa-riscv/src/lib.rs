//! RISC-V: decode, semantics and system state.

pub mod state;
