//! What a debugger asks of a vCPU, and what the vCPU tells it.

use std::collections::BTreeSet;

/// A range of memory whose accesses stop a vCPU. Accesses by devices and by firmware are not seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watchpoint {
    /// First virtual address.
    pub start: u64,
    /// Bytes; not 0.
    pub bytes: u64,
    /// Whether loads stop the vCPU.
    pub reads: bool,
    /// Whether stores and read-modify-writes do.
    pub writes: bool,
}

impl Watchpoint {
    /// The first watched address among `bytes` bytes at `address`, which are read or written.
    pub fn hit(&self, address: u64, bytes: u64, write: bool) -> Option<u64> {
        let kind = if write { self.writes } else { self.reads };
        let inside = address.wrapping_sub(self.start);
        let overlaps = inside < self.bytes || self.start.wrapping_sub(address) < bytes;
        (kind && overlaps).then_some(if inside < self.bytes { address } else { self.start })
    }

    /// Whether some of its bytes are in the page of 4 KiB around `address`.
    pub fn is_in_page(&self, address: u64) -> bool {
        let (page, first) = (address >> 12, self.start >> 12);
        let last = self.start.saturating_add(self.bytes.saturating_sub(1)) >> 12;
        (first..=last).contains(&page)
    }
}

/// Where a debugger wants vCPUs to stop.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Stops {
    /// Virtual addresses of instructions: a vCPU stops before each of them. Nothing need be mapped there.
    pub breakpoints: BTreeSet<u64>,
    /// Memory whose accesses stop a vCPU.
    pub watchpoints: Vec<Watchpoint>,
    /// Offsets in pages at which translated code must be left: those of all breakpoints, and of some earlier ones. A debugger
    /// removes its breakpoints whenever the guest stops, and sets them again: that should not cost the translations.
    pub cuts: BTreeSet<u16>,
}

/// The most offsets of breakpoints that are gone. A debugger that steps by breakpoints would cut ever more.
const MOST_OLD_CUTS: usize = 64;

impl Stops {
    /// Adds a breakpoint.
    pub fn add_breakpoint(&mut self, address: u64) {
        self.breakpoints.insert(address);
        let offset = |address: &u64| (address & 0xfff) as u16;
        self.cuts.insert(offset(&address));
        if self.cuts.len() > self.breakpoints.len() + MOST_OLD_CUTS {
            self.cuts = self.breakpoints.iter().map(offset).collect();
        }
    }

    /// Whether an access is watched: the watchpoint and the address.
    pub fn watched(&self, address: u64, bytes: u64, write: bool) -> Option<(Watchpoint, u64)> {
        self.watchpoints.iter().find_map(|w| Some((*w, w.hit(address, bytes, write)?)))
    }
}

/// Why a vCPU stopped for a debugger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DebugStop {
    /// It is at a breakpoint, before the instruction there.
    Breakpoint,
    /// The instruction before the PC accessed watched memory; or the one at the PC is about to, and nothing of it was done:
    /// on each CPU, what its debuggers expect.
    Watch {
        /// The watchpoint.
        point: Watchpoint,
        /// The first watched address that was accessed.
        address: u64,
    },
}

/// An entry of a vCPU's cache of address translations, of one page of 4 KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CachedPage {
    /// The translation regime, as the CPU numbers them.
    pub regime: usize,
    /// Virtual address.
    pub page: u64,
    /// Physical address.
    pub physical: u64,
    /// Loads allowed.
    pub read: bool,
    /// Stores allowed without a further look.
    pub write: bool,
    /// Code is fetched from it.
    pub execute: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITES: Watchpoint = Watchpoint { start: 0x1004, bytes: 4, reads: false, writes: true };

    #[test]
    fn watchpoints_see_what_overlaps() {
        for (address, bytes, seen) in [
            (0x1000, 4, None),
            (0x1000, 5, Some(0x1004)),
            (0x1004, 1, Some(0x1004)),
            (0x1007, 8, Some(0x1007)),
            (0x1008, 8, None),
            (u64::MAX, 8, None),
        ] {
            assert_eq!(WRITES.hit(address, bytes, true), seen, "{bytes} at {address:#x}");
            assert_eq!(WRITES.hit(address, bytes, false), None, "{bytes} at {address:#x}");
        }
        let crossing = Watchpoint { start: 0x1fff, bytes: 2, ..WRITES };
        assert_eq!(
            [0xfff, 0x1000, 0x2fff, 0x3000].map(|at| crossing.is_in_page(at)),
            [false, true, true, false]
        );
        let last = Watchpoint { start: u64::MAX, bytes: 8, ..WRITES };
        assert!(last.is_in_page(u64::MAX - 5) && !last.is_in_page(0));
    }

    #[test]
    fn cuts_outlive_their_breakpoints() {
        let mut stops = Stops::default();
        stops.add_breakpoint(0xffff_ffff_8000_1234);
        stops.breakpoints.clear();
        assert_eq!(stops.cuts, BTreeSet::from([0x234]));
        for step in 0..10_000 {
            stops.add_breakpoint(0x1000 + step * 2);
            stops.breakpoints = BTreeSet::from([0x1ffe]);
            assert!(stops.cuts.len() <= 2 + MOST_OLD_CUTS, "{step}");
        }
    }
}
