//! RISC-V board `virt`: the memory map and interrupt lines of QEMU's board of that name.

use crate::MachineError;
pub use crate::boot::{Boot, Initrd, Payload};
use crate::host::Console;
use crate::htif::Htif;
use crate::sbi::{self, Outcome};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use trine_base::{
    BlockBackend, Bus, Clock, CountClock, Device, Exit, HostClock, HostRandom, Mailbox, Random, SeededRandom,
    StopReason, Vcpu,
};
use trine_devices::intc::{Plic, plic::Target};
use trine_devices::power::Finisher;
use trine_devices::rtc::GoldfishRtc;
use trine_devices::serial::Ns16550a;
use trine_devices::timer::Aclint;
use trine_devices::virtio::block::Block;
use trine_devices::virtio::rng::Rng;
use trine_devices::virtio::{EmptySlot, Mmio, Virtio};
use trine_engine::{Engine, Stats, Tier, Time};
use trine_isa_riscv::{Rv64, Start, state::X};
use trine_memory::Ram;

/// Addresses and lines.
#[allow(missing_docs)]
pub mod map {
    /// A device's registers.
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
    pub const RAM: u64 = 0x8000_0000;
    /// Virtio slot `n`.
    pub const fn virtio(n: u32) -> Window {
        window(0x1000_1000 + 0x1000 * n as u64, 0x1000)
    }
    pub const VIRTIO_SLOTS: u32 = 8;
    pub const VIRTIO_IRQ: u32 = 1;
    pub const UART_IRQ: u32 = 10;
    pub const RTC_IRQ: u32 = 11;
    pub const PLIC_SOURCES: u32 = 95;
}

/// Where guest time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSource {
    /// The host's clock.
    Host,
    /// The number of instructions, so many nanoseconds each: the same run gives the same result.
    Count(u64),
}

/// A machine to be made.
pub struct Config {
    /// Bytes of RAM.
    pub memory: u64,
    /// What it starts with.
    pub boot: Boot,
    /// Disks, in the order of the guest's names for them.
    pub disks: Vec<Box<dyn BlockBackend>>,
    /// Engine.
    pub tier: Tier,
    /// Time.
    pub time: TimeSource,
    /// Seed of the guest's randomness: `None` takes the host's.
    pub seed: Option<u64>,
}

/// Mnemonics of the instructions that are helpers, for statistics.
pub fn helper_rows() -> Vec<&'static str> {
    trine_isa_riscv::helpers::rows()
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest powered off.
    PowerOff,
    /// The guest asked for a reset.
    Reset,
    /// The guest reported a failure.
    Failure(u32),
    /// The user ended it ([`Board::quit`]).
    Quit,
    /// The engine gave up.
    Dead(String),
}

/// A machine.
pub struct Board {
    vcpu: Engine<Rv64>,
    bus: Arc<Bus>,
    ram: Arc<Ram>,
    clock: Arc<dyn Clock>,
    console: Console,
    mailbox: Arc<Mailbox>,
    uart: trine_base::DeviceId,
    count_mode: bool,
    htif: Option<Htif>,
    quit: Arc<AtomicBool>,
    /// Why compiled code is not used although it was asked for.
    pub note: Option<String>,
}

/// A handle for other threads.
#[derive(Clone)]
pub struct Remote {
    bus: Arc<Bus>,
    console: Console,
    uart: trine_base::DeviceId,
    mailbox: Arc<Mailbox>,
    quit: Arc<AtomicBool>,
}

impl Remote {
    /// Types into the guest's console; gives how many of the bytes there was room for.
    pub fn input(&self, bytes: &[u8]) -> usize {
        let taken = self.console.input.push(bytes);
        // Not called from here: the device may be waiting for who reads its output.
        self.bus.request_timer(self.uart);
        taken
    }

    /// Sends a break condition followed by a byte: on a Linux guest's console, a SysRq command.
    pub fn sysrq(&self, command: u8) {
        self.console.input.push_break(&[command]);
        self.bus.request_timer(self.uart);
    }

    /// Whether a driver in the guest takes what comes over the console's line, as far as it was sent.
    pub fn listens(&self) -> bool {
        self.console.input.is_empty()
    }

    /// Ends the machine at once.
    pub fn quit(&self) {
        self.quit.store(true, Ordering::SeqCst);
        self.mailbox.request(Mailbox::PAUSE);
    }
}

impl Board {
    /// Makes the machine and loads what it starts with.
    pub fn new(config: Config, console: Console) -> Result<Board, MachineError> {
        let ram = Arc::new(Ram::new(map::RAM, config.memory)?);
        let mailbox = Arc::new(Mailbox::new());
        let (clock, time): (Arc<dyn Clock>, Time) = match config.time {
            TimeSource::Host => {
                let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
                (clock.clone(), Time::Host(clock))
            }
            TimeSource::Count(nanos) => {
                let clock = Arc::new(CountClock::new(nanos.max(1), 1_700_000_000_000_000_000));
                (clock.clone(), Time::Count(clock))
            }
        };
        let mut random: Box<dyn Random> = match config.seed {
            Some(seed) => Box::new(SeededRandom::new(seed)),
            None => Box::new(HostRandom),
        };
        let mut seed = [0; 32];
        random.fill(&mut seed);
        let mut bus = Bus::new(clock.clone(), vec![mailbox.clone()]);
        let mut add = |w: map::Window, d: Box<dyn Device>| bus.add(w.base, w.size, d);
        add(map::FINISHER, Box::new(Finisher))?;
        add(map::RTC, Box::new(GoldfishRtc::new(map::RTC_IRQ, clock.clone())))?;
        add(map::CLINT, Box::new(Aclint::new(1)))?;
        let targets = [Target { vcpu: 0, line: 11 }, Target { vcpu: 0, line: 9 }];
        let plic = add(map::PLIC, Box::new(Plic::new(map::PLIC_SOURCES, &targets)))?;
        let uart =
            add(map::UART, Box::new(Ns16550a::new(map::UART_IRQ, console.output(), console.input.clone())))?;
        let mut virtio: Vec<Box<dyn Virtio>> = Vec::new();
        for (n, disk) in config.disks.into_iter().enumerate() {
            virtio.push(Box::new(Block::new(disk, &format!("trine-disk{n}"))));
        }
        virtio.push(Box::new(Rng::new(random)));
        if virtio.len() > map::VIRTIO_SLOTS as usize {
            return Err(MachineError::Config(format!(
                "at most {} disks fit on this board",
                map::VIRTIO_SLOTS - 1
            )));
        }
        let slots = map::VIRTIO_SLOTS;
        let mut virtio = virtio.into_iter();
        for n in 0..slots {
            let slot: Box<dyn Device> = match virtio.next() {
                Some(device) => Box::new(Mmio::new(map::VIRTIO_IRQ + n, ram.clone(), device)),
                None => Box::new(EmptySlot),
            };
            add(map::virtio(n), slot)?;
        }
        bus.set_controller(plic);
        let bus = Arc::new(bus);
        let firmware = matches!(config.boot, Boot::Kernel(_));
        let start = if firmware { Start::Supervisor } else { Start::Machine };
        let hart = trine_isa_riscv::Config { hart: 0, start };
        let (mut vcpu, note) =
            Engine::new(hart, ram.clone(), bus.clone(), time, mailbox.clone(), config.tier);
        let placed = config.boot.place(&ram, slots, seed)?;
        vcpu.set_pc(placed.first.entry);
        for (register, value) in (10..).zip([0, placed.tree, placed.info]) {
            vcpu.set(X + register, value);
        }
        Ok(Board {
            vcpu,
            bus,
            ram,
            clock,
            console,
            mailbox,
            uart,
            count_mode: config.time != TimeSource::Host,
            htif: Htif::of(&placed.first).filter(|_| !firmware),
            quit: Arc::new(AtomicBool::new(false)),
            note,
        })
    }

    /// A handle for other threads.
    pub fn remote(&self) -> Remote {
        Remote {
            bus: self.bus.clone(),
            console: self.console.clone(),
            uart: self.uart,
            mailbox: self.mailbox.clone(),
            quit: self.quit.clone(),
        }
    }

    /// Counts of the engine.
    pub fn stats(&self) -> Stats {
        self.vcpu.stats()
    }

    /// The vCPU.
    pub fn vcpu(&mut self) -> &mut Engine<Rv64> {
        &mut self.vcpu
    }

    /// The memory.
    pub fn ram(&self) -> &Arc<Ram> {
        &self.ram
    }

    /// Runs until the machine ends.
    pub fn run(&mut self) -> End {
        let done = Arc::new(AtomicBool::new(false));
        let timers = (!self.count_mode).then(|| timer_thread(self.bus.clone(), done.clone()));
        let end = loop {
            let budget = if self.htif.is_some() { HTIF_BUDGET } else { BUDGET };
            if let Some(end) = self.step(budget) {
                break end;
            }
        };
        done.store(true, Ordering::SeqCst);
        if let Some(thread) = timers {
            self.bus.wake_timers();
            drop(thread.join());
        }
        end
    }

    /// Runs at most `budget` instructions; the machine's end, if it came.
    pub fn step(&mut self, budget: u64) -> Option<End> {
        let exit = self.vcpu.run(budget);
        self.after(exit)
    }

    /// Serves an exit of the vCPU.
    pub fn after(&mut self, exit: Exit) -> Option<End> {
        match exit {
            Exit::Budget => self.htif.and_then(|h| h.poll(&self.ram, &self.console)),
            Exit::Idle { deadline } => {
                self.idle(deadline);
                None
            }
            Exit::Firmware { cause: 9, .. } => match sbi::call(&mut self.vcpu, &self.ram, &self.console) {
                Outcome::Go => None,
                Outcome::Wait => {
                    if let Some(Exit::Idle { deadline }) = self.vcpu.wait() {
                        self.idle(deadline);
                    }
                    None
                }
                Outcome::Stop(reason) => Some(end(reason)),
            },
            Exit::Firmware { cause, value } => Some(End::Dead(format!(
                "the guest raised exception {cause} (value {value:#x}) at {:#x}, which no handler takes",
                self.vcpu.pc()
            ))),
            Exit::Paused if self.quit.load(Ordering::SeqCst) => Some(End::Quit),
            Exit::Paused => None,
            Exit::Stopped(reason) => Some(end(reason)),
            Exit::Dead(why) => Some(End::Dead(why)),
        }
    }

    /// Sleeps until something may have happened.
    fn idle(&mut self, deadline: Option<u64>) {
        let next = [deadline, self.bus.next_timer().filter(|_| self.count_mode)].into_iter().flatten().min();
        if self.count_mode {
            // Time stands still while nothing runs: go to the next event at once.
            match next {
                Some(at) => self.vcpu.skip_to(at),
                None => self.mailbox.park(Some(Duration::from_millis(100)), wanted),
            }
            return;
        }
        let wait = next.map(|at| Duration::from_nanos(at.saturating_sub(self.clock.now())));
        self.mailbox.park(wait, wanted);
    }
}

/// Instructions between looks at things that do not announce themselves.
const BUDGET: u64 = 10_000_000;
/// The same where a guest waits for answers through memory.
const HTIF_BUDGET: u64 = 50_000;

fn wanted(mailbox: &Mailbox) -> bool {
    mailbox.requests.load(Ordering::SeqCst) != 0 || mailbox.limit.load(Ordering::SeqCst) == 0
}

fn end(reason: StopReason) -> End {
    match reason {
        StopReason::PowerOff => End::PowerOff,
        StopReason::Reset => End::Reset,
        StopReason::Failure(code) => End::Failure(code),
    }
}

/// Runs device timers by the host's clock.
fn timer_thread(bus: Arc<Bus>, done: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        while !done.load(Ordering::SeqCst) {
            bus.run_timers();
            bus.wait_timer(Duration::from_secs(60), &done);
        }
    })
}
