//! What is told of a machine's execution, for people who look for a fault in it.

use crate::{Trap, Width};

/// Where a vCPU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The vCPU's number.
    pub cpu: usize,
    /// How many instructions it has executed.
    pub count: u64,
    /// The program counter.
    pub pc: u64,
    /// The privilege level, as the CPU's manual abbreviates it; empty on a CPU without any.
    pub privilege: &'static str,
}

/// An exception or interrupt that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenTrap {
    /// What is taken.
    pub trap: Trap,
    /// Whether it is an interrupt.
    pub interrupt: bool,
    /// Its name; empty if it has none.
    pub name: &'static str,
    /// The program counter of its handler; `None` if the board handles it.
    pub handler: Option<u64>,
}

/// An access to a device's register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceAccess {
    /// The offset from the start of the device's registers.
    pub offset: u64,
    /// The width of the access.
    pub width: Width,
    /// The value that was read or written.
    pub value: u64,
    /// Whether it was written.
    pub write: bool,
}

/// Is told what a machine does, on the threads of its vCPUs.
pub trait Tracer: Send + Sync {
    /// Whether instructions are wanted. If so, they are executed one at a time by the interpreter.
    fn wants_instructions(&self) -> bool;
    /// Whether traps are wanted.
    fn wants_traps(&self) -> bool;
    /// Whether accesses to devices are wanted.
    fn wants_accesses(&self) -> bool;
    /// Whether what happens at this program counter is wanted.
    fn wants(&self, pc: u64) -> bool;
    /// The instruction at a place is executed next; `text` is its assembly, or empty where it is not valid.
    fn instruction(&self, place: Place, text: &str);
    /// An exception or interrupt is taken at a place.
    fn trap(&self, place: Place, taken: TakenTrap);
    /// A register of the device of this name was accessed.
    fn access(&self, device: &str, access: DeviceAccess);
}
