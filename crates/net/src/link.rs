//! The guest's end of the cable: frames for the guest are made here.

use crate::checksum;
use crate::config::Config;
use crate::queue::{BYTES, FRAMES, Frame, Spare};
use crate::stats::Stats;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use trine_base::net::Segments;
use trine_base::{Offloads, Partial};

/// The length of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;
/// The time to live, or hop limit, of packets for the guest.
const HOPS: u8 = 64;

/// Frames that wait until the guest's Ethernet address is known; further ones replace the oldest.
const UNRESOLVED: usize = 8;
/// Stands for the guest's Ethernet address while it is not known.
const NOBODY: EthernetAddress = EthernetAddress([0; 6]);

/// The length of an IP header that we make.
pub(crate) fn ip_header(address: IpAddr) -> usize {
    if address.is_ipv4() { 20 } else { 40 }
}

/// Makes frames and collects them until they are given to the device.
pub(crate) struct Link {
    pub config: Arc<Config>,
    /// The guest's Ethernet address, once it has sent something under an IP address of its own.
    pub guest_mac: Option<EthernetAddress>,
    /// Whether the guest has used its IPv4 address.
    pub uses4: bool,
    /// An IPv6 address that the guest has used for the outside.
    pub guest6: Option<Ipv6Addr>,
    /// What the guest's driver accepts.
    pub gives: Offloads,
    pub stats: Stats,
    pub out: Vec<Frame>,
    pub spare: Spare,
    /// Frames that wait until the guest's Ethernet address is known.
    unresolved: Vec<Frame>,
    /// How many frames the device has taken in total.
    pub taken: u64,
    /// Bytes and frames that wait, here and for the device.
    waiting: (usize, usize),
    ident: u16,
}

impl Link {
    pub fn new(config: Arc<Config>) -> Link {
        Link {
            config,
            guest_mac: None,
            uses4: false,
            guest6: None,
            gives: Offloads::default(),
            stats: Stats::default(),
            out: Vec::new(),
            spare: Spare::default(),
            unresolved: Vec::new(),
            taken: 0,
            waiting: (0, 0),
            ident: 0,
        }
    }

    /// Forgets all frames for the guest.
    pub fn clear(&mut self) {
        self.out.clear();
        self.unresolved.clear();
    }

    /// Learns what waits for the device, and how many frames it has taken in total.
    pub fn waits(&mut self, (bytes, frames): (usize, usize), taken: u64) {
        self.taken = taken;
        self.waiting = (bytes, frames);
    }

    /// Whether there is room for another frame.
    pub fn has_room(&self) -> bool {
        self.waiting.0 < BYTES && self.waiting.1 < FRAMES
    }

    /// Whether the guest has taken all its frames.
    pub fn is_drained(&self) -> bool {
        self.waiting.1 == 0
    }

    /// Begins a frame with an IP packet for the guest that has `length` bytes behind its header, for the caller to append.
    /// `None` if no IP packet is so long.
    pub fn packet(
        &mut self,
        source: IpAddr,
        target: IpAddr,
        protocol: IpProtocol,
        length: usize,
    ) -> Option<Vec<u8>> {
        let mac = self.guest_mac.unwrap_or(NOBODY);
        self.packet_to(mac, source, target, protocol, length)
    }

    /// The same to an Ethernet address.
    pub fn packet_to(
        &mut self,
        mac: EthernetAddress,
        source: IpAddr,
        target: IpAddr,
        protocol: IpProtocol,
        length: usize,
    ) -> Option<Vec<u8>> {
        let header = ETHERNET + ip_header(source);
        let mut frame = self.spare.buffer(header + length);
        frame.resize(header, 0);
        let ethertype = if source.is_ipv4() { EthernetProtocol::Ipv4 } else { EthernetProtocol::Ipv6 };
        EthernetRepr { src_addr: self.config.mac, dst_addr: mac, ethertype }
            .emit(&mut EthernetFrame::new_unchecked(&mut frame[..]));
        let (next_header, payload_len, ip) = (protocol, length, &mut frame[ETHERNET..]);
        match (source, target) {
            (IpAddr::V4(src_addr), IpAddr::V4(dst_addr)) => {
                u16::try_from(length + 20).ok()?;
                Ipv4Repr { src_addr, dst_addr, next_header, payload_len, hop_limit: HOPS }
                    .emit(&mut Ipv4Packet::new_unchecked(ip), &ChecksumCapabilities::default());
            }
            (IpAddr::V6(src_addr), IpAddr::V6(dst_addr)) => {
                u16::try_from(length).ok()?;
                // RFC 4861 asks for 255 in neighbour discovery.
                let hop_limit = if protocol == IpProtocol::Icmpv6 { 255 } else { HOPS };
                Ipv6Repr { src_addr, dst_addr, next_header, payload_len, hop_limit }
                    .emit(&mut Ipv6Packet::new_unchecked(ip));
            }
            _ => return None,
        }
        Some(frame)
    }

    /// Sends a frame with TCP or UDP from `at` on, whose checksum belongs at `field` from there: it is left to the
    /// guest if that accepts it.
    pub fn push_with_checksum(
        &mut self,
        mut frame: Vec<u8>,
        (at, field): (usize, usize),
        pseudo: u16,
        segments: Option<(Segments, u16)>,
    ) {
        let mut partial = Partial { checksum: None, segments, verified: self.gives.checksum };
        let Some(place) = frame.get_mut(at + field..at + field + 2) else { return };
        place.copy_from_slice(&pseudo.to_be_bytes());
        if self.gives.checksum {
            partial.checksum = Some((at as u16, field as u16));
        } else {
            let sum = match !checksum::sum(&frame[at..]) {
                // UDP's zero means that there is none (RFC 768); for TCP both are the same number.
                0 => 0xffff,
                sum => sum,
            };
            frame[at + field..at + field + 2].copy_from_slice(&sum.to_be_bytes());
        }
        self.push(frame, partial);
    }

    /// Sends a whole frame. If the guest's Ethernet address is not known yet, it is asked for, and the frame waits.
    pub fn push(&mut self, frame: Vec<u8>, partial: Partial) {
        if frame.starts_with(&NOBODY.0) {
            if self.unresolved.len() >= UNRESOLVED {
                self.unresolved.remove(0);
                self.stats.overrun_to_guest += 1;
            }
            self.unresolved.push((frame, partial));
            return self.ask_for_guest();
        }
        if self.waiting.1 >= 2 * FRAMES || self.waiting.0 >= 2 * BYTES {
            self.stats.overrun_to_guest += 1;
            return;
        }
        self.stats.frames_to_guest += 1;
        self.stats.bytes_to_guest += frame.len() as u64;
        self.waiting.0 += frame.capacity();
        self.waiting.1 += 1;
        self.out.push((frame, partial));
    }

    /// Sends an IP packet's payload, in fragments if it is too long for the link (RFC 791, RFC 8200 section 4.5).
    pub fn push_datagram(&mut self, source: IpAddr, target: IpAddr, protocol: IpProtocol, payload: &[u8]) {
        let limit = usize::from(self.config.mtu) - ip_header(source);
        if payload.len() <= limit {
            if let Some(mut frame) = self.packet(source, target, protocol, payload.len()) {
                frame.extend_from_slice(payload);
                self.push(frame, Partial::default());
            }
            return;
        }
        self.ident = self.ident.wrapping_add(1);
        let (header, piece) = if source.is_ipv4() { (0, limit & !7) } else { (8, (limit - 8) & !7) };
        let mut at = 0;
        for part in payload.chunks(piece) {
            let more = at + part.len() < payload.len();
            let protocol_here = if header == 0 { protocol } else { IpProtocol::Ipv6Frag };
            let Some(mut frame) = self.packet(source, target, protocol_here, header + part.len()) else {
                return;
            };
            if header == 0 {
                let mut ip = Ipv4Packet::new_unchecked(&mut frame[ETHERNET..]);
                ip.set_ident(self.ident);
                ip.set_dont_frag(false);
                ip.set_more_frags(more);
                ip.set_frag_offset(at as u16);
                ip.fill_checksum();
            } else {
                frame.extend_from_slice(&[u8::from(protocol), 0]);
                frame.extend_from_slice(&(at as u16 | u16::from(more)).to_be_bytes());
                frame.extend_from_slice(&u32::from(self.ident).to_be_bytes());
            }
            frame.extend_from_slice(part);
            self.push(frame, Partial::default());
            at += part.len();
        }
    }

    /// Asks who has the guest's IPv4 address: a connection from outside comes before the guest has sent anything.
    fn ask_for_guest(&mut self) {
        let question = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: self.config.mac,
            source_protocol_addr: self.config.gateway4,
            target_hardware_addr: NOBODY,
            target_protocol_addr: self.config.guest4,
        };
        self.push_arp(EthernetAddress::BROADCAST, &question);
    }

    fn push_arp(&mut self, to: EthernetAddress, arp: &ArpRepr) {
        let mut frame = vec![0; ETHERNET + arp.buffer_len()];
        EthernetRepr { src_addr: self.config.mac, dst_addr: to, ethertype: EthernetProtocol::Arp }
            .emit(&mut EthernetFrame::new_unchecked(&mut frame[..]));
        arp.emit(&mut ArpPacket::new_unchecked(&mut frame[ETHERNET..]));
        self.push(frame, Partial::default());
    }

    /// Serves an ARP packet (RFC 826): the gateway's and the name server's addresses are ours.
    pub fn arp(&mut self, payload: &[u8]) {
        let packet = ArpPacket::new_checked(payload).and_then(|p| ArpRepr::parse(&p));
        let Ok(ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: mac,
            source_protocol_addr: source,
            target_protocol_addr: target,
            ..
        }) = packet
        else {
            self.stats.malformed += 1;
            return;
        };
        if source == self.config.guest4 {
            self.learn(mac, source.into());
        } else if source != Ipv4Addr::UNSPECIFIED {
            // Unspecified is the source of a guest that looks whether its address is free (RFC 5227).
            self.stats.spoofed += 1;
            return;
        }
        let ours = target == self.config.gateway4 || target == self.config.dns4;
        if operation == ArpOperation::Request && ours && mac.is_unicast() {
            let answer = ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Reply,
                source_hardware_addr: self.config.mac,
                source_protocol_addr: target,
                target_hardware_addr: mac,
                target_protocol_addr: source,
            };
            self.push_arp(mac, &answer);
        }
    }

    /// Learns the guest's Ethernet address, and under which of its IP addresses it is to be reached.
    pub fn learn(&mut self, mac: EthernetAddress, source: IpAddr) {
        if !mac.is_unicast() || mac == NOBODY {
            return;
        }
        self.guest_mac = Some(mac);
        for (mut frame, partial) in std::mem::take(&mut self.unresolved) {
            frame[..6].copy_from_slice(&mac.0);
            self.push(frame, partial);
        }
        match source {
            IpAddr::V4(a) => self.uses4 |= a == self.config.guest4,
            IpAddr::V6(a) if self.config.in_network6(a) => self.guest6 = Some(a),
            IpAddr::V6(_) => {}
        }
    }

    /// Where connections from outside go: the guest's IPv4 address, unless it uses IPv6 only.
    pub fn guest(&self) -> IpAddr {
        match self.guest6 {
            Some(guest6) if !self.uses4 => guest6.into(),
            _ => self.config.guest4.into(),
        }
    }
}
