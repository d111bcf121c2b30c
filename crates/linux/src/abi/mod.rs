//! What differs between the CPUs that programs are for. Each CPU has a file here, which implements [`GuestAbi`] and makes
//! a [`Machine`]; all else is the same for all of them.

pub mod generic;
mod numbering;
mod registers;
pub mod riscv64;
mod signals;

pub use numbering::Numbering;
pub use registers::Registers;
pub use signals::{AUTODISARM, AltStack, Handler, Info, Interrupted};

use crate::errno::Errno;
use trine_base::elf::Cpu;
use trine_base::target::Target;
use trine_base::{Exception, Vcpu, Words};
use trine_engine::direct;
use trine_ir::Isa;

/// A program's CPU as system calls and files of `/proc` show it. A value, and no type parameter, so that the table of
/// calls is one for all CPUs.
pub struct Machine {
    /// What `uname` calls it.
    pub name: &'static str,
    /// What its executables say that they are for.
    pub elf: Cpu,
    /// Its numbers of system calls.
    pub calls: &'static Numbering,
    /// `AT_HWCAP`.
    pub hwcap: u64,
    /// `AT_PLATFORM`, where Linux gives one.
    pub platform: Option<&'static str>,
    /// What `/proc/cpuinfo` says of so many CPUs.
    pub cpuinfo: fn(usize) -> String,
    /// What the kernel adds to every program.
    pub vdso: Vdso,
    /// Structures that CPUs have in different ways.
    pub structs: Structs,
}

impl Machine {
    /// Its order of bytes and size of addresses.
    pub fn words(&self) -> Words {
        self.elf.words
    }

    /// Reads an address, or a number as large as one, that a program has at `at`.
    ///
    /// # Errors
    /// `EFAULT`.
    pub fn address(&self, at: u64) -> Result<u64, Errno> {
        let (words, mut bytes) = (self.words(), [0; 8]);
        let bytes = &mut bytes[..words.address];
        direct::read(at, bytes).ok_or(Errno(libc::EFAULT))?;
        Ok(words.get(bytes))
    }

    /// Whether programs for it can be served: system calls whose rows say `same` give the host's kernel the program's
    /// structures as they are, so these must have the host's words.
    pub fn is_served(&self) -> bool {
        self.words() == Words::LITTLE_64
    }
}

/// The functions of the vDSO (vdso(7)).
pub struct Vdso {
    /// Version of all symbols.
    pub version: &'static str,
    /// Name of each function, and the system call that it makes.
    pub functions: &'static [(&'static str, &'static str)],
    /// Code that makes the call with this number, and returns where the call does.
    pub stub: fn(u32, bool) -> Vec<u8>,
}

/// How a CPU has the structures that differ.
pub struct Structs {
    /// Writes the `struct stat` of a file at an address; `EFAULT`.
    pub put_stat: fn(u64, &libc::stat) -> Result<(), Errno>,
    /// `struct epoll_event` has nothing between its members, as on x86-64.
    pub epoll_packed: bool,
    /// `struct semid64_ds` has a word behind each of its times, as on x86-64.
    pub sem_padded: bool,
    /// `struct sigaction` says where a handler returns to.
    pub restorer: bool,
}

/// Why a CPU left a program's code, in its exceptions' place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Raised {
    /// It calls the kernel.
    Call,
    /// It is at a breakpoint: the CPU's instruction, or a debugger's.
    Breakpoint,
    /// It may not fetch code from this address.
    Fetch(u64),
    /// It may not load from, or store to, this address.
    Access(u64),
    /// It did something else that is wrong.
    Signal {
        /// The signal that the thread gets.
        signal: i32,
        /// Its `si_code`.
        code: i32,
        /// Its `si_addr`.
        address: u64,
    },
}

/// What the call `clone` asks for, whatever the order of its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CloneArgs {
    /// `CLONE_*`, and the signal at the child's end in the lowest byte.
    pub flags: u64,
    /// The child's stack pointer; 0 for a copy of the caller's.
    pub stack: u64,
    /// Where the parent is told the child's number.
    pub parent_tid: u64,
    /// Where the child is told its own number.
    pub child_tid: u64,
    /// The child's thread pointer, with `CLONE_SETTLS`.
    pub tls: u64,
}

/// A note of a core file about a thread's registers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CoreNote {
    /// `NT_*`.
    pub kind: u32,
    /// Whose kind that is: `CORE` or `LINUX`.
    pub owner: &'static str,
    /// What it says.
    pub bytes: Vec<u8>,
}

/// How Linux programs use a CPU: registers, frames of signals, core files.
pub trait GuestAbi: Isa {
    /// The stack pointer's slot.
    const STACK: u16;
    /// All slots that a program sees: a child begins with a copy of them, and core files are made from them.
    const STATE: &'static [u16];
    /// Bytes below the stack pointer that belong to the code which a signal interrupts.
    const RED_ZONE: u64;
    /// Bytes of a signal's frame.
    const FRAME: u64;
    /// Bytes of the smallest alternate stack (`MINSIGSTKSZ`).
    const LEAST_STACK: u64;

    /// The CPU as system calls show it.
    fn machine() -> &'static Machine;

    /// What a program's vCPU is configured as.
    fn config() -> Self::Config;

    /// What an exception in a program means, by the CPU's own numbers and with the address of its instruction.
    fn raised(exception: Exception, pc: u64) -> Raised;

    /// Number and arguments of the system call that the vCPU stands at.
    fn call(vcpu: &impl Vcpu) -> (u64, [u64; 6]);

    /// Gives the system call that the vCPU stands at its result, and goes on behind it. A call that is to be made again
    /// is not ended, and has its arguments still.
    fn end_call(vcpu: &mut impl Vcpu, result: u64);

    /// The arguments of `clone`.
    fn clone_args(args: [u64; 6]) -> CloneArgs;

    /// Sets the thread pointer, through which code finds its thread-local variables.
    fn set_thread_pointer(vcpu: &mut impl Vcpu, to: u64);

    /// Where a signal's frame lies whose end is at or below `top`.
    fn frame_at(top: u64) -> u64;

    /// Writes a signal's frame.
    ///
    /// # Errors
    /// `EFAULT`.
    fn write_frame(vcpu: &impl Vcpu, at: u64, was: &Interrupted) -> Result<(), Errno>;

    /// Sends control to a signal's handler, whose frame is at `frame`.
    fn enter_handler(vcpu: &mut impl Vcpu, frame: u64, handler: &Handler);

    /// `rt_sigreturn`: takes the registers from the frame that the stack pointer leads to; gives the rest of the frame.
    ///
    /// # Errors
    /// `EFAULT`.
    fn leave_handler(vcpu: &mut impl Vcpu) -> Result<Interrupted, Errno>;

    /// The registers of a core file's `prstatus` (`elf_gregset_t`).
    fn core_registers(state: &Registers) -> Vec<u64>;

    /// The other registers, in notes of their own.
    fn core_notes(state: &Registers) -> Vec<CoreNote>;

    /// Its registers for debuggers.
    fn target() -> Target;
}
