//! Blocks: runs of guest instructions inside one page, decoded once.

use crate::core::Core;
use crate::interp::{Interp, Run};
use crate::links::Linked;
use crate::memory::GuestMemory;
use crate::paged::Paged;
use crate::table::Chained;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use trine_base::Width;
use trine_ir::{Builder, Bytes, DecodeError, Decoded, Isa, Room, Row, Trap};

/// Most instructions in a block.
pub const MAX_OPS: usize = 64;
/// Bytes of a page.
pub const PAGE: u64 = 0x1000;

/// What a block's code depends on besides its instructions.
#[derive(Clone, Copy)]
pub struct BlockPlace {
    /// Mode that it was decoded in.
    pub mode: u32,
    /// Offset of the first instruction in its page.
    pub offset: i64,
}

/// One decoded instruction.
pub struct Op<I: Isa, M: GuestMemory<I> = Paged<I>> {
    /// Its body, bound to the interpreter.
    pub run: Run<I, M>,
    /// Its operands.
    pub operands: I::Operands,
    /// Its offset in the page.
    pub offset: u16,
    /// Its number in the block.
    pub index: u8,
    /// Its length in bytes.
    pub bytes: u8,
    /// Its row.
    pub row: Row,
}

/// A decoded block. What a look-up in the table reads comes first, in one or two lines of the host's caches: look-ups in
/// large programs wait for it.
#[repr(C)]
pub struct Block<I: Isa, M: GuestMemory<I> = Paged<I>> {
    /// Physical address of the first instruction.
    pub start: u64,
    /// The next block in the table's chain.
    next: AtomicPtr<Block<I, M>>,
    /// Mode that it was decoded in.
    pub mode: u32,
    runs: AtomicU32,
    code: AtomicUsize,
    /// Second physical page of its only instruction, if that crosses a page.
    pub second: Option<u64>,
    /// The instructions; empty if the first bytes are not an instruction.
    pub ops: Box<[Op<I, M>]>,
    /// The exception that follows the last instruction, if the next bytes are not an instruction or a
    /// debugger stops there.
    pub illegal: Option<Box<Trap>>,
    linked: Mutex<Linked>,
    /// The compiler cannot compile it.
    never: AtomicBool,
    retired: AtomicBool,
}

/// What became of an attempt to decode a block.
pub enum Decode<I: Isa, M: GuestMemory<I>> {
    /// It is decoded.
    Done(Block<I, M>),
    /// This physical page must become code before: its first instruction continues there.
    Unsettled(u64),
}

/// log2 of the chains of the table that one page's blocks are in. They are adjacent: a small program touches
/// little of the table's memory.
const CHAINS_OF_PAGE: u32 = 7;
/// log2 of the chains of the table.
const CHAIN_BITS: u32 = 19;
/// Chains of the table.
pub(crate) const CHAINS: usize = 1 << CHAIN_BITS;

impl<I: Isa, M: GuestMemory<I>> Chained for Block<I, M> {
    fn next(&self) -> &AtomicPtr<Self> {
        &self.next
    }

    fn chain(&self) -> usize {
        Self::chain_of(self.start, self.mode)
    }
}

impl<I: Isa, M: GuestMemory<I>> Block<I, M> {
    /// A block without instructions that was never run.
    fn new(start: u64, mode: u32) -> Block<I, M> {
        const { assert!(size_of::<Self>() <= 120) };
        Block {
            start,
            next: AtomicPtr::new(std::ptr::null_mut()),
            mode,
            runs: AtomicU32::new(0),
            code: AtomicUsize::new(0),
            second: None,
            ops: Box::new([]),
            illegal: None,
            linked: Mutex::default(),
            never: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        }
    }

    /// Host address of its code; 0 if it has none yet.
    pub fn code(&self) -> usize {
        self.code.load(Ordering::Acquire)
    }

    /// Publishes its code, which is complete.
    pub fn set_code(&self, at: usize) {
        self.code.store(at, Ordering::Release);
    }

    /// Counts one more run in the interpreter; returns how many there were. A simultaneous run of another
    /// thread may be lost: that only delays the compiler.
    pub fn count_run(&self) -> u32 {
        let runs = self.runs.load(Ordering::Relaxed).saturating_add(1);
        self.runs.store(runs, Ordering::Relaxed);
        runs
    }

    /// Whether the compiler may still try it.
    pub fn is_compilable(&self) -> bool {
        !self.ops.is_empty() && !self.never.load(Ordering::Relaxed)
    }

    /// Records that the compiler cannot compile it.
    pub fn set_not_compilable(&self) {
        self.never.store(true, Ordering::Relaxed);
    }

    /// The table's chain for blocks at a physical address in a mode.
    pub(crate) fn chain_of(start: u64, mode: u32) -> usize {
        let page = ((start / PAGE) ^ ((mode as u64) << 52)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let first = (page >> (64 - CHAIN_BITS + CHAINS_OF_PAGE)) as usize;
        let among = ((start >> 1) ^ (start >> 8)) as usize & ((1 << CHAINS_OF_PAGE) - 1);
        first << CHAINS_OF_PAGE | among
    }

    /// What its code depends on besides its instructions.
    pub fn place(&self) -> BlockPlace {
        BlockPlace { mode: self.mode, offset: (self.start & (PAGE - 1)) as i64 }
    }

    /// Its IR, of which code is made, in the memory of `room`.
    pub fn ir(&self, room: &mut Room) -> trine_ir::Block {
        let builder = Builder::<I>::with_room(self.mode, room);
        let mut ended = false;
        for op in &self.ops {
            builder.begin(op.offset as i64, op.bytes, op.operands);
            if I::body::<&Builder<I>>(op.row)(&builder, &op.operands).is_err() {
                ended = true;
                break;
            }
        }
        if !ended {
            builder.fall_through();
        }
        builder.finish_into(room)
    }

    /// Numbers of the pages that it has bytes of.
    pub fn pages(&self) -> impl Iterator<Item = u64> + use<I, M> {
        [Some(self.start), self.second].into_iter().flatten().map(|at| at / PAGE)
    }

    /// Whether it was taken out of the table: no new reference to it may be made.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Records that it was taken out of the table.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Its direct jumps, and those to it.
    pub(crate) fn linked(&self) -> MutexGuard<'_, Linked> {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offset in its page of the end of the last instruction.
    pub fn end(&self) -> u64 {
        self.ops.last().map_or(self.start & (PAGE - 1), |op| op.offset as u64 + op.bytes as u64)
    }

    /// End of the bytes that were read to decode it, if its pages are adjacent.
    pub fn reach(&self) -> u64 {
        let beyond = if self.illegal.is_some() { I::MAX_BYTES } else { 0 };
        (self.start & !(PAGE - 1)) + self.end() + beyond
    }
}

fn op<I: Isa, M: GuestMemory<I>>(decoded: &Decoded<I>, offset: u64, index: usize) -> Op<I, M> {
    Op {
        run: I::body::<Interp<I, M>>(decoded.row),
        operands: decoded.operands,
        offset: offset as u16,
        index: index as u8,
        bytes: decoded.bytes,
        row: decoded.row,
    }
}

/// What decoding found at one place.
enum Found<I: Isa> {
    Instruction(Decoded<I>),
    /// Bytes that are not an instruction, and the exception that they raise.
    Illegal(Trap),
    /// This physical page must become code before.
    Unsettled(u64),
    /// Only the start of a block may read further: the block ends before this place.
    Later,
}

/// Decodes the block at virtual address `pc`, whose physical address is `start`. `Err` is the exception of a
/// fetch (of the second half of an instruction). Bytes that are in `copies` are read from there. `ops` is memory
/// that is reused from block to block.
pub fn decode<I: Isa, M: GuestMemory<I>>(
    core: &Core<I, M>,
    copies: &M::Copies,
    pc: u64,
    start: u64,
    ops: &mut Vec<Op<I, M>>,
) -> Result<Decode<I, M>, Trap> {
    const { assert!(I::MAX_BYTES as usize <= size_of::<Bytes>() && I::MAX_BYTES < PAGE) };
    let mut block = Block::new(start, core.mode.get());
    ops.clear();
    let stops = core.memory.stops(pc & !(PAGE - 1));
    let mut offset = start & (PAGE - 1);
    while ops.len() < MAX_OPS && offset < PAGE {
        let here = pc & !(PAGE - 1) | offset;
        if stops.contains(&here) {
            block.illegal = Some(Box::new(I::breakpoint(here)));
            break;
        }
        let cut = core.debug.cuts(offset);
        if cut && !ops.is_empty() {
            break;
        }
        let decoded = match instruction(core, copies, &mut block, here, ops.is_empty())? {
            Found::Instruction(decoded) => decoded,
            Found::Illegal(trap) => {
                block.illegal = Some(Box::new(trap));
                break;
            }
            Found::Unsettled(page) => return Ok(Decode::Unsettled(page)),
            Found::Later => break,
        };
        ops.push(op(&decoded, offset, ops.len()));
        offset += decoded.bytes as u64;
        if cut {
            // The dispatcher has to see every PC with this offset.
            block.set_not_compilable();
            break;
        }
        if I::ends_block(&decoded) || block.second.is_some() {
            break;
        }
    }
    block.ops = ops.drain(..).collect();
    Ok(Decode::Done(block))
}

/// Decodes the instruction at virtual address `here`, which lies in the block's page. Only the first one of a
/// block may continue in the next page, which is then recorded in `block.second`.
fn instruction<I: Isa, M: GuestMemory<I>>(
    core: &Core<I, M>,
    copies: &M::Copies,
    block: &mut Block<I, M>,
    here: u64,
    first: bool,
) -> Result<Found<I>, Trap> {
    let offset = here & (PAGE - 1);
    let mut bytes = Bytes::default();
    let have = (PAGE - offset).min(I::MAX_BYTES) as usize;
    if fetch(core, copies, block.start & !(PAGE - 1) | offset, &mut bytes[..have]).is_none() {
        return if first { Err(M::fetch_error(here)) } else { Ok(Found::Later) };
    }
    let mut decoded = I::decode(&core.config, block.mode, &bytes, have);
    if matches!(decoded, Err(DecodeError::More)) && have < I::MAX_BYTES as usize {
        if !first {
            return Ok(Found::Later);
        }
        let next = (here & !(PAGE - 1)).wrapping_add(PAGE);
        let second = M::fetch_address(core, next)?;
        if !core.memory.is_settled(second) {
            return Ok(Found::Unsettled(second));
        }
        fetch(core, copies, second, &mut bytes[have..I::MAX_BYTES as usize])
            .ok_or_else(|| M::fetch_error(next))?;
        block.second = Some(second & !(PAGE - 1));
        decoded = I::decode(&core.config, block.mode, &bytes, I::MAX_BYTES as usize);
    }
    Ok(match decoded {
        Ok(decoded) => Found::Instruction(decoded),
        Err(_) => Found::Illegal(I::illegal(&bytes)),
    })
}

/// Reads code bytes at a physical address, inside one page. Each load is as wide as the address allows: if
/// another hart writes an aligned piece of an instruction, the old or the new piece is read, never a mixture.
fn fetch<I: Isa, M: GuestMemory<I>>(
    core: &Core<I, M>,
    copies: &M::Copies,
    at: u64,
    bytes: &mut [u8],
) -> Option<()> {
    let (mut at, mut rest) = (at, bytes);
    while !rest.is_empty() {
        let most = 1 << rest.len().min(8).ilog2().min(at.trailing_zeros());
        let width = Width::from_bytes(most)?;
        let (head, tail) = rest.split_at_mut(width.bytes() as usize);
        head.copy_from_slice(&core.memory.fetch(copies, at, width)?.to_le_bytes()[..head.len()]);
        at += width.bytes();
        rest = tail;
    }
    Some(())
}
