//! RISC-V board `virt`: the memory map and interrupt lines of QEMU's board of that name.
//!
//! * [`pci`]: the host bridge and what is on its bus; [`fdt`]: the device tree; [`kernel`], `place`: what is loaded where in memory; [`sbi`], `harts`: its
//!   firmware; [`htif`]: how bare-metal test suites report results.
//! * [`guest_init`]: the first process of a machine whose root is an image.

pub mod fdt;
pub mod guest_init;
mod harts;
pub mod htif;
pub mod kernel;
mod pci;
mod place;
pub mod sbi;

use crate::board::{Assembly, Board};
use crate::boot::Boot;
use crate::disk::{Disk, DiskStatus};
use crate::firmware::{Firmware, FirmwareKind, NoFirmware};
use crate::flash::FlashBank;
use crate::{Config, Console, MachineError, TimeSource};
use place::Placed;
use sbi::Sbi;
use std::sync::Arc;
use trine_base::{
    Bus, Clock, CountClock, Device, DeviceId, HostClock, HostRandom, Mailbox, Random, SeededRandom, Vcpu,
    Waker, WindowError, Workers,
};
use trine_devices::flash::Flash;
use trine_devices::intc::{Plic, plic::Target};
use trine_devices::power::Finisher;
use trine_devices::rtc::GoldfishRtc;
use trine_devices::serial::Ns16550a;
use trine_devices::timer::Aclint;
use trine_devices::virtio::block::Block;
use trine_devices::virtio::rng::Rng;
use trine_devices::virtio::{EmptySlot, Mmio, Virtio};
use trine_engine::{Engine, Time, Translations};
use trine_isa_riscv::{Rv64, Start, state::X};
use trine_memory::Ram;

/// Physical addresses and interrupt lines.
#[allow(missing_docs)]
pub mod map {
    /// The address range of a device's registers.
    #[derive(Clone, Copy, Debug)]
    pub struct Window {
        /// First physical address.
        pub base: u64,
        /// Bytes.
        pub size: u64,
    }
    const fn window(base: u64, size: u64) -> Window {
        Window { base, size }
    }
    pub const FINISHER: Window = window(0x10_0000, 0x1000);
    pub const RTC: Window = window(0x10_1000, 0x1000);
    pub const CLINT: Window = window(0x200_0000, 0x1_0000);
    pub const PLIC: Window = window(0xc00_0000, 0x60_0000);
    pub const UART: Window = window(0x1000_0000, 0x100);
    /// PCI: I/O ports, the configuration spaces of 256 buses, memory below 4 GiB.
    pub const PCI_PORTS: Window = window(0x300_0000, 0x1_0000);
    pub const PCI_ECAM: Window = window(0x3000_0000, 0x1000_0000);
    pub const PCI_MEMORY: Window = window(0x4000_0000, 0x4000_0000);
    /// PCI memory above a RAM that ends at `end`.
    pub const fn pci_high(end: u64) -> Window {
        const SIZE: u64 = 16 << 30;
        window(end.saturating_add(SIZE - 1) / SIZE * SIZE, SIZE)
    }
    pub const FLASH_BANKS: usize = 2;
    /// Bytes of a bank of flash.
    pub const FLASH_BANK: u64 = 0x200_0000;
    /// Bank `n` of flash.
    pub const fn flash(n: usize) -> Window {
        window(0x2000_0000 + FLASH_BANK * n as u64, FLASH_BANK)
    }
    pub const RAM: u64 = 0x8000_0000;
    /// Virtio slot `n`.
    pub const fn virtio(n: u32) -> Window {
        window(0x1000_1000 + 0x1000 * n as u64, 0x1000)
    }
    pub const VIRTIO_SLOTS: u32 = 8;
    pub const VIRTIO_IRQ: u32 = 1;
    pub const UART_IRQ: u32 = 10;
    pub const RTC_IRQ: u32 = 11;
    /// The first of four lines.
    pub const PCI_IRQ: u32 = 32;
    pub const PLIC_SOURCES: u32 = 95;
}

/// The board's name.
pub(crate) const NAME: &str = "virt";
/// Machine and supervisor external interrupts in `mip`.
const MEI: u32 = 11;
const SEI: u32 = 9;
/// The wall-clock time at which a machine with counted time starts: 2023-11-14T22:13:20Z, in nanoseconds.
const COUNTED_EPOCH: u64 = 1_700_000_000_000_000_000;
/// The most threads that do the requests of a machine's disks.
const DISK_THREADS: usize = 4;
/// The largest number of harts, as on QEMU's board.
const MOST_HARTS: u32 = 512;

/// Mnemonics of the instructions that are executed by helpers, for statistics.
pub fn helper_rows() -> Vec<&'static str> {
    trine_isa_riscv::helpers::rows()
}

/// Builds the machine and loads its software into memory.
///
/// # Errors
/// The configuration is not possible, the host has too little memory, or a file is not of the expected kind.
pub fn assemble(config: Config, console: Console) -> Result<Board, MachineError> {
    if !(1..=MOST_HARTS).contains(&config.cpus) {
        return Err(MachineError::Config(format!("this board has 1 to {MOST_HARTS} CPUs")));
    }
    let ram = match &config.boot {
        Boot::Restored(snapshot) => snapshot.ram(map::RAM)?,
        _ => Ram::new(map::RAM, config.memory)?,
    };
    if matches!(config.boot, Boot::Flash { .. }) && config.flash.is_empty() {
        let why = "a machine cannot start what is in its flash, as it has none";
        return Err(MachineError::Config(why.into()));
    }
    let ram = Arc::new(with_flash(ram, &config.flash)?);
    let (clock, time) = clock(config.time);
    let mut random: Box<dyn Random> = match config.seed {
        Some(seed) => Box::new(SeededRandom::new(seed)),
        None => Box::new(HostRandom),
    };
    let mut seed = [0; 32];
    random.fill(&mut seed);
    let mailboxes: Vec<Arc<Mailbox>> = (0..config.cpus).map(|_| Arc::default()).collect();
    let mut bus = Bus::new(clock.clone(), mailboxes.clone());
    bus.reserve(ram.base(), ram.size(), "RAM")?;
    let console_device = Some(add_devices(&mut bus, config.cpus, &clock, &console)?);
    let has_flash = !config.flash.is_empty();
    add_flash(&mut bus, &ram, config.flash)?;
    let disks = disks(config.disks, config.cpus, config.time, &ram);
    let status = disks.iter().map(|(status, _)| status.clone()).collect();
    let mut wakers = add_virtio(&mut bus, &ram, virtio(disks, random)?)?;
    let (balloon, terminal) = (config.balloon, config.terminal);
    let devices = pci::Devices {
        net: config.net,
        balloon: balloon.clone(),
        vsock: config.vsock,
        shares: config.shares,
        share_queues: config.cpus as usize,
        terminal: terminal.clone(),
    };
    let has_pci = devices.any();
    if has_pci {
        wakers.extend(pci::add(&mut bus, &ram, devices)?);
    }
    let bus = Arc::new(bus);
    wakers.iter().for_each(|(waker, device)| waker.connect(&bus, *device));

    let slots = place::Slots { virtio: map::VIRTIO_SLOTS, pci: has_pci, flash: has_flash };
    let placed = config.boot.place(&ram, config.cpus, slots, seed)?;
    let start = match &config.boot {
        Boot::Kernel(_) | Boot::Flash { machine_mode: false } => Start::Supervisor,
        Boot::Restored(snapshot) if snapshot.header.firmware == FirmwareKind::Board => Start::Supervisor,
        _ => Start::Machine,
    };
    let (translations, note) = Translations::new(config.tier);
    ram.add_code_owner(translations.written().clone());
    config.perf.iter().for_each(|map| translations.set_perf_map(map.clone()));
    let mut vcpus: Vec<Box<dyn Vcpu>> = Vec::new();
    for (hart, mailbox) in (0..).zip(&mailboxes) {
        let hart = trine_isa_riscv::Config { hart, start };
        let (ram, bus, time) = (ram.clone(), bus.clone(), time.clone());
        let mut engine =
            Engine::<Rv64>::of_machine(hart, ram, bus, time, mailbox.clone(), translations.clone());
        begin(&mut engine, hart.hart, &placed);
        vcpus.push(Box::new(engine));
    }
    let firmware: Box<dyn Firmware> = match (start, placed.htif) {
        (Start::Supervisor, _) => Box::new(Sbi::new(ram.clone(), console.clone(), mailboxes)),
        (_, Some(words)) => Box::new(htif::Polled::new(words, ram.clone(), console.clone())),
        (_, None) => Box::new(NoFirmware),
    };
    Ok(Board::new(Assembly {
        name: NAME,
        vcpus,
        bus,
        ram,
        clock,
        console,
        console_device,
        firmware,
        note,
        disks: status,
        balloon,
        terminal,
    }))
}

fn clock(source: TimeSource) -> (Arc<dyn Clock>, Time) {
    match source {
        TimeSource::Host => {
            let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
            (clock.clone(), Time::Host(clock))
        }
        TimeSource::Count(nanos) => {
            let clock = Arc::new(CountClock::new(nanos.max(1), COUNTED_EPOCH));
            (clock.clone(), Time::Count(clock))
        }
    }
}

/// Adds the board's own devices; returns the one that passes input to the guest.
fn add_devices(
    bus: &mut Bus,
    harts: u32,
    clock: &Arc<dyn Clock>,
    console: &Console,
) -> Result<DeviceId, WindowError> {
    let mut add = |w: map::Window, d: Box<dyn Device>| bus.add(w.base, w.size, d);
    add(map::FINISHER, Box::new(Finisher))?;
    add(map::RTC, Box::new(GoldfishRtc::new(map::RTC_IRQ, clock.clone())))?;
    add(map::CLINT, Box::new(Aclint::new(harts as usize)))?;
    // Context 2n is hart n's M mode, 2n + 1 its S mode.
    let targets: Vec<Target> =
        (0..harts).flat_map(|vcpu| [MEI, SEI].map(|line| Target { vcpu, line })).collect();
    let plic = add(map::PLIC, Box::new(Plic::new(map::PLIC_SOURCES, &targets)))?;
    let uart = Ns16550a::new(map::UART_IRQ, console.output(), console.input.clone());
    let uart = add(map::UART, Box::new(uart))?;
    bus.set_controller(plic);
    Ok(uart)
}

/// Adds the bytes of the banks of flash to the memory that vCPUs read.
fn with_flash(ram: Ram, banks: &[FlashBank]) -> Result<Ram, MachineError> {
    let whole = banks.len() == map::FLASH_BANKS && banks.iter().all(|b| b.contents.size() == map::FLASH_BANK);
    if !banks.is_empty() && !whole {
        let (number, size) = (map::FLASH_BANKS, map::FLASH_BANK >> 20);
        return Err(MachineError::Config(format!("this board has {number} banks of flash of {size} MiB")));
    }
    let add =
        |ram: Ram, (n, bank): (usize, &FlashBank)| ram.with_rom(map::flash(n).base, bank.contents.clone());
    Ok(banks.iter().enumerate().try_fold(ram, add)?)
}

/// Adds the devices that take what is written to flash.
fn add_flash(bus: &mut Bus, ram: &Arc<Ram>, banks: Vec<FlashBank>) -> Result<(), WindowError> {
    for (n, FlashBank { contents, changes }) in banks.into_iter().enumerate() {
        let map::Window { base, size } = map::flash(n);
        bus.add(base, size, Box::new(Flash::new(ram.clone(), base, contents, changes)))?;
    }
    Ok(())
}

/// Creates the devices of the disks. In host time, other threads do their requests.
fn disks(disks: Vec<Disk>, cpus: u32, time: TimeSource, ram: &Arc<Ram>) -> Vec<(DiskStatus, Block)> {
    let workers = Arc::new(Workers::new("disk", DISK_THREADS));
    let device = |(n, disk): (usize, Disk)| {
        let (id, backend) = (disk.serial(n), disk.backend);
        let (size, format, read_only) = (backend.size(), backend.format(), backend.read_only());
        let mut block = Block::new(backend.clone(), &id).with_queues(cpus as usize);
        if time == TimeSource::Host {
            block = block.with_workers(workers.clone(), ram.clone());
        }
        (DiskStatus { id, size, format, read_only, counters: block.counters(), backend }, block)
    };
    disks.into_iter().enumerate().map(device).collect()
}

/// A device for a virtio slot, and what wakes it.
type Slot = (Box<dyn Virtio>, Option<Waker>);

/// The devices of the first virtio slots.
fn virtio(disks: Vec<(DiskStatus, Block)>, random: Box<dyn Random>) -> Result<Vec<Slot>, MachineError> {
    let mut virtio: Vec<Slot> = Vec::new();
    for (_, disk) in disks {
        let waker = disk.waker();
        virtio.push((Box::new(disk), Some(waker)));
    }
    virtio.push((Box::new(Rng::new(random)), None));
    if virtio.len() > map::VIRTIO_SLOTS as usize {
        return Err(MachineError::Config(format!(
            "at most {} disks fit on this board",
            map::VIRTIO_SLOTS - 1
        )));
    }
    Ok(virtio)
}

/// Adds the devices of all virtio slots; returns what wakes them, to be connected to the bus.
fn add_virtio(
    bus: &mut Bus,
    ram: &Arc<Ram>,
    devices: Vec<Slot>,
) -> Result<Vec<(Waker, DeviceId)>, WindowError> {
    let (mut devices, mut wakers) = (devices.into_iter(), Vec::new());
    for n in 0..map::VIRTIO_SLOTS {
        let (slot, waker): (Box<dyn Device>, _) = match devices.next() {
            Some((device, waker)) => (Box::new(Mmio::new(map::VIRTIO_IRQ + n, ram.clone(), device)), waker),
            None => (Box::new(EmptySlot), None),
        };
        let window = map::virtio(n);
        let id = bus.add(window.base, window.size, slot)?;
        wakers.extend(waker.map(|waker| (waker, id)));
    }
    Ok(wakers)
}

/// Sets the registers of a hart at its start, as Linux and OpenSBI expect them: its number, and the addresses
/// of the device tree and of the information for a firmware.
fn begin(vcpu: &mut dyn Vcpu, hart: u64, placed: &Placed) {
    vcpu.set_pc(placed.first.entry);
    for (register, value) in (10..).zip([hart, placed.tree, placed.info]) {
        vcpu.set(X + register, value);
    }
}
