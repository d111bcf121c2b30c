//! Generation of Rust code from rows.

use crate::parse::{Arg, Row, Table};
use crate::pattern::Field;
use crate::tree::{Node, build};
use std::fmt::Write;

const PATH: &str = "::trine_ir::rows";

/// All items that `rows!` expands to.
pub fn items(table: &Table) -> String {
    let Table { cpu, rows } = table;
    let mut out = String::new();
    infos(rows, &mut out);
    constants(rows, &mut out);
    variants(&cpu.variants, &mut out);
    for bits in [16, 32] {
        match &cpu.variants[..] {
            [] => decoder(rows, bits, None, &mut out),
            names => names.iter().enumerate().for_each(|v| decoder(rows, bits, Some(v), &mut out)),
        }
    }
    bodies(rows, &cpu.bodies, &mut out);
    out
}

/// The index in `Operands::r` of a small field.
fn place(row: &Row, index: usize) -> usize {
    row.pattern.fields[..index].iter().filter(|f| !f.wide()).count()
}

fn infos(rows: &[Row], out: &mut String) {
    let _ = write!(out, "/// The table.\npub static ROWS: &[{PATH}::RowInfo] = &[");
    for row in rows {
        let mnemonic = row.syntax.split(' ').next().unwrap_or("");
        let p = &row.pattern;
        let _ = write!(
            out,
            "{PATH}::RowInfo {{ name: {:?}, mnemonic: {mnemonic:?}, syntax: {:?}, extension: {:?}, \
             doc: {:?}, mask: {}, value: {}, bytes: {}, variants: {}, body: {:?}, fields: &[",
            row.name,
            row.syntax,
            row.extension,
            row.doc,
            p.mask,
            p.value,
            p.bits / 8,
            row.variants,
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
        f.plus,
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

/// `variant::NAME`: the number of each variant in [`RowInfo::variants`].
fn variants(names: &[String], out: &mut String) {
    if names.is_empty() {
        return;
    }
    out.push_str("/// The variants that decode differently, by their numbers.\npub mod variant {");
    for (i, name) in names.iter().enumerate() {
        let _ = write!(out, "#[doc = {name:?}] pub const {}: u32 = {i};", name.to_uppercase());
    }
    out.push_str("}\n");
}

/// Emits `decode16` and `decode32`, or `decode16_NAME` and `decode32_NAME` if there are variants.
fn decoder(rows: &[Row], bits: u32, variant: Option<(usize, &String)>, out: &mut String) {
    let bit = variant.map_or(0, |(i, _)| i);
    let has = |r: &Row| r.pattern.bits == bits && r.variants >> bit & 1 != 0;
    let among: Vec<usize> = (0..rows.len()).filter(|&i| has(&rows[i])).collect();
    let suffix = variant.map_or(String::new(), |(_, name)| format!("_{name}"));
    let _ = write!(
        out,
        "/// Decodes an instruction of {bits} bits.\n#[allow(clippy::all)]\n\
         pub fn decode{bits}{suffix}(word: u32) -> Option<({PATH}::Row, {PATH}::Operands)> {{"
    );
    node(rows, &build(rows, &among, 0), out);
    out.push_str("None }\n");
}

/// Emits statements that return the row found, or fall through.
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
    match (f.signed() && bits < 32, f.plus) {
        (true, _) => format!("({raw}) << {0} >> {0}", 32 - bits),
        (false, 0) => raw,
        (false, plus) => format!("{raw} + {plus}"),
    }
}

fn bodies(rows: &[Row], bound: &str, out: &mut String) {
    let _ = write!(
        out,
        "/// The row's body for an engine.\n\
         pub fn body<S: {bound}>(row: {PATH}::Row) -> fn(S, &{PATH}::Operands) -> ::trine_ir::Res<S> {{ match row.0 {{"
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
