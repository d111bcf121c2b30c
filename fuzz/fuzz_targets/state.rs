//! Any bytes as the saved state of a device: it refuses them, or works on with them without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use trine_base::{
    Actions, BlockBackend, BlockError, Bus, CountClock, Device, HostClock, Mailbox, NetBackend, Offloads,
    Partial, SeededRandom, Waker, Width,
};
use trine_devices::flash::{Changes, Flash, SECTOR};
use trine_devices::intc::{Plic, plic::Target};
use trine_devices::pci::{HostBridge, Seat, bar_offset};
use trine_devices::rtc::GoldfishRtc;
use trine_devices::serial::{ConsoleInput, Ns16550a};
use trine_devices::timer::Aclint;
use trine_devices::virtio::balloon::{Balloon, BalloonControl};
use trine_devices::virtio::block::Block;
use trine_devices::virtio::console::{Console, Port, SizePort, TerminalSize};
use trine_devices::virtio::fs::Fs;
use trine_devices::virtio::net::Net;
use trine_devices::virtio::rng::Rng;
use trine_devices::virtio::vsock::Vsock;
use trine_devices::virtio::{Mmio, Pci, Virtio};
use trine_memory::{Contents, Ram};
use trine_share::{Access, Folder, Server};

const BASE: u64 = 0x8000_0000;
const SIZE: u64 = 1 << 14;

struct Disk;

impl BlockBackend for Disk {
    fn size(&self) -> u64 {
        8 << 20
    }
    fn read_only(&self) -> bool {
        false
    }
    fn read_at(&self, _: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        buf.fill(7);
        Ok(())
    }
    fn write_at(&self, _: u64, _: &[u8]) -> Result<(), BlockError> {
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

/// A network without frames.
struct Silent;

impl NetBackend for Silent {
    fn set_waker(&mut self, _: Waker) {}
    fn takes(&self) -> Offloads {
        Offloads { checksum: true, tcp4: true, tcp6: true }
    }
    fn set_gives(&mut self, _: Offloads) {}
    fn mtu(&self) -> u16 {
        1500
    }
    fn is_up(&self) -> bool {
        true
    }
    fn send(&mut self, _: &[u8], _: Partial) {}
    fn receive(&mut self, _: &mut Vec<u8>) -> Option<Partial> {
        None
    }
    fn reset(&mut self) {}
}

/// Number of kinds of devices.
const KINDS: u8 = 15;

/// A console device with a console and a named port.
fn ports(input: Arc<ConsoleInput>) -> Console {
    let size = Arc::<TerminalSize>::default();
    size.set((24, 80));
    let ports =
        vec![Port::console(Box::new(|_| {}), input), Port::named("size", SizePort::new(size.clone()))];
    Console::with_ports(ports, size)
}

fn device(kind: u8, ram: &Arc<Ram>) -> Box<dyn Device> {
    let input = Arc::new(ConsoleInput::new());
    let mmio = |device: Box<dyn Virtio>| Box::new(Mmio::new(1, ram.clone(), device));
    match kind % KINDS {
        0 => Box::new(Aclint::new(2)),
        1 => Box::new(Plic::new(40, &[Target { vcpu: 0, line: 11 }, Target { vcpu: 0, line: 9 }])),
        2 => Box::new(GoldfishRtc::new(11, Arc::new(CountClock::new(1, 0)))),
        3 => Box::new(Ns16550a::new(10, Box::new(|_| {}), input)),
        4 => mmio(Box::new(Block::new(Arc::new(Disk), "disk"))),
        5 => mmio(Box::new(Console::new(Box::new(|_| {}), input))),
        6 => mmio(Box::new(Rng::new(Box::new(SeededRandom::new(4))))),
        7 => Box::new(HostBridge::new()),
        12 => {
            let contents = Arc::new(Contents::zeros(SECTOR));
            let ram = Ram::new(BASE, SIZE).unwrap().with_rom(0, contents.clone()).unwrap();
            Box::new(Flash::new(Arc::new(ram), 0, contents, Changes::Kept))
        }
        14 => {
            // The session's state has a target of its own.
            let folder = Folder::open(std::path::Path::new("/proc/self/fdinfo"), Access::ReadOnly).unwrap();
            mmio(Box::new(Fs::new("share0", Server::new(Arc::new(folder), 1))))
        }
        13 => mmio(Box::new(Balloon::new(Arc::new(BalloonControl::default())))),
        11 => mmio(Box::new(ports(input))),
        10 => mmio(Box::new(Vsock::new(7, trine_base::vsock::streams().0))),
        8 => {
            let rng = Rng::new(Box::new(SeededRandom::new(4)));
            Box::new(Pci::new(Seat::alone(2, true), ram.clone(), Box::new(rng)))
        }
        _ => mmio(Box::new(Net::new(Box::new(Silent), [2, 0, 0, 0, 0, 1], 2))),
    }
}

/// The state of a whole bus.
fn bus(state: &[u8], counted: bool) {
    let ram = Arc::new(Ram::new(BASE, SIZE).unwrap());
    let mailbox = Arc::new(Mailbox::new());
    let mut bus = match counted {
        true => Bus::new(Arc::new(CountClock::new(1, 0)), vec![mailbox]),
        false => Bus::new(Arc::new(HostClock::new()), vec![mailbox]),
    };
    // Those that the buses of the seeds have.
    for kind in 0..7 {
        bus.add(0x100_0000 * u64::from(kind), 0x100_0000, device(kind, &ram)).unwrap();
    }
    bus.pause();
    if bus.load(state).is_ok() {
        assert_eq!(bus.save().len(), state.len());
        bus.resume();
        bus.run_timers();
    }
}

fuzz_target!(|data: &[u8]| {
    let [kind, memory, state @ ..] = data else { return };
    if *kind >= 0xfe {
        return bus(state, kind & 1 != 0);
    }
    let ram = Arc::new(Ram::new(BASE, SIZE).unwrap());
    // Rings that are not all zeros.
    for i in 0..SIZE / 16 {
        ram.write(BASE + 16 * i, &[*memory, (i as u8).wrapping_mul(*memory)]).unwrap();
    }
    let mut device = device(*kind, &ram);
    if device.load(state).is_err() {
        return;
    }
    let saved = device.save();
    device.load(&saved).unwrap();
    let mut out = Actions::new();
    let bars = [1, 4].map(bar_offset);
    let more =
        [0x4000, 0x4008, 0xbff8, 0x20_0004, 0x20_1004, bars[1] + 0x1000, bars[1] + 0x2000, bars[1] + 0x3000];
    for offset in (0..0x200).chain(more).chain(bars[0]..bars[0] + 0x40).chain(bars[1]..bars[1] + 0x40) {
        device.read(offset, Width::B4, 1000, &mut out);
        device.write(offset, Width::B4, u64::from(*memory), 1000, &mut out);
    }
    device.timer(2000, &mut out);
    device.input(3, true, &mut out);
    device.reset(&mut out);
});
