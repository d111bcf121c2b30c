//! The side table of generated code, and the Rust functions behind its slow paths.

use super::pins::pinned;
use super::tables::Tables;
use crate::core::Core;
use crate::fp;
use crate::memory::GuestMemory;
use std::cell::Cell;
use trine_ir::{Access, Fp, Hart, Helper, Hints, Isa, Leave, MemOp, Rmw, Rounding, VFp};

/// A number that needs no alignment of its own: there are millions of places, which it would make twice as large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unaligned([u16; 4]);

const _: () = assert!(size_of::<(u16, Loc)>() == 12);

impl From<u64> for Unaligned {
    fn from(n: u64) -> Unaligned {
        Unaligned([n as u16, (n >> 16) as u16, (n >> 32) as u16, (n >> 48) as u16])
    }
}

impl From<Unaligned> for u64 {
    fn from(n: Unaligned) -> u64 {
        n.0.iter().rev().fold(0, |all, &piece| all << 16 | u64::from(piece))
    }
}

/// The place of a slot's value while generated code runs.
#[derive(Clone, Copy, Debug)]
pub enum Loc {
    /// In a general register.
    Gpr(u8),
    /// In a vector register.
    Xmm(u8),
    /// In a spill word.
    Spill(u8),
    /// In a vector register, whose 128 bits are this slot's and the next one's.
    Vector(u8),
    /// In a spill word of 128 bits.
    VectorSpill(u8),
    /// In the memory of two other slots, which are up to date.
    VectorSlot(u16),
    /// In the memory of another slot, which is up to date.
    Slot(u16),
    /// Nowhere: it is this constant.
    Const(Unaligned),
    /// Nowhere: it is the start of the page plus this.
    Pc(Unaligned),
}

/// The kind of a slow path.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A load that missed the TLB.
    Load(MemOp),
    /// A store that missed the TLB.
    Store(MemOp),
    /// A read-modify-write that missed.
    Rmw(Rmw, MemOp),
    /// A compare-and-exchange that missed.
    Exchange(MemOp),
    /// A load of a vector that missed the TLB; the result goes to the second and third argument.
    LoadVector(Hints),
    /// A store of a vector that missed the TLB; the value is the second and third argument.
    StoreVector(Hints),
    /// A misaligned access that must be aligned.
    Misaligned(Access),
    /// An access to a program's memory, made directly.
    Direct,
    /// A floating-point operation for which the host gives other results.
    Soft(Fp, Rounding),
    /// The same in lanes: two vectors as arguments, the result in place of the first.
    SoftVector(VFp, Rounding),
    /// A helper that keeps registers: its number in [`Side::helpers`], the instruction's length.
    Helper {
        /// The number.
        number: u16,
        /// The length.
        bytes: u8,
    },
}

/// One call out of generated code.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its kind.
    pub kind: Kind,
    /// Offset of the guest instruction in its page.
    pub offset: u16,
    /// Instructions of the block that are not completed yet, this one included.
    pub undone: u16,
    /// Registers that do not hold their pinned slots ([`super::pins`]), a bit for each: such slots are in memory, unless they
    /// are listed among the dirty ones.
    pub displaced: u16,
    /// First of its dirty slots in the table of places.
    pub first: u32,
    /// Number of dirty slots; pinned ones that are in their registers are not counted.
    pub dirty: u16,
}

/// What the block that is being compiled adds to the tables.
#[derive(Default)]
pub struct Side {
    /// Number of its first row.
    pub first_row: u32,
    /// Its slow paths.
    pub rows: Vec<Row>,
    /// Slots whose value is not in memory.
    pub locs: Vec<(u16, Loc)>,
    /// All helpers that were ever called, by number.
    pub helpers: Vec<&'static Helper>,
}

impl Side {
    /// Begins a block.
    pub fn begin(&mut self, first_row: u32) {
        self.first_row = first_row;
        self.rows.clear();
        self.locs.clear();
    }
}

/// What generated code returns to the dispatcher: a kind in the low byte, a number above.
pub mod code {
    /// Continue at the PC.
    pub const GO: u64 = 0;
    /// The direct jump with this number was taken for the first time.
    pub const LINK: u64 = 1;
    /// An exception: cause and value are the first two arguments, the number is its code.
    pub const RAISE: u64 = 2;
    /// The host refused an access of the instruction at the PC: the interpreter must execute it.
    pub const AGAIN: u64 = 3;
    /// An instruction left; the kind is this plus [`trine_ir::Leave`], the number its length.
    pub const LEAVE: u64 = 16;
}

/// Result of a Rust function called by a thunk, in `rax` and `rdx`.
#[repr(C)]
pub struct Ret {
    value: u64,
    /// 0, or the code to leave with.
    leave: u64,
}

fn left(leave: Leave, bytes: u64) -> Ret {
    Ret { value: 0, leave: (code::LEAVE + leave as u64) | (bytes << 8) }
}

/// The tables of the code that `core` runs.
fn tables<I: Isa, M: GuestMemory<I>>(core: &Core<I, M>) -> &Tables {
    // SAFETY: `adopt` put the tables' address there; they live as long as their code.
    unsafe { &*(core.frame.tables.get() as *const Tables) }
}

/// Runs the slow path whose call returns to `back`.
pub extern "sysv64" fn slow<I: Isa, M: GuestMemory<I>>(core: &Core<I, M>, back: usize) -> Ret {
    // SAFETY: `back` is the return address of a call in generated code; the compiler puts `test eax, imm32`
    // there, one byte of opcode and the row's number.
    let number = unsafe { ((back + 1) as *const u32).read_unaligned() };
    let Some(row) = tables(core).row(back, number) else { std::process::abort() };
    let frame = &core.frame;
    frame.retired.set(frame.count.get().wrapping_sub(row.undone as u64));
    let [a, b, c, d] = [0, 1, 2, 3].map(|i: usize| frame.args[i].get());
    // Generated code runs only in the mode for which it was made.
    let regime = |how: MemOp| core.access_regime(how.hints);
    let done = match row.kind {
        Kind::Load(how) => {
            let value = M::slow_load(core, regime(how), how.width, a);
            core.hinted(how.hints, value).map(|value| how.ordered(value))
        }
        Kind::Store(how) => {
            let done = M::slow_store(core, regime(how), how.width, a, how.ordered(b));
            core.hinted(how.hints, done).map(|()| 0)
        }
        Kind::Rmw(op, how) => core.hinted(how.hints, core.rmw(regime(how), op, how, a, b)),
        Kind::Exchange(how) => core.hinted(how.hints, core.exchange(regime(how), how, a, b, c)),
        Kind::LoadVector(hints) => core.hinted(hints, M::slow_load_vector(core, hints, a)).map(|value| {
            frame.args[1].set(value as u64);
            frame.args[2].set((value >> 64) as u64);
            0
        }),
        Kind::StoreVector(hints) => {
            let value = b as u128 | (c as u128) << 64;
            core.hinted(hints, M::slow_store_vector(core, hints, a, value)).map(|()| 0)
        }
        Kind::Misaligned(access) => Err(core.raise(I::misaligned(access, a))),
        Kind::Direct => Ok(0),
        Kind::SoftVector(op, rounding) => {
            let args = [a as u128 | (b as u128) << 64, c as u128 | (d as u128) << 64];
            let made = fp::soft_vector(core, op, rounding, args);
            frame.args[0].set(made as u64);
            frame.args[1].set((made >> 64) as u64);
            Ok(0)
        }
        Kind::Soft(op, rounding) => Ok(fp::soft(core, op, rounding, [a, b, c])),
        Kind::Helper { number, bytes } => {
            frame.pc.set(frame.page.get().wrapping_add(row.offset as u64));
            let Some(helper) = tables(core).helper(number as usize) else { std::process::abort() };
            return match core.call(helper, [a, b, c]) {
                Ok(value) => Ret { value, leave: 0 },
                Err(leave) => {
                    restore_slots(core, row, tables(core).locs(back, row));
                    helper_left(core, leave, bytes as u64)
                }
            };
        }
    };
    match done {
        Ok(value) => Ret { value, leave: 0 },
        Err(leave) => {
            restore(core, row, tables(core).locs(back, row));
            left(leave, 0)
        }
    }
}

/// After an access that the host refused: goes back to the start of its instruction. `number` comes from
/// [`Tables::access_at`].
pub extern "sysv64" fn refused<I: Isa, M: GuestMemory<I>>(core: &Core<I, M>, number: u64) -> Ret {
    let Some((at, row)) = tables(core).refused(number) else { std::process::abort() };
    let frame = &core.frame;
    frame.retired.set(frame.count.get().wrapping_sub(row.undone as u64));
    restore(core, row, tables(core).locs(at, row));
    Ret { value: 0, leave: code::AGAIN }
}

/// Restores the state at the start of the instruction that `row` belongs to; `locs` are its slots' places.
fn restore<I: Isa, M: GuestMemory<I>>(core: &Core<I, M>, row: &Row, locs: &[(u16, Loc)]) {
    let frame = &core.frame;
    frame.count.set(frame.retired.get());
    frame.pc.set(frame.page.get().wrapping_add(row.offset as u64));
    restore_slots(core, row, locs);
}

/// Updates the memory of the slots to their values at the start of the instruction.
fn restore_slots<I: Isa, M: GuestMemory<I>>(core: &Core<I, M>, row: &Row, locs: &[(u16, Loc)]) {
    let frame = &core.frame;
    for (slot, reg) in pinned::<I>() {
        if row.displaced >> reg & 1 == 0 {
            core.set(slot, frame.save[reg as usize].get());
        }
    }
    for &(slot, loc) in locs {
        let upper = |halves: &[Cell<u64>; 2]| {
            core.set(slot + 1, halves[1].get());
            halves[0].get()
        };
        let value = match loc {
            Loc::Gpr(r) => frame.save[r as usize].get(),
            Loc::Xmm(r) => frame.save_fp[r as usize][0].get(),
            Loc::Vector(r) => upper(&frame.save_fp[r as usize]),
            Loc::VectorSpill(n) => upper(&frame.spill_vector[n as usize]),
            Loc::VectorSlot(other) => {
                core.set(slot + 1, core.get(other + 1));
                core.get(other)
            }
            Loc::Spill(n) => frame.spill[n as usize].get(),
            Loc::Slot(other) => core.get(other),
            Loc::Const(k) => k.into(),
            Loc::Pc(offset) => frame.page.get().wrapping_add(offset.into()),
        };
        core.set(slot, value);
    }
}

/// Calls the helper with number `what & 0xffff`; the instruction's length is above.
pub extern "sysv64" fn helper<I: Isa, M: GuestMemory<I>>(core: &Core<I, M>, what: u64) -> Ret {
    let Some(helper) = tables(core).helper((what & 0xffff) as usize) else { std::process::abort() };
    let args = [0, 1, 2].map(|i: usize| core.frame.args[i].get());
    match core.call(helper, args) {
        Ok(value) => Ret { value, leave: 0 },
        Err(leave) => helper_left(core, leave, what >> 16),
    }
}

/// A helper left an instruction of `bytes` bytes; the state is up to date.
fn helper_left<I: Isa, M: GuestMemory<I>>(core: &Core<I, M>, leave: Leave, bytes: u64) -> Ret {
    let frame = &core.frame;
    frame.count.set(frame.retired.get() + core.is_done(leave) as u64);
    left(leave, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_pieces_come_back() {
        for n in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef, 1 << 63] {
            assert_eq!(u64::from(Unaligned::from(n)), n);
        }
    }
}
