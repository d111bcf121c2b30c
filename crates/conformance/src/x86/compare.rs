//! What must be the same after an instruction, and what the manual leaves undefined.

use super::case::{Case, FX_MXCSR, FX_STACK, FX_XMM, HANGS, Outcome};
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
        // How many bytes are read for 16 bits is the processor's business.
        "movsxd" => i.log == 1 && i.operands.args[1] == Arg::Mem,
        _ => false,
    }
}

/// Whether two pairs of numbers differ by no more than two estimates of the same may (SDM volume 2, RCPPS: 1.5 times 2^-12 each).
fn near(a: u64, b: u64) -> bool {
    let number = |v: u64, at: u32| f32::from_bits((v >> at) as u32);
    [0, 32].into_iter().all(|at| {
        let (x, y) = (number(a, at), number(b, at));
        x.to_bits() == y.to_bits() || (x - y).abs() <= x.abs() * 3.0 / 4096.0
    })
}

/// Compares the x87 state: control word, status word, which registers are empty, and the registers.
fn stack(differ: &mut impl FnMut(&str, u64, u64), native: &Outcome, ours: &Outcome) {
    differ("x87", native.registers.fx[0] & 0xff_ffff_ffff, ours.registers.fx[0] & 0xff_ffff_ffff);
    for n in 0..8 {
        let at =
            |o: &Outcome| (o.registers.fx[FX_STACK + 2 * n], o.registers.fx[FX_STACK + 2 * n + 1] & 0xffff);
        let (theirs, ours) = (at(native), at(ours));
        differ(&format!("st{n}"), theirs.0, ours.0);
        differ(&format!("st{n} exponent"), theirs.1, ours.1);
    }
}

/// What differs, in words; `None` if nothing that is defined does.
pub fn compare(case: &Case, native: &Outcome, ours: &Outcome) -> Option<String> {
    let i = case.instruction()?;
    if native.vector == HANGS && ours.vector == HANGS || is_undefined(case, &i) {
        return None;
    }
    let mnemonic = table::info(i.row).mnemonic();
    // Whether a store of no byte at all looks at its address is the processor's business (SDM volume 2, MASKMOVQ).
    if mnemonic.starts_with("maskmov") && native.vector == vector::PF && ours.vector == vector::BP {
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
        // Which of several accesses is made first is the processor's business.
        if mnemonic != "cmps" && !mnemonic.starts_with("maskmov") {
            differ("address", native.address, ours.address);
        }
        // Whether the page is present is the host's business. What reads and then writes reports a write there, and here
        // what it did first.
        differ("error code", native.error & ours.error & 2, ours.error & 2);
    }
    // How many registers are written before a fault in the middle is the processor's business.
    if matches!(mnemonic, "popa/popad" | "pusha/pushad" | "enter") && native.vector == vector::PF {
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
    // Whether an instruction enters MMX before an exception, or for an operand in memory, is the processor's business.
    let memory = i.operands.args.contains(&Arg::Mem);
    if completed && !(mnemonic == "cvtpi2ps" && memory) {
        stack(&mut differ, native, ours);
    }
    let estimate = mnemonic.starts_with("rcp") || mnemonic.starts_with("rsqrt");
    for n in 0..2 * registers {
        let (xmm, ymm) = (FX_XMM + n, (n / 2, n % 2));
        if !(estimate && near(native.registers.fx[xmm], ours.registers.fx[xmm])) {
            let name = format!("xmm{}.{}", ymm.0, ymm.1);
            differ(&name, native.registers.fx[xmm], ours.registers.fx[xmm]);
        }
        let high = |o: &Outcome| o.registers.ymm_high[ymm.0][ymm.1];
        differ(&format!("ymm{}.{}", ymm.0, 2 + ymm.1), high(native), high(ours));
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
