//! The two CPUs of this crate, RV64 and RV32, as [`Isa`]s. They share every row and body.

use crate::insn::fp::Fcsr;
use crate::state::{self, Slots, level, mode, mstatus};
use crate::sys::{mmu, trap};
use crate::table::{self, is_long};
use crate::{asm, debug, extensions};
use std::cell::Cell;
use trine_base::RegisterInfo;
use trine_base::target::Target;
use trine_ir::{
    Access, Bytes, CodeSpace, Count, DecodeError, Decoded, Hart, Int, Isa, Mapping, Operands, Res, Row, Sem,
    Trap,
};

/// Configuration of a hart.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// `mhartid`.
    pub hart: u64,
    /// Where the hart starts, and what runs below it.
    pub start: Start,
}

/// Where a hart starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// In M mode, as after reset.
    Machine,
    /// In S mode; the board itself is the M-mode firmware, and traps that are not delegated end
    /// [`trine_base::Vcpu::run`].
    Supervisor,
    /// In U mode; every trap ends [`trine_base::Vcpu::run`].
    User,
}

/// Width of the integer registers.
pub trait Xlen: Isa<Operands = Operands> {
    /// The unsigned integer of that width.
    type W: Int;
    /// Decodes an instruction word.
    fn decode(word: u32) -> Option<(Row, Operands)>;
    /// `misa`.
    const MISA: u64;
    /// The bits of a program counter.
    const PC_MASK: u64;
}

/// S and U modes, and B, which stands for Zba, Zbb and Zbs, besides what programs see.
const EXTENSIONS: u64 = extensions::letters() | 1 << (b'S' - b'A') | 1 << (b'U' - b'A') | 1 << (b'B' - b'A');

/// RV64GC with the extensions of [`table`].
pub struct Rv64;
/// RV32GC with the extensions of [`table`].
pub struct Rv32;

impl Xlen for Rv64 {
    type W = u64;
    fn decode(word: u32) -> Option<(Row, Operands)> {
        table::decode64(word)
    }
    const MISA: u64 = 2 << 62 | EXTENSIONS;
    const PC_MASK: u64 = u64::MAX;
}

impl Xlen for Rv32 {
    type W = u32;
    fn decode(word: u32) -> Option<(Row, Operands)> {
        table::decode32(word)
    }
    const MISA: u64 = 1 << 30 | EXTENSIONS;
    const PC_MASK: u64 = 0xffff_ffff;
}

/// sp and a0 to a5.
const PINNED: &[u16] = &[2, 10, 11, 12, 13, 14, 15];
/// `sp` and `s0`, which is also `fp`.
const FRAME_BASES: &[u16] = &[2, 8];

/// Power-on state (priv 3.4).
fn power_on(config: &Config, misa: u64) -> Slots {
    let slots = Slots([const { Cell::new(0) }; state::SLOTS]);
    let set = |slot: u16, value: u64| slots.0[slot as usize].set(value);
    set(state::MISA, misa);
    set(state::MHARTID, config.hart);
    set(state::RES_ADDR, u64::MAX);
    set(state::PRIV, level::M);
    set(state::STIMECMP, u64::MAX);
    if misa >> 63 != 0 {
        set(state::MSTATUS, (2 << 32) | (2 << 34));
    }
    match config.start {
        Start::Machine => {}
        Start::Supervisor => trap::start_supervisor(&slots.0),
        Start::User => trap::start_user(&slots.0),
    }
    slots
}

/// The instruction that starts with these bytes: 16 bits of them, or 32 for a long one.
fn word(bytes: &Bytes) -> u32 {
    let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    if is_long(word) { word } else { word & 0xffff }
}

macro_rules! isa {
    ($name:ident) => {
        impl Isa for $name {
            type Slots = Slots;
            type Config = Config;
            type Operands = Operands;
            type Regimes = Count<{ mode::REGIMES }>;
            type Fp = Fcsr;
            const REGISTERS: &'static [RegisterInfo] = state::REGISTERS;
            const PINNED: &'static [u16] = PINNED;
            const FRAME_BASES: &'static [u16] = FRAME_BASES;
            const MAX_BYTES: u64 = 4;
            const WATCH_STOPS_BEFORE: bool = true;

            fn slots(config: &Config) -> Slots {
                power_on(config, <$name as Xlen>::MISA)
            }
            fn mode(slots: &[Cell<u64>]) -> u32 {
                mode::pack(slots)
            }
            fn data_regime(m: u32) -> usize {
                mode::data_regime(m)
            }
            fn fetch_regime(m: u32) -> usize {
                mode::fetch_regime(m)
            }
            #[inline(always)]
            fn code_space(_: u32) -> CodeSpace {
                CodeSpace { mask: <$name as Xlen>::PC_MASK, base: None }
            }
            fn decode(_: &Config, _: u32, bytes: &Bytes, have: usize) -> Result<Decoded<Self>, DecodeError> {
                let word = word(bytes);
                let length = if is_long(word) { 4 } else { 2 };
                if have < length {
                    return Err(DecodeError::More);
                }
                let (row, operands) = <$name as Xlen>::decode(word).ok_or(DecodeError::Illegal)?;
                Ok(Decoded { row, operands, bytes: length as u8 })
            }
            fn body<S: Sem<Isa = Self>>(row: Row) -> fn(S, &Operands) -> Res<S> {
                table::body::<S>(row)
            }
            fn ends_block(decoded: &Decoded<Self>) -> bool {
                table::ends_block(decoded.row, &decoded.operands)
            }
            fn illegal(bytes: &Bytes) -> Trap {
                Trap::fault(trap::ILLEGAL_INSTRUCTION, word(bytes) as u64)
            }
            fn breakpoint(address: u64) -> Trap {
                Trap::fault(trap::BREAKPOINT, address)
            }
            fn bus_error(access: Access, address: u64) -> Option<Trap> {
                Some(Trap::fault(trap::access_fault(access), address))
            }
            fn refused(access: Access, address: u64) -> Trap {
                Trap::fault(trap::access_fault(access), address)
            }
            fn walk(hart: &dyn Hart, regime: usize, address: u64, access: Access) -> Result<Mapping, Trap> {
                mmu::walk(hart, regime, address, access)
            }
            fn debug_regime(m: u32, n: usize) -> Option<usize> {
                mode::debug_regime(m, n)
            }
            fn debug_target() -> Option<Target> {
                (<$name as Xlen>::MISA >> 63 != 0).then(debug::machine)
            }
            fn system_register(hart: &dyn Hart, number: u16) -> Option<u64> {
                debug::read(hart, number)
            }
            fn set_system_register(hart: &dyn Hart, number: u16, value: u64) -> bool {
                debug::write(hart, number, value)
            }
            fn disassemble(_: u32, bytes: &Bytes) -> Option<String> {
                asm::disassemble(word(bytes), <$name as Xlen>::MISA >> 63 == 0)
            }
            fn privilege(m: u32) -> &'static str {
                mode::privilege(m)
            }
            fn describe_trap(trap: &Trap) -> (bool, &'static str) {
                (trap.cause & trap::INTERRUPT != 0, trap::name(trap.cause))
            }
            fn interrupt(hart: &dyn Hart) -> Option<Trap> {
                trap::interrupt(hart)
            }
            fn wakes(hart: &dyn Hart) -> bool {
                trap::pending(hart) & hart.get(state::MIE) != 0
            }
            fn deadline(hart: &dyn Hart) -> Option<u64> {
                trap::deadline(hart)
            }
            fn trap(hart: &dyn Hart, trap: Trap, pc: u64) -> Result<u64, Trap> {
                trap::take(hart, trap, pc)
            }
        }
    };
}
isa!(Rv64);
isa!(Rv32);

/// Marks floating-point state dirty in a status word (priv 3.1.6.6).
pub(crate) fn dirty_fs(status: u64) -> u64 {
    status | mstatus::FS | mstatus::SD
}
