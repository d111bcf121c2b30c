//! What a guest must not reach, and must not pretend.

use crate::guest::{Guest, MAC};
use crate::host::{network, through_gateway, through_gateway6};
use crate::raw::{Cable, arp, ethernet, ipv4, tcp, udp};
use smoltcp::socket::tcp::State;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;
use trine_base::{NetBackend, Partial};

const GUEST: [u8; 4] = [10, 0, 2, 15];

/// The addresses of this host, by the kernel's choice of a source for them.
fn own_addresses() -> Vec<IpAddr> {
    let source = |to: &str| {
        let any = if to.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        // Addresses for documentation: connecting sends nothing.
        UdpSocket::bind(any).and_then(|s| s.connect(to).and_then(|()| s.local_addr())).ok()
    };
    ["192.0.2.1:9", "[2001:db8::1]:9"].into_iter().filter_map(source).map(|a| a.ip()).collect()
}

#[test]
fn the_host_is_not_reached_unless_told() {
    let servers: Vec<TcpListener> =
        ["0.0.0.0:0", "[::]:0"].iter().map(|a| TcpListener::bind(a).unwrap()).collect();
    let ports: Vec<u16> = servers.iter().map(|s| s.local_addr().unwrap().port()).collect();
    servers.iter().for_each(|s| s.set_nonblocking(true).unwrap());
    let mut guest = Guest::new(network(|c| c.host = false));
    let mut targets = vec![through_gateway(ports[0]), through_gateway6(ports[1])];
    let at = |a: IpAddr| SocketAddr::new(a, ports[usize::from(a.is_ipv6())]);
    targets.extend(own_addresses().into_iter().map(at));
    targets.extend(["127.0.0.1", "127.1.2.3", "169.254.1.1"].map(|a| at(a.parse().unwrap())));
    for to in targets {
        let handle = guest.connect(to);
        guest.until("the refusal", |g| (g.tcp(handle).state() == State::Closed).then_some(()));
    }
    assert!(servers.iter().all(|s| s.accept().is_err()), "nobody has come");
    let stats = guest.card.net.handle().stats();
    assert!(stats.refused >= 5 && stats.tcp_opened == 0, "{stats:?}");
}

#[test]
fn datagrams_to_the_host_are_refused() {
    let server = UdpSocket::bind("0.0.0.0:0").unwrap();
    server.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let port = server.local_addr().unwrap().port();
    let mut cable = Cable::new(network(|c| c.host = false));
    cable.announce();
    let mut targets = vec![[10, 0, 2, 2], [127, 0, 0, 1], [0, 0, 0, 0], [169, 254, 0, 1], [10, 0, 2, 77]];
    targets.extend(own_addresses().into_iter().filter_map(|a| match a {
        IpAddr::V4(a) => Some(a.octets()),
        IpAddr::V6(_) => None,
    }));
    for &to in &targets {
        cable.send(&ipv4(GUEST, to, 17, None, &udp(GUEST, to, 5000, port, b"x")));
        let error = cable.next("an error");
        assert_eq!(error[34..36], [3, 13], "{to:?} is prohibited");
    }
    for to in [[255, 255, 255, 255], [224, 0, 0, 251]] {
        cable.send(&ipv4(GUEST, to, 17, None, &udp(GUEST, to, 5000, port, b"x")));
    }
    assert_eq!(cable.after(3 + targets.len() as u64), Vec::<Vec<u8>>::new(), "no errors about these");
    assert_eq!(cable.0.handle().stats().refused, 2 + targets.len() as u64);
    assert!(server.recv(&mut [0; 10]).is_err(), "nothing has come");
}

#[test]
fn echo_requests_go_out_where_the_host_allows_the_sockets() {
    use socket2::{Domain, Protocol, Socket, Type};
    // The host's own address stands for the outside, as nothing else may be asked by a test.
    let Some(IpAddr::V4(target)) = own_addresses().into_iter().find(IpAddr::is_ipv4) else { return };
    let allowed = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4)).is_ok();
    let mut cable = Cable::new(network(|_| ()));
    cable.announce();
    let mut request = [&[8, 0, 0, 0, 0xab, 0xcd, 0, 7][..], &crate::host::pattern(64)].concat();
    let sum = crate::raw::checksum(&request);
    request[2..4].copy_from_slice(&sum.to_be_bytes());
    cable.send(&ipv4(GUEST, target.octets(), 1, None, &request));
    let answer = cable.next("an answer");
    if allowed {
        assert_eq!((&answer[26..30], answer[34]), (&target.octets()[..], 0));
        assert_eq!(answer[38..], request[4..], "identifier, number, data");
    } else {
        assert_eq!(answer[34..36], [3, 13], "prohibited");
    }
}

#[test]
fn sources_that_are_not_the_guests_are_dropped() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let port = server.local_addr().unwrap().port();
    let gateway = [10, 0, 2, 2];
    let mut cable = Cable::new(network(|_| ()));
    cable.announce();
    for from in [[10, 0, 2, 16], [10, 0, 2, 2], [10, 0, 2, 3], [127, 0, 0, 1], [192, 0, 2, 1], [0, 0, 0, 0]] {
        cable.send(&ipv4(from, gateway, 17, None, &udp(from, gateway, 5000, port, b"x")));
    }
    cable.send(&arp(1, [10, 0, 2, 16], gateway));
    let mut v6 = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
    v6.extend_from_slice(&"fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    v6.extend_from_slice(&"fd74:7269:6e65::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
    v6.extend_from_slice(&udp(GUEST, gateway, 5000, port, b""));
    cable.send(&ethernet(0x86dd, &v6));
    assert_eq!(cable.after(9), Vec::<Vec<u8>>::new());
    let stats = cable.0.handle().stats();
    assert_eq!((stats.spoofed, stats.udp_opened), (8, 0), "{stats:?}");
    assert!(server.recv(&mut [0; 10]).is_err());
}

#[test]
fn malformed_frames_do_nothing() {
    let gateway = [10, 0, 2, 2];
    let good = [
        arp(1, GUEST, gateway),
        ipv4(GUEST, gateway, 17, None, &udp(GUEST, gateway, 68, 67, &[1; 300])),
        ipv4(GUEST, gateway, 6, None, &tcp(GUEST, gateway, (5000, 9), (1, 0), 2, b"")),
        ipv4(GUEST, gateway, 1, None, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]),
        ipv4(GUEST, [10, 0, 2, 3], 17, None, &udp(GUEST, [10, 0, 2, 3], 5000, 53, &[0; 12])),
    ];
    let mut cable = Cable::new(network(|c| {
        c.host = false;
        c.resolvers = trine_net::Resolvers::These(Vec::new());
    }));
    cable.announce();
    let mut sent = 1;
    let mut send = |cable: &mut Cable, frame: &[u8], partial: Partial| {
        cable.0.send(frame, partial);
        sent += 1;
        if sent % 100 == 0 {
            cable.after(sent);
        }
    };
    for frame in &good {
        for length in 0..frame.len().min(80) {
            send(&mut cable, &frame[..length], Partial::default());
        }
        for at in 12..frame.len().min(80) {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut wrong = frame.clone();
                wrong[at] = value;
                send(&mut cable, &wrong, Partial::default());
                let partial = Partial { checksum: Some((0xffff, 0xffff)), ..Partial::default() };
                send(&mut cable, &wrong, partial);
            }
        }
    }
    send(&mut cable, &vec![0xff; 70_000], Partial::default());
    cable.after(sent);
    let stats = cable.0.handle().stats();
    assert!(stats.malformed > 500 && stats.tcp_opened == 0 && stats.udp_opened == 0, "{stats:?}");
    // It still works.
    cable.announce();
}

#[test]
fn a_reset_closes_everything_and_the_network_goes_on() {
    let port = crate::host::echo_server("127.0.0.1:0", 2);
    let mut guest = Guest::new(network(|_| ()));
    let handle = guest.connected(through_gateway(port));
    guest.card.net.reset();
    guest.until("no connections", |g| (g.card.net.handle().stats().tcp_now == 0).then_some(()));
    guest.write(handle, b"lost");
    guest.until("the reset", |g| (g.tcp(handle).state() == State::Closed).then_some(()));
    let handle = guest.connected(through_gateway(port));
    guest.write(handle, b"again");
    assert_eq!(guest.read(handle, 5), b"again");
    assert_eq!(MAC.0[0] & 1, 0);
}
