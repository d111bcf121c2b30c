//! The function that stands for the host bridge on its own bus. It does nothing, but guests expect it at the first
//! place.

use super::{ConfigSpace, Identity, Place};
use trine_base::state::Versioned;
use trine_base::{Actions, Device, StateError, Width, state, versions};

/// The IDs of QEMU's generic host bridge, as guests know it: it has no registers of its own.
const IDENTITY: Identity = Identity {
    vendor: 0x1b36,
    device: 0x0008,
    revision: 0,
    class: 0x06_0000,
    subsystem: (0x1af4, 0x1100),
    interrupt: false,
};

versions!(Saved of "the PCI host bridge" { V1(Vec<u8>) });

/// The function.
pub struct HostBridge(ConfigSpace);

impl HostBridge {
    /// Creates the function.
    pub fn new() -> HostBridge {
        HostBridge(ConfigSpace::new(IDENTITY))
    }
}

impl Default for HostBridge {
    fn default() -> HostBridge {
        HostBridge::new()
    }
}

impl Device for HostBridge {
    fn name(&self) -> &str {
        "pci-host"
    }

    fn read(&mut self, offset: u64, width: Width, _now: u64, _out: &mut Actions) -> u64 {
        match Place::of(offset) {
            Place::Config(offset) => self.0.read(offset, width),
            Place::Bar(..) => 0,
        }
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, _now: u64, _out: &mut Actions) {
        if let Place::Config(offset) = Place::of(offset) {
            self.0.write(offset, width, value);
        }
    }

    fn reset(&mut self, _out: &mut Actions) {
        self.0.reset();
    }

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(self.0.save()))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(config) = state::load(state)?;
        self.0.load(&config).map_err(Saved::damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::bar_offset;

    #[test]
    fn it_is_a_host_bridge() {
        let (mut host, mut out) = (HostBridge::new(), Actions::new());
        assert_eq!(host.read(0, Width::B4, 0, &mut out), 0x0008_1b36);
        assert_eq!(host.read(8, Width::B4, 0, &mut out), 0x0600_0000);
        assert_eq!(host.read(0x3d, Width::B1, 0, &mut out), 0, "no interrupts");
    }

    #[test]
    fn anything_a_guest_may_do() {
        let (mut host, mut out) = (HostBridge::new(), Actions::new());
        for offset in (0..0x1000).chain([bar_offset(0), bar_offset(5), u64::MAX - 7]) {
            host.write(offset, Width::B8, !0, 0, &mut out);
            host.read(offset, Width::B8, 0, &mut out);
        }
        assert!(out.is_empty());
        assert_eq!(host.read(4, Width::B2, 0, &mut out), 0x546);
        host.reset(&mut out);
        assert_eq!(host.read(4, Width::B2, 0, &mut out), 0);
    }
}
