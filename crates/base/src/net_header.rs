//! The header in front of each frame (virtio 1.2, 5.1.6): what its sender has left undone. Devices have it between driver and
//! device, and so has the host's TAP device, in the same form.

use crate::net::Segments;
use crate::{Offloads, Partial};

/// Bytes of the header, with the number of buffers.
pub const LEN: usize = 12;
/// Where the number of buffers is.
pub const BUFFERS: usize = 10;

const NEEDS_CSUM: u8 = 1;
/// Flag of the first byte: the checksum was verified.
pub const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;

/// Bytes of a TCP header without options: the length of headers is a hint.
const TCP: u16 = 20;

/// Reads the header of a frame from its sender; `None` where it leaves undone what was not negotiated.
pub fn decode(header: &[u8; LEN], allowed: Offloads) -> Option<Partial> {
    let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let checksum = (header[0] & NEEDS_CSUM != 0).then(|| (word(6), word(8)));
    let segments = match header[1] {
        GSO_NONE => None,
        GSO_TCPV4 if allowed.tcp4 => Some((Segments::Tcp4, word(4))),
        GSO_TCPV6 if allowed.tcp6 => Some((Segments::Tcp6, word(4))),
        _ => return None,
    };
    let possible = segments.is_none_or(|(_, size)| size != 0 && checksum.is_some());
    (possible && (allowed.checksum || checksum.is_none())).then_some(Partial {
        checksum,
        segments,
        verified: false,
    })
}

/// Makes the header of a frame for its receiver, in one buffer; `None` where that does not accept what is left undone.
pub fn encode(partial: Partial, allowed: Offloads) -> Option<[u8; LEN]> {
    let mut header = [0; LEN];
    let mut put = |at: usize, value: u16| header[at..at + 2].copy_from_slice(&value.to_le_bytes());
    put(BUFFERS, 1);
    if let Some((start, offset)) = partial.checksum {
        put(6, start);
        put(8, offset);
    }
    if let Some((_, size)) = partial.segments {
        put(2, partial.checksum.map_or(0, |(start, _)| start.saturating_add(TCP)));
        put(4, size);
    }
    header[0] = match partial.checksum {
        Some(_) if !allowed.checksum => return None,
        Some(_) => NEEDS_CSUM,
        None if partial.verified && allowed.checksum => DATA_VALID,
        None => 0,
    };
    header[1] = match partial.segments {
        None => GSO_NONE,
        Some((Segments::Tcp4, _)) if allowed.tcp4 => GSO_TCPV4,
        Some((Segments::Tcp6, _)) if allowed.tcp6 => GSO_TCPV6,
        Some(_) => return None,
    };
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Offloads = Offloads { checksum: true, tcp4: true, tcp6: true };
    const NONE: Offloads = Offloads { checksum: false, tcp4: false, tcp6: false };

    #[test]
    fn headers_come_back() {
        let checksum = Some((34, 16));
        for segments in [None, Some((Segments::Tcp4, 1448)), Some((Segments::Tcp6, 1))] {
            let partial = Partial { checksum, segments, verified: false };
            let header = encode(partial, ALL).unwrap();
            assert_eq!((decode(&header, ALL), header[BUFFERS]), (Some(partial), 1));
            assert_eq!((decode(&header, NONE), encode(partial, NONE)), (None, None));
        }
        let plain = Partial { verified: true, ..Partial::default() };
        assert_eq!(encode(plain, ALL).map(|header| header[0]), Some(DATA_VALID));
        let header = encode(plain, NONE).unwrap();
        assert_eq!((header[0], decode(&header, NONE)), (0, Some(Partial::default())));
    }

    #[test]
    fn what_is_impossible_is_refused() {
        for (flags, gso, size) in [(1, 1, 0), (0, 1, 1448), (1, 3, 1448), (1, 5, 1448), (1, 0x81, 1448)] {
            let mut header = [0; LEN];
            (header[0], header[1]) = (flags, gso);
            header[4..6].copy_from_slice(&u16::to_le_bytes(size));
            assert_eq!(decode(&header, ALL), None, "{flags} {gso} {size}");
        }
    }
}
