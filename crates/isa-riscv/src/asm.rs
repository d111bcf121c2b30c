//! Assembler and disassembler of single instructions, over the table of rows.

use crate::state::{F_NAMES, X_NAMES};
use crate::sys::csr;
use crate::table::{ROWS, decode32, decode64, variant};
use trine_ir::rows::{Field, number};

/// What fields stand for: registers and other operands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    X,
    F,
    Rm,
    Csr,
    Set,
    Number,
}

fn kind(field: &Field) -> Kind {
    match field.name {
        "rm" => Kind::Rm,
        "csr" => Kind::Csr,
        "pred" | "succ" => Kind::Set,
        name if name.starts_with("fr") => Kind::F,
        name if name.starts_with('r') && name != "rl" => Kind::X,
        _ => Kind::Number,
    }
}

const ROUNDINGS: [&str; 8] = ["rne", "rtz", "rdn", "rup", "rmm", "rm5", "rm6", "dyn"];

/// The table's variant.
fn variant_of(rv32: bool) -> u32 {
    if rv32 { variant::RV32 } else { variant::RV64 }
}

/// The instruction as text: ABI register names, decimal immediates.
pub fn disassemble(word: u32, rv32: bool) -> Option<String> {
    let (row, operands) = if rv32 { decode32(word) } else { decode64(word) }?;
    Some(ROWS.get(row.0 as usize)?.disassemble(&operands, show))
}

/// One field's value as text.
fn show(field: &Field, value: i64) -> String {
    let index = value as usize & 31;
    match kind(field) {
        Kind::X => X_NAMES[index].into(),
        Kind::F => F_NAMES[index].into(),
        Kind::Rm => ROUNDINGS[index & 7].into(),
        Kind::Csr => csr::find(value as u16).map_or_else(|| format!("{value:#x}"), |c| c.name.into()),
        Kind::Set => {
            "iorw".chars().enumerate().filter(|(i, _)| value >> (3 - i) & 1 != 0).map(|(_, c)| c).collect()
        }
        Kind::Number => value.to_string(),
    }
}

/// Reads a field's value.
fn read(field: &Field, text: &str) -> Option<i64> {
    let position = |names: &[&str]| names.iter().position(|n| *n == text).map(|i| i as i64);
    match kind(field) {
        Kind::X => position(&X_NAMES).or_else(|| text.strip_prefix('x')?.parse().ok().filter(|n| *n < 32)),
        Kind::F => position(&F_NAMES).or_else(|| text.strip_prefix('f')?.parse().ok().filter(|n| *n < 32)),
        Kind::Rm => position(&ROUNDINGS),
        Kind::Csr => {
            csr::CSRS.iter().find(|c| c.name == text).map(|c| c.number as i64).or_else(|| number(text))
        }
        Kind::Set => text.chars().try_fold(0, |set, c| Some(set | 8 >> "iorw".find(c)?)),
        Kind::Number => number(text),
    }
}

/// Assembles one instruction in the table's own syntax (`addi a0, a1, -1`; rounding modes are always written;
/// fields that the syntax does not name are 0). Returns the word and its length in bytes.
///
/// # Errors
/// Returns a sentence about what does not fit.
pub fn assemble(text: &str, rv32: bool) -> Result<(u32, u8), String> {
    let rows = ROWS.iter().filter(|row| row.valid_in(variant_of(rv32)));
    trine_ir::rows::assemble(rows, text, read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_instructions_end_in_11() {
        for row in ROWS {
            assert_eq!(row.mask & row.value & 3 == 3, row.bytes == 4, "{}", row.name);
        }
    }

    #[test]
    fn every_row_goes_there_and_back() {
        for (i, row) in ROWS.iter().enumerate() {
            let rv32 = !row.valid_in(variant::RV64);
            let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ i as u64;
            for _ in 0..50 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let random = (state >> 32) as u32 & if row.bytes == 2 { 0xffff } else { u32::MAX };
                let word = random & !row.mask | row.value;
                let decoded = if rv32 { decode32(word) } else { decode64(word) };
                let Some((found, operands)) = decoded.filter(|d| d.0.0 as usize == i) else { continue };
                assert_eq!(ROWS[found.0 as usize].encode(&operands), Some(word), "{}", row.name);
                let hidden = ["fm", "aq", "rl"];
                let shown = |f: &Field| row.syntax.contains(f.name) || hidden.contains(&f.name);
                if row.fields.iter().all(|f| shown(f) && (!hidden.contains(&f.name) || f.of(&operands) == 0))
                {
                    let text = disassemble(word, rv32).unwrap();
                    if !text.contains(" ,") && !text.ends_with(' ') {
                        assert_eq!(assemble(&text, rv32), Ok((word, row.bytes)), "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn encodings_from_the_manual() {
        for (text, word) in [
            ("addi a0, zero, 1", 0x0010_0513),
            ("add a0, a1, a2", 0x00c5_8533),
            ("lw a0, 8(sp)", 0x0081_2503),
            ("sd ra, -16(s0)", 0xfe14_3823),
            ("beq a0, a1, -4", 0xfeb5_0ee3),
            ("jal ra, 2048", 0x0010_00ef),
            ("fadd.d fa0, fa1, fa2, dyn", 0x02c5_f553),
            ("csrrw zero, mstatus, a0", 0x3005_1073),
            ("c.lwsp a0, 4(sp)", 0x4512),
        ] {
            assert_eq!(assemble(text, false).map(|(w, _)| w), Ok(word), "{text}");
        }
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(
            assemble("addi a0, a1, 4096", false),
            Err("'addi a0, a1, 4096': these operands do not fit".into())
        );
        assert_eq!(assemble("frob a0", false), Err("'frob' is not an instruction".into()));
        assert!(disassemble(0, false).is_none());
    }
}
