//! What the gateway does itself: addresses, names, echo.

use crate::guest::Guest;
use crate::host::network;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::{dhcpv4, icmp};
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::Duration;
use trine_net::Resolvers;

/// A question for the address of "a.test", without and with an identifier of one's own.
fn question(ident: u8) -> Vec<u8> {
    let mut bytes = vec![0, ident, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(b"\x01a\x04test\0\0\x01\0\x01");
    bytes
}

/// A name server whose answers are the questions with a byte more; it ignores so many first.
fn name_server(ignore: usize) -> (SocketAddr, thread::JoinHandle<usize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let address = socket.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let mut buffer = [0; 2048];
        let mut asked = 0;
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            asked += 1;
            if asked > ignore {
                let mut answer = buffer[..count].to_vec();
                answer[2] |= 0x80;
                answer.push(0x77);
                socket.send_to(&[&[9, 9], &answer[2..]].concat(), from).unwrap();
                socket.send_to(&answer, from).unwrap();
            }
        }
        asked
    });
    (address, thread)
}

fn dns4() -> SocketAddr {
    "10.0.2.3:53".parse().unwrap()
}

#[test]
fn dhcp_gives_address_router_and_name_server() {
    let mut guest = Guest::without_address(network(|c| c.lease = 600));
    let handle = guest.sockets.add(dhcpv4::Socket::new());
    let config = guest.until("an address", |g| match g.sockets.get_mut::<dhcpv4::Socket>(handle).poll()? {
        dhcpv4::Event::Configured(config) => {
            Some((config.address, config.router, config.dns_servers.first().copied()))
        }
        dhcpv4::Event::Deconfigured => None,
    });
    assert_eq!(config.0.to_string(), "10.0.2.15/24");
    assert_eq!(config.1.unwrap().to_string(), "10.0.2.2");
    assert_eq!(config.2.unwrap().to_string(), "10.0.2.3");
}

#[test]
fn questions_are_answered_by_the_name_server_and_not_by_forgers() {
    let (server, thread) = name_server(0);
    // Though the guest does not reach the host, the network does.
    let mut guest = Guest::new(network(|c| {
        c.host = false;
        c.resolvers = Resolvers::These(vec![server]);
    }));
    let socket = guest.udp_socket(4000);
    for to in [dns4(), "[fd74:7269:6e65::3]:53".parse().unwrap()] {
        let (answer, from) = guest.ask(socket, to, &question(1));
        assert_eq!(from, to);
        assert_eq!(answer[..3], [0, 1, 0x81]);
        assert_eq!(answer.last(), Some(&0x77));
    }
    assert_eq!(thread.join().unwrap(), 2);
}

#[test]
fn the_next_name_server_is_asked_and_without_one_the_answer_is_servfail() {
    let closed = {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let (silent, silence) = name_server(usize::MAX);
    let (server, thread) = name_server(0);
    let mut guest = Guest::new(network(|c| c.resolvers = Resolvers::These(vec![closed, silent, server])));
    let socket = guest.udp_socket(4000);
    assert_eq!(guest.ask(socket, dns4(), &question(2)).0.last(), Some(&0x77));
    assert_eq!((silence.join().unwrap(), thread.join().unwrap()), (1, 1));
    for servers in [vec![], vec![closed]] {
        let mut guest = Guest::new(network(|c| c.resolvers = Resolvers::These(servers)));
        let socket = guest.udp_socket(4000);
        let (answer, _) = guest.ask(socket, dns4(), &question(3));
        assert_eq!((answer[2] & 0x80, answer[3] & 15), (0x80, 2));
        assert_eq!(guest.card.net.handle().stats().dns_failed, 1);
    }
}

#[test]
fn questions_over_tcp_go_to_the_name_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || crate::host::echo(listener.accept().unwrap().0));
    let mut guest = Guest::new(network(|c| {
        c.host = false;
        c.resolvers = Resolvers::These(vec![address]);
    }));
    let handle = guest.connected(dns4());
    guest.write(handle, &question(4));
    assert_eq!(guest.read(handle, question(4).len()), question(4));
    guest.tcp(handle).close();
    guest.until("the end", |g| (!g.tcp(handle).may_recv()).then_some(()));
    thread.join().unwrap();
}

#[test]
fn the_gateway_answers_echo_requests() {
    let mut guest = Guest::new(network(|c| c.host = false));
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 8192]);
    let mut socket = icmp::Socket::new(buffer(), buffer());
    socket.bind(icmp::Endpoint::Ident(77)).unwrap();
    let handle = guest.sockets.add(socket);
    let caps = ChecksumCapabilities::ignored();
    let data = crate::host::pattern(1000);
    let gateway: IpAddress = "10.0.2.2".parse::<IpAddr>().unwrap().into();
    let request = Icmpv4Repr::EchoRequest { ident: 77, seq_no: 5, data: &data };
    let mut message = vec![0; request.buffer_len()];
    request.emit(&mut Icmpv4Packet::new_unchecked(&mut message), &ChecksumCapabilities::default());
    guest.sockets.get_mut::<icmp::Socket>(handle).send_slice(&message, gateway).unwrap();
    guest.until("a reply", |g| {
        let (reply, from) = g.sockets.get_mut::<icmp::Socket>(handle).recv().ok()?;
        assert_eq!(from, gateway);
        let packet = Icmpv4Packet::new_checked(reply).unwrap();
        let reply = Icmpv4Repr::parse(&packet, &caps).unwrap();
        assert_eq!(reply, Icmpv4Repr::EchoReply { ident: 77, seq_no: 5, data: &data });
        Some(())
    });
    let gateway: std::net::Ipv6Addr = "fd74:7269:6e65::2".parse().unwrap();
    let own: std::net::Ipv6Addr = "fd74:7269:6e65::15".parse().unwrap();
    let request = Icmpv6Repr::EchoRequest { ident: 77, seq_no: 6, data: &data };
    let mut message = vec![0; request.buffer_len()];
    request.emit(
        &own,
        &gateway,
        &mut Icmpv6Packet::new_unchecked(&mut message),
        &ChecksumCapabilities::default(),
    );
    guest.sockets.get_mut::<icmp::Socket>(handle).send_slice(&message, IpAddress::Ipv6(gateway)).unwrap();
    guest.until("a reply", |g| {
        let (reply, from) = g.sockets.get_mut::<icmp::Socket>(handle).recv().ok()?;
        assert_eq!(from, IpAddress::Ipv6(gateway));
        let packet = Icmpv6Packet::new_checked(reply).unwrap();
        let reply = Icmpv6Repr::parse(&gateway, &own, &packet, &caps).unwrap();
        assert_eq!(reply, Icmpv6Repr::EchoReply { ident: 77, seq_no: 6, data: &data });
        Some(())
    });
}
