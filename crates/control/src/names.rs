//! Names and ids of guests.

use crate::error::{ControlError, refused};

/// Words of generated names.
const FIRST: &[&str] = &[
    "airy", "amber", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cool", "cosy", "crisp",
    "deft", "eager", "early", "fair", "fine", "fleet", "fond", "fresh", "gentle", "glad", "golden", "grand",
    "green", "happy", "hardy", "keen", "kind", "lively", "lucky", "mellow", "merry", "mild", "neat",
    "nimble", "noble", "patient", "plain", "proud", "quick", "quiet", "rapid", "ready", "rosy", "royal",
    "sharp", "silver", "sleek", "smart", "snug", "solid", "spry", "steady", "still", "sunny", "swift",
    "tidy", "tranquil", "true", "vivid", "warm", "wise", "witty",
];
const SECOND: &[&str] = &[
    "alder", "aspen", "auk", "badger", "beech", "birch", "bison", "brook", "cedar", "crane", "curlew",
    "deer", "dove", "dune", "eagle", "elm", "falcon", "fern", "finch", "fjord", "fox", "gull", "hare",
    "hazel", "heron", "ibis", "iris", "ivy", "jay", "kestrel", "lark", "larch", "lily", "linnet", "lynx",
    "maple", "marten", "merlin", "moss", "oak", "orchid", "osprey", "otter", "owl", "pine", "plover",
    "poplar", "raven", "reed", "robin", "rowan", "salmon", "seal", "sorrel", "sparrow", "swan", "tern",
    "thrush", "trout", "vole", "willow", "wren", "yarrow", "yew",
];

/// Longest name.
const LONGEST: usize = 128;

/// Random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    trine_base::random::fill(&mut bytes);
    bytes
}

/// A new id: 32 hexadecimal digits.
pub fn id() -> String {
    random::<16>().iter().map(|b| format!("{b:02x}")).collect()
}

/// Generates a name for a guest that was given none; from the fifth try on it ends with a number.
pub fn any(try_: usize) -> String {
    let [a, b, c] = random();
    let name = format!("{}-{}", FIRST[a as usize % FIRST.len()], SECOND[b as usize % SECOND.len()]);
    if try_ < 4 { name } else { format!("{name}-{c}") }
}

/// Whether a text can be an id or the beginning of one.
pub fn is_id_start(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Checks a name: a letter or digit, then letters, digits, `_`, `.` and `-`, as with Docker.
///
/// # Errors
/// Returns a sentence where the name is not valid.
pub fn check(name: &str) -> Result<(), ControlError> {
    let mut bytes = name.bytes();
    let good = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if !good || name.len() > LONGEST {
        return refused(format!(
            "'{name}' cannot be a guest's name: at most {LONGEST} letters, digits, '_', '.' and '-', the first a letter or digit"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_can_be() {
        for good in ["a", "web-1", "0x", "A_b.c"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "ä", "a\n", &"x".repeat(129)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_made_can_be() {
        assert!((0..20).all(|n| check(&any(n)).is_ok()));
        assert!(is_id_start(&id()) && id() != id());
        assert!(!is_id_start("") && !is_id_start("xyz"));
    }
}
