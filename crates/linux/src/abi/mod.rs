//! The differences between the CPUs of programs. Each CPU has a file here, which implements [`GuestAbi`] and
//! makes a [`Machine`]; everything else is common to all of them.

pub mod generic;
mod numbering;
mod registers;
pub mod riscv64;
mod signals;

pub use numbering::Numbering;
#[cfg(test)]
pub(crate) use numbering::numbers;
pub use registers::Registers;
pub use signals::{AUTODISARM, AltStack, Handler, Info, Interrupted};

use crate::errno::Errno;
use crate::table::{CALLS, Call};
use trine_base::elf::Cpu;
use trine_base::target::Target;
use trine_base::{Trap, Vcpu, Words};
use trine_engine::direct;
use trine_ir::Isa;

/// The CPUs whose programs' system calls are known.
pub static MACHINES: &[&Machine] = &[&riscv64::MACHINE];

/// The rows of all calls: the common ones, then those that only one CPU has.
pub fn every_call() -> impl Iterator<Item = &'static Call> {
    CALLS.iter().chain(MACHINES.iter().flat_map(|machine| machine.calls.own()))
}

/// A program's CPU as system calls and files of `/proc` show it. A value, not a type parameter, so that one table of
/// calls serves all CPUs.
pub struct Machine {
    /// The name that `uname` reports.
    pub name: &'static str,
    /// The CPU in the headers of its executables.
    pub elf: Cpu,
    /// The numbers of its system calls.
    pub calls: &'static Numbering,
    /// `AT_HWCAP`.
    pub hwcap: u64,
    /// `AT_PLATFORM`, if Linux has one for this CPU.
    pub platform: Option<&'static str>,
    /// The text of `/proc/cpuinfo` for so many CPUs.
    pub cpuinfo: fn(usize) -> String,
    /// The shared object that the kernel maps into every program.
    pub vdso: Vdso,
    /// The layouts of structures that differ between CPUs.
    pub structs: Structs,
}

impl Machine {
    /// Its byte order and address size.
    pub fn words(&self) -> Words {
        self.elf.words
    }

    /// Reads an address, or a number of that size, from a program's memory at `at`.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn address(&self, at: u64) -> Result<u64, Errno> {
        let (words, mut bytes) = (self.words(), [0; 8]);
        let bytes = &mut bytes[..words.address];
        direct::read(at, bytes).ok_or(Errno(libc::EFAULT))?;
        Ok(words.get(bytes))
    }

    /// Whether its programs can be served: calls whose rows say `same` pass the program's structures to the
    /// host's kernel unchanged, so byte order and address size must be those of the host.
    pub fn is_served(&self) -> bool {
        self.words() == Words::LITTLE_64
    }
}

/// The functions of the vDSO (vdso(7)).
pub struct Vdso {
    /// The version of all symbols.
    pub version: &'static str,
    /// The name of each function, and of the system call that it makes.
    pub functions: &'static [(&'static str, &'static str)],
    /// Generates code that makes the call with this number, and returns if the call does.
    pub stub: fn(u32, bool) -> Vec<u8>,
}

/// The layouts of structures that differ between CPUs.
pub struct Structs {
    /// Writes the `struct stat` of a file to an address; fails with `EFAULT`.
    pub put_stat: fn(u64, &libc::stat) -> Result<(), Errno>,
    /// Whether `struct epoll_event` is packed, as on x86-64.
    pub epoll_packed: bool,
    /// Whether `struct semid64_ds` has padding after each of its times, as on x86-64.
    pub sem_padded: bool,
    /// Whether `struct sigaction` contains the return address of the handler.
    pub restorer: bool,
}

/// What an exception in a program's code means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Raised {
    /// A system call.
    Call,
    /// A breakpoint: the CPU's instruction, or a debugger's.
    Breakpoint,
    /// Code must not be fetched from this address.
    Fetch(u64),
    /// This address must not be read or written.
    Access(u64),
    /// Any other error.
    Signal {
        /// The signal that the thread gets.
        signal: i32,
        /// Its `si_code`.
        code: i32,
        /// Its `si_addr`.
        address: u64,
    },
}

/// The arguments of `clone`, in an order that does not depend on the CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CloneArgs {
    /// `CLONE_*` flags; the exit signal in the lowest byte.
    pub flags: u64,
    /// The child's stack pointer; 0 means the caller's.
    pub stack: u64,
    /// The address for the child's ID in the parent.
    pub parent_tid: u64,
    /// The address for the child's ID in the child.
    pub child_tid: u64,
    /// The child's thread pointer, with `CLONE_SETTLS`.
    pub tls: u64,
}

impl CloneArgs {
    /// `fork`, on CPUs that have this call.
    pub const FORK: CloneArgs =
        CloneArgs { flags: libc::SIGCHLD as u64, stack: 0, parent_tid: 0, child_tid: 0, tls: 0 };
    /// `vfork`, on CPUs that have this call.
    pub const VFORK: CloneArgs =
        CloneArgs { flags: (libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD) as u64, ..CloneArgs::FORK };
}

/// A note in a core file about a thread's registers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoreNote {
    /// `NT_*`.
    pub kind: u32,
    /// The note's name: `CORE` or `LINUX`.
    pub owner: &'static str,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// How Linux programs use a CPU: registers, signal frames, core files.
pub trait GuestAbi: Isa {
    /// The slot of the stack pointer.
    const STACK: u16;
    /// All slots that a program can see: a child starts with a copy of them, and core files contain them.
    const STATE: &'static [u16];
    /// The number of bytes below the stack pointer that code may use and a signal must not overwrite.
    const RED_ZONE: u64;
    /// Size of a signal frame in bytes.
    const FRAME: u64;
    /// Size of the smallest alternate stack in bytes (`MINSIGSTKSZ`).
    const LEAST_STACK: u64;

    /// The CPU as system calls show it.
    fn machine() -> &'static Machine;

    /// The configuration of a program's vCPU.
    fn config() -> Self::Config;

    /// Interprets an exception in a program, reported at the address `pc`.
    fn raised(trap: &Trap, pc: u64) -> Raised;

    /// Number and arguments of the system call at which the vCPU stands.
    fn call(vcpu: &impl Vcpu) -> (u64, [u64; 6]);

    /// Sets the result of the system call at which the vCPU stands, and continues behind it. A call that will
    /// be restarted is not ended, and still has its arguments.
    fn end_call(vcpu: &mut impl Vcpu, result: u64);

    /// Interprets the arguments of `clone`.
    fn clone_args(args: [u64; 6]) -> CloneArgs;

    /// Makes a call that only this CPU has, and whose row says `thread(Own)`: one that reads or changes the
    /// thread's registers, as `arch_prctl` does on x86-64.
    ///
    /// # Errors
    /// Those of the call; `ENOSYS` if there is no such call.
    fn own_call(_vcpu: &mut impl Vcpu, _call: &Call, _args: [u64; 6]) -> Result<u64, Errno> {
        Err(Errno(libc::ENOSYS))
    }

    /// Sets the thread pointer, through which code accesses thread-local variables.
    fn set_thread_pointer(vcpu: &mut impl Vcpu, to: u64);

    /// The address of a signal frame whose end is at or below `top`.
    fn frame_at(top: u64) -> u64;

    /// Writes a signal frame. `trap` is the last exception of the thread, which some CPUs' frames contain
    /// whatever the signal is (`trapno` and `err` on x86-64).
    ///
    /// # Errors
    /// `EFAULT`.
    fn write_frame(vcpu: &impl Vcpu, at: u64, was: &Interrupted, trap: &Trap) -> Result<(), Errno>;

    /// Jumps to a signal handler whose frame is at `frame`.
    fn enter_handler(vcpu: &mut impl Vcpu, frame: u64, handler: &Handler);

    /// `rt_sigreturn`: restores the registers from the frame at the stack pointer; returns the rest of the
    /// frame.
    ///
    /// # Errors
    /// `EFAULT`.
    fn leave_handler(vcpu: &mut impl Vcpu) -> Result<Interrupted, Errno>;

    /// The registers in a core file's `prstatus` (`elf_gregset_t`).
    fn core_registers(state: &Registers) -> Vec<u64>;

    /// Notes with the other registers.
    fn core_notes(state: &Registers) -> Vec<CoreNote>;

    /// The description of its registers for debuggers.
    fn target() -> Target;
}
