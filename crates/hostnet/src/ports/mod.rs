//! Ports of the host that are forwarded to ports of a guest. A thread of the guest's monitor listens on the
//! host and connects through sockets in the guest's own network. No address translation and no rules are
//! needed, and it works the same for root and for ordinary users. The guest sees its own address as the
//! sender's.

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

/// The protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// Its name in options.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// A port of a guest, and the port of the host that is forwarded to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMap {
    /// The host's address; `None` means all addresses of both families.
    pub address: Option<IpAddr>,
    /// The first acceptable port of the host; 0 means any free one.
    pub host_first: u16,
    /// The last acceptable port of the host.
    pub host_last: u16,
    /// The guest's port, at least 1.
    pub guest: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The option as the user wrote it, for messages.
    pub option: String,
}

/// A port that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The host's address and port.
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

/// Open ports of a guest. Dropping this closes them, and every connection through them.
#[derive(Debug)]
pub struct Ports {
    open: Vec<Open>,
    _forwarder: Worker,
}

impl Ports {
    /// Opens ports in the caller's network namespace and forwards them to the guest's address in its group,
    /// or to its loopback if it is in none.
    ///
    /// # Errors
    /// A port is in use, an address does not belong to the host, or the kernel refused. No port is open then.
    pub fn open(maps: &[PortMap], netns: BorrowedFd, guest: &Addresses) -> Result<Ports> {
        let listeners = listen::all(maps)?;
        let open = listeners.iter().map(|l| l.open).collect();
        let what = || "cannot open ports".to_owned();
        let (stop, told) = Stop::new()?;
        let to = guest.v4.unwrap_or(Ipv4Addr::LOCALHOST);
        let place = Place::of(netns)?;
        let inside = Inside::start(&place)?;
        let guest = forward::Guest { place, inside, to };
        let forwarder = forward::Forwarder::new(listeners, guest, told).doing(what)?;
        let forwarder = Worker::start("ports", stop, move || forwarder.run())?;
        Ok(Ports { open, _forwarder: forwarder })
    }

    /// The open ports.
    #[must_use]
    pub fn list(&self) -> &[Open] {
        &self.open
    }
}

impl Error {
    /// The error for a port that the kernel refused.
    fn port(map: &PortMap, address: IpAddr, port: u16, why: std::io::Error) -> Error {
        let (option, protocol) = (map.option.clone(), map.protocol.name());
        let what = match why.raw_os_error() {
            Some(libc::EADDRINUSE) => return Error::PortInUse { address, port, protocol, option },
            Some(libc::EADDRNOTAVAIL) => format!("-p {option}: {address} is not an address of this host"),
            Some(libc::EACCES) => {
                format!(
                    "-p {option}: port {port} needs root, as all ports below 1024 do (sysctl net.ipv4.ip_unprivileged_port_start)"
                )
            }
            _ => format!("-p {option}: cannot open port {port}"),
        };
        Error::System { what, why }
    }
}
