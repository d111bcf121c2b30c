//! The interface between a vCPU and a board.

use crate::trace::Tracer;
use crate::{CachedPage, DebugStop, Mailbox, Stats, StopReason, Stops, target};
use std::sync::Arc;

/// An exception or interrupt about to be taken, in the CPU's own numbering.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trap {
    /// The cause: on RISC-V, the value of `mcause`; elsewhere a vector.
    pub cause: u64,
    /// A further value for the handler, where the CPU has one: an error code, a syndrome.
    pub code: u32,
    /// What the trap concerns, mostly an address: on RISC-V, the value of `mtval`.
    pub value: u64,
    /// The instruction completed, and the handler gets the program counter of the next one. Otherwise nothing
    /// of it was done, and the handler gets its own program counter.
    pub after: bool,
}

impl Trap {
    /// A trap that prevents the instruction at which it is reported; interrupts, too.
    pub const fn fault(cause: u64, value: u64) -> Trap {
        Trap { cause, code: 0, value, after: false }
    }

    /// A trap that is reported after the instruction which raised it.
    pub const fn after(cause: u64, value: u64) -> Trap {
        Trap { after: true, ..Trap::fault(cause, value) }
    }

    /// The same trap with a code.
    pub const fn with_code(self, code: u32) -> Trap {
        Trap { code, ..self }
    }
}

/// Why [`Vcpu::run`] returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The instruction budget is used up.
    Budget,
    /// The guest waits for an interrupt; none is pending and enabled.
    Idle {
        /// Clock time in nanoseconds at which the CPU's own timer will raise an interrupt, if it is armed.
        deadline: Option<u64>,
    },
    /// The guest raised an exception that the CPU does not handle: a call of the firmware where the board
    /// itself is the firmware, or any exception of a program. The PC is where the CPU reports it: at the
    /// instruction that raised it, or behind it ([`Trap::after`]).
    Firmware(Trap),
    /// Another thread asked the vCPU to stop ([`Mailbox::PAUSE`]).
    Paused,
    /// A device stopped the machine.
    Stopped(StopReason),
    /// A debugger's wish ([`Vcpu::set_stops`]) stopped the vCPU.
    Debugger(DebugStop),
    /// The guest reached a state that the CPU cannot leave; the text says which (as the CPU's manual defines
    /// it).
    Dead(String),
}

/// A register as debuggers, saved states and the lock-step test see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterInfo {
    /// Name as in the manual.
    pub name: &'static str,
    /// Index for [`Vcpu::get`] and [`Vcpu::set`]; of a view, for [`Vcpu::view`] and [`Vcpu::set_view`].
    pub slot: u16,
    /// Width in bits: at most 64, or 128 of a view.
    pub bits: u8,
}

/// What a vCPU is to read again from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Everything: code and address translations.
    All,
    /// Code.
    Code,
    /// The address translations of all pages.
    Translations,
    /// The address translations of the pages with these virtual addresses, in every address space.
    Pages {
        /// The first address.
        start: u64,
        /// Bytes from there; not beyond the end of the address space.
        size: u64,
    },
}

/// One virtual CPU, independent of what executes its instructions.
pub trait Vcpu: Send {
    /// Runs until one of the events of [`Exit`] happens; executes at most `budget` instructions.
    fn run(&mut self, budget: u64) -> Exit;

    /// Instructions executed since power-on.
    fn count(&self) -> u64;

    /// Sets the count of executed instructions, for loading a saved state.
    fn set_count(&mut self, count: u64);

    /// Describes all architectural registers.
    fn registers(&self) -> &'static [RegisterInfo];

    /// Reads a register by [`RegisterInfo::slot`].
    fn get(&self, slot: u16) -> u64;

    /// Writes a register by [`RegisterInfo::slot`].
    fn set(&mut self, slot: u16, value: u64);

    /// Describes the registers of the manual that are not one slot each: computed from several slots, such as
    /// a register of flags, or wider than a slot. Saved states do not contain them, as they contain the slots.
    fn views(&self) -> &'static [RegisterInfo] {
        &[]
    }

    /// Reads a register of [`Vcpu::views`], or one of [`Vcpu::registers`].
    fn view(&self, number: u16) -> u128 {
        self.get(number).into()
    }

    /// Writes a register of [`Vcpu::views`], or one of [`Vcpu::registers`].
    fn set_view(&mut self, number: u16, value: u128) {
        self.set(number, value as u64);
    }

    /// The program counter, as the guest sees it.
    fn pc(&self) -> u64;

    /// Moves the program counter.
    fn set_pc(&mut self, pc: u64);

    /// Returns to the state after power-on. The instruction count is kept.
    fn reset(&mut self);

    /// Makes the CPU wait for an interrupt, as its own wait instruction does. Returns [`Exit::Idle`], or
    /// `None` where an interrupt that ends the wait is already pending.
    fn wait(&mut self) -> Option<Exit>;

    /// The CPU has nothing to do and its thread is about to sleep: what it keeps for the sake of speed may be given up. Not
    /// called in counted time, in which a run is the same whatever the host's time.
    fn rests(&mut self) {}

    /// In counted time: advances the clock to `at` nanoseconds, as if the CPU had waited so long. Does
    /// nothing where that time has passed already or the clock is not counted.
    fn skip_to(&mut self, at: u64);

    /// The number of instructions after which a single-stepped vCPU should be inspected: the length of the
    /// block at the PC, or 1 where there are no blocks.
    fn block_length(&mut self) -> u64 {
        1
    }

    /// Its counters; `None` where the host's own CPU executes the guest's instructions.
    fn stats(&self) -> Option<Stats> {
        None
    }

    /// How debuggers see its registers; `None` for a CPU that they do not know.
    fn target(&self) -> Option<target::Target> {
        None
    }

    /// Reads a register that the CPU's own code computes, by the number in [`target::Place::System`]. It has no side
    /// effects. `None` if there is no such register.
    fn system_register(&self, _number: u16) -> Option<u64> {
        None
    }

    /// Writes such a register as a privileged instruction would. Returns false if there is no such register.
    fn set_system_register(&mut self, _number: u16, _value: u64) -> bool {
        false
    }

    /// Has a tracer told what this vCPU does, by this number. Returns false, and does nothing, where that is not possible.
    fn set_tracer(&mut self, _tracer: &Arc<dyn Tracer>, _number: usize) -> bool {
        false
    }

    /// Has [`Vcpu::run`] stop at these places from now on, with [`Exit::Debugger`]. All vCPUs of a machine must be
    /// given the same, while none of them runs. Returns false, and does nothing, where it cannot stop.
    fn set_stops(&mut self, _stops: &Arc<Stops>) -> bool {
        false
    }

    /// Executes one instruction for a debugger, at a breakpoint, too, and takes no interrupt before it. `None` if it
    /// completed or its exception was taken. Afterwards it completed only if the exit implies it: [`Exit::Firmware`]
    /// does (it raised that), and so does [`Exit::Debugger`] on CPUs whose debuggers expect that.
    fn debug_step(&mut self) -> Option<Exit> {
        match self.run(1) {
            Exit::Budget | Exit::Idle { .. } => None,
            exit => Some(exit),
        }
    }

    /// The physical address of a virtual one for a debugger, by the current translation, without side effects and
    /// whatever the current privilege is; `None` if nothing is mapped there.
    fn debug_translate(&self, address: u64) -> Option<u64> {
        Some(address)
    }

    /// The instruction that these bytes begin with, and its length; `None` if they are not one.
    fn disassemble(&self, _bytes: &[u8]) -> Option<(String, usize)> {
        None
    }

    /// The cached translations of addresses.
    fn cached_pages(&self) -> Vec<CachedPage> {
        Vec::new()
    }

    /// What the translated code of all vCPUs that share it is: a line for each fact, for people.
    fn describe_code(&self) -> Option<String> {
        None
    }

    /// Drops what was cached from memory, as an instruction for that would.
    fn fence(&mut self, what: Fence);

    /// The mailbox by which other threads reach this vCPU.
    fn mailbox(&self) -> Arc<Mailbox>;
}
