//! The state of one vCPU, laid out so that generated code reaches everything from one register.

use crate::debug::Debugging;
use crate::host::{BackEnd, Host};
use crate::jumps::Jumps;
use crate::memory::GuestMemory;
use crate::paged::Paged;
use crate::stamps::Stamps;
use crate::tlb::Flushed;
use crate::written::Written;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use trine_base::{Bus, Clock, CountClock, Mailbox, Width};
use trine_ir::fp::{MXCSR, MXCSR_FLAGS};
use trine_ir::{Access, Flush, FpRules, Hart, Helper, Isa, Leave, Regimes, Trap};

/// Words besides the slots that generated code reads and writes.
#[repr(C)]
pub struct Frame {
    /// Instructions executed; valid while generated code is not running.
    pub count: Cell<u64>,
    /// Linear address of the next instruction; during a helper, of the current one.
    pub pc: Cell<u64>,
    /// Virtual address of the page that holds the running block.
    pub page: Cell<u64>,
    /// The stamp that an entry of the jump cache must carry to be valid.
    pub stamp: Cell<u64>,
    /// Instructions executed when a helper was called, its own not included.
    pub retired: Cell<u64>,
    /// Arguments of a slow path or helper, and its result.
    pub args: [Cell<u64>; 4],
    /// Rounding of the guest, and the flags gathered so far, in the layout that [`FpRules`] and engines agree on.
    pub guest_fp_control: Cell<u32>,
    /// The same of Rust code.
    pub host_fp_control: Cell<u32>,
    /// What a binary32 is ored with to get an upper half of ones.
    pub upper_ones: [u64; 2],
    /// 1 while the host's floating-point control register holds the guest's.
    pub fp_live: Cell<u32>,
    /// Flags as the slots number them, by the six flags of that layout.
    pub fp_flag_numbers: [u8; 64],
    /// Rust functions that the thunks call: slow path, helper, refused access.
    pub functions: [Cell<usize>; 3],
    /// The thunks that generated code calls, by the back end's numbers.
    pub thunks: [Cell<usize>; Host::THUNKS],
    /// Address of the mailbox's limit. A register of its own for it would be one less for the guest's values.
    pub limit: Cell<usize>,
    /// The host's stack pointer while no guest call is open.
    pub stack: Cell<usize>,
    /// The lowest value of the stack pointer for calls.
    pub stack_end: Cell<usize>,
    /// 1 if the stamp changed since generated code was entered: open guest calls must be forgotten.
    pub calls_stale: Cell<u32>,
    /// Address of the code's tables ([`BackEnd::Tables`]).
    pub tables: Cell<usize>,
    /// General registers while a slow path runs.
    pub save: [Cell<u64>; Host::REGISTERS],
    /// Vector registers while a slow path runs.
    pub save_fp: [[Cell<u64>; 2]; Host::REGISTERS],
    /// Where values live that found no register.
    pub spill: [Cell<u64>; 64],
    /// Vectors that found no register.
    pub spill_vector: [[Cell<u64>; 2]; 16],
}

impl Default for Frame {
    fn default() -> Self {
        Frame {
            count: Cell::new(0),
            pc: Cell::new(0),
            page: Cell::new(0),
            stamp: Cell::new(0),
            retired: Cell::new(0),
            args: [const { Cell::new(0) }; 4],
            guest_fp_control: Cell::new(MXCSR),
            host_fp_control: Cell::new(MXCSR),
            upper_ones: [0xffff_ffff_0000_0000, 0],
            fp_live: Cell::new(0),
            fp_flag_numbers: [0; 64],
            functions: [const { Cell::new(0) }; 3],
            thunks: [const { Cell::new(0) }; Host::THUNKS],
            limit: Cell::new(0),
            stack: Cell::new(0),
            stack_end: Cell::new(0),
            calls_stale: Cell::new(0),
            tables: Cell::new(0),
            save: [const { Cell::new(0) }; Host::REGISTERS],
            save_fp: [const { [const { Cell::new(0) }; 2] }; Host::REGISTERS],
            spill: [const { Cell::new(0) }; 64],
            spill_vector: [const { [const { Cell::new(0) }; 2] }; 16],
        }
    }
}

/// The source of a vCPU's time.
#[derive(Clone)]
pub enum Time {
    /// The host's clock, shared with the devices.
    Host(Arc<dyn Clock>),
    /// The number of instructions executed.
    Count(Arc<CountClock>),
}

/// A guest that waits in a loop gives up the host's processor at every so many-th turn: a lock may be free before.
const SPINS: u32 = 8;

/// One vCPU. Slots begin at a line of the host's caches, so that a vector in an even slot and the next one is
/// in one line.
#[repr(C, align(64))]
pub struct Core<I: Isa, M: GuestMemory<I> = Paged<I>> {
    /// Registers.
    pub slots: I::Slots,
    /// Words that generated code uses.
    pub frame: Frame,
    /// Access to guest memory.
    pub memory: M,
    /// Virtual PC to code.
    pub jumps: Jumps,
    /// Configuration that decoding depends on.
    pub config: I::Config,
    /// Current mode.
    pub mode: Cell<u32>,
    /// The exception being raised.
    pub trap: Cell<Trap>,
    /// Time at which the CPU's own timer needs an interrupt check, in nanoseconds.
    pub timer: Cell<Option<u64>>,
    /// Devices.
    pub bus: Arc<Bus>,
    /// Its number on the bus: the bus has devices that only one vCPU sees. A number that no vCPU has if it is
    /// not on the bus.
    pub(crate) vcpu: usize,
    /// Time.
    pub time: Time,
    /// What other threads access.
    pub mailbox: Arc<Mailbox>,
    /// Where changes of code are noted, for all vCPUs with the same translations.
    pub written: Arc<Written>,
    /// Numbers that distinguish valid entries of the jump cache from old ones.
    pub stamps: RefCell<Stamps>,
    /// The next instruction is executed alone and may change code: see [`Leave::Alone`].
    pub(crate) alone: Cell<bool>,
    /// How often the guest has waited in loops.
    pauses: Cell<u32>,
    /// The running helper, if debug builds check it.
    pub(crate) helping: Cell<Option<&'static Helper>>,
    /// What a debugger has asked for.
    pub(crate) debug: Debugging,
}

impl<I: Isa, M: GuestMemory<I>> Core<I, M> {
    /// A vCPU after reset.
    pub fn new(
        config: I::Config,
        memory: M::Source,
        bus: Arc<Bus>,
        time: Time,
        mailbox: Arc<Mailbox>,
        written: Arc<Written>,
    ) -> Box<Self> {
        const { assert!(I::Regimes::COUNT > 0 && I::Regimes::COUNT <= 64, "stamps have a bit for each regime") };
        // Most of a core is caches that start as zeros: the host provides such memory on first use.
        let mut core = Box::<Self>::new_zeroed();
        let p = core.as_mut_ptr();
        macro_rules! put {
            ($($name:ident: $value:expr,)*) => {$(
                // SAFETY: a field of the allocation just made, to which there is no other pointer.
                unsafe { std::ptr::addr_of_mut!((*p).$name).write($value) };
            )*};
        }
        put! {
            slots: I::slots(&config),
            frame: Frame {
                fp_flag_numbers: std::array::from_fn(|mxcsr| I::Fp::flags(mxcsr as u32) as u8),
                ..Frame::default()
            },
            config: config,
            mode: Cell::new(0),
            trap: Cell::new(Trap::fault(0, 0)),
            timer: Cell::new(None),
            vcpu: bus.vcpu_of(&mailbox).unwrap_or(usize::MAX),
            bus: bus,
            time: time,
            mailbox: mailbox,
            written: written,
            stamps: RefCell::new(Stamps::new()),
            alone: Cell::new(false),
            pauses: Cell::new(0),
            helping: Cell::new(None),
            debug: Debugging::default(),
        }
        // SAFETY: zeros of the allocation just made.
        unsafe { M::init(&raw mut (*p).memory, memory) };
        // SAFETY: every field was written, except the jump cache, for which zeros are valid.
        let core = unsafe { core.assume_init() };
        core.mode_changed();
        core.load_fp();
        core
    }

    /// Makes every entry of the jump cache stale.
    pub fn new_generation(&self) {
        self.jumps.all_stale();
        self.change_stamps(Stamps::renew);
    }

    fn change_stamps(&self, change: impl FnOnce(&mut Stamps)) {
        let mut stamps = self.stamps.borrow_mut();
        if stamps.run_out() {
            self.jumps.clear();
            stamps.restart();
            // A call may be returned to only under its own stamp.
            self.frame.calls_stale.set(1);
        }
        change(&mut stamps);
        drop(stamps);
        self.set_stamp();
    }

    /// Calls made under another stamp may not be returned to without a look-up: the code there may belong to
    /// another mode or address space.
    fn set_stamp(&self) {
        let mode = self.mode.get();
        let stamp = self.stamps.borrow().of(mode, I::fetch_regime(mode));
        if self.frame.stamp.replace(stamp) != stamp {
            self.frame.calls_stale.set(1);
        }
    }

    /// The guest's program counter at a linear address.
    #[inline(always)]
    pub fn guest_pc(&self, address: u64) -> u64 {
        I::code_space(self.mode.get()).guest(self.slots.as_ref(), address)
    }

    /// Continues at a linear address, which wraps like the guest's program counter.
    #[inline(always)]
    pub fn run_on(&self, address: u64) {
        self.set_pc(self.guest_pc(address));
    }

    /// Regime of loads and stores.
    #[inline(always)]
    pub fn data_regime(&self) -> usize {
        I::data_regime(self.mode.get())
    }

    /// Records that a page of code that is not in every address space is now in the TLB.
    pub(crate) fn runs_local(&self, regime: usize) {
        if self.stamps.borrow_mut().runs_local(regime) {
            self.set_stamp();
        }
    }

    /// Translates `address` for a fetch: its physical address.
    pub fn fetch_address(&self, address: u64) -> Result<u64, Trap> {
        M::fetch_address(self, address)
    }
}

impl<I: Isa, M: GuestMemory<I>> Hart for Core<I, M> {
    fn slots(&self) -> &[Cell<u64>] {
        self.slots.as_ref()
    }

    fn get(&self, slot: u16) -> u64 {
        self.check_read(slot);
        self.slots.as_ref().get(slot as usize).map_or(0, Cell::get)
    }

    #[inline(always)]
    fn pc(&self) -> u64 {
        self.guest_pc(self.frame.pc.get())
    }

    #[inline(always)]
    fn set_pc(&self, pc: u64) {
        let space = I::code_space(self.mode.get());
        self.frame.pc.set(space.linear(self.slots.as_ref(), pc));
    }

    fn raise(&self, trap: Trap) -> Leave {
        self.trap.set(trap);
        Leave::Trap
    }

    fn now(&self) -> u64 {
        match &self.time {
            Time::Host(clock) => clock.now(),
            Time::Count(clock) => {
                clock.set_count(self.frame.retired.get());
                clock.now()
            }
        }
    }

    fn count(&self) -> u64 {
        self.frame.retired.get()
    }

    fn lines(&self) -> u32 {
        self.mailbox.lines.load(Ordering::SeqCst)
    }

    fn edges(&self) -> u32 {
        self.mailbox.edges.load(Ordering::SeqCst)
    }

    fn take_edge(&self, number: u32) -> bool {
        self.mailbox.take_edge(number)
    }

    fn acknowledge(&self) -> Option<u32> {
        self.sync_clock();
        self.bus.acknowledge(self.vcpu)
    }

    fn set_timer(&self, at: Option<u64>) {
        self.timer.set(at);
        self.recheck();
    }

    fn recheck(&self) {
        self.mailbox.limit.store(0, Ordering::SeqCst);
    }

    fn flush(&self, what: Flush) {
        match what {
            Flush::Page(address) => match self.memory.flush_page(address) {
                Flushed::Page => self.jumps.forget_page(address),
                // Rare, and entries may be in every row.
                Flushed::Large => self.new_generation(),
            },
            Flush::All => {
                self.memory.flush_all();
                self.new_generation();
            }
            Flush::Local => {
                self.memory.flush_local();
                self.change_stamps(Stamps::renew_local);
            }
            Flush::AddressSpace(space) => {
                self.memory.flush_local();
                self.change_stamps(|s| s.enter(space));
            }
        }
    }

    fn pause(&self) {
        let pauses = self.pauses.get().wrapping_add(1);
        self.pauses.set(pauses);
        if pauses.is_multiple_of(SPINS) {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }

    fn sync_code(&self) {
        M::sync_code(self);
        // Written pages were noted when they were written; the vCPU drops them before its next block because
        // the note stored 0 in the limit.
        if self.mailbox.requests.load(Ordering::SeqCst) & Mailbox::CODE_WRITTEN != 0 {
            self.recheck();
        }
    }

    #[inline(always)]
    fn load(&self, regime: usize, width: Width, address: u64) -> Result<u64, Leave> {
        M::load(self, regime, width, address)
    }

    #[inline(always)]
    fn store(&self, regime: usize, width: Width, address: u64, value: u64) -> Result<(), Leave> {
        M::store(self, regime, width, address, value)
    }

    fn probe(&self, regime: usize, access: Access, address: u64, len: u64) -> Result<(), Leave> {
        self.probe_pages(regime, access, address, len)
    }

    fn phys_store(&self, address: u64, width: Width, value: u64) -> Option<()> {
        self.memory.ram()?.store(address, width, value)
    }

    fn port_in(&self, port: u16, width: Width) -> u64 {
        self.sync_clock();
        self.bus.read_port(port, width).unwrap_or(width.mask())
    }

    fn port_out(&self, port: u16, width: Width, value: u64) {
        self.sync_clock();
        // Ignored if no device takes it, as on a real bus.
        let _ = self.bus.write_port(port, width, value);
    }

    fn phys_load(&self, address: u64, width: Width) -> Option<u64> {
        self.memory.ram()?.load_any(address, width)
    }

    fn phys_exchange(&self, address: u64, width: Width, expect: u64, new: u64) -> Option<u64> {
        self.memory.ram()?.compare_exchange(address, width, expect, new)
    }

    fn zero(&self, address: u64, len: u64) -> Result<(), Leave> {
        M::zero(self, address, len)
    }

    fn harvest_fp(&self) {
        self.check_fp();
        let mxcsr = self.frame.guest_fp_control.get();
        I::Fp::harvest(self.slots.as_ref(), mxcsr);
        self.frame.guest_fp_control.set(mxcsr & !MXCSR_FLAGS);
    }

    fn load_fp(&self) {
        self.check_fp();
        self.frame.guest_fp_control.set(I::Fp::mxcsr(self.slots.as_ref()));
    }

    fn mode_changed(&self) {
        let mode = I::mode(self.slots.as_ref());
        self.mode.set(mode);
        self.set_stamp();
    }
}

/// A RISC-V vCPU after reset without memory, in count mode, for tests of a core's parts.
#[cfg(test)]
pub(crate) fn without_memory() -> Box<Core<trine_isa_riscv::Rv64>> {
    let (clock, mailbox) = (Arc::new(CountClock::new(1, 0)), Arc::new(Mailbox::new()));
    let bus = Arc::new(Bus::new(clock.clone(), vec![mailbox.clone()]));
    let config = trine_isa_riscv::Config { hart: 0, start: trine_isa_riscv::Start::Machine };
    let ram = Arc::new(trine_memory::Ram::none());
    Core::new(config, ram, bus, Time::Count(clock), mailbox, Arc::default())
}
