//! Memory that vCPUs read and execute and that only a device changes, such as flash.
//!
//! It has no entries in a vCPU's TLB: a load that misses there looks here before it asks the bus. So a device can hide its
//! memory at any time, and every load sees that, without a request to all vCPUs to forget translations. Pages that code was
//! translated from are known as those of RAM are, and the owners of translations are told of changes in the same way.

use crate::pages::Pages;
use crate::{MemoryError, PAGE, PAGE_BITS, Ram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use trine_base::Width;

/// The bytes of a read-only memory. They outlive the machine that reads them, as flash keeps its contents through a reset.
pub struct Contents(Box<[AtomicU64]>);

impl Contents {
    /// Creates `size` bytes (a multiple of 8), all zero. They take no memory of the host until they are written.
    pub fn zeros(size: u64) -> Contents {
        let words = Box::<[AtomicU64]>::new_zeroed_slice((size / 8) as usize);
        // SAFETY: a number that is zero is a valid atomic number.
        Contents(unsafe { words.assume_init() })
    }

    /// Number of bytes.
    pub fn size(&self) -> u64 {
        self.0.len() as u64 * 8
    }

    fn contains(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.size())
    }

    /// The 8 bytes around an offset that lies inside.
    fn word(&self, offset: u64) -> u64 {
        self.0[(offset / 8) as usize].load(Ordering::Relaxed)
    }

    /// Reads a little-endian value; `None` unless all of it lies inside.
    pub fn load(&self, offset: u64, width: Width) -> Option<u64> {
        if !self.contains(offset, width.bytes()) {
            return None;
        }
        let (shift, last) = (8 * (offset % 8), offset + width.bytes() - 1);
        let low = self.word(offset) >> shift;
        // Where the value reaches into a second word, `shift` is not 0.
        let high = if last / 8 == offset / 8 { 0 } else { self.word(last) << (64 - shift) };
        Some((low | high) & width.mask())
    }

    /// Fills `buf` from an offset; `None`, and nothing read, unless all of it lies inside.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> Option<()> {
        if !self.contains(offset, buf.len() as u64) {
            return None;
        }
        let mut at = offset;
        for range in pieces(offset, buf.len()) {
            let piece = &mut buf[range];
            let word = self.word(at).to_le_bytes();
            piece.copy_from_slice(&word[(at % 8) as usize..][..piece.len()]);
            at += piece.len() as u64;
        }
        Some(())
    }

    /// Stores bytes; `None`, and nothing written, unless all of them lie inside. Zeros over zeros take no memory. One thread
    /// at a time writes: that of the device, or of whoever prepares the machine. See [`Ram::write_rom`].
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Option<()> {
        if !self.contains(offset, bytes.len() as u64) {
            return None;
        }
        let mut at = offset;
        for piece in pieces(offset, bytes.len()).map(|range| &bytes[range]) {
            let old = self.word(at);
            let mut word = old.to_le_bytes();
            word[(at % 8) as usize..][..piece.len()].copy_from_slice(piece);
            let new = u64::from_le_bytes(word);
            if new != old {
                self.0[(at / 8) as usize].store(new, Ordering::Relaxed);
            }
            at += piece.len() as u64;
        }
        Some(())
    }
}

/// Divides `len` bytes at an offset into ranges of which each lies in one word.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let start = next;
        let room = 8 - (offset as usize + start) % 8;
        next = len.min(start + room);
        (start < len).then_some(start..next)
    })
}

/// A read-only memory at an address of a machine.
pub(crate) struct Rom {
    base: u64,
    contents: Arc<Contents>,
    pub pages: Pages,
    /// Whether loads and fetches read the contents. Otherwise the device answers loads.
    shown: AtomicBool,
}

impl Rom {
    /// The offset of an address; `None` where it lies outside.
    fn offset(&self, address: u64) -> Option<u64> {
        address.checked_sub(self.base).filter(|offset| *offset < self.contents.size())
    }

    pub fn first_page(&self) -> u64 {
        self.base >> PAGE_BITS
    }
}

impl Ram {
    /// Adds a read-only memory, which is shown, at an address outside of RAM. Both its address and its size must be multiples
    /// of the page size.
    ///
    /// # Errors
    /// They are not, or there is memory already.
    pub fn with_rom(mut self, base: u64, contents: Arc<Contents>) -> Result<Ram, MemoryError> {
        let size = contents.size();
        if size == 0 || !size.is_multiple_of(PAGE) || base.checked_add(size).is_none() {
            return Err(MemoryError::Size(size));
        }
        if !base.is_multiple_of(PAGE) {
            return Err(MemoryError::Base(base));
        }
        let over = |start: u64, bytes: u64| base < start.saturating_add(bytes) && start < base + size;
        if over(self.base(), self.size()) || self.roms.iter().any(|rom| over(rom.base, rom.contents.size())) {
            return Err(MemoryError::Overlap(base));
        }
        let pages = Pages::new((size >> PAGE_BITS) as usize);
        self.roms.push(Rom { base, contents, pages, shown: AtomicBool::new(true) });
        Ok(self)
    }

    /// The read-only memory at an address, and the address's offset there.
    pub(crate) fn rom(&self, address: u64) -> Option<(&Rom, u64)> {
        self.roms.iter().find_map(|rom| Some((rom, rom.offset(address)?)))
    }

    /// Reads a little-endian value from a read-only memory that is shown; `None` elsewhere.
    pub fn load_rom(&self, address: u64, width: Width) -> Option<u64> {
        let (rom, offset) = self.rom(address)?;
        rom.shown.load(Ordering::SeqCst).then(|| rom.contents.load(offset, width))?
    }

    /// Whether instructions can be fetched from this address: it is RAM, or a read-only memory that is shown.
    #[inline(always)]
    pub fn is_fetched_from(&self, address: u64) -> bool {
        self.contains(address, 1) || self.load_rom(address, Width::B1).is_some()
    }

    /// Reads a little-endian value from RAM or from a read-only memory that is shown; `None` elsewhere.
    #[inline(always)]
    pub fn load_any(&self, address: u64, width: Width) -> Option<u64> {
        self.load(address, width).or_else(|| self.load_rom(address, width))
    }

    /// Fills `buf` from RAM or from a read-only memory, shown or not, as a debugger wants to see it; `None`, and nothing read,
    /// unless all of it lies in one of them.
    pub fn read_any(&self, address: u64, buf: &mut [u8]) -> Option<()> {
        match self.rom(address) {
            Some((rom, offset)) => rom.contents.read(offset, buf),
            None => self.read(address, buf),
        }
    }

    /// Changes the contents of the read-only memory at an address, as its device does; `None`, and nothing changed, unless
    /// all bytes lie in one.
    pub fn write_rom(&self, address: u64, bytes: &[u8]) -> Option<()> {
        let (rom, offset) = self.rom(address)?;
        self.guard_rom(rom, offset, bytes.len() as u64);
        let done = rom.contents.write(offset, bytes);
        // As in `guarded`.
        fence(Ordering::SeqCst);
        self.guard_rom(rom, offset, bytes.len() as u64);
        done
    }

    /// Shows or hides the read-only memory at an address. Code that was translated from one that is hidden is forgotten.
    pub fn show_rom(&self, address: u64, shown: bool) {
        let Some((rom, _)) = self.rom(address) else { return };
        if rom.shown.swap(shown, Ordering::SeqCst) && !shown {
            fence(Ordering::SeqCst);
            self.guard_rom(rom, 0, rom.contents.size());
        }
    }

    /// The write guard of a read-only memory.
    fn guard_rom(&self, rom: &Rom, offset: u64, len: u64) {
        let end = offset.saturating_add(len).min(rom.contents.size());
        for index in offset >> PAGE_BITS..end.div_ceil(PAGE) {
            if rom.pages.is_code(index as usize) {
                self.code_written(&rom.pages, rom.first_page(), index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Becoming, CodeOwner};
    use std::sync::Mutex;

    const BASE: u64 = 0x2000_0000;
    const SIZE: u64 = 4 * PAGE;

    fn ram() -> (Ram, Arc<Contents>) {
        let contents = Arc::new(Contents::zeros(SIZE));
        (Ram::new(0x8000_0000, PAGE).unwrap().with_rom(BASE, contents.clone()).unwrap(), contents)
    }

    #[test]
    fn values_at_any_offset() {
        let contents = Contents::zeros(32);
        let bytes: Vec<u8> = (1..=32).collect();
        contents.write(0, &bytes).unwrap();
        for (offset, width) in
            (0..33).flat_map(|o| [Width::B1, Width::B2, Width::B4, Width::B8].map(|w| (o, w)))
        {
            let expected = bytes
                .get(offset..offset + width.bytes() as usize)
                .map(|b| b.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)));
            assert_eq!(contents.load(offset as u64, width), expected, "{offset} {width:?}");
        }
        for (offset, len) in (0..32).flat_map(|o| (0..=32 - o).map(move |n| (o, n))) {
            let mut read = vec![0; len];
            contents.read(offset as u64, &mut read).unwrap();
            assert_eq!(read, bytes[offset..offset + len]);
            let other = Contents::zeros(32);
            other.write(offset as u64, &read).unwrap();
            let mut all = [0; 32];
            other.read(0, &mut all).unwrap();
            assert!(all[..offset].iter().chain(&all[offset + len..]).all(|b| *b == 0));
            assert_eq!(all[offset..offset + len], read);
        }
        assert_eq!(contents.load(u64::MAX, Width::B2), None);
        assert_eq!((contents.write(31, &[1, 2]), contents.read(31, &mut [0; 2])), (None, None));
        assert_eq!(contents.load(31, Width::B1), Some(32), "nothing was written");
    }

    #[test]
    fn it_is_read_and_executed_while_it_is_shown() {
        let (ram, contents) = ram();
        contents.write(8, b"contents").unwrap();
        let word = Some(u64::from_le_bytes(*b"contents"));
        let seen = |address| {
            (ram.load_rom(address, Width::B8), ram.load_any(address, Width::B8), ram.is_fetched_from(address))
        };
        assert_eq!(seen(BASE + 8), (word, word, true));
        assert_eq!(seen(BASE - 1), (None, None, false));
        assert_eq!(seen(BASE + SIZE), (None, None, false));
        // It is not RAM: devices and atomic updates do not reach it.
        assert_eq!((ram.load(BASE + 8, Width::B8), ram.store(BASE + 8, Width::B8, 0)), (None, None));
        assert_eq!((ram.host_address(BASE), ram.may_write(BASE, 1)), (None, false));
        ram.show_rom(BASE + 3 * PAGE, false);
        assert_eq!(seen(BASE + 8), (None, None, false));
        ram.show_rom(BASE, true);
        assert_eq!(seen(BASE + 8), (word, word, true));
        assert_eq!(ram.load_any(0x8000_0000, Width::B8), Some(0), "RAM");
        let read = |address| {
            let mut bytes = [1; 8];
            ram.read_any(address, &mut bytes).map(|()| bytes)
        };
        ram.show_rom(BASE, false);
        assert_eq!((read(BASE + 8), read(0x8000_0000)), (Some(*b"contents"), Some([0; 8])));
        assert_eq!((read(BASE + SIZE - 4), read(0x100)), (None, None));
    }

    #[test]
    fn where_it_cannot_be() {
        let with = |base, size| {
            let ram = Ram::new(0x8000_0000, PAGE).unwrap();
            ram.with_rom(base, Arc::new(Contents::zeros(size))).map(drop).unwrap_err().to_string()
        };
        assert!(with(BASE, 0).contains("not zero") && with(BASE, 64).contains("4096"));
        assert!(with(BASE + 8, PAGE).contains("cannot begin at 0x20000008"));
        assert!(with(!0xfff, 2 * PAGE).contains("not possible"));
        assert!(with(0x8000_0000 - PAGE, 2 * PAGE).contains("0x7ffff000 would lie over"));
        let second = |base| ram().0.with_rom(base, Arc::new(Contents::zeros(PAGE)));
        assert!(second(BASE + SIZE - PAGE).is_err() && second(BASE + SIZE).is_ok());
    }

    /// Pages that it was told of.
    #[derive(Default)]
    struct Owner(Mutex<Vec<u64>>);

    impl CodeOwner for Owner {
        fn code_written(&self, page: u64) {
            self.0.lock().unwrap().push(page);
        }
    }

    #[test]
    fn owners_of_translations_are_told_of_changes() {
        let (ram, contents) = ram();
        let owner = Arc::new(Owner::default());
        ram.add_code_owner(owner.clone());
        let told = || std::mem::take(&mut *owner.0.lock().unwrap());
        let mark = |page: u64| {
            assert_eq!(ram.become_code(BASE + page * PAGE), Becoming::Mine(0));
            ram.end_becoming(BASE + page * PAGE);
            assert!(ram.is_settled(BASE + page * PAGE) && ram.is_code(BASE + page * PAGE));
        };
        let first = BASE >> PAGE_BITS;
        ram.write_rom(BASE, &[7; 8]).unwrap();
        assert!(told().is_empty(), "it is data");
        mark(1);
        ram.write_rom(BASE, &[1; PAGE as usize]).unwrap();
        assert!(told().is_empty(), "its neighbour was written");
        ram.write_rom(BASE + PAGE - 1, &[2; 2]).unwrap();
        assert_eq!(told(), [first + 1]);
        assert!(!ram.is_code(BASE + PAGE));
        assert_eq!(contents.load(PAGE - 1, Width::B2), Some(0x0202));
        mark(0);
        mark(3);
        ram.show_rom(BASE, true);
        assert!(told().is_empty(), "it was shown already");
        ram.show_rom(BASE, false);
        assert_eq!(told(), [first, first + 3]);
        ram.show_rom(BASE, false);
        assert!(told().is_empty());
        assert_eq!(ram.write_rom(BASE + SIZE - 1, &[0; 2]), None);
        assert_eq!(ram.write_rom(BASE + SIZE, &[0; 1]), None);
    }
}
