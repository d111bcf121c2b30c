//! What is in a file of a case.

use super::harness::Given;
use std::path::{Path, PathBuf};
use trine_ir::{Builder, Isa, parse};
use trine_isa_riscv::{Config, Rv64, Start, asm};

/// The sections of a case: title, and lines after it. Text before the first one describes the case.
pub fn sections(text: &str) -> (String, Vec<(&str, String)>) {
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
pub fn given(text: &str) -> Result<Given, String> {
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

/// The block that a case starts from: title and text of its section, and what it says.
pub fn block<'a>(
    sections: &'a [(&'a str, String)],
    given: &Given,
) -> Result<(&'a str, &'a str, trine_ir::Block), String> {
    let find = |title: &str| sections.iter().find(|s| s.0 == title).map(|s| s.1.as_str());
    match (find("ir"), find("guest")) {
        (Some(text), None) => Ok(("ir", text, parse::parse(text, &[]).map_err(|e| e.to_string())?)),
        (None, Some(text)) => Ok(("guest", text, of_guest(text, given)?)),
        _ => Err("a case has either `== ir` or `== guest`".into()),
    }
}

/// All cases, in order.
pub fn cases() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files");
    let entries = std::fs::read_dir(&dir).expect("the directory of cases");
    let mut cases: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    cases.sort();
    cases
}
