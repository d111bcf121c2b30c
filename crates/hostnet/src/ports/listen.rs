//! Listening sockets on the host.

use super::{Open, PortMap, Protocol};
use crate::{Error, Result, sys};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// How often to look for a port that is free in both families.
const PICKS: usize = 32;

/// A port of the host that is listened on.
pub(super) struct Listener {
    pub socket: OwnedFd,
    pub open: Open,
}

/// Opens all ports, or none.
pub(super) fn all(maps: &[PortMap]) -> Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for map in maps {
        listeners.extend(one(map)?);
    }
    Ok(listeners)
}

fn one(map: &PortMap) -> Result<Vec<Listener>> {
    let any = map.host_first == 0;
    let ports: Vec<u16> = if any { vec![0; PICKS] } else { (map.host_first..=map.host_last).collect() };
    let mut last = None;
    for port in ports {
        match at(map, port) {
            Err(e @ Error::PortInUse { .. }) => last = Some(e),
            other => return other,
        }
    }
    Err(last.unwrap_or_else(|| Error::Bad(format!("-p {}: this contains no port", map.option))))
}

/// Listens on one port, in the family or families asked for.
fn at(map: &PortMap, port: u16) -> Result<Vec<Listener>> {
    let open = |address: IpAddr, port: u16| {
        listen(map, address, port).map_err(|why| (why.raw_os_error(), Error::port(map, address, port, why)))
    };
    if let Some(address) = map.address {
        return open(address, port).map(|l| vec![l]).map_err(|(_, e)| e);
    }
    let first = open(Ipv4Addr::UNSPECIFIED.into(), port).map_err(|(_, e)| e)?;
    match open(Ipv6Addr::UNSPECIFIED.into(), first.open.host.port()) {
        Ok(second) => Ok(vec![first, second]),
        // A host without IPv6.
        Err((Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL), _)) => Ok(vec![first]),
        Err((_, e)) => Err(e),
    }
}

fn listen(map: &PortMap, address: IpAddr, port: u16) -> io::Result<Listener> {
    let (family, level, info) = match address {
        IpAddr::V4(_) => (libc::AF_INET, libc::IPPROTO_IP, libc::IP_PKTINFO),
        IpAddr::V6(_) => (libc::AF_INET6, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let kind = if map.protocol == Protocol::Tcp { libc::SOCK_STREAM } else { libc::SOCK_DGRAM };
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes no pointers.
    let socket = sys::owned(unsafe { libc::socket(family, kind, 0) })?;
    if address.is_ipv6() {
        sys::option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    match map.protocol {
        // A port whose connections have ended can be used again at once.
        Protocol::Tcp => sys::option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?,
        // Answers are sent from the address that the client used.
        Protocol::Udp => sys::option(socket.as_fd(), level, info, 1)?,
    }
    let name = Name::from(SocketAddr::new(address, port));
    // SAFETY: the name's pointer and length are of one structure.
    sys::check(unsafe { libc::bind(socket.as_raw_fd(), name.pointer(), name.length) })?;
    if map.protocol == Protocol::Tcp {
        // SAFETY: takes no pointers.
        sys::check(unsafe { libc::listen(socket.as_raw_fd(), 1024) })?;
    }
    let host = own_name(socket.as_fd())?;
    Ok(Listener { socket, open: Open { host, guest: map.guest, protocol: map.protocol } })
}

/// A socket address in the kernel's format.
pub(super) struct Name {
    pub storage: libc::sockaddr_storage,
    pub length: libc::socklen_t,
}

impl Name {
    /// Space for the kernel to write an address to.
    pub fn empty() -> Name {
        // SAFETY: a structure of integers, for which zero is a value.
        let storage = unsafe { std::mem::zeroed() };
        Name { storage, length: size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    pub fn pointer(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    /// The address; `None` for other families.
    pub fn get(&self) -> Option<SocketAddr> {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET if self.length as usize >= size_of::<libc::sockaddr_in>() => {
                // SAFETY: the storage is as large and aligned as every such structure, and all its bits are integers'.
                let name = unsafe { &*(&raw const self.storage).cast::<libc::sockaddr_in>() };
                let address = Ipv4Addr::from_bits(u32::from_be(name.sin_addr.s_addr));
                Some(SocketAddrV4::new(address, u16::from_be(name.sin_port)).into())
            }
            libc::AF_INET6 if self.length as usize >= size_of::<libc::sockaddr_in6>() => {
                // SAFETY: as above.
                let name = unsafe { &*(&raw const self.storage).cast::<libc::sockaddr_in6>() };
                let (address, port) = (Ipv6Addr::from(name.sin6_addr.s6_addr), u16::from_be(name.sin6_port));
                Some(SocketAddrV6::new(address, port, name.sin6_flowinfo, name.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

impl From<SocketAddr> for Name {
    fn from(address: SocketAddr) -> Name {
        let mut name = Name::empty();
        match address {
            SocketAddr::V4(a) => {
                // SAFETY: the storage is as large and aligned as every such structure.
                let to = unsafe { &mut *(&raw mut name.storage).cast::<libc::sockaddr_in>() };
                to.sin_family = libc::AF_INET as libc::sa_family_t;
                to.sin_port = a.port().to_be();
                to.sin_addr.s_addr = a.ip().to_bits().to_be();
                name.length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            }
            SocketAddr::V6(a) => {
                // SAFETY: as above.
                let to = unsafe { &mut *(&raw mut name.storage).cast::<libc::sockaddr_in6>() };
                to.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                to.sin6_port = a.port().to_be();
                to.sin6_addr.s6_addr = a.ip().octets();
                to.sin6_flowinfo = a.flowinfo();
                to.sin6_scope_id = a.scope_id();
                name.length = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            }
        }
        name
    }
}

fn own_name(socket: BorrowedFd) -> io::Result<SocketAddr> {
    let mut name = Name::empty();
    let to = (&raw mut name.storage).cast();
    // SAFETY: writes at most the length given.
    sys::check(unsafe { libc::getsockname(socket.as_raw_fd(), to, &raw mut name.length) })?;
    name.get().ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
}
