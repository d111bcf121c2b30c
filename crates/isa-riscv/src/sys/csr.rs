//! Control and status registers (unpriv 6, priv 2 to 3 and 12.1), as RV64 sees them; RV32 sees the low
//! halves, and the high ones in the `…h` registers ([`low_half`]).

use super::{mmu, pmp, trap};
use crate::isa::dirty_fs;
use crate::state::*;
use trine_ir::{Flush, Hart, Helper, Leave, SlotSet, Trap};

/// The kind of a CSR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A slot; its bits in the mask can be written and do not affect translations.
    Plain(u16, u64),
    /// Reads as this number, ignores writes.
    Fixed(u64),
    /// Needs code.
    Special,
}

/// One row of the CSR table.
pub struct Csr {
    /// Number.
    pub number: u16,
    /// Name in the manual.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
}

const fn csr(number: u16, name: &'static str, kind: Kind) -> Csr {
    Csr { number, name, kind }
}

const ALL: u64 = u64::MAX;

/// The CSRs outside numbered families (`pmpaddr`, `hpmcounter` …).
#[rustfmt::skip]
pub const CSRS: &[Csr] = &[
    csr(0x001, "fflags", Kind::Special),
    csr(0x002, "frm", Kind::Special),
    csr(0x003, "fcsr", Kind::Special),
    csr(0xc00, "cycle", Kind::Special),
    csr(0xc01, "time", Kind::Special),
    csr(0xc02, "instret", Kind::Special),
    // Only RV32 has these: see `low_half`.
    csr(0xc80, "cycleh", Kind::Special),
    csr(0xc81, "timeh", Kind::Special),
    csr(0xc82, "instreth", Kind::Special),
    csr(0xb80, "mcycleh", Kind::Special),
    csr(0xb82, "minstreth", Kind::Special),
    csr(0x310, "mstatush", Kind::Special),
    csr(0x312, "medelegh", Kind::Special),
    csr(0x31a, "menvcfgh", Kind::Special),
    csr(0x15d, "stimecmph", Kind::Special),
    csr(0x100, "sstatus", Kind::Special),
    csr(0x104, "sie", Kind::Special),
    csr(0x105, "stvec", Kind::Plain(STVEC, !2)),
    csr(0x106, "scounteren", Kind::Plain(SCOUNTEREN, 0xffff_ffff)),
    csr(0x10a, "senvcfg", Kind::Special),
    csr(0x140, "sscratch", Kind::Plain(SSCRATCH, ALL)),
    csr(0x141, "sepc", Kind::Plain(SEPC, !1)),
    csr(0x142, "scause", Kind::Plain(SCAUSE, ALL)),
    csr(0x143, "stval", Kind::Plain(STVAL, ALL)),
    csr(0x144, "sip", Kind::Special),
    csr(0x14d, "stimecmp", Kind::Special),
    csr(0x180, "satp", Kind::Special),
    csr(0xf11, "mvendorid", Kind::Fixed(0)),
    csr(0xf12, "marchid", Kind::Fixed(0)),
    csr(0xf13, "mimpid", Kind::Fixed(0)),
    csr(0xf14, "mhartid", Kind::Special),
    csr(0xf15, "mconfigptr", Kind::Fixed(0)),
    csr(0x300, "mstatus", Kind::Special),
    csr(0x301, "misa", Kind::Special),
    csr(0x302, "medeleg", Kind::Plain(MEDELEG, trap::csr_medeleg_all())),
    csr(0x303, "mideleg", Kind::Special),
    csr(0x304, "mie", Kind::Special),
    csr(0x305, "mtvec", Kind::Plain(MTVEC, !2)),
    csr(0x306, "mcounteren", Kind::Plain(MCOUNTEREN, 0xffff_ffff)),
    csr(0x30a, "menvcfg", Kind::Special),
    csr(0x320, "mcountinhibit", Kind::Special),
    csr(0x340, "mscratch", Kind::Plain(MSCRATCH, ALL)),
    csr(0x341, "mepc", Kind::Plain(MEPC, !1)),
    csr(0x342, "mcause", Kind::Plain(MCAUSE, ALL)),
    csr(0x343, "mtval", Kind::Plain(MTVAL, ALL)),
    csr(0x344, "mip", Kind::Special),
    // No triggers: software finds none, as `tdata1` reports type 0 (Sdtrig 5.7.2).
    csr(0x7a0, "tselect", Kind::Fixed(0)),
    csr(0x7a1, "tdata1", Kind::Fixed(0)),
    csr(0x7a2, "tdata2", Kind::Fixed(0)),
    csr(0x7a3, "tdata3", Kind::Fixed(0)),
    csr(0xb00, "mcycle", Kind::Special),
    csr(0xb02, "minstret", Kind::Special),
];

/// The register whose high half this one is on RV32 (unpriv 7.1; priv 3.1.6, 3.1.8, 3.1.10, 3.1.18, 3.7.1, 12.1).
fn low_half(number: u16) -> Option<u16> {
    match number {
        0xc80..=0xc9f | 0xb80 | 0xb82..=0xb9f => Some(number - 0x80),
        // mstatush, medelegh, menvcfgh, stimecmph.
        0x310 | 0x312 | 0x31a | 0x15d => Some(number - 0x10),
        // pmpcfg1 to pmpcfg15, of which RV64 has the even ones.
        0x3a1..=0x3af if number & 1 != 0 => Some(number - 1),
        _ => None,
    }
}

/// Whether a register exists on RV32 only.
pub(crate) fn is_high_half(number: u16) -> bool {
    low_half(number).is_some()
}

/// Whether a register is wider than RV32's registers and has its high half in another one.
fn has_high_half(number: u16) -> bool {
    matches!(number, 0xc00..=0xc1f | 0xb00..=0xb1f | 0x300 | 0x302 | 0x30a | 0x14d | 0x3a0..=0x3af)
}

/// The table's row for a number.
pub fn find(number: u16) -> Option<&'static Csr> {
    CSRS.iter().find(|c| c.number == number)
}

/// The slot of a plain CSR and its writable bits, if code at `privilege` may access it with no check except
/// the privilege level.
pub fn plain(number: u16, privilege: u64) -> Option<(u16, u64)> {
    if (number >> 8 & 3) as u64 > privilege {
        return None;
    }
    match find(number)?.kind {
        Kind::Plain(slot, mask) => Some((slot, mask)),
        _ => None,
    }
}

/// An access to a floating-point register that leaves the rounding direction, which translations depend on,
/// unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FpCsr {
    /// `fflags`, read or written.
    Flags,
    /// `frm`, read.
    Rounding,
    /// `fcsr`, read.
    Both,
}

impl FpCsr {
    /// Classifies an access, if it is one of these.
    pub fn of(number: u16, op: Op) -> Option<FpCsr> {
        match number {
            1 => Some(FpCsr::Flags),
            2 if op == Op::Read => Some(FpCsr::Rounding),
            3 if op == Op::Read => Some(FpCsr::Both),
            _ => None,
        }
    }
}

/// What a CSR instruction does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Op {
    /// Only reads (`csrrs`/`csrrc` with `x0`).
    Read = 0,
    /// Only writes (`csrrw` with `rd = x0`).
    Write = 1,
    /// Reads and replaces.
    Swap = 2,
    /// Reads and sets bits.
    Set = 3,
    /// Reads and clears bits.
    Clear = 4,
}

impl Op {
    fn from_number(n: u64) -> Op {
        match n {
            0 => Op::Read,
            1 => Op::Write,
            2 => Op::Swap,
            3 => Op::Set,
            _ => Op::Clear,
        }
    }
}

/// Accesses a CSR: arguments are number | op << 12, the operand, the instruction's bytes.
pub static ACCESS: Helper = Helper {
    name: "csr",
    run: access,
    reads: SlotSet::Only(SYSTEM_SLOTS),
    writes: SlotSet::Only(SYSTEM_SLOTS),
    leaves: true,
    flushes: true,
    fp: true,
};

fn access(hart: &dyn Hart, [what, operand, bytes]: [u64; 3]) -> Result<u64, Leave> {
    let (number, op) = ((what & 0xfff) as u16, Op::from_number(what >> 12));
    let illegal = || hart.raise(Trap::fault(trap::ILLEGAL_INSTRUCTION, bytes));
    if !allowed(hart, number, op != Op::Read) {
        return Err(illegal());
    }
    let old = if op == Op::Write { 0 } else { read(hart, number).ok_or_else(illegal)? };
    // Bits of `mip` that devices drive are excluded from a read-modify-write (priv 3.1.9).
    let base = if matches!(number, 0x144 | 0x344) { hart.get(MIP) } else { old };
    match op {
        Op::Read => {}
        Op::Write | Op::Swap => write(hart, number, operand).ok_or_else(illegal)?,
        Op::Set => write(hart, number, base | operand).ok_or_else(illegal)?,
        Op::Clear => write(hart, number, base & !operand).ok_or_else(illegal)?,
    }
    Ok(old)
}

/// Checks existence, privilege and the special conditions of some registers.
fn allowed(hart: &dyn Hart, number: u16, writes: bool) -> bool {
    let now = hart.get(PRIV);
    let status = hart.get(MSTATUS);
    if (number >> 8 & 3) as u64 > now || (writes && number >> 10 == 3) {
        return false;
    }
    match number {
        0x001..=0x003 => status & mstatus::FS != 0,
        0xc00..=0xc1f | 0xc80..=0xc9f => {
            let bit = 1u64 << (number & 31);
            (now == level::M || hart.get(MCOUNTEREN) & bit != 0)
                && (now != level::U || hart.get(SCOUNTEREN) & bit != 0)
        }
        0x180 => now != level::S || status & mstatus::TVM == 0,
        0x14d | 0x15d => {
            now == level::M || (hart.get(MCOUNTEREN) & 2 != 0 && hart.get(MENVCFG) & trap::STCE != 0)
        }
        _ => true,
    }
}

fn rv32(hart: &dyn Hart) -> bool {
    hart.get(MISA) >> 63 == 0
}

/// The bits of `mstatus` that `sstatus` shows.
fn sstatus_mask() -> u64 {
    use mstatus::*;
    SIE | SPIE | SPP | FS | SUM | MXR | UXL | SD
}

/// Reads a register of the CPU's own width.
pub(crate) fn read(hart: &dyn Hart, number: u16) -> Option<u64> {
    if !rv32(hart) {
        return read_whole(hart, number);
    }
    if let Some(low) = low_half(number) {
        // `mstatus.SD` is bit 31 on RV32.
        let sd = if low == 0x300 { mstatus::SD } else { 0 };
        return Some((read_whole(hart, low)? & !sd) >> 32);
    }
    let value = read_whole(hart, number)?;
    let sd = matches!(number, 0x100 | 0x300) && value & mstatus::SD != 0;
    Some(value & 0xffff_ffff | (sd as u64) << 31)
}

/// Writes a register of the CPU's own width.
pub(crate) fn write(hart: &dyn Hart, number: u16, value: u64) -> Option<()> {
    if !rv32(hart) {
        return write_whole(hart, number, value);
    }
    if let Some(low) = low_half(number) {
        let old = read_whole(hart, low)?;
        return write_whole(hart, low, old & 0xffff_ffff | value << 32);
    }
    let high = if has_high_half(number) { read_whole(hart, number)? & !0xffff_ffff } else { 0 };
    write_whole(hart, number, high | value & 0xffff_ffff)
}

fn read_whole(hart: &dyn Hart, number: u16) -> Option<u64> {
    let flags = || {
        hart.harvest_fp();
        hart.get(FFLAGS)
    };
    let cycle = || hart.count().wrapping_add(hart.get(MCYCLE));
    let instret = || hart.count().wrapping_add(hart.get(MINSTRET));
    Some(match number {
        0x001 => flags(),
        0x002 => hart.get(FRM),
        0x003 => flags() | hart.get(FRM) << 5,
        0xc00 | 0xb00 => cycle(),
        0xc01 => trap::time(hart),
        0xc02 | 0xb02 => instret(),
        0xc03..=0xc1f | 0xb03..=0xb1f | 0x323..=0x33f => 0,
        0x100 => hart.get(MSTATUS) & sstatus_mask(),
        0x104 => hart.get(MIE) & hart.get(MIDELEG),
        0x144 => trap::pending(hart) & hart.get(MIDELEG),
        0x10a => hart.get(SENVCFG),
        0x14d => hart.get(STIMECMP),
        0x180 => hart.get(SATP),
        0xf14 => hart.get(MHARTID),
        0x300 => hart.get(MSTATUS),
        0x301 => hart.get(MISA),
        0x303 => hart.get(MIDELEG),
        0x304 => hart.get(MIE),
        0x30a => hart.get(MENVCFG),
        0x320 => hart.get(MCOUNTINHIBIT),
        0x344 => trap::pending(hart),
        0x3a0 => hart.get(PMPCFG0),
        0x3a2 => hart.get(PMPCFG2),
        0x3a4..=0x3ae if number & 1 == 0 => 0,
        0x3b0..=0x3bf => read_pmpaddr(hart, number - 0x3b0),
        0x3c0..=0x3ef => 0,
        _ => match find(number)?.kind {
            Kind::Plain(slot, _) => hart.get(slot),
            Kind::Fixed(value) => value,
            Kind::Special => return None,
        },
    })
}

/// With a grain above 4 bytes, low bits read as ones (NAPOT) or zeros (priv 3.7.1.2).
fn read_pmpaddr(hart: &dyn Hart, i: u16) -> u64 {
    let value = hart.get(PMPADDR + i);
    if pmp::config(hart, i) >> 3 & 2 != 0 {
        value | ((1 << (pmp::GRAIN - 1)) - 1)
    } else {
        value & !((1 << pmp::GRAIN) - 1)
    }
}

fn write_whole(hart: &dyn Hart, number: u16, value: u64) -> Option<()> {
    match number {
        0x001..=0x003 => write_fp(hart, number, value),
        0x100 => write_status(hart, hart.get(MSTATUS) & !sstatus_mask() | value & sstatus_mask()),
        0x104 => {
            let mask = hart.get(MIDELEG);
            write_interrupts(hart, MIE, hart.get(MIE) & !mask | value & mask & trap::irq::S);
        }
        0x144 => {
            let mask = hart.get(MIDELEG) & trap::irq::SSIP;
            write_interrupts(hart, MIP, hart.get(MIP) & !mask | value & mask);
        }
        0x344 => write_interrupts(hart, MIP, value & trap::irq::S),
        0x304 => write_interrupts(hart, MIE, value & trap::irq::ALL),
        0x303 => write_interrupts(hart, MIDELEG, value & trap::irq::S),
        0x14d => {
            hart.set(STIMECMP, value);
            hart.set_timer(trap::deadline(hart));
        }
        0x180 => write_satp(hart, value),
        0x300 => write_status(hart, value),
        0x301 | 0xb03..=0xb1f | 0x323..=0x33f | 0x3c0..=0x3ef => {}
        0x10a => hart.set(SENVCFG, value & 0xf1),
        0x30a => {
            hart.set(MENVCFG, value & (trap::STCE | trap::ADUE | 0xf1));
            hart.flush(Flush::All);
            hart.set_timer(trap::deadline(hart));
        }
        0x320 => hart.set(MCOUNTINHIBIT, 0),
        0xb00 => hart.set(MCYCLE, value.wrapping_sub(hart.count() + 1)),
        0xb02 => hart.set(MINSTRET, value.wrapping_sub(hart.count() + 1)),
        0x3a0 => write_pmpcfg(hart, PMPCFG0, 0, value),
        0x3a2 => write_pmpcfg(hart, PMPCFG2, 8, value),
        0x3a4..=0x3ae if number & 1 == 0 => {}
        0x3b0..=0x3bf => write_pmpaddr(hart, number - 0x3b0, value),
        _ => match find(number)?.kind {
            Kind::Plain(slot, mask) => hart.set(slot, value & mask),
            Kind::Fixed(_) => {}
            Kind::Special => return None,
        },
    }
    Some(())
}

fn write_fp(hart: &dyn Hart, number: u16, value: u64) {
    hart.harvest_fp();
    if number & 1 != 0 {
        hart.set(FFLAGS, value & 31);
    }
    if number & 2 != 0 {
        hart.set(FRM, if number == 2 { value } else { value >> 5 } & 7);
    }
    hart.set(MSTATUS, dirty_fs(hart.get(MSTATUS)));
    hart.load_fp();
    hart.mode_changed();
}

/// Writes `mstatus`, except read-only bits.
fn write_status(hart: &dyn Hart, value: u64) {
    use mstatus::*;
    let old = hart.get(MSTATUS);
    let mask = SIE | MIE | SPIE | MPIE | SPP | MPP | FS | MPRV | SUM | MXR | TVM | TW | TSR;
    let mut new = old & !(mask | SD) | value & mask;
    if new & MPP == 2 << 11 {
        new = new & !MPP | old & MPP;
    }
    if new & FS == FS {
        new |= SD;
    }
    hart.set(MSTATUS, new);
    if (old ^ new) & MXR != 0 {
        hart.flush(Flush::All);
    }
    hart.mode_changed();
    if trap::interrupt(hart).is_some() {
        hart.recheck();
    }
}

fn write_interrupts(hart: &dyn Hart, slot: u16, value: u64) {
    hart.set(slot, value);
    if trap::interrupt(hart).is_some() {
        hart.recheck();
    }
}

fn write_satp(hart: &dyn Hart, value: u64) {
    let old = hart.get(SATP);
    if !mmu::satp_valid(value, rv32(hart)) || old == value {
        return;
    }
    hart.set(SATP, value);
    // Only a change between paging and bare, or of the scheme, affects global mappings.
    let same = old >> 60 == value >> 60 && !rv32(hart);
    hart.flush(if same { Flush::AddressSpace(value) } else { Flush::All });
}

fn write_pmpcfg(hart: &dyn Hart, slot: u16, first: u16, value: u64) {
    let mut new = hart.get(slot);
    for i in 0..8 {
        if pmp::locked(hart, first + i) {
            continue;
        }
        let mut cfg = (value >> (8 * i)) as u8 & 0x9f;
        if cfg & 3 == 2 {
            cfg &= !2; // W without R is reserved
        }
        if cfg >> 3 & 3 == 2 {
            // NA4 cannot be selected if the grain is larger (priv 3.7.1.2).
            cfg = cfg & !0x18 | pmp::config(hart, first + i) & 0x18;
        }
        new = new & !(0xff << (8 * i)) | (cfg as u64) << (8 * i);
    }
    hart.set(slot, new);
    hart.flush(Flush::All);
}

fn write_pmpaddr(hart: &dyn Hart, i: u16, value: u64) {
    let next_locks =
        i + 1 < PMP_ENTRIES && pmp::locked(hart, i + 1) && pmp::config(hart, i + 1) >> 3 & 3 == 1;
    if pmp::locked(hart, i) || next_locks {
        return;
    }
    hart.set(PMPADDR + i, value & pmp::ADDR_MASK);
    hart.flush(Flush::All);
}
