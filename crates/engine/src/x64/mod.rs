//! The baseline compiler: IR to x86-64 in one pass, guest registers in host registers inside a block.

pub mod asm;
mod baseline;
mod guest_access;
mod lower;
mod pins;
pub mod side;
pub mod tables;
pub mod thunks;

use crate::arena::Arena;
use crate::block::Block;
use crate::code::{CodeMemory, FIXED, PARTS};
use crate::core::{Core, Frame};
use crate::host::{BackEnd, Compile, Compiled, GeneratedCode, Left};
use crate::links::Links;
use crate::memory::GuestMemory;
use asm::{Asm, Hole};
use baseline::emit::{Emit, Emitted, Scratch};
use baseline::pinned;
use side::{Side, code};
use tables::Tables;
use thunks::{Enter, Layout, THUNKS, Thunk, Thunks};
use trine_ir::{Hart, Isa, Leave, Room, Trap};

/// The back end for x86-64.
pub struct X64;

impl BackEnd for X64 {
    const THUNKS: usize = THUNKS;
    const REGISTERS: usize = 16;
    type Tables = Tables;
    type Code = Code;
    type Compiler<I: Isa, M: GuestMemory<I>> = Compiler<I, M>;

    fn refused_in_code(tables: &Tables, frame: &Frame, at: usize) -> Option<usize> {
        frame.args[3].set(tables.access_at(at)?);
        Some(frame.thunks[Thunk::Refused as usize].get())
    }
}

/// Generated code, its tables and the entry to it. Any number of threads run it.
pub struct Code {
    memory: CodeMemory,
    tables: Tables,
    layout: Layout,
    enter: Enter,
    /// Addresses by [`Thunk`].
    thunks: [usize; THUNKS],
    /// Bytes of code memory that hold the thunks.
    fixed: usize,
}

/// The state for adding to the code: one thread at a time has it.
pub struct Compiler<I: Isa, M: GuestMemory<I>> {
    asm: Asm,
    scratch: Scratch,
    side: Side,
    links: Links<I, M>,
    arena: Arena,
    room: Room,
}

/// The feature that the host's CPU lacks, if any.
fn missing() -> Option<&'static str> {
    let have = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("bmi1", std::arch::is_x86_feature_detected!("bmi1")),
        ("bmi2", std::arch::is_x86_feature_detected!("bmi2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("lzcnt", std::arch::is_x86_feature_detected!("lzcnt")),
        ("movbe", std::arch::is_x86_feature_detected!("movbe")),
    ];
    have.into_iter().find(|f| !f.1).map(|f| f.0)
}

impl GeneratedCode for Code {
    fn new<I: Isa, M: GuestMemory<I>>(part: usize) -> Result<Code, String> {
        if let Some(feature) = missing() {
            return Err(format!(
                "the compiler needs a host CPU of level x86-64-v3; this one lacks {feature}"
            ));
        }
        let no_memory = |e| format!("no memory for generated code: {e}");
        let memory = CodeMemory::new(part).map_err(no_memory)?;
        let tables = Tables::new(memory.part(0), part).map_err(no_memory)?;
        tables.open(0).map_err(no_memory)?;
        let layout = Layout::of::<I, M>();
        let Thunks { bytes, enter, offsets } = Thunks::new::<I>(&layout);
        let start = memory.range().0;
        // SAFETY: nobody else has the memory.
        if bytes.len() > FIXED || !unsafe { memory.put(start, &bytes) } {
            return Err("the thunks exceed their room in code memory".into());
        }
        // SAFETY: a function of this type was put there.
        let enter = unsafe { std::mem::transmute::<usize, Enter>(start + enter) };
        let thunks = offsets.map(|offset| start + offset);
        Ok(Code { memory, tables, layout, enter, thunks, fixed: bytes.len() })
    }

    fn adopt<I: Isa, M: GuestMemory<I>>(&self, core: &Core<I, M>) {
        let frame = &core.frame;
        self.thunks.iter().zip(&frame.thunks).for_each(|(at, cell)| cell.set(*at));
        let functions = [
            side::slow::<I, M> as *const () as usize,
            side::helper::<I, M> as *const () as usize,
            side::refused::<I, M> as *const () as usize,
        ];
        functions.iter().zip(&frame.functions).for_each(|(at, cell)| cell.set(*at));
        frame.tables.set(&raw const self.tables as usize);
    }

    fn miss(&self) -> usize {
        self.thunks[Thunk::Miss as usize]
    }

    fn thunks(&self) -> (usize, usize) {
        (self.memory.range().0, self.fixed)
    }

    fn is_in_part(&self, part: usize, at: usize) -> bool {
        self.memory.part_of(at) == part
    }

    fn enter<I: Isa, M: GuestMemory<I>>(&self, core: &Core<I, M>, at: usize) -> Left {
        M::will_run(self.memory.range(), &self.tables, &core.frame);
        let out = (self.enter)(thunks::state_of(core), at, &core.mailbox.limit);
        let number = out >> 8;
        match out & 0xff {
            code::GO => Left::Go,
            code::AGAIN => Left::Again,
            code::LINK => Left::Link(number as u32),
            code::RAISE => {
                let [cause, value] = [0, 1].map(|i: usize| core.frame.args[i].get());
                core.raise(Trap::fault(cause, value).with_code(number as u32));
                Left::Instruction { leave: Leave::Trap, next: core.frame.pc.get() }
            }
            kind => {
                let leave = leave(kind - code::LEAVE);
                Left::Instruction { leave, next: core.frame.pc.get().wrapping_add(number) }
            }
        }
    }

    fn after_fork(&self, copies: &[(usize, Vec<u8>)]) -> std::io::Result<()> {
        self.memory.after_fork(copies)
    }
}

impl<I: Isa, M: GuestMemory<I>> Default for Compiler<I, M> {
    fn default() -> Self {
        Compiler {
            asm: Asm::new(),
            scratch: Scratch::default(),
            side: Side::default(),
            links: Links::default(),
            arena: Arena::default(),
            room: Room::default(),
        }
    }
}

impl<I: Isa, M: GuestMemory<I>> Compiler<I, M> {
    /// The same, where the block is described by `ir`.
    pub fn compile_ir(&mut self, code: &Code, block: &Block<I, M>, mut ir: trine_ir::Block) -> Compiled {
        debug_assert_eq!(trine_ir::verify::verify(&ir), Ok(()));
        pinned::append_entry_values::<I>(&mut ir.insts);
        let compiled = self.add(code, block, |asm, side, scratch, first_site| {
            Emit::<I>::new(asm, side, scratch, code.layout, block.place(), &ir, first_site).run()
        });
        self.room.reuse(ir);
        compiled
    }

    /// Makes the code that `emit` emits that of a block; `emit` also gets the number of the code's first direct jump.
    fn add(
        &mut self,
        code: &Code,
        block: &Block<I, M>,
        emit: impl FnOnce(&mut Asm, &mut Side, &mut Scratch, u32) -> bool,
    ) -> Compiled {
        let part = self.arena.part();
        self.asm.clear();
        self.side.begin(code.tables.next_row(part));
        let first_site = self.links.next(part);
        if !emit(&mut self.asm, &mut self.side, &mut self.scratch, first_site) {
            return Compiled::TooComplex;
        }
        let size = self.asm.finish().len();
        let Some(at) = self.arena.place(size, &code.memory) else { return Compiled::Full };
        let Emitted { holes, accesses } = &self.scratch.emitted;
        let addresses = accesses.iter().map(|&(place, row)| (at + self.asm.place_offset(place), row));
        // SAFETY: only a thread with `&mut self` adds to the tables and to code memory, and nobody runs code
        // after the place.
        let done = unsafe {
            code.tables.publish(part, &mut self.side, addresses) && code.memory.put(at, self.asm.code())
        };
        if !done {
            return Compiled::Full;
        }
        if self.arena.is_reused() {
            code.memory.synchronize();
        }
        self.arena.take(size, &code.memory);
        let site = |&hole: &Hole| (at + self.asm.hole_offset(hole), self.asm.displacement(hole));
        self.links.add(part, block, holes.iter().map(site));
        block.set_code(at);
        Compiled::Done(size)
    }
}

impl<I: Isa, M: GuestMemory<I>> Compile<I, M> for Compiler<I, M> {
    type Code = Code;

    fn compile(&mut self, code: &Code, block: &Block<I, M>) -> Compiled {
        let ir = block.ir(&mut self.room);
        self.compile_ir(code, block, ir)
    }

    fn advance(&mut self, code: &Code) -> bool {
        let next = self.arena.next();
        let ready = self.arena.is_empty(next) && code.tables.open(next).is_ok();
        if ready {
            self.arena.advance();
        }
        ready
    }

    fn to_empty(&self) -> Option<usize> {
        Some(self.arena.next()).filter(|&part| !self.arena.is_empty(part))
    }

    fn link(&mut self, code: &Code, number: u32, to: &Block<I, M>) {
        self.links.link(number, to, &code.memory);
    }

    fn unlink(&mut self, code: &Code, block: &Block<I, M>) {
        self.links.unlink(block, &code.memory);
    }

    // SAFETY: by the trait: the caller keeps what it asks for.
    unsafe fn clear(&mut self, code: &Code, part: usize) {
        // SAFETY: only who has `&mut self` writes the tables; the rest by the caller.
        unsafe { code.tables.clear(part) };
        self.links.clear(part);
        self.arena.clear(part);
    }

    // SAFETY: as for `clear`.
    unsafe fn release(&mut self, code: &Code) {
        for part in 0..PARTS {
            if self.arena.is_empty(part) {
                continue;
            }
            // SAFETY: by the caller.
            unsafe {
                self.clear(code, part);
                code.tables.release(part);
                code.memory.release(part);
            }
            self.links.release(part);
        }
    }

    fn size(&self) -> usize {
        self.arena.size()
    }

    fn copy(&self, code: &Code) -> Vec<(usize, Vec<u8>)> {
        let fixed = (code.memory.range().0, code.memory.part(0));
        let pieces = std::iter::once(fixed).chain(self.arena.used(&code.memory));
        // SAFETY: only a thread with `&mut self` changes code.
        pieces.map(|(at, end)| (at, unsafe { code.memory.read(at, end) })).collect()
    }

    fn bytes(&self, code: &Code, at: usize) -> Vec<u8> {
        // SAFETY: as in `copy`.
        unsafe { code.memory.read(at, self.arena.end_of(at, &code.memory)) }
    }
}

fn leave(n: u64) -> Leave {
    match n {
        1 => Leave::Jump,
        2 => Leave::Trap,
        3 => Leave::EndBlock,
        4 => Leave::Idle,
        5 => Leave::Stop,
        _ => Leave::Alone,
    }
}
