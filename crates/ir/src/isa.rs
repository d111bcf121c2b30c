//! What an engine knows of a CPU ([`Isa`]), and what a CPU's helpers know of their engine ([`Hart`]).

use crate::{FpRules, Hints, Res, Row, Sem};
use std::cell::Cell;
use trine_base::{RegisterInfo, Width};

/// Why an instruction did not simply end. Small, so that the interpreter's results stay in
/// registers; details lie in the hart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Leave {
    /// Control went elsewhere: the PC is set.
    Jump = 1,
    /// The instruction raised an exception ([`Hart::raise`]), which says whether it was done.
    Trap = 2,
    /// The instruction is done and what translations depend on may have changed.
    EndBlock = 3,
    /// The instruction is done; the CPU waits for an interrupt.
    Idle = 4,
    /// The instruction is done; a device stopped the machine, or another thread wants the vCPU.
    Stop = 5,
    /// Nothing of the instruction was done: it would change code, and is to be executed alone, so that the next one is
    /// decoded behind it ([`Isa::CODE_COHERENT`]).
    Alone = 6,
}

/// An exception or interrupt about to be taken, in the CPU's own numbering.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trap {
    /// Which one: on RISC-V, what `mcause` gets; elsewhere a vector.
    pub cause: u64,
    /// What the handler gets besides, where the CPU has that: an error code, a syndrome.
    pub code: u32,
    /// What it is about, mostly an address: on RISC-V, what `mtval` gets.
    pub value: u64,
    /// The instruction is done, and the handler gets the program counter of the next one. Otherwise nothing of it was done,
    /// and the handler gets its own.
    pub after: bool,
}

impl Trap {
    /// One that is reported at the instruction which it keeps from being done; interrupts, too.
    pub const fn fault(cause: u64, value: u64) -> Trap {
        Trap { cause, code: 0, value, after: false }
    }

    /// One that is reported behind the instruction which raised it.
    pub const fn after(cause: u64, value: u64) -> Trap {
        Trap { after: true, ..Trap::fault(cause, value) }
    }
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

/// Where a page of virtual addresses lies and what may be done with it. Always about one page of
/// 4 KiB, also where the CPU maps a larger one; `size` then says which range one flush covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Physical address of the page.
    pub page: u64,
    /// Loads allowed.
    pub read: bool,
    /// Stores allowed, with no further bookkeeping (a page whose dirty bit is clear says no).
    pub write: bool,
    /// Instruction fetches allowed.
    pub execute: bool,
    /// The same in every address space.
    pub global: bool,
    /// log2 of the bytes that the CPU's own page covers, this one included: 12 for a page of 4 KiB, 21 for one of
    /// 2 MiB. [`Flush::Page`] of any address in it forgets all of it.
    pub size: u8,
}

/// Which cached translations of addresses to forget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// All.
    All,
    /// Those that are not the same in every address space.
    Local,
    /// Those of one virtual page, in all regimes: of the whole of a large page, where the address lies in one.
    Page(u64),
    /// Those of address spaces other than the one that becomes current: global ones may stay. The
    /// number names the new one; the same number means the same translations as long as nothing else
    /// is flushed.
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

/// A Rust function that semantics call where they are really a small program. What it says of itself lets generated code
/// keep registers over a call; debug builds check it.
pub struct Helper {
    /// Name for listings and statistics.
    pub name: &'static str,
    /// The function.
    pub run: fn(&dyn Hart, [u64; 3]) -> Result<u64, Leave>,
    /// The slots that it may read, those among them that [`Isa::mode`], [`Isa::walk`] and the like read for it.
    pub reads: SlotSet,
    /// The slots that it may write.
    pub writes: SlotSet,
    /// It may leave the instruction ([`Leave`]).
    pub leaves: bool,
    /// It may change what translations depend on: the mode, or where addresses lie.
    pub flushes: bool,
    /// It reads or changes the floating-point environment ([`Hart::harvest_fp`], [`Hart::load_fp`]).
    pub fp: bool,
}

impl std::fmt::Debug for Helper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Raises an exception that is reported behind its instruction: the arguments are cause and value.
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

    /// Sends control to the guest's program counter `pc`, in the mode and with the code base that are current.
    fn set_pc(&self, pc: u64);

    /// Records an exception; gives back [`Leave::Trap`].
    fn raise(&self, trap: Trap) -> Leave;

    /// Clock time in nanoseconds.
    fn now(&self) -> u64;

    /// Instructions executed, the current one not included.
    fn count(&self) -> u64;

    /// Interrupt inputs, one bit a line: levels.
    fn lines(&self) -> u32;

    /// Events that were posted and not taken yet, one bit each in the CPU's own numbering: what is an edge and not a level,
    /// such as a non-maskable interrupt or a start-up request.
    fn edges(&self) -> u32;

    /// Takes an event; whether it was posted.
    fn take_edge(&self, number: u32) -> bool;

    /// Asks the interrupt controller which interrupt is to be taken now, and acknowledges it; `None` where none is pending
    /// or the controller is not one that is asked.
    fn acknowledge(&self) -> Option<u32>;

    /// (Re)arms the CPU's own timer: an interrupt check happens once the clock reaches `at`.
    fn set_timer(&self, at: Option<u64>);

    /// Asks for an interrupt check before the next block.
    fn recheck(&self);

    /// Forgets cached address translations.
    fn flush(&self, what: Flush);

    /// Waits for other writers of code: called by `fence.i` and the like.
    fn sync_code(&self);

    /// Loads from a virtual address in a regime, as an instruction does.
    fn load(&self, regime: usize, width: Width, address: u64) -> Result<u64, Leave>;

    /// Stores to a virtual address in a regime, as an instruction does.
    fn store(&self, regime: usize, width: Width, address: u64, value: u64) -> Result<(), Leave>;

    /// Raises what an access to `len` bytes at a virtual address would raise, and accesses nothing. For helpers that access
    /// more than once: they probe first, so that an exception leaves nothing half done.
    fn probe(&self, regime: usize, access: Access, address: u64, len: u64) -> Result<(), Leave>;

    /// Loads from physical memory (page tables); `None` outside RAM.
    fn phys_load(&self, address: u64, width: Width) -> Option<u64>;

    /// Stores to physical memory; `None` outside RAM.
    fn phys_store(&self, address: u64, width: Width, value: u64) -> Option<()>;

    /// Reads an I/O port, for CPUs that have a space of them. Where no device answers, and on boards without ports, all ones.
    fn port_in(&self, port: u16, width: Width) -> u64;

    /// Writes an I/O port; vanishes where no device answers.
    fn port_out(&self, port: u16, width: Width, value: u64);

    /// Compare-and-exchange in physical memory: the value found; `None` outside RAM.
    fn phys_exchange(&self, address: u64, width: Width, expect: u64, new: u64) -> Option<u64>;

    /// Stores zeros to a virtual range inside one page (cache-block zero); checks as a store.
    fn zero(&self, address: u64, len: u64) -> Result<(), Leave>;

    /// Adds the flags that the host's FPU gathered to the slot that holds them.
    fn harvest_fp(&self);

    /// The rounding direction or the flags in the slots changed: tell the host's FPU.
    fn load_fp(&self);

    /// What [`Isa::mode`] looks at may have changed.
    fn mode_changed(&self);
}

/// The bytes of code that an instruction is decoded from, in the order of their addresses. Those that are not known are
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
    /// The instruction is longer than the bytes that are known. Not said where [`Isa::MAX_BYTES`] are known.
    More,
    /// The bytes are not an instruction.
    Illegal,
}

/// How the program counter that the guest sees becomes the linear one that the engine works with: code is fetched,
/// translated and looked up by linear addresses. Jumps wrap, and so does control that runs on into another page; inside a
/// page it goes straight on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodeSpace {
    /// The bits that the program counter has: ones below, zeros above; at least those of an offset in a page.
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
    /// Nobody else implements [`super::Regimes`]: the engine relies on its arrays being arrays.
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
    /// Slots that compiled code keeps in host registers from block to block: the general registers that most code uses most,
    /// the most used first. At most 7; slots that are read and written as integers.
    const PINNED: &'static [u16] = &[];
    /// Whether an instruction sees all stores of those before it, with no barrier in between: a store to a page that holds
    /// translated code then leaves with [`Leave::Alone`] first. Programs' memory is not watched.
    const CODE_COHERENT: bool = false;
    /// Longest instruction in bytes; at most as many as [`Bytes`] holds.
    const MAX_BYTES: u64;

    /// The state after reset.
    fn slots(config: &Self::Config) -> Self::Slots;

    /// What translations depend on besides their bytes. The low byte is the regime for fetches.
    fn mode(slots: &[Cell<u64>]) -> u32;

    /// The regime for loads and stores in `mode`.
    fn data_regime(mode: u32) -> usize;

    /// The regime for loads and stores with `hints` in `mode`.
    #[inline(always)]
    fn access_regime(mode: u32, _hints: Hints) -> usize {
        Self::data_regime(mode)
    }

    /// The exception for an access that its hints want aligned, and that is not. A CPU without such accesses need not say.
    fn misaligned(access: Access, address: u64) -> Trap {
        Self::refused(access, address)
    }

    /// The exception in place of `trap`, which an access with `hints` raised: a CPU may report faults of its stack another
    /// way.
    #[inline(always)]
    fn hinted(trap: Trap, _hints: Hints) -> Trap {
        trap
    }

    /// The regime for instruction fetches in `mode`.
    fn fetch_regime(mode: u32) -> usize;

    /// Where the program counter points in `mode`. A CPU whose code base changes leaves the block then.
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

    /// Whether a translation ends after this instruction: it may change the mode, or control never
    /// goes on to the next one.
    fn ends_block(decoded: &Decoded<Self>) -> bool;

    /// The exception for bytes that are not an instruction.
    fn illegal(bytes: &Bytes) -> Trap;

    /// The exception of a breakpoint at this address.
    fn breakpoint(address: u64) -> Trap;

    /// The exception for an access that reaches no memory and no device; `None`: loads give ones, stores vanish, and what
    /// is fetched is not an instruction.
    fn bus_error(access: Access, address: u64) -> Option<Trap>;

    /// The exception for an access that a program's address space refuses.
    fn refused(access: Access, address: u64) -> Trap;

    /// Translates a virtual address in `regime`, with all side effects of the walk.
    fn walk(hart: &dyn Hart, regime: usize, address: u64, access: Access) -> Result<Mapping, Trap>;

    /// The interrupt to take now, if any is pending and enabled.
    fn interrupt(hart: &dyn Hart) -> Option<Trap>;

    /// Whether the next instruction is to be executed alone: a single step, or the shadow of an instruction that holds
    /// interrupts off. One that sets such a state leaves generated code (by [`Leave::EndBlock`] or [`Leave::Jump`]).
    #[inline(always)]
    fn stepping(_slots: &[Cell<u64>]) -> bool {
        false
    }

    /// Called behind an instruction that was executed alone, before interrupts are asked for: ends the state and gives the
    /// exception that it causes. `done` says that the instruction did not fault.
    #[inline(always)]
    fn after(_hart: &dyn Hart, _done: bool) -> Option<Trap> {
        None
    }

    /// Whether a waiting CPU wakes up: an interrupt is pending, enabled or not.
    fn wakes(hart: &dyn Hart) -> bool;

    /// Time at which the CPU's own timer raises an interrupt.
    fn deadline(hart: &dyn Hart) -> Option<u64>;

    /// Takes a trap raised at the guest's program counter `pc`: sets the state for its handler, and gives back the
    /// handler's program counter.
    /// `Err` gives the trap back where the board is the firmware that would handle it.
    fn trap(hart: &dyn Hart, trap: Trap, pc: u64) -> Result<u64, Trap>;
}
