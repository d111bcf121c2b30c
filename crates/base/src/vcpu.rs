//! What a vCPU is to a board.

use crate::state::{self, Versioned};
use crate::{Mailbox, StateError, StopReason, versions};
use serde::{Deserialize, Serialize};
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

impl RegisterInfo {
    /// The slots that hold it, least significant word first.
    fn slots(&self) -> impl Iterator<Item = u16> {
        (0..u16::from(self.bits).div_ceil(64).max(1)).map(|word| self.slot.saturating_add(word))
    }

    /// The bits of each word that it has.
    fn mask(&self) -> u64 {
        if self.bits == 0 || self.bits >= 64 { u64::MAX } else { (1 << self.bits) - 1 }
    }
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

    /// Forgets cached address translations and translations of code that was written, as after the
    /// architecture's broadest fences.
    fn fence(&mut self);

    /// What other threads use to reach this vCPU.
    fn mailbox(&self) -> Arc<Mailbox>;

    /// All that the guest could notice, as bytes (see [`crate::state`]): registers by their names, program counter, count,
    /// the CPU's own timer. The interrupt inputs are saved with the bus.
    fn save(&self) -> Vec<u8>;

    /// Takes over the state of a vCPU of the same kind and configuration, whoever ran its instructions. Guest memory was
    /// loaded before.
    fn load(&mut self, state: &[u8]) -> Result<(), StateError>;
}

/// What is saved of a vCPU, whoever runs its instructions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuState {
    /// Registers by name, least significant word first.
    pub registers: Vec<(String, Vec<u64>)>,
    /// The program counter, as the guest sees it.
    pub pc: u64,
    /// Instructions executed since power-on.
    pub count: u64,
    /// Clock time in nanoseconds at which the CPU's own timer wants an interrupt check.
    pub timer: Option<u64>,
}

/// The highest count that is loaded, so that no vCPU lives to see the end of the numbers.
const MOST: u64 = u64::MAX / 2;

versions!(Saved of "a vCPU" { V1(VcpuState) });

impl VcpuState {
    /// The state of a vCPU with these registers, whose slots `get` reads.
    pub fn new(
        registers: &[RegisterInfo],
        get: impl Fn(u16) -> u64,
        pc: u64,
        count: u64,
        timer: Option<u64>,
    ) -> VcpuState {
        let words = |r: &RegisterInfo| (r.name.to_owned(), r.slots().map(&get).collect());
        VcpuState { registers: registers.iter().map(words).collect(), pc, count, timer }
    }

    /// As bytes.
    pub fn save(self) -> Vec<u8> {
        state::save(&Saved::V1(self))
    }

    /// From bytes, for a vCPU with these registers, whose slots `set` writes. Registers that were not saved stay as they
    /// are: a later CPU may have more.
    pub fn load(
        bytes: &[u8],
        registers: &[RegisterInfo],
        mut set: impl FnMut(u16, u64),
    ) -> Result<VcpuState, StateError> {
        let Saved::V1(state) = state::load(bytes)?;
        if state.count > MOST {
            return Err(Saved::damaged(format!("it executed {} instructions", state.count)));
        }
        let mut found = Vec::new();
        for (name, words) in &state.registers {
            let register = registers.iter().find(|r| r.name == name && r.slots().count() == words.len());
            let register = register.ok_or_else(|| {
                Saved::mismatch(format!("this one has no register '{name}' of {} words", words.len()))
            })?;
            found.push((register, words));
        }
        for (register, words) in found {
            register.slots().zip(words).for_each(|(slot, &word)| set(slot, word & register.mask()));
        }
        Ok(state)
    }
}
