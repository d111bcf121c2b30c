//! Interrupts as messages: MSI-X (PCI Local Bus 3.0, 6.8.2).

use super::ConfigSpace;
use serde::{Deserialize, Serialize};
use trine_base::{Action, Actions, Width};

/// The capability's ID.
const ID: u8 = 0x11;
/// Bits of the message control word: messages are enabled; all of them are masked.
const ENABLE: u16 = 1 << 15;
const MASK_ALL: u16 = 1 << 14;
/// Where the pending bits are in the BAR; the table is at its start.
const PENDING: u64 = 0x800;
/// The most vectors that a table has here.
pub const MOST_VECTORS: u16 = (PENDING / 16) as u16;

/// What a guest can change besides the message control word, which is in the configuration space.
#[derive(Clone, Serialize, Deserialize)]
struct Entry {
    address: u64,
    data: u32,
    masked: bool,
    /// Whether a message waits until it is not masked any more.
    pending: bool,
}

/// The state to be saved.
#[derive(Clone, Serialize, Deserialize)]
pub struct Saved(Vec<Entry>);

/// The table of messages of one function, in a BAR of 4 KiB.
pub struct Msix {
    entries: Vec<Entry>,
    /// Where the message control word is in the configuration space.
    control: u8,
}

impl Msix {
    /// Adds the capability for 1 to [`MOST_VECTORS`] vectors with its registers at the start of BAR `bar`.
    pub fn new(config: &mut ConfigSpace, bar: u8, vectors: u16) -> Msix {
        let vectors = vectors.clamp(1, MOST_VECTORS);
        let mut body = [0; 10];
        body[..2].copy_from_slice(&(vectors - 1).to_le_bytes());
        body[2..6].copy_from_slice(&(bar as u32).to_le_bytes());
        body[6..].copy_from_slice(&(PENDING as u32 | bar as u32).to_le_bytes());
        let control = config.add_capability(ID, &body, &(ENABLE | MASK_ALL).to_le_bytes()) + 2;
        let mut msix = Msix { entries: Vec::with_capacity(vectors.into()), control };
        msix.clear(vectors.into());
        msix
    }

    fn clear(&mut self, vectors: usize) {
        self.entries = vec![Entry { address: 0, data: 0, masked: true, pending: false }; vectors];
    }

    /// Returns to the state after power-on.
    pub fn reset(&mut self) {
        self.clear(self.entries.len());
    }

    /// Whether the function sends messages instead of driving its pin.
    pub fn is_enabled(&self, config: &ConfigSpace) -> bool {
        config.word_at(self.control) & ENABLE != 0
    }

    /// Number of vectors.
    pub fn vectors(&self) -> u16 {
        self.entries.len() as u16
    }

    /// Sends the message of a vector, now or as soon as it is not masked. A vector that does not exist has none.
    pub fn send(&mut self, config: &ConfigSpace, vector: u16, out: &mut Actions) {
        if let Some(entry) = self.entries.get_mut(vector as usize) {
            entry.pending = true;
            self.flush(config, out);
        }
    }

    /// Sends what has waited and is not masked any more: after a write to the table or to the configuration space.
    pub fn flush(&mut self, config: &ConfigSpace, out: &mut Actions) {
        if config.word_at(self.control) & (ENABLE | MASK_ALL) != ENABLE {
            return;
        }
        for entry in self.entries.iter_mut().filter(|e| e.pending && !e.masked) {
            entry.pending = false;
            out.push(Action::Message { address: entry.address, data: entry.data });
        }
    }

    /// Reads the table or the pending bits.
    pub fn read(&self, offset: u64, width: Width) -> u64 {
        let word = |offset: u64| -> u64 {
            if offset >= PENDING {
                let first = ((offset - PENDING) * 8) as usize;
                let bits = self.entries.iter().skip(first).take(32).enumerate();
                return bits.fold(0, |v, (i, entry)| v | (entry.pending as u64) << i);
            }
            let Some(entry) = self.entries.get((offset / 16) as usize) else { return 0 };
            match offset % 16 {
                0 => entry.address & 0xffff_ffff,
                4 => entry.address >> 32,
                8 => entry.data as u64,
                _ => entry.masked as u64,
            }
        };
        match width {
            Width::B8 => word(offset & !7) | word(offset & !7 | 4) << 32,
            _ => word(offset & !3) >> (8 * (offset & 3)),
        }
    }

    /// Writes the table, 4 or 8 bytes at a time (other accesses are undefined, and ignored here); the pending bits
    /// cannot be written.
    pub fn write(&mut self, config: &ConfigSpace, offset: u64, width: Width, value: u64, out: &mut Actions) {
        let words = match width {
            Width::B8 if offset.is_multiple_of(8) => 2,
            Width::B4 if offset.is_multiple_of(4) => 1,
            _ => return,
        };
        for i in 0..words {
            let (at, word) = (offset + 4 * i, value >> (32 * i) & 0xffff_ffff);
            let Some(entry) = self.entries.get_mut((at / 16) as usize) else { continue };
            match at % 16 {
                0 => entry.address = entry.address & !0xffff_ffff | word & !3,
                4 => entry.address = entry.address & 0xffff_ffff | word << 32,
                8 => entry.data = word as u32,
                _ => entry.masked = word & 1 != 0,
            }
        }
        self.flush(config, out);
    }

    /// The table, to be saved.
    pub fn save(&self) -> Saved {
        Saved(self.entries.clone())
    }

    /// Loads a saved table.
    pub fn load(&mut self, Saved(entries): Saved) -> Result<(), String> {
        if entries.len() != self.entries.len() {
            return Err(format!("it has {} interrupt vectors, not {}", entries.len(), self.entries.len()));
        }
        self.entries = entries;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::Identity;

    struct Test {
        config: ConfigSpace,
        msix: Msix,
    }

    impl Test {
        fn new() -> Test {
            let (device, revision, class, subsystem) = (1, 0, 0, (0, 0));
            let identity = Identity { vendor: 1, device, revision, class, subsystem, interrupt: true };
            let mut config = ConfigSpace::new(identity);
            let msix = Msix::new(&mut config, 1, 3);
            Test { config, msix }
        }

        fn sent(&mut self, f: impl FnOnce(&mut Msix, &ConfigSpace, &mut Actions)) -> Vec<(u64, u32)> {
            let mut out = Actions::new();
            f(&mut self.msix, &self.config, &mut out);
            let message = |action| match action {
                Action::Message { address, data } => (address, data),
                other => panic!("{other:?}"),
            };
            out.drain().map(message).collect()
        }

        fn write(&mut self, offset: u64, width: Width, value: u64) -> Vec<(u64, u32)> {
            self.sent(|msix, config, out| msix.write(config, offset, width, value, out))
        }

        fn send(&mut self, vector: u16) -> Vec<(u64, u32)> {
            self.sent(|msix, config, out| msix.send(config, vector, out))
        }

        fn control(&mut self, value: u16) -> Vec<(u64, u32)> {
            self.config.write(0x42, Width::B2, value.into());
            self.sent(|msix, config, out| msix.flush(config, out))
        }
    }

    #[test]
    fn the_capability_says_where_the_table_is() {
        let test = Test::new();
        assert_eq!(test.config.read(0x40, Width::B4), 0x0002_0011);
        assert_eq!(test.config.read(0x44, Width::B8), 0x0000_0801_0000_0001);
    }

    #[test]
    fn messages_wait_until_nothing_masks_them() {
        let mut t = Test::new();
        t.write(16, Width::B8, 0x1_2800_0003);
        t.write(24, Width::B4, 77);
        assert_eq!(t.msix.read(16, Width::B8), 0x1_2800_0000, "the lowest two bits are zero");
        assert_eq!((t.msix.read(24, Width::B4), t.msix.read(28, Width::B4)), (77, 1));
        assert_eq!((t.send(1), t.msix.read(0x800, Width::B8)), (vec![], 2));
        assert_eq!(t.write(28, Width::B4, 0), [], "messages are off");
        assert_eq!(t.control(ENABLE | MASK_ALL), []);
        assert!(t.msix.is_enabled(&t.config));
        assert_eq!(t.control(ENABLE), [(0x1_2800_0000, 77)]);
        assert_eq!((t.msix.read(0x800, Width::B4), t.send(1)), (0, vec![(0x1_2800_0000, 77)]));
        t.write(28, Width::B4, 1);
        assert_eq!((t.send(1), t.send(1), t.send(9)), (vec![], vec![], vec![]));
        assert_eq!(t.write(24, Width::B8, 78), [(0x1_2800_0000, 78)], "once");
    }

    #[test]
    fn anything_a_guest_may_do() {
        let mut t = Test::new();
        t.control(ENABLE);
        for offset in 0..0x1000 {
            for width in [Width::B1, Width::B2, Width::B4, Width::B8] {
                t.write(offset, width, !0);
                t.write(offset, width, 0);
                t.msix.read(offset, width);
            }
        }
        let saved = t.msix.save();
        t.msix.reset();
        assert_eq!(t.msix.read(12, Width::B4), 1, "masked");
        t.msix.load(saved).unwrap();
        assert!(t.msix.load(Saved(Vec::new())).is_err());
    }
}
