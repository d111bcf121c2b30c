//! What a user-mode network looks like to its guest, and what the guest may reach.

use crate::{Error, Forward};
use smoltcp::wire::EthernetAddress;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Where questions for names go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolvers {
    /// To the name servers in the host's `/etc/resolv.conf`, which is read again when it has changed.
    Host,
    /// To these, in this order. With none, every question is answered by SERVFAIL.
    These(Vec<SocketAddr>),
}

/// The constants of one network. [`Config::default`] has QEMU's IPv4 addresses.
#[derive(Clone, Debug)]
pub struct Config {
    /// The guest's IPv4 address. Packets with another source address are dropped.
    pub guest4: Ipv4Addr,
    /// The gateway's IPv4 address. With [`Config::host`] it stands for the host's loopback, `127.0.0.1`.
    pub gateway4: Ipv4Addr,
    /// The IPv4 address at which questions for names are answered: it may be the gateway's.
    pub dns4: Ipv4Addr,
    /// The length of the IPv4 network's prefix: 1 to 30.
    pub prefix4: u8,
    /// Whether the guest has IPv6.
    pub ipv6: bool,
    /// The IPv6 network, a /64. The guest chooses its address in it (SLAAC).
    pub prefix6: Ipv6Addr,
    /// The gateway's IPv6 address, in [`Config::prefix6`]. With [`Config::host`] it stands for `::1`.
    pub gateway6: Ipv6Addr,
    /// The IPv6 address at which questions for names are answered.
    pub dns6: Ipv6Addr,
    /// The gateway's link-local address, from which routers advertise themselves.
    pub router6: Ipv6Addr,
    /// The Ethernet address of the gateway and the name server.
    pub mac: EthernetAddress,
    /// The largest IP packet without segments in bytes: 1280 to 65,520.
    pub mtu: u16,
    /// The name that DHCP gives the guest; empty for none. At most 255 bytes.
    pub host_name: String,
    /// The domain in which DHCP tells the guest to search for names; empty for none. At most 255 bytes.
    pub domain: String,
    /// How long an address from DHCP is valid, in seconds.
    pub lease: u32,
    /// Whether anything outside is reached at all. Without, only the gateway and forwarded ports are there.
    pub outside: bool,
    /// Whether the guest reaches the host: by the gateway's address its loopback, and the addresses of its interfaces.
    pub host: bool,
    /// The name servers.
    pub resolvers: Resolvers,
    /// A file in the form of `/etc/hosts` whose names are answered from it, alone or in [`Config::domain`]. It is read
    /// for each question.
    pub hosts: Option<Arc<File>>,
    /// Ports of the host that lead to the guest.
    pub forwards: Vec<Forward>,
    /// The largest number of TCP connections at once. Beyond it, new ones are refused.
    pub connections: usize,
    /// The largest number of UDP flows at once. A new one replaces the one that was idle for longest.
    pub datagram_flows: usize,
    /// How many bytes may wait for guest or host in all TCP connections together, beyond 128 KiB for each connection.
    pub buffers: usize,
}

impl Default for Config {
    fn default() -> Config {
        let ula = |last| Ipv6Addr::new(0xfd74, 0x7269, 0x6e65, 0, 0, 0, 0, last);
        Config {
            guest4: Ipv4Addr::new(10, 0, 2, 15),
            gateway4: Ipv4Addr::new(10, 0, 2, 2),
            dns4: Ipv4Addr::new(10, 0, 2, 3),
            prefix4: 24,
            ipv6: true,
            prefix6: ula(0),
            gateway6: ula(2),
            dns6: ula(3),
            router6: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2),
            mac: EthernetAddress([0x52, 0x55, 10, 0, 2, 2]),
            mtu: 1500,
            host_name: String::new(),
            domain: String::new(),
            lease: 86_400,
            outside: true,
            host: false,
            resolvers: Resolvers::Host,
            hosts: None,
            forwards: Vec::new(),
            connections: 1024,
            datagram_flows: 256,
            buffers: 32 << 20,
        }
    }
}

impl Config {
    /// Refuses what cannot work, with a sentence why.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |why: &str| Err(Error::Config(why.into()));
        if !(1..=30).contains(&self.prefix4) {
            return wrong("the prefix of its IPv4 network must have 1 to 30 bits");
        }
        if [self.gateway4, self.dns4].iter().any(|&a| !self.in_network4(a)) {
            return wrong("its gateway and name server must be in the guest's IPv4 network");
        }
        if self.guest4 == self.gateway4 || self.guest4 == self.dns4 {
            return wrong("the guest must have another IPv4 address than gateway and name server");
        }
        if !self.in_network6(self.gateway6) || !self.in_network6(self.dns6) || self.gateway6 == self.dns6 {
            return wrong("its gateway and name server must have different addresses in its IPv6 network");
        }
        if !self.router6.is_unicast_link_local() {
            return wrong("its router must have a link-local IPv6 address");
        }
        if !self.mac.is_unicast() {
            return wrong("its gateway must have a unicast Ethernet address");
        }
        if !(1280..=65_520).contains(&self.mtu) {
            return wrong("its MTU must be 1280 to 65520 bytes");
        }
        if self.host_name.len() > 255 || self.domain.len() > 255 {
            return wrong("the host name and the domain must have at most 255 bytes");
        }
        Ok(())
    }

    /// The IPv4 network's mask.
    pub(crate) fn mask4(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(self.prefix4)).unwrap_or(0))
    }

    /// Whether an address is in the virtual IPv4 network.
    pub(crate) fn in_network4(&self, address: Ipv4Addr) -> bool {
        address & self.mask4() == self.guest4 & self.mask4()
    }

    /// Whether an address is in the virtual IPv6 network.
    pub(crate) fn in_network6(&self, address: Ipv6Addr) -> bool {
        address.octets()[..8] == self.prefix6.octets()[..8]
    }

    /// Whether an address is the gateway's.
    pub(crate) fn is_gateway(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(a) => a == self.gateway4,
            IpAddr::V6(a) => a == self.gateway6 || a == self.router6,
        }
    }

    /// Whether an address is the name server's.
    pub(crate) fn is_dns(&self, address: IpAddr) -> bool {
        address == IpAddr::V4(self.dns4) || address == IpAddr::V6(self.dns6)
    }

    /// Whether the guest may use an address as its own.
    pub(crate) fn is_guest(&self, address: IpAddr) -> bool {
        let taken = self.is_gateway(address) || self.is_dns(address);
        match address {
            IpAddr::V4(a) => a == self.guest4,
            IpAddr::V6(a) => !taken && (self.in_network6(a) || a.is_unicast_link_local()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_that_cannot_work_is_refused() {
        assert!(Config::default().check().is_ok());
        let wrong: [fn(&mut Config); 9] = [
            |c| c.prefix4 = 0,
            |c| c.prefix4 = 31,
            |c| c.dns4 = Ipv4Addr::new(10, 0, 3, 3),
            |c| c.gateway4 = c.guest4,
            |c| c.gateway6 = Ipv6Addr::LOCALHOST,
            |c| c.router6 = c.gateway6,
            |c| c.mac = EthernetAddress([0xff; 6]),
            |c| c.mtu = 576,
            |c| c.domain = "x".repeat(256),
        ];
        for (n, change) in wrong.iter().enumerate() {
            let mut config = Config::default();
            change(&mut config);
            assert!(matches!(config.check(), Err(Error::Config(_))), "case {n}");
        }
    }

    #[test]
    fn the_guest_has_one_ipv4_address_and_any_of_its_ipv6_network() {
        let config = Config::default();
        let own = ["10.0.2.15", "fd74:7269:6e65::15", "fe80::1"];
        let others = ["10.0.2.2", "10.0.2.16", "0.0.0.0", "fd74:7269:6e65::2", "fe80::2", "fd00::1", "::"];
        assert!(own.iter().all(|a| config.is_guest(a.parse().unwrap())));
        assert!(others.iter().all(|a| !config.is_guest(a.parse().unwrap())));
    }
}
