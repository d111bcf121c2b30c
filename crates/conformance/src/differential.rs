//! Compares the same random programs under QEMU's user mode and under both engines.

use crate::program::{self, LOG, STATE_LEN, Xlen};
use crate::user;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use trine_engine::Tier;
use trine_isa_riscv::asm::disassemble;
use trine_isa_riscv::table::{ROWS, is_long};

/// Instructions in a program.
const LENGTH: usize = 1000;

/// Runs a program under QEMU.
fn qemu(qemu: &Path, elf: &Path) -> Result<Vec<u8>, String> {
    let out = Command::new(qemu).args(["-cpu", "max"]).arg(elf).output();
    let out = out.map_err(|e| format!("{}: {e}", qemu.display()))?;
    if out.status.success() {
        Ok(out.stdout)
    } else {
        Err(format!("QEMU: {}, {}", out.status, String::from_utf8_lossy(&out.stderr)))
    }
}

/// Runs `programs` programs, the first with `seed`. Returns a report, or an error that says where a
/// difference is.
pub fn run(xlen: Xlen, qemu_path: &Path, programs: usize, seed: u64) -> Result<String, String> {
    let dir: PathBuf = std::env::temp_dir().join(format!("trine-differential-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    let result = all(xlen, qemu_path, &dir, programs, seed);
    drop(std::fs::remove_dir_all(&dir));
    result
}

fn all(xlen: Xlen, qemu_path: &Path, dir: &Path, programs: usize, seed: u64) -> Result<String, String> {
    let mut rows = BTreeSet::new();
    let (mut executed, mut interpreted) = (0, 0);
    for n in seed..seed + programs as u64 {
        let program = program::make(xlen, n, LENGTH);
        let path = dir.join("program");
        std::fs::write(&path, &program.elf).map_err(|e| e.to_string())?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
        let theirs = qemu(qemu_path, &path).map_err(|e| format!("program {n}: {e}"))?;
        for tier in [Tier::Interp, Tier::Baseline] {
            let ours =
                user::run(&program.elf, xlen, tier).map_err(|e| format!("program {n}, {tier:?}: {e}"))?;
            if let Some(what) = difference(&ours.output, &theirs) {
                return Err(format!("program {n}, {tier:?}: {what}"));
            }
            if tier == Tier::Baseline {
                executed += ours.count;
                interpreted += ours.stats.interpreted;
            }
        }
        rows.extend(program.rows.iter().map(|r| r.0));
    }
    let generated = 100.0 * (1.0 - interpreted as f64 / executed.max(1) as f64);
    Ok(format!(
        "{xlen:?}: {programs} programs, {executed} instructions executed ({generated:.1} % in generated code), {} of {} rows, no difference",
        rows.len(),
        ROWS.iter().filter(|r| r.valid_in(xlen.variant())).count()
    ))
}

/// Describes where two outputs first differ: ours, then QEMU's.
fn difference(ours: &[u8], theirs: &[u8]) -> Option<String> {
    if ours == theirs {
        return None;
    }
    let at = ours.iter().zip(theirs).position(|(a, b)| a != b).unwrap_or(ours.len().min(theirs.len()));
    let word = |bytes: &[u8]| {
        let start = at & !7;
        bytes.get(start..start + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes)
    };
    let log = (STATE_LEN + 8192) as usize;
    let place = match at {
        at if at < 256 => format!("x{}", at / 8),
        at if at < 512 => format!("f{}", (at - 256) / 8),
        at if at < 520 => "fcsr".into(),
        at if at < STATE_LEN as usize => "the number of faults".into(),
        at if at < log => format!("data at {:+}", at as i64 - STATE_LEN as i64 - 4096),
        at => format!("fault {} (log at {LOG:#x})", (at - log) / 16),
    };
    Some(format!("{place}: {:x?} and {:x?}", word(ours), word(theirs)))
}

/// The least number of instructions with which the program of a seed differs, and how it differs.
pub fn shortest(xlen: Xlen, qemu_path: &Path, seed: u64) -> Option<(usize, String)> {
    let dir = std::env::temp_dir().join(format!("trine-bisect-{}", std::process::id()));
    std::fs::create_dir_all(&dir).ok()?;
    let differs = |length: usize| -> Option<String> {
        let program = program::make(xlen, seed, length);
        let path = dir.join("program");
        std::fs::write(&path, &program.elf).ok()?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).ok()?;
        let theirs = qemu(qemu_path, &path).ok()?;
        [Tier::Interp, Tier::Baseline].into_iter().find_map(|tier| {
            match user::run(&program.elf, xlen, tier) {
                Ok(ours) => difference(&ours.output, &theirs).map(|d| format!("{tier:?}: {d}")),
                Err(e) => Some(e),
            }
        })
    };
    let found = (1..=LENGTH).find_map(|n| differs(n).map(|d| (n, d)));
    drop(std::fs::remove_dir_all(&dir));
    found
}

/// The program's instructions as text, with their addresses.
pub fn listing(xlen: Xlen, seed: u64, length: usize) -> String {
    let program = program::make(xlen, seed, length);
    let mut text = String::new();
    let mut at = 0x1000;
    while let Some(bytes) = program.elf.get(at..at + 4) {
        let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if word == 0 {
            break;
        }
        let len = if is_long(word) { 4 } else { 2 };
        let line = disassemble(word, xlen == Xlen::Rv32).unwrap_or_else(|| "?".into());
        text += &format!("{:#x}: {line}\n", program::BASE + at as u64);
        at += len;
    }
    text
}
