//! Cases in files: IR or guest instructions, and their results: the block as the builder makes it, its
//! outcome, in which interpreter and compiled code agree in both memory models, and the host's code.
//!
//! A case has a start state (`== given`) and code (`== ir` or `== guest`); the rest is the result when it was
//! last accepted. `BLESS=1 cargo test -p trine-engine --test ir files` accepts the current results: look at
//! the difference.

use crate::harness::{Given, before, difference, everywhere, rebuild};
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, OpKind, Register};
use iced_x86::{SymbolResolver, SymbolResult};
use std::path::{Path, PathBuf};
use trine_ir::{Builder, Isa, parse};
use trine_isa_riscv::{Config, Rv64, Start, asm};

/// The sections of a case: title, and lines after it. Text before the first one describes the case.
fn sections(text: &str) -> (String, Vec<(&str, String)>) {
    let (mut about, mut sections) = (String::new(), Vec::<(&str, String)>::new());
    for line in text.lines() {
        match (line.strip_prefix("== "), sections.last_mut()) {
            (Some(title), _) => sections.push((title, String::new())),
            (None, None) => about += &format!("{line}\n"),
            (None, Some((_, body))) => *body += &format!("{line}\n"),
        }
    }
    (about, sections)
}

fn number(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    number.map_err(|e| format!("{text}: {e}"))
}

fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned());
    pairs.map(|pair| u8::from_str_radix(&pair, 16).map_err(|e| format!("{pair}: {e}"))).collect()
}

/// `s1 = 5`, `memory 0x8000e000 = 1122`, `rounds = 3`.
fn given(text: &str) -> Result<Given, String> {
    let mut given = Given::default();
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        let (name, value) = line.split_once('=').ok_or_else(|| format!("{line}: expected `=`"))?;
        let name = name.trim();
        if let Some(at) = name.strip_prefix("memory ") {
            given.memory.push((number(at)?, bytes(value)?));
        } else if let Some(slot) = name.strip_prefix('s') {
            given.slots.push((number(slot)? as u16, number(value)?));
        } else if name == "rounds" {
            given.rounds = number(value)?;
        } else {
            return Err(format!("{line}: expected a slot, memory or rounds"));
        }
    }
    Ok(given)
}

/// The IR of guest instructions, the last of which leaves the block, in the mode of the given slots.
fn of_guest(text: &str, given: &Given) -> Result<trine_ir::Block, String> {
    let config = Config { hart: 0, start: Start::Machine };
    let slots = Rv64::slots(&config);
    given.slots.iter().for_each(|&(slot, value)| slots.as_ref()[slot as usize].set(value));
    let builder = Builder::<Rv64>::new(Rv64::mode(slots.as_ref()));
    let mut offset = 0;
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        let (word, _) = asm::assemble(line, false)?;
        let mut bytes = trine_ir::Bytes::default();
        bytes[..4].copy_from_slice(&word.to_le_bytes());
        let decoded = Rv64::decode(&config, 0, &bytes, 4).map_err(|e| format!("{line}: {e:?}"))?;
        builder.begin(offset, decoded.bytes, decoded.operands);
        offset += decoded.bytes as i64;
        if Rv64::body::<&Builder<Rv64>>(decoded.row)(&builder, &decoded.operands).is_err() {
            return Ok(builder.finish());
        }
    }
    builder.fall_through();
    Ok(builder.finish())
}

/// Names of the parts of a vCPU's state.
struct Names;

impl SymbolResolver for Names {
    fn symbol(
        &mut self,
        inst: &Instruction,
        operand: u32,
        _: Option<u32>,
        address: u64,
        _: u32,
    ) -> Option<SymbolResult<'_>> {
        let is_state = inst.op_kind(operand) == OpKind::Memory && inst.memory_base() == Register::RBP;
        let name = crate::harness::place_name(address as i64).filter(|_| is_state)?;
        Some(SymbolResult::with_string(address, name))
    }
}

/// The host's instructions, one a line.
fn listing(code: &[u8]) -> String {
    let mut text = String::new();
    let mut format = IntelFormatter::with_options(Some(Box::new(Names)), None);
    for inst in Decoder::with_ip(64, code, 0, DecoderOptions::NONE).iter() {
        let mut line = String::new();
        format.format(&inst, &mut line);
        text += &format!("{:4x}  {line}\n", inst.ip());
    }
    text
}

/// The case with its current results.
fn now(text: &str) -> Result<String, String> {
    let (about, sections) = sections(text);
    let find = |title: &str| sections.iter().find(|s| s.0 == title).map(|s| s.1.as_str());
    let given_text = find("given").unwrap_or_default();
    let given = given(given_text)?;
    let (title, source, ir) = match (find("ir"), find("guest")) {
        (Some(text), None) => ("ir", text, parse::parse(text, &[]).map_err(|e| e.to_string())?),
        (None, Some(text)) => ("guest", text, of_guest(text, &given)?),
        _ => return Err("expected either `== ir` or `== guest`".into()),
    };
    let (outcome, [paged, direct]) = everywhere(&ir, &given)?;
    let mut now = about;
    if !given_text.is_empty() {
        now += &format!("== given\n{given_text}");
    }
    now += &format!("== {title}\n{source}== built\n{}", rebuild(&ir));
    now += &format!("== outcome\n{}", difference(&outcome, &before(&given)));
    now += &format!("== code\n{}", listing(&paged));
    let reaches_memory = ir.insts.iter().any(trine_ir::Inst::is_access);
    if reaches_memory {
        now += &format!("== code, direct memory\n{}", listing(&direct));
    }
    Ok(now)
}

/// All cases, in order.
fn cases() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files");
    let entries = std::fs::read_dir(&dir).expect("the directory of cases");
    let mut cases: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    cases.sort();
    cases
}

#[test]
fn every_case_comes_out_as_before() {
    let mut changed = Vec::new();
    for path in cases() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a case is text");
        match now(&text) {
            Err(why) => changed.push(format!("{name}: {why}")),
            Ok(now) if now == text => {}
            Ok(now) if std::env::var_os("BLESS").is_some() => std::fs::write(&path, now).expect("written"),
            Ok(now) => changed.push(format!("{name} is now\n{now}")),
        }
    }
    assert!(changed.is_empty(), "cases changed (BLESS=1 accepts):\n{}", changed.join("\n"));
}

#[test]
fn there_are_cases() {
    assert!(cases().len() > 50);
}
