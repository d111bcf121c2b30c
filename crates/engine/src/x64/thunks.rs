//! The thunks: fixed pieces of code between Rust and generated code.
//!
//! Registers: `rbp` points 128 bytes into the state, so that the first 32 slots lie within a signed byte's
//! reach; `rsp` points to the guest calls that are still open ([`OPEN_CALL`]); `r15` counts instructions.
//! `rax`, `rcx`, `rdx` and the last two vector registers are scratch; the others hold guest values, and at
//! the beginning of a block, the pinned slots ([`super::pins`]).

use super::asm::{Alu, Asm, Cc, Hole, Mem, Shift, mem, mem2, reg::*};
use super::pins::pinned;
use crate::code::ALIGN;
use crate::core::{Core, Frame};
use crate::jumps;
use crate::memory::GuestMemory;
use crate::tlb::{self, Entry, Pair, Tlb};
use std::mem::offset_of;
use trine_ir::Isa;

/// General registers that hold guest values; first those of no pinned slot ([`super::pins::PINS`]), those of
/// the most used slots last.
pub const POOL: [u8; 10] = [RSI, R12, R13, RDI, R14, 11, 10, 9, 8, RBX];
/// Vector registers that hold guest values.
pub const POOL_FP: u8 = 14;
/// A vector register that holds no guest value.
pub const SCRATCH_FP: u8 = POOL_FP;

/// Bytes of the host's stack for one open guest call: return address, into the code after the call; virtual
/// address there. All were made under the current stamp: [`helper`] forgets them if it changes.
pub const OPEN_CALL: i32 = 16;
/// Maximal number of open calls.
const OPEN_CALLS: i32 = 1024;

/// Displacements from `rbp`.
#[derive(Clone, Copy)]
pub struct Layout {
    core: i32,
    frame: i32,
    /// The TLB; `None` if guest addresses are host addresses.
    pub tlb: Option<i32>,
    /// The jump cache.
    pub jumps: i32,
}

/// A thunk that generated code calls or jumps to.
#[derive(Clone, Copy)]
#[repr(usize)]
pub enum Thunk {
    /// Jump: leaves with the code in `rax`; the count is in `r15`, and pinned slots are in their registers.
    Exit = 0,
    /// Call: a slow path; keeps every register except the scratch ones; the result is in `rax`.
    Slow = 1,
    /// Call: a helper whose number is in `esi`; keeps no guest value; the result is in `rax`.
    Helper = 2,
    /// Jump target of entries of the jump cache whose blocks have no code.
    Miss = 3,
    /// Jump: continues at the address in `rax`, through the jump cache.
    Indirect = 4,
    /// Where the handler of a refused access continues; the row is the fourth argument.
    Refused = 5,
    /// Jump: leaves with the code in `rax` as [`Thunk::Exit`] does, to the address at the offset `rcx` in the page.
    ExitTo = 6,
    /// Call: looks a page up in the TLB. The first of them: for loads and stores of each regime ([`Layout::reach`]).
    Reach = 7,
}

/// Regimes for which there are thunks that look pages up.
const REGIMES: usize = 4;
/// Number of thunks.
pub const THUNKS: usize = Thunk::Reach as usize + 2 * REGIMES;

/// Low bits of what [`Layout::reach`]'s thunks get in `eax`: the bytes of the access less 1. The rest is the pair's offset.
const PACKED_BYTES: i32 = size_of::<Pair>() as i32 - 1;

/// The argument of a thunk that looks a page up for the pair with this number.
pub fn packed(pair: usize, bytes: u64) -> u32 {
    debug_assert!(bytes - 1 <= PACKED_BYTES as u64);
    (pair * size_of::<Pair>()) as u32 | (bytes as u32 - 1)
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident $field:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(&self) -> Mem {
            mem(RBP, self.frame + offset_of!(Frame, $field) as i32)
        }
    )*};
}

impl Layout {
    /// The layout of a CPU's core, the same for all its vCPUs: they run the same code.
    pub fn of<I: Isa, M: GuestMemory<I>>() -> Layout {
        let at = |field: usize| (field as i64 - offset_of!(Core<I, M>, slots) as i64 - BIAS as i64) as i32;
        Layout {
            core: at(0),
            frame: at(offset_of!(Core<I, M>, frame)),
            tlb: M::TLB.map(|offset| at(offset_of!(Core<I, M>, memory) + offset)),
            jumps: at(offset_of!(Core<I, M>, jumps)),
        }
    }

    /// A state slot.
    pub fn slot(&self, slot: u16) -> Mem {
        mem(RBP, slot as i32 * 8 - BIAS)
    }
    fields! {
        /// The count while Rust runs.
        count count;
        /// The PC.
        pc pc;
        /// The page's virtual address.
        page page;
        /// The jump cache's stamp.
        stamp stamp;
        /// Instructions completed when a helper is called.
        retired retired;
        /// The guest's MXCSR.
        guest_fp_control guest_fp_control;
        /// Rust's MXCSR.
        host_fp_control host_fp_control;
        /// All ones above a binary32.
        upper_ones upper_ones;
        /// Whether the guest's MXCSR is loaded.
        fp_live fp_live;
        /// Address of the mailbox's limit.
        limit limit;
        /// `rsp` without open calls.
        stack stack;
        /// The lowest value of `rsp`.
        stack_end stack_end;
        /// Whether open calls must be forgotten.
        calls_stale calls_stale;
    }
    /// The CPU's number for the flags of MXCSR in `r`.
    pub fn fp_flag_numbers(&self, r: u8) -> Mem {
        mem2(RBP, r, self.frame + offset_of!(Frame, fp_flag_numbers) as i32)
    }
    /// An argument of a slow path or helper.
    pub fn arg(&self, n: usize) -> Mem {
        self.word(offset_of!(Frame, args), n)
    }
    /// A spill word.
    pub fn spill(&self, n: usize) -> Mem {
        self.word(offset_of!(Frame, spill), n)
    }
    /// A spill word of 128 bits.
    pub fn spill_vector(&self, n: usize) -> Mem {
        self.word(offset_of!(Frame, spill_vector), 2 * n)
    }
    /// Address of a thunk.
    pub fn thunk(&self, t: Thunk) -> Mem {
        self.word(offset_of!(Frame, thunks), t as usize)
    }
    /// Address of the thunk that finds the page of a load, or a store, in a regime: the guest address in `rcx`, [`packed`]
    /// in `eax`; scratch registers are lost. It fills the pair, and returns with the difference between host and guest
    /// address in `rcx`. Where the TLB does not have the page, it is [`Thunk::Slow`] called from [`JUMP`] bytes further on.
    pub fn reach(&self, regime: usize, write: bool) -> Mem {
        self.word(offset_of!(Frame, thunks), Thunk::Reach as usize + 2 * regime + write as usize)
    }
    fn save(&self, r: u8) -> Mem {
        self.word(offset_of!(Frame, save), r as usize)
    }
    fn save_fp(&self, r: u8) -> Mem {
        self.word(offset_of!(Frame, save_fp), 2 * r as usize)
    }
    fn function(&self, n: usize) -> Mem {
        self.word(offset_of!(Frame, functions), n)
    }
    fn word(&self, field: usize, n: usize) -> Mem {
        mem(RBP, self.frame + (field + n * 8) as i32)
    }
}

/// Bytes of a jump, which follows a call of a thunk of [`Layout::reach`].
const JUMP: i32 = 5;

/// Offset of `rbp` into the slots.
const BIAS: i32 = 128;

/// The value of `rbp`.
pub fn state_of<I: Isa, M: GuestMemory<I>>(core: &Core<I, M>) -> usize {
    debug_assert_eq!(core.slots.as_ref().as_ptr() as usize, &raw const core.slots as usize);
    &raw const core.slots as usize + BIAS as usize
}

/// `enter(state, code, limit)`: runs generated code until it leaves; returns the code it left with.
pub type Enter = extern "sysv64" fn(usize, usize, *const std::sync::atomic::AtomicU64) -> u64;

/// Offset of an open call's guest address from `rsp`.
pub const OPEN_PC: i32 = 8;
/// The guest address if no call is open: it is odd and in no address space, so no return matches it.
const NO_PC: u64 = 1 << 63 | 1;
/// Stack bytes of [`enter`] below the saved registers; keeps `rsp` a multiple of 16 in blocks.
const FRAME: i32 = OPEN_CALL + 8;

const CALLEE_SAVED: [u8; 6] = [RBX, RBP, R12, R13, R14, R15];

/// The thunks of a CPU as bytes: offset of [`Enter`], offsets of the others.
pub struct Thunks {
    /// The code.
    pub bytes: Vec<u8>,
    /// Offset of [`Enter`].
    pub enter: usize,
    /// Offsets by [`Thunk`].
    pub offsets: [usize; THUNKS],
}

impl Thunks {
    /// Makes the thunks. They refer to each other through the frame, so they run at any address.
    pub fn new<I: Isa>(l: &Layout) -> Thunks {
        let mut bytes = Vec::new();
        let mut add = |build: &dyn Fn(&mut Asm)| {
            let mut asm = Asm::new();
            build(&mut asm);
            bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
            let at = bytes.len();
            bytes.extend_from_slice(asm.finish());
            at
        };
        let enter = add(&|a| enter::<I>(a, l));
        let leave = |a: &mut Asm| {
            a.store(8, l.count(), R15);
            pinned::<I>().for_each(|(slot, r)| a.store(8, l.slot(slot), r));
            exit(a, l);
        };
        let fixed = [
            add(&leave),
            add(&|a| slow(a, l)),
            add(&|a| helper(a, l)),
            add(&|a| {
                a.alu(Alu::Xor, false, RAX, RAX);
                a.jmp_mem(l.thunk(Thunk::Exit));
            }),
            add(&|a| {
                let missed = indirect(a, l, Asm::jmp_mem);
                missed.into_iter().for_each(|hole| a.fix_here(hole));
                a.mov_imm(RAX, super::side::code::GO);
                a.jmp_mem(l.thunk(Thunk::Exit));
            }),
            add(&|a| refused(a, l)),
            add(&|a| {
                a.alu_mem(Alu::Add, true, RCX, l.page());
                a.store(8, l.pc(), RCX);
                leave(a);
            }),
        ];
        const { assert!(Tlb::<I>::REGIMES <= REGIMES) };
        let mut offsets = [0; THUNKS];
        offsets[..fixed.len()].copy_from_slice(&fixed);
        for regime in 0..Tlb::<I>::REGIMES {
            for write in [false, true] {
                let place = Thunk::Reach as usize + 2 * regime + write as usize;
                offsets[place] = l.tlb.map_or(0, |tlb| add(&|a| reach::<I>(a, l, tlb, regime, write)));
            }
        }
        Thunks { bytes, enter, offsets }
    }
}

fn enter<I: Isa>(a: &mut Asm, l: &Layout) {
    CALLEE_SAVED.iter().for_each(|&r| a.push(r));
    a.alu_imm(Alu::Sub, true, RSP, FRAME);
    a.mov_imm(RAX, NO_PC);
    a.store(8, mem(RSP, OPEN_PC), RAX);
    a.mov(true, RBP, RDI);
    a.store_imm(false, l.calls_stale(), 0);
    a.store(8, l.stack(), RSP);
    a.lea(true, RAX, mem(RSP, -OPEN_CALL * OPEN_CALLS));
    a.store(8, l.stack_end(), RAX);
    a.store(8, l.limit(), RDX);
    a.load(8, R15, l.count());
    a.mov(true, RAX, RSI);
    pinned::<I>().for_each(|(slot, r)| a.load(8, r, l.slot(slot)));
    a.jmp_reg(RAX);
}

/// Leaves; the count and all slots are in memory.
fn exit(a: &mut Asm, l: &Layout) {
    fp_out(a, l, true);
    a.load(8, RSP, l.stack());
    a.alu_imm(Alu::Add, true, RSP, FRAME);
    CALLEE_SAVED.iter().rev().for_each(|&r| a.pop(r));
    a.ret();
}

/// Makes the address in `rax` the PC, and if the jump cache has code for it, goes there with `go` (a jump or
/// a call). Returns the jumps that are taken if it has none.
pub fn indirect(a: &mut Asm, l: &Layout, go: impl Fn(&mut Asm, Mem)) -> [Hole; 2] {
    let entry = |field: usize| mem2(RBP, RCX, l.jumps + field as i32);
    a.store(8, l.pc(), RAX);
    a.mov(true, RCX, RAX);
    a.shift_imm(Shift::Shr, true, RCX, jumps::FOLD);
    a.alu(Alu::Xor, true, RCX, RAX);
    a.mov_imm(RDX, jumps::LOW | jumps::HIGH);
    a.pext(RCX, RCX, RDX);
    a.shift_imm(Shift::Shl, false, RCX, jumps::ENTRY_BITS as u8);
    a.load(8, RDX, l.stamp());
    a.alu_mem(Alu::Cmp, true, RAX, entry(offset_of!(jumps::Entry, pc)));
    let other = a.jcc(Cc::NotEqual);
    a.alu_mem(Alu::Cmp, true, RDX, entry(offset_of!(jumps::Entry, stamp)));
    let stale = a.jcc(Cc::NotEqual);
    a.alu_imm(Alu::And, true, RAX, -0x1000);
    a.store(8, l.page(), RAX);
    go(a, entry(offset_of!(jumps::Entry, code)));
    [other, stale]
}

/// Switches from the guest's MXCSR to Rust's.
fn fp_out(a: &mut Asm, l: &Layout, for_good: bool) {
    a.cmp_mem_imm8(l.fp_live(), 0);
    let skip = a.jcc(Cc::Equal);
    a.mxcsr(3, l.guest_fp_control());
    a.mxcsr(2, l.host_fp_control());
    if for_good {
        a.store_imm(false, l.fp_live(), 0);
    }
    a.fix_here(skip);
}

/// Switches back, if it was the guest's before.
fn fp_in(a: &mut Asm, l: &Layout) {
    a.cmp_mem_imm8(l.fp_live(), 0);
    let skip = a.jcc(Cc::Equal);
    a.mxcsr(2, l.guest_fp_control());
    a.fix_here(skip);
}

/// Calls Rust function `n` with the core in `rdi`; continues if it returns no code to leave with.
fn call_rust(a: &mut Asm, l: &Layout, n: usize) {
    a.lea(true, RDI, mem(RBP, l.core));
    a.alu_imm(Alu::Sub, true, RSP, 8);
    a.call_mem(l.function(n));
    a.alu_imm(Alu::Add, true, RSP, 8);
}

/// Looks for the page of an access that did not match its pair: a thunk of [`Layout::reach`].
fn reach<I: Isa>(a: &mut Asm, l: &Layout, tlb: i32, regime: usize, write: bool) {
    let pair = |field: usize| mem2(RBP, RAX, tlb + (offset_of!(Tlb<I>, pairs) + field) as i32);
    let entries = tlb + Tlb::<I>::regime_offset(regime) as i32;
    let tag = if write { offset_of!(Entry, write) } else { offset_of!(Entry, read) } as i32;
    // The page of the last byte. Where the access crosses into it, the entry for its first byte is not of this page.
    a.mov(false, RDX, RAX);
    a.alu_imm(Alu::And, false, RDX, PACKED_BYTES);
    a.alu_imm(Alu::And, false, RAX, !PACKED_BYTES);
    a.alu(Alu::Add, true, RDX, RCX);
    a.alu_imm(Alu::And, true, RDX, -0x1000);
    // An access that is not aligned does not match its pair at first, and may yet lie in its page as a whole.
    a.alu_mem(Alu::Cmp, true, RDX, pair(offset_of!(Pair, page)));
    let other = a.jcc(Cc::NotEqual);
    a.alu(Alu::Xor, true, RDX, RCX);
    a.alu_imm(Alu::Cmp, true, RDX, 0xfff);
    let crosses = a.jcc(Cc::Above);
    a.load(8, RCX, pair(offset_of!(Pair, addend)));
    a.ret();
    a.fix_here(crosses);
    // No entry has it.
    a.mov_imm(RDX, 1);
    a.fix_here(other);
    a.store(8, l.arg(0), RCX);
    a.shift_imm(Shift::Shr, false, RCX, (12 - tlb::ENTRY_BITS) as u8);
    a.alu_imm(Alu::And, false, RCX, ((tlb::ENTRIES - 1) << tlb::ENTRY_BITS) as i32);
    a.alu_mem(Alu::Cmp, true, RDX, mem2(RBP, RCX, entries + tag));
    let miss = a.jcc(Cc::NotEqual);
    a.load(8, RCX, mem2(RBP, RCX, entries + offset_of!(Entry, addend) as i32));
    a.store(8, pair(offset_of!(Pair, page)), RDX);
    a.store(8, pair(offset_of!(Pair, addend)), RCX);
    a.store_imm(false, mem(RBP, tlb + offset_of!(Tlb<I>, pairs_used) as i32), 1);
    a.ret();
    a.fix_here(miss);
    a.pop(RCX);
    a.lea(true, RCX, mem(RCX, JUMP));
    a.push(RCX);
    a.jmp_mem(l.thunk(Thunk::Slow));
}

fn slow(a: &mut Asm, l: &Layout) {
    a.store(8, l.count(), R15);
    POOL.iter().for_each(|&r| a.store(8, l.save(r), r));
    (0..POOL_FP).for_each(|x| a.movups_store(l.save_fp(x), x));
    fp_out(a, l, false);
    a.load(8, RSI, mem(RSP, 0));
    call_rust(a, l, 0);
    a.alu(Alu::Or, false, RDX, RDX);
    let leave = a.jcc(Cc::NotEqual);
    fp_in(a, l);
    POOL.iter().for_each(|&r| a.load(8, r, l.save(r)));
    (0..POOL_FP).for_each(|x| a.movups_load(x, l.save_fp(x)));
    a.ret();
    a.fix_here(leave);
    give_up(a, l);
}

fn refused(a: &mut Asm, l: &Layout) {
    a.store(8, l.count(), R15);
    POOL.iter().for_each(|&r| a.store(8, l.save(r), r));
    (0..POOL_FP).for_each(|x| a.movups_store(l.save_fp(x), x));
    fp_out(a, l, false);
    a.load(8, RSI, l.arg(3));
    // Replaces a return address, so that the stack is as in a call of `slow`.
    a.push(RSI);
    call_rust(a, l, 2);
    give_up(a, l);
}

/// Leaves with the code in `rdx`.
fn give_up(a: &mut Asm, l: &Layout) {
    a.mov(true, RAX, RDX);
    // Only the host's MXCSR may be loaded already: `fp_out` would store it as the guest's.
    a.store_imm(false, l.fp_live(), 0);
    exit(a, l);
}

fn helper(a: &mut Asm, l: &Layout) {
    a.store(8, l.count(), R15);
    fp_out(a, l, true);
    call_rust(a, l, 1);
    a.alu(Alu::Or, false, RDX, RDX);
    let leave = a.jcc(Cc::NotEqual);
    a.cmp_mem_imm8(l.calls_stale(), 0);
    let stale = a.jcc(Cc::NotEqual);
    a.ret();
    a.fix_here(stale);
    a.store_imm(false, l.calls_stale(), 0);
    a.pop(RCX);
    a.load(8, RSP, l.stack());
    a.jmp_reg(RCX);
    a.fix_here(leave);
    give_up(a, l);
}
