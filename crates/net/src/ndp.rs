//! Neighbour discovery (RFC 4861): the gateway's and the name server's addresses are ours, and the guest gets a prefix to
//! choose its own address in (SLAAC, RFC 4862).

use crate::icmp;
use crate::link::Link;
use smoltcp::wire::{EthernetAddress, IpProtocol};
use std::net::{IpAddr, Ipv6Addr};
use trine_base::Partial;

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;

/// How long the router, the prefix and the name server are valid, in seconds: as long as a router may say (RFC 4861, 6.2.1).
const LIFETIME: u16 = 9000;
/// How often a router that was solicited says so again, in nanoseconds.
pub(crate) const AGAIN: u64 = 1_800_000_000_000;

/// All nodes of the link, and the Ethernet address for them (RFC 2464, 7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: EthernetAddress = EthernetAddress([0x33, 0x33, 0, 0, 0, 1]);

/// Serves a message, and returns whether it was one of neighbour discovery. Those are valid only with a hop limit of 255,
/// by which they cannot come from behind a router.
pub(crate) fn serve(link: &mut Link, source: Ipv6Addr, hop_limit: u8, message: &[u8]) -> bool {
    match (message.first(), hop_limit) {
        (Some(&ROUTER_SOLICITATION), 255) => advertise_router(link),
        (Some(&NEIGHBOUR_SOLICITATION), 255) => neighbour(link, source, message),
        (Some(ROUTER_SOLICITATION..=NEIGHBOUR_ADVERTISEMENT), _) => {}
        _ => return false,
    }
    true
}

fn neighbour(link: &mut Link, source: Ipv6Addr, message: &[u8]) {
    let Some(target) = message.get(8..24).and_then(|t| <[u8; 16]>::try_from(t).ok()) else { return };
    let target = Ipv6Addr::from(target);
    if !link.config.is_gateway(target.into()) && !link.config.is_dns(target.into()) {
        return;
    }
    // Who looks whether an address is free has none yet: everybody is told.
    let to = if source.is_unspecified() { ALL_NODES } else { source };
    let solicited = if source.is_unspecified() { 0 } else { 0x40 };
    let router = if link.config.is_gateway(target.into()) { 0x80 } else { 0 };
    let mut answer = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, router | solicited | 0x20, 0, 0, 0];
    answer.extend_from_slice(&target.octets());
    answer.extend_from_slice(&[2, 1]);
    answer.extend_from_slice(&link.config.mac.0);
    send(link, target, to, answer);
}

/// Tells the guest about router, prefix, MTU and name server (RFC 4861 section 4.2, RFC 8106).
pub(crate) fn advertise_router(link: &mut Link) {
    let config = link.config.clone();
    let long = u32::from(LIFETIME).to_be_bytes();
    let mut message = vec![ROUTER_ADVERTISEMENT, 0, 0, 0, 64, 0];
    message.extend_from_slice(&LIFETIME.to_be_bytes());
    message.extend_from_slice(&[0; 8]);
    // Source link-layer address.
    message.extend_from_slice(&[1, 1]);
    message.extend_from_slice(&config.mac.0);
    // MTU.
    message.extend_from_slice(&[5, 1, 0, 0, 0, 0]);
    message.extend_from_slice(&config.mtu.to_be_bytes());
    // Prefix: on the link, and for addresses that guests choose.
    message.extend_from_slice(&[3, 4, 64, 0xc0]);
    message.extend_from_slice(&long);
    message.extend_from_slice(&long);
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&config.prefix6.octets()[..8]);
    message.extend_from_slice(&[0; 8]);
    // Recursive name server.
    message.extend_from_slice(&[25, 3, 0, 0]);
    message.extend_from_slice(&long);
    message.extend_from_slice(&config.dns6.octets());
    if let Some(domain) = labels(&config.domain) {
        // Search list: whole units of eight bytes.
        let units = (8 + domain.len()).div_ceil(8);
        message.extend_from_slice(&[31, units as u8, 0, 0]);
        message.extend_from_slice(&long);
        message.extend_from_slice(&domain);
        message.resize(message.len() + units * 8 - 8 - domain.len(), 0);
    }
    send(link, config.router6, ALL_NODES, message);
}

/// A domain in the form of RFC 1035, 3.1. `None` if it is not one.
fn labels(domain: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for label in domain.trim_end_matches('.').split('.') {
        bytes.push(u8::try_from(label.len()).ok().filter(|n| (1..64).contains(n))?);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    (bytes.len() <= 255).then_some(bytes)
}

fn send(link: &mut Link, source: Ipv6Addr, target: Ipv6Addr, mut message: Vec<u8>) {
    let mac = if target == ALL_NODES { ALL_NODES_MAC } else { link.guest_mac.unwrap_or(ALL_NODES_MAC) };
    let (source, target): (IpAddr, IpAddr) = (source.into(), target.into());
    icmp::finish(source, target, &mut message);
    if let Some(mut frame) = link.packet_to(mac, source, target, IpProtocol::Icmpv6, message.len()) {
        frame.extend_from_slice(&message);
        link.push(frame, Partial::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use std::sync::Arc;

    #[test]
    fn domains_become_labels() {
        assert_eq!(labels("a.bc."), Some(vec![1, b'a', 2, b'b', b'c', 0]));
        for wrong in ["", "a..b", &"x".repeat(64), &"x.".repeat(128)] {
            assert_eq!(labels(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn options_of_an_advertisement_fill_it() {
        for domain in ["", "example.org", "a.bc"] {
            let mut link = Link::new(Arc::new(Config { domain: domain.into(), ..Config::default() }));
            advertise_router(&mut link);
            let frame = link.out.pop().unwrap().0;
            let (mut options, mut kinds) = (&frame[14 + 40 + 16..], Vec::new());
            while let [kind, units, ..] = *options {
                kinds.push(kind);
                options = &options[usize::from(units) * 8..];
            }
            assert!(options.is_empty());
            let wanted: &[u8] = if domain.is_empty() { &[1, 5, 3, 25] } else { &[1, 5, 3, 25, 31] };
            assert_eq!(kinds, wanted);
        }
    }
}
