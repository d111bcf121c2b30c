//! The few messages of rtnetlink(7) that are needed here, encoded by hand: the current crate for them
//! (`netlink-packet-route` 0.34) costs 16 s of compile time in a debug build, for a dozen attributes.
//!
//! The numbers are those of `linux/rtnetlink.h`, `if_link.h`, `if_addr.h`, `veth.h` and `fib_rules.h`.

use crate::error::{Doing, Error};
use crate::{Result, sys};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const GET_ROUTE: u16 = 26;
const NEW_RULE: u16 = 32;
const DEL_RULE: u16 = 33;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;

const ERROR: u16 = 2;
const DONE: u16 = 3;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IF_OPER_UP: u8 = 6;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_F_NODAD: u8 = 2;
const RTA_DST: u16 = 1;
const RTA_GATEWAY: u16 = 5;
const FRA_IIFNAME: u16 = 3;
const FRA_PRIORITY: u16 = 6;
const FR_ACT_PROHIBIT: u8 = 8;
const UP: u32 = 1;

/// A message under construction.
struct Message(Vec<u8>);

impl Message {
    /// Begins a message of this type with its fixed header; [`Socket::send`] fills in the length.
    fn new(kind: u16, flags: u16, header: &[u8]) -> Message {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((REQUEST | flags).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(header);
        Message(bytes)
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Message {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(&value[..usize::from(length) - 4]);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn text(self, kind: u16, value: &str) -> Message {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    fn number(self, kind: u16, value: u32) -> Message {
        self.attribute(kind, &value.to_ne_bytes())
    }

    fn nested(self, kind: u16, inner: Message) -> Message {
        self.attribute(kind, &inner.0)
    }
}

/// Begins a list of nested attributes.
fn inner() -> Message {
    Message(Vec::new())
}

/// `struct ifinfomsg`.
fn link(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&change.to_ne_bytes());
    bytes
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

/// One end of a veth pair.
pub(crate) struct End<'a> {
    pub name: &'a str,
    /// The network namespace for it; `None` means that of the socket.
    pub namespace: Option<BorrowedFd<'a>>,
    /// Ethernet address; `None` lets the kernel choose.
    pub ether: Option<[u8; 6]>,
}

impl End<'_> {
    fn attributes(&self, mut to: Message) -> Message {
        to = to.text(IFLA_IFNAME, self.name);
        if let Some(ether) = self.ether {
            to = to.attribute(IFLA_ADDRESS, &ether);
        }
        if let Some(fd) = self.namespace {
            to = to.number(IFLA_NET_NS_FD, fd.as_raw_fd() as u32);
        }
        to
    }
}

/// A netlink socket; it changes the links of the network namespace in which it was created.
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Creates a socket for the network namespace of the calling thread.
    pub fn here() -> Result<Netlink> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: takes no pointers.
        let socket = sys::owned(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) });
        Ok(Netlink::on(socket.doing(|| "a netlink socket".into())?))
    }

    /// Uses a netlink socket that was created elsewhere.
    pub fn on(socket: OwnedFd) -> Netlink {
        Netlink { socket, sequence: 0 }
    }

    /// The namespace whose links it changes.
    pub fn namespace(&self) -> io::Result<OwnedFd> {
        sys::network_of(self.socket.as_fd())
    }

    fn send(&mut self, mut message: Message) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = message.0.len() as u32;
        message.0[0..4].copy_from_slice(&length.to_ne_bytes());
        message.0[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        let (socket, bytes) = (self.socket.as_raw_fd(), &message.0);
        // SAFETY: sends the bytes of a vector.
        let sent = unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Calls `each` with type and payload of each answer, until the acknowledgement or the end of the list.
    fn answers(&mut self, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let mut buffer = vec![0u8; 64 * 1024];
        loop {
            let at = buffer.as_mut_ptr().cast();
            // SAFETY: writes at most the vector's length.
            let count = unsafe { libc::recv(self.socket.as_raw_fd(), at, buffer.len(), 0) };
            let Ok(count) = usize::try_from(count) else {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            };
            let mut rest = &buffer[..count];
            while let Some((kind, sequence, payload, behind)) = split(rest) {
                rest = behind;
                if sequence != self.sequence {
                    continue;
                }
                match kind {
                    DONE => return Ok(()),
                    ERROR => return status(payload),
                    _ => each(kind, payload),
                }
            }
        }
    }

    fn call(&mut self, message: Message) -> io::Result<()> {
        self.send(message)?;
        self.answers(|_, _| ())
    }

    /// Calls `each` with `struct ifinfomsg` and the attributes of a link, if there is one of that name.
    fn look(&mut self, name: &str, mut each: impl FnMut(&[u8])) -> Result<()> {
        let message = Message::new(GET_LINK, ACK, &link(0, 0, 0)).text(IFLA_IFNAME, name);
        let sent = self.send(message).and_then(|()| {
            self.answers(|kind, payload| {
                if kind == NEW_LINK {
                    each(payload);
                }
            })
        });
        match sent {
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            other => other.doing(|| format!("cannot look up the link {name}")),
        }
    }

    /// The index of a link; `None` where there is none of that name.
    pub fn index(&mut self, name: &str) -> Result<Option<u32>> {
        let mut found = None;
        self.look(name, |payload| found = word(payload, 4))?;
        Ok(found)
    }

    fn wanted(&mut self, name: &str) -> Result<u32> {
        let what = format!("the link {name} does not exist");
        let none = || Error::System { what, why: io::Error::from_raw_os_error(libc::ENODEV) };
        self.index(name)?.ok_or_else(none)
    }

    /// Creates a bridge.
    pub fn bridge(&mut self, name: &str, ether: [u8; 6]) -> Result<()> {
        let info = inner().text(IFLA_INFO_KIND, "bridge");
        let message = Message::new(NEW_LINK, ACK | CREATE | EXCLUSIVE, &link(0, 0, 0))
            .text(IFLA_IFNAME, name)
            .attribute(IFLA_ADDRESS, &ether)
            .nested(IFLA_LINKINFO, info);
        self.call(message).doing(|| format!("cannot create the bridge {name}"))
    }

    /// Creates a veth pair; the near end gets this index, or with 0 any.
    pub fn pair(&mut self, near: &End, far: &End, index: u32) -> Result<()> {
        let peer = far.attributes(Message(link(0, 0, 0).to_vec()));
        let data = inner().nested(VETH_INFO_PEER, peer);
        let info = inner().text(IFLA_INFO_KIND, "veth").nested(IFLA_INFO_DATA, data);
        let message = Message::new(NEW_LINK, ACK | CREATE | EXCLUSIVE, &link(index, 0, 0));
        let message = near.attributes(message).nested(IFLA_LINKINFO, info);
        self.call(message).doing(|| format!("cannot create the pair {}, {}", near.name, far.name))
    }

    fn silence(&mut self, name: &str, index: u32) -> Result<()> {
        // IN6_ADDR_GEN_MODE_NONE
        let inet6 = inner().attribute(IFLA_INET6_ADDR_GEN_MODE, &[1]);
        let families = inner().nested(libc::AF_INET6 as u16, inet6);
        let message = Message::new(NEW_LINK, ACK, &link(index, 0, 0)).nested(IFLA_AF_SPEC, families);
        match self.call(message) {
            // There is no IPv6 here.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP)) => Ok(()),
            other => other.doing(|| format!("cannot disable automatic addresses of the link {name}")),
        }
    }

    /// Brings a link up; with `silent`, it gets no automatic IPv6 address.
    pub fn up(&mut self, name: &str, silent: bool) -> Result<u32> {
        let index = self.wanted(name)?;
        if silent {
            self.silence(name, index)?;
        }
        let message = Message::new(NEW_LINK, ACK, &link(index, UP, UP));
        self.call(message).doing(|| format!("cannot bring up the link {name}"))?;
        Ok(index)
    }

    /// Attaches a link to a bridge. A link that is up passes frames from then on.
    pub fn attach(&mut self, name: &str, bridge: &str) -> Result<()> {
        let message = Message::new(NEW_LINK, ACK, &link(self.wanted(name)?, 0, 0));
        let message = message.number(IFLA_MASTER, self.wanted(bridge)?);
        self.call(message).doing(|| format!("cannot attach the link {name} to the bridge {bridge}"))
    }

    /// Waits until the kernel has noticed that a link is up, which may take a second: before that, packets
    /// are lost.
    pub fn settle(&mut self, name: &str) -> Result<()> {
        for _ in 0..10_000 {
            let mut state = None;
            self.look(name, |payload| {
                let attributes = payload.get(16..).unwrap_or_default();
                state = attribute(attributes, IFLA_OPERSTATE).and_then(|v| v.first().copied());
            })?;
            if state.is_none_or(|s| s == IF_OPER_UP) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
        Ok(())
    }

    /// Sets the MTU in bytes.
    pub fn mtu(&mut self, name: &str, bytes: u32) -> Result<()> {
        let message = Message::new(NEW_LINK, ACK, &link(self.wanted(name)?, 0, 0)).number(IFLA_MTU, bytes);
        self.call(message).doing(|| format!("cannot set the MTU of {name}"))
    }

    /// The MTU of a link in bytes; `None` where there is no such link.
    pub fn mtu_of(&mut self, name: &str) -> Result<Option<u32>> {
        let mut found = None;
        self.look(name, |payload| {
            let attributes = payload.get(16..).unwrap_or_default();
            found = attribute(attributes, IFLA_MTU).and_then(|v| word(v, 0));
        })?;
        Ok(found)
    }

    /// The Ethernet address of a link.
    pub fn ether_of(&mut self, name: &str) -> Result<[u8; 6]> {
        let mut found = None;
        self.look(name, |payload| {
            let attributes = payload.get(16..).unwrap_or_default();
            found = attribute(attributes, IFLA_ADDRESS).and_then(|v| v.try_into().ok());
        })?;
        let none = || Error::Bad(format!("the link {name} has no Ethernet address"));
        found.ok_or_else(none)
    }

    /// Adds an address to a link, without duplicate address detection.
    pub fn address(&mut self, name: &str, address: IpAddr, prefix: u8) -> Result<()> {
        let index = self.wanted(name)?;
        let mut header = [family(address), prefix, 0, 0, 0, 0, 0, 0];
        if address.is_ipv6() {
            header[2] = IFA_F_NODAD;
        }
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        let mut message = Message::new(NEW_ADDRESS, ACK | CREATE | EXCLUSIVE, &header)
            .attribute(IFA_LOCAL, &octets(address))
            .attribute(IFA_ADDRESS, &octets(address));
        if let IpAddr::V4(v4) = address {
            let broadcast = v4.to_bits() | u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            message = message.attribute(IFA_BROADCAST, &broadcast.to_be_bytes());
        }
        self.call(message).doing(|| format!("cannot add the address {address}/{prefix} to {name}"))
    }

    /// Adds the default route.
    pub fn default_route(&mut self, gateway: IpAddr) -> Result<()> {
        // struct rtmsg: table main (254), protocol static (4), scope universe (0), type unicast (1).
        let header = [family(gateway), 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
        let message = Message::new(NEW_ROUTE, ACK | CREATE | EXCLUSIVE, &header);
        let message = message.attribute(RTA_GATEWAY, &octets(gateway));
        self.call(message).doing(|| format!("cannot add a default route by {gateway}"))
    }

    /// Destinations of the routes in all tables, with prefix lengths; default routes have length 0.
    pub fn routes(&mut self) -> Result<Vec<(IpAddr, u8)>> {
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let header = [family as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let sent = self.send(Message::new(GET_ROUTE, DUMP, &header)).and_then(|()| {
                self.answers(|kind, payload| {
                    if kind == NEW_ROUTE {
                        found.extend(route(payload));
                    }
                })
            });
            sent.doing(|| "cannot list the host's routes".into())?;
        }
        Ok(found)
    }

    /// Whether there is an IPv4 default route.
    pub fn has_default_route(&mut self) -> Result<bool> {
        Ok(self.routes()?.iter().any(|(to, prefix)| *prefix == 0 && to.is_ipv4()))
    }

    /// Removes a link; returns false where there is none.
    pub fn remove(&mut self, name: &str) -> Result<bool> {
        let Some(index) = self.index(name)? else { return Ok(false) };
        match self.call(Message::new(DEL_LINK, ACK, &link(index, 0, 0))) {
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(false),
            other => other.doing(|| format!("cannot remove the link {name}")).map(|()| true),
        }
    }

    /// Forbids routing of packets that come in by a link (both families), or allows it again. The host's own
    /// addresses stay reachable.
    pub fn forbid_routing(&mut self, name: &str, forbid: bool) -> Result<()> {
        for family in [libc::AF_INET, libc::AF_INET6] {
            // struct fib_rule_hdr
            let header = [family as u8, 0, 0, 0, 0, 0, 0, FR_ACT_PROHIBIT, 0, 0, 0, 0];
            let (kind, flags) = if forbid { (NEW_RULE, ACK | CREATE | EXCLUSIVE) } else { (DEL_RULE, ACK) };
            let message =
                Message::new(kind, flags, &header).number(FRA_PRIORITY, 100).text(FRA_IIFNAME, name);
            match self.call(message).map_err(|e| (e.raw_os_error(), e)) {
                Ok(()) => {}
                Err((Some(libc::EEXIST), _)) if forbid => {}
                Err((Some(libc::ENOENT), _)) if !forbid => {}
                Err((Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP), _)) if family == libc::AF_INET6 => {}
                Err((_, why)) => {
                    return Err(Error::System { what: format!("cannot change the rule for {name}"), why });
                }
            }
        }
        Ok(())
    }
}

/// Splits off the first message of a buffer: type, sequence number, payload, and the rest.
fn split(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let length = word(bytes, 0)? as usize;
    let payload = bytes.get(16..length)?;
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((half(bytes, 4)?, word(bytes, 8)?, payload, rest))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_ne_bytes(*b))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_ne_bytes(*b))
}

/// `struct nlmsgerr`.
fn status(payload: &[u8]) -> io::Result<()> {
    match word(payload, 0).map(|n| n as i32) {
        Some(0) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(number.wrapping_neg())),
        None => Err(io::Error::from_raw_os_error(libc::EPROTO)),
    }
}

/// The value of the first attribute of a type.
fn attribute(mut rest: &[u8], kind: u16) -> Option<&[u8]> {
    while let Some(length) = half(rest, 0).map(usize::from).filter(|&l| l >= 4) {
        let value = rest.get(4..length)?;
        if half(rest, 2) == Some(kind) {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    None
}

/// The destination of a route.
fn route(payload: &[u8]) -> Option<(IpAddr, u8)> {
    let (&family, &prefix) = (payload.first()?, payload.get(1)?);
    let mut destination = match i32::from(family) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        libc::AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    if let Some(value) = attribute(payload.get(12..)?, RTA_DST) {
        destination = match (<[u8; 4]>::try_from(value), <[u8; 16]>::try_from(value)) {
            (Ok(v4), _) => v4.into(),
            (_, Ok(v6)) => v6.into(),
            _ => return None,
        };
    }
    Some((destination, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_link_and_its_routes_are_found() {
        let mut netlink = Netlink::here().unwrap();
        assert_eq!(netlink.index("lo").unwrap(), Some(1));
        assert_eq!(netlink.index("trine-none").unwrap(), None);
        netlink.routes().unwrap();
    }

    #[test]
    fn short_answers_are_not_read_past() {
        for length in 0..40 {
            let bytes = vec![0xffu8; length];
            assert!(split(&bytes).is_none());
            route(&bytes);
        }
        let message = Message::new(NEW_ROUTE, 0, &[2, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            .attribute(RTA_DST, &[10, 0, 0, 0]);
        assert_eq!(route(&message.0[16..]), Some((Ipv4Addr::new(10, 0, 0, 0).into(), 8)));
        assert_eq!(route(&message.0[16..30]), Some((Ipv4Addr::UNSPECIFIED.into(), 8)));
    }
}
