//! Who may be reached: the outside, but not the host, unless the configuration says so.

use crate::config::Config;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

/// How long the list of the host's addresses is used, in nanoseconds.
const FRESH: u64 = 1_000_000_000;

/// Decides which address of the host's network a guest's packet is for.
pub(crate) struct Reach {
    config: Arc<Config>,
    own: Vec<IpAddr>,
    read: Option<u64>,
}

impl Reach {
    pub fn new(config: Arc<Config>) -> Reach {
        Reach { config, own: Vec::new(), read: None }
    }

    /// Where to connect for what the guest calls `peer`, or `None` if it may not go there.
    pub fn target(&mut self, peer: SocketAddr, now: u64) -> Option<SocketAddr> {
        if self.config.is_gateway(peer.ip()) {
            let loopback: IpAddr =
                if peer.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
            return self.config.host.then_some(SocketAddr::new(loopback, peer.port()));
        }
        if !self.config.outside || !is_global(peer.ip()) || self.is_virtual(peer.ip()) {
            return None;
        }
        if !self.config.host && self.is_own(peer.ip(), now) {
            return None;
        }
        Some(peer)
    }

    /// Whether nobody else can have the address, as it is in the virtual network.
    fn is_virtual(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(a) => self.config.in_network4(a),
            IpAddr::V6(a) => self.config.ipv6 && self.config.in_network6(a),
        }
    }

    /// Whether an address is one of the host's. If that cannot be found out, it is.
    fn is_own(&mut self, address: IpAddr, now: u64) -> bool {
        if self.read.is_none_or(|read| now.saturating_sub(read) > FRESH) {
            match own_addresses() {
                Ok(own) => (self.own, self.read) = (own, Some(now)),
                Err(_) => return true,
            }
        }
        self.own.contains(&address) || routed_to_self(address)
    }
}

/// Whether the kernel would deliver packets for an address to this host: it then chooses that address as their source.
/// That also finds local routes that belong to no interface's address. Connecting a UDP socket sends nothing.
fn routed_to_self(address: IpAddr) -> bool {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source =
        UdpSocket::bind((any, 0)).and_then(|s| s.connect((address, 9)).and_then(|()| s.local_addr()));
    // Without a route nothing is reached, which the connection itself will say better.
    source.is_ok_and(|source| source.ip() == address || source.ip().is_loopback())
}

/// Whether an address may be one of another computer that routers lead to.
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => {
            let first = a.octets()[0];
            first != 0 && first < 224 && !a.is_loopback() && !a.is_link_local()
        }
        IpAddr::V6(a) => {
            // Below ::/8 are `::`, `::1` and IPv4 addresses written as IPv6 ones, which would be a way around.
            let first = a.segments()[0];
            first & 0xff00 != 0 && !a.is_multicast() && !a.is_unicast_link_local() && first & 0xffc0 != 0xfec0
        }
    }
}

/// All addresses of the host's interfaces, and their broadcast addresses.
fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let mut first = std::ptr::null_mut();
    // SAFETY: the call stores a list at the pointer, or fails.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = first;
    // SAFETY: `next` is null or an element of the list, which is not freed yet.
    while let Some(element) = unsafe { next.as_ref() } {
        // SAFETY: null, or an address as long as its family says.
        found.extend(unsafe { ip_address(element.ifa_addr) });
        // Of a link between two points the same field is the other end, which is not this host.
        if element.ifa_flags & libc::IFF_BROADCAST as u32 != 0 {
            // SAFETY: as above.
            found.extend(unsafe { ip_address(element.ifa_ifu) });
        }
        next = element.ifa_next;
    }
    // SAFETY: the list is that of `getifaddrs`, and is freed once.
    unsafe { libc::freeifaddrs(first) };
    Ok(found)
}

/// The IP address in a socket address.
///
/// # Safety
/// The pointer must be null or lead to a socket address that is as long as its family says.
unsafe fn ip_address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: null or a valid address, as the caller promises.
    let family = unsafe { address.as_ref() }?.sa_family;
    match i32::from(family) {
        libc::AF_INET => {
            // SAFETY: an address of this family has this type.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()).into())
        }
        libc::AF_INET6 => {
            // SAFETY: an address of this family has this type.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(change: impl FnOnce(&mut Config)) -> Reach {
        let mut config = Config::default();
        change(&mut config);
        Reach::new(Arc::new(config))
    }

    fn goes(reach: &mut Reach, to: &str) -> Option<String> {
        reach.target(SocketAddr::new(to.parse().unwrap(), 80), 0).map(|a| a.ip().to_string())
    }

    #[test]
    fn what_is_not_global_is_refused_whatever_the_config_says() {
        let never = [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "10.0.2.15",
            "10.0.2.99",
            "10.0.2.255",
            "10.0.2.3",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "fd74:7269:6e65::3",
            "fd74:7269:6e65::99",
        ];
        for host in [false, true] {
            let mut reach = reach(|c| c.host = host);
            for address in never {
                assert_eq!(goes(&mut reach, address), None, "{address}, host: {host}");
            }
        }
    }

    #[test]
    fn the_gateway_is_the_hosts_loopback_only_when_told() {
        let mut open = reach(|c| c.host = true);
        assert_eq!(goes(&mut open, "10.0.2.2").unwrap(), "127.0.0.1");
        assert_eq!(goes(&mut open, "fd74:7269:6e65::2").unwrap(), "::1");
        let mut shut = reach(|_| ());
        assert_eq!(goes(&mut shut, "10.0.2.2"), None);
        assert_eq!(goes(&mut shut, "fd74:7269:6e65::2"), None);
    }

    #[test]
    fn the_hosts_own_addresses_are_refused_and_the_outside_is_not() {
        let own = own_addresses().unwrap();
        assert!(own.contains(&Ipv4Addr::LOCALHOST.into()));
        let mut shut = reach(|_| ());
        for address in own {
            assert_eq!(shut.target(SocketAddr::new(address, 1), 0), None, "{address}");
        }
        // Addresses for documentation (RFC 5737, RFC 3849): nothing is sent.
        assert_eq!(goes(&mut shut, "192.0.2.1").unwrap(), "192.0.2.1");
        assert_eq!(goes(&mut shut, "2001:db8::1").unwrap(), "2001:db8::1");
        assert_eq!(goes(&mut reach(|c| c.outside = false), "192.0.2.1"), None);
    }
}
