//! Lists the rows that are helpers: Rust functions that generated code calls.

use crate::Rv64;
use crate::state::level;
use crate::table::{ROWS, body, variant};
use trine_ir::inst::Inst;
use trine_ir::{Builder, Operands, Row};

/// Floating point dirty, machine level and regime: the mode makes no instruction illegal.
const MODE: u32 = level::M as u32 | 3 << 2 | 2 << 4;

/// The mnemonics of rows whose IR calls a helper.
pub fn rows() -> Vec<&'static str> {
    let calls = |inst: &Inst| matches!(inst, Inst::Call(..));
    let mut names = Vec::new();
    for (i, row) in ROWS.iter().enumerate().filter(|(_, r)| r.valid_in(variant::RV64)) {
        let builder = Builder::<Rv64>::new(MODE);
        let operands = Operands { word: row.value, ..Operands::default() };
        builder.begin(0, row.bytes, operands);
        // If the body ends early, its IR is complete already.
        drop(body::<&Builder<Rv64>>(Row(i as u16))(&builder, &operands));
        if builder.finish().insts.iter().any(calls) {
            names.push(row.mnemonic);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_a_small_program_is_a_helper() {
        let rows = super::rows();
        assert!(rows.contains(&"sret") && rows.contains(&"csrrw"));
        assert!(!rows.contains(&"add") && !rows.contains(&"fadd.d") && !rows.contains(&"amoadd.w"));
    }
}
