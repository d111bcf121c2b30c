//! The interpreter: bodies bound to [`Interp`] execute.

use crate::block::Op;
use crate::core::Core;
use crate::fp;
use crate::memory::GuestMemory;
use crate::paged::Paged;
use trine_ir::{
    Access, Bin, Carry, Cmp, Flow, Fp, FpRules, Hart, Helper, Hints, Isa, Lane, Leave, MemOp, Res, Rmw,
    Rounding, Sem, Signed, Trap, Un, VFp, Vop, eval, vector,
};

/// One instruction being executed. The pointers are valid while its body runs: see
/// [`Interp::execute`].
pub struct Interp<I: Isa, M: GuestMemory<I> = Paged<I>> {
    core: *const Core<I, M>,
    op: *const Op<I, M>,
}

impl<I: Isa, M: GuestMemory<I>> Clone for Interp<I, M> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<I: Isa, M: GuestMemory<I>> Copy for Interp<I, M> {}

/// A body bound to the interpreter.
pub type Run<I, M = Paged<I>> = fn(Interp<I, M>, &<I as Isa>::Operands) -> Result<(), Leave>;

impl<I: Isa, M: GuestMemory<I>> Interp<I, M> {
    /// Executes `op` on `core`. Both outlive the call, and bodies keep no copy of the handle, so
    /// the pointers in it are never dangling.
    #[inline(always)]
    pub fn execute(core: &Core<I, M>, op: &Op<I, M>) -> Result<(), Leave> {
        (op.run)(Interp { core, op }, &op.operands)
    }

    #[inline(always)]
    fn core<'a>(self) -> &'a Core<I, M> {
        // SAFETY: `execute` made the pointer from a reference that outlives the body.
        unsafe { &*self.core }
    }

    #[inline(always)]
    fn op<'a>(self) -> &'a Op<I, M> {
        // SAFETY: as for `core`.
        unsafe { &*self.op }
    }

    /// Linear address of the instruction.
    #[inline(always)]
    fn linear_pc(self) -> u64 {
        self.core().frame.page.get().wrapping_add(self.op().offset as u64)
    }

    /// Notes the current count for the functions that are called: a device's clock in count mode, a helper.
    #[inline(always)]
    fn note_retired(self) {
        let frame = &self.core().frame;
        frame.retired.set(frame.count.get() + self.op().index as u64);
    }

    /// Slots of the current CPU are a fixed array. Numbers are constants of the CPU, plus a register's number
    /// that the operand types keep small: if the compiler sees both, it removes the check.
    #[inline(always)]
    fn slot<'a>(self, slot: u16) -> &'a std::cell::Cell<u64> {
        &self.core().slots.as_ref()[slot as usize]
    }
}

impl<I: Isa, M: GuestMemory<I>> Sem for Interp<I, M> {
    type Isa = I;
    type Exit = Leave;
    type Raw = u64;
    type Vec = u128;
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
    fn carry_raw(self, op: Carry, bits: u32, [a, b, c]: [u64; 3]) -> [u64; 3] {
        let (value, carry, overflow) = eval::carry(op, bits, a, b, c);
        [value, carry as u64, overflow as u64]
    }
    #[inline(always)]
    fn divide_wide_raw(self, signed: Signed, [high, low, divisor]: [u64; 3]) -> [u64; 2] {
        eval::divide_wide(signed, high, low, divisor).into()
    }
    #[inline(always)]
    fn insert_raw(self, at: u32, len: u32, old: u64, value: u64) -> u64 {
        eval::insert(at, len, old, value)
    }
    #[inline(always)]
    fn select_raw(self, _bits: u32, c: u64, a: u64, b: u64) -> u64 {
        if c != 0 { a } else { b }
    }
    #[inline(always)]
    fn select_fp(self, c: u64, a: u64, b: u64) -> u64 {
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
    fn get_vec(self, slot: u16) -> u128 {
        self.slot(slot).get() as u128 | (self.slot(slot + 1).get() as u128) << 64
    }
    fn set_vec(self, slot: u16, value: u128) {
        self.slot(slot).set(value as u64);
        self.slot(slot + 1).set((value >> 64) as u64);
    }
    fn vector(self, op: Vop, args: [u128; 3]) -> u128 {
        vector::eval(op, args)
    }
    fn vector_fp(self, op: VFp, rounding: Rounding, args: [u128; 2]) -> u128 {
        fp::soft_vector(self.core(), op, rounding, args)
    }
    fn to_vec(self, value: u64) -> u128 {
        value.into()
    }
    fn insert_lane(self, lane: Lane, n: u8, v: u128, x: u64) -> u128 {
        vector::insert(lane, n.into(), v, x)
    }
    fn extract_lane(self, lane: Lane, n: u8, v: u128) -> u64 {
        vector::extract(lane, n.into(), v)
    }
    fn mask_of(self, lane: Lane, v: u128) -> u64 {
        vector::mask(lane, v)
    }
    fn load_vec(self, hints: Hints, address: u64) -> Res<Self, u128> {
        self.note_retired();
        self.core().load_vector(hints, address)
    }
    fn store_vec(self, hints: Hints, address: u64, value: u128) -> Res<Self> {
        self.note_retired();
        self.core().store_vector(hints, address, value)
    }
    #[inline(always)]
    fn load_raw(self, how: MemOp, address: u64) -> Res<Self, u64> {
        self.note_retired();
        let core = self.core();
        core.check_aligned(how, Access::Read, address)?;
        let value = M::load(core, core.access_regime(how.hints), how.width, address);
        Ok(how.ordered(core.hinted(how.hints, value)?))
    }
    #[inline(always)]
    fn store_raw(self, how: MemOp, address: u64, value: u64) -> Res<Self> {
        self.note_retired();
        let core = self.core();
        core.check_aligned(how, Access::Write, address)?;
        let done = M::store(core, core.access_regime(how.hints), how.width, address, how.ordered(value));
        core.hinted(how.hints, done)
    }
    fn rmw_raw(self, op: Rmw, how: MemOp, address: u64, v: u64) -> Res<Self, u64> {
        let core = self.core();
        core.check_aligned(how, Access::Write, address)?;
        core.hinted(how.hints, core.rmw(core.access_regime(how.hints), op, how, address, v))
    }
    fn exchange_raw(self, how: MemOp, address: u64, expect: u64, new: u64) -> Res<Self, u64> {
        let core = self.core();
        core.check_aligned(how, Access::Write, address)?;
        core.hinted(how.hints, core.exchange(core.access_regime(how.hints), how, address, expect, new))
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
    fn raise_raw(self, cause: u64, code: u32, value: u64) -> Res<Self> {
        Err(self.core().raise(Trap::fault(cause, value).with_code(code)))
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
    #[inline(always)]
    fn fp(self, op: Fp, rounding: Rounding, args: [u64; 3]) -> u64 {
        // Bodies pass a constant operation, so the compiler keeps one of the two.
        fp::moved(op, args).unwrap_or_else(|| fp::soft(self.core(), op, rounding, args))
    }
}
