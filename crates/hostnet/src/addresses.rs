//! The addresses and names of a group. They are computed from the group's name, so that they are the same the
//! next time, and moved where they collide with what the host uses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// First address and number of /24s of the ranges that are tried, in this order. They are private (RFC 1918);
/// the first one is not a default of home routers or of other container engines.
const RANGES: [(Ipv4Addr, u32); 3] = [
    (Ipv4Addr::new(10, 212, 0, 0), 256),
    (Ipv4Addr::new(172, 29, 0, 0), 256),
    (Ipv4Addr::new(192, 168, 128, 0), 128),
];

/// FNV-1a with 64 bits: distributes names evenly; it is not cryptographic.
pub(crate) fn hash(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|p| p.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    // Mixes once more, because otherwise the last bytes hardly change the high bits.
    (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Builds the name of a link: at most 15 characters.
pub(crate) fn link_name(prefix: &str, hash: u64) -> String {
    format!("{prefix}-{:08x}", hash >> 32)
}

/// Builds a locally administered Ethernet address.
pub(crate) fn ether(hash: u64) -> [u8; 6] {
    let b = hash.to_be_bytes();
    [0x02 | b[0] & 0xfc, b[1], b[2], b[3], b[4], b[5]]
}

/// Whether a /24 and a route's destination overlap. Default routes overlap with everything and do not count.
fn meets(subnet: Ipv4Addr, route: &(IpAddr, u8)) -> bool {
    let (IpAddr::V4(to), prefix) = *route else { return false };
    let shift = 32 - u32::from(prefix.min(24));
    prefix != 0 && to.to_bits() >> shift == subnet.to_bits() >> shift
}

/// The first /24, starting at the hash, that overlaps no route of the host and no other group; `None` where
/// all do.
pub(crate) fn subnet(hash: u64, routes: &[(IpAddr, u8)], taken: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    let candidates = RANGES.iter().flat_map(|&(first, count)| {
        let start = (hash % u64::from(count)) as u32;
        (0..count).map(move |i| Ipv4Addr::from_bits(first.to_bits() + (((start + i) % count) << 8)))
    });
    candidates.into_iter().find(|s| !taken.contains(s) && !routes.iter().any(|r| meets(*s, r)))
}

/// A unique local /64 for the group (RFC 4193): `fd`, 40 bits of the hash, subnet 0.
pub(crate) fn subnet6(hash: u64) -> Ipv6Addr {
    let h = hash.to_be_bytes();
    Ipv6Addr::from([0xfd, h[0], h[1], h[2], h[3], h[4], 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// The address of host `number` in a /24; number 1 is the gateway.
pub(crate) fn host(subnet: Ipv4Addr, number: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(subnet.to_bits() & 0xffff_ff00 | u32::from(number))
}

/// The address of host `number` in a /64.
pub(crate) fn host6(subnet: Ipv6Addr, number: u8) -> Ipv6Addr {
    Ipv6Addr::from_bits(subnet.to_bits() & !0xffff_ffff_ffff_ffff | u128::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_keeps_away_from_routes_and_groups() {
        let any = (Ipv4Addr::UNSPECIFIED.into(), 0);
        let own = subnet(7, &[any], &[]).unwrap();
        assert_eq!(own, Ipv4Addr::new(10, 212, 7, 0));
        assert_eq!(subnet(7, &[any], &[own]).unwrap(), Ipv4Addr::new(10, 212, 8, 0));
        // A route to a single address in it, and a route to a whole private network around it.
        assert_eq!(
            subnet(255, &[(Ipv4Addr::new(10, 212, 255, 9).into(), 32)], &[]).unwrap(),
            Ipv4Addr::new(10, 212, 0, 0)
        );
        assert_eq!(
            subnet(7, &[(Ipv4Addr::new(10, 0, 0, 0).into(), 8)], &[]).unwrap(),
            Ipv4Addr::new(172, 29, 7, 0)
        );
        let all = [(10, 8), (172, 8), (192, 8)].map(|(a, p)| (Ipv4Addr::new(a, 0, 0, 0).into(), p));
        assert_eq!(subnet(7, &all, &[]), None);
    }

    #[test]
    fn names_differ_and_fit() {
        let names: std::collections::BTreeSet<String> =
            (0..1000).map(|i| link_name("tr", hash(&["0", &format!("g{i}")]))).collect();
        assert_eq!(names.len(), 1000);
        assert!(names.iter().all(|n| n.len() <= 15));
        assert_eq!(ether(u64::MAX)[0] & 3, 2);
        assert_eq!(host6(subnet6(hash(&["a"])), 9).segments()[7], 9);
    }
}
