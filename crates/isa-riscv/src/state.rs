//! The slots that make up a hart, and what translations depend on.

use std::cell::Cell;
use trine_base::RegisterInfo;

/// Number of state slots.
pub const SLOTS: usize = 192;

macro_rules! slots {
    ($($(#[$doc:meta])* $name:ident $n:literal $text:literal;)*) => {
        $($(#[$doc])* pub const $name: u16 = $n;)*
        /// The slots besides `x` and `f` that are architectural registers.
        pub const SYSTEM: &[RegisterInfo] = &[$(RegisterInfo { name: $text, slot: $n, bits: 64 }),*];
    };
}

/// Slot of integer register 0; the others follow.
pub const X: u16 = 0;
/// Slot of floating-point register 0; the others follow.
pub const F: u16 = 32;
/// The slot for writes to `x0`.
pub const DUMP: u16 = 191;

slots! {
    /// Accrued exceptions (unpriv 20.2).
    FFLAGS 64 "fflags";
    /// Rounding mode (unpriv 20.2).
    FRM 65 "frm";
    /// Privilege level: 0 U, 1 S, 3 M.
    PRIV 66 "priv";
    /// Address of the reservation made by `lr`; all ones if there is none.
    RES_ADDR 67 "res_addr";
    /// Value that `lr` loaded.
    RES_VALUE 68 "res_value";
    /// Machine status.
    MSTATUS 69 "mstatus";
    /// Machine ISA.
    MISA 70 "misa";
    /// Exceptions delegated to S.
    MEDELEG 71 "medeleg";
    /// Interrupts delegated to S.
    MIDELEG 72 "mideleg";
    /// Interrupt enables.
    MIE 73 "mie";
    /// Interrupts pending by software (SSIP, STIP, SEIP).
    MIP 74 "mip";
    /// Machine trap vector.
    MTVEC 75 "mtvec";
    /// Counters visible to S.
    MCOUNTEREN 76 "mcounteren";
    /// Machine scratch.
    MSCRATCH 77 "mscratch";
    /// Machine exception PC.
    MEPC 78 "mepc";
    /// Machine cause.
    MCAUSE 79 "mcause";
    /// Machine trap value.
    MTVAL 80 "mtval";
    /// Machine environment configuration.
    MENVCFG 81 "menvcfg";
    /// Counters that are stopped.
    MCOUNTINHIBIT 82 "mcountinhibit";
    /// `mcycle` minus the instructions executed.
    MCYCLE 83 "mcycle_offset";
    /// `minstret` minus the instructions executed.
    MINSTRET 84 "minstret_offset";
    /// Supervisor trap vector.
    STVEC 85 "stvec";
    /// Counters visible to U.
    SCOUNTEREN 86 "scounteren";
    /// Supervisor environment configuration.
    SENVCFG 87 "senvcfg";
    /// Supervisor scratch.
    SSCRATCH 88 "sscratch";
    /// Supervisor exception PC.
    SEPC 89 "sepc";
    /// Supervisor cause.
    SCAUSE 90 "scause";
    /// Supervisor trap value.
    STVAL 91 "stval";
    /// Address translation and protection.
    SATP 92 "satp";
    /// Supervisor timer compare (Sstc).
    STIMECMP 93 "stimecmp";
    /// Hart number.
    MHARTID 94 "mhartid";
    /// 1 if the board itself is the M-mode firmware.
    FIRMWARE 95 "firmware";
    /// PMP configuration, eight entries a slot.
    PMPCFG0 96 "pmpcfg0";
    /// PMP configuration, entries 8 to 15.
    PMPCFG2 97 "pmpcfg2";
}

/// The slots of everything except the integer and floating-point registers.
pub const SYSTEM_SLOTS: &[u16] = &{
    let mut slots = [0; (PMPADDR + PMP_ENTRIES - FFLAGS) as usize];
    let mut i = 0;
    while i < slots.len() {
        slots[i] = FFLAGS + i as u16;
        i += 1;
    }
    slots
};

/// Slot of `pmpaddr0`; the other 15 follow.
pub const PMPADDR: u16 = 104;
/// PMP entries implemented.
pub const PMP_ENTRIES: u16 = 16;

/// Privilege levels (priv 1.2).
pub mod level {
    /// User.
    pub const U: u64 = 0;
    /// Supervisor.
    pub const S: u64 = 1;
    /// Machine.
    pub const M: u64 = 3;
}

/// Fields of `mstatus` (priv 3.1.6).
pub mod mstatus {
    #![allow(missing_docs)]
    pub const SIE: u64 = 1 << 1;
    pub const MIE: u64 = 1 << 3;
    pub const SPIE: u64 = 1 << 5;
    pub const UBE: u64 = 1 << 6;
    pub const MPIE: u64 = 1 << 7;
    pub const SPP: u64 = 1 << 8;
    pub const VS: u64 = 3 << 9;
    pub const MPP: u64 = 3 << 11;
    pub const FS: u64 = 3 << 13;
    pub const MPRV: u64 = 1 << 17;
    pub const SUM: u64 = 1 << 18;
    pub const MXR: u64 = 1 << 19;
    pub const TVM: u64 = 1 << 20;
    pub const TW: u64 = 1 << 21;
    pub const TSR: u64 = 1 << 22;
    pub const UXL: u64 = 3 << 32;
    pub const SXL: u64 = 3 << 34;
    pub const SD: u64 = 1 << 63;
}

/// What a translation depends on besides its bytes, packed in a word: privilege level, data
/// regime, whether floating point is off, and `frm`.
pub mod mode {
    use super::{FRM, MSTATUS, PRIV, level, mstatus};
    use std::cell::Cell;

    /// Regime of user accesses.
    pub const REGIME_U: usize = 0;
    /// Regime of supervisor accesses.
    pub const REGIME_S: usize = 1;
    /// Regime of supervisor accesses with `SUM` set.
    pub const REGIME_SUM: usize = 2;
    /// Regime of machine accesses.
    pub const REGIME_M: usize = 3;
    /// Number of regimes.
    pub const REGIMES: usize = 4;

    const REGIME: u32 = 2;
    const FS: u32 = 4;
    const FRM_AT: u32 = 6;

    /// Packs the mode of a hart.
    pub fn pack(slots: &[Cell<u64>]) -> u32 {
        let status = slots[MSTATUS as usize].get();
        let now = slots[PRIV as usize].get();
        let mprv = now == level::M && status & mstatus::MPRV != 0;
        let data = if mprv { (status & mstatus::MPP) >> 11 } else { now };
        let regime = match data {
            level::U => REGIME_U,
            level::S if status & mstatus::SUM != 0 => REGIME_SUM,
            level::S => REGIME_S,
            _ => REGIME_M,
        };
        let fs = match (status & mstatus::FS) >> 13 {
            0 => 0,
            3 => 2,
            _ => 1,
        };
        let frm = (slots[FRM as usize].get() & 7) as u32;
        now as u32 | (regime as u32) << REGIME | fs << FS | frm << FRM_AT
    }

    /// Privilege level.
    #[inline(always)]
    pub fn level(mode: u32) -> u64 {
        (mode & 3) as u64
    }
    /// The privilege level's letter in the manual.
    pub fn privilege(mode: u32) -> &'static str {
        match level(mode) {
            level::U => "U",
            level::S => "S",
            _ => "M",
        }
    }
    /// Regime of loads and stores.
    #[inline(always)]
    pub fn data_regime(mode: u32) -> usize {
        (mode >> REGIME & 3) as usize
    }
    /// Regime of instruction fetches.
    #[inline(always)]
    pub fn fetch_regime(mode: u32) -> usize {
        match level(mode) {
            level::U => REGIME_U,
            level::S => REGIME_S,
            _ => REGIME_M,
        }
    }
    /// The regimes in which a debugger looks for an address, one after the other: that of the current accesses, then those
    /// with the same page tables. Machine accesses have none.
    pub fn debug_regime(mode: u32, n: usize) -> Option<usize> {
        match (data_regime(mode), fetch_regime(mode)) {
            (REGIME_M, _) => [REGIME_M].get(n).copied(),
            (data, REGIME_M) => [data, REGIME_U, REGIME_SUM, REGIME_M].get(n).copied(),
            (data, _) => [data, REGIME_U, REGIME_SUM].get(n).copied(),
        }
    }
    /// Whether `mstatus.FS` is Off.
    #[inline(always)]
    pub fn fp_off(mode: u32) -> bool {
        mode >> FS & 3 == 0
    }
    /// Whether `mstatus.FS` is Dirty already.
    #[inline(always)]
    pub fn fp_dirty(mode: u32) -> bool {
        mode >> FS & 3 == 2
    }
    /// The rounding mode in `frm`.
    #[inline(always)]
    pub fn frm(mode: u32) -> u8 {
        (mode >> FRM_AT & 7) as u8
    }
    /// Whether `frm` is a reserved value.
    #[inline(always)]
    pub fn frm_invalid(mode: u32) -> bool {
        mode >> FRM_AT & 7 > 4
    }
}

/// The state of a hart.
pub struct Slots(pub [Cell<u64>; SLOTS]);

impl AsRef<[Cell<u64>]> for Slots {
    #[inline(always)]
    fn as_ref(&self) -> &[Cell<u64>] {
        &self.0
    }
}

/// ABI names of the integer registers.
pub const X_NAMES: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6",
    "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
];

/// ABI names of the floating-point registers.
pub const F_NAMES: [&str; 32] = [
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2", "fa3", "fa4",
    "fa5", "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "ft8",
    "ft9", "ft10", "ft11",
];

const PMPADDR_NAMES: [&str; 16] = [
    "pmpaddr0",
    "pmpaddr1",
    "pmpaddr2",
    "pmpaddr3",
    "pmpaddr4",
    "pmpaddr5",
    "pmpaddr6",
    "pmpaddr7",
    "pmpaddr8",
    "pmpaddr9",
    "pmpaddr10",
    "pmpaddr11",
    "pmpaddr12",
    "pmpaddr13",
    "pmpaddr14",
    "pmpaddr15",
];

const COUNT: usize = 64 + SYSTEM.len() + 16;

/// All architectural registers.
pub const REGISTERS: &[RegisterInfo] = &{
    let mut all = [RegisterInfo { name: "", slot: 0, bits: 64 }; COUNT];
    let mut i = 0;
    while i < 32 {
        all[i] = RegisterInfo { name: X_NAMES[i], slot: i as u16, bits: 64 };
        all[32 + i] = RegisterInfo { name: F_NAMES[i], slot: F + i as u16, bits: 64 };
        i += 1;
    }
    i = 0;
    while i < SYSTEM.len() {
        all[64 + i] = SYSTEM[i];
        i += 1;
    }
    i = 0;
    while i < 16 {
        all[64 + SYSTEM.len() + i] =
            RegisterInfo { name: PMPADDR_NAMES[i], slot: PMPADDR + i as u16, bits: 64 };
        i += 1;
    }
    all
};
