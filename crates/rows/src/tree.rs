//! The decision tree of a decoder, and the check for overlapping rows.

use crate::parse::{Fault, Row};

/// A node of the tree.
#[derive(Debug)]
pub enum Node {
    /// Branches on the bits in the mask.
    Switch(u32, Vec<(u32, Node)>),
    /// Tries these rows in order.
    Try(Vec<usize>),
}

/// Refuses rows that overlap unless one is more specific.
pub fn check(rows: &[Row]) -> Result<(), Fault> {
    for (i, b) in rows.iter().enumerate() {
        for a in &rows[..i] {
            if a.name == b.name {
                return Err(Fault { at: b.at, message: format!("row '{}' is there twice", b.name) });
            }
            if a.variants & b.variants != 0 && a.pattern.bits == b.pattern.bits && overlap(a, b) {
                let message =
                    format!("row '{}' overlaps row '{}' and neither is more specific", b.name, a.name);
                return Err(Fault { at: b.at, message });
            }
        }
    }
    Ok(())
}

fn overlap(a: &Row, b: &Row) -> bool {
    let (p, q) = (&a.pattern, &b.pattern);
    let common = p.mask & q.mask;
    if (p.value ^ q.value) & common != 0 {
        return false;
    }
    let specific = p.mask != q.mask && (common == p.mask || common == q.mask);
    !specific && !excludes(a, b) && !excludes(b, a)
}

/// Whether a constraint of `a` excludes the bits that `b` fixes.
fn excludes(a: &Row, b: &Row) -> bool {
    a.pattern.fields.iter().any(|f| {
        let covered = f.pieces.iter().all(|p| {
            let bits = (((1u64 << p.len) - 1) as u32) << p.at;
            b.pattern.mask & bits == bits
        });
        covered && f.not.contains(&value(f, b.pattern.value))
    })
}

/// A field's value in an encoding.
pub fn value(f: &crate::pattern::Field, word: u32) -> i64 {
    let raw = f.pieces.iter().fold(0i64, |v, p| v | ((word >> p.at) as i64 & ((1i64 << p.len) - 1)) << p.bit);
    let signed = if f.signed() { raw << (64 - f.bits()) >> (64 - f.bits()) } else { raw };
    signed + f.plus as i64
}

/// Builds the tree of the rows with these indices.
pub fn build(rows: &[Row], among: &[usize], tested: u32) -> Node {
    let common = among.iter().fold(!tested, |m, &i| m & rows[i].pattern.mask);
    if common == 0 || among.len() < 2 {
        let mut order = among.to_vec();
        order.sort_by_key(|&i| std::cmp::Reverse(rows[i].pattern.mask.count_ones()));
        return Node::Try(order);
    }
    let mut values: Vec<u32> = among.iter().map(|&i| rows[i].pattern.value & common).collect();
    values.sort_unstable();
    values.dedup();
    let arms = values.into_iter().map(|v| {
        let group: Vec<usize> =
            among.iter().copied().filter(|&i| rows[i].pattern.value & common == v).collect();
        (v, build(rows, &group, tested | common))
    });
    Node::Switch(common, arms.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{self, Token};

    fn tokens(text: &str) -> Vec<Token> {
        let mut out = Vec::new();
        let mut rest = text.trim();
        while let Some(c) = rest.chars().next() {
            let len = if c == '"' {
                rest[1..].find('"').unwrap() + 2
            } else if c.is_alphanumeric() {
                rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())
            } else {
                1
            };
            let word = &rest[..len];
            out.push(match c {
                '"' => Token::Text(word.trim_matches('"').into()),
                '0'..='9' => Token::Number(word.parse().unwrap()),
                _ if c.is_alphabetic() => Token::Ident(word.into()),
                _ => Token::Punct(c),
            });
            rest = rest[len..].trim_start();
        }
        out
    }

    fn table(lines: &[&str]) -> Result<Vec<Row>, Fault> {
        let head = "cpu Rv { variants rv32, rv64; fields rd: 5, rs1: 5, rs2: 5; }";
        let text: String = lines.iter().map(|l| format!("#[doc=\"d\"]{l}")).collect();
        let table = parse::table(&tokens(&format!("{head}{text}")))?;
        check(&table.rows).map(|()| table.rows)
    }

    const JR: &str = r#"c_jr = jalr(0, rs1!=0, 0) "1000 rs1 00000 10" "c.jr rs1" C;"#;
    const MV: &str = r#"c_mv = add(rd, 0, rs2!=0) "1000 rd rs2 10" "c.mv rd, rs2" C;"#;

    #[test]
    fn more_specific_rows_come_first() {
        let rows = table(&[MV, JR]).unwrap();
        match build(&rows, &[0, 1], 0) {
            Node::Switch(_, arms) => assert!(matches!(&arms[0].1, Node::Try(o) if o == &[1, 0])),
            Node::Try(_) => panic!("common bits are there to look at"),
        }
    }

    #[test]
    fn overlaps_are_refused() {
        let twin = MV.replace("c_mv", "c_twin");
        let fault = table(&[MV, &twin]).unwrap_err();
        assert_eq!(fault.message, "row 'c_twin' overlaps row 'c_mv' and neither is more specific");
        let half = r#"half = f(rd) "1000 rd 0000 rs2[0] 10" "half" C;"#;
        let other = r#"other = f(rs2) "1000 0000 rd[0] rs2 10" "other" C;"#;
        assert!(table(&[half, other]).is_err());
    }

    #[test]
    fn arguments_must_be_fields() {
        let fault = table(&[&MV.replace("add(rd", "add(rq")]).unwrap_err();
        assert_eq!(fault.message, "'rq' is not a field of the pattern");
    }

    #[test]
    fn rows_of_different_variants_may_overlap() {
        let [one, other] =
            ["rv32", "rv64"].map(|v| format!(r#"{v} = f(rd, rs2) "1000 rd rs2 10" "x" C {v};"#));
        assert_eq!(table(&[&one, &other]).unwrap().iter().map(|r| r.variants).collect::<Vec<_>>(), [1, 2]);
        let wrong = table(&[&one.replace("C rv32", "C rv16")]).unwrap_err();
        assert_eq!(wrong.message, "expected rv32, rv64 or ';'");
    }

    #[test]
    fn immediates_are_put_together() {
        let rows =
            table(&[r#"jal = jal(rd, imm) "imm[20|10:1|11|19:12] rd 1101111" "jal rd, imm" I;"#]).unwrap();
        assert_eq!(value(&rows[0].pattern.fields[0], 0xffdff06f), -4);
    }
}
