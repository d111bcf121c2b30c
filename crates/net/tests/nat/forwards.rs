//! Ports of the host that lead to the guest.

use crate::guest::Guest;
use crate::host::{network, pattern};
use smoltcp::socket::tcp::State;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;
use trine_base::NetBackend;
use trine_net::{Config, Error, Forward, Protocol, UserNetwork};

fn forward(protocol: Protocol, host: &str) -> Forward {
    Forward { protocol, host: host.parse().unwrap(), guest: 80 }
}

/// A guest with one forwarded port, and the host's address of it.
fn guest_with(protocol: Protocol, host: &str) -> (Guest, SocketAddr) {
    let net = network(|c| {
        c.host = false;
        c.forwards = vec![forward(protocol, host)];
    });
    let address = net.handle().forwards()[0].host;
    assert_ne!(address.port(), 0);
    (Guest::new(net), address)
}

#[test]
fn connections_from_outside_reach_the_guest() {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let (mut guest, address) = guest_with(Protocol::Tcp, host);
        let handle = guest.listen(80);
        let client = thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&pattern(1 << 20)).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            answer
        });
        assert!(guest.read(handle, 1 << 20) == pattern(1 << 20));
        assert_eq!(guest.tcp(handle).remote_endpoint().unwrap().addr.to_string(), "10.0.2.2");
        guest.write(handle, b"answer");
        guest.tcp(handle).close();
        guest.until("the end", |g| (g.tcp(handle).state() == State::Closed).then_some(()));
        assert_eq!(client.join().unwrap(), b"answer", "{host}");
    }
}

#[test]
fn a_guest_that_does_not_listen_resets() {
    let (mut guest, address) = guest_with(Protocol::Tcp, "127.0.0.1:0");
    let client =
        thread::spawn(move || TcpStream::connect(address).unwrap().read(&mut [0; 1]).map_err(|e| e.kind()));
    while !client.is_finished() {
        guest.rest(Duration::from_millis(5));
    }
    assert_eq!(client.join().unwrap(), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_guest_that_uses_ipv6_only_is_reached_by_it() {
    let (mut guest, address) = guest_with(Protocol::Tcp, "127.0.0.1:0");
    guest
        .interface
        .update_ip_addrs(|list| list.retain(|a| matches!(a.address(), smoltcp::wire::IpAddress::Ipv6(_))));
    let socket = guest.udp_socket(4000);
    let to: SocketAddr = "[fd74:7269:6e65::2]:9".parse().unwrap();
    guest.udp(socket).send_slice(b"here I am", to).unwrap();
    guest.rest(Duration::from_millis(50));
    let handle = guest.listen(80);
    let client = thread::spawn(move || TcpStream::connect(address).unwrap().write_all(b"hello").unwrap());
    assert_eq!(guest.read(handle, 5), b"hello");
    assert_eq!(guest.tcp(handle).remote_endpoint().unwrap().addr.to_string(), "fd74:7269:6e65::2");
    client.join().unwrap();
}

#[test]
fn datagrams_from_outside_are_answered_to_each_client() {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let (mut guest, address) = guest_with(Protocol::Udp, host);
        let socket = guest.udp_socket(80);
        let own = if address.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let clients: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind(own).unwrap()).collect();
        for (n, client) in clients.iter().enumerate() {
            client.send_to(&[n as u8; 9], address).unwrap();
            let (bytes, from) = guest.datagram(socket);
            assert_eq!((bytes, from.ip().to_string()), (vec![n as u8; 9], "10.0.2.2".into()));
            guest.udp(socket).send_slice(&[n as u8 + 100], from).unwrap();
            guest.poll();
        }
        for (n, client) in clients.iter().enumerate() {
            client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut buffer = [0; 10];
            assert_eq!(client.recv_from(&mut buffer).unwrap(), (1, address));
            assert_eq!(buffer[0], n as u8 + 100);
        }
    }
}

#[test]
fn ports_are_added_later_and_closed_at_the_end() {
    let (mut guest, first) = guest_with(Protocol::Tcp, "127.0.0.1:0");
    let handle = guest.card.net.handle();
    let second = handle.forward(Forward { guest: 81, ..forward(Protocol::Tcp, "127.0.0.1:0") }).unwrap().host;
    assert_eq!(handle.forwards().iter().map(|f| f.host).collect::<Vec<_>>(), [first, second]);
    let listening = guest.listen(81);
    let client = thread::spawn(move || TcpStream::connect(second).unwrap().write_all(b"hello").unwrap());
    assert_eq!(guest.read(listening, 5), b"hello");
    client.join().unwrap();
    drop(guest);
    for address in [first, second] {
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let holder = TcpListener::bind(taken).unwrap();
    let wanted = Forward { protocol: Protocol::Tcp, host: taken, guest: 80 };
    let error = UserNetwork::new(Config { forwards: vec![wanted], ..Config::default() }).err().unwrap();
    assert!(error.to_string().starts_with(&format!("cannot listen on tcp {taken}: ")), "{error}");
    drop(holder);
    let zero = Forward { guest: 0, ..wanted };
    let error = UserNetwork::new(Config { forwards: vec![zero], ..Config::default() }).err().unwrap();
    assert!(matches!(error, Error::Config(_)));
    let mut net = UserNetwork::new(Config { forwards: vec![wanted], ..Config::default() }).unwrap();
    net.reset();
    assert_eq!(net.handle().forwards(), [wanted]);
}
