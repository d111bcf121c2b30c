//! Making text from outside safe to print on a terminal.

/// Whether a terminal would act on this character instead of showing it: control characters, and those that
/// change the direction of the text around them (Unicode Technical Report 36, "Bidirectional Text Spoofing").
fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Replaces every character that a terminal would act on by `?`; newlines and tabs stay.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if acts(c) && !matches!(c, '\n' | '\t') { '?' } else { c }).collect()
}

/// As [`plain`], but on one line of at most `most` characters.
pub fn line(text: &str, most: usize) -> String {
    let mut chars = text.trim().chars().map(|c| match c {
        '\n' | '\r' | '\t' => ' ',
        c if acts(c) => '?',
        c => c,
    });
    let line: String = chars.by_ref().take(most).collect();
    if chars.next().is_some() { line + "…" } else { line }
}

/// Escapes every character of a JSON text that a terminal would act on. Outside of its strings JSON has only
/// ASCII, and inside of them any character can be escaped.
pub fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push(c),
            c if acts(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\r\u{9b}31m\x7f\u{202e}c\nd"), "a?[2Jb??31m??c\nd");
        assert_eq!(line(" a\nb\x1b]0;x\x07 ", 100), "a b?]0;x?");
        assert_eq!(line("abcdef", 3), "abc…");
        assert_eq!(line("abc", 3), "abc");
        assert_eq!(json("{\"a\":\"\u{9b}\x7fé\"}\n"), "{\"a\":\"\\u009b\\u007fé\"}\n");
    }
}
