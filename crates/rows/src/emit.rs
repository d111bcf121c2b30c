//! Rows to Rust.

use crate::parse::{Arg, Row};
use crate::pattern::Field;
use crate::tree::{Node, build};
use std::fmt::Write;

const PATH: &str = "::trine_ir::rows";

/// All items that `rows!` stands for.
pub fn items(rows: &[Row]) -> String {
    let mut out = String::new();
    table(rows, &mut out);
    constants(rows, &mut out);
    decoder(rows, 32, &mut out);
    decoder(rows, 64, &mut out);
    bodies(rows, &mut out);
    out
}

/// Index in `Operands::r` of a small field.
fn place(row: &Row, index: usize) -> usize {
    row.pattern.fields[..index].iter().filter(|f| !f.wide()).count()
}

fn table(rows: &[Row], out: &mut String) {
    let _ = write!(out, "/// The table.\npub static ROWS: &[{PATH}::RowInfo] = &[");
    for row in rows {
        let mnemonic = row.syntax.split(' ').next().unwrap_or("");
        let p = &row.pattern;
        let _ = write!(
            out,
            "{PATH}::RowInfo {{ name: {:?}, mnemonic: {mnemonic:?}, syntax: {:?}, extension: {:?}, \
             doc: {:?}, mask: {}, value: {}, bytes: {}, rv32: {}, rv64: {}, body: {:?}, fields: &[",
            row.name,
            row.syntax,
            row.extension,
            row.doc,
            p.mask,
            p.value,
            p.bits / 8,
            row.rv32,
            row.rv64,
            row.body
        );
        for (i, f) in p.fields.iter().enumerate() {
            field(row, i, f, out);
        }
        out.push_str("] },");
    }
    out.push_str("];\n");
}

fn field(row: &Row, index: usize, f: &Field, out: &mut String) {
    let place = if f.wide() { "Imm".to_string() } else { format!("R({})", place(row, index)) };
    let _ = write!(
        out,
        "{PATH}::Field {{ name: {:?}, place: {PATH}::Place::{place}, bits: {}, signed: {}, plus: {}, \
         not: &{:?}, pieces: &[",
        f.name,
        f.bits(),
        f.signed(),
        f.plus(),
        f.not
    );
    for p in &f.pieces {
        let _ = write!(out, "{PATH}::Piece {{ at: {}, len: {}, bit: {} }},", p.at, p.len, p.bit);
    }
    out.push_str("] },");
}

fn constants(rows: &[Row], out: &mut String) {
    out.push_str("/// The rows by name.\npub mod row {");
    for (i, row) in rows.iter().enumerate() {
        let name = row.name.to_uppercase();
        let _ = write!(out, "#[doc = {:?}] pub const {name}: {PATH}::Row = {PATH}::Row({i});", row.doc);
    }
    out.push_str("}\n");
}

fn decoder(rows: &[Row], xlen: u32, out: &mut String) {
    let of = |bits: u32| -> Vec<usize> {
        (0..rows.len())
            .filter(|&i| {
                let r = &rows[i];
                r.pattern.bits == bits && if xlen == 32 { r.rv32 } else { r.rv64 }
            })
            .collect()
    };
    let _ = write!(
        out,
        "/// Decodes an instruction of RV{xlen}.\n#[allow(clippy::all)]\n\
         pub fn decode{xlen}(word: u32) -> Option<({PATH}::Row, {PATH}::Operands)> {{ if word & 3 == 3 {{"
    );
    node(rows, &build(rows, &of(32), 0), out);
    out.push_str("} else { let word = word & 0xffff;");
    node(rows, &build(rows, &of(16), 0), out);
    out.push_str("} None }\n");
}

/// Statements that return the row found, or fall through.
fn node(rows: &[Row], node_: &Node, out: &mut String) {
    match node_ {
        Node::Switch(mask, arms) => {
            let _ = write!(out, "match word & {mask:#x} {{");
            for (value, arm) in arms {
                let _ = write!(out, "{value:#x} => {{");
                node(rows, arm, out);
                out.push('}');
            }
            out.push_str("_ => {} }");
        }
        Node::Try(order) => order.iter().for_each(|&i| attempt(&rows[i], i, out)),
    }
}

fn attempt(row: &Row, index: usize, out: &mut String) {
    let p = &row.pattern;
    let _ = write!(out, "if word & {:#x} == {:#x} {{", p.mask, p.value);
    let mut conditions = Vec::new();
    let mut r = vec!["0u8".to_string(); 8];
    let mut imm = "0i64".to_string();
    for (i, f) in p.fields.iter().enumerate() {
        let _ = write!(out, "let f{i} = {};", extract(f));
        conditions.extend(f.not.iter().map(|n| format!("f{i} != {n}")));
        if f.wide() {
            imm = format!("f{i} as i64");
        } else {
            r[place(row, i)] = format!("f{i} as u8");
        }
    }
    let found = format!(
        "return Some(({PATH}::Row({index}), {PATH}::Operands {{ r: [{}], imm: {imm}, word }}));",
        r.join(",")
    );
    if conditions.is_empty() {
        out.push_str(&found);
    } else {
        let _ = write!(out, "if {} {{ {found} }}", conditions.join(" && "));
    }
    out.push('}');
}

/// An `i32` expression for a field's value.
fn extract(f: &Field) -> String {
    let pieces: Vec<String> = f
        .pieces
        .iter()
        .map(|p| format!("((word >> {}) & {:#x}) << {}", p.at, (1u64 << p.len) - 1, p.bit))
        .collect();
    let raw = format!("({}) as i32", pieces.join(" | "));
    let bits = f.bits();
    match (f.signed() && bits < 32, f.plus()) {
        (true, _) => format!("({raw}) << {0} >> {0}", 32 - bits),
        (false, 0) => raw,
        (false, plus) => format!("{raw} + {plus}"),
    }
}

fn bodies(rows: &[Row], out: &mut String) {
    let _ = write!(
        out,
        "/// The row's body for an engine.\n\
         pub fn body<S: Rv>(row: {PATH}::Row) -> fn(S, &{PATH}::Operands) -> ::trine_ir::Res<S> {{ match row.0 {{"
    );
    for (i, row) in rows.iter().enumerate() {
        let args: Vec<String> = row.args.iter().map(|a| argument(row, a)).collect();
        let number = if i + 1 == rows.len() { "_".into() } else { i.to_string() };
        let o = if row.args.iter().any(|a| matches!(a, Arg::Field(_))) { "o" } else { "_" };
        let call = std::iter::once("s".to_string()).chain(args).collect::<Vec<_>>().join(", ");
        let _ = write!(out, "{number} => |s, {o}| {}({call}),", row.body);
    }
    out.push_str("} }\n");
}

fn argument(row: &Row, arg: &Arg) -> String {
    match *arg {
        Arg::Field(i) if row.pattern.fields[i].wide() => "o.imm".into(),
        Arg::Field(i) => format!("{PATH}::lit(o.r[{}])", place(row, i)),
        Arg::Literal(n) if (0..256).contains(&n) => format!("{PATH}::lit({n})"),
        Arg::Literal(n) => format!("{n}i64"),
    }
}
