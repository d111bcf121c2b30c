//! The Internet checksum (RFC 1071).

use std::net::IpAddr;

/// The sum of the bytes as big-endian words, an odd byte at the end being the upper half of a word.
///
/// Long frames pass here when the guest computes no checksums: the sum is over 32-bit words in the host's byte order,
/// which RFC 1071 (2.B) allows, and the compiler makes vector instructions of it.
pub fn sum(bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum: u64 = words.iter().map(|&word| u64::from(u32::from_ne_bytes(word))).sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    sum += u64::from(u32::from_ne_bytes(last));
    u16::from_be(fold(sum))
}

/// The sum of the pseudo header before TCP, UDP or ICMPv6 of `length` bytes.
pub fn pseudo(source: IpAddr, target: IpAddr, protocol: u8, length: usize) -> u16 {
    let of = |address: IpAddr| match address {
        IpAddr::V4(a) => sum(&a.octets()),
        IpAddr::V6(a) => sum(&a.octets()),
    };
    let length = length as u64;
    fold(
        u64::from(of(source))
            + u64::from(of(target))
            + u64::from(protocol)
            + (length >> 16)
            + (length & 0xffff),
    )
}

/// Adds sums.
pub fn add(a: u16, b: u16) -> u16 {
    fold(u64::from(a) + u64::from(b))
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As RFC 1071 describes it, word by word.
    fn slow(bytes: &[u8]) -> u16 {
        bytes.chunks(2).fold(0, |all, two| add(all, u16::from_be_bytes([two[0], *two.get(1).unwrap_or(&0)])))
    }

    #[test]
    fn sums_of_all_lengths_are_those_of_single_words() {
        let bytes: Vec<u8> = (0..70_000u32).map(|n| (n.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
        for length in (0..40).chain([1499, 1500, 65_535, 70_000]) {
            assert_eq!(sum(&bytes[..length]), slow(&bytes[..length]), "{length}");
        }
        assert_eq!(sum(&[0xff; 70_000]), 0xffff);
    }

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }
}
