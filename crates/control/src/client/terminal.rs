//! The terminal of a command that is attached to a guest.

use crate::wire::Size;
use trine_base::terminal;

/// Size of the terminal at standard output, or else at standard input.
pub fn size() -> Option<Size> {
    terminal::size(&std::io::stdout()).or_else(|| terminal::size(&std::io::stdin()))
}

/// A sequence of keys that detaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    keys: Vec<u8>,
    /// How many of the keys have been pressed.
    pressed: usize,
}

impl Keys {
    /// The default sequence for containers and programs.
    pub const USUAL: &str = "ctrl-p,ctrl-q";
    /// The default sequence for machines, whose escape key is Ctrl-A.
    pub const MACHINE: &str = "ctrl-a,d";

    /// Parses keys as Docker names them: letters, or `ctrl-` with a letter or one of `@[\]^_`, separated by
    /// commas.
    ///
    /// # Errors
    /// Returns a sentence where the text is not a key sequence.
    pub fn parse(text: &str) -> Result<Keys, String> {
        let key = |word: &str| match word.strip_prefix("ctrl-").map(str::as_bytes) {
            Some(&[c @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => Some(c & 0x1f),
            Some(_) => None,
            None if word.len() == 1 && word.is_ascii() => Some(word.as_bytes()[0]),
            None => None,
        };
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        let keys =
            keys.ok_or_else(|| format!("'{text}' is not a key sequence: write it like ctrl-p,ctrl-q"))?;
        Ok(Keys { keys, pressed: 0 })
    }

    /// Returns the part of these bytes that is sent to the guest, and whether the sequence is complete.
    pub fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut pass = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if self.keys.get(self.pressed) != Some(&byte) && self.pressed > 0 {
                pass.extend_from_slice(&self.keys[..self.pressed]);
                self.pressed = 0;
                // The first key pressed twice: the second press may begin the sequence.
                if self.keys.first() == Some(&byte) && self.keys.len() > 1 {
                    pass.push(byte);
                    continue;
                }
            }
            match self.keys.get(self.pressed) == Some(&byte) {
                true => self.pressed += 1,
                false => pass.push(byte),
            }
            if self.pressed == self.keys.len() && self.pressed > 0 {
                self.pressed = 0;
                return (pass, true);
            }
        }
        (pass, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_wherever_reads_end() {
        let mut keys = Keys::parse(Keys::USUAL).unwrap();
        assert_eq!(keys.take(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(keys.take(b"c"), (b"\x10c".to_vec(), false));
        assert_eq!(keys.take(b"x\x10\x11y"), (b"x".to_vec(), true));
        let mut keys = Keys::parse(Keys::MACHINE).unwrap();
        assert_eq!(keys.take(b"\x01"), (vec![], false));
        assert_eq!(keys.take(b"x"), (b"\x01x".to_vec(), false));
        assert_eq!(keys.take(b"\x01\x01"), (b"\x01\x01".to_vec(), false));
        assert_eq!(keys.take(b"d\x01d"), (b"d".to_vec(), true));
    }

    #[test]
    fn keys_that_are_none() {
        for bad in ["", "ctrl-", "ctrl-1", "ctrl-aa", "ab", "a,,b"] {
            assert!(Keys::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Keys::parse("ctrl-@,ctrl-_,z").unwrap().keys, [0, 31, b'z']);
    }
}
