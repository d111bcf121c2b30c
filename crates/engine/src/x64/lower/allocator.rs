//! What lowering rules ask of a register allocator.

use crate::x64::asm::{Mem, Reg, Xmm};
use trine_ir::inst::Val;

/// An operand where it is.
#[derive(Clone, Copy, Debug)]
pub enum Operand {
    /// In a general register.
    Reg(Reg),
    /// In memory.
    Mem(Mem),
}

/// The slots that are not where a block's entry has them, for a row of the side table.
#[derive(Clone, Copy, Debug)]
pub struct RowSlots {
    /// Registers that do not hold their pinned slots, a bit for each.
    pub displaced: u16,
    /// First of the dirty slots in the table of places, and their number.
    pub first: u32,
    pub dirty: u16,
}

/// Where values are while a block is lowered; implemented for [`super::Lower`] with each allocator.
///
/// Rules ask the same questions in the same order whatever registers they get: an allocator may record the questions in one
/// pass, whose code is thrown away, and answer them in a second one. A register that a rule was given is the rule's until the
/// end of the IR instruction; giving it leaves the host's flags alone. `rax` and the vector scratch register never hold values from one IR instruction to the next.
pub trait Allocator {
    /// The value that `v` is another name of.
    fn resolve(&self, v: Val) -> u32;

    /// The general register that holds an integer.
    fn gpr(&mut self, v: Val) -> Reg;

    /// The vector register that holds a floating-point number or a vector.
    fn xmm(&mut self, v: Val) -> Xmm;

    /// An integer where it is, for an instruction that can read it from memory. Asked before the result.
    fn gpr_or_mem(&mut self, v: Val) -> Operand;

    /// Copies a value's 64 bits, whatever its class, into a general register that is the rule's.
    fn copy_to(&mut self, r: Reg, v: Val);

    /// Stores a value's 64 or 128 bits; changes `rax` and the vector scratch register.
    fn store_to(&mut self, m: Mem, v: Val);

    /// A general register that holds nothing.
    fn take_gpr(&mut self) -> Reg;

    /// A vector register that holds nothing.
    fn take_xmm(&mut self) -> Xmm;

    /// A register for the result, which is written by one host instruction that reads all operands at once, or after all were
    /// read: that of one of `operands`, where it ends here, or one that nobody has.
    fn def_over(&mut self, operands: &[Val]) -> Reg;

    /// The same, but what slots are known to hold stays as it was until the result is there ([`Allocator::own_as`]): an
    /// access that is refused in between restores them. Any operand may give its register, if it ends here.
    fn def_apart(&mut self) -> Reg;

    /// A register for the result that holds `v` already, all 64 bits or (`w` is false) the lower 32.
    fn def_from(&mut self, w: bool, v: Val) -> Reg;

    /// The same for vector registers, which hold all of `v`.
    fn def_fp_from(&mut self, v: Val) -> Xmm;

    /// The result of the instruction at `at`, the current one or one that belongs to it, is in this register, which the rule
    /// was given.
    fn own_as(&mut self, at: u32, r: Reg);

    /// The current instruction's result is in this vector register, which the rule was given.
    fn own_fp(&mut self, x: Xmm);

    /// The current instruction's result is `v`.
    fn alias(&mut self, v: Val);

    /// The rule changes this register, which is `rcx` or `rdx`, before it has read all operands: no value that it asked for,
    /// no result and nothing that lives on is there.
    fn clobber(&mut self, r: Reg);

    /// Whether the host's MXCSR is surely the guest's already; from now on it is.
    fn fp_ready(&mut self) -> bool;

    /// Where slots are now, for a row of the side table; those that are dirty were added to its places.
    fn row_slots(&mut self) -> RowSlots;
}
