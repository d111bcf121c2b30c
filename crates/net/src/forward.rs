//! Ports of the host that lead to the guest.

use crate::Error;
use crate::context::{Context, Kind};
use crate::tcp::Tcp;
use crate::udp::Udp;
use mio::Interest;
use mio::net::{TcpListener, UdpSocket};
use socket2::{Domain, Socket, Type};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Connections or datagrams taken from one socket at once.
const TURN: usize = 32;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// A port of the host that leads to a port of the guest. The guest sees what comes from there as sent by the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Forward {
    /// The protocol.
    pub protocol: Protocol,
    /// The address and port of the host on which to listen. Port 0 stands for any free one; an unspecified address for
    /// all addresses of its family.
    pub host: SocketAddr,
    /// The guest's port, not 0.
    pub guest: u16,
}

enum Listening {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// A socket that listens.
pub(crate) struct Listener {
    /// With the port on which it listens.
    pub forward: Forward,
    socket: Listening,
    /// There may be more that the poll set will not announce: the host ran out of something.
    retry: bool,
}

impl Listener {
    /// Listens; the error names protocol, address and port.
    pub fn open(forward: Forward) -> Result<Listener, Error> {
        if forward.guest == 0 {
            return Err(Error::Config("a port is forwarded to port 0 of the guest".into()));
        }
        Listener::listen(forward).map_err(|source| Error::Listen {
            protocol: forward.protocol,
            address: forward.host,
            source,
        })
    }

    fn listen(mut forward: Forward) -> io::Result<Listener> {
        let is_tcp = forward.protocol == Protocol::Tcp;
        let kind = if is_tcp { Type::STREAM } else { Type::DGRAM };
        let socket = Socket::new(Domain::for_address(forward.host), kind.nonblocking(), None)?;
        if forward.host.is_ipv6() {
            // Another forward may have the same port of IPv4.
            socket.set_only_v6(true)?;
        }
        if is_tcp {
            // A port whose last connections are still in TIME-WAIT is free.
            socket.set_reuse_address(true)?;
        }
        socket.bind(&forward.host.into())?;
        if is_tcp {
            socket.listen(BACKLOG)?;
        }
        forward.host = socket.local_addr()?.as_socket().unwrap_or(forward.host);
        let socket = match is_tcp {
            true => Listening::Tcp(TcpListener::from_std(socket.into())),
            false => Listening::Udp(UdpSocket::from_std(socket.into())),
        };
        Ok(Listener { forward, socket, retry: false })
    }
}

/// All ports that lead to the guest.
#[derive(Default)]
pub(crate) struct Forwards(HashMap<u64, Listener>);

impl Forwards {
    /// Serves another port from now on.
    pub fn add(&mut self, cx: &mut Context, mut listener: Listener) -> io::Result<()> {
        let number = cx.number();
        let token = Kind::Listener.token(number);
        match &mut listener.socket {
            Listening::Tcp(s) => cx.registry.register(s, token, Interest::READABLE)?,
            Listening::Udp(s) => cx.registry.register(s, token, Interest::READABLE)?,
        }
        self.0.insert(number, listener);
        Ok(())
    }

    /// Something has come to a port.
    pub fn event(&mut self, cx: &mut Context, number: u64, tcp: &mut Tcp, udp: &mut Udp, buffer: &mut [u8]) {
        let Some(listener) = self.0.get_mut(&number) else { return };
        let guest = SocketAddr::new(cx.link.guest(), listener.forward.guest);
        for _ in 0..TURN {
            let result = match &listener.socket {
                Listening::Tcp(s) => s.accept().map(|(host, client)| tcp.accept(cx, host, client, guest)),
                Listening::Udp(s) => s.recv_from(buffer).map(|(count, client)| {
                    udp.client_sent(cx, (number, client), guest, buffer.get(..count).unwrap_or_default());
                }),
            };
            match result {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // Of one connection or datagram: the next may be well.
                Err(e) if is_of_one(&e) => {}
                Err(_) => {
                    listener.retry = true;
                    return;
                }
            }
        }
        announce(cx, number, listener);
    }

    /// Sends a datagram of the guest to a client of a port.
    pub fn answer(&self, number: u64, client: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        match self.0.get(&number).map(|l| &l.socket) {
            Some(Listening::Udp(socket)) => socket.send_to(datagram, client).map(drop),
            _ => Ok(()),
        }
    }

    /// Whether [`Forwards::retry`] has something to do.
    pub fn wants_retry(&self) -> bool {
        self.0.values().any(|l| l.retry)
    }

    /// Looks again at the ports at which the host ran out of something.
    pub fn retry(&mut self, cx: &Context) {
        for (&number, listener) in &mut self.0 {
            if std::mem::take(&mut listener.retry) {
                announce(cx, number, listener);
            }
        }
    }
}

/// Has the poll set say again that a socket has something, if it has.
fn announce(cx: &Context, number: u64, listener: &mut Listener) {
    let token = Kind::Listener.token(number);
    listener.retry = match &mut listener.socket {
        Listening::Tcp(s) => cx.registry.reregister(s, token, Interest::READABLE),
        Listening::Udp(s) => cx.registry.reregister(s, token, Interest::READABLE),
    }
    .is_err();
}

/// Whether an error is about a single connection or datagram.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
