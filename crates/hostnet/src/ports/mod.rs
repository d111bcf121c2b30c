//! Ports of the host that lead to ports of a guest: a thread of the process that watches over the guest listens on the
//! host, and connects by sockets of the guest's own network. No address is translated, no rule is needed, and it is the
//! same for root and for ordinary users. The guest sees its own address as the sender's.

mod forward;
mod listen;
mod parse;
mod tcp;
mod udp;

pub use parse::parse;

use crate::error::{Doing, Error};
use crate::inside::{Inside, Place};
use crate::worker::{Stop, Worker};
use crate::{Addresses, Result};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::BorrowedFd;

/// What is sent through a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// As written in options.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// One port of a guest that is to be reached by the host's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMap {
    /// The host's address; `None`: all of both families.
    pub address: Option<IpAddr>,
    /// The first of the host's ports that will do; 0: any free one.
    pub host_first: u16,
    /// The last of them.
    pub host_last: u16,
    /// The guest's port, 1 or more.
    pub guest: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// As the user wrote it, for messages.
    pub option: String,
}

/// A port that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// Where the host listens.
    pub host: SocketAddr,
    /// The guest's port.
    pub guest: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl std::fmt::Display for Open {
    /// `127.0.0.1:8080->80/tcp`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}->{}/{}", self.host, self.guest, self.protocol.name())
    }
}

/// Open ports of a guest. Dropping closes them, and every connection through them.
#[derive(Debug)]
pub struct Ports {
    open: Vec<Open>,
    _forwarder: Worker,
}

impl Ports {
    /// Opens ports in the caller's network namespace. They lead to the guest's address in its group, or to its loopback
    /// where it is in none.
    ///
    /// # Errors
    /// A port that is in use, an address that is not the host's, what the kernel refuses. Then none is open.
    pub fn open(maps: &[PortMap], netns: BorrowedFd, guest: &Addresses) -> Result<Ports> {
        let listeners = listen::all(maps)?;
        let open = listeners.iter().map(|l| l.open).collect();
        let what = || "ports cannot be opened".to_owned();
        let (stop, told) = Stop::new()?;
        let to = guest.v4.unwrap_or(Ipv4Addr::LOCALHOST);
        let place = Place::of(netns)?;
        let inside = Inside::start(&place)?;
        let guest = forward::Guest { place, inside, to };
        let forwarder = forward::Forwarder::new(listeners, guest, told).doing(what)?;
        let forwarder = Worker::start("ports", stop, move || forwarder.run())?;
        Ok(Ports { open, _forwarder: forwarder })
    }

    /// Where the host listens.
    #[must_use]
    pub fn list(&self) -> &[Open] {
        &self.open
    }
}

impl Error {
    /// The sentence for a port that the kernel does not give.
    fn port(map: &PortMap, address: IpAddr, port: u16, why: std::io::Error) -> Error {
        let (option, protocol) = (map.option.clone(), map.protocol.name());
        let what = match why.raw_os_error() {
            Some(libc::EADDRINUSE) => return Error::PortInUse { address, port, protocol, option },
            Some(libc::EADDRNOTAVAIL) => format!("-p {option}: {address} is no address of this host"),
            Some(libc::EACCES) => {
                format!(
                    "-p {option}: ports below 1024 (sysctl net.ipv4.ip_unprivileged_port_start) are root's: {port}"
                )
            }
            _ => format!("-p {option}: port {port} cannot be opened"),
        };
        Error::System { what, why }
    }
}
