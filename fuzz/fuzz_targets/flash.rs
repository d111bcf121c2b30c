//! Any accesses to a bank of flash, with changes that are kept, refused, or saved in a file that sometimes fails: it does not
//! panic, vCPUs see what the device answers, only an erasure sets bits, the file has what the guest sees, and a saved bank
//! comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use trine_base::{Actions, BlockBackend, BlockError, Device, Width};
use trine_devices::flash::{Changes, Flash, SECTOR};
use trine_memory::{Contents, Ram};

const BASE: u64 = 0x2000_0000;
const SIZE: u64 = 2 * SECTOR;
/// First bytes of commands, which a fuzzer would find late.
const COMMANDS: [u64; 12] = [0x40, 0x20, 0xd0, 0xe8, 0x01, 0x70, 0x90, 0x98, 0x60, 0x50, 0xff, 0x10];

/// A file of which every so many writes one is done by half and fails; with 0 none does.
struct File {
    bytes: Mutex<Vec<u8>>,
    fails: u32,
    writes: AtomicU32,
}

impl BlockBackend for File {
    fn size(&self) -> u64 {
        self.bytes.size()
    }

    fn read_only(&self) -> bool {
        false
    }

    fn format(&self) -> &'static str {
        "raw"
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        self.bytes.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<(), BlockError> {
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        if self.fails == 0 || number % self.fails != self.fails - 1 {
            return self.bytes.write_at(offset, buf);
        }
        self.bytes.write_at(offset, &buf[..buf.len() / 2])?;
        Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into())
    }

    fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }

    fn discard(&self, _offset: u64, _len: u64) -> Result<(), BlockError> {
        Ok(())
    }
}

fn bank(changes: Changes) -> (Arc<Ram>, Arc<Contents>, Flash) {
    let contents = Arc::new(Contents::zeros(SIZE));
    let ram = Arc::new(Ram::new(0x8000_0000, 4096).unwrap().with_rom(BASE, contents.clone()).unwrap());
    let flash = Flash::new(ram.clone(), BASE, contents.clone(), changes);
    (ram, contents, flash)
}

/// The first bytes, and those around the end of the first sector.
fn near(contents: &Contents) -> [[u8; 256]; 2] {
    [0, SECTOR - 128].map(|at| {
        let mut bytes = [0; 256];
        contents.read(at, &mut bytes).unwrap();
        bytes
    })
}

fuzz_target!(|data: &[u8]| {
    // The length says what becomes of changes: half of all inputs are for a file, of which each second to fourth write
    // fails, or none.
    let length = data.len() as u32;
    let fails = [0, 2, 3, 4][length as usize / 4 % 4];
    let file = Arc::new(File { bytes: Mutex::new(vec![0; SIZE as usize]), fails, writes: AtomicU32::new(0) });
    let (changes, refused) = match length % 4 {
        0 => (Changes::Kept, false),
        1 => (Changes::Refused, true),
        _ => (Changes::Saved(file.clone()), false),
    };
    let saved = length % 4 > 1;
    let (ram, contents, mut flash) = bank(changes);
    let mut out = Actions::new();
    let mut erases = false;
    for op in data.chunks(8) {
        let mut b = [0; 8];
        b[..op.len()].copy_from_slice(op);
        let width = [Width::B1, Width::B2, Width::B4, Width::B8][b[1] as usize % 4];
        let start = [0, SECTOR - 128][b[1] as usize >> 2 & 1];
        let offset = start + u64::from(b[2]) % (257 - width.bytes());
        let value = match b[0] >> 1 {
            n if usize::from(n) < COMMANDS.len() => COMMANDS[usize::from(n)],
            _ => u64::from(u32::from_le_bytes([b[4], b[5], b[6], b[7]])) << (u32::from(b[3]) % 33),
        } & width.mask();
        if b[0] & 1 == 0 {
            let before = near(&contents);
            flash.write(offset, width, value, 0, &mut out);
            let after = near(&contents);
            let sets = |(old, new): (&u8, &u8)| new & !old != 0;
            let set = before.as_flattened().iter().zip(after.as_flattened()).any(sets);
            assert!(!refused || before == after, "a refused change was made");
            if saved {
                let bytes = file.bytes.lock().unwrap();
                let there = [0, SECTOR as usize - 128].map(|at| &bytes[at..at + 256]);
                assert!(there == after, "the file is not as the guest sees it");
            }
            // Of a write of 8 bytes, the second half may have confirmed what the first began.
            assert!(!set || erases || width == Width::B8, "bits were set");
            erases = value & 0xff == 0x20 || width == Width::B8 && value >> 32 & 0xff == 0x20;
        }
        let answer = flash.read(offset, width, 0, &mut out);
        assert!(ram.load_rom(BASE + offset, width).is_none_or(|seen| seen == answer));
    }
    let state = flash.save();
    let (_, _, mut other) = bank(Changes::Kept);
    other.load(&state).unwrap();
    assert_eq!(other.save(), state);
    for at in [0, 4, SECTOR - 4, SECTOR] {
        assert_eq!(other.read(at, Width::B4, 0, &mut out), flash.read(at, Width::B4, 0, &mut out));
    }
    assert!(out.is_empty(), "it asks for nothing");
});
