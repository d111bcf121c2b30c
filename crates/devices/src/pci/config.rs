//! Configuration space of type 0 (PCI Local Bus 3.0, 6.1): a table of bytes, and which of their bits a guest can
//! change.

use super::touches;
use trine_base::Width;

/// Bytes of the configuration space that are saved and that have registers. The rest up to 4096 reads as zeros: there
/// are no extended capabilities.
const SIZE: usize = 256;
const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const BARS: usize = 0x10;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const INTERRUPT_PIN: usize = 0x3d;
/// The first byte behind the header.
const HEADER_END: u8 = 0x40;

/// Bits of the command register.
pub mod command {
    /// The function's memory BARs answer.
    pub const MEMORY: u16 = 1 << 1;
    /// The function may access memory and send messages.
    pub const MASTER: u16 = 1 << 2;
    /// The function does not drive its interrupt pin.
    pub const NO_INTX: u16 = 1 << 10;
    /// Bits that can be changed: those above, and the answers to parity and system errors, which do not occur.
    pub(super) const CHANGEABLE: u16 = MEMORY | MASTER | 1 << 6 | 1 << 8 | NO_INTX;
}

/// Bits of the status register.
mod status {
    pub const INTERRUPT: u8 = 1 << 3;
    pub const CAPABILITIES: u8 = 1 << 4;
}

/// Who a function is.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Revision.
    pub revision: u8,
    /// Class, subclass and programming interface, 24 bits.
    pub class: u32,
    /// Subsystem vendor ID and subsystem ID.
    pub subsystem: (u16, u16),
    /// Whether it has an interrupt pin (INTA#).
    pub interrupt: bool,
}

/// The kind of a memory BAR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BarKind {
    /// Below 4 GiB; reads have side effects.
    Memory32,
    /// Anywhere, prefetchable; it takes the next BAR, too.
    Prefetchable64,
}

#[derive(Clone, Copy)]
struct Bar {
    index: u8,
    size: u64,
    kind: BarKind,
}

/// A BAR that answers at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Index of the BAR.
    pub bar: u8,
    /// Its first address on the bus.
    pub base: u64,
    /// Its size in bytes.
    pub size: u64,
}

/// The configuration space of a function.
pub struct ConfigSpace {
    bytes: [u8; SIZE],
    /// The bytes after power-on.
    initial: [u8; SIZE],
    /// The bits that the guest can change.
    writable: [u8; SIZE],
    bars: Vec<Bar>,
    /// Where the pointer to the next capability will be.
    link: usize,
    /// Where the next capability will be.
    free: u8,
}

impl ConfigSpace {
    /// A configuration space without BARs and capabilities.
    pub fn new(identity: Identity) -> ConfigSpace {
        let (bytes, writable) = ([0; SIZE], [0; SIZE]);
        let (bars, link, free) = (Vec::new(), CAPABILITIES, HEADER_END);
        let mut space = ConfigSpace { bytes, initial: bytes, writable, bars, link, free };
        let [class @ .., _] = identity.class.to_le_bytes();
        space.fix(0x00, &identity.vendor.to_le_bytes());
        space.fix(0x02, &identity.device.to_le_bytes());
        space.fix(0x08, &[identity.revision]);
        space.fix(0x09, &class);
        space.fix(0x2c, &identity.subsystem.0.to_le_bytes());
        space.fix(0x2e, &identity.subsystem.1.to_le_bytes());
        space.fix(INTERRUPT_PIN, &[identity.interrupt as u8]);
        space.allow(COMMAND, &command::CHANGEABLE.to_le_bytes());
        // Cache line size and latency timer mean nothing here but are kept.
        space.allow(0x0c, &[0xff, 0xff]);
        space.allow(INTERRUPT_LINE, &[0xff]);
        space
    }

    /// Sets bytes after power-on.
    fn fix(&mut self, at: usize, bytes: &[u8]) {
        self.initial[at..at + bytes.len()].copy_from_slice(bytes);
        self.bytes = self.initial;
    }

    /// Lets the guest change bits.
    fn allow(&mut self, at: usize, mask: &[u8]) {
        self.writable[at..at + mask.len()].copy_from_slice(mask);
    }

    /// Adds a BAR of `size` bytes, a power of two from 16 bytes to 2 GiB. A driver that writes all ones reads the size
    /// back, as the bits below it are fixed.
    pub fn add_bar(&mut self, index: u8, size: u64, kind: BarKind) {
        let (at, mask) = (BARS + 4 * index as usize, !(size - 1));
        match kind {
            BarKind::Memory32 => self.allow(at, &(mask as u32).to_le_bytes()),
            BarKind::Prefetchable64 => {
                self.fix(at, &[0b1100]);
                self.allow(at, &mask.to_le_bytes());
            }
        }
        self.bars.push(Bar { index, size, kind });
    }

    /// Adds a capability: its bytes behind ID and pointer, and which of their bits the guest can change. Returns its
    /// offset.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> u8 {
        let at = self.free;
        self.fix(self.link, &[at]);
        self.fix(STATUS, &[status::CAPABILITIES]);
        self.fix(at.into(), &[id, 0]);
        self.fix(at as usize + 2, body);
        self.allow(at as usize + 2, writable);
        self.link = at as usize + 1;
        self.free = (at + 2 + body.len() as u8).next_multiple_of(4);
        at
    }

    /// Reads a register; outside of the registers there are zeros.
    pub fn read(&self, offset: u64, width: Width) -> u64 {
        let byte = |i| self.bytes.get((offset + i) as usize).copied().unwrap_or(0) as u64;
        (0..width.bytes()).fold(0, |v, i| v | byte(i) << (8 * i))
    }

    /// Writes the bits of a register that can be changed. Returns whether the function's windows may have moved: see
    /// [`ConfigSpace::mappings`].
    pub fn write(&mut self, offset: u64, width: Width, value: u64) -> bool {
        for (i, new) in (0..width.bytes()).zip(value.to_le_bytes()) {
            let at = (offset + i) as usize;
            if let (Some(byte), Some(mask)) = (self.bytes.get_mut(at), self.writable.get(at)) {
                *byte = *byte & !mask | new & mask;
            }
        }
        touches(offset, width, COMMAND as u64, 2) || touches(offset, width, BARS as u64, 24)
    }

    fn word(&self, at: usize) -> u16 {
        self.read(at as u64, Width::B2) as u16
    }

    /// The command register: see [`command`].
    pub fn command(&self) -> u16 {
        self.word(COMMAND)
    }

    /// The word at an offset, in a capability.
    pub fn word_at(&self, at: u8) -> u16 {
        self.word(at.into())
    }

    /// Shows in the status register whether the function wants an interrupt, even if it may not drive its pin.
    pub fn set_interrupt_status(&mut self, wants: bool) {
        let bit = if wants { status::INTERRUPT } else { 0 };
        self.bytes[STATUS] = self.bytes[STATUS] & !status::INTERRUPT | bit;
    }

    /// The BARs that answer, and where.
    pub fn mappings(&self) -> Vec<Mapping> {
        if self.command() & command::MEMORY == 0 {
            return Vec::new();
        }
        let mapping = |bar: &Bar| {
            let at = (BARS + 4 * bar.index as usize) as u64;
            let width = if bar.kind == BarKind::Memory32 { Width::B4 } else { Width::B8 };
            Mapping { bar: bar.index, base: self.read(at, width) & !0xf, size: bar.size }
        };
        self.bars.iter().map(mapping).collect()
    }

    /// Returns to the values after power-on.
    pub fn reset(&mut self) {
        self.bytes = self.initial;
    }

    /// The bytes, to be saved.
    pub fn save(&self) -> Vec<u8> {
        self.bytes.to_vec()
    }

    /// Loads saved bytes. What a guest cannot change must be as it is here, except for the interrupt status, which the
    /// function sets.
    pub fn load(&mut self, saved: &[u8]) -> Result<(), String> {
        let saved: [u8; SIZE] =
            saved.try_into().map_err(|_| format!("its configuration space has {} bytes", saved.len()))?;
        for at in (0..SIZE).filter(|&at| at != STATUS) {
            if (saved[at] ^ self.initial[at]) & !self.writable[at] != 0 {
                return Err(format!("its configuration space differs at {at:#x}"));
            }
        }
        self.bytes = saved;
        self.bytes[STATUS] = self.initial[STATUS];
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space() -> ConfigSpace {
        let mut space = ConfigSpace::new(Identity {
            vendor: 0x1234,
            device: 0x5678,
            revision: 9,
            class: 0x02_0001,
            subsystem: (0xabcd, 0xef01),
            interrupt: true,
        });
        space.add_bar(1, 0x1000, BarKind::Memory32);
        space.add_bar(4, 1 << 31, BarKind::Prefetchable64);
        space
    }

    #[test]
    fn the_header_is_that_of_its_identity() {
        let space = space();
        for (at, expected) in [
            (0x00, 0x5678_1234),
            (0x04, 0),
            (0x08, 0x0200_0109),
            (0x0c, 0),
            (0x2c, 0xef01_abcd),
            (0x34, 0),
            (0x3c, 0x0100),
            (0x100, 0),
            (0xffc, 0),
        ] {
            assert_eq!(space.read(at, Width::B4), expected, "{at:#x}");
        }
        assert_eq!((space.read(0xff, Width::B8), space.read(2, Width::B2)), (0, 0x5678));
    }

    #[test]
    fn bars_are_sized_by_all_ones() {
        let mut space = space();
        for (at, ones, expected) in [
            (0x10, 0xffff_ffff, 0),
            (0x14, 0xffff_ffff, 0xffff_f000),
            (0x20, 0xffff_ffff, 0x8000_000c),
            (0x24, 0xffff_ffff, 0xffff_ffff),
            (0x30, 0xffff_ffff, 0),
        ] {
            space.write(at, Width::B4, ones);
            assert_eq!(space.read(at, Width::B4), expected, "{at:#x}");
        }
    }

    #[test]
    fn windows_answer_where_the_guest_puts_them_while_memory_is_enabled() {
        let mut space = space();
        assert!(space.write(0x14, Width::B4, 0x4000_1234));
        assert!(space.write(0x20, Width::B8, 0x12_8000_0000));
        assert_eq!(space.mappings(), []);
        assert!(space.write(5, Width::B1, 0xff) && space.write(4, Width::B1, 0xff));
        assert_eq!(space.command(), command::CHANGEABLE);
        let expected = [(1, 0x4000_1000, 0x1000), (4, 0x12_8000_0000, 1 << 31)];
        assert_eq!(space.mappings(), expected.map(|(bar, base, size)| Mapping { bar, base, size }));
        assert!(!space.write(0x3c, Width::B4, 7) && !space.write(0x28, Width::B4, 7));
        assert_eq!(space.read(0x3c, Width::B2), 0x0107);
    }

    #[test]
    fn capabilities_are_a_list() {
        let mut space = space();
        let first = space.add_capability(9, &[7, 1, 2, 3, 4], &[0, 0, 0xf0]);
        let second = space.add_capability(0x11, &[5; 10], &[]);
        assert_eq!((first, second, space.read(0x34, Width::B1)), (0x40, 0x48, 0x40));
        assert_eq!(space.read(6, Width::B2), 0x10, "there are capabilities");
        space.write(0x40, Width::B8, !0);
        assert_eq!(space.read(0x40, Width::B8), 0x0004_03f2_0107_4809);
        assert_eq!((space.read(0x48, Width::B2), space.word_at(0x4a)), (0x0011, 0x0505));
    }

    #[test]
    fn what_is_fixed_must_fit_when_loading() {
        let mut old = space();
        for (at, value) in [(0x14, 0x4000_0000), (4, 6), (0x3c, 3)] {
            old.write(at, Width::B4, value);
        }
        old.set_interrupt_status(true);
        let mut new = space();
        new.load(&old.save()).unwrap();
        assert_eq!(new.read(6, Width::B2), 0, "the function sets it again");
        assert_eq!(new.mappings(), old.mappings());
        let mut other = old.save();
        other[2] ^= 1;
        assert_eq!(new.load(&other).unwrap_err(), "its configuration space differs at 0x2");
        assert!(new.load(&other[1..]).is_err());
        new.reset();
        assert_eq!((new.command(), new.save()), (0, space().save()));
    }
}
