//! The address windows of devices, and the search for the device that answers at an address.

use crate::Width;
use std::fmt;

/// One of the address spaces of a [`crate::Bus`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// Physical memory, with 64-bit addresses.
    Memory,
    /// I/O ports, with 16-bit addresses, for CPUs that have instructions for them.
    Ports,
}

impl Space {
    /// The highest address.
    const fn last(self) -> u64 {
        match self {
            Space::Memory => u64::MAX,
            Space::Ports => 0xffff,
        }
    }
}

/// The first and the last address of a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// First address.
    pub first: u64,
    /// Last address; it belongs to the window.
    pub last: u64,
}

impl Range {
    /// `size` addresses from `base` on; `None` if there are none, or some are not in this address space.
    pub(super) fn new(space: Space, base: u64, size: u64) -> Option<Range> {
        let last = size.checked_sub(1).and_then(|most| base.checked_add(most));
        last.filter(|&last| last <= space.last()).map(|last| Range { first: base, last })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x}", self.first, self.last)
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Space::Memory => "memory",
            Space::Ports => "ports",
        })
    }
}

/// Why a device cannot be put on a bus, or a range not be reserved.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WindowError {
    /// The window is empty, or reaches past the highest address.
    #[error("'{name}' cannot have {size:#x} bytes of {space} at {base:#x}: no such range of addresses")]
    Outside {
        /// Name of the device, or of what the range is reserved for.
        name: String,
        /// The address space.
        space: Space,
        /// First address of the window.
        base: u64,
        /// Bytes of the window.
        size: u64,
    },
    /// Some of the addresses are another device's, or reserved.
    #[error("'{name}' at {space} {range} overlaps '{other}' at {taken}")]
    Overlap {
        /// Name of the device that was to be added, or of what the range was to be reserved for.
        name: String,
        /// The address space.
        space: Space,
        /// Its window.
        range: Range,
        /// Name of what is there already.
        other: String,
        /// Its window.
        taken: Range,
    },
    /// A device for a vCPU that is not on the bus.
    #[error("'{name}' cannot belong to vCPU {vcpu}: the machine has no such vCPU")]
    NoVcpu {
        /// Name of the device.
        name: String,
        /// Number of the vCPU.
        vcpu: usize,
    },
}

/// Whose a window is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// The device of this number.
    Device(usize),
    /// The device of this number, which only this vCPU sees.
    Local { vcpu: usize, device: usize },
    /// The router of this number, which finds the device for each access.
    Router { router: usize, name: &'static str },
    /// What is not a device, such as memory, which answers before the bus is asked.
    Reserved(&'static str),
}

/// What is on a bus, and its windows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BusDevice {
    /// Its name.
    pub name: String,
    /// Its windows.
    pub windows: Vec<(Space, Range)>,
}

#[derive(Clone, Copy)]
struct Window {
    range: Range,
    owner: Owner,
}

/// Disjoint windows of one address space.
#[derive(Default)]
pub(super) struct Windows {
    /// Disjoint, and sorted by address: a board has few windows, and a search of a sorted list touches fewer
    /// cache lines than one of a tree.
    sorted: Vec<Window>,
}

impl Windows {
    /// All windows, by their addresses.
    pub fn all(&self) -> impl Iterator<Item = (Range, Owner)> {
        self.sorted.iter().map(|window| (window.range, window.owner))
    }

    /// The window that has some of these addresses, and whose it is.
    pub fn overlap(&self, range: Range) -> Option<(Range, Owner)> {
        let at = self.sorted.partition_point(|w| w.range.last < range.first);
        let next = self.sorted.get(at).filter(|next| next.range.first <= range.last);
        next.map(|window| (window.range, window.owner))
    }

    /// Gives addresses that nobody has to `owner`.
    pub fn insert(&mut self, range: Range, owner: Owner) {
        let at = self.sorted.partition_point(|w| w.range.last < range.first);
        self.sorted.insert(at, Window { range, owner });
    }

    /// Finds the device whose window holds the whole access, and the offset in that window.
    pub fn find(&self, address: u64, width: Width) -> Option<(usize, u64)> {
        match self.find_owner(address, width)? {
            (Owner::Device(device) | Owner::Local { device, .. }, offset) => Some((device, offset)),
            _ => None,
        }
    }

    /// Finds the router whose window holds the whole access, and the offset in that window.
    pub fn find_router(&self, address: u64, width: Width) -> Option<(usize, u64)> {
        match self.find_owner(address, width)? {
            (Owner::Router { router, .. }, offset) => Some((router, offset)),
            _ => None,
        }
    }

    fn find_owner(&self, address: u64, width: Width) -> Option<(Owner, u64)> {
        let last = address.checked_add(width.bytes() - 1)?;
        let after = self.sorted.partition_point(|w| w.range.first <= address);
        let window = self.sorted[..after].last().filter(|window| last <= window.range.last)?;
        Some((window.owner, address - window.range.first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(base: u64, size: u64) -> Range {
        Range::new(Space::Memory, base, size).unwrap()
    }

    #[test]
    fn an_access_finds_the_window_that_holds_all_of_it() {
        let mut windows = Windows::default();
        // Not in the order of their addresses; the last two touch.
        for (device, (base, size)) in
            [(0x2000, 0x10), (0, 1), (0x1000, 0x10), (0x1010, 8)].into_iter().enumerate()
        {
            windows.insert(range(base, size), Owner::Device(device));
        }
        windows.insert(range(0x3000, 0x10), Owner::Reserved("RAM"));
        windows.insert(range(u64::MAX - 7, 8), Owner::Local { vcpu: 9, device: 4 });
        let find = |address, width| windows.find(address, width);
        assert_eq!((find(0, Width::B1), find(0, Width::B2)), (Some((1, 0)), None));
        assert_eq!((find(0xfff, Width::B1), find(0x1000, Width::B8)), (None, Some((2, 0))));
        assert_eq!((find(0x100f, Width::B1), find(0x100f, Width::B2)), (Some((2, 15)), None));
        assert_eq!((find(0x1010, Width::B8), find(0x1011, Width::B8)), (Some((3, 0)), None));
        assert_eq!((find(0x2008, Width::B8), find(0x2010, Width::B1)), (Some((0, 8)), None));
        assert_eq!(find(0x3000, Width::B8), None, "no device answers there");
        assert_eq!(find(u64::MAX - 7, Width::B8), Some((4, 0)), "up to the highest address");
        assert_eq!(find(u64::MAX, Width::B2), None);
    }

    #[test]
    fn windows_that_overlap_are_found() {
        let mut windows = Windows::default();
        let (taken, owner) = (range(0x1000, 0x100), Owner::Device(7));
        windows.insert(taken, owner);
        for (base, size) in
            [(0x1000, 0x100), (0xfff, 2), (0x10ff, 1), (0, u64::MAX), (0x1080, 1), (0xfff, 0x102)]
        {
            assert_eq!(windows.overlap(range(base, size)), Some((taken, owner)), "{base:#x}, {size:#x}");
        }
        for (base, size) in [(0xfff, 1), (0x1100, 1), (0, 0x1000), (0x1100, u64::MAX - 0x10ff)] {
            assert_eq!(windows.overlap(range(base, size)), None, "{base:#x}, {size:#x}");
        }
    }

    #[test]
    fn ranges_lie_in_their_address_space() {
        for (base, size) in [(0, 0), (u64::MAX, 2), (2, u64::MAX)] {
            assert_eq!(Range::new(Space::Memory, base, size), None, "{base:#x}, {size:#x}");
        }
        let port = |first, count| Range::new(Space::Ports, first, count);
        assert_eq!(port(0xfff8, 8), Some(Range { first: 0xfff8, last: 0xffff }));
        assert_eq!((port(0x1_0000, 1), port(0xffff, 2)), (None, None));
        let mut ports = Windows::default();
        ports.insert(port(0xfff8, 8).unwrap(), Owner::Device(0));
        assert_eq!((ports.find(0xffff, Width::B1), ports.find(0xffff, Width::B2)), (Some((0, 7)), None));
    }
}
