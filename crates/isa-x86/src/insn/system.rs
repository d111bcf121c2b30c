//! System calls, identification, clocks, fences, segments (SDM volume 2: SYSCALL, SYSENTER, CPUID, RDTSC, RDTSCP, RDPID, XGETBV,
//! PAUSE, MFENCE, RDFSBASE, RDRAND, MOV to a segment register, LAHF, SAHF).

use super::X86;
use crate::cpu;
use crate::flags;
use crate::operands::{Arg, Operands};
use crate::state::gpr::{R11, RAX, RBX, RCX, RDX};
use crate::state::{BASE, EFLAGS, MODEL, TSC_AUX, XCR0, eflags, segment, vector};
use trine_base::Random;
use trine_ir::{Helper, Int, Res, SlotSet};

/// A system call of 64-bit mode. It leaves the next instruction's address in RCX and EFLAGS in R11.
pub fn syscall<S: X86>(s: S, _: &Operands) -> Res<S> {
    let all = flags::all(s)? | s.get::<u64>(EFLAGS) | eflags::FIXED as i64;
    s.set(RCX, s.next_pc());
    s.set(R11, all);
    s.raise_after(vector::SYSCALL, s.k(0))
}

/// A system call of 32-bit mode: where it returns to is the system's business.
pub fn sysenter<S: X86>(s: S, _: &Operands) -> Res<S> {
    s.raise_after(vector::SYSENTER, s.k(0))
}

/// What the CPU is.
pub fn cpuid<S: X86>(s: S, _: &Operands) -> Res<S> {
    s.call(&CPUID, [s.k(0), s.k(0), s.k(0)])?;
    Ok(())
}

static CPUID: Helper = Helper {
    name: "cpuid",
    run: |hart, _| {
        let model = cpu::model(hart.get(MODEL));
        let [a, b, c, d] = model.cpuid(hart.get(RAX) as u32, hart.get(RCX) as u32);
        [(RAX, a), (RBX, b), (RCX, c), (RDX, d)].into_iter().for_each(|(slot, v)| hart.set(slot, v.into()));
        Ok(0)
    },
    reads: SlotSet::Only(&[RAX, RCX, MODEL]),
    writes: SlotSet::Only(&[RAX, RBX, RCX, RDX]),
    leaves: false,
    flushes: false,
    fp: false,
};

/// Writes a number to EDX:EAX.
macro_rules! edx_eax {
    ($s:ident, $v:expr) => {
        let v = $v;
        $s.set_reg::<u32>(RAX as u8, v.low());
        $s.set_reg::<u32>(RDX as u8, (v >> 32).low());
    };
}

/// Read the time-stamp counter.
pub fn rdtsc<S: X86>(s: S, _: &Operands) -> Res<S> {
    edx_eax!(s, s.call(&TSC, [s.k(0), s.k(0), s.k(0)])?);
    Ok(())
}

/// Read the time-stamp counter and the CPU's number.
pub fn rdtscp<S: X86>(s: S, _: &Operands) -> Res<S> {
    edx_eax!(s, s.call(&TSC, [s.k(0), s.k(0), s.k(0)])?);
    s.set_reg::<u32>(RCX as u8, s.get(TSC_AUX));
    Ok(())
}

/// The counter counts nanoseconds.
static TSC: Helper = Helper {
    name: "tsc",
    run: |hart, _| Ok(hart.now()),
    reads: SlotSet::NONE,
    writes: SlotSet::NONE,
    leaves: false,
    flushes: false,
    fp: false,
};

/// Read the CPU's number.
pub fn rdpid<S: X86>(s: S, o: &Operands) -> Res<S> {
    let Arg::Reg(number) = o.args[0] else { return s.undefined() };
    let v = s.get::<u64>(TSC_AUX);
    if s.long() {
        s.set_reg(number, v)
    } else {
        s.set_reg::<u32>(number, v.low())
    }
    Ok(())
}

/// Read extended control register 0; there is no other.
pub fn xgetbv<S: X86>(s: S, _: &Operands) -> Res<S> {
    s.when(s.reg::<u32>(RCX as u8).ne(0), || s.exception(vector::GP))?;
    edx_eax!(s, s.get::<u64>(XCR0));
    Ok(())
}

/// Wait for a moment in a loop that waits for another CPU.
pub fn pause<S: X86>(s: S, _: &Operands) -> Res<S> {
    s.call(&PAUSE, [s.k(0), s.k(0), s.k(0)])?;
    Ok(())
}

static PAUSE: Helper = Helper {
    name: "pause",
    run: |hart, _| {
        hart.pause();
        Ok(0)
    },
    reads: SlotSet::NONE,
    writes: SlotSet::NONE,
    leaves: false,
    flushes: false,
    fp: false,
};

/// A fence.
pub fn fence<S: X86>(s: S, _: &Operands) -> Res<S> {
    s.fence();
    Ok(())
}

/// Write back a cache line. A program sees no more of it than of a load.
pub fn flush_line<S: X86>(s: S, o: &Operands) -> Res<S> {
    s.load_mem::<u8>(o)?;
    Ok(())
}

/// Read the base of FS or GS.
pub fn read_base<S: X86, T: Int>(s: S, o: &Operands, number: u8) -> Res<S> {
    s.set_arg::<T>(o, 0, s.get(BASE + number as u16))
}

/// Write the base of FS or GS.
pub fn write_base<S: X86, T: Int>(s: S, o: &Operands, number: u8) -> Res<S> {
    let v = s.arg::<T>(o, 0)?.zext::<u64>();
    if T::BITS == 64 {
        // Addresses have 48 bits.
        s.when((v << 16).sar(16).ne(v), || s.exception(vector::GP))?;
    }
    s.set(BASE + number as u16, v);
    Ok(())
}

/// Load a segment register: for whoever has the descriptors. The trap is reported at this instruction; its value has the
/// selector in bits 0 to 15, the register's number in bits 16 to 18, and the instruction's length above bit 32.
pub fn mov_to_segment<S: X86>(s: S, o: &Operands) -> Res<S> {
    let selector = s.arg::<u16>(o, 1)?.zext::<u64>();
    match o.args[0] {
        Arg::Reg(number) if number != segment::CS && number <= segment::GS => {
            let length = s.next_pc() - s.pc();
            s.raise(vector::LOAD_SEGMENT, selector | (number as i64) << 16 | length << 32)
        }
        _ => s.undefined(),
    }
}

/// A random number: C is set.
pub fn random<S: X86, T: Int>(s: S, o: &Operands) -> Res<S> {
    let v = s.call(&RANDOM, [s.k(0), s.k(0), s.k(0)])?;
    s.set_arg::<T>(o, 0, v.low())?;
    flags::set_packed(s, s.k(eflags::CF as i64));
    Ok(())
}

static RANDOM: Helper = Helper {
    name: "random",
    run: |_, _| {
        let mut bytes = [0; 8];
        trine_base::HostRandom.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    },
    reads: SlotSet::NONE,
    writes: SlotSet::NONE,
    leaves: false,
    flushes: false,
    fp: false,
};

/// Load flags into AH.
pub fn lahf<S: X86>(s: S, _: &Operands) -> Res<S> {
    let all = flags::all(s)? | eflags::FIXED as i64;
    s.set_reg::<u8>(crate::operands::AH, all.low());
    Ok(())
}

/// Store AH into flags: all but O.
pub fn sahf<S: X86>(s: S, _: &Operands) -> Res<S> {
    let overflow = flags::all(s)? & eflags::OF as i64;
    let others = s.reg::<u8>(crate::operands::AH).zext::<u64>() & (eflags::CONDITION & 0xff) as i64;
    flags::set_packed(s, overflow | others);
    Ok(())
}
