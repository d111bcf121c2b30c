//! Cases in files: IR or guest instructions, and their results: the block as the builder makes it, its
//! outcome, in which interpreter and compiled code agree in both memory models, and the host's code.
//!
//! A case has a start state (`== given`) and code (`== ir` or `== guest`); the rest is the result when it was
//! last accepted. `BLESS=1 cargo test -p trine-engine --test ir files` accepts the current results: look at
//! the difference.

use crate::cases::{block, cases, given, sections};
use crate::harness::{before, difference, everywhere, rebuild};
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, OpKind, Register};
use iced_x86::{SymbolResolver, SymbolResult};

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
    let given_text = sections.iter().find(|s| s.0 == "given").map_or("", |s| s.1.as_str());
    let given = given(given_text)?;
    let (title, source, ir) = block(&sections, &given)?;
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
