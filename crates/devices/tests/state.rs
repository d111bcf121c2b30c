//! What every device promises about its saved state: a device that was changed through its registers, saved,
//! and loaded into a fresh device cannot be told from the original; states saved by every released version
//! can always be loaded; and no bytes make a device panic.
//!
//! A new device needs one entry in the table at the end. `BLESS=1 cargo test -p trine-devices --test state`
//! writes its golden file; an existing file is never written again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use trine_base::{
    Action, Actions, CountClock, Device, NetBackend, Offloads, Partial, SeededRandom, StateError, Waker,
    Width,
};
use trine_devices::flash::{Changes, Flash, SECTOR};
use trine_devices::intc::{Plic, plic::Target};
use trine_devices::pci::{HostBridge, Seat, bar_offset};
use trine_devices::power::Finisher;
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
use trine_devices::virtio::{EmptySlot, Mmio, Pci, Virtio};
use trine_memory::{Contents, Ram};
use trine_share::{Access, Folder, Server};

const BASE: u64 = 0x8000_0000;
const RAM: u64 = 1 << 16;
/// The clock time of all accesses.
const NOW: u64 = 1_000_000_000;

/// A device and its memory.
struct Rig {
    device: Box<dyn Device>,
    ram: Arc<Ram>,
}

impl Rig {
    fn new(make: impl FnOnce(Arc<Ram>) -> Box<dyn Device>) -> Rig {
        let ram = Arc::new(Ram::new(BASE, RAM).unwrap());
        Rig { device: make(ram.clone()), ram }
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) -> Vec<Action> {
        let mut out = Actions::new();
        self.device.write(offset, width, value & width.mask(), NOW, &mut out);
        out.drain().collect()
    }

    fn read(&mut self, offset: u64, width: Width) -> (u64, Vec<Action>) {
        let mut out = Actions::new();
        let value = self.device.read(offset, width, NOW, &mut out) & width.mask();
        (value, out.drain().collect())
    }

    fn memory(&self) -> Vec<u8> {
        let mut bytes = vec![0; RAM as usize];
        self.ram.read(BASE, &mut bytes).unwrap();
        bytes
    }

    /// Observes much of what a guest can notice: reads every register, then reads and writes registers at
    /// random (from a seed), and calls the timer.
    fn observe(&mut self, size: u64) -> Vec<(u64, Vec<Action>)> {
        let mut seen = Vec::new();
        for offset in (0..size.min(0x400)).chain((0..size).step_by(0x7c)) {
            seen.push(self.read(offset, Width::B1));
            seen.push(self.read(offset & !3, Width::B4));
        }
        let mut random = 1u64;
        for _ in 0..2000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (offset, value) = ((random >> 40) % size / 4 * 4, random >> 8 & 0xff);
            seen.push((0, self.write(offset, Width::B4, value)));
            seen.push(self.read(offset, Width::B4));
            let mut out = Actions::new();
            match random >> 33 & 7 {
                0 => self.device.timer(NOW, &mut out),
                1 => self.device.input(value as u32 & 31, random >> 60 & 1 != 0, &mut out),
                _ => {}
            }
            seen.push((0, out.drain().collect()));
        }
        seen
    }
}

/// Devices that came when the state of their transport had a later version than the first already, and that version.
const SINCE: &[(&str, u32)] =
    &[("virtio_balloon", 2), ("virtio_fs", 2), ("virtio_net", 2), ("virtio_ports", 2), ("virtio_vsock", 2)];

/// One kind of device.
struct Kind {
    name: &'static str,
    /// Size of its window in bytes.
    size: u64,
    make: fn(Arc<Ram>) -> Box<dyn Device>,
    /// Changes it as a guest and the outside would; does nothing where the device has no state.
    change: fn(&mut Rig),
}

impl Kind {
    fn fresh(&self) -> Rig {
        Rig::new(self.make)
    }

    fn changed(&self) -> Rig {
        let mut rig = self.fresh();
        (self.change)(&mut rig);
        rig
    }

    /// A fresh device with the memory of `old` and a loaded state.
    fn loaded(&self, old: &Rig, state: &[u8]) -> Result<Rig, StateError> {
        let mut rig = self.fresh();
        rig.ram.write(BASE, &old.memory()).unwrap();
        rig.device.load(state)?;
        Ok(rig)
    }

    fn comes_back(&self, holds_something: bool) {
        let mut old = self.changed();
        let state = old.device.save();
        assert_eq!(self.fresh().device.save() != state, holds_something, "the test changes what there is");
        let mut new = self.loaded(&old, &state).unwrap();
        assert_eq!(new.device.save(), state);
        assert_eq!(new.observe(self.size), old.observe(self.size));
        assert_eq!(new.device.save(), old.device.save());
        assert!(new.memory() == old.memory(), "it wrote the same to memory");
    }

    fn golden(&self) {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let old = self.changed();
        // One file per version; only the newest may be missing, while it is being made.
        let newest = u32::from(old.device.save()[0]) + 1;
        let since = SINCE.iter().find(|(name, _)| *name == self.name).map_or(1, |(_, since)| *since);
        for version in since..=newest {
            let path = dir.join(format!("{}.v{version}", self.name));
            if version == newest && !path.exists() && std::env::var_os("BLESS").is_some() {
                std::fs::write(&path, old.device.save()).unwrap();
            }
            let state = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let new = self.loaded(&old, &state).unwrap();
            assert!(new.device.save() == old.device.save(), "version {version} is read as it was meant");
        }
    }

    fn refuses_what_nobody_saved(&self) {
        let old = self.changed();
        let state = old.device.save();
        for end in 0..state.len() {
            assert!(self.loaded(&old, &state[..end]).is_err(), "cut after {end} bytes");
        }
        assert!(self.loaded(&old, &[state.as_slice(), &[0]].concat()).is_err(), "a byte too many");
        let mut later = state.clone();
        later[0] = 0x7f;
        assert!(matches!(self.loaded(&old, &later), Err(StateError::Version { found: 128, .. })));
        // Flips each bit, and sets each byte to its largest value: the device must refuse the state, or work
        // on without a panic.
        let step = (state.len() / 200).max(1);
        for at in (0..state.len()).step_by(step) {
            for byte in (0..8).map(|bit| state[at] ^ 1 << bit).chain([0x7f, 0]) {
                let mut state = state.clone();
                state[at] = byte;
                if let Ok(mut rig) = self.loaded(&old, &state) {
                    rig.observe(self.size);
                    let mut out = Actions::new();
                    rig.device.reset(&mut out);
                }
            }
        }
    }
}

macro_rules! kinds {
    ($($name:ident($size:expr, holds $holds:expr, $make:expr, $change:expr);)*) => {
        $(mod $name {
            use super::*;

            fn kind() -> Kind {
                Kind { name: stringify!($name), size: $size, make: $make, change: $change }
            }

            #[test]
            fn comes_back() {
                kind().comes_back($holds);
            }

            #[test]
            fn golden_files_are_loaded() {
                kind().golden();
            }

            #[test]
            fn refuses_what_nobody_saved() {
                kind().refuses_what_nobody_saved();
            }
        })*
    };
}

/// Size of the disk in bytes: more than is moved in one turn.
const DISK: usize = 6 << 20;

fn mmio(ram: Arc<Ram>, device: impl Virtio + 'static) -> Box<dyn Device> {
    Box::new(Mmio::new(1, ram, Box::new(device)))
}

/// What a driver sees of a PCI function: its configuration space from 0 on, and 16 KiB of each BAR behind it.
struct Flat(Box<dyn Device>);

impl Flat {
    const SIZE: u64 = 0x1000 + 5 * 0x4000;

    fn place(offset: u64) -> u64 {
        match offset.checked_sub(0x1000) {
            None => offset,
            Some(at) => bar_offset((at / 0x4000) as u8) + at % 0x4000,
        }
    }
}

impl Device for Flat {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn read(&mut self, offset: u64, width: Width, now: u64, out: &mut Actions) -> u64 {
        self.0.read(Flat::place(offset), width, now, out)
    }
    fn write(&mut self, offset: u64, width: Width, value: u64, now: u64, out: &mut Actions) {
        self.0.write(Flat::place(offset), width, value, now, out);
    }
    fn timer(&mut self, now: u64, out: &mut Actions) {
        self.0.timer(now, out);
    }
    fn reset(&mut self, out: &mut Actions) {
        self.0.reset(out);
    }
    fn save(&self) -> Vec<u8> {
        self.0.save()
    }
    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        self.0.load(state)
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

/// A driver's steps until queue `queue` of eight descriptors works; its rings lie at the start of memory.
fn drive(rig: &mut Rig, queue: u64) {
    let steps = [(0x70, 3), (0x24, 1), (0x20, 1), (0x70, 11), (0x30, queue), (0x38, 8), (0x80, BASE)];
    let rings = [(0x90, BASE + 0x400), (0xa0, BASE + 0x800), (0x44, 1), (0x70, 15)];
    for (offset, value) in steps.into_iter().chain(rings) {
        rig.write(offset, Width::B4, value);
    }
}

/// Makes one chain of buffers available: address, bytes, and whether the device writes it.
fn offer(rig: &Rig, buffers: &[(u64, u32, bool)]) {
    for (i, &(address, len, writable)) in buffers.iter().enumerate() {
        let at = BASE + 16 * i as u64;
        let flags = (i + 1 < buffers.len()) as u64 | (writable as u64) << 1;
        rig.ram.store(at, Width::B8, address).unwrap();
        rig.ram.store(at + 8, Width::B8, len as u64 | flags << 32 | (i as u64 + 1) << 48).unwrap();
    }
    rig.ram.store(BASE + 0x402, Width::B2, 1).unwrap();
}

kinds! {
    finisher(0x1000, holds false, |_| Box::new(Finisher), |_| {});
    virtio_empty(0x1000, holds false, |_| Box::new(EmptySlot), |_| {});
    rtc(
        0x20, holds true,
        |_| {
            let clock = CountClock::new(1, 1_700_000_000_000_000_000);
            clock.set_count(NOW);
            Box::new(GoldfishRtc::new(11, Arc::new(clock)))
        },
        |rig| {
            // The time is set and read in parts, an alarm is pending and another one is armed.
            let writes = [(4, 0x1234), (0, 0x5678), (0x10, 1), (0xc, 0), (8, 1), (0xc, 0x7777), (8, 0x99), (4, 7)];
            writes.iter().for_each(|&(offset, value)| drop(rig.write(offset, Width::B4, value)));
            rig.read(0, Width::B4);
        }
    );
    flash(
        SECTOR, holds true,
        |_| {
            let contents = Arc::new(Contents::zeros(SECTOR));
            let ram = Ram::new(BASE, RAM).unwrap().with_rom(0x2000_0000, contents.clone()).unwrap();
            Box::new(Flash::new(Arc::new(ram), 0x2000_0000, contents, Changes::Kept))
        },
        |rig| {
            // A sector is erased, a word is programmed, and data is on its way into the buffer.
            let steps = [(0, 0x20), (0, 0xd0), (0, 0x40), (8, 0x1234_5678), (0, 0xe8), (0, 2), (0x10, 0xff00), (0x14, 7)];
            steps.iter().for_each(|&(offset, value)| drop(rig.write(offset, Width::B4, value)));
        }
    );
    aclint(
        0xc000, holds true,
        |_| Box::new(Aclint::new(2)),
        |rig| {
            for (offset, value) in [(4, 1), (0x4000, 0x1_0000_0000), (0x4008, 5), (0xbff8, 77)] {
                let width = if offset == 4 { Width::B4 } else { Width::B8 };
                rig.write(offset, width, value);
            }
        }
    );
    plic(
        0x20_3000, holds true,
        |_| Box::new(Plic::new(40, &[Target { vcpu: 0, line: 11 }, Target { vcpu: 0, line: 9 }])),
        |rig| {
            (1..=40).for_each(|i| drop(rig.write(4 * i, Width::B4, i % 8)));
            for (offset, value) in [(0x2000, 0xffff), (0x2084, 0x1ff), (0x20_0000, 2), (0x20_1000, 1)] {
                rig.write(offset, Width::B4, value);
            }
            let mut out = Actions::new();
            [3, 7, 9, 39].iter().for_each(|&line| rig.device.input(line, true, &mut out));
            // The interrupt with the highest priority is claimed and raised again; the others are pending.
            assert_eq!(rig.read(0x20_0004, Width::B4).0, 7);
            rig.device.input(7, true, &mut out);
        }
    );
    ns16550a(
        0x100, holds true,
        |_| {
            let input = Arc::new(ConsoleInput::new());
            input.push(b"typed ahead, and more than fits into the FIFO");
            input.push_break(b"");
            Box::new(Ns16550a::new(10, Box::new(|_| {}), input))
        },
        |rig| {
            for (offset, value) in [(3, 0x80), (0, 3), (1, 1), (3, 0x13), (2, 0xc1), (4, 0xb), (7, 0x5a), (1, 7)] {
                rig.write(offset, Width::B1, value);
            }
            // Until the program counts as one that polls, and input comes.
            (0..20).for_each(|_| drop(rig.read(5, Width::B1)));
            // Which it does no more; it did not in the file of version 1.
            rig.read(7, Width::B1);
            rig.read(0, Width::B1);
        }
    );
    virtio_block(
        0x200, holds true,
        |ram| mmio(ram, Block::new(Arc::new(Mutex::new(vec![7; DISK])), "disk")),
        |rig| {
            drive(rig, 0);
            // A read of the whole disk into the same memory over and over, of which one turn is done.
            let (piece, table) = (0x4000, BASE + 0x8000);
            let pieces = (DISK / piece) as u64;
            for i in 0..pieces + 2 {
                let (address, len, flags) = match i {
                    0 => (BASE + 0x1000, 16, 1),
                    i if i <= pieces => (BASE + 0x3000, piece as u64, 3),
                    _ => (BASE + 0x1800, 1, 2),
                };
                rig.ram.store(table + 16 * i, Width::B8, address).unwrap();
                rig.ram.store(table + 16 * i + 8, Width::B8, len | flags << 32 | (i + 1) << 48).unwrap();
            }
            offer(rig, &[(table, ((pieces + 2) * 16) as u32, false)]);
            rig.ram.store(BASE + 12, Width::B2, 4).unwrap();
            let asked = rig.write(0x50, Width::B4, 0);
            assert!(matches!(asked[..], [Action::Timer { at: Some(_) }]), "it goes on later: {asked:?}");
        }
    );
    virtio_console(
        0x200, holds true,
        |ram| {
            let input = Arc::new(ConsoleInput::new());
            input.push(b"typed");
            mmio(ram, Console::new(Box::new(|_| {}), input))
        },
        |rig| {
            drive(rig, 0);
            offer(rig, &[(BASE + 0x1000, 2, true)]);
            rig.write(0x50, Width::B4, 0);
        }
    );
    pci_host(
        0x100, holds true,
        |_| Box::new(HostBridge::new()),
        |rig| {
            rig.write(4, Width::B2, 6);
        }
    );
    virtio_pci(
        Flat::SIZE, holds true,
        |ram| {
            let device = Box::new(Rng::new(Box::new(SeededRandom::new(3))));
            Box::new(Flat(Box::new(Pci::new(Seat::alone(5, true), ram, device))))
        },
        |rig| {
            let (msix, virtio) = (0x1000 + 0x4000, 0x1000 + 4 * 0x4000);
            let steps = [
                (4, Width::B2, 6), (0x20, Width::B4, 0x4000_0000), (msix, Width::B4, 0x2800_0000),
                (virtio + 0x14, Width::B1, 3), (virtio + 8, Width::B4, 1), (virtio + 0xc, Width::B4, 1),
                (virtio + 0x14, Width::B1, 11), (virtio + 0x18, Width::B2, 8), (virtio + 0x1a, Width::B2, 1),
                (virtio + 0x20, Width::B8, BASE), (virtio + 0x28, Width::B8, BASE + 0x400),
                (virtio + 0x30, Width::B8, BASE + 0x800), (virtio + 0x1c, Width::B2, 1), (virtio + 0x14, Width::B1, 15),
            ];
            steps.iter().for_each(|&(at, width, value)| drop(rig.write(at, width, value)));
            offer(rig, &[(BASE + 0x1000, 20, true)]);
            rig.write(virtio + 0x3000, Width::B2, 0);
        }
    );
    virtio_balloon(
        0x200, holds true,
        |ram| {
            let control = Arc::new(BalloonControl::default());
            control.set_target(9);
            mmio(ram, Balloon::new(control))
        },
        |rig| {
            drive(rig, 0);
            rig.ram.write(BASE + 0x1000, &(BASE as u32 >> 12).wrapping_add(15).to_le_bytes()).unwrap();
            offer(rig, &[(BASE + 0x1000, 4, false)]);
            rig.write(0x50, Width::B4, 0);
            rig.write(0x104, Width::B4, 1);
        }
    );
    virtio_ports(
        0x200, holds true,
        |ram| {
            let (input, size) = (Arc::new(ConsoleInput::new()), Arc::<TerminalSize>::default());
            input.push(b"typed");
            size.set((24, 80));
            let console = Port::console(Box::new(|_| {}), input);
            mmio(ram, Console::with_ports(vec![console, Port::named("size", SizePort::new(size.clone()))], size))
        },
        |rig| {
            drive(rig, 3);
            [(0x70, 0), (0x70, 3), (0x24, 0), (0x20, 3), (0x24, 1), (0x20, 1), (0x70, 11)]
                .iter()
                .for_each(|&(offset, value)| drop(rig.write(offset, Width::B4, value)));
            for (offset, value) in [(0x30, 3), (0x38, 8), (0x80, BASE), (0x90, BASE + 0x400), (0xa0, BASE + 0x800), (0x44, 1), (0x70, 15)] {
                rig.write(offset, Width::B4, value);
            }
            // Port 1 is opened, and is to be told its name.
            rig.ram.write(BASE + 0x1000, &[1, 0, 0, 0, 3, 0, 1, 0, 1, 0, 0, 0, 6, 0, 1, 0]).unwrap();
            rig.ram.store(BASE + 0x404, Width::B2, 0).unwrap();
            rig.ram.store(BASE + 0x406, Width::B2, 1).unwrap();
            for (at, address) in [(BASE, BASE + 0x1000), (BASE + 16, BASE + 0x1008)] {
                rig.ram.store(at, Width::B8, address).unwrap();
                rig.ram.store(at + 8, Width::B8, 8).unwrap();
            }
            rig.ram.store(BASE + 0x402, Width::B2, 2).unwrap();
            rig.write(0x50, Width::B4, 3);
            assert_eq!(rig.ram.load(BASE + 0x802, Width::B2), Some(2));
        }
    );
    virtio_net(
        0x200, holds true,
        |ram| mmio(ram, Net::new(Box::new(Silent), [2, 0, 0, 0, 0, 1], 2)),
        |rig| {
            drive(rig, 2);
            // Without VIRTIO_NET_F_MQ the third queue is the control queue: another address is set.
            rig.write(0x24, Width::B4, 0);
            [(0x70, 3), (0x20, 1 << 23 | 1 << 17), (0x70, 15)]
                .iter()
                .for_each(|&(offset, value)| drop(rig.write(offset, Width::B4, value)));
            rig.ram.write(BASE + 0x1000, &[1, 1, 2, 3, 4, 5, 6, 7]).unwrap();
            offer(rig, &[(BASE + 0x1000, 8, false), (BASE + 0x1100, 1, true)]);
            rig.write(0x50, Width::B4, 2);
            assert_eq!(rig.read(0x100, Width::B4).0, 0x0504_0302);
        }
    );
    virtio_vsock(
        0x200, holds true,
        |ram| mmio(ram, Vsock::new(7, trine_base::vsock::streams().0)),
        |rig| {
            drive(rig, 1);
            // A request of the guest 7 to the port 9 of the host.
            let mut packet = [0; 44];
            [(0, 7), (8, 2), (16, 5), (20, 9), (28, 1), (30, 1)].iter().for_each(|&(at, byte)| packet[at] = byte);
            rig.ram.write(BASE + 0x1000, &packet).unwrap();
            offer(rig, &[(BASE + 0x1000, 44, false)]);
            rig.write(0x50, Width::B4, 1);
            assert_eq!(rig.ram.load(BASE + 0x802, Width::B2), Some(1));
        }
    );
    virtio_fs(
        0x200, holds true,
        |ram| {
            // Nothing in it becomes part of the state: that is the session's, whose golden file is in the crate `share`.
            let folder = Folder::open(std::path::Path::new("/proc/self/fdinfo"), Access::ReadOnly).unwrap();
            mmio(ram, Fs::new("share0", Server::new(Arc::new(folder), 1)))
        },
        |rig| {
            drive(rig, 1);
            let words = [56, 26, 1, 0, 0, 0, 0, 0, 0, 0, 7, 38, 0, 0u32];
            let begin: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            rig.ram.write(BASE + 0x1000, &begin).unwrap();
            offer(rig, &[(BASE + 0x1000, 56, false), (BASE + 0x1100, 80, true)]);
            rig.write(0x50, Width::B4, 1);
        }
    );
    virtio_rng(
        0x200, holds true,
        |ram| mmio(ram, Rng::new(Box::new(SeededRandom::new(3)))),
        |rig| {
            drive(rig, 0);
            offer(rig, &[(BASE + 0x1000, 20, true)]);
            rig.write(0x50, Width::B4, 0);
        }
    );
}

/// A guest may choose such addresses, so a saved machine may have them: they break the queue when it is served.
#[test]
fn a_queue_outside_memory_is_loaded_and_breaks_when_it_is_served() {
    let make = |ram| mmio(ram, Rng::new(Box::new(SeededRandom::new(3))));
    let mut old = Rig::new(make);
    drive(&mut old, 0);
    for (offset, value) in [(0x44, 0), (0x94, 0xffff_ffff), (0x90, 0xffff_ffff), (0x44, 1)] {
        old.write(offset, Width::B4, value);
    }
    let mut new = Rig::new(make);
    new.device.load(&old.device.save()).unwrap();
    for rig in [&mut old, &mut new] {
        rig.write(0x50, Width::B4, 0);
        assert_eq!(rig.read(0x70, Width::B4).0 & 64, 64, "the device needs a reset");
    }
}

#[test]
fn a_state_of_something_else_is_refused_in_words() {
    let mut plic = Plic::new(40, &[Target { vcpu: 0, line: 11 }]);
    let other = Plic::new(41, &[Target { vcpu: 0, line: 11 }]).save();
    let fits = |what| format!("the saved state of {what} does not fit this machine: ");
    let text = plic.load(&other).unwrap_err().to_string();
    assert_eq!(text, fits("the PLIC") + "it has a different number of sources or contexts");
    let text = Aclint::new(2).load(&Aclint::new(3).save()).unwrap_err().to_string();
    assert_eq!(text, fits("the ACLINT") + "it is for 3 harts, not 2");
    let ram = || Arc::new(Ram::new(BASE, RAM).unwrap());
    let disk = |size| mmio(ram(), Block::new(Arc::new(Mutex::new(vec![0; size])), "disk"));
    let text = disk(1024).load(&disk(512).save()).unwrap_err().to_string();
    assert_eq!(text, fits("the block device") + "the disk had 512 bytes, but this one has 1024");
    let rng = mmio(ram(), Rng::new(Box::new(SeededRandom::new(3))));
    let text = disk(512).load(&rng.save()).unwrap_err().to_string();
    assert_eq!(text, fits("a virtio device") + "it belongs to a device of ID 4, not 2");
}
