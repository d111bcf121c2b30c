//! The baseline compiler: IR to x86-64 in one pass, guest registers in host registers inside a
//! block.

pub mod asm;
mod emit;
mod exits;
mod float;
mod integer;
mod loops;
mod memory;
mod regs;
pub mod side;
pub mod thunks;

use crate::block::Block;
use crate::code::CodeMemory;
use crate::core::Core;
use crate::links::Links;
use asm::{Asm, Place};
use emit::{Emit, Emitted, Scratch};
use side::{Side, code};
use thunks::{Enter, Layout, Thunk};
use trine_ir::{Builder, Hart, Isa, Leave, Trap};

/// Bytes of code memory of a vCPU.
const CODE_SIZE: usize = 128 << 20;

/// Why generated code came back.
#[derive(Clone, Copy, Debug)]
pub enum Left {
    /// Go on at the PC.
    Go,
    /// The interpreter is to execute the instruction at the PC.
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

/// What became of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compiled {
    /// It has code of this many bytes.
    Done(usize),
    /// It needs more room for values than there is; it stays with the interpreter.
    TooComplex,
    /// The memory for code is full.
    Full,
}

/// The compiler of one vCPU, and its code.
pub struct Compiler<I: Isa> {
    memory: CodeMemory,
    side: Box<Side>,
    asm: Asm,
    scratch: Scratch,
    layout: Layout,
    enter: Enter,
    miss: usize,
    links: Links<I>,
    /// Bytes of code memory that hold the thunks.
    fixed: usize,
}

/// What the host's CPU lacks, if anything.
fn missing() -> Option<&'static str> {
    let have = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("bmi1", std::arch::is_x86_feature_detected!("bmi1")),
        ("bmi2", std::arch::is_x86_feature_detected!("bmi2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("lzcnt", std::arch::is_x86_feature_detected!("lzcnt")),
    ];
    have.into_iter().find(|f| !f.1).map(|f| f.0)
}

impl<I: Isa> Compiler<I> {
    /// A compiler for `core`. The error says why the host cannot run compiled code.
    pub fn new(core: &Core<I>) -> Result<Compiler<I>, String> {
        if let Some(feature) = missing() {
            return Err(format!(
                "the compiler needs a host CPU of level x86-64-v3; this one lacks {feature}"
            ));
        }
        let mut memory =
            CodeMemory::new(CODE_SIZE).map_err(|e| format!("no memory for generated code: {e}"))?;
        let enter = thunks::install(core, &mut memory).ok_or("no memory for generated code")?;
        let side = Box::<Side>::default();
        core.frame.side.set(&*side as *const Side as usize);
        // SAFETY: `install` put a function of this type there.
        let enter = unsafe { std::mem::transmute::<usize, Enter>(enter) };
        Ok(Compiler {
            fixed: memory.used(),
            memory,
            side,
            asm: Asm::new(),
            scratch: Scratch::default(),
            layout: Layout::of(core),
            enter,
            miss: core.frame.thunks[Thunk::Miss as usize].get(),
            links: Links::default(),
        })
    }

    /// Host address for entries of the jump cache whose block has no code.
    pub fn miss(&self) -> usize {
        self.miss
    }

    /// Address and bytes of the code that is there from the start.
    pub fn thunks(&self) -> (usize, usize) {
        (self.memory.range().0, self.fixed)
    }

    /// Forgets all code.
    pub fn clear(&mut self) {
        self.memory.truncate(self.fixed);
        self.side.rows.clear();
        self.side.locs.clear();
        self.side.accesses.clear();
        self.links.clear();
    }

    /// Compiles a block and tells it where its code is.
    pub fn compile(&mut self, block: &Block<I>, direct: bool) -> Compiled {
        self.compile_ir(block, &build(block), direct)
    }

    /// Compiles a block that is described by `ir`.
    pub fn compile_ir(&mut self, block: &Block<I>, ir: &trine_ir::Block, direct: bool) -> Compiled {
        debug_assert_eq!(trine_ir::verify::verify(ir), Ok(()));
        self.asm.clear();
        let (asm, side, scratch) = (&mut self.asm, &mut *self.side, &mut self.scratch);
        let emit = Emit::<I>::new(asm, side, scratch, self.layout, block, ir, direct, self.links.next());
        let Some(Emitted { holes, accesses }) = emit.run() else { return Compiled::TooComplex };
        let code = self.asm.finish();
        let Some(at) = self.memory.add(code) else { return Compiled::Full };
        let (size, cold) = (code.len(), holes.iter().map(|&hole| self.asm.displacement(hole)));
        let places = holes.iter().map(|&hole| at + self.asm.hole_offset(hole));
        self.links.add(block, places.zip(cold));
        self.note_accesses(at, accesses);
        block.set_code(at);
        Compiled::Done(size)
    }

    fn note_accesses(&mut self, code: usize, accesses: Vec<(Place, u32)>) {
        let base = (code - self.memory.range().0) as u32;
        let first = self.side.accesses.len();
        let at = |(place, row)| (base + self.asm.place_offset(place) as u32, row);
        self.side.accesses.extend(accesses.into_iter().map(at));
        self.side.accesses[first..].sort_unstable();
    }

    /// See [`CodeMemory::before_fork`].
    pub fn before_fork(&self) -> Vec<u8> {
        self.memory.before_fork()
    }

    /// See [`CodeMemory::after_fork`].
    pub fn after_fork(&mut self, copy: &[u8]) -> std::io::Result<()> {
        self.memory.after_fork(copy)
    }

    /// The bytes of code from `at` to the end of what was made last.
    pub fn bytes(&self, at: usize) -> Vec<u8> {
        self.memory.read(at)
    }

    /// Runs generated code until it leaves.
    pub fn enter(&mut self, core: &Core<I>, at: usize) -> Left {
        if core.direct.is_some() {
            crate::direct::enter(&self.memory, &self.side, &core.frame);
        }
        let out = (self.enter)(thunks::state_of(core), at, &core.mailbox.limit);
        let number = out >> 8;
        match out & 0xff {
            code::GO => Left::Go,
            code::AGAIN => Left::Again,
            code::LINK => Left::Link(number as u32),
            code::RAISE => {
                let [cause, value] = [0, 1].map(|i: usize| core.frame.args[i].get());
                core.raise(Trap { cause, value });
                Left::Instruction { leave: Leave::Trap, next: core.frame.pc.get() }
            }
            kind => {
                let leave = leave(kind - code::LEAVE);
                Left::Instruction { leave, next: core.frame.pc.get().wrapping_add(number) }
            }
        }
    }

    /// Makes the direct jump with this number lead to a block.
    pub fn link(&mut self, number: u32, to: &Block<I>) {
        self.links.link(number, to, &self.memory);
    }

    /// Nothing leads to the block's code any more but what runs already.
    pub fn unlink(&mut self, block: &Block<I>) {
        block.retire();
        self.links.unlink(block, &self.memory);
    }
}

fn leave(n: u64) -> Leave {
    match n {
        1 => Leave::Jump,
        2 => Leave::Trap,
        3 => Leave::EndBlock,
        4 => Leave::Idle,
        _ => Leave::Stop,
    }
}

/// The block's IR.
pub fn build<I: Isa>(block: &Block<I>) -> trine_ir::Block {
    let builder = Builder::<I>::new(block.mode);
    let mut ended = false;
    for op in &block.ops {
        builder.begin(op.offset as i64, op.bytes, op.operands);
        if I::body::<&Builder<I>>(op.row)(&builder, &op.operands).is_err() {
            ended = true;
            break;
        }
    }
    if !ended {
        builder.fall_through();
    }
    builder.finish()
}
