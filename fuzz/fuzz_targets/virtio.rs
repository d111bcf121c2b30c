//! Any register accesses and any rings: devices neither panic nor leave guest memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use trine_base::{
    Actions, BlockBackend, BlockError, Device, NetBackend, Offloads, Partial, SeededRandom, Waker, Width,
};
use trine_devices::pci::{Seat, bar_offset};
use trine_devices::serial::ConsoleInput;
use trine_devices::virtio::balloon::{Balloon, BalloonControl};
use trine_devices::virtio::block::Block;
use trine_devices::virtio::console::{Console, Port, SizePort, TerminalSize};
use trine_devices::virtio::fs::Fs;
use trine_devices::virtio::net::Net;
use trine_devices::virtio::rng::Rng;
use trine_devices::virtio::{Mmio, Pci, Virtio};
use trine_memory::Ram;
use trine_share::{Access, Folder, Server};

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

/// A network that returns what it is sent, and panics where a frame leaves undone what it did not agree to.
#[derive(Default)]
struct Loop(Vec<(Vec<u8>, Partial)>, Offloads);

impl NetBackend for Loop {
    fn set_waker(&mut self, _: Waker) {}
    fn takes(&self) -> Offloads {
        Offloads { checksum: true, tcp4: true, tcp6: false }
    }
    fn set_gives(&mut self, gives: Offloads) {
        self.1 = gives;
    }
    fn mtu(&self) -> u16 {
        1500
    }
    fn is_up(&self) -> bool {
        self.0.len() % 7 != 6
    }
    fn send(&mut self, frame: &[u8], partial: Partial) {
        assert!((14..=trine_base::net::MAX_FRAME).contains(&frame.len()));
        assert!(!matches!(partial.segments, Some((trine_base::net::Segments::Tcp6, _))));
        self.0.push((frame.to_vec(), partial));
    }
    fn receive(&mut self, frame: &mut Vec<u8>) -> Option<Partial> {
        let (next, partial) = self.0.pop()?;
        *frame = next;
        Some(partial)
    }
    fn reset(&mut self) {}
}

/// A device with a shared folder, the same in each run. What a request may do to it is the target `fuse`'s.
fn folder() -> Fs {
    static DIR: LazyLock<PathBuf> =
        LazyLock::new(|| std::env::temp_dir().join(format!("trine-fuzz-virtio-{}", std::process::id())));
    drop(std::fs::remove_dir_all(&*DIR));
    std::fs::create_dir_all(DIR.join("d")).unwrap();
    std::fs::write(DIR.join("a"), "text").unwrap();
    Fs::new("share0", Server::new(Arc::new(Folder::open(&DIR, Access::Write).unwrap()), 1))
}

/// A device behind one of the transports, whose registers all lie within 512 bytes.
struct Rig {
    device: Box<dyn Device>,
    pci: bool,
}

impl Rig {
    /// Where a register of the transport is.
    fn place(&self, at: u64) -> u64 {
        let virtio = bar_offset(4);
        match (self.pci, at & 0x1ff) {
            (false, at) => at,
            (true, at @ ..0x80) => virtio + at,
            (true, at @ ..0xc0) => virtio + 0x3000 + (at - 0x80),
            (true, at @ ..0x100) => virtio + 0x2000 + (at - 0xc0),
            (true, at @ ..0x140) => virtio + 0x1000 * (at & 1),
            (true, at) => at - 0x140,
        }
    }

    fn write(&mut self, at: u64, width: Width, value: u64) {
        self.device.write(self.place(at), width, value, 0, &mut Actions::new());
    }

    /// A driver's own steps, so that the rings are reached at once.
    fn drive(&mut self, queue: u64, features: u64) {
        let [a, b, c] = [BASE, BASE + 0x400, BASE + 0x800];
        let (w1, w2, w4, w8) = (Width::B1, Width::B2, Width::B4, Width::B8);
        if self.pci {
            self.device.write(4, w2, 6, 0, &mut Actions::new());
            let steps = [
                (0x14, w1, 3),
                (8, w4, 0),
                (0xc, w4, features),
                (8, w4, 1),
                (0xc, w4, 1),
                (0x14, w1, 11),
                (0x16, w2, queue),
                (0x18, w2, 8),
                (0x20, w8, a),
                (0x28, w8, b),
                (0x30, w8, c),
                (0x1c, w2, 1),
                (0x14, w1, 15),
            ];
            steps.into_iter().for_each(|(at, width, value)| self.write(at, width, value));
            return;
        }
        let steps = [
            (0x70, 3),
            (0x24, 0),
            (0x20, features),
            (0x24, 1),
            (0x20, 1),
            (0x70, 11),
            (0x30, queue),
            (0x38, 8),
            (0x80, a),
            (0x90, b),
            (0xa0, c),
            (0x44, 1),
            (0x70, 15),
        ];
        steps.into_iter().for_each(|(at, value)| self.write(at, w4, value));
    }

    fn notify(&mut self, queue: u64) {
        let at = if self.pci { 0x80 + 4 * queue } else { 0x50 };
        self.write(at, Width::B4, queue);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&kind, rest)) = data.split_first() else { return };
    let ram = Arc::new(Ram::new(BASE, 1 << 14).unwrap());
    let input = Arc::new(ConsoleInput::new());
    input.push(b"typed");
    let size = Arc::<TerminalSize>::default();
    size.set((24, 80));
    let ports =
        vec![Port::console(Box::new(|_| {}), input), Port::named("size", SizePort::new(size.clone()))];
    let device: Box<dyn Virtio> = match kind % 6 {
        0 => Box::new(Block::new(Arc::new(Disk(vec![0; 8192].into())), "disk")),
        1 => Box::new(Console::with_ports(ports, size)),
        2 => Box::new(Rng::new(Box::new(SeededRandom::new(4)))),
        4 => Box::new(Balloon::new(Arc::new(BalloonControl::default()))),
        5 => Box::new(folder()),
        _ => Box::new(Net::new(Box::new(Loop::default()), [2, 0, 0, 0, 0, 1], 2)),
    };
    let pci = kind & 0x80 != 0;
    let offered = device.features() | 3 << 28;
    let device: Box<dyn Device> = match pci {
        true => Box::new(Pci::new(Seat::alone(3, kind & 0x40 != 0), ram.clone(), device)),
        false => Box::new(Mmio::new(1, ram.clone(), device)),
    };
    let mut rig = Rig { device, pci };
    let queue = if matches!(kind % 6, 1 | 3..) { (kind >> 3 & 3) as u64 } else { 0 };
    rig.drive(queue, if kind & 0x20 != 0 { offered } else { 0 });
    for op in rest.chunks(8) {
        let mut b = [0; 8];
        b[..op.len()].copy_from_slice(op);
        let value = u32::from_le_bytes([b[4], b[5], b[6], b[7]]) as u64;
        let at = u16::from_le_bytes([b[1], b[2]]) as u64;
        match b[0] % 5 {
            0 => rig.write(at, Width::B4, value),
            1 => drop(rig.device.read(rig.place(at), Width::B4, 0, &mut Actions::new())),
            // Addresses in rings point into memory more often than not.
            2 => drop(ram.write(BASE + (at & 0x3ff8), &(BASE + (value & 0x7fff)).to_le_bytes())),
            3 => drop(ram.write(BASE + (at & 0x3fff), &b[3..8])),
            _ => rig.device.timer(0, &mut Actions::new()),
        }
    }
    (0..6).for_each(|queue| rig.notify(queue));
    rig.device.timer(0, &mut Actions::new());
});
