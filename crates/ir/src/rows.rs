//! The data structures of the `rows!` macro's tables, with a disassembler and an assembler of single
//! instructions.

/// The decoded operands of one instruction.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Operands {
    /// Register numbers and other small fields, in the order of the pattern.
    pub r: [u8; 8],
    /// The immediate (or CSR number), sign-extended where the field is signed.
    pub imm: i64,
    /// The instruction's bytes as a little-endian number, if the operands were decoded from one: for handlers
    /// of illegal instructions.
    pub word: u32,
}

/// Index of a row in its table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Row(pub u16);

/// Encoding bits `at .. at + len` hold value bits `bit .. bit + len` of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Lowest encoding bit.
    pub at: u8,
    /// Number of bits.
    pub len: u8,
    /// Lowest value bit.
    pub bit: u8,
}

/// Where a field's value lies in [`Operands`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In `r` at this index.
    R(u8),
    /// In `imm`.
    Imm,
}

/// One field of an encoding.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name in pattern and syntax.
    pub name: &'static str,
    /// Where the decoder puts it.
    pub place: Place,
    /// Width of the value in bits: the highest value bit plus one.
    pub bits: u8,
    /// Whether the value is sign-extended.
    pub signed: bool,
    /// Added to the encoded value (8 for the short register fields of compressed instructions).
    pub plus: u8,
    /// Where its bits are.
    pub pieces: &'static [Piece],
    /// Values that belong to another instruction.
    pub not: &'static [i64],
}

/// One row: everything about an instruction except its body.
#[derive(Clone, Copy, Debug)]
pub struct RowInfo {
    /// Name of the row.
    pub name: &'static str,
    /// First word of the syntax.
    pub mnemonic: &'static str,
    /// Assembler syntax with field names as placeholders.
    pub syntax: &'static str,
    /// The extension it belongs to.
    pub extension: &'static str,
    /// The row's doc comment.
    pub doc: &'static str,
    /// Encoding bits that are fixed.
    pub mask: u32,
    /// Their values.
    pub value: u32,
    /// Length in bytes.
    pub bytes: u8,
    /// The variants of the CPU that have the instruction, one bit each.
    pub variants: u8,
    /// The fields.
    pub fields: &'static [Field],
    /// Name of the body.
    pub body: &'static str,
}

/// Converts a small operand or literal to a body's parameter type.
#[inline(always)]
pub fn lit<T: From<u8>>(n: u8) -> T {
    T::from(n)
}

impl Field {
    /// The field's value in decoded operands.
    pub fn of(&self, operands: &Operands) -> i64 {
        match self.place {
            Place::R(i) => operands.r[i as usize & 7] as i64,
            Place::Imm => operands.imm,
        }
    }

    /// Encodes `value` into the field's bits; `None` if it does not fit exactly.
    pub fn encode(&self, value: i64) -> Option<u32> {
        let raw = value.checked_sub(self.plus as i64)?;
        let named = self.pieces.iter().fold(0u64, |m, p| m | (((1u64 << p.len) - 1) << p.bit));
        let in_range = if self.signed {
            let top = 1i64 << (self.bits - 1);
            raw >= -top && raw < top
        } else {
            raw >= 0 && raw < 1i64 << self.bits
        };
        let unnamed = !named & ((1u64 << self.bits) - 1);
        if !in_range || raw as u64 & unnamed != 0 || self.not.contains(&value) {
            return None;
        }
        Some(self.pieces.iter().fold(0, |word, p| {
            word | (((raw as u64 >> p.bit) as u32 & ((1u64 << p.len) - 1) as u32) << p.at)
        }))
    }
}

impl RowInfo {
    /// Whether a variant of the CPU, by its number in the table, has the instruction.
    pub fn valid_in(&self, variant: u32) -> bool {
        self.variants.checked_shr(variant).is_some_and(|bits| bits & 1 != 0)
    }

    /// Encodes the instruction with these operands; `None` if a value does not fit its field.
    pub fn encode(&self, operands: &Operands) -> Option<u32> {
        self.fields.iter().try_fold(self.value, |word, f| Some(word | f.encode(f.of(operands))?))
    }

    /// The instruction as text. `show` turns a field and its value into a name or number.
    pub fn disassemble(&self, operands: &Operands, show: impl Fn(&Field, i64) -> String) -> String {
        let mut text = String::new();
        let mut rest = self.syntax;
        let (mnemonic, operands_text) = rest.split_once(' ').unwrap_or((rest, ""));
        text.push_str(mnemonic);
        if !operands_text.is_empty() {
            text.push(' ');
        }
        rest = operands_text;
        while !rest.is_empty() {
            let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            if word == 0 {
                let next = rest.chars().next().map_or(1, char::len_utf8);
                text.push_str(&rest[..next]);
                rest = &rest[next..];
                continue;
            }
            match self.fields.iter().find(|f| f.name == &rest[..word]) {
                Some(f) => text.push_str(&show(f, f.of(operands))),
                None => text.push_str(&rest[..word]),
            }
            rest = &rest[word..];
        }
        text
    }
}

/// A number in assembly: decimal, or hexadecimal after `0x`, with an optional minus sign.
pub fn number(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |d| (true, d));
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()? as i64,
        None => digits.parse().ok()?,
    };
    Some(if negative { value.wrapping_neg() } else { value })
}

/// Splits into words; each other character is a word of its own.
fn words(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
        let len =
            if is_word(first) { rest.find(|c| !is_word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        out.push(&rest[..len]);
        rest = rest[len..].trim_start();
    }
    out
}

/// Matches operands against a row's syntax; `read` turns a field's text into its value.
fn operands(row: &RowInfo, text: &[&str], read: &impl Fn(&Field, &str) -> Option<i64>) -> Option<Operands> {
    let syntax = words(row.syntax);
    let mut found = Operands::default();
    if syntax.len() != text.len() {
        return None;
    }
    for (want, have) in syntax.iter().zip(text) {
        match row.fields.iter().find(|f| f.name == *want) {
            Some(f) => match f.place {
                Place::R(i) => found.r[i as usize & 7] = read(f, have)? as u8,
                Place::Imm => found.imm = read(f, have)?,
            },
            None if want == have => {}
            None => return None,
        }
    }
    Some(found)
}

/// Assembles one instruction of these rows in their own syntax; `read` turns a field's text into its value. Fields that
/// the syntax does not name are 0. Gives the instruction as a number, and its length in bytes.
///
/// # Errors
/// Returns a sentence about what does not fit.
pub fn assemble<'a>(
    rows: impl Iterator<Item = &'a RowInfo>,
    text: &str,
    read: impl Fn(&Field, &str) -> Option<i64>,
) -> Result<(u32, u8), String> {
    let words = words(text);
    let mnemonic = *words.first().ok_or("the line has no instruction")?;
    let mut known = false;
    for row in rows.filter(|r| r.mnemonic == mnemonic) {
        known = true;
        if let Some(word) = operands(row, &words, &read).and_then(|o| row.encode(&o)) {
            return Ok((word, row.bytes));
        }
    }
    Err(if known {
        format!("'{text}': these operands do not fit")
    } else {
        format!("'{mnemonic}' is not an instruction")
    })
}
