//! The interface between lowering rules and a register allocator.

use crate::x64::asm::{Mem, Reg, Xmm};
use trine_ir::inst::Val;

/// An operand in its current place.
#[derive(Clone, Copy, Debug)]
pub enum Operand {
    /// In a general register.
    Reg(Reg),
    /// In memory.
    Mem(Mem),
}

/// The slots that are not in their place of a block's entry, for a row of the side table.
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
/// Rules ask the same questions in the same order, whatever registers they get: an allocator may record the
/// questions in one pass, whose code is thrown away, and answer them in a second one. A register given to a
/// rule belongs to the rule until the end of the IR instruction; giving it keeps the host's flags. `rax` and the
/// vector scratch register never hold values from one IR instruction to the next.
pub trait Allocator {
    /// The value that `v` is an alias of.
    fn resolve(&self, v: Val) -> u32;

    /// The general register that holds an integer.
    fn gpr(&mut self, v: Val) -> Reg;

    /// The vector register that holds a floating-point number or a vector. Changes `rax` if the number is a
    /// constant.
    fn xmm(&mut self, v: Val) -> Xmm;

    /// An integer in its current place, for an instruction that can read it from memory. Asked before the
    /// result.
    fn gpr_or_mem(&mut self, v: Val) -> Operand;

    /// Copies a value's 64 bits, whatever its class, into a general register of the rule.
    fn copy_to(&mut self, r: Reg, v: Val);

    /// The same for the lower 32 bits; those above them become zero.
    fn copy_low_to(&mut self, r: Reg, v: Val);

    /// Stores a value's 64 or 128 bits; changes `rax` and the vector scratch register.
    fn store_to(&mut self, m: Mem, v: Val);

    /// A free general register.
    fn take_gpr(&mut self) -> Reg;

    /// A free vector register.
    fn take_xmm(&mut self) -> Xmm;

    /// A register for the result, which is written by one host instruction that reads all operands at once,
    /// or after all were read: that of one of `operands` that ends here, or a free one.
    fn def_over(&mut self, operands: &[Val]) -> Reg;

    /// The same, but slots keep their recorded places until the result is there ([`Allocator::own_as`]): an
    /// access that is refused in between restores them. Any operand that ends here may give its register.
    fn def_apart(&mut self) -> Reg;

    /// A register for the result that already holds `v`, all 64 bits or (`w` is false) the lower 32.
    fn def_from(&mut self, w: bool, v: Val) -> Reg;

    /// A vector register for the result, which is written by one host instruction that reads all operands at
    /// once, and that of the operand `v`: the same one if `v` ends here.
    fn def_fp_over(&mut self, v: Val) -> (Xmm, Xmm);

    /// Records that the result of the instruction at `at`, the current one or one that belongs to it, is in
    /// this register, which the rule was given.
    fn own_as(&mut self, at: u32, r: Reg);

    /// Records that the current instruction's result is in this vector register, which the rule was given.
    fn own_fp(&mut self, x: Xmm);

    /// Records that the current instruction's result is `v`.
    fn alias(&mut self, v: Val);

    /// Records that the rule changes this register, `rcx` or `rdx`, before it has read all operands: neither an
    /// operand nor the result nor a value that lives on is in it.
    fn clobber(&mut self, r: Reg);

    /// Whether the host's MXCSR is certainly the guest's already; from now on it is.
    fn fp_ready(&mut self) -> bool;

    /// The current places of slots, for a row of the side table; dirty ones were added to its places.
    fn row_slots(&mut self) -> RowSlots;
}
