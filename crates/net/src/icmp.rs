//! ICMP: echo of the gateway, echo of the outside by unprivileged sockets, and errors for the guest.

use crate::checksum;
use crate::context::{Context, Kind};
use crate::link::{Link, ip_header};
use mio::Interest;
use mio::unix::SourceFd;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

/// The largest number of echo sockets at once.
const SOCKETS: usize = 32;
/// How long a socket is kept without a request, in nanoseconds.
const IDLE: u64 = 30_000_000_000;
/// The length of an echo message's header.
const HEADER: usize = 8;
/// Replies taken from one socket at once.
const TURN: usize = 16;

/// Why something was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreachable {
    Network,
    Host,
    Port,
    Prohibited,
}

impl Unreachable {
    /// What the host's error means. `None`: the other end answered, and refused.
    pub fn of(error: &io::Error) -> Option<Unreachable> {
        match error.raw_os_error() {
            Some(libc::ECONNREFUSED | libc::ECONNRESET) => None,
            Some(libc::ENETUNREACH | libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT) => Some(Unreachable::Network),
            Some(libc::EACCES | libc::EPERM) => Some(Unreachable::Prohibited),
            _ => Some(Unreachable::Host),
        }
    }

    /// Type and code (RFC 792, RFC 1122 section 3.2.2.1; RFC 4443 section 3.1).
    fn code(self, v4: bool) -> [u8; 2] {
        match (self, v4) {
            (Unreachable::Network, true) => [3, 0],
            (Unreachable::Host, true) => [3, 1],
            (Unreachable::Port, true) => [3, 3],
            (Unreachable::Prohibited, true) => [3, 13],
            (Unreachable::Network, false) => [1, 0],
            (Unreachable::Host, false) => [1, 3],
            (Unreachable::Port, false) => [1, 4],
            (Unreachable::Prohibited, false) => [1, 1],
        }
    }
}

/// Tells the guest that a packet was not delivered. `start` is what the packet had behind its IP header.
pub(crate) fn unreachable(
    link: &mut Link,
    guest: SocketAddr,
    peer: SocketAddr,
    protocol: IpProtocol,
    start: &[u8; 8],
    why: Unreachable,
) {
    let mut message = why.code(guest.is_ipv4()).to_vec();
    message.resize(HEADER + ip_header(guest.ip()), 0);
    let (payload_len, hop_limit, next_header, ip) = (start.len(), 64, protocol, &mut message[HEADER..]);
    match (guest.ip(), peer.ip()) {
        (IpAddr::V4(src_addr), IpAddr::V4(dst_addr)) => {
            Ipv4Repr { src_addr, dst_addr, next_header, payload_len, hop_limit }
                .emit(&mut Ipv4Packet::new_unchecked(ip), &ChecksumCapabilities::default());
        }
        (IpAddr::V6(src_addr), IpAddr::V6(dst_addr)) => {
            Ipv6Repr { src_addr, dst_addr, next_header, payload_len, hop_limit }
                .emit(&mut Ipv6Packet::new_unchecked(ip));
        }
        _ => return,
    }
    message.extend_from_slice(start);
    // From the gateway: it is the router that knows.
    let source = match guest.ip() {
        IpAddr::V4(_) => link.config.gateway4.into(),
        IpAddr::V6(_) => link.config.gateway6.into(),
    };
    send(link, source, guest.ip(), message);
}

/// Sends an ICMP message whose checksum is still zero.
pub(crate) fn send(link: &mut Link, source: IpAddr, target: IpAddr, mut message: Vec<u8>) {
    let protocol = if source.is_ipv4() { IpProtocol::Icmp } else { IpProtocol::Icmpv6 };
    finish(source, target, &mut message);
    link.push_datagram(source, target, protocol, &message);
}

/// Stores the checksum of an ICMP message in which it is zero.
pub(crate) fn finish(source: IpAddr, target: IpAddr, message: &mut [u8]) {
    let mut sum = checksum::sum(message);
    if source.is_ipv6() {
        sum = checksum::add(sum, checksum::pseudo(source, target, IpProtocol::Icmpv6.into(), message.len()));
    }
    message[2..4].copy_from_slice(&(!sum).to_be_bytes());
}

/// Whether the checksum of a message from the guest is right.
pub(crate) fn is_whole(source: IpAddr, target: IpAddr, message: &[u8]) -> bool {
    let sum = checksum::sum(message);
    0xffff
        == match source {
            IpAddr::V4(_) => sum,
            IpAddr::V6(_) => {
                checksum::add(sum, checksum::pseudo(source, target, IpProtocol::Icmpv6.into(), message.len()))
            }
        }
}

/// The type of an echo request, and that of a reply.
fn types(v4: bool) -> (u8, u8) {
    if v4 { (8, 0) } else { (128, 129) }
}

/// Who asked whom, under which identifier.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Asked {
    guest: IpAddr,
    peer: IpAddr,
    ident: [u8; 2],
}

struct Echo {
    asked: Asked,
    socket: Socket,
    last: u64,
}

/// Echo requests for the outside. The kernel gives each of these sockets an identifier of its own and passes only
/// replies to it, so that no privilege is needed where `net.ipv4.ping_group_range` allows the sockets (icmp(7)).
#[derive(Default)]
pub(crate) struct Ping {
    sockets: HashMap<u64, Echo>,
    numbers: HashMap<Asked, u64>,
}

impl Ping {
    /// An ICMP message from the guest, whose checksum is right.
    pub fn input(&mut self, cx: &mut Context, source: IpAddr, target: IpAddr, message: &[u8]) {
        let v4 = source.is_ipv4();
        if message.len() < HEADER || message[0] != types(v4).0 || message[1] != 0 {
            // Errors about what we sent: TCP and UDP notice by themselves.
            return;
        }
        if cx.config.is_gateway(target) || cx.config.is_dns(target) {
            let mut reply = message.to_vec();
            reply[0] = types(v4).1;
            reply[2..4].fill(0);
            return send(&mut cx.link, target, source, reply);
        }
        let sent = self.request(cx, source, target, message);
        if let Err(e) = sent {
            cx.link.stats.refused += 1;
            let mut start = [0; 8];
            start.copy_from_slice(&message[..8]);
            let ends = (SocketAddr::new(source, 0), SocketAddr::new(target, 0));
            let protocol = if v4 { IpProtocol::Icmp } else { IpProtocol::Icmpv6 };
            let why = Unreachable::of(&e).unwrap_or(Unreachable::Host);
            unreachable(&mut cx.link, ends.0, ends.1, protocol, &start, why);
        }
    }

    fn request(&mut self, cx: &mut Context, guest: IpAddr, peer: IpAddr, message: &[u8]) -> io::Result<()> {
        let target = cx.reach.target(SocketAddr::new(peer, 0), cx.now);
        let target = target.ok_or_else(|| io::Error::from_raw_os_error(libc::EACCES))?;
        let asked = Asked { guest, peer, ident: [message[4], message[5]] };
        let number = match self.numbers.get(&asked) {
            Some(&number) => number,
            None => self.open(cx, asked, target)?,
        };
        let Some(echo) = self.sockets.get_mut(&number) else { return Ok(()) };
        echo.last = cx.now;
        echo.socket.send(message).map(drop)
    }

    fn open(&mut self, cx: &mut Context, asked: Asked, target: SocketAddr) -> io::Result<u64> {
        if self.sockets.len() >= SOCKETS
            && let Some(oldest) = self.sockets.iter().min_by_key(|(_, e)| e.last).map(|(&n, _)| n)
        {
            self.close(cx, oldest);
        }
        let protocol = if target.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
        let socket = Socket::new(Domain::for_address(target), Type::DGRAM.nonblocking(), Some(protocol))?;
        socket.connect(&target.into())?;
        let number = cx.number();
        let fd = socket.as_raw_fd();
        cx.registry.register(&mut SourceFd(&fd), Kind::Ping.token(number), Interest::READABLE)?;
        self.numbers.insert(asked, number);
        self.sockets.insert(number, Echo { asked, socket, last: cx.now });
        Ok(number)
    }

    fn close(&mut self, cx: &mut Context, number: u64) {
        if let Some(echo) = self.sockets.remove(&number) {
            self.numbers.remove(&echo.asked);
            let _ = cx.registry.deregister(&mut SourceFd(&echo.socket.as_raw_fd()));
        }
    }

    /// Replies have come.
    pub fn event(&mut self, cx: &mut Context, number: u64, buffer: &mut [u8]) {
        let Some(echo) = self.sockets.get_mut(&number) else { return };
        let asked = echo.asked;
        for _ in 0..TURN {
            let Ok(count) = echo.socket.read(buffer) else { return };
            let Some(reply) = buffer.get(..count).filter(|r| r.len() >= HEADER) else { continue };
            if reply[0] != types(asked.guest.is_ipv4()).1 {
                continue;
            }
            let mut reply = reply.to_vec();
            reply[2..4].fill(0);
            reply[4..6].copy_from_slice(&asked.ident);
            send(&mut cx.link, asked.peer, asked.guest, reply);
        }
        // There may be more: the poll set is to say so again.
        let fd = echo.socket.as_raw_fd();
        let _ = cx.registry.reregister(&mut SourceFd(&fd), Kind::Ping.token(number), Interest::READABLE);
    }

    /// Whether [`Ping::expire`] may have something to do.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Closes sockets that are idle.
    pub fn expire(&mut self, cx: &mut Context) {
        let late = |(&n, e): (&u64, &Echo)| (cx.now.saturating_sub(e.last) > IDLE).then_some(n);
        let late: Vec<u64> = self.sockets.iter().filter_map(late).collect();
        late.into_iter().for_each(|n| self.close(cx, n));
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.sockets.clear();
        self.numbers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_message_is_whole() {
        for (a, b) in [("10.0.2.2", "10.0.2.15"), ("fe80::1", "fe80::2")] {
            let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
            let mut message = vec![8, 0, 0, 0, 1, 2, 3, 4, 5];
            finish(a, b, &mut message);
            assert!(is_whole(a, b, &message));
            message[8] ^= 1;
            assert!(!is_whole(a, b, &message));
        }
    }

    #[test]
    fn errors_of_the_host_become_messages() {
        let of = |code| Unreachable::of(&io::Error::from_raw_os_error(code));
        assert_eq!(of(libc::ECONNREFUSED), None);
        assert_eq!(of(libc::ENETUNREACH), Some(Unreachable::Network));
        assert_eq!(of(libc::ETIMEDOUT), Some(Unreachable::Host));
        assert_eq!(of(libc::EACCES), Some(Unreachable::Prohibited));
    }
}
