//! Devices, one file each. A device returns actions and calls nobody (see `trine_base::Device`).
//!
//! * [`serial`]: NS16550A; [`intc`]: PLIC; [`timer`]: ACLINT; [`rtc`]: Goldfish; [`power`]: SiFive
//!   test finisher.
//! * [`virtio`]: the queue, the MMIO transport, block, console, entropy.

pub mod intc;
pub mod power;
pub mod rtc;
pub mod serial;
pub mod timer;
pub mod virtio;
