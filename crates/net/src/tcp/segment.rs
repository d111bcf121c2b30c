//! TCP segments: parsed and made.

use crate::checksum;
use crate::link::{ETHERNET, Link, ip_header};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};
use std::net::{IpAddr, SocketAddr};
use trine_base::net::Segments;

/// The length of a TCP header without options.
pub(super) const HEADER: usize = 20;
/// Where the checksum is in the header (RFC 9293, 3.1).
const CHECKSUM: usize = 16;

/// The two ends of a connection, as the guest sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    pub guest: SocketAddr,
    pub peer: SocketAddr,
}

/// A segment from the guest.
#[derive(Debug)]
pub(super) struct Segment<'a> {
    pub seq: u32,
    pub ack: Option<u32>,
    pub window: u16,
    pub scale: Option<u8>,
    pub mss: Option<u16>,
    pub syn: bool,
    pub fin: bool,
    pub rst: bool,
    pub payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Parses a segment. Its checksum is computed if the guest did not leave that to us.
    pub fn parse(
        source: IpAddr,
        target: IpAddr,
        bytes: &'a [u8],
        whole: bool,
    ) -> Option<(Ends, Segment<'a>)> {
        let protocol = IpProtocol::Tcp.into();
        if whole
            && checksum::add(checksum::sum(bytes), checksum::pseudo(source, target, protocol, bytes.len()))
                != 0xffff
        {
            return None;
        }
        let packet = TcpPacket::new_checked(bytes).ok()?;
        let tcp =
            TcpRepr::parse(&packet, &source.into(), &target.into(), &ChecksumCapabilities::ignored()).ok()?;
        let ends = Ends {
            guest: SocketAddr::new(source, tcp.src_port),
            peer: SocketAddr::new(target, tcp.dst_port),
        };
        let segment = Segment {
            seq: tcp.seq_number.0 as u32,
            ack: tcp.ack_number.map(|n| n.0 as u32),
            window: tcp.window_len,
            scale: tcp.window_scale,
            mss: tcp.max_seg_size,
            syn: tcp.control == TcpControl::Syn,
            fin: tcp.control == TcpControl::Fin,
            rst: tcp.control == TcpControl::Rst,
            payload: tcp.payload,
        };
        Some((ends, segment))
    }

    /// The sequence numbers that the segment takes.
    pub fn length(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.syn) + u32::from(self.fin)
    }
}

/// What stands in the header of a segment for the guest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub seq: u32,
    pub ack: Option<u32>,
    pub control: TcpControl,
    pub window: u16,
    /// The largest segment that we take and the shift of our window, for segments with SYN.
    pub options: Option<(u16, Option<u8>)>,
}

/// Sends a segment with `length` bytes that `body` appends. If they are more than `mss`, the guest's driver or network
/// card is to see them as several segments.
pub(super) fn send(
    link: &mut Link,
    ends: &Ends,
    header: Header,
    (length, mss): (usize, u16),
    body: impl FnOnce(&mut Vec<u8>),
) {
    let tcp = TcpRepr {
        src_port: ends.peer.port(),
        dst_port: ends.guest.port(),
        control: header.control,
        seq_number: TcpSeqNumber(header.seq as i32),
        ack_number: header.ack.map(|n| TcpSeqNumber(n as i32)),
        window_len: header.window,
        window_scale: header.options.and_then(|o| o.1),
        max_seg_size: header.options.map(|o| o.0),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let (source, target, bytes) = (ends.peer.ip(), ends.guest.ip(), tcp.header_len());
    let Some(mut frame) = link.packet(source, target, IpProtocol::Tcp, bytes + length) else { return };
    let at = ETHERNET + ip_header(source);
    frame.resize(at + bytes, 0);
    let mut packet = TcpPacket::new_unchecked(&mut frame[at..]);
    tcp.emit(&mut packet, &source.into(), &target.into(), &ChecksumCapabilities::ignored());
    body(&mut frame);
    let kind = if source.is_ipv4() { Segments::Tcp4 } else { Segments::Tcp6 };
    let segments = (length > usize::from(mss)).then_some((kind, mss));
    let pseudo = checksum::pseudo(source, target, IpProtocol::Tcp.into(), frame.len() - at);
    link.push_with_checksum(frame, (at, CHECKSUM), pseudo, segments);
}

/// Answers a segment that belongs to no connection by a reset (RFC 9293, 3.10.7.1).
pub(super) fn reset(link: &mut Link, ends: &Ends, segment: &Segment) {
    if segment.rst {
        return;
    }
    let (seq, ack) = match segment.ack {
        Some(ack) => (ack, None),
        None => (0, Some(segment.seq.wrapping_add(segment.length()))),
    };
    let header = Header { seq, ack, control: TcpControl::Rst, window: 0, options: None };
    send(link, ends, header, (0, 0), |_| ());
}
