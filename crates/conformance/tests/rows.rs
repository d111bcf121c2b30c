//! The test lines of `rows.txt`, in every engine; and every row has one.

use std::collections::BTreeSet;
use trine_conformance::lines::Line;
use trine_engine::Tier;
use trine_isa_riscv::table::{ROWS, decode64};

fn lines() -> Vec<(usize, Line)> {
    let text = include_str!("rows.txt");
    let wanted = text.lines().enumerate().filter(|(_, l)| !l.is_empty() && !l.starts_with('#'));
    wanted.map(|(n, l)| (n + 1, Line::parse(l).unwrap_or_else(|| panic!("line {} is none", n + 1)))).collect()
}

fn check(tier: Tier) {
    let mut faults = Vec::new();
    for (n, line) in lines() {
        if let Err(why) = line.check(tier) {
            faults.push(format!("line {n} ({}): {why}", line.show()));
        }
    }
    assert!(faults.is_empty(), "{} lines do not hold:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn lines_hold_in_the_interpreter() {
    check(Tier::Interp);
}

#[test]
fn lines_hold_in_the_compiler() {
    check(Tier::Baseline);
}

#[test]
fn every_row_has_a_line() {
    let mut have = BTreeSet::new();
    for (_, line) in lines() {
        let mut word = [0; 4];
        word[..line.bytes.len()].copy_from_slice(&line.bytes);
        have.extend(decode64(u32::from_le_bytes(word)).map(|(row, _)| row.0 as usize));
    }
    let missing: Vec<&str> =
        (0..ROWS.len()).filter(|i| ROWS[*i].rv64 && !have.contains(i)).map(|i| ROWS[i].name).collect();
    assert!(missing.is_empty(), "rows without a line: {missing:?}");
}
