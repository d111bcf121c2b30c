//! Programs from text: one instruction per line, `name:` for a label, `@name` for its distance from the
//! instruction, `=name` for its program counter, `#` before a comment.

use crate::insn::system::Special;
use crate::table::ROWS;
use std::collections::BTreeMap;
use trine_ir::rows::{self, Field, number};

/// Reads a field's value.
fn read(field: &Field, text: &str) -> Option<i64> {
    match field.name {
        "rd" | "rs" => text.strip_prefix('r')?.parse().ok().filter(|n| *n < 8),
        "vd" | "vs" | "va" | "vb" => text.strip_prefix('v')?.parse().ok().filter(|n| *n < 4),
        "sr" => Special::NAMES.iter().position(|n| *n == text).map(|n| n as i64),
        _ => number(text),
    }
}

/// Length of the instruction in a line, by its mnemonic.
fn size(line: &str) -> u64 {
    let mnemonic = line.split(' ').next().unwrap_or("");
    ROWS.iter().find(|r| r.mnemonic == mnemonic).map_or(0, |r| r.bytes as u64)
}

/// Assembles a program for program counter `at`.
///
/// # Errors
/// The wrong line, and what is wrong with it.
pub fn assemble(at: u64, text: &str) -> Result<Vec<u8>, String> {
    let lines = text.lines().map(|l| l.split('#').next().unwrap_or("").trim());
    let lines: Vec<&str> = lines.filter(|l| !l.is_empty()).collect();
    let mut labels = BTreeMap::new();
    let mut pc = at;
    for line in &lines {
        match line.strip_suffix(':') {
            Some(name) => drop(labels.insert(name, pc)),
            None => pc += size(line),
        }
    }
    let mut code = Vec::new();
    for line in lines.iter().filter(|l| !l.ends_with(':')) {
        let pc = at + code.len() as u64;
        let mut line = line.to_string();
        // Longer names first, so that one name may begin with another.
        for (name, target) in labels.iter().rev() {
            line = line.replace(&format!("@{name}"), &(*target as i64 - pc as i64).to_string());
            line = line.replace(&format!("={name}"), &target.to_string());
        }
        let (word, bytes) = rows::assemble(ROWS.iter(), &line, read)?;
        code.extend_from_slice(&word.to_be_bytes()[4 - bytes as usize..]);
    }
    Ok(code)
}
