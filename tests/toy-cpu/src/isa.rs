//! Implements the engine's interface to the CPU.

use crate::state::{self, REGISTERS, SLOTS, Slots, cause, mode};
use crate::table;
use std::cell::Cell;
use trine_base::{RegisterInfo, Width};
use trine_ir::{
    Access, Bytes, CodeSpace, Count, DecodeError, Decoded, Hart, Isa, Mapping, NoFp, Operands, Res, Row, Sem,
    Trap,
};

/// The CPU.
pub struct T16;

/// Configuration of a CPU.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// There is no system below the program: it runs in user mode on the host's memory, and its traps end
    /// [`trine_base::Vcpu::run`].
    pub hosted: bool,
}

/// The number of an instruction's first two or four bytes.
fn word(bytes: &Bytes) -> u32 {
    let long = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    if is_long(bytes) { long } else { long >> 16 }
}

/// Whether an instruction has four bytes, by its first bit.
fn is_long(bytes: &Bytes) -> bool {
    bytes[0] & 0x80 != 0
}

impl Isa for T16 {
    type Slots = Slots;
    type Config = Config;
    type Operands = Operands;
    type Regimes = Count<2>;
    type Fp = NoFp;
    const REGISTERS: &'static [RegisterInfo] = REGISTERS;
    const VIEWS: &'static [RegisterInfo] = state::VIEWS;
    const MAX_BYTES: u64 = 4;
    const CODE_COHERENT: bool = true;

    fn view(number: u16, get: &dyn Fn(u16) -> u64) -> u128 {
        if number == state::CCR {
            let codes = state::CODES.iter().enumerate();
            return codes.fold(0, |word, (bit, &slot)| word | u128::from(get(slot)) << bit);
        }
        let low = state::VR + 2 * (number - state::WHOLE_VR);
        u128::from(get(low)) | u128::from(get(low + 1)) << 64
    }

    fn set_view(number: u16, value: u128, set: &mut dyn FnMut(u16, u64)) {
        if number == state::CCR {
            let codes = state::CODES.iter().enumerate();
            return codes.for_each(|(bit, &slot)| set(slot, (value >> bit & 1) as u64));
        }
        let low = state::VR + 2 * (number - state::WHOLE_VR);
        set(low, value as u64);
        set(low + 1, (value >> 64) as u64);
    }

    fn slots(config: &Config) -> Slots {
        let slots = Slots([const { Cell::new(0) }; SLOTS]);
        slots.0[state::HOSTED as usize].set(config.hosted as u64);
        slots.0[state::USER as usize].set(config.hosted as u64);
        slots
    }

    fn mode(slots: &[Cell<u64>]) -> u32 {
        slots[state::USER as usize].get() as u32 & mode::USER
    }

    fn data_regime(m: u32) -> usize {
        if m & mode::USER != 0 { mode::REGIME_USER } else { mode::REGIME_SYSTEM }
    }

    fn fetch_regime(m: u32) -> usize {
        Self::data_regime(m)
    }

    fn code_space(_: u32) -> CodeSpace {
        CodeSpace { mask: 0xffff, base: Some(state::CB) }
    }

    fn decode(_: &Config, _: u32, bytes: &Bytes, have: usize) -> Result<Decoded<Self>, DecodeError> {
        // Even the first byte of an instruction tells its length, but instructions lie at even addresses.
        let length = if is_long(bytes) { 4 } else { 2 };
        if have < length {
            return Err(DecodeError::More);
        }
        let word = word(bytes);
        let found = if length == 4 { table::decode32(word) } else { table::decode16(word) };
        let (row, operands) = found.ok_or(DecodeError::Illegal)?;
        Ok(Decoded { row, operands, bytes: length as u8 })
    }

    fn body<S: Sem<Isa = Self>>(row: Row) -> fn(S, &Operands) -> Res<S> {
        table::body::<S>(row)
    }

    fn ends_block(decoded: &Decoded<Self>) -> bool {
        table::ends_block(decoded.row, &decoded.operands)
    }

    fn illegal(_: &Bytes) -> Trap {
        Trap::fault(cause::ILLEGAL, 0)
    }

    fn breakpoint(address: u64) -> Trap {
        Trap::fault(cause::BREAKPOINT, address)
    }

    /// Empty addresses: no exception, reads give ones.
    fn bus_error(_: Access, _: u64) -> Option<Trap> {
        None
    }

    fn refused(_: Access, address: u64) -> Trap {
        Trap::fault(cause::PAGE, address)
    }

    /// In user mode, a table of 256 big-endian words maps each page of 4 KiB: the number of its frame in the
    /// upper 12 bits; bit 0 that it is present, bit 1 that it may be written, bit 2 that it holds code.
    fn walk(hart: &dyn Hart, regime: usize, address: u64, access: Access) -> Result<Mapping, Trap> {
        if regime == mode::REGIME_SYSTEM {
            let page = address & !0xfff;
            return Ok(Mapping { page, read: true, write: true, execute: true, global: false, size: 12 });
        }
        let fault = Trap::fault(cause::PAGE, address);
        let number = address >> 12;
        if number > 0xff {
            return Err(fault);
        }
        let entry = hart.get(state::PT) + 2 * number;
        let entry = hart.phys_load(entry, Width::B2).map(|v| (v as u16).swap_bytes() as u64).ok_or(fault)?;
        let (there, write, execute) = (entry & 1 != 0, entry & 2 != 0, entry & 4 != 0);
        let allowed = match access {
            Access::Read => true,
            Access::Write => write,
            Access::Execute => execute,
        };
        if !there || !allowed {
            return Err(fault);
        }
        let page = entry >> 4 << 12;
        Ok(Mapping { page, read: true, write, execute, global: false, size: 12 })
    }

    fn interrupt(hart: &dyn Hart) -> Option<Trap> {
        let taken = hart.get(state::IE) != 0 && hart.lines() & 1 != 0;
        taken.then_some(Trap::fault(cause::INTERRUPT, 0))
    }

    fn stepping(slots: &[Cell<u64>]) -> bool {
        slots[state::STEP as usize].get() != 0
    }

    /// An instruction that trapped has cleared the step already.
    fn after(hart: &dyn Hart, done: bool) -> Option<Trap> {
        (done && hart.get(state::STEP) != 0).then_some(Trap::after(cause::STEP, 0))
    }

    fn wakes(hart: &dyn Hart) -> bool {
        Self::interrupt(hart).is_some()
    }

    fn waits(slots: &[Cell<u64>]) -> bool {
        slots[state::HALT as usize].get() != 0
    }

    fn deadline(_: &dyn Hart) -> Option<u64> {
        None
    }

    fn trap(hart: &dyn Hart, trap: Trap, pc: u64) -> Result<u64, Trap> {
        if hart.get(state::HOSTED) != 0 {
            return Err(trap);
        }
        hart.set(state::EPC, pc);
        hart.set(state::ECB, hart.get(state::CB));
        let status = hart.get(state::USER) | hart.get(state::IE) << 1 | hart.get(state::STEP) << 2;
        hart.set(state::ESTATUS, status);
        hart.set(state::CAUSE, trap.cause);
        hart.set(state::BAD, trap.value);
        hart.set(state::CB, 0);
        hart.set(state::USER, 0);
        hart.set(state::IE, 0);
        hart.set(state::STEP, 0);
        hart.set(state::HALT, 0);
        hart.mode_changed();
        Ok(hart.get(state::VEC))
    }
}
