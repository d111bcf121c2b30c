//! Runs the test lines of `rows.txt` (RV64) and `rows32.txt` (RV32) in every engine, and checks that every
//! row has one.

use std::collections::BTreeSet;
use trine_conformance::lines::Line;
use trine_conformance::program::Xlen;
use trine_engine::Tier;
use trine_isa_riscv::table::{ROWS, decode32, decode64};

fn lines(xlen: Xlen) -> Vec<(usize, Line)> {
    let text = match xlen {
        Xlen::Rv32 => include_str!("rows32.txt"),
        Xlen::Rv64 => include_str!("rows.txt"),
    };
    let wanted = text.lines().enumerate().filter(|(_, l)| !l.is_empty() && !l.starts_with('#'));
    wanted.map(|(n, l)| (n + 1, Line::parse(l).unwrap_or_else(|| panic!("line {} is none", n + 1)))).collect()
}

fn check(xlen: Xlen, tier: Tier) {
    let mut faults = Vec::new();
    for (n, line) in lines(xlen) {
        if let Err(why) = line.check(xlen, tier) {
            faults.push(format!("line {n} ({}): {why}", line.show()));
        }
    }
    assert!(faults.is_empty(), "{} lines do not hold:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn lines_hold_in_the_interpreter() {
    check(Xlen::Rv64, Tier::Interp);
    check(Xlen::Rv32, Tier::Interp);
}

#[test]
fn lines_hold_in_the_compiler() {
    check(Xlen::Rv64, Tier::Baseline);
    check(Xlen::Rv32, Tier::Baseline);
}

#[test]
fn a_wrong_line_does_not_hold() {
    let mut line =
        lines(Xlen::Rv64).into_iter().map(|(_, l)| l).find(|l| l.text.starts_with("addi ")).unwrap();
    let name = line.after.keys().next().unwrap().clone();
    *line.after.get_mut(&name).unwrap() ^= 1;
    assert!(line.check(Xlen::Rv64, Tier::Interp).is_err() && line.check(Xlen::Rv64, Tier::Baseline).is_err());
}

#[test]
fn every_row_has_a_line() {
    for xlen in [Xlen::Rv32, Xlen::Rv64] {
        let mut have = BTreeSet::new();
        for (_, line) in lines(xlen) {
            let mut word = [0; 4];
            word[..line.bytes.len()].copy_from_slice(&line.bytes);
            let word = u32::from_le_bytes(word);
            let decoded = if xlen == Xlen::Rv32 { decode32(word) } else { decode64(word) };
            have.extend(decoded.map(|(row, _)| row.0 as usize));
        }
        let valid = |i: &usize| ROWS[*i].valid_in(xlen.variant());
        let missing: Vec<&str> =
            (0..ROWS.len()).filter(valid).filter(|i| !have.contains(i)).map(|i| ROWS[i].name).collect();
        assert!(missing.is_empty(), "{xlen:?}: rows without a line: {missing:?}");
    }
}
