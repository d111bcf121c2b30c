//! Jumps, calls, returns, loops, software interrupts (SDM volume 2: JMP, Jcc, CALL, RET, LOOP, JCXZ, INT n, INT3, INTO, UD).

use super::X86;
use crate::flags;
use crate::operands::Operands;
use crate::state::gpr::RCX;
use crate::state::vector;
use trine_ir::{Flow, Int, Res, V};

/// Jump. With operands of 16 bits, the upper bits of the target are 0.
fn go<S: X86, T: Int>(s: S, flow: Flow, target: V<S, u64>) -> Res<S> {
    s.jump_as(flow, if T::BITS == 16 { target.low::<u16>().zext() } else { target })
}

/// Jump to a displacement.
pub fn jmp<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    go::<S, T>(s, Flow::Plain, s.next_pc() + o.imm)
}

/// Jump to an address.
pub fn jmp_rm<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let target = s.arg::<T>(o, 0)?;
    s.jump(target.zext())
}

/// Jump if a condition holds.
pub fn jcc<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let c = flags::condition(s, o.low)?;
    s.when(c, || jmp::<S, T>(s, o))
}

/// Call a displacement.
pub fn call<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let (target, next) = (s.next_pc() + o.imm, s.next_pc());
    s.push(next.low::<T>())?;
    // The address of the next instruction is often wanted, not a procedure.
    let flow = if o.imm == 0 { Flow::Plain } else { Flow::Call };
    go::<S, T>(s, flow, target)
}

/// Call an address.
pub fn call_rm<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let target = s.arg::<T>(o, 0)?;
    s.push(s.next_pc().low::<T>())?;
    s.jump_as(Flow::Call, target.zext())
}

/// Return.
pub fn ret<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let target = s.top::<T>()?;
    s.set_stack_pointer(s.stack_pointer(T::BITS as i64 / 8 + o.imm as u16 as i64));
    s.jump_as(Flow::Return, target.zext())
}

/// Count down; jump if the count is not 0 and `more` holds.
fn count_down<S: X86, T: Int>(s: S, o: &Operands, more: Option<V<S, bool>>) -> Res<S> {
    let count = s.cut_address(o, s.get::<u64>(RCX) - 1);
    s.set_address_reg(o, RCX, count);
    let again = count.ne(0);
    s.when(more.map_or(again, |more| again & more), || jmp::<S, T>(s, o))
}

/// Loop.
pub fn loop_<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    count_down::<S, T>(s, o, None)
}

/// Loop while equal.
pub fn loope<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let equal = flags::condition(s, 4)?;
    count_down::<S, T>(s, o, Some(equal))
}

/// Loop while not equal.
pub fn loopne<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let unequal = flags::condition(s, 5)?;
    count_down::<S, T>(s, o, Some(unequal))
}

/// Jump if the count is 0.
pub fn jcxz<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    s.when(s.address_reg(o, RCX).eq(0), || jmp::<S, T>(s, o))
}

/// A software interrupt: a trap that is reported behind it.
pub fn int<S: X86>(s: S, o: &Operands) -> Res<S> {
    s.raise_after(vector::SOFTWARE + (o.imm as u8) as u64, s.k(0))
}

/// A breakpoint.
pub fn int3<S: X86>(s: S, _: &Operands) -> Res<S> {
    s.raise_after(vector::BP, s.k(0))
}

/// A debug trap.
pub fn int1<S: X86>(s: S, _: &Operands) -> Res<S> {
    s.raise_after(vector::DB, s.k(0))
}

/// A trap if O is set.
pub fn into<S: X86>(s: S, _: &Operands) -> Res<S> {
    let overflow = flags::condition(s, 0)?;
    s.when(overflow, || s.raise_after(vector::OF, s.k(0)))
}

/// An invalid opcode, on purpose.
pub fn ud<S: X86>(s: S, _: &Operands) -> Res<S> {
    s.undefined()
}

/// A privileged instruction in user mode.
pub fn privileged<S: X86>(s: S, _: &Operands) -> Res<S> {
    s.exception(vector::GP)
}

/// A range exception if an index is outside two bounds in memory.
pub fn bound<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let index = s.arg::<T>(o, 0)?;
    let address = s.address(o);
    let (low, high) = (s.load::<T>(address)?, s.load::<T>(address + T::BITS as i64 / 8)?);
    s.when(index.lt_s(low) | high.lt_s(index), || s.exception(vector::BR))
}
