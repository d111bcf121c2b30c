//! Commands as drivers give them (Linux's `cfi_cmdset_0001`, EDK2's `VirtNorFlashDxe`), and others.

use super::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use trine_base::BlockError;

const BASE: u64 = 0x2000_0000;
const SIZE: u64 = 2 * SECTOR;
/// The status register of both chips.
const READY: u64 = 0x0080_0080;

/// A file in memory. If it is told to, every other write, from the first on, fails in its middle.
struct File {
    bytes: Mutex<Vec<u8>>,
    fails: bool,
    writes: AtomicU32,
}

impl BlockBackend for File {
    fn size(&self) -> u64 {
        SIZE
    }
    fn read_only(&self) -> bool {
        false
    }
    fn format(&self) -> &'static str {
        "test"
    }
    fn read_at(&self, _: u64, _: &mut [u8]) -> Result<(), BlockError> {
        Err(BlockError::ReadOnly)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), BlockError> {
        let full = self.fails && self.writes.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        let len = if full { bytes.len() / 2 } else { bytes.len() };
        self.bytes.lock().unwrap()[offset as usize..][..len].copy_from_slice(&bytes[..len]);
        if full { Err(BlockError::Io(std::io::ErrorKind::StorageFull.into())) } else { Ok(()) }
    }
    fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }
    fn discard(&self, _: u64, _: u64) -> Result<(), BlockError> {
        Ok(())
    }
}

/// A bank and what vCPUs see of it.
struct Test {
    ram: Arc<Ram>,
    flash: Flash,
}

impl Test {
    fn new(changes: Changes) -> Test {
        let contents = Arc::new(Contents::zeros(SIZE));
        let ram = Ram::new(0x8000_0000, PAGE).unwrap().with_rom(BASE, contents.clone()).unwrap();
        let ram = Arc::new(ram);
        Test { flash: Flash::new(ram.clone(), BASE, contents, changes), ram }
    }

    fn kept() -> Test {
        Test::new(Changes::Kept)
    }

    fn saved(fails: bool) -> (Test, Arc<File>) {
        let file =
            Arc::new(File { bytes: Mutex::new(vec![0; SIZE as usize]), fails, writes: AtomicU32::new(0) });
        (Test::new(Changes::Saved(file.clone())), file)
    }

    fn write(&mut self, offset: u64, value: u64) {
        self.write_as(offset, Width::B4, value);
    }

    fn write_as(&mut self, offset: u64, width: Width, value: u64) {
        let mut out = Actions::new();
        self.flash.write(offset, width, value, 0, &mut out);
        assert!(out.is_empty());
    }

    /// A command to both chips.
    fn command(&mut self, offset: u64, byte: u64) {
        self.write(offset, byte << 16 | byte);
    }

    /// A load by a vCPU.
    fn read(&mut self, offset: u64) -> u64 {
        self.read_as(offset, Width::B4)
    }

    fn read_as(&mut self, offset: u64, width: Width) -> u64 {
        let of_device = self.flash.read(offset, width, 0, &mut Actions::new());
        match self.ram.load_rom(BASE + offset, width) {
            // Where the memory is shown, the device would answer the same.
            Some(value) => assert_eq!(value, of_device),
            None => assert_ne!(self.flash.registers.mode, Mode::Array),
        }
        of_device
    }

    fn erase(&mut self, offset: u64) {
        self.command(offset, 0x20);
        self.command(offset, 0xd0);
    }

    fn program(&mut self, offset: u64, value: u64) {
        self.command(offset, 0x40);
        self.write(offset, value);
    }

    /// The status register, then the array again.
    fn status(&mut self) -> u64 {
        self.command(0, 0x70);
        let status = self.read(0);
        self.command(0, 0x50);
        self.command(0, 0xff);
        status
    }
}

#[test]
fn a_sector_is_erased_and_words_are_programmed() {
    let mut t = Test::kept();
    t.erase(SECTOR + 0x1234);
    assert_eq!((t.read(0), t.read(SECTOR)), (READY, READY), "after a command, reads give the status");
    t.command(0, 0xff);
    assert_eq!((t.read(SECTOR - 4), t.read(SECTOR), t.read(SIZE - 4)), (0, 0xffff_ffff, 0xffff_ffff));
    t.program(SECTOR + 8, 0x1234_5678);
    assert_eq!(t.status(), READY);
    assert_eq!((t.read(SECTOR + 8), t.read(SECTOR + 12)), (0x1234_5678, 0xffff_ffff));
    // Only an erasure sets bits.
    t.program(SECTOR + 8, 0xff00_ff0f);
    t.command(0, 0xff);
    assert_eq!(t.read(SECTOR + 8), 0x1200_5608);
    // One chip alone, one byte of it, and the alternative command.
    t.command(SECTOR, 0x10);
    t.write_as(SECTOR + 18, Width::B2, 0xabcd);
    t.command(SECTOR, 0x40);
    t.write_as(SECTOR + 21, Width::B1, 0x12);
    assert_eq!(t.status(), READY);
    assert_eq!((t.read(SECTOR + 16), t.read(SECTOR + 20)), (0xabcd_ffff, 0xffff_12ff));
    assert_eq!(t.read_as(SECTOR + 17, Width::B8), 0xffff_ff12_ffab_cdff);
}

#[test]
fn a_buffer_is_programmed_at_once() {
    let mut t = Test::kept();
    t.erase(0);
    t.command(0, 0xe8);
    assert_eq!(t.read(0), READY, "the buffer is free");
    t.command(0, 3);
    for n in 0..4 {
        t.write(0x100 + 4 * n, 0x1111_1111 * n);
        assert_eq!(t.flash.contents.load(0x100, Width::B4), Some(0xffff_ffff));
    }
    t.command(0, 0xd0);
    assert_eq!(t.status(), READY);
    assert_eq!((t.read(0x100), t.read(0x10c), t.read(0x110)), (0, 0x3333_3333, 0xffff_ffff));
    // As much as fits, in any order, by writes of 8 bytes, each of which is two.
    t.command(0, 0xe8);
    t.command(0, u64::from(BUFFER_WORDS) - 1);
    (0..512).rev().for_each(|n| t.write_as(0x1000 + 8 * n, Width::B8, n << 32 | n));
    t.command(0, 0xd0);
    assert_eq!(t.status(), READY);
    assert_eq!((t.read(0x1000 + 8 * 511), t.read(0x1004 + 8 * 300), t.read(0x2000)), (511, 300, 0xffff_ffff));
}

#[test]
fn what_is_not_followed_by_what_must_follow_it_is_an_error() {
    let error = READY | 0x30_0030;
    let words: [&[(u64, u64)]; 5] = [
        // Erasures and programming of a buffer that are not confirmed, a lock that is none.
        &[(0, 0x20), (0, 0xff)],
        &[(0, 0xe8), (0, 0), (0, 0), (0, 0xff)],
        &[(0, 0x60), (0, 0x33)],
        // More than fits in the buffer, and data in two sectors.
        &[(0, 0xe8), (0, u64::from(BUFFER_WORDS))],
        &[(0, 0xe8), (0, 1), (SECTOR - 4, 0), (SECTOR, 0), (0, 0xd0)],
    ];
    for words in words {
        let mut t = Test::kept();
        t.erase(0);
        t.erase(SECTOR);
        words.iter().for_each(|&(offset, byte)| t.command(offset, byte));
        assert_eq!(t.read(0), error, "{words:x?}");
        // It stays until it is cleared, and does no harm.
        t.program(8, 0);
        assert_eq!(t.status(), error);
        assert_eq!(t.status(), READY);
        assert_eq!((t.read(0), t.read(SECTOR), t.read(8)), (0xffff_ffff, 0xffff_ffff, 0), "{words:x?}");
    }
    // A value that a guest stores across a sector's end.
    let mut t = Test::kept();
    t.command(0, 0x40);
    t.write(SECTOR - 2, 0);
    assert_eq!(t.status(), error);
}

#[test]
fn the_chips_describe_themselves() {
    let mut t = Test::kept();
    t.command(0x55 << 2, 0x98);
    let text = |t: &mut Test, first: u64, n: u64| -> Vec<u64> {
        (first..first + n).map(|i| t.read(4 * i)).collect()
    };
    let both = |bytes: &[u8]| bytes.iter().map(|&b| u64::from(b) << 16 | u64::from(b)).collect::<Vec<_>>();
    assert_eq!(text(&mut t, 0x10, 3), both(b"QRY"));
    assert_eq!(text(&mut t, 0x13, 4), both(&[1, 0, 0x31, 0]));
    // A chip of 256 KiB with two blocks of 128 KiB.
    assert_eq!(text(&mut t, 0x27, 1), both(&[18]));
    assert_eq!(text(&mut t, 0x2a, 7), both(&[11, 0, 1, 1, 0, 0, 2]));
    assert_eq!(text(&mut t, 0x31, 5), both(b"PRI10"));
    assert_eq!((t.read(4 * 0x40), t.read(SIZE - 4)), (0, 0));
    // As a narrow bus sees it.
    assert_eq!((t.read_as(0x42, Width::B2), t.read_as(0x41, Width::B1)), (b'Q'.into(), 0));
    t.command(0, 0x90);
    assert_eq!(text(&mut t, 0, 3), both(&[0x89, 0x18, 0]));
    assert_eq!(t.read(SECTOR + 8), 0, "not locked");
    t.command(0, 0x60);
    t.command(0, 0xd0);
    assert_eq!(t.status(), READY, "it can be unlocked");
    // Resets of other command sets.
    for reset in [0xf0, 0, 0xff] {
        t.command(0, 0x98);
        t.command(0, reset);
        assert_eq!(t.read(0x40), 0);
    }
}

#[test]
fn changes_go_to_the_file_or_do_not_happen() {
    let (mut t, file) = Test::saved(false);
    t.erase(SECTOR);
    t.program(SECTOR + 4, 0x0102_0304);
    assert_eq!(t.status(), READY);
    let bytes = file.bytes.lock().unwrap().clone();
    assert_eq!(bytes[SECTOR as usize - 1..][..10], [0, 255, 255, 255, 255, 4, 3, 2, 1, 255]);
    let (mut t, file) = Test::saved(true);
    t.erase(0);
    assert_eq!((t.status(), t.read(0)), (READY | 0x20_0020, 0));
    assert!(file.bytes.lock().unwrap().iter().all(|byte| *byte == 0), "half an erasure is taken back");
    t.program(0, 0);
    assert_eq!(t.status(), READY | 0x10_0010);
    let mut t = Test::new(Changes::Refused);
    t.erase(0);
    assert_eq!((t.status(), t.read(0)), (READY | 0x22_0022, 0));
    t.program(0, 0);
    assert_eq!(t.status(), READY | 0x12_0012);
    t.command(0, 0x90);
    assert_eq!(t.read(SECTOR + 8), 0x1_0001, "locked");
}

#[test]
fn a_reset_keeps_the_contents() {
    let mut t = Test::kept();
    t.erase(0);
    t.command(0, 0xe8);
    t.command(0, 5);
    t.write(0, 7);
    t.flash.reset(&mut Actions::new());
    assert_eq!(t.read(0), 0xffff_ffff);
    t.write(0, 0);
    assert_eq!((t.status(), t.read(0)), (READY, 0xffff_ffff), "a command, not data");
}

#[test]
fn a_state_has_the_contents_and_what_is_under_way() {
    let mut t = Test::kept();
    t.erase(SECTOR);
    t.program(SECTOR + 8, 0x1234_5678);
    t.command(0, 0xe8);
    t.command(0, 1);
    t.write(SECTOR, 0xaaaa_aaaa);
    let state = t.flash.save();
    assert!(state.len() < 5000, "{} bytes: equal bytes take no room", state.len());
    let mut other = Test::kept();
    other.erase(0);
    other.flash.load(&state).unwrap();
    assert_eq!(other.flash.save(), state);
    assert_eq!(other.read(0), READY);
    other.write(SECTOR + 4, 0xbbbb_bbbb);
    other.command(0, 0xd0);
    assert_eq!(other.status(), READY);
    let read = |t: &mut Test| [0, SECTOR, SECTOR + 4, SECTOR + 8, SIZE - 4].map(|at| t.read(at));
    assert_eq!(read(&mut other), [0, 0xaaaa_aaaa, 0xbbbb_bbbb, 0x1234_5678, 0xffff_ffff]);
}

#[test]
fn states_of_other_banks_and_damaged_ones_are_refused() {
    let registers = || Registers::default();
    let with = |registers, size, pages| {
        let error = Test::kept().flash.load(&state::save(&Saved::V1(V1 { registers, size, pages })));
        error.map_err(|e| e.to_string()).err().unwrap_or_default()
    };
    let last = (SIZE / PAGE) as u32 - 1;
    assert_eq!(with(registers(), SIZE, vec![(0, vec![1]), (last, vec![0; 4096])]), "");
    assert!(with(registers(), SECTOR, vec![]).contains("it has 256 KiB, but this machine's has 512 KiB"));
    for pages in
        [vec![(last + 1, vec![1])], vec![(1, vec![1]), (1, vec![1])], vec![(1, vec![1]), (0, vec![1])]]
    {
        assert!(with(registers(), SIZE, pages).contains("not in order"));
    }
    assert!(with(registers(), SIZE, vec![(0, vec![1; 4095])]).contains("not complete"));
    assert!(with(registers(), SIZE, vec![(0, vec![])]).contains("not complete"));
    let data = |offset, len| Data { offset, len, value: 0 };
    for (step, buffer, why) in [
        (Step::Data(0), vec![], "more data"),
        (Step::Data(BUFFER_WORDS), vec![data(0, 4)], "more data"),
        (Step::Confirm, vec![data(SIZE as u32 - 3, 4)], "lies outside"),
        (Step::Confirm, vec![data(u32::MAX, 1)], "lies outside"),
        (Step::Confirm, vec![data(0, 3)], "lies outside"),
    ] {
        let error = with(Registers { step, buffer, ..registers() }, SIZE, vec![]);
        assert!(error.contains(why), "{error}");
    }
}
