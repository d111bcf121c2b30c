//! Boards: what a machine is made of, how it boots, how its vCPUs run.
//!
//! * [`virt`]: the RISC-V board `virt`; [`fdt`]: its device tree; [`sbi`]: its firmware.
//! * [`boot`]: what a machine starts with. [`load`]: kernels and ELF files into guest memory.
//! * [`first`]: the first process of a machine whose root is an image.
//! * [`htif`]: how bare-metal suites report; [`host`]: what a machine gets from its host: console, disks, clock.

pub mod boot;
pub mod error;
pub mod fdt;
pub mod first;
pub mod host;
pub mod htif;
pub mod load;
pub mod sbi;
pub mod virt;

pub use error::MachineError;
pub use host::Console;
pub use virt::{Board, Config, End};
