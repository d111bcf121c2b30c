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
}

/// Whose a window is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// The device of this number.
    Device(usize),
    /// What is not a device, such as memory, which answers before the bus is asked.
    Reserved(&'static str),
}

#[derive(Clone, Copy)]
struct Window {
    range: Range,
    owner: Owner,
}

/// Why [`Windows::insert`] refused a window.
pub(super) enum Refused {
    Outside,
    /// The window that was asked for, the window it overlaps, and whose that one is.
    Overlap(Range, Range, Owner),
}

/// The windows of one address space.
pub(super) struct Windows {
    space: Space,
    /// Disjoint, and sorted by address: a board has few windows, and a search of a sorted list touches fewer
    /// cache lines than one of a tree.
    sorted: Vec<Window>,
}

impl Windows {
    pub const fn new(space: Space) -> Windows {
        Windows { space, sorted: Vec::new() }
    }

    /// Gives `size` addresses from `base` on to `owner`.
    pub fn insert(&mut self, base: u64, size: u64, owner: Owner) -> Result<(), Refused> {
        let last = size.checked_sub(1).and_then(|most| base.checked_add(most));
        let last = last.filter(|&last| last <= self.space.last()).ok_or(Refused::Outside)?;
        let range = Range { first: base, last };
        let at = self.sorted.partition_point(|w| w.range.last < base);
        match self.sorted.get(at) {
            Some(next) if next.range.first <= last => Err(Refused::Overlap(range, next.range, next.owner)),
            _ => {
                self.sorted.insert(at, Window { range, owner });
                Ok(())
            }
        }
    }

    /// Finds the device whose window holds the whole access, and the offset in that window.
    pub fn find(&self, address: u64, width: Width) -> Option<(usize, u64)> {
        let last = address.checked_add(width.bytes() - 1)?;
        let after = self.sorted.partition_point(|w| w.range.first <= address);
        let window = self.sorted[..after].last()?;
        match window.owner {
            Owner::Device(device) if last <= window.range.last => {
                Some((device, address - window.range.first))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_finds_the_window_that_holds_all_of_it() {
        let mut windows = Windows::new(Space::Memory);
        // Not in the order of their addresses; the last two touch.
        for (device, (base, size)) in
            [(0x2000, 0x10), (0, 1), (0x1000, 0x10), (0x1010, 8)].into_iter().enumerate()
        {
            assert!(windows.insert(base, size, Owner::Device(device)).is_ok());
        }
        assert!(windows.insert(0x3000, 0x10, Owner::Reserved("RAM")).is_ok());
        assert!(windows.insert(u64::MAX - 7, 8, Owner::Device(4)).is_ok(), "up to the highest address");
        let find = |address, width| windows.find(address, width);
        assert_eq!((find(0, Width::B1), find(0, Width::B2)), (Some((1, 0)), None));
        assert_eq!((find(0xfff, Width::B1), find(0x1000, Width::B8)), (None, Some((2, 0))));
        assert_eq!((find(0x100f, Width::B1), find(0x100f, Width::B2)), (Some((2, 15)), None));
        assert_eq!((find(0x1010, Width::B8), find(0x1011, Width::B8)), (Some((3, 0)), None));
        assert_eq!((find(0x2008, Width::B8), find(0x2010, Width::B1)), (Some((0, 8)), None));
        assert_eq!(find(0x3000, Width::B8), None, "no device answers there");
        assert_eq!(find(u64::MAX - 7, Width::B8), Some((4, 0)));
        assert_eq!(find(u64::MAX, Width::B2), None);
    }

    #[test]
    fn windows_that_overlap_or_wrap_are_refused() {
        let mut windows = Windows::new(Space::Memory);
        let (there, new) = (Owner::Device(7), Owner::Device(8));
        assert!(windows.insert(0x1000, 0x100, there).is_ok());
        for (base, size) in
            [(0x1000, 0x100), (0xfff, 2), (0x10ff, 1), (0, u64::MAX), (0x1080, 1), (0xfff, 0x102)]
        {
            match windows.insert(base, size, new) {
                Err(Refused::Overlap(range, taken, other)) => {
                    let window = Range { first: 0x1000, last: 0x10ff };
                    assert_eq!((range.first, taken, other), (base, window, there));
                }
                _ => panic!("{base:#x}, {size:#x}"),
            }
        }
        for (base, size) in [(0, 0), (u64::MAX, 2), (2, u64::MAX)] {
            assert!(matches!(windows.insert(base, size, new), Err(Refused::Outside)), "{base:#x}, {size:#x}");
        }
        let mut ports = Windows::new(Space::Ports);
        let device = Owner::Device(0);
        assert!(ports.insert(0xfff8, 8, device).is_ok());
        assert!(matches!(ports.insert(0x1_0000, 1, device), Err(Refused::Outside)));
        assert!(matches!(ports.insert(0xffff, 2, device), Err(Refused::Outside)));
        assert_eq!((ports.find(0xffff, Width::B1), ports.find(0xffff, Width::B2)), (Some((0, 7)), None));
    }
}
