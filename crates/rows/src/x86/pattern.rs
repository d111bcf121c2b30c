//! Encodings and operands in Intel's notation.

/// Bits of a row's mask, and of what the decoder compares with it. `crate::row` of the CPU has the same ones.
pub mod key {
    /// Mandatory prefix, two bits: 0 none, 1 `66`, 2 `F3`, 3 `F2`.
    pub const PREFIX: u16 = 0;
    /// `reg` of ModRM, three bits.
    pub const REG: u16 = 2;
    /// `mod` of ModRM is 3.
    pub const REGISTER: u16 = 5;
    /// `r/m` of ModRM, three bits.
    pub const RM: u16 = 6;
    /// W of REX or VEX.
    pub const W: u16 = 9;
    /// L of VEX.
    pub const L: u16 = 10;
    /// 64-bit mode.
    pub const LONG: u16 = 11;
}

/// An encoding.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Encoding {
    pub vex: bool,
    /// 0 one-byte opcodes, 1 `0F`, 2 `0F 38`, 3 `0F 3A`.
    pub map: u8,
    pub opcode: u8,
    /// Number of opcodes from the first one on: 1, 8 or 16.
    pub span: u8,
    pub modrm: bool,
    pub mask: u16,
    pub value: u16,
}

impl Encoding {
    fn demand(&mut self, at: u16, bits: u16, value: u16) {
        self.mask |= bits << at;
        self.value |= value << at;
    }

    /// Restricts the row to 64-bit mode, or to the others.
    pub fn in_long_mode(&mut self, long: bool) {
        self.demand(key::LONG, 1, long as u16);
    }
}

fn hex(word: &str) -> Option<u8> {
    (word.len() == 2).then(|| u8::from_str_radix(word, 16).ok()).flatten()
}

/// Parses an encoding.
pub fn encoding(text: &str) -> Result<Encoding, String> {
    let mut words = text.split(' ').filter(|w| !w.is_empty()).peekable();
    let mut e = Encoding { span: 1, ..Encoding::default() };
    match words.peek() {
        Some(w) if w.starts_with("VEX.") => {
            vex(w, &mut e)?;
            words.next();
        }
        _ => {
            let prefix = words.peek().and_then(|w| ["NP", "66", "F3", "F2"].iter().position(|p| p == w));
            if let Some(n) = prefix {
                e.demand(key::PREFIX, 3, n as u16);
                words.next();
            }
            if words.peek() == Some(&"0F") {
                words.next();
                e.map = match words.peek() {
                    Some(&"38") => 2,
                    Some(&"3A") => 3,
                    _ => 1,
                };
                if e.map > 1 {
                    words.next();
                }
            }
        }
    }
    let opcode = words.next().ok_or("the encoding has no opcode")?;
    let (digits, span) = match opcode.split_once('+') {
        None => (opcode, 1),
        Some((digits, "r")) => (digits, 8),
        Some((digits, "cc")) => (digits, 16),
        Some(_) => return Err(format!("'{opcode}': expected +r or +cc")),
    };
    e.opcode = hex(digits).ok_or(format!("'{opcode}' is not an opcode"))?;
    e.span = span;
    if e.opcode & (span - 1) != 0 {
        return Err(format!("'{opcode}': the low bits are not free"));
    }
    words.try_for_each(|word| modrm(word, &mut e))?;
    Ok(e)
}

/// `VEX.L.pp.map.W`: `VEX.128.66.0F.WIG`.
fn vex(word: &str, e: &mut Encoding) -> Result<(), String> {
    e.vex = true;
    let parts: Vec<&str> = word.split('.').collect();
    let [_, l, pp, map, w] = parts[..] else { return Err(format!("'{word}': expected VEX.L.pp.map.W")) };
    match l {
        "128" | "LZ" | "L0" => e.demand(key::L, 1, 0),
        "256" | "L1" => e.demand(key::L, 1, 1),
        "LIG" => {}
        _ => return Err(format!("'{l}' is not a length of VEX")),
    }
    let prefix = ["NP", "66", "F3", "F2"].iter().position(|p| *p == pp);
    e.demand(key::PREFIX, 3, prefix.ok_or(format!("'{pp}' is not a prefix of VEX"))? as u16);
    e.map = match map {
        "0F" => 1,
        "0F38" => 2,
        "0F3A" => 3,
        _ => return Err(format!("'{map}' is not a map of VEX")),
    };
    match w {
        "W0" => e.demand(key::W, 1, 0),
        "W1" => e.demand(key::W, 1, 1),
        "WIG" => {}
        _ => return Err(format!("'{w}' is not a W of VEX")),
    }
    Ok(())
}

/// What follows the opcode.
fn modrm(word: &str, e: &mut Encoding) -> Result<(), String> {
    e.modrm = true;
    match word {
        "/r" => {}
        "mem" => e.demand(key::REGISTER, 1, 0),
        "reg" => e.demand(key::REGISTER, 1, 1),
        "W0" => e.demand(key::W, 1, 0),
        "W1" => e.demand(key::W, 1, 1),
        _ => match (word.strip_prefix('/').and_then(|n| n.parse().ok()), word.split_once('+')) {
            (Some(n @ 0..=7), _) => e.demand(key::REG, 7, n),
            (None, None) => {
                let byte = hex(word).filter(|b| *b >= 0xc0);
                let byte = byte.ok_or(format!("'{word}' does not follow an opcode"))? as u16;
                e.demand(key::REGISTER, 1, 1);
                e.demand(key::REG, 7, byte >> 3 & 7);
                e.demand(key::RM, 7, byte & 7);
            }
            (None, Some((digits, "i"))) => {
                let byte = hex(digits).filter(|b| *b >= 0xc0 && b & 7 == 0);
                let byte = byte.ok_or(format!("'{word}' is not the first byte of eight"))? as u16;
                e.demand(key::REGISTER, 1, 1);
                e.demand(key::REG, 7, byte >> 3 & 7);
            }
            _ => return Err(format!("'{word}' does not follow an opcode")),
        },
    }
    Ok(())
}

/// An operand: where it comes from, and its size, both as the names that `crate::row` has for them.
#[derive(Clone, Debug, PartialEq)]
pub struct Operand {
    pub kind: String,
    pub size: &'static str,
}

/// Operands without an encoding.
const FIXED: &[(&str, &str, &str)] = &[
    ("al", "Gpr(0)", "B"),
    ("cl", "Gpr(1)", "B"),
    ("ax", "Gpr(0)", "W"),
    ("dx", "Gpr(2)", "W"),
    ("eax", "Gpr(0)", "D"),
    ("ecx", "Gpr(1)", "D"),
    ("edx", "Gpr(2)", "D"),
    ("rAX", "Gpr(0)", "V"),
    ("1", "One", "B"),
    ("es", "Segment(0)", "W"),
    ("cs", "Segment(1)", "W"),
    ("ss", "Segment(2)", "W"),
    ("ds", "Segment(3)", "W"),
    ("fs", "Segment(4)", "W"),
    ("gs", "Segment(5)", "W"),
    ("xmm0", "Vector(0)", "X"),
    ("st0", "Stack(0)", "T"),
    ("STi", "StackRm", "T"),
];

/// The codes of sizes (Intel SDM volume 2, A.2.2).
const SIZES: &[(&str, &str)] = &[
    ("", "None"),
    ("b", "B"),
    ("w", "W"),
    ("d", "D"),
    ("q", "Q"),
    ("v", "V"),
    ("z", "Z"),
    ("y", "Y"),
    ("x", "X"),
    ("ps", "X"),
    ("pd", "X"),
    ("dq", "O"),
    ("qq", "H"),
    ("ss", "D"),
    ("sd", "Q"),
    ("p", "Far"),
    ("s", "Table"),
    ("a", "Bounds"),
    ("t", "T"),
    ("h", "Half"),
    ("e", "Quarter"),
    ("f", "Eighth"),
];

/// Parses an operand.
pub fn operand(text: &str) -> Result<Operand, String> {
    if let Some((_, kind, size)) = FIXED.iter().find(|f| f.0 == text) {
        return Ok(Operand { kind: (*kind).into(), size });
    }
    let unknown = || format!("'{text}' is not an operand");
    let (kind, size) = text.split_at_checked(1).ok_or_else(unknown)?;
    if !"ABCDEGHIJLMNOPQRSUVWXYZ".contains(kind) {
        return Err(unknown());
    }
    let (_, size) = SIZES.iter().find(|s| s.0 == size).ok_or_else(unknown)?;
    Ok(Operand { kind: kind.into(), size })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        let plain = Encoding { opcode: 0x00, span: 1, modrm: true, ..Encoding::default() };
        assert_eq!(encoding("00 /r").unwrap(), plain);
        let e = encoding("66 0F 38 F1 /r mem").unwrap();
        assert_eq!((e.map, e.opcode, e.mask, e.value), (2, 0xf1, 3 | 1 << key::REGISTER, 1));
        let e = encoding("VEX.256.66.0F3A.W1 00 /r").unwrap();
        let bits = 1 << key::W | 1 << key::L;
        assert_eq!((e.vex, e.map, e.mask, e.value), (true, 3, 3 | bits, 1 | bits));
        let e = encoding("0F 70+cc").unwrap();
        assert_eq!((e.map, e.opcode, e.span, e.modrm), (1, 0x70, 16, false));
        let e = encoding("0F 01 D0").unwrap();
        assert_eq!(e.value, 1 << key::REGISTER | 2 << key::REG);
        let e = encoding("D8 C8+i").unwrap();
        assert_eq!((e.mask >> key::RM & 7, e.value), (0, 1 << key::REGISTER | 1 << key::REG));
        let e = encoding("F6 /7").unwrap();
        assert_eq!(e.value, 7 << key::REG);
        for wrong in ["", "0G", "00 /8", "51+r", "00 12", "VEX.128.66 00", "00+i"] {
            assert!(encoding(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn operands() {
        let found = |text| operand(text).map(|o| (o.kind, o.size)).unwrap();
        assert_eq!(found("Ev"), ("E".into(), "V"));
        assert_eq!(found("M"), ("M".into(), "None"));
        assert_eq!(found("Wsd"), ("W".into(), "Q"));
        assert_eq!(found("rAX"), ("Gpr(0)".into(), "V"));
        for wrong in ["", "Ek", "kv", "rax"] {
            assert!(operand(wrong).is_err(), "{wrong}");
        }
    }
}
