//! What a vCPU is to a board.

use crate::{Mailbox, Stats, StopReason};
use std::sync::Arc;

/// Why [`Vcpu::run`] came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The instruction budget is used up.
    Budget,
    /// The guest waits for an interrupt; none is pending and enabled. `deadline` is the clock
    /// time in nanoseconds at which the CPU's own timer will raise one.
    Idle {
        /// Clock time in nanoseconds of the CPU's own timer, if armed.
        deadline: Option<u64>,
    },
    /// The guest called the firmware and the board itself is the firmware. The PC is where the CPU
    /// reports this exception: on RISC-V at the instruction that raised it.
    Firmware {
        /// The CPU's own cause number; on RISC-V the value that `mcause` would get.
        cause: u64,
        /// What `mtval` would get.
        value: u64,
    },
    /// Another thread asked the vCPU to stop ([`Mailbox::PAUSE`]).
    Paused,
    /// A device stopped the machine.
    Stopped(StopReason),
    /// The guest got into a state that the CPU cannot leave (its manual says which), in words.
    Dead(String),
}

/// One register as debuggers, snapshots and the lock-step test see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterInfo {
    /// Name as in the manual.
    pub name: &'static str,
    /// Index for [`Vcpu::get`] and [`Vcpu::set`].
    pub slot: u16,
    /// Width in bits.
    pub bits: u8,
}

/// An interrupt controller that a CPU asks which interrupt to take.
pub trait Acknowledge: Send + Sync {
    /// The number of the interrupt to take now, which is in service from now on; `None` where none is pending.
    fn acknowledge(&self) -> Option<u32>;
}

/// One virtual CPU, whoever runs its instructions.
pub trait Vcpu: Send {
    /// Runs until something in [`Exit`] happens, executing at most `budget` instructions.
    fn run(&mut self, budget: u64) -> Exit;

    /// Instructions executed since power-on.
    fn count(&self) -> u64;

    /// Sets the count of executed instructions, as a saved state has it.
    fn set_count(&mut self, count: u64);

    /// All architectural registers.
    fn registers(&self) -> &'static [RegisterInfo];

    /// Reads a register by [`RegisterInfo::slot`].
    fn get(&self, slot: u16) -> u64;

    /// Writes a register by [`RegisterInfo::slot`].
    fn set(&mut self, slot: u16, value: u64);

    /// The program counter, as the guest sees it.
    fn pc(&self) -> u64;

    /// Moves the program counter.
    fn set_pc(&mut self, pc: u64);

    /// Back to the state after power-on. The count of instructions goes on.
    fn reset(&mut self);

    /// Lets the CPU wait for an interrupt, as its own instruction for that does: [`Exit::Idle`], or `None` where one that
    /// ends the wait is pending already.
    fn wait(&mut self) -> Option<Exit>;

    /// Where guest time is the number of executed instructions: lets time pass up to `at` nanoseconds, as if the CPU had
    /// waited so long. A time that has passed already, or another kind of clock, changes nothing.
    fn skip_to(&mut self, at: u64);

    /// Instructions after which a vCPU that is stepped should be looked at: those of the block at the PC, or 1 where
    /// there is none.
    fn block_length(&mut self) -> u64 {
        1
    }

    /// What it counted; `None` where the host's own CPU runs the guest's instructions.
    fn stats(&self) -> Option<Stats> {
        None
    }

    /// Forgets cached address translations and translations of code that was written, as after the
    /// architecture's broadest fences.
    fn fence(&mut self);

    /// What other threads use to reach this vCPU.
    fn mailbox(&self) -> Arc<Mailbox>;
}
