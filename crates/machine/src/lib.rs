//! Boards: what a machine is made of, how it boots, how its vCPUs run.
//!
//! * [`board`]: vCPUs, memory, devices and firmware, and what makes them run; [`firmware`]: what serves the guest's calls.
//! * [`boards`]: the table of boards; [`virt`]: the RISC-V board `virt`, and the first process of a machine of it whose root is an image.
//! * [`config`]: what a machine is made of; [`disk`], [`flash`], [`share`]: its disks, its flash memory, and its folders of the host; [`boot`]: what it starts with; [`load`]: ELF files into its memory.
//! * [`debug`]: gdb at a machine; [`trace`]: what it executes, in a file; [`snapshot`]: machines in files.
//! * [`host`]: what a machine gets from its host.

pub mod board;
pub mod boards;
pub mod boot;
pub mod config;
pub mod debug;
pub mod disk;
pub mod error;
pub mod firmware;
pub mod flash;
pub mod host;
pub mod load;
pub mod share;
pub mod snapshot;
pub mod trace;
pub mod virt;

/// The CPUs that boards have.
pub const CPUS: &[trine_base::elf::Cpu] = &[virt::kernel::CPU];

pub use board::{Board, Remote};
pub use config::{Config, End, NetDevice, TimeSource, VsockDevice};
pub use disk::{Disk, DiskStatus};
pub use error::MachineError;
pub use flash::{FlashAccess, FlashBank};
pub use host::Console;
pub use share::Share;
pub use trine_devices::virtio::balloon::{BALLOON_PAGE_BITS, BalloonControl};
pub use trine_devices::virtio::console::TerminalSize;
