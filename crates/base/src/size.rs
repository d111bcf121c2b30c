//! Parsing of sizes as people write them.

/// Parses a size above 0 in bytes: a number, or a number with `K`, `M`, `G` or `T` (1024, 1024², 1024³ and 1024⁴; also
/// `KB`, `KiB`), in either case. Every option of the command that takes a size is read here; what differs is what a number
/// without a unit counts ([`Unit`]).
///
/// # Errors
/// A sentence that says what is wrong with the text.
pub fn parse(text: &str) -> Result<u64, String> {
    parse_in(text, Unit::Byte)
}

/// The unit of a number without a suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Byte,
    /// 1024² bytes.
    MiB,
    /// Nothing: the number must have a unit.
    Required,
}

/// As [`parse`], but `unit` says what a number without a suffix counts.
///
/// # Errors
/// As [`parse`].
pub fn parse_in(text: &str, unit: Unit) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    if digits.is_empty() {
        return Err(format!("'{text}' is not a size: write a number with K, M or G, such as 512M"));
    }
    let shift = match &text[digits.len()..].to_ascii_lowercase()[..] {
        "" if unit == Unit::MiB => 20,
        "" if unit == Unit::Required => {
            return Err(format!("'{text}' has no unit: a size is a number with K, M or G, such as 512M"));
        }
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        unit => return Err(format!("'{text}' is not a size: '{unit}' is not a unit, use K, M or G")),
    };
    let n = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
    n.filter(|n| *n > 0).ok_or_else(|| format!("'{text}' is not a number above 0"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_as_people_write_them() {
        for (text, size) in
            [("3", 3), ("2K", 2048), ("2kb", 2048), ("5MiB", 5 << 20), ("1gib", 1 << 30), ("2T", 2 << 40)]
        {
            assert_eq!(super::parse(text), Ok(size), "{text}");
        }
        assert_eq!(super::parse_in("3", super::Unit::MiB), Ok(3 << 20));
        assert_eq!(super::parse_in("3K", super::Unit::MiB), Ok(3 << 10));
        assert_eq!(super::parse_in("3K", super::Unit::Required), Ok(3 << 10));
        assert!(super::parse_in("3", super::Unit::Required).is_err());
        for bad in ["", "0", "x", "-1", "1X", "K", "99999999999999999999", "99999999999G"] {
            let error = super::parse(bad).expect_err(bad);
            assert!(error.contains(&format!("'{bad}' is not")), "{error}");
        }
    }
}
