//! The interpreter: bodies bound to [`Interp`] execute.

use crate::block::Op;
use crate::core::Core;
use crate::fp;
use trine_ir::{
    Bin, Cmp, Flow, Fp, FpRules, Hart, Helper, Isa, Leave, MemOp, Res, Rmw, Rounding, Sem, Trap, Un, eval,
};

/// One instruction being executed. The pointers are valid while its body runs: see
/// [`Interp::new`].
pub struct Interp<I: Isa> {
    core: *const Core<I>,
    op: *const Op<I>,
}

impl<I: Isa> Clone for Interp<I> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<I: Isa> Copy for Interp<I> {}

/// A body bound to the interpreter.
pub type Run<I> = fn(Interp<I>, &<I as Isa>::Operands) -> Result<(), Leave>;

impl<I: Isa> Interp<I> {
    /// Executes `op` on `core`. Both outlive the call, and bodies keep no copy of the handle, so
    /// the pointers in it are never dangling.
    #[inline(always)]
    pub fn execute(core: &Core<I>, op: &Op<I>) -> Result<(), Leave> {
        (op.run)(Interp { core, op }, &op.operands)
    }

    #[inline(always)]
    fn core<'a>(self) -> &'a Core<I> {
        // SAFETY: `execute` made the pointer from a reference that outlives the body.
        unsafe { &*self.core }
    }

    #[inline(always)]
    fn op<'a>(self) -> &'a Op<I> {
        // SAFETY: as for `core`.
        unsafe { &*self.op }
    }

    /// Linear address of the instruction.
    #[inline(always)]
    fn linear_pc(self) -> u64 {
        self.core().frame.page.get().wrapping_add(self.op().offset as u64)
    }

    /// Notes the count that whoever is called sees: a device's clock in count mode, a helper.
    #[inline(always)]
    fn note_retired(self) {
        let frame = &self.core().frame;
        frame.retired.set(frame.count.get() + self.op().index as u64);
    }

    /// Slots of the current CPU are a fixed array and bodies use fixed numbers.
    #[inline(always)]
    fn slot(self, slot: u16) -> &'static std::cell::Cell<u64> {
        let slots = self.core().slots.as_ref();
        debug_assert!((slot as usize) < slots.len());
        // SAFETY: slot numbers are constants of the CPU plus a register number that the operand
        // types keep below 32; the debug build checks. The reference is used at once.
        unsafe { &*(slots.as_ptr().add(slot as usize)) }
    }
}

impl<I: Isa> Sem for Interp<I> {
    type Isa = I;
    type Exit = Leave;
    type Raw = u64;
    const EMITS: bool = false;

    #[inline(always)]
    fn mode(self) -> u32 {
        self.core().mode.get()
    }
    #[inline(always)]
    fn operands(self) -> I::Operands {
        self.op().operands
    }
    #[inline(always)]
    fn known(self, value: u64) -> Option<u64> {
        Some(value)
    }
    #[inline(always)]
    fn constant(self, _bits: u32, value: u64) -> u64 {
        value
    }
    #[inline(always)]
    fn binary(self, op: Bin, bits: u32, a: u64, b: u64) -> u64 {
        eval::binary(op, bits, a, b)
    }
    #[inline(always)]
    fn compare(self, op: Cmp, bits: u32, a: u64, b: u64) -> u64 {
        eval::compare(op, bits, a, b) as u64
    }
    #[inline(always)]
    fn unary(self, op: Un, bits: u32, a: u64) -> u64 {
        eval::unary(op, bits, a)
    }
    #[inline(always)]
    fn zero_extend(self, from: u32, to: u32, a: u64) -> u64 {
        eval::zext(from.min(to), a)
    }
    #[inline(always)]
    fn sign_extend(self, from: u32, to: u32, a: u64) -> u64 {
        eval::zext(to, eval::sext(from, a) as u64)
    }
    #[inline(always)]
    fn select_raw(self, _bits: u32, c: u64, a: u64, b: u64) -> u64 {
        if c != 0 { a } else { b }
    }
    #[inline(always)]
    fn get_raw(self, slot: u16) -> u64 {
        self.slot(slot).get()
    }
    #[inline(always)]
    fn set_raw(self, slot: u16, value: u64) {
        self.slot(slot).set(value);
    }
    #[inline(always)]
    fn get_fp(self, slot: u16) -> u64 {
        self.slot(slot).get()
    }
    #[inline(always)]
    fn set_fp(self, slot: u16, value: u64) {
        self.slot(slot).set(value);
    }
    #[inline(always)]
    fn load_raw(self, how: MemOp, address: u64) -> Res<Self, u64> {
        self.note_retired();
        let core = self.core();
        let value = core.load(core.data_regime(), how.width, address)?;
        Ok(how.ordered(value))
    }
    #[inline(always)]
    fn store_raw(self, how: MemOp, address: u64, value: u64) -> Res<Self> {
        self.note_retired();
        let core = self.core();
        core.store(core.data_regime(), how.width, address, how.ordered(value))
    }
    fn rmw_raw(self, op: Rmw, how: MemOp, address: u64, v: u64) -> Res<Self, u64> {
        let core = self.core();
        core.rmw(core.data_regime(), op, how, address, v)
    }
    fn exchange_raw(self, how: MemOp, address: u64, expect: u64, new: u64) -> Res<Self, u64> {
        let core = self.core();
        core.exchange(core.data_regime(), how, address, expect, new)
    }
    #[inline(always)]
    fn fence(self) {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }
    #[inline(always)]
    fn when_raw(self, c: u64, f: impl FnOnce() -> Res<Self>) -> Res<Self> {
        if c != 0 { f() } else { Ok(()) }
    }
    #[inline(always)]
    fn pc_raw(self) -> u64 {
        self.core().guest_pc(self.linear_pc())
    }
    #[inline(always)]
    fn next_pc_raw(self) -> u64 {
        self.core().guest_pc(self.linear_pc().wrapping_add(self.op().bytes as u64))
    }
    #[inline(always)]
    fn jump_raw(self, _flow: Flow, target: u64) -> Res<Self> {
        self.core().set_pc(target);
        Err(Leave::Jump)
    }
    #[inline(always)]
    fn raise_raw(self, cause: u64, value: u64) -> Res<Self> {
        Err(self.core().raise(Trap::fault(cause, value)))
    }
    fn call_raw(self, helper: &'static Helper, args: [u64; 3]) -> Res<Self, u64> {
        let core = self.core();
        core.frame.pc.set(self.linear_pc());
        self.note_retired();
        core.call(helper, args)
    }
    fn fp_flags(self) -> u64 {
        self.core().harvest_fp();
        self.core().get(I::Fp::FLAGS)
    }
    fn set_fp_flags(self, flags: u64) {
        self.core().harvest_fp();
        self.core().set(I::Fp::FLAGS, flags);
    }
    fn fp(self, op: Fp, rounding: Rounding, args: [u64; 3]) -> u64 {
        fp::soft(self.core(), op, rounding, args)
    }
}
