//! What must be the same after an instruction, and what the manual leaves undefined.

use super::case::{Case, FX_MXCSR, FX_XMM, HANGS, Outcome};
use std::fmt::Write;
use trine_isa_x86::decode::Instruction;
use trine_isa_x86::operands::Arg;
use trine_isa_x86::state::{eflags, vector};
use trine_isa_x86::table;

const CF: u64 = eflags::CF;
const PF: u64 = eflags::PF;
const AF: u64 = eflags::AF;
const ZF: u64 = eflags::ZF;
const SF: u64 = eflags::SF;
const OF: u64 = eflags::OF;

/// The flags that an instruction leaves undefined (SDM volume 1, appendix A).
fn undefined_flags(case: &Case, i: &Instruction) -> u64 {
    let count = || {
        let last = i.operands.args.iter().rev().find(|a| **a != Arg::None);
        let raw = match last {
            Some(Arg::Imm) => i.operands.imm as u64,
            _ => case.registers.gpr[1],
        };
        raw & if i.log == 3 { 63 } else { 31 }
    };
    let bits = 8u64 << i.log;
    match table::info(i.row).mnemonic() {
        "and" | "or" | "xor" | "test" => AF,
        "mul" | "imul" => SF | ZF | AF | PF,
        "div" | "idiv" => CF | OF | SF | ZF | AF | PF,
        "shl" | "shr" | "sar" => match count() {
            0 => 0,
            n => AF | if n == 1 { 0 } else { OF } | if n >= bits { CF } else { 0 },
        },
        "rol" | "ror" | "rcl" | "rcr" if count() != 1 => OF,
        "shld" | "shrd" => match count() {
            0 => 0,
            1 => AF,
            n if n > bits => CF | OF | SF | ZF | AF | PF,
            _ => AF | OF,
        },
        "bt" | "bts" | "btr" | "btc" => OF | SF | AF | PF,
        "bsf" | "bsr" => CF | OF | SF | AF | PF,
        "tzcnt" | "lzcnt" => OF | SF | AF | PF,
        "andn" => AF | PF,
        "blsi" | "blsmsk" | "blsr" | "bzhi" => AF | PF,
        "bextr" => SF | AF | PF,
        "daa" | "das" => OF,
        "aaa" | "aas" => OF | SF | ZF | PF,
        "aam" | "aad" => OF | AF | CF,
        _ => 0,
    }
}

/// Whether the result itself is undefined.
fn is_undefined(case: &Case, i: &Instruction) -> bool {
    let row = table::info(i.row);
    let count = case.registers.gpr[1] & 31;
    match row.mnemonic() {
        // Counts above the operand's size.
        "shld" | "shrd" if i.log == 1 => {
            let by_cl = matches!(i.operands.args[2], Arg::Reg(_));
            (if by_cl { count } else { i.operands.imm as u64 & 31 }) > 16
        }
        "bswap" => i.log == 1,
        _ => false,
    }
}

/// What differs, in words; `None` if nothing that is defined does.
pub fn compare(case: &Case, native: &Outcome, ours: &Outcome) -> Option<String> {
    let i = case.instruction()?;
    if native.vector == HANGS && ours.vector == HANGS || is_undefined(case, &i) {
        return None;
    }
    let mut out = String::new();
    let mut differ = |what: &str, theirs: u64, ours: u64| {
        if theirs != ours {
            let _ = write!(out, "  {what}: native {theirs:x}, ours {ours:x}");
        }
    };
    differ("exception", native.vector, ours.vector);
    if native.vector == vector::PF {
        // Which of two operands in memory is looked at first is the processor's business.
        if table::info(i.row).mnemonic() != "cmps" {
            differ("address", native.address, ours.address);
        }
        // Whether the page is present is the host's business. What reads and then writes reports a write there, and here
        // what it did first.
        differ("error code", native.error & ours.error & 2, ours.error & 2);
    }
    // How many registers are written before a fault in the middle is the processor's business.
    if matches!(table::info(i.row).mnemonic(), "popa/popad" | "pusha/pushad" | "enter")
        && native.vector == vector::PF
    {
        return (!out.is_empty()).then_some(out);
    }
    let mask = if case.long { u64::MAX } else { u32::MAX.into() };
    let registers = if case.long { 16 } else { 8 };
    for n in 0..registers {
        differ(&format!("r{n}"), native.registers.gpr[n] & mask, ours.registers.gpr[n] & mask);
    }
    differ("rip", native.registers.rip, ours.registers.rip);
    let completed = native.vector == vector::BP;
    let flags = (eflags::CONDITION | eflags::DF) & !if completed { undefined_flags(case, &i) } else { 0 };
    differ("eflags", native.registers.eflags & flags, ours.registers.eflags & flags);
    differ("mxcsr", native.registers.fx[FX_MXCSR] & 0xffff, ours.registers.fx[FX_MXCSR] & 0xffff);
    for n in 0..2 * registers {
        let name = format!("xmm{}.{}", n / 2, n % 2);
        differ(&name, native.registers.fx[FX_XMM + n], ours.registers.fx[FX_XMM + n]);
        let name = format!("ymm{}.{}", n / 2, 2 + n % 2);
        differ(&name, native.registers.ymm_high[n / 2][n % 2], ours.registers.ymm_high[n / 2][n % 2]);
    }
    if let Some(n) = (0..native.watched.len()).find(|&n| native.watched[n] != ours.watched[n]) {
        differ(
            &format!("memory at {:x}", super::case::WATCHED.start + n),
            native.watched[n].into(),
            ours.watched[n].into(),
        );
    }
    if let Some(n) = (0..native.tail.len()).find(|&n| native.tail[n] != ours.tail[n]) {
        differ(
            &format!("memory at {:x}", super::case::TAIL.start + n),
            native.tail[n].into(),
            ours.tail[n].into(),
        );
    }
    (!out.is_empty()).then_some(out)
}
