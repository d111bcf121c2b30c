//! Instructions as text, in Intel's syntax.

use crate::cpu::Features;
use crate::decode::{self, Instruction};
use crate::operands::{ABSOLUTE, AH, Arg, Mem, NO_REGISTER, Operands, RIP, prefix};
use crate::row::{Kind, Operand, RowInfo, Size, flag};
use crate::state::{mode, segment};
use crate::table;
use std::fmt::Write;
use trine_ir::Bytes;

/// Names of conditions, by their numbers (SDM volume 1, appendix B).
pub const CONDITIONS: [&str; 16] =
    ["o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g"];

/// Names of segment registers, by their numbers.
pub const SEGMENTS: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];

/// The low parts of the first eight general registers.
const LEGACY: [&str; 8] = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];

/// A general register of `1 << log` bytes.
pub fn general(number: u8, log: u8) -> String {
    if log == 0 && number >= AH {
        return ["ah", "ch", "dh", "bh"][(number - AH) as usize & 3].into();
    }
    let number = number & 15;
    if number >= 8 {
        let suffix = ["b", "w", "d", ""][log as usize & 3];
        return format!("r{number}{suffix}");
    }
    let name = LEGACY[number as usize];
    match log {
        0 if number < 4 => format!("{}l", &name[..1]),
        0 => format!("{name}l"),
        1 => name.into(),
        2 => format!("e{name}"),
        _ => format!("r{name}"),
    }
}

/// The instruction that these bytes begin with, at linear address `at`.
pub fn disassemble(mode: u32, bytes: &Bytes, at: u64) -> Option<String> {
    let i = decode::decode(Features::ALL, mode, bytes, bytes.len()).ok()?;
    Some(text(mode, &i, at))
}

/// A decoded instruction at linear address `at` as text.
pub fn text(mode: u32, i: &Instruction, at: u64) -> String {
    let row = table::info(i.row);
    let o = &i.operands;
    let mut out = String::new();
    if o.has(prefix::LOCK) {
        out.push_str("lock ");
    }
    if row.has(flag::REP) && o.has(prefix::REP | prefix::REPNE) {
        let compares = row.mnemonic() == "cmps" || row.mnemonic() == "scas";
        out.push_str(match (o.has(prefix::REPNE), compares) {
            (true, _) => "repne ",
            (false, true) => "repe ",
            (false, false) => "rep ",
        });
    }
    out.push_str(&mnemonic(row, i));
    if out == "nop" || out == "pause" {
        return out;
    }
    for (n, operand) in row.operands.iter().enumerate() {
        out.push_str(if n == 0 { " " } else { ", " });
        out.push_str(&argument(mode, i, operand, o.args[n], at));
    }
    out
}

/// The mnemonic: one of several by the operand size, with a condition, or with the size of a string's elements.
fn mnemonic(row: &RowInfo, i: &Instruction) -> String {
    let name = row.mnemonic();
    if let Some(stem) = name.strip_suffix("cc") {
        return format!("{stem}{}", CONDITIONS[i.operands.low as usize & 15]);
    }
    if row.has(flag::REP) {
        return format!("{name}{}", ["b", "w", "d", "q"][i.log as usize & 3]);
    }
    if name == "xchg"
        && i.log == 2
        && i.operands.args[0] == i.operands.args[1]
        && row.operands[0].kind == Kind::Z
    {
        return if i.operands.has(prefix::REP) { "pause".into() } else { "nop".into() };
    }
    let mut names = name.split('/');
    let first = names.next().unwrap_or_default();
    // 16, 32 and 64 bits; the last one stands for all larger ones.
    let log = if name.starts_with("jcxz") { address_log(&i.operands) } else { i.log };
    (1..log).map_while(|_| names.next()).last().unwrap_or(first).into()
}

/// log2 of an operand's bytes.
fn log_of(size: Size, i: &Instruction) -> u8 {
    match size {
        Size::B => 0,
        Size::W => 1,
        Size::D => 2,
        Size::Q => 3,
        Size::Z => i.log.min(2),
        Size::Y => i.log.max(2),
        _ => i.log,
    }
}

/// What stands before a memory operand of this size.
fn size_name(size: Size, i: &Instruction) -> &'static str {
    let vector = |narrower: u8| match (i.operands.wide, narrower) {
        (true, 0) => "ymmword ptr ",
        (false, 0) | (true, 1) => "xmmword ptr ",
        (false, 1) | (true, 2) => "qword ptr ",
        (false, 2) | (true, 3) => "dword ptr ",
        _ => "word ptr ",
    };
    match size {
        Size::None => "",
        Size::X => vector(0),
        Size::Half => vector(1),
        Size::Quarter => vector(2),
        Size::Eighth => vector(3),
        Size::O => "xmmword ptr ",
        Size::H => "ymmword ptr ",
        Size::T => "tbyte ptr ",
        Size::Far | Size::Table | Size::Bounds => "",
        _ => ["byte ptr ", "word ptr ", "dword ptr ", "qword ptr "][log_of(size, i) as usize & 3],
    }
}

fn argument(mode: u32, i: &Instruction, operand: &Operand, arg: Arg, at: u64) -> String {
    let o = &i.operands;
    let next = at.wrapping_add(i.bytes.into());
    match arg {
        Arg::Reg(number) => register(operand, number, i),
        Arg::Mem => memory(mode, i, operand, next),
        Arg::Imm if operand.kind == Kind::J => {
            let mask = if mode::long(mode) { u64::MAX } else { u32::MAX.into() };
            hex(next.wrapping_add(o.imm as u64) & mask & if i.log == 1 { 0xffff } else { u64::MAX })
        }
        Arg::Imm if operand.kind == Kind::One => "1".into(),
        Arg::Imm => {
            let row = table::info(i.row);
            // A byte of an arithmetic instruction is a signed number of the operand size; elsewhere it is a byte.
            let widens = row.map == 0 && !row.vex && matches!(row.opcode, 0x68..=0x6b | 0x81 | 0x83);
            let own = log_of(operand.size, i);
            let log = if widens || operand.size == Size::Z { i.log } else { own };
            hex(o.imm as u64 & (u64::MAX >> (64 - (8 << log))))
        }
        Arg::Imm2 => hex(o.imm2 as u64 & (u64::MAX >> (64 - (8 << log_of(operand.size, i))))),
        Arg::None => String::new(),
    }
}

fn register(operand: &Operand, number: u8, i: &Instruction) -> String {
    match operand.kind {
        Kind::V | Kind::W | Kind::H | Kind::U | Kind::L | Kind::Vector(_) => {
            let wide = i.operands.wide && matches!(operand.size, Size::X | Size::H);
            format!("{}mm{number}", if wide { "y" } else { "x" })
        }
        Kind::P | Kind::Q | Kind::N => format!("mm{number}"),
        Kind::S | Kind::Segment(_) => SEGMENTS.get(number as usize).copied().unwrap_or("?").into(),
        Kind::C => format!("cr{number}"),
        Kind::D => format!("dr{number}"),
        Kind::Stack(_) | Kind::StackRm => format!("st({number})"),
        _ => general(number, log_of(operand.size, i)),
    }
}

fn memory(mode: u32, i: &Instruction, operand: &Operand, next: u64) -> String {
    let o: &Operands = &i.operands;
    // A selector in memory has 16 bits, whatever the size of a register that it is moved to.
    let selector = table::info(i.row).operands.iter().any(|o| o.kind == Kind::S);
    let mut out = size_name(if selector { Size::W } else { operand.size }, i).to_string();
    let log = address_log(o);
    // The string instructions name their registers.
    let m = match operand.kind {
        Kind::X if operand_is_table(i) => Mem { base: 3, ..o.mem },
        Kind::X => Mem { base: 6, ..o.mem },
        Kind::Y => Mem { base: 7, named: segment::DS, ..o.mem },
        _ => o.mem,
    };
    let default = if matches!(m.base, 4 | 5) { segment::SS } else { segment::DS };
    // An address that is only computed has no segment; that of rDI is always ES.
    let named = m.named != NO_REGISTER && m.named != default && operand.size != Size::None;
    if named && (m.named >= segment::FS || !mode::long(mode)) {
        let _ = write!(out, "{}:", SEGMENTS[m.named as usize % 6]);
    }
    let parts = match m.base {
        RIP => {
            let cut = if o.has(prefix::A32) { u32::MAX.into() } else { u64::MAX };
            return format!("{out}[{}]", hex(next.wrapping_add(m.disp as i64 as u64) & cut));
        }
        ABSOLUTE => return format!("{out}[{}]", hex(o.imm as u64)),
        base => [
            (base != NO_REGISTER).then(|| general(base, log)),
            (m.index != NO_REGISTER).then(|| {
                let plain = m.scale == 0 && base != NO_REGISTER;
                let scale = if plain { String::new() } else { format!("*{}", 1 << m.scale) };
                format!("{}{scale}", general(m.index, log))
            }),
        ],
    };
    let registers: Vec<String> = parts.into_iter().flatten().collect();
    out.push('[');
    out.push_str(&registers.join("+"));
    let displacement = m.disp as i64;
    if registers.is_empty() {
        out.push_str(&hex(displacement as u64 & (u64::MAX >> (64 - (8 << log)))));
    } else if displacement != 0 {
        let sign = if displacement < 0 { '-' } else { '+' };
        let _ = write!(out, "{sign}{}", hex(displacement.unsigned_abs()));
    }
    out.push(']');
    out
}

/// log2 of the bytes of an address.
fn address_log(o: &Operands) -> u8 {
    match (o.has(prefix::A16), o.has(prefix::A32)) {
        (true, _) => 1,
        (_, true) => 2,
        _ => 3,
    }
}

/// Whether the operand of kind X is XLAT's: in a table that rBX points to.
fn operand_is_table(i: &Instruction) -> bool {
    table::info(i.row).mnemonic() == "xlat"
}

/// A number: hexadecimal from 10 on.
fn hex(v: u64) -> String {
    if v < 10 { v.to_string() } else { format!("{v:#x}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::code;

    /// Bytes, mode, text.
    const CASES: &[(&[u8], bool, &str)] = &[
        (&[0x48, 0x89, 0xd8], true, "mov rax, rbx"),
        (&[0x41, 0x0f, 0xb6, 0x44, 0x8c, 0xf0], true, "movzx eax, byte ptr [r12+rcx*4-0x10]"),
        (&[0xf0, 0x48, 0x0f, 0xb1, 0x0f], true, "lock cmpxchg qword ptr [rdi], rcx"),
        (&[0x75, 0xfe], true, "jne 0x1000"),
        (&[0xf3, 0xa4], true, "rep movsb byte ptr [rdi], byte ptr [rsi]"),
        (&[0x48, 0x98], true, "cdqe"),
        (&[0x40, 0x88, 0xf8], true, "mov al, dil"),
        (&[0x88, 0xfc], true, "mov ah, bh"),
        (&[0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0], true, "mov rax, qword ptr fs:[0x28]"),
        (&[0x83, 0xc0, 0xff], true, "add eax, 0xffffffff"),
        (&[0x8b, 0x05, 4, 0, 0, 0], true, "mov eax, dword ptr [0x100a]"),
        (&[0x8b, 0x05, 4, 0, 0, 0], false, "mov eax, dword ptr [4]"),
        (&[0x67, 0x8b, 0x40, 0x04], false, "mov eax, dword ptr [bx+si+4]"),
        (&[0x66, 0x0f, 0xfe, 0xc1], true, "paddd xmm0, xmm1"),
        (&[0xf2, 0x0f, 0x10, 0x00], true, "movsd xmm0, qword ptr [rax]"),
        (&[0x27], false, "daa"),
    ];

    #[test]
    fn text_is_intels() {
        for (code, long, expected) in CASES {
            let mut bytes = [0; 16];
            bytes[..code.len()].copy_from_slice(code);
            let mode = if *long { code::LONG } else { code::D32 | code::FLAT } as u32;
            assert_eq!(disassemble(mode, &bytes, 0x1000).as_deref(), Some(*expected), "{code:x?}");
        }
    }
}
