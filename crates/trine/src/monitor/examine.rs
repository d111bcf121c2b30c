//! Memory and code as text: the monitor's commands `x`, `xp` and `disassemble`.

use super::{Answer, Monitor, number};
use std::fmt::Write;
use trine_machine::Board;

/// The most values of one command.
const MOST: u64 = 4096;
/// Instructions that `disassemble` shows.
const USUAL: u64 = 10;
/// The longest instruction of any CPU in bytes.
const LONGEST: usize = 16;

/// How memory is shown, as gdb writes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Format {
    count: u64,
    letter: char,
    bytes: usize,
}

const USUAL_FORMAT: Format = Format { count: 1, letter: 'x', bytes: 4 };

impl Format {
    /// Parses `/16xg`; each part may be missing.
    fn parse(text: &str) -> Result<Format, String> {
        let mut format = USUAL_FORMAT;
        let body = text.strip_prefix('/').unwrap_or(text);
        let digits = body.len() - body.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits > 0 {
            format.count = number(&body[..digits])?;
        }
        for letter in body[digits..].chars() {
            match letter {
                'x' | 'd' | 'u' | 'o' | 't' | 'c' | 'i' => format.letter = letter,
                'b' => format.bytes = 1,
                'h' => format.bytes = 2,
                'w' => format.bytes = 4,
                'g' => format.bytes = 8,
                _ => {
                    return Err(format!(
                        "'{letter}' is no format: use x d u o t c i and b h w g, as in /8xg"
                    ));
                }
            }
        }
        if letter_alone(&body[digits..]) {
            format.bytes = 1;
        }
        match format.count {
            1..=MOST => Ok(format),
            _ => Err(format!("the count is 1 to {MOST}")),
        }
    }

    /// One value.
    fn show(self, value: u64) -> String {
        let (bits, width) = (self.bytes * 8, self.bytes * 2);
        let signed = (value as i64) << (64 - bits) >> (64 - bits);
        match self.letter {
            'd' => signed.to_string(),
            'u' => value.to_string(),
            'o' => format!("0{value:o}"),
            't' => format!("{value:0bits$b}"),
            'c' => match char::from_u32(value as u32).filter(|c| c.is_ascii_graphic() || *c == ' ') {
                Some(c) => format!("'{c}'"),
                None => format!("'\\x{:02x}'", value as u8),
            },
            _ => format!("0x{value:0width$x}"),
        }
    }
}

/// Characters are bytes if no size is given.
fn letter_alone(letters: &str) -> bool {
    letters.contains('c') && !letters.contains(['b', 'h', 'w', 'g'])
}

/// Where bytes come from.
#[derive(Clone, Copy)]
enum Source {
    Virtual(usize),
    Physical,
}

impl Source {
    /// Reads bytes; returns how many could be read.
    fn read(self, board: &Board, at: u64, to: &mut [u8]) -> usize {
        match self {
            Source::Virtual(cpu) => board.read_virtual(cpu, at, to),
            Source::Physical => {
                let most = (board.ram().base() + board.ram().size()).saturating_sub(at).min(to.len() as u64);
                board.ram().read_any(at, &mut to[..most as usize]).map_or(0, |()| most as usize)
            }
        }
    }
}

/// Values as lines of 16 bytes.
fn dump(board: &Board, source: Source, start: u64, format: Format) -> String {
    let (mut text, per_line) = (String::new(), (16 / format.bytes) as u64);
    for n in 0..format.count {
        let at = start.wrapping_add(n * format.bytes as u64);
        let mut bytes = [0; 8];
        if source.read(board, at, &mut bytes[..format.bytes]) < format.bytes {
            let _ = write!(text, "\n{at:#x}: there is no memory");
            break;
        }
        if n % per_line == 0 {
            let _ = write!(text, "{}{at:016x}:", if n == 0 { "" } else { "\n" });
        }
        let _ = write!(text, " {}", format.show(u64::from_le_bytes(bytes)));
    }
    text.trim_start().to_owned() + "\n"
}

/// Instructions, a line each.
fn code(board: &mut Board, source: Source, cpu: usize, start: Option<u64>, count: u64) -> String {
    let Some(pc) = board.vcpus().get(cpu).map(|vcpu| vcpu.pc()) else { return String::new() };
    let (mut text, mut at) = (String::new(), start.unwrap_or(pc));
    for _ in 0..count {
        let mut bytes = [0; LONGEST];
        let have = source.read(board, at, &mut bytes);
        if have == 0 {
            let _ = writeln!(text, "{at:#x}: there is no memory");
            break;
        }
        let found = board.vcpus().get(cpu).and_then(|vcpu| vcpu.disassemble(&bytes[..have]));
        let mark = if at == pc { "=>" } else { "  " };
        let (line, length) = found.unwrap_or_else(|| ("not an instruction".into(), 2.min(have)));
        let raw: String = bytes[..length].iter().rev().map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(text, "{mark} {at:016x}: {raw:<16} {line}");
        at = at.wrapping_add(length as u64);
    }
    text
}

impl Monitor {
    pub(super) fn examine(&mut self, words: &[&str], physical: bool) -> Answer {
        let (format, rest) = match words.split_first() {
            Some((word, rest)) if word.starts_with('/') => (Format::parse(word)?, rest),
            _ => (USUAL_FORMAT, words),
        };
        let [address] = rest else { return Err("one address is needed, as in x /8xg 0x80000000".into()) };
        let (start, cpu) = (number(address)?, self.cpu);
        let source = if physical { Source::Physical } else { Source::Virtual(cpu) };
        self.ask(move |board| match format.letter {
            'i' => code(board, source, cpu, Some(start), format.count),
            _ => dump(board, source, start, format),
        })
    }

    pub(super) fn disassemble(&mut self, words: &[&str]) -> Answer {
        let start = words.first().filter(|word| !word.is_empty()).map(|word| number(word)).transpose()?;
        let count = words.get(1).map_or(Ok(USUAL), |word| number(word))?;
        if !(1..=MOST).contains(&count) {
            return Err(format!("the count is 1 to {MOST}"));
        }
        let cpu = self.cpu;
        self.ask(move |board| code(board, Source::Virtual(cpu), cpu, start, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_those_of_gdb() {
        let format = |count, letter, bytes| Ok(Format { count, letter, bytes });
        assert_eq!(Format::parse("/16xg"), format(16, 'x', 8));
        assert_eq!(Format::parse("/i"), format(1, 'i', 4));
        assert_eq!((Format::parse("/4c"), Format::parse("/4cw")), (format(4, 'c', 1), format(4, 'c', 4)));
        for bad in ["/0x", "/5000", "/z", "/x8", "/99999999999999999999"] {
            assert!(Format::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_shown_in_their_size() {
        let show = |letter, bytes, value| Format { count: 1, letter, bytes }.show(value);
        assert_eq!(show('x', 4, 0x12), "0x00000012");
        assert_eq!((show('d', 1, 0xff), show('u', 1, 0xff)), ("-1".into(), "255".into()));
        assert_eq!(show('d', 8, u64::MAX), "-1");
        assert_eq!((show('t', 1, 5), show('o', 2, 8)), ("00000101".into(), "010".into()));
        assert_eq!((show('c', 1, 0x41), show('c', 1, 7)), ("'A'".into(), "'\\x07'".into()));
    }
}
