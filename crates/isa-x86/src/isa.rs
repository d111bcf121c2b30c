//! Implements the engine's interface to the CPU, for programs: 64-bit mode and 32-bit protected mode at privilege level 3,
//! whose exceptions end [`trine_base::Vcpu::run`].

use crate::cpu::{self, Features};
use crate::decode;
use crate::disasm;
use crate::flags;
use crate::operands::Operands;
use crate::row::flag;
use crate::state::{self, Slots, code, eflags, gpr, mode, mxcsr, segment, vector};
use crate::table;
use std::cell::Cell;
use trine_base::RegisterInfo;
use trine_ir::{
    Access, Bytes, CodeSpace, Count, DecodeError, Decoded, FpRules, Hart, Hints, Isa, Mapping, Res, Round,
    Row, Sem, Trap,
};
use trine_softfloat::{Denormals, Extremes, NanRule, OutOfRange, Rules, Tininess, Traps};

/// The CPU.
pub struct X64;

/// Configuration of a CPU.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Number of its model ([`cpu::by_name`]).
    pub model: u64,
    /// It starts in 64-bit mode, otherwise in 32-bit mode.
    pub long: bool,
}

impl Config {
    /// The model's features.
    pub fn features(&self) -> Features {
        cpu::model(self.model).features
    }
}

/// The floating-point environment of SSE: MXCSR.
pub struct Mxcsr;

impl FpRules for Mxcsr {
    const FLAGS: u16 = state::MXCSR;
    const RULES: Rules = Rules {
        nan: NanRule::FirstOperand,
        out_of_range: OutOfRange::Indefinite,
        tininess: Tininess::AfterRounding,
        extremes: Extremes::Second,
        reports_denormals: true,
    };

    fn flags(mxcsr: u32) -> u64 {
        (mxcsr & trine_ir::fp::MXCSR_FLAGS) as u64
    }

    fn round(slots: &[Cell<u64>]) -> Round {
        direction(slots[state::MXCSR as usize].get() as u32 >> 13 & 3)
    }

    fn rounding(mode: u32) -> Option<Round> {
        Some(direction(mode::rounding(mode)))
    }

    fn denormals(slots: &[Cell<u64>]) -> Denormals {
        let mxcsr = slots[state::MXCSR as usize].get();
        let traps = Self::traps(slots).underflow;
        Denormals { zero_operands: mxcsr & mxcsr::DAZ != 0, zero_results: mxcsr & mxcsr::FTZ != 0 && !traps }
    }

    fn traps(slots: &[Cell<u64>]) -> Traps {
        let mxcsr = slots[state::MXCSR as usize].get();
        Traps { underflow: mxcsr & mxcsr::UM == 0, overflow: mxcsr & mxcsr::OM == 0 }
    }

    fn in_software(mode: u32) -> bool {
        mode & mode::FP_TRAPS != 0
    }

    /// The register itself, but for its flags: it says also what becomes of denormal numbers.
    fn mxcsr(slots: &[Cell<u64>]) -> u32 {
        slots[state::MXCSR as usize].get() as u32 & !trine_ir::fp::MXCSR_FLAGS | 0x1f80
    }
}

/// Rounding control (SDM volume 1, 4.8.4).
fn direction(control: u32) -> Round {
    [Round::Rne, Round::Rdn, Round::Rup, Round::Rtz][control as usize & 3]
}

/// Selectors as Linux gives them to programs.
mod selector {
    pub const CODE32: u64 = 0x23;
    pub const DATA: u64 = 0x2b;
    pub const CODE64: u64 = 0x33;
}

impl Isa for X64 {
    type Slots = Slots;
    type Config = Config;
    type Operands = Operands;
    type Regimes = Count<1>;
    type Fp = Mxcsr;
    const REGISTERS: &'static [RegisterInfo] = state::REGISTERS;
    const VIEWS: &'static [RegisterInfo] = state::VIEWS;
    const PINNED: &'static [u16] = &[gpr::RSP, gpr::RAX, gpr::RCX, gpr::RDX, gpr::RDI, gpr::RSI, gpr::RBX];
    const FRAME_BASES: &'static [u16] = &[gpr::RSP, gpr::RBP];
    const CODE_COHERENT: bool = true;
    const MAX_BYTES: u64 = decode::MAX_BYTES as u64;

    fn view(number: u16, get: &dyn Fn(u16) -> u64) -> u128 {
        if number == state::WHOLE_EFLAGS {
            return (flags::packed(get) | get(state::EFLAGS) | eflags::FIXED).into();
        }
        let low = state::XMM + 2 * (number - state::WHOLE_XMM);
        u128::from(get(low)) | u128::from(get(low + 1)) << 64
    }

    fn set_view(number: u16, value: u128, set: &mut dyn FnMut(u16, u64)) {
        if number == state::WHOLE_EFLAGS {
            let value = value as u64;
            set(state::CC_OP, 0);
            set(state::CC_A, value & eflags::CONDITION);
            return set(state::EFLAGS, value & !(eflags::CONDITION | eflags::FIXED));
        }
        let low = state::XMM + 2 * (number - state::WHOLE_XMM);
        set(low, value as u64);
        set(low + 1, (value >> 64) as u64);
    }

    fn slots(config: &Config) -> Slots {
        let slots = Slots([const { Cell::new(0) }; state::SLOTS]);
        let set = |slot: u16, value: u64| slots.0[slot as usize].set(value);
        set(state::MODEL, config.model);
        set(state::CODE, if config.long { code::LONG } else { code::D32 | code::FLAT });
        set(state::EFLAGS, eflags::IF);
        set(state::MXCSR, trine_ir::fp::MXCSR.into());
        // As FNINIT leaves it (SDM volume 1, 8.1.5).
        set(state::FCW, 0x37f);
        set(state::FEMPTY, 0xff);
        set(state::XCR0, 7);
        let select = |number: u8, selector: u64| set(state::SELECTOR + number as u16, selector);
        select(segment::CS, if config.long { selector::CODE64 } else { selector::CODE32 });
        select(segment::SS, selector::DATA);
        if !config.long {
            select(segment::DS, selector::DATA);
            select(segment::ES, selector::DATA);
        }
        slots
    }

    fn mode(slots: &[Cell<u64>]) -> u32 {
        mode::pack(slots)
    }

    fn data_regime(_: u32) -> usize {
        0
    }

    fn fetch_regime(_: u32) -> usize {
        0
    }

    #[inline(always)]
    fn code_space(m: u32) -> CodeSpace {
        match (mode::long(m), mode::code32(m)) {
            (true, _) => CodeSpace::FLAT,
            (_, true) if mode::flat(m) => CodeSpace { mask: 0xffff_ffff, base: None },
            (_, true) => CodeSpace { mask: 0xffff_ffff, base: Some(CS_BASE) },
            _ => CodeSpace { mask: 0xffff, base: Some(CS_BASE) },
        }
    }

    fn decode(config: &Config, m: u32, bytes: &Bytes, have: usize) -> Result<Decoded<Self>, DecodeError> {
        let found = decode::decode(config.features(), m, bytes, have)?;
        let row = Row(found.row << 2 | found.log as u16);
        Ok(Decoded { row, operands: found.operands, bytes: found.bytes })
    }

    fn body<S: Sem<Isa = Self>>(row: Row) -> fn(S, &Operands) -> Res<S> {
        table::body::<S>(row.0 >> 2, row.0 as u8 & 3)
    }

    fn ends_block(decoded: &Decoded<Self>) -> bool {
        table::info(decoded.row.0 >> 2).has(flag::ENDS)
    }

    fn illegal(_: &Bytes) -> Trap {
        Trap::fault(vector::UD, 0)
    }

    fn breakpoint(_: u64) -> Trap {
        Trap::fault(vector::BP, 0)
    }

    fn disassemble(m: u32, bytes: &Bytes) -> Option<String> {
        disasm::disassemble(m, bytes, 0)
    }

    fn bus_error(_: Access, _: u64) -> Option<Trap> {
        None
    }

    /// An address that is not canonical is a general-protection fault; else there is no page.
    fn refused(access: Access, address: u64) -> Trap {
        if (address << 16) as i64 >> 16 != address as i64 {
            return Trap::fault(vector::GP, 0);
        }
        Trap::fault(vector::PF, address).with_code(match access {
            Access::Read => 4,
            Access::Write => 6,
            Access::Execute => 0x14,
        })
    }

    fn misaligned(_: Access, _: u64) -> Trap {
        Trap::fault(vector::GP, 0)
    }

    /// A general-protection fault of an access to the stack is a stack fault.
    #[inline(always)]
    fn hinted(trap: Trap, hints: Hints) -> Trap {
        match trap.cause {
            vector::GP if hints.stack => Trap { cause: vector::SS, ..trap },
            _ => trap,
        }
    }

    /// Linear addresses are physical ones: paging belongs to the system's side.
    fn walk(_: &dyn Hart, _: usize, address: u64, _: Access) -> Result<Mapping, Trap> {
        let page = address & !0xfff;
        Ok(Mapping { page, read: true, write: true, execute: true, global: false, size: 12 })
    }

    fn interrupt(_: &dyn Hart) -> Option<Trap> {
        None
    }

    fn wakes(_: &dyn Hart) -> bool {
        true
    }

    fn deadline(_: &dyn Hart) -> Option<u64> {
        None
    }

    /// Programs' exceptions are for whoever runs them.
    fn trap(_: &dyn Hart, trap: Trap, _: u64) -> Result<u64, Trap> {
        Err(trap)
    }
}

/// Slot of the base of CS.
const CS_BASE: u16 = state::BASE + segment::CS as u16;
