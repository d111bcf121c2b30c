//! Encoding patterns: the manual's notation.
//!
//! A pattern is a line of tokens, highest bit first: literal bits (`0101`) or fields. A field is a
//! name with a natural width (`rd`), or a name with the list of value bits that its encoding bits
//! hold (`imm[12|10:5]`). It may come in several pieces.

use std::collections::BTreeMap;

/// A piece of a field: encoding bits `at..` hold value bits `bit..`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub at: u32,
    pub len: u32,
    pub bit: u32,
}

/// A field of a pattern.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    /// Pieces, highest encoding bit first.
    pub pieces: Vec<Piece>,
    /// Values for which the encoding is a different instruction.
    pub not: Vec<i64>,
    /// The number that is added to the encoded value.
    pub plus: u32,
}

impl Field {
    /// Highest value bit plus one.
    pub fn bits(&self) -> u32 {
        self.pieces.iter().map(|p| p.bit + p.len).max().unwrap_or(0)
    }

    /// Whether the value goes to `Operands::imm`: values that do not fit a byte do, and all immediates.
    pub fn wide(&self) -> bool {
        self.bits() > 8 || matches!(&*self.name, "imm" | "nzimm" | "uimm" | "nzuimm")
    }

    /// Whether the value is sign-extended.
    pub fn signed(&self) -> bool {
        matches!(&*self.name, "imm" | "nzimm")
    }
}

/// A field that patterns name without a list of bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldKind {
    /// Number of bits.
    pub width: u32,
    /// The number that is added to the encoded value.
    pub plus: u32,
}

/// A parsed pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// 16 or 32.
    pub bits: u32,
    pub mask: u32,
    pub value: u32,
    pub fields: Vec<Field>,
}

/// Parses a pattern; the error says what is wrong with it.
pub fn parse(text: &str, kinds: &BTreeMap<String, FieldKind>) -> Result<Pattern, String> {
    let tokens: Vec<Token> = text.split_whitespace().map(|t| token(t, kinds)).collect::<Result<_, _>>()?;
    let bits: u32 = tokens.iter().map(|t| t.2).sum();
    if bits != 16 && bits != 32 {
        return Err(format!("the pattern has {bits} bits, not 16 or 32"));
    }
    let mut p = Pattern { bits, mask: 0, value: 0, fields: Vec::new() };
    let mut at = bits;
    for (name, ranges, width) in tokens {
        if ranges.is_empty() {
            at -= width;
            p.mask |= (((1u64 << width) - 1) as u32) << at;
            p.value |= u32::from_str_radix(name, 2).map_err(|e| format!("'{name}': {e}"))? << at;
            continue;
        }
        let index = p.fields.iter().position(|f| f.name == name).unwrap_or_else(|| {
            let not = if name.starts_with("nz") { vec![0] } else { vec![] };
            let plus = kinds.get(name).map_or(0, |k| k.plus);
            p.fields.push(Field { name: name.to_string(), pieces: vec![], not, plus });
            p.fields.len() - 1
        });
        for (bit, len) in ranges {
            at -= len;
            p.fields[index].pieces.push(Piece { at, len, bit });
        }
    }
    check(&p)?;
    Ok(p)
}

/// A token: its name or bits, its value-bit ranges (lowest bit, length), its width.
type Token<'a> = (&'a str, Vec<(u32, u32)>, u32);

/// One token: its name or bits, its value-bit ranges (lowest bit, length), its width.
fn token<'a>(text: &'a str, kinds: &BTreeMap<String, FieldKind>) -> Result<Token<'a>, String> {
    if text.bytes().all(|b| b == b'0' || b == b'1') {
        return Ok((text, vec![], text.len() as u32));
    }
    let Some((name, list)) = text.split_once('[') else {
        let kind = kinds
            .get(text)
            .ok_or_else(|| format!("field '{text}' is not among the table's fields: list its bits"))?;
        let width = kind.width;
        return Ok((text, vec![(0, width)], width));
    };
    let list = list.strip_suffix(']').ok_or_else(|| format!("'{text}' lacks its ']'"))?;
    let number = |t: &str| {
        t.parse::<u32>()
            .ok()
            .filter(|n| *n < 64)
            .ok_or_else(|| format!("'{text}': '{t}' is not the number of a bit"))
    };
    let mut ranges = Vec::new();
    for part in list.split('|') {
        let (high, low) = part.split_once(':').unwrap_or((part, part));
        let (high, low) = (number(high)?, number(low)?);
        if high < low {
            return Err(format!("'{text}': {high}:{low} must have the higher bit first"));
        }
        ranges.push((low, high - low + 1));
    }
    let width = ranges.iter().map(|r| r.1).sum();
    Ok((name, ranges, width))
}

fn check(p: &Pattern) -> Result<(), String> {
    for f in &p.fields {
        let mut seen = 0u64;
        for piece in &f.pieces {
            let bits = ((1u64 << piece.len) - 1) << piece.bit;
            if seen & bits != 0 {
                return Err(format!("field '{}' names a bit twice", f.name));
            }
            seen |= bits;
        }
        let lowest = seen.trailing_zeros();
        if seen >> lowest != (1u64 << (f.bits() - lowest)) - 1 {
            return Err(format!("field '{}' leaves out a bit in the middle", f.name));
        }
    }
    if p.fields.iter().filter(|f| f.wide()).count() > 1 {
        return Err("more than one immediate".into());
    }
    if p.fields.iter().filter(|f| !f.wide()).count() > 8 {
        return Err("more than eight small fields".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Pattern, String> {
        let kind = FieldKind { width: 5, plus: 0 };
        let kinds = ["rd", "rs1", "rs2"].map(|name| (name.to_string(), kind));
        super::parse(text, &kinds.into())
    }

    #[test]
    fn branch_offsets_come_in_four_pieces() {
        let p = parse("imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011").unwrap();
        assert_eq!((p.mask, p.value), (0x707f, 0x63));
        let imm = &p.fields[0];
        assert_eq!((imm.bits(), imm.signed(), imm.pieces.len()), (13, true, 4));
        assert_eq!(imm.pieces[3], Piece { at: 7, len: 1, bit: 11 });
    }

    #[test]
    fn faults_are_named() {
        for (text, want) in [
            ("000 rd", "the pattern has 8 bits, not 16 or 32"),
            ("what 0000000000", "field 'what' is not among the table's fields: list its bits"),
            ("imm[1|1] 000000000000 01", "field 'imm' names a bit twice"),
            ("imm[5|3:2] 00000000000 01", "field 'imm' leaves out a bit in the middle"),
        ] {
            assert_eq!(parse(text).unwrap_err(), want, "{text}");
        }
    }
}
