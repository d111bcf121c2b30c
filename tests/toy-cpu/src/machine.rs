//! The CPU with memory, for tests: bare, with its own memory behind a software TLB, and hosted, in the memory of this
//! process.

use crate::asm::assemble;
use crate::isa::{Config, T16};
use crate::state;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use trine_base::{Bus, CountClock, HostClock, Mailbox, Vcpu, Width};
use trine_engine::direct::{self, Pages};
use trine_engine::memory::GuestMemory;
use trine_engine::{Engine, Tier, Time, Translations};
use trine_ir::{Hart, Leave, Rmw};
use trine_memory::Ram;

/// Size of a bare CPU's memory, which begins at address 0.
pub const MEMORY: u64 = 256 << 10;
/// Where programs begin: code base and program counter.
pub const START: (u64, u64) = (0x1_0000, 0x100);
/// Base of data.
pub const DATA: u64 = 0x2_0000;

/// How guest memory is accessed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// Memory of its own, through the software TLB.
    Paged,
    /// The memory of this process.
    Direct,
}

/// A vCPU, with either kind of memory.
pub trait ToyVcpu: Vcpu {
    /// The CPU as its helpers see it.
    fn hart(&self) -> &dyn Hart;
    /// Adds to memory at an address in `regime`, as one access.
    ///
    /// # Errors
    /// How such an instruction leaves.
    fn add_atomically(&self, regime: usize, address: u64, operand: u64) -> Result<u64, Leave>;
    /// Exchanges the value in memory at an address in `regime` for `new` if it is `expect`, as one access.
    ///
    /// # Errors
    /// How such an instruction leaves.
    fn exchange(&self, regime: usize, address: u64, expect: u64, new: u64) -> Result<u64, Leave>;
}

impl<M: GuestMemory<T16>> ToyVcpu for Engine<T16, M> {
    fn hart(&self) -> &dyn Hart {
        self.core()
    }
    fn add_atomically(&self, regime: usize, address: u64, operand: u64) -> Result<u64, Leave> {
        self.core().rmw(regime, Rmw::Add, Width::B4.into(), address, operand)
    }
    fn exchange(&self, regime: usize, address: u64, expect: u64, new: u64) -> Result<u64, Leave> {
        self.core().exchange(regime, Width::B4.into(), address, expect, new)
    }
}

/// A CPU with memory.
pub struct Toy {
    /// The CPU.
    pub vcpu: Box<dyn ToyVcpu>,
    /// The memory, or its address in this process.
    memory: Place,
    /// Its input of interrupts.
    pub mailbox: Arc<Mailbox>,
}

enum Place {
    Ram(Arc<Ram>),
    Host(u64),
}

/// All of it may be code and may change.
struct Anything;

impl Pages for Anything {
    fn fetch(&self, _: u64) -> bool {
        true
    }
    fn may_change(&self, _: u64) -> bool {
        true
    }
}

impl Toy {
    /// A CPU at the start of a program. Data addresses count from [`DATA`], the program counter from the code base.
    ///
    /// # Panics
    /// If the program does not assemble, or the host has no memory: this is for tests.
    pub fn new(memory: Memory, tier: Tier, program: &str) -> Toy {
        let mailbox = Arc::new(Mailbox::new());
        let (mut vcpu, place) = match memory {
            Memory::Paged => bare(tier, &mailbox),
            Memory::Direct => hosted(tier, &mailbox),
        };
        let base = match place {
            Place::Ram(_) => 0,
            Place::Host(base) => base,
        };
        vcpu.set(state::CB, base + START.0);
        vcpu.set(state::DB, base + DATA);
        vcpu.set_pc(START.1);
        let mut toy = Toy { vcpu, memory: place, mailbox };
        let code = assemble(START.1, program).unwrap_or_else(|e| panic!("{e}"));
        toy.write(START.0 + START.1, &code);
        if memory == Memory::Paged {
            // The handler of traps.
            toy.write(0, &assemble(0, "wait").unwrap_or_else(|e| panic!("{e}")));
        }
        toy
    }

    /// Writes memory, counted from its start.
    ///
    /// # Panics
    /// If there is none.
    pub fn write(&mut self, at: u64, bytes: &[u8]) {
        match &self.memory {
            Place::Ram(ram) => ram.write(at, bytes).expect("inside memory"),
            Place::Host(base) => direct::write(base + at, bytes).expect("inside memory"),
        }
    }

    /// Reads memory, counted from its start.
    ///
    /// # Panics
    /// If there is none.
    pub fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        match &self.memory {
            Place::Ram(ram) => ram.read(at, &mut bytes).expect("inside memory"),
            Place::Host(base) => direct::read(base + at, &mut bytes).expect("inside memory"),
        }
        bytes
    }

    /// Reads a register by its name.
    ///
    /// # Panics
    /// If there is none of that name.
    pub fn get(&self, name: &str) -> u64 {
        let found = state::REGISTERS.iter().find(|r| r.name == name);
        self.vcpu.get(found.unwrap_or_else(|| panic!("there is no register {name}")).slot)
    }

    /// All registers, the bases counted from the start of memory.
    pub fn registers(&self) -> Vec<(&'static str, u64)> {
        let base = match self.memory {
            Place::Ram(_) => 0,
            Place::Host(base) => base,
        };
        let value = |r: &trine_base::RegisterInfo| match r.slot {
            state::CB | state::DB => self.vcpu.get(r.slot) - base,
            slot => self.vcpu.get(slot),
        };
        state::REGISTERS.iter().map(|r| (r.name, value(r))).collect()
    }
}

fn bare(tier: Tier, mailbox: &Arc<Mailbox>) -> (Box<dyn ToyVcpu>, Place) {
    let ram = Arc::new(Ram::new(0, MEMORY).expect("memory"));
    let clock = Arc::new(CountClock::new(1, 0));
    let bus = Arc::new(Bus::new(clock.clone(), vec![mailbox.clone()]));
    let time = Time::Count(clock);
    let (mut vcpu, _) = Engine::new(Config { hosted: false }, ram.clone(), bus, time, mailbox.clone(), tier);
    vcpu.set_warm(1);
    (Box::new(vcpu), Place::Ram(ram))
}

fn hosted(tier: Tier, mailbox: &Arc<Mailbox>) -> (Box<dyn ToyVcpu>, Place) {
    // Programs are in the lower 256 GiB; if the place is taken the kernel chooses the next free one.
    static NEXT: AtomicU64 = AtomicU64::new(0x21_0000_0000);
    let hint = NEXT.fetch_add(0x100_0000, Ordering::SeqCst) as *mut libc::c_void;
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address where nothing is; it is never unmapped.
    let at = unsafe { libc::mmap(hint, MEMORY as usize, protection, flags, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED, "memory");
    // SAFETY: the kernel places this executable and what it maps without a wish far above these addresses.
    unsafe { direct::claim_addresses() };
    let clock = Arc::new(HostClock::new());
    let config = Config { hosted: true };
    let (translations, _) = Translations::new(tier);
    let mut vcpu = Engine::program(config, Arc::new(Anything), clock, mailbox.clone(), translations);
    vcpu.set_warm(1);
    (Box::new(vcpu), Place::Host(at as u64))
}
