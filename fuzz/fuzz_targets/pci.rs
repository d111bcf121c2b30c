//! Any accesses to configuration spaces and BARs through a board's bus: functions neither panic nor answer where another
//! window is, and a saved bus comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use trine_base::{Bus, CountClock, Device, DeviceId, SeededRandom, Width};
use trine_devices::intc::{Plic, plic::Target};
use trine_devices::pci::root::Wiring;
use trine_devices::pci::{Root, Seat};
use trine_devices::virtio::Pci;
use trine_devices::virtio::rng::Rng;
use trine_memory::Ram;

const BASE: u64 = 0x8000_0000;
const ECAM: u64 = 0x3000_0000;
const LOW: u64 = 0x4000_0000;
const HIGH: u64 = 0x4_0000_0000;

fn board(ram: &Arc<Ram>, messages: bool) -> (Bus, [DeviceId; 2]) {
    let mut bus = Bus::new(Arc::new(CountClock::new(1, 0)), Vec::new());
    let plic: Box<dyn Device> = Box::new(Plic::new(40, &[Target { vcpu: 0, line: 11 }]));
    let plic = bus.add(0xc00_0000, 0x60_0000, plic).unwrap();
    bus.set_controller(plic);
    let root = Root::new(&mut bus, Wiring { irq: 32, messages });
    root.add_ecam(&mut bus, ECAM, 0x1000_0000).unwrap();
    root.add_window(&mut bus, LOW, 0x10_0000).unwrap();
    root.add_window(&mut bus, HIGH, 0x10_0000).unwrap();
    let make = |seat: Seat| -> Box<dyn Device> {
        Box::new(Pci::new(seat, ram.clone(), Box::new(Rng::new(Box::new(SeededRandom::new(4))))))
    };
    let functions = [3, 7].map(|slot| root.add(&mut bus, slot, make));
    (bus, functions)
}

fuzz_target!(|data: &[u8]| {
    let Some((&flags, rest)) = data.split_first() else { return };
    let ram = Arc::new(Ram::new(BASE, 1 << 14).unwrap());
    let (bus, functions) = board(&ram, flags & 1 != 0);
    // What firmware does, so that BARs are reached at once.
    for (slot, at) in [(3, 0), (7, 0x4000)] {
        let config = ECAM + (slot << 15);
        bus.write(config + 0x14, Width::B4, LOW + at).unwrap();
        bus.write(config + 0x20, Width::B8, HIGH + at).unwrap();
        bus.write(config + 4, Width::B2, 6).unwrap();
    }
    for op in rest.chunks(8) {
        let mut b = [0; 8];
        b[..op.len()].copy_from_slice(op);
        let value = u32::from_le_bytes([b[4], b[5], b[6], b[7]]) as u64;
        let at = u16::from_le_bytes([b[1], b[2]]) as u64;
        let width = [Width::B1, Width::B2, Width::B4, Width::B8][b[3] as usize % 4];
        let slot = if b[3] & 4 != 0 { 7 } else { 3 };
        let window = match b[0] & 3 {
            0 => ECAM + (slot << 15) + (at & 0xff),
            1 => ECAM + (at << 8),
            2 => LOW + (at & 0x7fff),
            _ => HIGH + (at & 0x7fff),
        };
        match b[0] >> 2 & 3 {
            0 | 1 => bus.write(window, width, value << (8 * (b[0] >> 6 & 1))).unwrap(),
            2 => drop(bus.read(window, width).unwrap()),
            _ => drop(ram.write(BASE + (at & 0x3ff8), &(BASE + (value & 0x7fff)).to_le_bytes())),
        }
    }
    bus.pause();
    let state = bus.save();
    let (other, _) = board(&ram, flags & 1 != 0);
    other.pause();
    other.load(&state).unwrap();
    assert_eq!(other.save(), state);
    for at in (0..0x8000).step_by(0x404) {
        assert_eq!(other.read(HIGH + at, Width::B4).is_some(), bus.read(HIGH + at, Width::B4).is_some());
    }
    bus.resume();
    functions.iter().for_each(|&function| bus.request_timer(function));
    bus.run_timers();
    bus.reset();
    assert_eq!(bus.read(HIGH, Width::B4), Some(0xffff_ffff), "no BAR answers after a reset");
});
