//! UDP between the guest and servers on the host's loopback.

use crate::guest::Guest;
use crate::host::{network, pattern, through_gateway, through_gateway6, udp_echo_server};
use crate::raw::{Cable, ipv4, udp};

#[test]
fn datagrams_go_both_ways() {
    let mut guest = Guest::new(network(|_| ()));
    let socket = guest.udp_socket(5000);
    let (v4, v6) = (udp_echo_server("127.0.0.1:0", 3), udp_echo_server("[::1]:0", 3));
    for (to, length) in [
        (through_gateway(v4), 0),
        (through_gateway(v4), 1),
        (through_gateway(v4), 1472),
        (through_gateway6(v6), 0),
        (through_gateway6(v6), 1),
        (through_gateway6(v6), 1452),
    ] {
        assert_eq!(guest.ask(socket, to, &pattern(length)), (pattern(length), to));
    }
    let stats = guest.card.net.handle().stats();
    assert_eq!((stats.udp_now, stats.udp_opened), (2, 2), "one flow for each destination");
}

#[test]
fn long_datagrams_are_cut_and_put_together() {
    let port = udp_echo_server("127.0.0.1:0", 1);
    let mut cable = Cable::new(network(|_| ()));
    cable.announce();
    let datagram = udp([10, 0, 2, 15], [10, 0, 2, 2], 5000, port, &pattern(60_000));
    // Backwards, so that the last one comes first.
    let pieces: Vec<_> = datagram.chunks(1480).enumerate().collect();
    for (n, piece) in pieces.iter().rev() {
        let more = n + 1 < pieces.len();
        cable.send(&ipv4([10, 0, 2, 15], [10, 0, 2, 2], 17, Some((n * 1480, more)), piece));
    }
    let mut whole = vec![0; datagram.len()];
    let mut there = 0;
    while there < whole.len() {
        let frame = cable.next("a fragment");
        let ip = &frame[14..];
        let word = u16::from_be_bytes([ip[6], ip[7]]);
        let (at, piece) = (usize::from(word & 0x1fff) * 8, &ip[20..]);
        assert_eq!(word & 0x2000 != 0, at + piece.len() < whole.len());
        assert!(ip.len() <= 1500);
        whole[at..][..piece.len()].copy_from_slice(piece);
        there += piece.len();
    }
    assert_eq!(
        whole[..8],
        [&port.to_be_bytes()[..], &5000u16.to_be_bytes(), &60_008u16.to_be_bytes(), &whole[6..8]].concat()
    );
    assert!(whole[8..] == pattern(60_000));
}

#[test]
fn a_port_on_which_nobody_listens_is_unreachable() {
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut cable = Cable::new(network(|_| ()));
    cable.announce();
    let datagram = udp([10, 0, 2, 15], [10, 0, 2, 2], 5000, port, b"anybody?");
    cable.send(&ipv4([10, 0, 2, 15], [10, 0, 2, 2], 17, None, &datagram));
    let frame = cable.next("an error");
    assert_eq!(frame[14 + 9], 1, "ICMP");
    let icmp = &frame[34..];
    assert_eq!(icmp[..2], [3, 3], "port unreachable");
    assert_eq!(icmp[8 + 12..][..8], [10, 0, 2, 15, 10, 0, 2, 2]);
    assert_eq!(icmp[28..32], datagram[..4]);
}

#[test]
fn flows_are_bounded() {
    let port = udp_echo_server("127.0.0.1:0", 40);
    let mut guest = Guest::new(network(|c| c.datagram_flows = 8));
    for n in 0..40 {
        let socket = guest.udp_socket(6000 + n);
        guest.ask(socket, through_gateway(port), b"x");
    }
    let stats = guest.card.net.handle().stats();
    assert_eq!((stats.udp_now, stats.udp_opened), (8, 40));
}
