//! Any register accesses and any rings: devices neither panic nor leave guest memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, Mutex};
use trine_base::{Actions, BlockBackend, BlockError, Device, SeededRandom, Width};
use trine_devices::serial::ConsoleInput;
use trine_devices::virtio::block::Block;
use trine_devices::virtio::console::Console;
use trine_devices::virtio::rng::Rng;
use trine_devices::virtio::{Mmio, Virtio};
use trine_memory::Ram;

const BASE: u64 = 0x8000_0000;

/// A disk that panics where the device lets a request reach past its end.
struct Disk(Mutex<Vec<u8>>);

impl BlockBackend for Disk {
    fn size(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }
    fn read_only(&self) -> bool {
        false
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        buf.copy_from_slice(&self.0.lock().unwrap()[offset as usize..][..buf.len()]);
        Ok(())
    }
    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<(), BlockError> {
        self.0.lock().unwrap()[offset as usize..][..buf.len()].copy_from_slice(buf);
        Ok(())
    }
    fn format(&self) -> &'static str {
        "test"
    }
    fn discard(&self, _: u64, _: u64) -> Result<(), BlockError> {
        Ok(())
    }
    fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, rest)) = data.split_first() else { return };
    let ram = Arc::new(Ram::new(BASE, 1 << 14).unwrap());
    let input = Arc::new(ConsoleInput::new());
    input.push(b"typed");
    let device: Box<dyn Virtio> = match kind % 3 {
        0 => Box::new(Block::new(Arc::new(Disk(vec![0; 8192].into())), "disk")),
        1 => Box::new(Console::new(Box::new(|_| {}), input)),
        _ => Box::new(Rng::new(Box::new(SeededRandom::new(4)))),
    };
    let mut mmio = Mmio::new(1, ram.clone(), device);
    let mut out = Actions::new();
    // A driver's own steps, so that the rings are reached at once.
    for (offset, value) in [
        (0x70, 3), (0x24, 1), (0x20, 1), (0x70, 11), (0x30, (kind % 3 == 1) as u64), (0x38, 8), (0x80, BASE),
        (0x90, BASE + 0x400), (0xa0, BASE + 0x800), (0x44, 1), (0x70, 15),
    ] {
        mmio.write(offset, Width::B4, value, 0, &mut out);
    }
    for op in rest.chunks(8) {
        let mut b = [0; 8];
        b[..op.len()].copy_from_slice(op);
        let value = u32::from_le_bytes([b[4], b[5], b[6], b[7]]) as u64;
        let at = u16::from_le_bytes([b[1], b[2]]) as u64;
        match b[0] % 4 {
            0 => mmio.write(at & 0x1ff, Width::B4, value, 0, &mut out),
            1 => drop(mmio.read(at & 0x1ff, Width::B4, 0, &mut out)),
            // Addresses in rings point into memory more often than not.
            2 => drop(ram.write(BASE + (at & 0x3ff8), &(BASE + (value & 0x7fff)).to_le_bytes())),
            _ => drop(ram.write(BASE + (at & 0x3fff), &b[3..8])),
        }
    }
    mmio.write(0x50, Width::B4, 0, 0, &mut out);
    mmio.write(0x50, Width::B4, 1, 0, &mut out);
});
