//! UDP: a socket of the host for each flow of the guest, and the clients of forwarded ports.

use crate::checksum;
use crate::context::{Context, Kind};
use crate::forward::Forwards;
use crate::icmp::{self, Unreachable};
use crate::link::{ETHERNET, Link, ip_header};
use mio::Interest;
use mio::net::UdpSocket;
use smoltcp::wire::IpProtocol;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How long a flow is kept without a datagram, in nanoseconds (RFC 4787, REQ-5, asks for two minutes).
const IDLE: u64 = 120_000_000_000;
/// Datagrams taken from one socket at once.
const TURN: usize = 32;
/// The length of a header, and where the checksum is in it (RFC 768).
const HEADER: usize = 8;
const CHECKSUM: usize = 6;

/// A datagram from the guest.
pub(crate) struct Datagram<'a> {
    pub guest: SocketAddr,
    pub peer: SocketAddr,
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Parses a packet. `whole`: its checksum is there, and is to be verified.
    pub fn parse(source: IpAddr, target: IpAddr, bytes: &'a [u8], whole: bool) -> Option<Datagram<'a>> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let word = |at| u16::from_be_bytes([header[at], header[at + 1]]);
        let bytes = bytes.get(..usize::from(word(4)))?;
        // IPv4's zero means that there is no checksum; IPv6 does not allow that (RFC 8200, 8.1).
        let whole = whole && (word(CHECKSUM) != 0 || source.is_ipv6());
        let pseudo = || checksum::pseudo(source, target, IpProtocol::Udp.into(), bytes.len());
        if word(2) == 0 || (whole && checksum::add(checksum::sum(bytes), pseudo()) != 0xffff) {
            return None;
        }
        Some(Datagram {
            guest: SocketAddr::new(source, word(0)),
            peer: SocketAddr::new(target, word(2)),
            payload: bytes.get(HEADER..)?,
        })
    }
}

/// Sends a datagram to the guest.
pub(crate) fn send(link: &mut Link, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
    let Ok(length) = u16::try_from(HEADER + payload.len()) else { return };
    let mut header = [0; HEADER];
    header[..2].copy_from_slice(&from.port().to_be_bytes());
    header[2..4].copy_from_slice(&to.port().to_be_bytes());
    header[4..6].copy_from_slice(&length.to_be_bytes());
    let (source, target, all) = (from.ip(), to.ip(), usize::from(length));
    let pseudo = checksum::pseudo(source, target, IpProtocol::Udp.into(), all);
    if all + ip_header(source) <= usize::from(link.config.mtu) {
        if let Some(mut frame) = link.packet(source, target, IpProtocol::Udp, all) {
            frame.extend_from_slice(&header);
            frame.extend_from_slice(payload);
            link.push_with_checksum(frame, (ETHERNET + ip_header(source), CHECKSUM), pseudo, None);
        }
        return;
    }
    // A checksum over several fragments cannot be left to the guest.
    let mut message = [&header[..], payload].concat();
    let sum = match !checksum::add(checksum::sum(&message), pseudo) {
        0 => 0xffff,
        sum => sum,
    };
    message[CHECKSUM..HEADER].copy_from_slice(&sum.to_be_bytes());
    link.push_datagram(source, target, IpProtocol::Udp, &message);
}

/// The two ends of a flow, as the guest sees them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Ends {
    guest: SocketAddr,
    peer: SocketAddr,
}

/// A client of a forwarded port: the port's number and the client's address.
type Client = (u64, SocketAddr);

enum Host {
    /// The guest began: a socket that is connected to the other end.
    Socket(UdpSocket),
    /// A client of a forwarded port began: that port's socket.
    Client(Client),
}

struct Flow {
    ends: Ends,
    host: Host,
    last: u64,
}

/// All UDP flows of a network.
#[derive(Default)]
pub(crate) struct Udp {
    flows: HashMap<u64, Flow>,
    numbers: HashMap<Ends, u64>,
    clients: HashMap<Client, u64>,
}

impl Udp {
    /// How many flows there are.
    pub fn count(&self) -> usize {
        self.flows.len()
    }

    /// A datagram from the guest.
    pub fn input(&mut self, cx: &mut Context, datagram: &Datagram, forwards: &Forwards) {
        let ends = Ends { guest: datagram.guest, peer: datagram.peer };
        let number = match self.numbers.get(&ends) {
            Some(&number) => Ok(number),
            None => self.open(cx, ends),
        };
        let sent = number.and_then(|number| self.pass_on(cx, number, datagram.payload, forwards));
        match sent {
            // Full buffers lose datagrams.
            Err(e) if e.kind() != ErrorKind::WouldBlock => tell(cx, &ends, &e, datagram.payload.len()),
            _ => {}
        }
    }

    fn pass_on(&mut self, cx: &Context, number: u64, payload: &[u8], forwards: &Forwards) -> io::Result<()> {
        let Some(flow) = self.flows.get_mut(&number) else { return Ok(()) };
        flow.last = cx.now;
        match &flow.host {
            Host::Socket(socket) => socket.send(payload).map(drop),
            Host::Client((listener, client)) => forwards.answer(*listener, *client, payload),
        }
    }

    fn open(&mut self, cx: &mut Context, ends: Ends) -> io::Result<u64> {
        let Some(target) = cx.reach.target(ends.peer, cx.now) else {
            cx.link.stats.refused += 1;
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        };
        let any: IpAddr =
            if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let mut socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(target)?;
        let number = cx.number();
        cx.registry.register(&mut socket, Kind::Udp.token(number), Interest::READABLE)?;
        self.insert(cx, number, Flow { ends, host: Host::Socket(socket), last: cx.now });
        Ok(number)
    }

    fn insert(&mut self, cx: &mut Context, number: u64, flow: Flow) {
        if self.flows.len() >= cx.config.datagram_flows
            && let Some(oldest) = self.flows.iter().min_by_key(|(_, f)| f.last).map(|(&n, _)| n)
        {
            self.close(cx, oldest);
        }
        cx.link.stats.udp_opened += 1;
        self.numbers.insert(flow.ends, number);
        if let Host::Client(client) = flow.host {
            self.clients.insert(client, number);
        }
        self.flows.insert(number, flow);
    }

    fn close(&mut self, cx: &mut Context, number: u64) {
        let Some(flow) = self.flows.remove(&number) else { return };
        self.numbers.remove(&flow.ends);
        match flow.host {
            Host::Socket(mut socket) => drop(cx.registry.deregister(&mut socket)),
            Host::Client(client) => drop(self.clients.remove(&client)),
        }
    }

    /// A datagram from a client of a forwarded port.
    pub fn client_sent(&mut self, cx: &mut Context, client: Client, guest: SocketAddr, payload: &[u8]) {
        let number = match self.clients.get(&client) {
            Some(&number) => number,
            None => {
                let Some(ends) = self.ends_for(cx, client.1, guest) else { return };
                let number = cx.number();
                self.insert(cx, number, Flow { ends, host: Host::Client(client), last: cx.now });
                number
            }
        };
        let Some(flow) = self.flows.get_mut(&number) else { return };
        flow.last = cx.now;
        send(&mut cx.link, flow.ends.peer, flow.ends.guest, payload);
    }

    /// The client as the guest sees it: the gateway, with the client's port unless another flow has it.
    fn ends_for(&self, cx: &Context, client: SocketAddr, guest: SocketAddr) -> Option<Ends> {
        let gateway: IpAddr =
            if guest.is_ipv4() { cx.config.gateway4.into() } else { cx.config.gateway6.into() };
        let ports = std::iter::once(client.port()).chain((49_152..=65_535).rev());
        let mut ends = ports.filter(|&p| p != 0).map(|p| Ends { guest, peer: SocketAddr::new(gateway, p) });
        ends.find(|e| !self.numbers.contains_key(e))
    }

    /// Datagrams, or an error, have come to the socket of a flow.
    pub fn event(&mut self, cx: &mut Context, number: u64, buffer: &mut [u8]) {
        let Some(flow) = self.flows.get_mut(&number) else { return };
        let Host::Socket(socket) = &mut flow.host else { return };
        for _ in 0..TURN {
            match socket.recv(buffer) {
                Ok(count) => {
                    flow.last = cx.now;
                    let payload = buffer.get(..count).unwrap_or_default();
                    send(&mut cx.link, flow.ends.peer, flow.ends.guest, payload);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                // The error is gone now, and the flow goes on.
                Err(e) => tell(cx, &flow.ends, &e, 0),
            }
        }
        // There may be more: the poll set is to say so again.
        let _ = cx.registry.reregister(socket, Kind::Udp.token(number), Interest::READABLE);
    }

    /// Closes flows that are idle.
    pub fn expire(&mut self, cx: &mut Context) {
        let late = |(&n, f): (&u64, &Flow)| (cx.now.saturating_sub(f.last) > IDLE).then_some(n);
        let late: Vec<u64> = self.flows.iter().filter_map(late).collect();
        late.into_iter().for_each(|n| self.close(cx, n));
    }

    /// Forgets all flows.
    pub fn clear(&mut self) {
        self.flows.clear();
        self.numbers.clear();
        self.clients.clear();
    }
}

/// Tells the guest that a datagram of it was not delivered.
fn tell(cx: &mut Context, ends: &Ends, error: &io::Error, length: usize) {
    if error.raw_os_error() == Some(libc::EMSGSIZE) {
        return;
    }
    let mut start = [0; 8];
    start[..2].copy_from_slice(&ends.guest.port().to_be_bytes());
    start[2..4].copy_from_slice(&ends.peer.port().to_be_bytes());
    start[4..6].copy_from_slice(&((length + HEADER) as u16).to_be_bytes());
    // A refusal comes from the host itself: nobody listens on the port.
    let why = Unreachable::of(error).unwrap_or(Unreachable::Port);
    icmp::unreachable(&mut cx.link, ends.guest, ends.peer, IpProtocol::Udp, &start, why);
}
