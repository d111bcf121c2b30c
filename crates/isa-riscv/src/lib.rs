//! RISC-V: decode, semantics and system state.
