//! The interface of a back end for a host CPU: [`BackEnd`] and the traits of its parts.
//!
//! All of Trine but the module behind [`Host`] is the same on every host, and names nothing of it. A back end for another
//! host, such as AArch64, is a type that implements [`BackEnd`] and [`GuestAccess`], with types for generated code
//! ([`GeneratedCode`]) and for what makes it ([`Compile`]). It lays out what it needs in [`Frame`], reaches a vCPU by the
//! offsets of [`Core`]'s fields, and gets a block's IR by [`Block::ir`].

use crate::block::Block;
use crate::core::{Core, Frame};
use crate::memory::GuestMemory;
use trine_base::Width;
use trine_ir::{Isa, Leave};

/// The back end for this host.
pub type Host = crate::x64::X64;

/// Its generated code.
pub type Code = <Host as BackEnd>::Code;
/// Its compiler.
pub type Compiler<I, M> = <Host as BackEnd>::Compiler<I, M>;
/// Its tables.
pub type Tables = <Host as BackEnd>::Tables;

/// A back end.
pub trait BackEnd: GuestAccess {
    /// How many thunks generated code calls through the frame.
    const THUNKS: usize;
    /// Host registers of one class, general or vector: slow paths save them in the frame.
    const REGISTERS: usize;
    /// Data about generated code; read by every thread that runs it, even in a signal handler.
    type Tables;
    /// Generated code.
    type Code: GeneratedCode;
    /// The compiler of blocks.
    type Compiler<I: Isa, M: GuestMemory<I>>: Compile<I, M, Code = Self::Code>;

    /// Where to continue after the host refused an access by the instruction at `at` in generated code that
    /// the vCPU with this frame runs. `None` if that is no access of a guest. For signal handlers.
    fn refused_in_code(tables: &Self::Tables, frame: &Frame, at: usize) -> Option<usize>;
}

/// How generated code left.
#[derive(Clone, Copy, Debug)]
pub enum Left {
    /// Continue at the PC.
    Go,
    /// The interpreter must execute the instruction at the PC.
    Again,
    /// The direct jump with this number was taken while it was cold.
    Link(u32),
    /// The instruction at the PC left; the one after it is at `next`.
    Instruction {
        /// How.
        leave: Leave,
        /// Address of the next instruction.
        next: u64,
    },
}

/// The result of compiling a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compiled {
    /// It has code of this many bytes.
    Done(usize),
    /// It needs more spill words than there are; it stays with the interpreter.
    TooComplex,
    /// The memory for code is full.
    Full,
}

/// Generated code, its tables and the entry to it. Any number of threads run it, and read it without a lock.
pub trait GeneratedCode: Sized + Send + Sync {
    /// Memory for code of the CPU `I` in parts of `part` bytes, with the entry to it.
    ///
    /// # Errors
    /// The reason why the host cannot run compiled code.
    fn new<I: Isa, M: GuestMemory<I>>(part: usize) -> Result<Self, String>;

    /// Tells a vCPU the addresses of thunks and tables. The vCPU must not run code of another value afterwards, and this
    /// one must outlive it.
    fn adopt<I: Isa, M: GuestMemory<I>>(&self, core: &Core<I, M>);

    /// Host address for entries of the jump cache whose block has no code.
    fn miss(&self) -> usize;

    /// Address and bytes of the thunks.
    fn thunks(&self) -> (usize, usize);

    /// Whether code at this address is in a part.
    fn is_in_part(&self, part: usize, at: usize) -> bool;

    /// Runs generated code at `at` until it leaves.
    fn enter<I: Isa, M: GuestMemory<I>>(&self, core: &Core<I, M>, at: usize) -> Left;

    /// In the process just forked: takes what [`Compile::copy`] copied.
    ///
    /// # Errors
    /// The host's.
    fn after_fork(&self, copies: &[(usize, Vec<u8>)]) -> std::io::Result<()>;
}

/// What adds to generated code: one thread at a time has it. `code` is always the same.
pub trait Compile<I: Isa, M: GuestMemory<I>>: Default + Send {
    /// The code.
    type Code;

    /// Compiles a block into the part that is being filled, and sets the block's code address.
    fn compile(&mut self, code: &Self::Code, block: &Block<I, M>) -> Compiled;

    /// Continues with the next part of code memory. False if it is not empty, or there is no memory for its tables.
    fn advance(&mut self, code: &Self::Code) -> bool;

    /// The part that must be emptied next, if it is not empty.
    fn to_empty(&self) -> Option<usize>;

    /// Makes the direct jump with this number lead to a block.
    fn link(&mut self, code: &Self::Code, number: u32, to: &Block<I, M>);

    /// Unlinks a retired block's code: only threads that run it already continue in it.
    fn unlink(&mut self, code: &Self::Code, block: &Block<I, M>);

    /// Empties a part.
    ///
    /// # Safety
    /// No block has code in it, and nobody runs any.
    unsafe fn clear(&mut self, code: &Self::Code, part: usize);

    /// Empties all parts and gives their memory back to the host.
    ///
    /// # Safety
    /// As for [`Compile::clear`], for every part.
    unsafe fn release(&mut self, code: &Self::Code);

    /// Bytes of code in all parts.
    fn size(&self) -> usize;

    /// Before a fork: copies all code, in pieces with their addresses. The child would share its parent's mappings.
    fn copy(&self, code: &Self::Code) -> Vec<(usize, Vec<u8>)>;

    /// The bytes of code from `at` to the end of the code in its part.
    fn bytes(&self, code: &Self::Code, at: usize) -> Vec<u8>;
}

/// Accesses to a program's memory outside of generated code ([`crate::direct`]), each of which the host may refuse, and what
/// the handler of refused ones does to the context of the interrupted thread.
pub trait GuestAccess {
    /// Loads; `None` where the host refuses.
    ///
    /// # Safety
    /// What lies there may be read at any time, and is mapped, or the process's handler of faults asks
    /// [`GuestAccess::refused_at`].
    unsafe fn load(at: u64, width: Width) -> Option<u64>;

    /// Stores; `None` where the host refuses.
    ///
    /// # Safety
    /// What lies there may be written at any time; else as for [`GuestAccess::load`].
    unsafe fn store(at: u64, width: Width, value: u64) -> Option<()>;

    /// Compare-and-exchange: the value found. It is atomic at any address.
    ///
    /// # Safety
    /// As for [`GuestAccess::store`].
    unsafe fn exchange(at: u64, width: Width, expect: u64, new: u64) -> Option<u64>;

    /// Loads 16 bytes, all or none of them.
    ///
    /// # Safety
    /// As for [`GuestAccess::load`].
    unsafe fn load_vector(at: u64) -> Option<u128>;

    /// Stores 16 bytes, all or none of them.
    ///
    /// # Safety
    /// As for [`GuestAccess::store`].
    unsafe fn store_vector(at: u64, value: u128) -> Option<()>;

    /// Copies; `None` where the host refuses some of it. What comes before may have been copied.
    ///
    /// # Safety
    /// As for [`GuestAccess::load`] and [`GuestAccess::store`] of these bytes.
    unsafe fn copy(to: u64, from: u64, bytes: u64) -> Option<()>;

    /// Where control is to go from a refused access by the instruction at `at`, if it belongs to one of these functions.
    fn refused_at(at: usize) -> Option<usize>;

    /// Address of the interrupted instruction.
    ///
    /// # Safety
    /// The kernel gave `context` to the handler of a signal.
    unsafe fn interrupted_at(context: *const libc::ucontext_t) -> usize;

    /// Makes the interrupted thread go on at another address.
    ///
    /// # Safety
    /// As for [`GuestAccess::interrupted_at`]; what is there expects the registers as they are.
    unsafe fn go_on_at(context: *mut libc::ucontext_t, at: usize);
}
