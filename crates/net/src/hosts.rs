//! Names from a file in the form of hosts(5), which others change while the network runs.

use std::fs::File;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;

/// The most of the file that is read, in bytes: the names of some thousand hosts.
const MOST: usize = 256 << 10;
/// The most addresses in an answer.
const ADDRESSES: usize = 16;
/// How long an answer is valid, in seconds: members come and go.
const LIFETIME: u32 = 1;

/// RFC 1035, 4.1.1 and 3.2.
const HEADER: usize = 12;
const A: u16 = 1;
const AAAA: u16 = 28;
const INTERNET: u16 = 1;

/// A question for one name.
struct Question {
    /// In lower case, without the last dot.
    name: String,
    kind: u16,
    /// Where it ends in the message.
    end: usize,
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

/// Reads a query with one question; `None` where a name server has to look at it.
fn parse(message: &[u8]) -> Option<Question> {
    let is_query = message.get(2)? & 0xf8 == 0;
    if !is_query || word(message, 4)? != 1 {
        return None;
    }
    let (mut at, mut name) = (HEADER, String::new());
    loop {
        // A length above 63 would be a pointer, of which a single question has none.
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = message.get(at..at + length).filter(|_| length <= 63)?;
        at += length;
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&std::str::from_utf8(label).ok()?.to_ascii_lowercase());
    }
    let (kind, class) = (word(message, at)?, word(message, at + 2)?);
    (class == INTERNET).then_some(Question { name, kind, end: at + 4 })
}

/// The answer to a query, if the file's text has its name, alone or in `domain`.
pub(crate) fn answer(text: &str, domain: &str, message: &[u8]) -> Option<Vec<u8>> {
    let question = parse(message)?;
    let found = look(text, &question.name, domain)?;
    let mut answer = message.get(..question.end)?.to_vec();
    // A response with authority, as recursive as it was asked for, without an error.
    answer[2] = 0x84 | message[2] & 1;
    answer[3] = 0x80;
    answer[6..HEADER].fill(0);
    let mut count = 0u16;
    for address in found.iter().take(ADDRESSES) {
        let (kind, data) = match address {
            IpAddr::V4(a) => (A, a.octets().to_vec()),
            IpAddr::V6(a) => (AAAA, a.octets().to_vec()),
        };
        if kind == question.kind {
            // The name is that of the question.
            answer.extend([0xc0, HEADER as u8]);
            [kind, INTERNET].iter().for_each(|word| answer.extend(word.to_be_bytes()));
            answer.extend(LIFETIME.to_be_bytes());
            answer.extend((data.len() as u16).to_be_bytes());
            answer.extend(data);
            count += 1;
        }
    }
    answer[6..8].copy_from_slice(&count.to_be_bytes());
    Some(answer)
}

/// The file's text. It is read each time, as its inode stays and the text does not.
pub(crate) fn read(file: &File) -> String {
    let mut bytes = vec![0; MOST];
    let mut length = 0;
    while let Ok(count) = file.read_at(&mut bytes[length..], length as u64) {
        length += count;
        if count == 0 {
            break;
        }
    }
    bytes.truncate(length);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The addresses of a name; `None` where the text does not have it.
fn look(text: &str, name: &str, domain: &str) -> Option<Vec<IpAddr>> {
    let short = name.strip_suffix(domain).and_then(|n| n.strip_suffix('.')).unwrap_or(name);
    let mut found = None;
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or("").split_ascii_whitespace();
        let Some(address) = words.next().and_then(|a| a.parse().ok()) else { continue };
        if words.any(|word| word.eq_ignore_ascii_case(name) || word.eq_ignore_ascii_case(short)) {
            let all: &mut Vec<IpAddr> = found.get_or_insert_default();
            if !all.contains(&address) {
                all.push(address);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "127.0.0.1\tlocalhost\n10.212.7.2\tweb Alias\nfd00::2\tweb # not this\n10.212.7.3 db.x\n";

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend(label.as_bytes());
        }
        bytes.extend([0, 0, kind as u8, 0, 1]);
        // An OPT record (RFC 6891), which the answer does not repeat.
        bytes.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn names_are_found_as_users_write_them() {
        let found = |name| look(TEXT, name, "mine").map(|all| all.len());
        assert_eq!(["web", "alias", "web.mine", "db.x"].map(found), [Some(2), Some(1), Some(2), Some(1)]);
        assert_eq!(["not", "web.other", "mine", ".mine", "", "db"].map(found), [None; 6]);
    }

    #[test]
    fn questions_are_answered_from_the_file() {
        let answer_to = |name, kind| answer(TEXT, "mine", &query(name, kind));
        let got = answer_to("WEB", A).unwrap();
        assert_eq!(got[..12], [0x12, 0x34, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(got[got.len() - 4..], [10, 212, 7, 2]);
        assert_eq!(answer_to("web", AAAA).unwrap().last(), Some(&2));
        // The name is there, but nothing of that kind.
        assert_eq!(answer_to("alias", AAAA).unwrap()[6..8], [0, 0]);
        assert!(answer_to("example.org", A).is_none());
    }

    #[test]
    fn messages_of_every_length_are_looked_at_safely() {
        let whole = query("web.mine", A);
        for length in 0..whole.len() {
            parse(&whole[..length]);
        }
        for at in 0..whole.len() {
            for value in [0, 0x3f, 0x40, 0xc0, 0xff] {
                let mut odd = whole.clone();
                odd[at] = value;
                answer(TEXT, "mine", &odd);
            }
        }
    }
}
