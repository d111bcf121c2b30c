//! The slots that make up a CPU, and what translations depend on.

use std::cell::Cell;
use trine_base::RegisterInfo;

/// Number of state slots.
pub const SLOTS: usize = 192;

/// Slot of RAX; RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15 follow, as encodings number them.
pub const GPR: u16 = 0;
/// Numbers of general registers.
pub mod gpr {
    #![allow(missing_docs)]
    pub const RAX: u16 = 0;
    pub const RCX: u16 = 1;
    pub const RDX: u16 = 2;
    pub const RBX: u16 = 3;
    pub const RSP: u16 = 4;
    pub const RBP: u16 = 5;
    pub const RSI: u16 = 6;
    pub const RDI: u16 = 7;
    pub const R8: u16 = 8;
    pub const R11: u16 = 11;
}
/// Slot of XMM0's lower half; its upper half and the other registers follow.
pub const XMM: u16 = 64;
/// Slot of the lower half of YMM0's upper part, as [`XMM`].
pub const YMM_HIGH: u16 = 96;
/// Slot of the significand of x87 register 0 (its physical number); its sign and exponent follow, then the other registers.
/// MMX registers are the significands.
pub const X87: u16 = 128;
/// Slot of the base of ES; CS, SS, DS, FS, GS follow.
pub const BASE: u16 = 144;
/// Slot of the selector of ES; CS, SS, DS, FS, GS follow.
pub const SELECTOR: u16 = 150;

/// Numbers of segment registers.
pub mod segment {
    #![allow(missing_docs)]
    pub const ES: u8 = 0;
    pub const CS: u8 = 1;
    pub const SS: u8 = 2;
    pub const DS: u8 = 3;
    pub const FS: u8 = 4;
    pub const GS: u8 = 5;
}

macro_rules! slots {
    ($($(#[$doc:meta])* $name:ident $n:literal $text:literal;)*) => {
        $($(#[$doc])* pub const $name: u16 = $n;)*
        /// The slots that are neither general nor vector registers nor segments.
        pub const SYSTEM: &[RegisterInfo] = &[$(RegisterInfo { name: $text, slot: $n, bits: 64 }),*];
    };
}

slots! {
    /// What wrote the condition flags last: see [`crate::flags`].
    CC_OP 16 "cc_op";
    /// First operand of that.
    CC_A 17 "cc_a";
    /// Second operand of that.
    CC_B 18 "cc_b";
    /// Carry-in of that.
    CC_C 19 "cc_c";
    /// What wrote the carry flag, if that was something else.
    CF_OP 20 "cf_op";
    /// First operand of that.
    CF_A 21 "cf_a";
    /// Second operand of that.
    CF_B 22 "cf_b";
    /// EFLAGS without the condition flags.
    EFLAGS 23 "eflags_system";
    /// Control and status of SSE (SDM volume 1, 10.2.3).
    MXCSR 24 "mxcsr";
    /// x87 control word.
    FCW 25 "fcw";
    /// x87 status word, with the top of the stack.
    FSW 26 "fsw";
    /// Bit `n`: x87 register `n` is empty.
    FEMPTY 27 "fempty";
    /// Opcode of the last x87 instruction.
    FOP 28 "fop";
    /// Address of the last x87 instruction.
    FIP 29 "fip";
    /// Address of the last x87 operand.
    FDP 30 "fdp";
    /// What code runs: bits [`code`].
    CODE 31 "code";
    /// Extended control register 0: the state that XSAVE manages.
    XCR0 32 "xcr0";
    /// IA32_TSC_AUX: what RDTSCP and RDPID read.
    TSC_AUX 33 "tsc_aux";
    /// Number of the model, of which CPUID tells.
    MODEL 34 "model";
}

/// Bits of [`CODE`].
pub mod code {
    /// 64-bit mode.
    pub const LONG: u64 = 1;
    /// Operands and addresses have 32 bits by default, outside 64-bit mode.
    pub const D32: u64 = 2;
    /// The bases of ES, CS, SS and DS are 0.
    pub const FLAT: u64 = 4;
}

/// EFLAGS (SDM volume 1, 3.4.3).
pub mod eflags {
    #![allow(missing_docs)]
    pub const CF: u64 = 1;
    pub const PF: u64 = 1 << 2;
    pub const AF: u64 = 1 << 4;
    pub const ZF: u64 = 1 << 6;
    pub const SF: u64 = 1 << 7;
    pub const TF: u64 = 1 << 8;
    pub const IF: u64 = 1 << 9;
    pub const DF: u64 = 1 << 10;
    pub const OF: u64 = 1 << 11;
    pub const IOPL: u64 = 3 << 12;
    pub const NT: u64 = 1 << 14;
    pub const RF: u64 = 1 << 16;
    pub const VM: u64 = 1 << 17;
    pub const AC: u64 = 1 << 18;
    pub const ID: u64 = 1 << 21;
    /// The flags that [`crate::flags`] keeps.
    pub const CONDITION: u64 = CF | PF | AF | ZF | SF | OF;
    /// The bit that is always 1.
    pub const FIXED: u64 = 2;
}

/// Bits of [`MXCSR`] (SDM volume 1, 10.2.3).
pub mod mxcsr {
    /// Denormal operands count as zeros.
    pub const DAZ: u64 = 1 << 6;
    /// Overflow is masked.
    pub const OM: u64 = 1 << 10;
    /// Underflow is masked.
    pub const UM: u64 = 1 << 11;
    /// Tiny results become zeros, if underflow is masked.
    pub const FTZ: u64 = 1 << 15;
    /// The bits that exist.
    pub const ALL: u64 = 0xffff;
}

/// What a translation depends on besides its bytes.
pub mod mode {
    use super::{CODE, EFLAGS, MXCSR, code, eflags};
    use std::cell::Cell;
    use trine_ir::fp::MXCSR_FLAGS;

    /// Set if addresses decrease in string instructions.
    pub const DOWN: u32 = 8;
    /// Set if an SSE exception is not masked: floating point is interpreted.
    pub const FP_TRAPS: u32 = 16;
    const ROUNDING: u32 = 5;

    /// Packs the mode of a CPU.
    pub fn pack(slots: &[Cell<u64>]) -> u32 {
        let get = |slot: u16| slots.get(slot as usize).map_or(0, Cell::get);
        let mut mode = get(CODE) as u32 & 7;
        if get(EFLAGS) & eflags::DF != 0 {
            mode |= DOWN;
        }
        let mxcsr = get(MXCSR) as u32;
        if mxcsr >> 7 & MXCSR_FLAGS != MXCSR_FLAGS {
            mode |= FP_TRAPS;
        }
        mode | (mxcsr >> 13 & 3) << ROUNDING
    }

    /// 64-bit mode.
    #[inline(always)]
    pub fn long(mode: u32) -> bool {
        mode as u64 & code::LONG != 0
    }
    /// Operands and addresses have 32 bits by default.
    #[inline(always)]
    pub fn code32(mode: u32) -> bool {
        mode as u64 & code::D32 != 0
    }
    /// The bases of ES, CS, SS and DS are 0.
    #[inline(always)]
    pub fn flat(mode: u32) -> bool {
        mode as u64 & (code::FLAT | code::LONG) != 0
    }
    /// Rounding control of MXCSR.
    #[inline(always)]
    pub fn rounding(mode: u32) -> u32 {
        mode >> ROUNDING & 3
    }
}

/// Vectors of exceptions (SDM volume 3, 7.3.1).
pub mod vector {
    #![allow(missing_docs)]
    pub const DE: u64 = 0;
    pub const DB: u64 = 1;
    pub const BP: u64 = 3;
    pub const OF: u64 = 4;
    pub const BR: u64 = 5;
    pub const UD: u64 = 6;
    pub const NM: u64 = 7;
    pub const SS: u64 = 12;
    pub const GP: u64 = 13;
    pub const PF: u64 = 14;
    pub const MF: u64 = 16;
    pub const AC: u64 = 17;
    pub const XM: u64 = 19;
    /// `int 0x80` and other software interrupts: this plus their number.
    pub const SOFTWARE: u64 = 0x100;
    /// `syscall`.
    pub const SYSCALL: u64 = 0x200;
    /// `sysenter`.
    pub const SYSENTER: u64 = 0x201;
    /// A segment register is to be loaded: see [`crate::insn::system::mov_to_segment`].
    pub const LOAD_SEGMENT: u64 = 0x202;
}

macro_rules! registers {
    ($($n:literal $name:literal;)*) => {
        /// The general registers.
        pub const GENERAL: &[RegisterInfo] = &[$(RegisterInfo { name: $name, slot: GPR + $n, bits: 64 }),*];
    };
}
registers! {
    0 "rax"; 1 "rcx"; 2 "rdx"; 3 "rbx"; 4 "rsp"; 5 "rbp"; 6 "rsi"; 7 "rdi";
    8 "r8"; 9 "r9"; 10 "r10"; 11 "r11"; 12 "r12"; 13 "r13"; 14 "r14"; 15 "r15";
}

macro_rules! vectors {
    ($($n:literal)*) => {
        /// The halves of vector registers, the lowest first.
        pub const VECTORS: &[RegisterInfo] = &[$(
            RegisterInfo { name: concat!("ymm", $n, ".0"), slot: XMM + 2 * $n, bits: 64 },
            RegisterInfo { name: concat!("ymm", $n, ".1"), slot: XMM + 2 * $n + 1, bits: 64 },
            RegisterInfo { name: concat!("ymm", $n, ".2"), slot: YMM_HIGH + 2 * $n, bits: 64 },
            RegisterInfo { name: concat!("ymm", $n, ".3"), slot: YMM_HIGH + 2 * $n + 1, bits: 64 },
        )*];
    };
}
vectors! { 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 }

macro_rules! stack {
    ($($n:literal)*) => {
        /// The x87 registers by their physical numbers.
        pub const X87_REGISTERS: &[RegisterInfo] = &[$(
            RegisterInfo { name: concat!("fpr", $n, ".significand"), slot: X87 + 2 * $n, bits: 64 },
            RegisterInfo { name: concat!("fpr", $n, ".exponent"), slot: X87 + 2 * $n + 1, bits: 16 },
        )*];
    };
}
stack! { 0 1 2 3 4 5 6 7 }

macro_rules! segments {
    ($($n:literal $name:literal;)*) => {
        /// Bases and selectors of segments.
        pub const SEGMENTS: &[RegisterInfo] = &[$(
            RegisterInfo { name: concat!($name, "_base"), slot: BASE + $n, bits: 64 },
            RegisterInfo { name: $name, slot: SELECTOR + $n, bits: 16 },
        )*];
    };
}
segments! { 0 "es"; 1 "cs"; 2 "ss"; 3 "ds"; 4 "fs"; 5 "gs"; }

const COUNT: usize = GENERAL.len() + SYSTEM.len() + VECTORS.len() + X87_REGISTERS.len() + SEGMENTS.len();

/// All registers, each one slot.
pub const REGISTERS: &[RegisterInfo] = &{
    let mut all = [GENERAL[0]; COUNT];
    let lists = [GENERAL, SYSTEM, VECTORS, X87_REGISTERS, SEGMENTS];
    let (mut list, mut to) = (0, 0);
    while list < lists.len() {
        let mut from = 0;
        while from < lists[list].len() {
            all[to] = lists[list][from];
            (from, to) = (from + 1, to + 1);
        }
        list += 1;
    }
    all
};

/// Number of the view of EFLAGS as a whole.
pub const WHOLE_EFLAGS: u16 = SLOTS as u16;
/// Number of the view of XMM0; the others follow.
pub const WHOLE_XMM: u16 = WHOLE_EFLAGS + 1;

macro_rules! views {
    ($($n:literal)*) => {
        /// Registers that are not one slot each.
        pub const VIEWS: &[RegisterInfo] = &[
            RegisterInfo { name: "eflags", slot: WHOLE_EFLAGS, bits: 32 },
            $(RegisterInfo { name: concat!("xmm", $n), slot: WHOLE_XMM + $n, bits: 128 },)*
        ];
    };
}
views! { 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 }

/// The slots of one CPU.
#[repr(C, align(64))]
pub struct Slots(pub [Cell<u64>; SLOTS]);

impl AsRef<[Cell<u64>]> for Slots {
    fn as_ref(&self) -> &[Cell<u64>] {
        &self.0
    }
}
