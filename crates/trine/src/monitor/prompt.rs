//! The monitor's prompt on the user's terminal, which is raw.

use super::Monitor;
use crate::front::Front;

const PROMPT: &str = "(trine) ";
/// The longest line in bytes; what is typed beyond it is dropped.
const LONGEST: usize = 1024;

/// What a key means for the one who types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// The prompt stays.
    Stays,
    /// The user leaves the monitor.
    Leaves,
}

/// A line that is being typed.
#[derive(Default)]
struct Line {
    text: String,
    /// Within the escape sequence of a key such as an arrow, which is ignored.
    escape: bool,
}

/// What is to be done with a typed byte.
#[derive(PartialEq, Eq, Debug)]
enum Typed {
    /// These characters are shown.
    Echo(String),
    /// The line is complete.
    Enter(String),
    /// The user leaves the monitor.
    Leave,
}

impl Line {
    fn key(&mut self, byte: u8) -> Typed {
        let nothing = Typed::Echo(String::new());
        if self.escape {
            // `ESC [ … letter` or `ESC O letter`.
            self.escape = !(byte.is_ascii_alphabetic() && byte != b'O' || byte == b'~');
            return nothing;
        }
        match byte {
            b'\r' | b'\n' => Typed::Enter(std::mem::take(&mut self.text)),
            // Backspace, whichever the terminal sends.
            8 | 127 => match self.text.pop() {
                Some(_) => Typed::Echo("\x08 \x08".into()),
                None => nothing,
            },
            // Ctrl-C gives up the line, Ctrl-U erases it.
            3 => {
                self.text.clear();
                Typed::Echo(format!("^C\r\n{PROMPT}"))
            }
            21 => {
                let erased = "\x08 \x08".repeat(self.text.len());
                self.text.clear();
                Typed::Echo(erased)
            }
            // Ctrl-D on an empty line.
            4 if self.text.is_empty() => Typed::Leave,
            27 => {
                self.escape = true;
                nothing
            }
            b' '..=b'~' if self.text.len() < LONGEST => {
                self.text.push(char::from(byte));
                Typed::Echo(char::from(byte).to_string())
            }
            _ => nothing,
        }
    }
}

/// The monitor's prompt.
pub struct Prompt {
    monitor: Monitor,
    line: Line,
}

impl Prompt {
    /// Shows the prompt.
    pub fn begin(front: Front) -> Prompt {
        eprint!(
            "\r\nThe machine monitor: 'help' lists the commands, Ctrl-A c goes back to the console\r\n{PROMPT}"
        );
        Prompt { monitor: Monitor::new(front), line: Line::default() }
    }

    /// Handles a typed byte.
    pub fn key(&mut self, byte: u8) -> Key {
        match self.line.key(byte) {
            Typed::Echo(text) => eprint!("{text}"),
            Typed::Leave => return Key::Leaves,
            Typed::Enter(line) => {
                let text = self.monitor.execute(&line).replace('\n', "\r\n");
                eprint!("\r\n{text}{PROMPT}");
            }
        }
        Key::Stays
    }

    /// Leaves the monitor.
    pub fn end(self) {
        eprint!("\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The complete lines, and what is left.
    fn typed(bytes: &[u8]) -> (Vec<String>, String) {
        let (mut line, mut lines) = (Line::default(), Vec::new());
        for &byte in bytes {
            if let Typed::Enter(text) = line.key(byte) {
                lines.push(text);
            }
        }
        (lines, line.text)
    }

    #[test]
    fn lines_are_edited() {
        assert_eq!(typed(b"hx\x7felp\r"), (vec!["help".into()], String::new()));
        assert_eq!(typed(b"\x08\x7fa\x15b"), (vec![], "b".into()));
        assert_eq!(typed(b"stop\x03cont\r"), (vec!["cont".into()], String::new()));
        assert_eq!(typed(b"a\x1b[Ab\x1b[3~c\x1bOAd\xff\x01"), (vec![], "abcd".into()));
    }

    #[test]
    fn a_line_has_an_end() {
        assert_eq!(typed(&[b'x'; 3 * LONGEST]).1.len(), LONGEST);
    }

    #[test]
    fn the_end_of_the_input_leaves_only_an_empty_line() {
        let mut line = Line::default();
        assert_eq!(line.key(4), Typed::Leave);
        line.key(b'a');
        assert_eq!(line.key(4), Typed::Echo(String::new()));
    }
}
