//! Tests of the RISC-V CPU against its manual, by three implementations: the interpreter, the compiler, and
//! an independent one (QEMU).
//!
//! * [`bare`]: small programs on a bare hart; [`machine`]: whole machines for them.
//! * [`random`]: the source of random numbers, the same for the same seed.
//! * [`program`]: random programs as static executables for Linux.
//! * [`user`]: the part of Linux that they need, over either engine.
//! * [`differential`]: the same program under QEMU and under both engines, compared.
//! * [`privileged`]: random programs for bare machines (modes, traps, page tables, fences, CSRs), under
//!   QEMU's machine and
//!   both engines.
//! * [`lines`]: one instruction a line, state before and after.
//! * `x86`: random x86 instructions against the host's own CPU.

pub mod bare;
pub mod differential;
pub mod lines;
pub mod machine;
pub mod privileged;
pub mod program;
pub mod random;
pub mod user;
#[cfg(target_arch = "x86_64")]
pub mod x86;
