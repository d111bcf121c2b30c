//! What an engine knows of a CPU ([`Isa`]), and what a CPU's helpers know of the engine ([`Hart`]).

use crate::{FpRules, Hints, Res, Row, Sem};
use std::cell::Cell;
pub use trine_base::Trap;
use trine_base::{RegisterInfo, Width};

/// How an instruction left other than by falling through. Small, so that the interpreter's results stay in
/// registers; details are in the hart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Leave {
    /// Control went elsewhere: the PC is set.
    Jump = 1,
    /// The instruction raised an exception ([`Hart::raise`]), which tells whether the instruction completed.
    Trap = 2,
    /// The instruction is complete, and what translations depend on may have changed.
    EndBlock = 3,
    /// The instruction is complete; the CPU waits for an interrupt.
    Idle = 4,
    /// The instruction is complete; a device stopped the machine, or another thread wants the vCPU.
    Stop = 5,
    /// Nothing of the instruction was done: it would change code, and must be executed alone, so that the
    /// next instruction is decoded after it ([`Isa::CODE_COHERENT`]).
    Alone = 6,
}

/// What kind of access a translation of an address is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// A load.
    Read,
    /// A store or read-modify-write.
    Write,
    /// An instruction fetch.
    Execute,
}

/// Where a page of virtual addresses lies, and which accesses it allows. Always about one page of 4 KiB, even
/// if the CPU maps a larger one; `size` then says which range one flush covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Physical address of the page.
    pub page: u64,
    /// Loads allowed.
    pub read: bool,
    /// Stores allowed with no further bookkeeping (false for a page whose dirty bit is clear).
    pub write: bool,
    /// Instruction fetches allowed.
    pub execute: bool,
    /// The same in every address space.
    pub global: bool,
    /// log2 of the size of the CPU's own page that contains this one: 12 for a page of 4 KiB, 21 for one of 2
    /// MiB. [`Flush::Page`] of any address in it forgets all of it.
    pub size: u8,
}

/// Which cached translations of addresses to forget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// All.
    All,
    /// Those that are not the same in every address space.
    Local,
    /// Those of one virtual page, in all regimes; if the address is in a large page, those of all of it.
    Page(u64),
    /// Those of address spaces other than the one that becomes current: global ones may stay. The number
    /// identifies the new one; the same number stands for the same translations as long as nothing else is
    /// flushed.
    AddressSpace(u64),
}

/// A set of slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotSet {
    /// Every slot.
    All,
    /// These.
    Only(&'static [u16]),
}

impl SlotSet {
    /// No slot.
    pub const NONE: SlotSet = SlotSet::Only(&[]);

    /// Whether the slot is one of them.
    pub fn has(self, slot: u16) -> bool {
        match self {
            SlotSet::All => true,
            SlotSet::Only(slots) => slots.contains(&slot),
        }
    }
}

/// A Rust function that semantics call for what is too complex for IR. Its declarations let generated code
/// keep registers across a call; debug builds check them.
pub struct Helper {
    /// Name for listings and statistics.
    pub name: &'static str,
    /// The function.
    pub run: fn(&dyn Hart, [u64; 3]) -> Result<u64, Leave>,
    /// The slots that it may read, including those that [`Isa::mode`], [`Isa::walk`] and the like read for
    /// it.
    pub reads: SlotSet,
    /// The slots that it may write.
    pub writes: SlotSet,
    /// It may leave the instruction ([`Leave`]).
    pub leaves: bool,
    /// It may change what translations depend on: the mode, or address translation.
    pub flushes: bool,
    /// It reads or changes the floating-point environment ([`Hart::harvest_fp`], [`Hart::load_fp`]).
    pub fp: bool,
}

impl std::fmt::Debug for Helper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Raises an exception that is reported after its instruction: the arguments are cause and value.
pub static RAISE_AFTER: Helper = Helper {
    name: "raise_after",
    run: |hart, [cause, value, _]| Err(hart.raise(Trap::after(cause, value))),
    reads: SlotSet::NONE,
    writes: SlotSet::NONE,
    leaves: true,
    flushes: false,
    fp: false,
};

/// A hart as the CPU's own Rust code (helpers, page walks, traps) sees it.
pub trait Hart {
    /// The state slots.
    fn slots(&self) -> &[Cell<u64>];

    /// Reads a slot.
    fn get(&self, slot: u16) -> u64 {
        self.slots().get(slot as usize).map_or(0, Cell::get)
    }

    /// Writes a slot.
    fn set(&self, slot: u16, value: u64) {
        if let Some(cell) = self.slots().get(slot as usize) {
            cell.set(value);
        }
    }

    /// The guest's program counter at the instruction being executed.
    fn pc(&self) -> u64;

    /// Continues at the guest's program counter `pc`, in the current mode and with the current code base.
    fn set_pc(&self, pc: u64);

    /// Records an exception; returns [`Leave::Trap`].
    fn raise(&self, trap: Trap) -> Leave;

    /// Clock time in nanoseconds.
    fn now(&self) -> u64;

    /// Instructions executed, without the current one.
    fn count(&self) -> u64;

    /// Interrupt inputs, one bit a line: levels.
    fn lines(&self) -> u32;

    /// Events that were posted and not taken yet, one bit each in the CPU's own numbering: edges, not levels,
    /// such as a non-maskable interrupt or a start-up request.
    fn edges(&self) -> u32;

    /// Takes an event; returns whether it was posted.
    fn take_edge(&self, number: u32) -> bool;

    /// Asks the interrupt controller which interrupt to take now, and acknowledges it; `None` if none is
    /// pending or the controller does not work that way.
    fn acknowledge(&self) -> Option<u32>;

    /// (Re)arms the CPU's own timer: an interrupt check happens once the clock reaches `at`.
    fn set_timer(&self, at: Option<u64>);

    /// Asks for an interrupt check before the next block.
    fn recheck(&self);

    /// Forgets cached address translations.
    fn flush(&self, what: Flush);

    /// Waits for other writers of code: called by instructions after which fetches
    /// see code that other harts have written.
    fn sync_code(&self);

    /// Waits for a moment: the guest waits in a loop for another hart, whose thread may need the host's processor.
    fn pause(&self) {}

    /// Loads from a virtual address in a regime, as an instruction does.
    fn load(&self, regime: usize, width: Width, address: u64) -> Result<u64, Leave>;

    /// Stores to a virtual address in a regime, as an instruction does.
    fn store(&self, regime: usize, width: Width, address: u64, value: u64) -> Result<(), Leave>;

    /// Raises what an access to `len` bytes at a virtual address would raise, without accessing anything. For
    /// helpers that access more than once: they probe first, so that an exception leaves nothing half done.
    fn probe(&self, regime: usize, access: Access, address: u64, len: u64) -> Result<(), Leave>;

    /// Loads from physical memory (page tables); `None` outside RAM.
    fn phys_load(&self, address: u64, width: Width) -> Option<u64>;

    /// Stores to physical memory; `None` outside RAM.
    fn phys_store(&self, address: u64, width: Width, value: u64) -> Option<()>;

    /// Reads an I/O port, for CPUs that have I/O ports. All ones if no device answers, and on boards without
    /// ports.
    fn port_in(&self, port: u16, width: Width) -> u64;

    /// Writes an I/O port; ignored if no device answers.
    fn port_out(&self, port: u16, width: Width, value: u64);

    /// Compare-and-exchange in physical memory: the value found; `None` outside RAM.
    fn phys_exchange(&self, address: u64, width: Width, expect: u64, new: u64) -> Option<u64>;

    /// Stores zeros to a virtual range inside one page (cache-block zero); checks as a store.
    fn zero(&self, address: u64, len: u64) -> Result<(), Leave>;

    /// Adds the flags that the host's FPU gathered to the slot that holds them.
    fn harvest_fp(&self);

    /// Called after the rounding direction or the flags in the slots changed: updates the host's FPU.
    fn load_fp(&self);

    /// Called after anything that [`Isa::mode`] looks at may have changed.
    fn mode_changed(&self);
}

/// The bytes of code that an instruction is decoded from, in the order of their addresses. Unknown ones are
/// zero.
pub type Bytes = [u8; 16];

/// One decoded instruction.
pub struct Decoded<I: Isa> {
    /// Its row.
    pub row: Row,
    /// Its operands.
    pub operands: I::Operands,
    /// Its length in bytes.
    pub bytes: u8,
}

/// Why there is no decoded instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// The instruction is longer than the known bytes. Never returned if [`Isa::MAX_BYTES`] are known.
    More,
    /// The bytes are not an instruction.
    Illegal,
}

/// How the guest's program counter becomes the linear one that the engine works with: code is fetched,
/// translated and looked up by linear addresses. Jumps wrap, and so does falling through into another page;
/// inside a page there is no wrapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodeSpace {
    /// The bits of the program counter: ones below, zeros above; at least those of an offset in a page.
    pub mask: u64,
    /// The slot whose value is added to it.
    pub base: Option<u16>,
}

impl CodeSpace {
    /// Both program counters are the same, in 64 bits.
    pub const FLAT: CodeSpace = CodeSpace { mask: u64::MAX, base: None };

    #[inline(always)]
    fn base(self, slots: &[Cell<u64>]) -> u64 {
        self.base.and_then(|slot| slots.get(slot as usize)).map_or(0, Cell::get)
    }

    /// The linear address of the guest's program counter `pc`.
    #[inline(always)]
    pub fn linear(self, slots: &[Cell<u64>], pc: u64) -> u64 {
        self.base(slots).wrapping_add(pc & self.mask)
    }

    /// The guest's program counter at the linear address `address`.
    #[inline(always)]
    pub fn guest(self, slots: &[Cell<u64>], address: u64) -> u64 {
        address.wrapping_sub(self.base(slots)) & self.mask
    }
}

/// A number of regimes, and arrays with one element for each.
pub trait Regimes: sealed::Sealed + 'static {
    /// How many there are.
    const COUNT: usize;
    /// An array with one element for each.
    type Each<T>: AsRef<[T]>;
}

/// `N` regimes.
pub struct Count<const N: usize>;

mod sealed {
    /// Keeps others from implementing [`super::Regimes`]: the engine relies on its arrays being arrays.
    pub trait Sealed {}
    impl<const N: usize> Sealed for super::Count<N> {}
}

impl<const N: usize> Regimes for Count<N> {
    const COUNT: usize = N;
    type Each<T> = [T; N];
}

/// A guest CPU.
pub trait Isa: Sized + Send + 'static {
    /// The state: an array of slots.
    type Slots: AsRef<[Cell<u64>]> + Send;
    /// Configuration that decoding depends on (extensions present).
    type Config: Clone + Send + 'static;
    /// What decoding finds out about one instruction besides its row and its length.
    type Operands: Copy + Default + Send + Sync + 'static;

    /// The translation regimes, whose software TLBs are kept apart: [`Count`] of their number.
    type Regimes: Regimes;
    /// The floating-point environment: [`crate::NoFp`] where there is none.
    type Fp: FpRules;
    /// All architectural registers.
    const REGISTERS: &'static [RegisterInfo];
    /// Registers that people and debuggers know and that are not one slot each: computed from several slots,
    /// or wider than a slot. Their numbers are above all slots'.
    const VIEWS: &'static [RegisterInfo] = &[];
    /// Slots that compiled code keeps in host registers from block to block: the most used general registers,
    /// the most used first. At most 7; slots that are read and written as integers.
    const PINNED: &'static [u16] = &[];

    /// The slots by which code usually reaches its stack frame: stack pointer and frame pointer. A frame may lie in two
    /// pages, and be accessed in both in turn.
    const FRAME_BASES: &'static [u16] = &[];
    /// Whether an instruction sees all stores of those before it, without a barrier in between: a store to a
    /// page with translated code then first leaves with [`Leave::Alone`]. Programs' memory is not watched.
    const CODE_COHERENT: bool = false;
    /// Longest instruction in bytes; at most as many as [`Bytes`] holds.
    const MAX_BYTES: u64;

    /// Computes a register of [`Isa::VIEWS`] of the slots.
    fn view(number: u16, get: &dyn Fn(u16) -> u64) -> u128 {
        get(number).into()
    }

    /// Writes the slots that a register of [`Isa::VIEWS`] is computed of.
    fn set_view(number: u16, value: u128, set: &mut dyn FnMut(u16, u64)) {
        set(number, value as u64);
    }

    /// The state after reset.
    fn slots(config: &Self::Config) -> Self::Slots;

    /// What translations depend on besides their bytes.
    fn mode(slots: &[Cell<u64>]) -> u32;

    /// The regime for loads and stores in `mode`.
    fn data_regime(mode: u32) -> usize;

    /// The regime for loads and stores with `hints` in `mode`.
    #[inline(always)]
    fn access_regime(mode: u32, _hints: Hints) -> usize {
        Self::data_regime(mode)
    }

    /// The exception for a misaligned access whose hints ask for alignment. A CPU without such accesses need
    /// not implement it.
    fn misaligned(access: Access, address: u64) -> Trap {
        Self::refused(access, address)
    }

    /// The exception to raise instead of `trap`, which an access with `hints` raised: a CPU may report faults
    /// of its stack in another way.
    #[inline(always)]
    fn hinted(trap: Trap, _hints: Hints) -> Trap {
        trap
    }

    /// The regime for instruction fetches in `mode`.
    fn fetch_regime(mode: u32) -> usize;

    /// How the program counter works in `mode`. A CPU that changes its code base leaves the block after it.
    #[inline(always)]
    fn code_space(_mode: u32) -> CodeSpace {
        CodeSpace::FLAT
    }

    /// Decodes the instruction that starts with the first `have` of `bytes` in `mode`. The engine fetches from the next
    /// page only after [`DecodeError::More`]: an instruction that ends in this page never faults for what follows it.
    fn decode(
        config: &Self::Config,
        mode: u32,
        bytes: &Bytes,
        have: usize,
    ) -> Result<Decoded<Self>, DecodeError>;

    /// The row's semantics for engine `S`.
    fn body<S: Sem<Isa = Self>>(row: Row) -> fn(S, &Self::Operands) -> Res<S>;

    /// Whether a translation ends after this instruction: it may change the mode, or never continues with the
    /// next one.
    fn ends_block(decoded: &Decoded<Self>) -> bool;

    /// The exception for bytes that are not an instruction.
    fn illegal(bytes: &Bytes) -> Trap;

    /// The exception for a breakpoint at this address.
    fn breakpoint(address: u64) -> Trap;

    /// The exception for an access that reaches neither memory nor a device; `None`: loads give ones, stores
    /// are ignored, and a fetch gives an illegal instruction.
    fn bus_error(access: Access, address: u64) -> Option<Trap>;

    /// The exception for an access that a program's address space refuses.
    fn refused(access: Access, address: u64) -> Trap;

    /// Translates a virtual address in `regime`, with all side effects of the walk.
    fn walk(hart: &dyn Hart, regime: usize, address: u64, access: Access) -> Result<Mapping, Trap>;

    /// The regimes in which a debugger looks for an address in `mode`, one after the other: the current one first, then
    /// those of other privilege levels with the same page tables. `None` after the last one.
    fn debug_regime(mode: u32, n: usize) -> Option<usize> {
        [Self::data_regime(mode), Self::fetch_regime(mode)].get(n).copied()
    }

    /// Whether debuggers expect that a watched access stops the CPU before its instruction, and step over that themselves.
    /// gdb does so on RISC-V (`have_nonsteppable_watchpoint` in its `riscv-tdep.c`); elsewhere it expects the stop behind
    /// the instruction.
    const WATCH_STOPS_BEFORE: bool = false;

    /// How debuggers see a machine's registers; `None` if they do not know the CPU.
    fn debug_target() -> Option<trine_base::target::Target> {
        None
    }

    /// Reads a register of [`trine_base::target::Place::System`], without side effects.
    fn system_register(_hart: &dyn Hart, _number: u16) -> Option<u64> {
        None
    }

    /// Writes a register of [`trine_base::target::Place::System`]; returns false if there is no such register.
    fn set_system_register(_hart: &dyn Hart, _number: u16, _value: u64) -> bool {
        false
    }

    /// The assembler's text of an instruction that was decoded in `mode` from these bytes.
    fn disassemble(_mode: u32, _bytes: &Bytes) -> Option<String> {
        None
    }

    /// The privilege level of a mode, as the CPU's manual abbreviates it; empty on a CPU without any.
    fn privilege(_mode: u32) -> &'static str {
        ""
    }

    /// Whether a trap is an interrupt, and its name for people; empty where it has none.
    fn describe_trap(_trap: &Trap) -> (bool, &'static str) {
        (false, "")
    }

    /// The interrupt to take now, if any is pending and enabled. An event that is not reported to a handler,
    /// such as a request to start, changes the state itself and returns `None`.
    fn interrupt(hart: &dyn Hart) -> Option<Trap>;

    /// Whether the next instruction must be executed alone: a single step, or the shadow of an instruction
    /// that delays interrupts. An instruction that sets such a state leaves generated code (by
    /// [`Leave::EndBlock`] or [`Leave::Jump`]).
    #[inline(always)]
    fn stepping(_slots: &[Cell<u64>]) -> bool {
        false
    }

    /// Called after an instruction that was executed alone, before the check for interrupts: ends that state
    /// and returns the exception that it causes. `done` says that the instruction did not fault.
    #[inline(always)]
    fn after(_hart: &dyn Hart, _done: bool) -> Option<Trap> {
        None
    }

    /// Whether the CPU ends a wait that is about to begin ([`Leave::Idle`]): on most, an interrupt is pending,
    /// enabled or not.
    fn wakes(hart: &dyn Hart) -> bool;

    /// Whether the CPU waits and executes nothing, by its state: halted until an interrupt, or not started yet.
    /// Only [`Isa::interrupt`] and [`Isa::trap`] end this state; other reasons to leave the wait (a pause, the
    /// host, a kick without an interrupt) do not. A CPU whose wait instruction may complete at any time, like
    /// RISC-V's, has no such state.
    #[inline(always)]
    fn waits(_slots: &[Cell<u64>]) -> bool {
        false
    }

    /// Time at which the CPU's own timer raises an interrupt.
    fn deadline(hart: &dyn Hart) -> Option<u64>;

    /// Takes a trap raised at the guest's program counter `pc`: sets the state for its handler, and returns
    /// the handler's program counter. `Err` returns the trap if the board is the firmware that would handle
    /// it.
    fn trap(hart: &dyn Hart, trap: Trap, pc: u64) -> Result<u64, Trap>;
}
