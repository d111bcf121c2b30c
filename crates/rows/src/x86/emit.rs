//! Generation of Rust code from tables.

use super::parse::{Group, Row};
use std::fmt::Write;

const PATH: &str = "crate::row";

/// `ROWS` and `body`, all that a table expands to.
pub fn items(groups: &[Group]) -> String {
    let mut out = format!("/// The rows.\npub static ROWS: &[{PATH}::RowInfo] = &[");
    for (n, group) in groups.iter().enumerate() {
        group.rows.iter().for_each(|row| info(n, group, row, &mut out));
    }
    let _ = write!(
        out,
        "];\n/// The body with this number, for operands of `1 << log` bytes, for an engine.\n\
         pub fn body<S: crate::insn::X86>(body: usize, log: usize) -> fn(S, &crate::operands::Operands) -> ::trine_ir::Res<S> {{\n\
         let bodies: &[[fn(S, &crate::operands::Operands) -> ::trine_ir::Res<S>; 4]] = const {{ &["
    );
    groups.iter().for_each(|group| bodies(group, &mut out));
    out.push_str("] };\nbodies[body][log & 3]\n}\n");
    out
}

fn info(body: usize, group: &Group, row: &Row, out: &mut String) {
    let e = &row.encoding;
    let _ = write!(
        out,
        "{PATH}::RowInfo {{ doc: {:?}, encoding: {:?}, syntax: {:?}, vex: {}, map: {}, opcode: {}, span: {}, \
         modrm: {}, mask: {}, value: {}, size: {PATH}::Size::{}, feature: {PATH}::Feature::{}, body: {body}, \
         flags: 0",
        group.doc,
        row.text,
        row.syntax,
        e.vex,
        e.map,
        e.opcode,
        e.span,
        e.modrm,
        e.mask,
        e.value,
        row.size,
        row.feature
    );
    row.flags.iter().for_each(|flag| {
        let _ = write!(out, " | {PATH}::flag::{flag}");
    });
    out.push_str(", operands: &[");
    for o in &row.operands {
        let (kind, size) = (&o.kind, o.size);
        let _ = write!(out, "{PATH}::Operand {{ kind: {PATH}::Kind::{kind}, size: {PATH}::Size::{size} }},");
    }
    out.push_str("] },");
}

/// The operand sizes of a size class, by log2 of their bytes.
fn sizes(class: &str) -> [bool; 4] {
    let logs: &[usize] = match class {
        "B" => &[0],
        "W" => &[1],
        "D" => &[2],
        "Q" => &[3],
        "Z" => &[1, 2],
        "Y" => &[2, 3],
        _ => &[1, 2, 3],
    };
    std::array::from_fn(|log| logs.contains(&log))
}

/// The group's bodies for 1, 2, 4 and 8 bytes. A size that no row has gets the body of another one, so that none is made that is
/// never called.
fn bodies(group: &Group, out: &mut String) {
    let mut has = [false; 4];
    for row in &group.rows {
        let of_row = sizes(row.size);
        (0..4).for_each(|log| has[log] |= of_row[log]);
    }
    let nearest = |log: usize| (0..4).filter(|&n| has[n]).min_by_key(|&n| n.abs_diff(log)).unwrap_or(3);
    let one = |log: usize| {
        let path = match group.sized {
            true => format!("{}::<S, {}>", group.body, ["u8", "u16", "u32", "u64"][nearest(log)]),
            false => format!("{}::<S>", group.body),
        };
        match &*group.arguments {
            "" => path,
            arguments => format!("|s, o| {path}(s, o, {arguments})"),
        }
    };
    let all: Vec<String> = (0..4).map(one).collect();
    let _ = write!(out, "[{}],", all.join(", "));
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;
    use crate::parse::Token;

    #[test]
    fn a_body_for_each_size_that_rows_have() {
        let ident = |s: &str| Token::Ident(s.into());
        let (text, punct) = (|s: &str| Token::Text(s.into()), Token::Punct);
        let mut tokens = vec![punct('#'), punct('['), ident("doc"), punct('='), text(" Add."), punct(']')];
        tokens.extend([
            ident("alu"),
            punct(':'),
            punct(':'),
            ident("add"),
            punct('<'),
            ident("T"),
            punct('>'),
        ]);
        tokens.extend([punct('{'), text("00 /r"), text("add Eb, Gb"), ident("lock"), punct(';')]);
        tokens.extend([text("05"), text("add eax, Id"), punct(';'), punct('}')]);
        let groups = table(&tokens).unwrap();
        assert_eq!((groups.len(), groups[0].rows.len(), groups[0].rows[1].size), (1, 2, "D"));
        let mut out = String::new();
        bodies(&groups[0], &mut out);
        let expected = ["u8", "u8", "u32", "u32"].map(|t| format!("alu::add::<S, {t}>")).join(", ");
        assert_eq!(out, format!("[{expected}],"));
        assert!(items(&groups).contains("crate::row::flag::LOCK"));
        tokens.pop();
        assert!(table(&tokens).is_err());
    }
}
