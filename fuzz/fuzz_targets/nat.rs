//! Any frames from a guest, and segments that fit a connection from outside: no panic, bounded memory. Nothing outside is
//! reached: the only connection is one of this process to a forwarded port.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use trine_base::net::{MAX_FRAME, Segments};
use trine_base::{NetBackend, Offloads, Partial};
use trine_net::{Config, Forward, Protocol, Resolvers, UserNetwork};

const GATEWAY: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];
const GUEST: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// ARP: the guest says that it has its address.
const HERE: [u8; 28] =
    [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2];

/// The guest's end of the connection.
struct Guest {
    net: UserNetwork,
    ports: [u8; 4],
    seq: u32,
    ack: u32,
}

impl Guest {
    fn frame(&mut self, ethertype: u16, payload: &[&[u8]], partial: Partial) {
        let frame = [&GATEWAY[..], &GUEST, &ethertype.to_be_bytes(), &payload.concat()].concat();
        self.net.send(&frame, partial);
    }

    /// An IPv4 packet with a header as it should be.
    fn ipv4(&mut self, target: [u8; 4], protocol: u8, fragment: [u8; 2], payload: &[u8], partial: Partial) {
        let mut ip =
            [0x45, 0, 0, 0, 0, 1, fragment[0], fragment[1], 64, protocol, 0, 0, 10, 0, 2, 15, 0, 0, 0, 0];
        ip[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
        ip[16..].copy_from_slice(&target);
        let sum = ip.chunks(2).fold(0, |sum, w| (sum + u32::from(u16::from_be_bytes([w[0], w[1]]))) % 0xffff);
        ip[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
        self.frame(0x800, &[&ip, payload], partial);
    }

    fn ipv6(&mut self, target: u8, protocol: u8, payload: &[u8], partial: Partial) {
        let mut ip = vec![0x60, 0, 0, 0];
        ip.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        ip.extend_from_slice(&[protocol, 255]);
        for last in [0x15, target] {
            ip.extend_from_slice(&[0xfd, 0x74, 0x72, 0x69, 0x6e, 0x65, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
        self.frame(0x86dd, &[&ip, payload], partial);
    }

    /// A segment of the connection, somewhat beside what is expected.
    fn segment(&mut self, [flags, seq, ack, window]: [u8; 4], payload: &[u8], partial: Partial) {
        let from = |base: u32, delta: u8| {
            base.wrapping_add_signed(i32::from(delta as i8) * i32::from(delta as i8).abs())
        };
        let mut tcp = self.ports.to_vec();
        tcp.extend_from_slice(&from(self.seq, seq).to_be_bytes());
        tcp.extend_from_slice(&from(self.ack, ack).to_be_bytes());
        tcp.extend_from_slice(&[0x50, flags, window, window, 0, 0, 0, 0]);
        tcp.extend_from_slice(payload);
        if seq == 0 {
            self.seq = self
                .seq
                .wrapping_add(payload.len() as u32 + u32::from(flags & 1) + u32::from(flags >> 1 & 1));
        }
        self.ipv4([10, 0, 2, 2], 6, [0, 0], &tcp, partial);
    }

    /// Takes all frames, and learns from segments what to expect next.
    fn take(&mut self) {
        let mut frame = Vec::new();
        for _ in 0..4096 {
            let Some(partial) = self.net.receive(&mut frame) else { return };
            assert!(frame.len() >= 14 && frame.len() <= MAX_FRAME);
            if let Some((at, field)) = partial.checksum {
                assert!(usize::from(at) + usize::from(field) + 2 <= frame.len());
            }
            if frame.len() >= 54 && frame[12..14] == [8, 0] && frame[23] == 6 {
                let tcp = &frame[34..];
                let number = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
                let length = tcp.len() - usize::from(tcp[12] >> 4) * 4
                    + usize::from(tcp[13] & 1)
                    + usize::from(tcp[13] >> 1 & 1);
                self.ports = [tcp[2], tcp[3], tcp[0], tcp[1]];
                self.ack = number.wrapping_add(length as u32);
            }
        }
    }
}

fn partial(kind: u8) -> Partial {
    Partial {
        checksum: (kind & 0x10 != 0).then_some((34, 16)),
        segments: (kind & 0x20 != 0).then_some((Segments::Tcp4, 1460)),
        verified: kind & 0x40 != 0,
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, mut rest)) = data.split_first() else { return };
    let forward = Forward { protocol: Protocol::Tcp, host: ([127, 0, 0, 1], 0).into(), guest: 80 };
    let config = Config {
        outside: false,
        resolvers: Resolvers::These(Vec::new()),
        forwards: if first & 1 != 0 { vec![forward] } else { Vec::new() },
        connections: 8,
        datagram_flows: 8,
        buffers: 1 << 20,
        ..Config::default()
    };
    let mut net = UserNetwork::without_thread(config).unwrap();
    net.set_gives(Offloads { checksum: first & 2 != 0, tcp4: first & 4 != 0, tcp6: first & 8 != 0 });
    let mut client = net.handle().forwards().first().map(|f| {
        let stream = TcpStream::connect(f.host).unwrap();
        stream.set_nonblocking(true).unwrap();
        // Closing leaves nothing that waits in the host's kernel.
        socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        stream
    });
    let mut guest = Guest { net, ports: [0, 80, 0, 0], seq: 1, ack: 0 };
    guest.frame(0x806, &[&HERE], Partial::default());
    guest.take();
    while let [kind, length, more @ ..] = rest {
        let (body, others) = more.split_at(more.len().min(usize::from(*length)));
        rest = others;
        let partial = partial(*kind);
        match (kind & 7, body) {
            (0, body) => guest.net.send(body, partial),
            (1, [a, b, c, d, protocol, high, low, payload @ ..]) => {
                guest.ipv4([*a, *b, *c, *d], *protocol, [*high, *low], payload, partial);
            }
            (2, [target, protocol, payload @ ..]) => guest.ipv6(*target, *protocol, payload, partial),
            (3, [flags, seq, ack, window, payload @ ..]) => {
                guest.segment([*flags, *seq, *ack, *window], payload, partial);
            }
            (4, body) => {
                if let Some(client) = &mut client {
                    let _ = client.write(&body.repeat(1 + usize::from(*kind)));
                    let _ = client.read(&mut [0; 4096]);
                }
            }
            (5, _) => drop(client.as_ref().map(|c| c.shutdown(Shutdown::Write))),
            (6, [0xff, ..]) => guest.net.reset(),
            _ => guest.take(),
        }
    }
    guest.take();
    let stats = guest.net.handle().stats();
    assert!(stats.tcp_now <= 8 && stats.udp_now <= 8);
    assert!(stats.tcp_buffered <= (1 << 20) + 16 * (64 << 10));
});
