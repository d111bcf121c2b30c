//! Devices, one file each. A device returns actions and calls nobody (see `trine_base::Device`).
//!
//! * [`serial`]: NS16550A; [`intc`]: PLIC; [`timer`]: ACLINT; [`rtc`]: Goldfish; [`power`]: SiFive
//!   test finisher; [`flash`]: NOR flash.
//! * [`virtio`]: the queue, the transports, block, console, entropy.
//! * [`pci`]: the bus, configuration space, MSI-X, the host bridge.

pub mod flash;
pub mod intc;
pub mod pci;
pub mod power;
pub mod rtc;
pub mod serial;
pub mod timer;
pub mod virtio;
