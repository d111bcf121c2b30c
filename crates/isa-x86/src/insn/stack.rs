//! The stack (SDM volume 2: PUSH, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE).

use super::{STACK, X86};
use crate::flags;
use crate::operands::{Arg, Operands};
use crate::state::gpr::{RBP, RSP};
use crate::state::{EFLAGS, SELECTOR, eflags, mode};
use trine_ir::{Hart, Helper, Int, Leave, MemOp, Res, Rmw, SlotSet, V};

/// Push.
pub fn push<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.arg::<T>(o, 0)?;
    s.push(v)
}

/// Push a selector. Only its 16 bits are written.
pub fn push_segment<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let Arg::Reg(number) = o.args[0] else { return s.undefined() };
    let sp = s.stack_pointer(-(T::BITS as i64 / 8));
    s.store_stack(sp, s.get::<u16>(SELECTOR + number as u16))?;
    s.set_stack_pointer(sp);
    Ok(())
}

/// Pop into a register.
pub fn pop<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.pop::<T>()?;
    s.set_arg(o, 0, v)
}

/// Pop into a register or memory. An address is computed with the stack pointer behind the pop.
pub fn pop_rm<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    if o.args[0] != Arg::Mem {
        return pop::<S, T>(s, o);
    }
    let v = s.top::<T>()?;
    let before = s.get::<u64>(RSP);
    let after = s.stack_pointer(T::BITS as i64 / 8);
    if o.mem.base as u16 == RSP {
        // Nothing may be written before the store, so the address is corrected instead.
        let offset = s.cut_address(o, s.offset(o) - before + after);
        s.store_as(s.access::<T>(o), s.linear(o.mem.segment, offset), v)?;
    } else {
        s.store_mem(o, v)?;
    }
    s.set_stack_pointer(after);
    Ok(())
}

/// Push all general registers.
pub fn pusha<S: X86, T: Int>(s: S, _: &Operands) -> Res<S> {
    let bytes = T::BITS as i64 / 8;
    // Two ends of one block in at most two pages: if both can be written, the rest can.
    let store = |n: i64| s.store_stack(s.stack_pointer(-bytes * n), s.reg::<T>(n as u8 - 1));
    store(8)?;
    (1..8).try_for_each(store)?;
    s.set_stack_pointer(s.stack_pointer(-bytes * 8));
    Ok(())
}

/// Pop all general registers but the stack pointer.
pub fn popa<S: X86, T: Int>(s: S, _: &Operands) -> Res<S> {
    let bytes = T::BITS as i64 / 8;
    let load = |n: i64| s.load_stack::<T>(s.stack_pointer(bytes * n));
    let mut values = [s.k::<T>(0); 8];
    for n in 0..8 {
        values[n as usize] = load(n)?;
    }
    for (n, v) in values.into_iter().enumerate() {
        let number = 7 - n as u8;
        if number as u16 != RSP {
            s.set_reg(number, v);
        }
    }
    s.set_stack_pointer(s.stack_pointer(bytes * 8));
    Ok(())
}

/// Push EFLAGS. RF and VM read as 0.
pub fn pushf<S: X86, T: Int>(s: S, _: &Operands) -> Res<S> {
    let system = s.get::<u64>(EFLAGS) & !((eflags::RF | eflags::VM) as i64);
    let all = flags::all(s)? | system | eflags::FIXED as i64;
    s.push(all.low::<T>())
}

/// Pop EFLAGS, as far as a program may change it.
pub fn popf<S: X86, T: Int>(s: S, _: &Operands) -> Res<S> {
    let v = s.pop::<T>()?.zext::<u64>();
    flags::set_packed(s, v & eflags::CONDITION as i64);
    s.call(&SET_EFLAGS, [v, s.k(T::BITS as i64), s.k(0)])?;
    Ok(())
}

/// Writes the flags other than the condition flags that user mode may write; the mode depends on DF.
static SET_EFLAGS: Helper = Helper {
    name: "set_eflags",
    run: |hart, [value, bits, _]| {
        let may = eflags::DF | eflags::TF | eflags::NT | if bits > 16 { eflags::AC | eflags::ID } else { 0 };
        set_system_flags(hart, hart.get(EFLAGS) & !may | value & may)
    },
    reads: SlotSet::All,
    writes: SlotSet::Only(&[EFLAGS]),
    leaves: true,
    flushes: true,
    fp: false,
};

/// Writes [`EFLAGS`]; the translation ends if the mode changes by it.
fn set_system_flags(hart: &dyn Hart, value: u64) -> Result<u64, Leave> {
    let changed = hart.get(EFLAGS) ^ value;
    hart.set(EFLAGS, value);
    if changed & (eflags::DF | eflags::TF) == 0 {
        return Ok(0);
    }
    hart.mode_changed();
    Err(Leave::EndBlock)
}

/// Sets or clears the direction flag.
fn set_direction<S: X86>(s: S, down: bool) -> Res<S> {
    if (s.mode() & mode::DOWN != 0) == down {
        return Ok(());
    }
    s.call(&DIRECTION, [s.k(if down { eflags::DF as i64 } else { 0 }), s.k(0), s.k(0)])?;
    Ok(())
}

static DIRECTION: Helper = Helper {
    name: "direction",
    run: |hart, [value, ..]| set_system_flags(hart, hart.get(EFLAGS) & !eflags::DF | value),
    reads: SlotSet::All,
    writes: SlotSet::Only(&[EFLAGS]),
    leaves: true,
    flushes: true,
    fp: false,
};

/// Clear the direction flag.
pub fn cld<S: X86>(s: S, _: &Operands) -> Res<S> {
    set_direction(s, false)
}

/// Set the direction flag.
pub fn std<S: X86>(s: S, _: &Operands) -> Res<S> {
    set_direction(s, true)
}

/// Leave a procedure: the stack pointer is the frame pointer, which is popped.
pub fn leave<S: X86, T: Int>(s: S, _: &Operands) -> Res<S> {
    let frame = s.cut_stack(s.get::<u64>(RBP));
    let v = s.load_stack::<T>(frame)?;
    s.set_stack_pointer(s.cut_stack(frame + T::BITS as i64 / 8));
    s.set_reg(RBP as u8, v);
    Ok(())
}

/// Make a stack frame with room for locals, and copies of outer frames' pointers.
pub fn enter<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let bytes = T::BITS as i64 / 8;
    let (room, level) = (o.imm as u16 as i64, o.imm2 as i64 & 31);
    let frame = s.stack_pointer(-bytes);
    let at = |base: V<S, u64>, by: i64| s.cut_stack(base + by);
    // Copies are read and written in turn, and frame pointers live in registers until all is done.
    s.store_stack(at(frame, 0), s.reg::<T>(RBP as u8))?;
    for n in 1..level {
        let outer = s.load_stack::<T>(at(s.get(RBP), -bytes * n))?;
        s.store_stack(at(frame, -bytes * n), outer)?;
    }
    if level > 0 {
        s.store_stack(at(frame, -bytes * level), frame.low::<T>())?;
    }
    let sp = s.cut_stack(frame - bytes * level - room);
    // The new top of the stack must be writable, though nothing is written there.
    let how = MemOp::from(T::WIDTH).hinted(STACK);
    s.rmw_raw(Rmw::Or, how, s.stack_address(sp).raw, s.k::<T>(0).raw)?;
    s.set_reg::<T>(RBP as u8, frame.low());
    s.set_stack_pointer(sp);
    Ok(())
}
