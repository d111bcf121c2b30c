//! Traps: causes, delegation, entry and return (priv 3.1.6 to 3.1.15, 3.3.2, 12.1).

use crate::state::*;
use std::cell::Cell;
use trine_ir::{Access, Hart, Helper, Leave, SlotSet, Trap};

/// Instruction address misaligned.
pub const FETCH_MISALIGNED: u64 = 0;
/// Illegal instruction.
pub const ILLEGAL_INSTRUCTION: u64 = 2;
/// Breakpoint.
pub const BREAKPOINT: u64 = 3;
/// Load address misaligned.
pub const LOAD_MISALIGNED: u64 = 4;
/// Store or AMO address misaligned.
pub const STORE_MISALIGNED: u64 = 6;
/// Environment call from U mode; from S add 1, from M add 3.
pub const ECALL_U: u64 = 8;
/// Bit that marks an interrupt's cause.
pub const INTERRUPT: u64 = 1 << 63;

/// Interrupt bits of `mip` and `mie` (priv 3.1.9).
pub mod irq {
    #![allow(missing_docs)]
    pub const SSIP: u64 = 1 << 1;
    pub const MSIP: u64 = 1 << 3;
    pub const STIP: u64 = 1 << 5;
    pub const MTIP: u64 = 1 << 7;
    pub const SEIP: u64 = 1 << 9;
    pub const MEIP: u64 = 1 << 11;
    /// The supervisor's.
    pub const S: u64 = SSIP | STIP | SEIP;
    /// All.
    pub const ALL: u64 = S | MSIP | MTIP | MEIP;
}

/// `menvcfg.STCE`: Sstc is on (priv 3.1.18).
pub const STCE: u64 = 1 << 63;
/// `menvcfg.ADUE`: hardware updates of page-table A and D bits are on.
pub const ADUE: u64 = 1 << 61;

/// Cause of an access fault.
pub fn access_fault(access: Access) -> u64 {
    match access {
        Access::Execute => 1,
        Access::Read => 5,
        Access::Write => 7,
    }
}

/// Cause of a page fault.
pub fn page_fault(access: Access) -> u64 {
    match access {
        Access::Execute => 12,
        Access::Read => 13,
        Access::Write => 15,
    }
}

/// The name of a cause, in short (priv 3.1.15); empty for one that is not defined.
pub fn name(cause: u64) -> &'static str {
    const EXCEPTIONS: [&str; 16] = [
        "instruction address misaligned",
        "instruction access fault",
        "illegal instruction",
        "breakpoint",
        "load address misaligned",
        "load access fault",
        "store address misaligned",
        "store access fault",
        "environment call from U",
        "environment call from S",
        "",
        "environment call from M",
        "instruction page fault",
        "load page fault",
        "",
        "store page fault",
    ];
    const INTERRUPTS: [&str; 12] = [
        "",
        "supervisor software interrupt",
        "",
        "machine software interrupt",
        "",
        "supervisor timer interrupt",
        "",
        "machine timer interrupt",
        "",
        "supervisor external interrupt",
        "",
        "machine external interrupt",
    ];
    let (names, number): (&[&str], u64) = match cause & INTERRUPT {
        0 => (&EXCEPTIONS, cause),
        _ => (&INTERRUPTS, cause & !INTERRUPT),
    };
    usize::try_from(number).ok().and_then(|number| names.get(number)).copied().unwrap_or_default()
}

/// Ticks of the `time` CSR: 10 MHz.
pub fn time(hart: &dyn Hart) -> u64 {
    hart.now() / NANOS_PER_TICK
}

/// Nanoseconds per tick of `time`.
pub const NANOS_PER_TICK: u64 = 100;

/// The state in which M-mode firmware starts a kernel: S mode, everything delegated that a kernel handles
/// itself, all memory open, counters readable down to U, Sstc and hardware A/D updates on.
pub fn start_supervisor(slots: &[Cell<u64>]) {
    let set = |slot: u16, value: u64| slots[slot as usize].set(value);
    set(PRIV, level::S);
    set(FIRMWARE, 1);
    set(MEDELEG, csr_medeleg_all() & !(1 << (ECALL_U + 1)));
    set(MIDELEG, irq::S);
    set(MCOUNTEREN, 7);
    set(SCOUNTEREN, 7);
    set(MENVCFG, STCE | ADUE | 0xf1);
    set(PMPCFG0, 0x1f);
    set(PMPADDR, (1 << 54) - 1);
}

/// The state in which a program starts: U mode, nothing delegated, counters and `cbo.zero` allowed,
/// floating point on.
pub fn start_user(slots: &[Cell<u64>]) {
    let set = |slot: u16, value: u64| slots[slot as usize].set(value);
    start_supervisor(slots);
    set(PRIV, level::U);
    set(MEDELEG, 0);
    set(MIDELEG, 0);
    set(MENVCFG, 0xf0);
    set(SENVCFG, 0xf0);
    set(MSTATUS, slots[MSTATUS as usize].get() | mstatus::FS | mstatus::SD);
}

/// Exceptions that can be delegated.
pub const fn csr_medeleg_all() -> u64 {
    0xb3ff & !(1 << 11) | 1 << 15
}

/// `mip`: devices' lines, software's bits and the supervisor timer.
pub fn pending(hart: &dyn Hart) -> u64 {
    let mut mip = hart.get(MIP) | hart.lines() as u64;
    if hart.get(MENVCFG) & STCE != 0 {
        mip &= !irq::STIP;
        if time(hart) >= hart.get(STIMECMP) {
            mip |= irq::STIP;
        }
    }
    mip & irq::ALL
}

/// Clock time at which the supervisor timer becomes pending.
pub fn deadline(hart: &dyn Hart) -> Option<u64> {
    let compare = hart.get(STIMECMP);
    (hart.get(MENVCFG) & STCE != 0).then(|| compare.checked_mul(NANOS_PER_TICK)).flatten()
}

/// The interrupt to take now (priv 3.1.9: MEI, MSI, MTI, SEI, SSI, STI in this order).
pub fn interrupt(hart: &dyn Hart) -> Option<Trap> {
    let enabled = hart.get(MIE);
    if enabled == 0 {
        return None;
    }
    let ready = pending(hart) & enabled;
    let (now, status, delegated) = (hart.get(PRIV), hart.get(MSTATUS), hart.get(MIDELEG));
    let machine = now < level::M || status & mstatus::MIE != 0;
    let supervisor = now < level::S || (now == level::S && status & mstatus::SIE != 0);
    let mut take = 0;
    if machine {
        take = ready & !delegated;
    }
    if take == 0 && supervisor {
        take = ready & delegated;
    }
    const ORDER: [u64; 6] = [11, 3, 7, 9, 1, 5];
    let bit = ORDER.into_iter().find(|bit| take >> bit & 1 != 0)?;
    Some(Trap::fault(INTERRUPT | bit, 0))
}

/// Enters the handler of `trap`, raised by the instruction at `pc`.
pub fn take(hart: &dyn Hart, trap: Trap, pc: u64) -> Result<u64, Trap> {
    let code = trap.cause & !INTERRUPT;
    let is_interrupt = trap.cause & INTERRUPT != 0;
    let from = hart.get(PRIV);
    let delegation = hart.get(if is_interrupt { MIDELEG } else { MEDELEG });
    let to_supervisor = from <= level::S && code < 64 && delegation >> code & 1 != 0;
    if !to_supervisor && hart.get(FIRMWARE) != 0 {
        return Err(trap);
    }
    hart.set(RES_ADDR, u64::MAX);
    let status = hart.get(MSTATUS);
    // The mark of an interrupt is the register's highest bit, for any width.
    let mark = if hart.get(MISA) >> 63 != 0 { INTERRUPT } else { 1 << 31 };
    let cause = code | if is_interrupt { mark } else { 0 };
    let vector = if to_supervisor {
        hart.set(SCAUSE, cause);
        hart.set(SEPC, pc);
        hart.set(STVAL, trap.value);
        let mut s = status & !(mstatus::SPIE | mstatus::SPP | mstatus::SIE);
        s |= if status & mstatus::SIE != 0 { mstatus::SPIE } else { 0 };
        s |= if from == level::S { mstatus::SPP } else { 0 };
        hart.set(MSTATUS, s);
        hart.set(PRIV, level::S);
        hart.get(STVEC)
    } else {
        hart.set(MCAUSE, cause);
        hart.set(MEPC, pc);
        hart.set(MTVAL, trap.value);
        let mut s = status & !(mstatus::MPIE | mstatus::MPP | mstatus::MIE);
        s |= if status & mstatus::MIE != 0 { mstatus::MPIE } else { 0 };
        s |= from << 11;
        hart.set(MSTATUS, s);
        hart.set(PRIV, level::M);
        hart.get(MTVEC)
    };
    hart.mode_changed();
    let base = vector & !3;
    Ok(if is_interrupt && vector & 1 != 0 { base.wrapping_add(4 * code) } else { base })
}

/// Privileged instructions: the argument is the instruction's bytes.
macro_rules! returns {
    ($($(#[$doc:meta])* $name:ident $text:literal $run:ident $writes:expr, $flushes:literal;)*) => {$(
        $(#[$doc])*
        pub static $name: Helper = Helper {
            name: $text,
            run: $run,
            reads: SlotSet::Only(SYSTEM_SLOTS),
            writes: $writes,
            leaves: true,
            flushes: $flushes,
            fp: false,
        };
    )*};
}
returns! {
    /// Return from a trap taken in S (priv 3.3.2).
    SRET "sret" sret SlotSet::Only(&[MSTATUS, PRIV, RES_ADDR]), true;
    /// Return from a trap taken in M (priv 3.3.2).
    MRET "mret" mret SlotSet::Only(&[MSTATUS, PRIV, RES_ADDR]), true;
    /// Wait for interrupt (priv 3.3.3).
    WFI "wfi" wfi SlotSet::NONE, false;
}

fn illegal(hart: &dyn Hart, encoding: u64) -> Leave {
    hart.raise(Trap::fault(ILLEGAL_INSTRUCTION, encoding))
}

fn sret(hart: &dyn Hart, [encoding, ..]: [u64; 3]) -> Result<u64, Leave> {
    let status = hart.get(MSTATUS);
    if hart.get(PRIV) == level::S && status & mstatus::TSR != 0 {
        return Err(illegal(hart, encoding));
    }
    let mut s = status & !(mstatus::SIE | mstatus::SPP | mstatus::MPRV);
    s |= mstatus::SPIE | if status & mstatus::SPIE != 0 { mstatus::SIE } else { 0 };
    hart.set(MSTATUS, s);
    hart.set(PRIV, if status & mstatus::SPP != 0 { level::S } else { level::U });
    Err(returned(hart, SEPC))
}

fn mret(hart: &dyn Hart, _: [u64; 3]) -> Result<u64, Leave> {
    let status = hart.get(MSTATUS);
    let to = (status & mstatus::MPP) >> 11;
    let mut s = status & !(mstatus::MIE | mstatus::MPP);
    s |= mstatus::MPIE | if status & mstatus::MPIE != 0 { mstatus::MIE } else { 0 };
    if to != level::M {
        s &= !mstatus::MPRV;
    }
    hart.set(MSTATUS, s);
    hart.set(PRIV, to);
    Err(returned(hart, MEPC))
}

fn returned(hart: &dyn Hart, slot: u16) -> Leave {
    hart.set(RES_ADDR, u64::MAX);
    hart.mode_changed();
    if interrupt(hart).is_some() {
        hart.recheck();
    }
    hart.set_pc(hart.get(slot));
    Leave::Jump
}

fn wfi(hart: &dyn Hart, [encoding, ..]: [u64; 3]) -> Result<u64, Leave> {
    let now = hart.get(PRIV);
    if now == level::U || (now == level::S && hart.get(MSTATUS) & mstatus::TW != 0) {
        return Err(illegal(hart, encoding));
    }
    Err(Leave::Idle)
}
