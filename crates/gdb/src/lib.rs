//! The gdb remote protocol (gdb's manual, appendix E), implemented with the crate `gdbstub`.
//!
//! A [`Debuggee`] provides threads, registers and memory; it knows nothing of packets.
//!
//! * [`address`]: where gdb connects. [`server`]: the connection, on a thread of its own.
//! * [`layout`]: a CPU's registers as gdb numbers and describes them.
//! * [`target`]: translates `gdbstub`'s requests for the debuggee; [`files`]: requests about files.
//! * [`signals`]: gdb's signal numbers.

pub mod address;
mod files;
pub mod layout;
pub mod server;
pub mod signals;
mod target;

pub use address::{Address, GdbListener};
pub use layout::Layout;
pub use server::{Bell, serve};

use std::fs::File;
use std::path::PathBuf;

/// The accesses that a watchpoint catches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    /// Writes.
    Write,
    /// Reads.
    Read,
    /// Reads and writes.
    Access,
}

/// Why all threads stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The thread has completed its step.
    Step(usize),
    /// The thread is at a breakpoint that was set by [`Debuggee::set_breakpoint`].
    Breakpoint(usize),
    /// The thread accessed memory at this address, which is watched.
    Watch(usize, Watch, u64),
    /// The thread got this signal (Linux's number); 0 for a stop without a reason.
    Signal(usize, i32),
    /// The program ended with this exit code.
    Exited(u8),
    /// This signal (Linux's number) killed the program.
    Killed(i32),
}

/// What a thread does when all continue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Go {
    /// It stays stopped.
    Hold,
    /// It runs.
    Continue,
    /// It executes one instruction.
    Step,
}

/// The debugged program or machine, in all-stop mode: either all threads may run or none does. Threads are identified by
/// gdb's thread numbers, which are not 0. Registers and memory are accessed only while no thread runs.
pub trait Debuggee: Send + Sync {
    /// The registers, in the order of all lists of values here.
    fn layout(&self) -> &Layout;
    /// All threads; the first one is the one that gdb inspects first.
    fn threads(&self) -> Vec<usize>;
    /// Further information about a thread: its name.
    fn thread_name(&self, thread: usize) -> String;
    /// Values of all registers; `None` if there is no such thread.
    fn registers(&self, thread: usize) -> Option<Vec<u128>>;
    /// Changes a register; returns false if there is no such thread or register.
    fn set_register(&self, thread: usize, register: usize, value: u128) -> bool;
    /// Reads memory as a thread sees it; returns how many bytes could be read.
    fn read(&self, thread: usize, address: u64, to: &mut [u8]) -> usize;
    /// Writes memory as a thread sees it, including code; returns false if that is not possible.
    fn write(&self, thread: usize, address: u64, bytes: &[u8]) -> bool;
    /// Sets or removes a breakpoint; returns false if that is not possible.
    fn set_breakpoint(&self, address: u64, wanted: bool) -> bool;
    /// Sets or removes a watchpoint; returns false if that is not possible.
    fn set_watchpoint(&self, address: u64, bytes: u64, kind: Watch, wanted: bool) -> bool;
    /// Lets all threads continue: the listed ones as given, with a signal (Linux's number) if it is not 0,
    /// the others as `rest` says.
    fn resume(&self, threads: &[(usize, Go, i32)], rest: Go);
    /// Stops all threads for gdb; [`Debuggee::stopped`] then reports it.
    fn interrupt(&self);
    /// Why all threads stopped, reported once; the [`Bell`] tells when to call this.
    fn stopped(&self) -> Option<Stop>;
    /// gdb was told of the program's end.
    fn end_reported(&self);
    /// gdb has disconnected: everything it set must be removed, and the program continues.
    fn detached(&self);
    /// gdb wants the program to be killed.
    fn kill(&self);
    /// Executes a line of gdb's command `monitor`: the text that gdb prints. `None` if there are no such commands.
    fn monitor(&self, _line: &str) -> Option<String> {
        None
    }
    /// Whether there are files, and an auxiliary vector: those of a program.
    fn has_files(&self) -> bool {
        true
    }
    /// The auxiliary vector, in Linux's format.
    fn auxv(&self) -> Vec<u8>;
    /// The executable.
    fn executable(&self) -> PathBuf;
    /// Opens a file by the program's path, for reading.
    fn open(&self, name: &[u8]) -> std::io::Result<File>;
    /// Reads a symbolic link by the program's path.
    fn read_link(&self, name: &[u8]) -> std::io::Result<PathBuf>;
}
