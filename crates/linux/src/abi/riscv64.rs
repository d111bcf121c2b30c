//! riscv64 (RISC-V ELF psABI; Linux, arch/riscv).

use super::numbering::numbers;
use super::{Machine, Numbering, generic};

static CALLS: Numbering =
    Numbering::new(&[generic::NUMBERS, numbers! { 258 => riscv_hwprobe riscv_flush_icache; }]);

/// As system calls and files of `/proc` show it.
pub static MACHINE: Machine = Machine { name: "riscv64", calls: &CALLS };
