//! The first line of a process that wants to reach the guest.

/// The longest first line, with its end.
const LONGEST: usize = 32;

/// What the bytes that came so far are.
#[derive(Debug, PartialEq, Eq)]
pub enum Greeting {
    /// The beginning of a line.
    Partial,
    /// A request for this port of the guest, in so many bytes; what follows them belongs to the connection.
    Connect {
        /// The port.
        port: u32,
        /// The length of the line.
        len: usize,
    },
    /// Not a request.
    Wrong,
}

/// Looks at the bytes that came so far.
pub fn read(bytes: &[u8]) -> Greeting {
    let line = &bytes[..bytes.len().min(LONGEST)];
    let Some(end) = line.iter().position(|&byte| byte == b'\n') else {
        return if line.len() < LONGEST { Greeting::Partial } else { Greeting::Wrong };
    };
    let text = std::str::from_utf8(&line[..end]).ok();
    let number = text.and_then(|text| text.strip_prefix("CONNECT ")).map(str::trim);
    match number.filter(|n| n.bytes().all(|b| b.is_ascii_digit())).and_then(|n| n.parse().ok()) {
        Some(port) => Greeting::Connect { port, len: end + 1 },
        None => Greeting::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_short_line() {
        let connect = |port, len| Greeting::Connect { port, len };
        for (bytes, expected) in [
            ("CONNECT 22\n", connect(22, 11)),
            ("CONNECT 22\r\nSSH", connect(22, 12)),
            ("CONNECT 4294967295\n", connect(u32::MAX, 19)),
            ("CONNECT 4294967296\n", Greeting::Wrong),
            ("CONNECT +22\n", Greeting::Wrong),
            ("CONNECT \n", Greeting::Wrong),
            ("connect 22\n", Greeting::Wrong),
            ("\n", Greeting::Wrong),
            ("", Greeting::Partial),
            ("CONNECT 2", Greeting::Partial),
            ("CONNECT                              22\n", Greeting::Wrong),
        ] {
            assert_eq!(read(bytes.as_bytes()), expected, "{bytes:?}");
        }
        assert_eq!(read(&[0xff, b'\n']), Greeting::Wrong);
    }
}
