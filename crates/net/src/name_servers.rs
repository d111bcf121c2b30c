//! Which name servers the host uses: `/etc/resolv.conf`, see resolv.conf(5).

use crate::config::{Config, Resolvers};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::SystemTime;

const FILE: &str = "/etc/resolv.conf";
/// How often to look whether the file has changed, in nanoseconds.
const FRESH: u64 = 1_000_000_000;
/// As many as the C library uses.
const MOST: usize = 3;
/// The port for questions.
pub(crate) const PORT: u16 = 53;

/// The name servers.
pub(crate) struct NameServers {
    config: Arc<Config>,
    list: Vec<SocketAddr>,
    looked: Option<u64>,
    changed: Option<SystemTime>,
}

impl NameServers {
    pub fn new(config: Arc<Config>) -> NameServers {
        NameServers { config, list: Vec::new(), looked: None, changed: None }
    }

    /// The name servers, in the order in which to ask them.
    pub fn list(&mut self, now: u64) -> &[SocketAddr] {
        match &self.config.resolvers {
            _ if !self.config.outside => self.list.clear(),
            Resolvers::These(list) => self.list.clone_from(list),
            Resolvers::Host => self.look(now),
        }
        &self.list
    }

    /// Where a TCP connection to a port of the name server's address goes.
    pub fn tcp(&mut self, port: u16, now: u64) -> Option<SocketAddr> {
        self.list(now).first().copied().filter(|_| port == PORT)
    }

    fn look(&mut self, now: u64) {
        if self.looked.is_some_and(|looked| now.saturating_sub(looked) < FRESH) {
            return;
        }
        self.looked = Some(now);
        let changed = std::fs::metadata(FILE).and_then(|m| m.modified()).ok();
        if changed != self.changed || changed.is_none() {
            self.changed = changed;
            match std::fs::read(FILE) {
                Ok(text) => self.list = parse(&text),
                // A confined machine may not read a file that has taken the place of the one it began with.
                Err(e) if e.kind() == ErrorKind::PermissionDenied => {}
                Err(_) => self.list.clear(),
            }
        }
    }
}

/// The name servers in a file. The C library asks 127.0.0.1 if there is none; a host without the file has none.
fn parse(text: &[u8]) -> Vec<SocketAddr> {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next().and_then(address))?
    });
    lines.take(MOST).collect()
}

/// An address, of IPv6 possibly with an interface: `fe80::1%eth0`.
fn address(word: &str) -> Option<SocketAddr> {
    let Some((ip, interface)) = word.split_once('%') else {
        return Some(SocketAddr::new(word.parse::<IpAddr>().ok()?, PORT));
    };
    let name = std::ffi::CString::new(interface).ok()?;
    // SAFETY: reads a string that ends with zero.
    let scope = interface.parse().unwrap_or_else(|_| unsafe { libc::if_nametoindex(name.as_ptr()) });
    Some(SocketAddrV6::new(ip.parse::<Ipv6Addr>().ok()?, PORT, 0, scope).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_from_text() {
        let cases: [(&str, &[&str]); 6] = [
            ("", &[]),
            ("# nameserver 192.0.2.1\nsearch nameserver 192.0.2.2\n", &[]),
            ("nameserver 127.0.0.53\noptions edns0\n", &["127.0.0.53:53"]),
            (
                "  nameserver\t192.0.2.1 # first\nnameserver 2001:db8::1",
                &["192.0.2.1:53", "[2001:db8::1]:53"],
            ),
            ("nameserver x\nnameserver fe80::1%7", &["[fe80::1%7]:53"]),
            (
                "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4",
                &["192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"],
            ),
        ];
        for (text, wanted) in cases {
            let found: Vec<String> = parse(text.as_bytes()).iter().map(SocketAddr::to_string).collect();
            assert_eq!(found, wanted, "{text:?}");
        }
    }
}
