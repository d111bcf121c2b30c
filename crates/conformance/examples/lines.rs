//! `lines QEMU [CASES [32]]`: prints test lines for every row that user mode may execute, with states after
//! execution from QEMU's user mode.

use std::os::unix::fs::PermissionsExt;
use trine_conformance::lines::{Line, Values, word_name};
use trine_conformance::program::{self, CASE, DATA, DATA_HALF, MARK, STATE_LEN, Single, Xlen, data_byte};
use trine_ir::rows::Field;
use trine_isa_riscv::asm::disassemble;
use trine_isa_riscv::state::{F_NAMES, X_NAMES};
use trine_isa_riscv::table::ROWS;

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Registers that the instruction names.
fn before(case: &Single, fields: &[Field]) -> Values {
    let mut values = Values::new();
    for f in fields {
        let n = f.of(&case.operands) as usize & 31;
        if f.name.starts_with("fr") {
            values.insert(F_NAMES[n].into(), case.f[n]);
        } else if f.name.starts_with('r') && !matches!(f.name, "rm" | "rl") && ![0, 2, 3].contains(&n) {
            values.insert(X_NAMES[n].into(), case.x[n]);
        }
    }
    if case.fcsr != 0 {
        values.insert("fcsr".into(), case.fcsr);
    }
    values
}

/// What is different in QEMU's state.
fn after(case: &Single, out: &[u8], before: &Values) -> Option<Values> {
    let mut values = Values::new();
    let log = STATE_LEN as usize + 2 * DATA_HALF as usize;
    if out.len() > log {
        return None; // a fault: its cause is not in the log
    }
    for (r, name) in X_NAMES.iter().enumerate().skip(1) {
        let value = word(out, r * 8);
        let start = before.get(*name).copied();
        if r != MARK as usize && r != 31 && value != case.x[r] {
            values.insert((*name).into(), value);
        } else if r == 31 && start.is_some() {
            return None; // the scratch register of the program
        }
    }
    for (r, name) in F_NAMES.iter().enumerate() {
        let value = word(out, 256 + r * 8);
        if value != case.f[r] {
            values.insert((*name).into(), value);
        }
    }
    if word(out, 512) != case.fcsr {
        values.insert("fcsr".into(), word(out, 512));
    }
    let first = DATA - DATA_HALF;
    for i in (0..2 * DATA_HALF).step_by(8) {
        let at = first + i;
        let old = (0..8).fold(0, |v, k| v | (data_byte(at + k - program::BASE) as u64) << (8 * k));
        let new = word(out, (STATE_LEN + i) as usize);
        if new != old {
            values.insert(word_name(at), new);
        }
    }
    if word(out, MARK as usize * 8) == 5 {
        values.insert("pc".into(), CASE + case.bytes as u64 + 4);
    }
    Some(values)
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let Some(qemu) = args.get(1) else {
        eprintln!("lines QEMU [CASES [32]]");
        return;
    };
    let wanted: usize = args.get(2).and_then(|n| n.parse().ok()).unwrap_or(4);
    let xlen = if args.len() > 3 { Xlen::Rv32 } else { Xlen::Rv64 };
    let path = std::env::temp_dir().join(format!("trine-lines-{}", std::process::id()));
    for (index, row) in ROWS.iter().enumerate().filter(|(_, r)| program::usable(xlen, r)) {
        let mut have = 0;
        for seed in 0..200 {
            let Some(case) = program::single(xlen, index, seed) else { continue };
            if std::fs::write(&path, &case.elf).is_err() {
                return;
            }
            drop(std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)));
            let Ok(out) = std::process::Command::new(qemu).args(["-cpu", "max"]).arg(&path).output() else {
                return;
            };
            let before = before(&case, row.fields);
            let Some(after) = after(&case, &out.stdout, &before) else { continue };
            let bytes = case.word.to_le_bytes()[..case.bytes as usize].to_vec();
            let text = disassemble(case.word, xlen == Xlen::Rv32).unwrap_or_default();
            println!("{}", Line { bytes, text, before, after }.show());
            have += 1;
            if have == wanted {
                break;
            }
        }
        if have < wanted {
            eprintln!("{}: {have} lines", row.name);
        }
    }
    drop(std::fs::remove_file(path));
}
