//! The slots that make up the CPU.

use std::cell::Cell;
use trine_base::RegisterInfo;

/// Number of state slots.
pub const SLOTS: usize = 48;

/// Slot of register 0; the other seven follow. Their values have 16 bits.
pub const R: u16 = 0;
/// The register that `call` leaves the return address in.
pub const LINK: u8 = 6;
/// Slot of the first half of vector register 0, the one at the lower address in memory; the other halves follow.
pub const VR: u16 = 32;

macro_rules! registers {
    (r: $($r:literal)*; v: $($v:literal)*; $($(#[$doc:meta])* $name:ident $slot:literal $text:literal $bits:literal;)*) => {
        $($(#[$doc])* pub const $name: u16 = $slot;)*
        /// All registers.
        pub const REGISTERS: &[RegisterInfo] = &[
            $(RegisterInfo { name: $text, slot: $slot, bits: $bits },)*
            $(RegisterInfo { name: concat!("r", $r), slot: R + $r, bits: 16 },)*
            $(
                RegisterInfo { name: concat!("v", $v, ".0"), slot: VR + 2 * $v, bits: 64 },
                RegisterInfo { name: concat!("v", $v, ".1"), slot: VR + 2 * $v + 1, bits: 64 },
            )*
        ];
    };
}
/// Number of the view of the condition codes as one register: bit 0 [`C`], 1 [`OV`], 2 [`Z`], 3 [`N`].
pub const CCR: u16 = SLOTS as u16;
/// Number of the view of vector register 0 as a whole; the others follow.
pub const WHOLE_VR: u16 = CCR + 1;

/// The condition codes, from bit 0 of [`CCR`] on.
pub const CODES: [u16; 4] = [C, OV, Z, N];

/// Registers that are not one slot each.
pub const VIEWS: &[RegisterInfo] = &[
    RegisterInfo { name: "ccr", slot: CCR, bits: 8 },
    RegisterInfo { name: "v0", slot: WHOLE_VR, bits: 128 },
    RegisterInfo { name: "v1", slot: WHOLE_VR + 1, bits: 128 },
    RegisterInfo { name: "v2", slot: WHOLE_VR + 2, bits: 128 },
    RegisterInfo { name: "v3", slot: WHOLE_VR + 3, bits: 128 },
];

registers! {
    r: 0 1 2 3 4 5 6 7;
    v: 0 1 2 3;
    /// Condition code: the result is negative.
    N 8 "n" 1;
    /// Condition code: the result is zero.
    Z 9 "z" 1;
    /// Condition code: a carry out of the sum, or a borrow into the difference.
    C 10 "c" 1;
    /// Condition code: signed overflow.
    OV 11 "v" 1;
    /// The linear address of program counter 0.
    CB 12 "cb" 32;
    /// The linear address of data address 0.
    DB 13 "db" 64;
    /// Program counter of the handler of traps, at code base 0, in system mode.
    VEC 14 "vec" 16;
    /// Program counter before the trap.
    EPC 15 "epc" 16;
    /// Code base before the trap.
    ECB 16 "ecb" 32;
    /// Number of the trap.
    CAUSE 17 "cause" 16;
    /// Address that a fault concerns.
    BAD 18 "bad" 64;
    /// 1 in user mode.
    USER 19 "user" 1;
    /// Before the trap: bit 0 [`USER`], bit 1 [`IE`], bit 2 [`STEP`].
    ESTATUS 20 "estatus" 3;
    /// Physical address of the table of user pages.
    PT 21 "pt" 32;
    /// 1 if interrupts are taken.
    IE 22 "ie" 1;
    /// 1 if there is no system below: traps end the run.
    HOSTED 23 "hosted" 1;
    /// 1 if every instruction is followed by a trap.
    STEP 24 "step" 1;
    /// 1 while the CPU waits for an interrupt.
    HALT 25 "halt" 1;
}

/// The slots of one CPU.
#[repr(C, align(64))]
pub struct Slots(pub [Cell<u64>; SLOTS]);

impl AsRef<[Cell<u64>]> for Slots {
    fn as_ref(&self) -> &[Cell<u64>] {
        &self.0
    }
}

/// What translations depend on: whether the CPU is in user mode.
pub mod mode {
    /// Set in user mode.
    pub const USER: u32 = 1;
    /// Regime of system mode: linear addresses are physical.
    pub const REGIME_SYSTEM: usize = 0;
    /// Regime of user mode: linear addresses go through the table of pages.
    pub const REGIME_USER: usize = 1;
}

/// Numbers of traps.
pub mod cause {
    /// Not an instruction.
    pub const ILLEGAL: u64 = 1;
    /// A user page that is not present, or does not allow the access.
    pub const PAGE: u64 = 2;
    /// A privileged instruction in user mode.
    pub const PRIVILEGE: u64 = 3;
    /// An undefined quotient.
    pub const DIVIDE: u64 = 4;
    /// An atomic access at an odd address.
    pub const ALIGNMENT: u64 = 6;
    /// A debugger's breakpoint.
    pub const BREAKPOINT: u64 = 5;
    /// The input of interrupts.
    pub const INTERRUPT: u64 = 8;
    /// An instruction was executed while [`super::STEP`] was set.
    pub const STEP: u64 = 9;
    /// `trap 0`; the others follow.
    pub const TRAP: u64 = 16;
}
