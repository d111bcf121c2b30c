//! The debugger's door: gdb's remote protocol (gdb's manual, appendix E), served by the crate `gdbstub`.
//!
//! What is debugged says by [`Debuggee`] what its threads, registers and memory are; it knows nothing of packets.
//!
//! * [`address`]: where gdb connects. [`server`]: the conversation, on a thread of its own.
//! * [`layout`]: a CPU's registers as gdb numbers and describes them.
//! * [`target`]: `gdbstub`'s questions, put to the debuggee; [`files`]: those about files.
//! * [`signals`]: gdb's numbers of signals.

pub mod address;
mod files;
pub mod layout;
pub mod server;
pub mod signals;
mod target;

pub use address::{Address, Door};
pub use layout::Layout;
pub use server::{Bell, serve};

use std::fs::File;
use std::path::PathBuf;

/// What a watchpoint watches for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    /// Writes.
    Write,
    /// Reads.
    Read,
    /// Both.
    Access,
}

/// Why everything stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The thread did its step.
    Step(usize),
    /// The thread is at a breakpoint that was set by [`Debuggee::set_breakpoint`].
    Breakpoint(usize),
    /// The thread accessed memory at this address, which is watched.
    Watch(usize, Watch, u64),
    /// The thread got this signal (Linux's number); 0 for a stop without a reason.
    Signal(usize, i32),
    /// The program ended with this exit code.
    Exited(u8),
    /// The program was ended by this signal (Linux's number).
    Killed(i32),
}

/// What a thread does when all go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Go {
    /// It stays as it is.
    Hold,
    /// It runs.
    Continue,
    /// It executes one instruction.
    Step,
}

/// What is debugged, all-stop: either all threads may run or none does. Threads have the numbers by which gdb knows
/// them, which are not 0. Registers and memory are asked for only while none runs.
pub trait Debuggee: Send + Sync {
    /// Registers, in the order of all lists of values here.
    fn layout(&self) -> &Layout;
    /// All threads; the one that gdb is to look at first in front.
    fn threads(&self) -> Vec<usize>;
    /// What else is to be said of a thread: its name.
    fn thread_name(&self, thread: usize) -> String;
    /// Values of all registers; `None` where there is no such thread.
    fn registers(&self, thread: usize) -> Option<Vec<u64>>;
    /// Changes a register; false where there is no such thread or register.
    fn set_register(&self, thread: usize, register: usize, value: u64) -> bool;
    /// Reads memory; gives how many bytes could be read.
    fn read(&self, address: u64, to: &mut [u8]) -> usize;
    /// Writes memory, code as well; false where that is not possible.
    fn write(&self, address: u64, bytes: &[u8]) -> bool;
    /// Sets or removes a breakpoint; false where that is not possible.
    fn set_breakpoint(&self, address: u64, wanted: bool) -> bool;
    /// Sets or removes a watchpoint; false where that is not possible.
    fn set_watchpoint(&self, address: u64, bytes: u64, kind: Watch, wanted: bool) -> bool;
    /// All threads go on: those named as it says there, with a signal (Linux's number) where it is not 0, the others
    /// by `rest`.
    fn resume(&self, threads: &[(usize, Go, i32)], rest: Go);
    /// Stops all threads for gdb, and says so by [`Debuggee::stopped`].
    fn interrupt(&self);
    /// Why all stopped, once, when they have; the [`Bell`] tells when to ask.
    fn stopped(&self) -> Option<Stop>;
    /// gdb knows of the program's end.
    fn end_reported(&self);
    /// gdb is gone: everything it set is to be forgotten, and the program goes on.
    fn detached(&self);
    /// gdb wants the program to die.
    fn kill(&self);
    /// The auxiliary vector, as Linux has it.
    fn auxv(&self) -> Vec<u8>;
    /// The executable.
    fn executable(&self) -> PathBuf;
    /// Opens a file by the program's name for it, for reading.
    fn open(&self, name: &[u8]) -> std::io::Result<File>;
    /// What a symbolic link says, by the program's name for it.
    fn read_link(&self, name: &[u8]) -> std::io::Result<PathBuf>;
}
