//! Tests of forwarded ports.

use crate::place::{Dir, Guest, command, host};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;
use trine_hostnet::ports::parse;
use trine_hostnet::{Addresses, Error, Joined, Ports};

fn joined(dir: &Dir) -> (Guest, Joined) {
    let guest = Guest::new();
    let joined = guest.join(&dir.network(), "one", "a").unwrap();
    (guest, joined)
}

fn open(guest: &Guest, to: &Addresses, option: &str) -> Result<Ports, Error> {
    Ports::open(&parse(option).unwrap(), guest.0.as_fd(), to)
}

/// A server in the guest that answers each connection, when the client has sent everything, with the bytes in
/// reverse order.
fn reverse(guest: &Guest, port: u16) {
    let server = guest.run(move || TcpListener::bind(("0.0.0.0", port)).unwrap());
    std::thread::spawn(move || {
        for client in server.incoming() {
            let mut client = client.unwrap();
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                client.read_to_end(&mut bytes).unwrap();
                bytes.reverse();
                client.write_all(&bytes).unwrap();
            });
        }
    });
}

/// Sends, closes the sending half, and receives to the end.
fn ask(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut client = TcpStream::connect(address).unwrap();
    let mut writer = client.try_clone().unwrap();
    let mut answer = Vec::new();
    std::thread::scope(|s| {
        s.spawn(move || {
            writer.write_all(bytes).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        client.read_to_end(&mut answer).unwrap();
    });
    answer
}

fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|i| (i * 31 / 7) as u8 ^ seed).collect()
}

#[test]
fn fifty_connections_at_once_each_get_their_own_answer() {
    host(|| {
        let dir = Dir::new();
        let (guest, joined) = joined(&dir);
        reverse(&guest, 80);
        let ports = open(&guest, &joined.addresses, "0:80").unwrap();
        let [v4, v6] = ports.list() else { panic!("{:?}", ports.list()) };
        assert_eq!((v4.host.port(), v4.guest), (v6.host.port(), 80));
        let port = v4.host.port();
        let own = Guest(std::fs::File::open("/proc/thread-self/ns/net").unwrap().into());
        let clients: Vec<_> = (0..50u8)
            .map(|i| {
                own.spawn(move || {
                    let address = if i % 2 == 0 { "127.0.0.1" } else { "::1" };
                    let sent = bytes(300_000 + usize::from(i) * 1000, i);
                    let got = ask(SocketAddr::new(address.parse().unwrap(), port), &sent);
                    assert!(got.iter().eq(sent.iter().rev()), "connection {i}");
                })
            })
            .collect();
        clients.into_iter().for_each(|c| c.join().unwrap());
        drop(ports);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    });
}

#[test]
fn each_half_closes_by_itself_and_resets_pass() {
    host(|| {
        let dir = Dir::new();
        let (guest, joined) = joined(&dir);
        let server = guest.run(|| TcpListener::bind("0.0.0.0:80").unwrap());
        let ports = open(&guest, &joined.addresses, "127.0.0.1::80").unwrap();
        let address = ports.list()[0].host;
        // The guest closes first, and still receives.
        let mut client = TcpStream::connect(address).unwrap();
        let (mut inner, _) = server.accept().unwrap();
        inner.write_all(b"hello").unwrap();
        inner.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        client.write_all(b"late").unwrap();
        drop(client);
        let mut late = String::new();
        inner.read_to_string(&mut late).unwrap();
        assert_eq!(late, "late");
        // A slow reader loses nothing.
        let client = TcpStream::connect(address).unwrap();
        let (mut inner, _) = server.accept().unwrap();
        let sent = bytes(20_000_000, 1);
        let copy = sent.clone();
        let writer = std::thread::spawn(move || (inner.write_all(&copy).unwrap(), drop(inner)));
        std::thread::sleep(Duration::from_millis(300));
        let mut got = Vec::new();
        (&client).read_to_end(&mut got).unwrap();
        writer.join().unwrap();
        assert!(got == sent);
        // A reset is not taken for an end of file.
        let mut client = TcpStream::connect(address).unwrap();
        let (inner, _) = server.accept().unwrap();
        client.write_all(b"unread").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        drop(inner);
        let error = client.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        // Nothing listens.
        drop(server);
        let read = TcpStream::connect(address).and_then(|mut c| c.read(&mut [0; 1]));
        assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_guest_without_a_network_is_reached_by_its_loopback() {
    host(|| {
        let dir = Dir::new();
        let guest = Guest::new();
        let joined = guest.join_mode(&dir.network(), &trine_hostnet::Mode::None, "a").unwrap();
        reverse(&guest, 80);
        let ports = open(&guest, &joined.addresses, "127.0.0.1::80").unwrap();
        assert_eq!(ask(ports.list()[0].host, b"abc"), b"cba");
    });
}

#[test]
fn datagrams_find_their_way_back() {
    host(|| {
        let dir = Dir::new();
        let (guest, joined) = joined(&dir);
        let server = guest.run(|| UdpSocket::bind("0.0.0.0:53").unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            while let Ok((length, from)) = server.recv_from(&mut buffer) {
                buffer[..length].reverse();
                server.send_to(&buffer[..length], from).unwrap();
            }
        });
        command("ip", &["addr", "add", "192.0.2.7/32", "dev", "lo"]);
        let ports = open(&guest, &joined.addresses, "5300:53/udp").unwrap();
        assert_eq!(ports.list().len(), 2);
        for address in ["127.0.0.1", "192.0.2.7", "[::1]"] {
            let any = if address == "[::1]" { "[::]:0" } else { "0.0.0.0:0" };
            let clients: Vec<UdpSocket> = (0..20).map(|_| UdpSocket::bind(any).unwrap()).collect();
            for client in &clients {
                client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                // Connected: an answer from another address would not arrive.
                client.connect(format!("{address}:5300")).unwrap();
            }
            for (i, client) in clients.iter().enumerate() {
                client.send(&bytes(100 + i, i as u8)).unwrap();
            }
            for (i, client) in clients.iter().enumerate() {
                let mut buffer = [0; 1000];
                let length = client.recv(&mut buffer).unwrap();
                assert!(buffer[..length].iter().eq(bytes(100 + i, i as u8).iter().rev()), "{address} {i}");
            }
        }
        // More clients than are kept at once: the last ones are served, too, and the largest datagram passes.
        for i in 0..1100u32 {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            client.connect("127.0.0.1:5300").unwrap();
            let sent = bytes(if i == 0 { 65507 } else { 4 }, i as u8);
            client.send(&sent).unwrap();
            let mut buffer = vec![0; 65536];
            let length = client.recv(&mut buffer).unwrap();
            assert!(buffer[..length].iter().eq(sent.iter().rev()), "client {i}");
        }
    });
}

#[test]
fn a_port_in_use_is_named_and_a_range_goes_past_it() {
    host(|| {
        let dir = Dir::new();
        let (guest, joined) = joined(&dir);
        let _other = TcpListener::bind("0.0.0.0:8080").unwrap();
        let error = open(&guest, &joined.addresses, "8080:80").unwrap_err();
        assert!(
            error.to_string().starts_with("port 8080/tcp of 0.0.0.0 (from -p 8080:80) is in use"),
            "{error}"
        );
        let error = open(&guest, &joined.addresses, "192.0.2.99:8081:80").unwrap_err().to_string();
        assert!(error.contains("192.0.2.99 is not an address of this host"), "{error}");
        let ports = open(&guest, &joined.addresses, "8080-8082:80").unwrap();
        assert_eq!(ports.list()[0].host.port(), 8081);
        let next = open(&guest, &joined.addresses, "8080-8082:80").unwrap();
        assert_eq!(next.list()[0].host.port(), 8082);
        let error = open(&guest, &joined.addresses, "8080-8082:80").unwrap_err().to_string();
        assert!(error.contains("8080-8082:80"), "{error}");
        // Either all of an option's ports are open, or none.
        assert!(open(&guest, &joined.addresses, "8079-8080:80-81").is_err());
        TcpListener::bind("0.0.0.0:8079").unwrap();
    });
}

#[test]
fn more_connections_than_allowed_wait() {
    host(|| {
        let dir = Dir::new();
        let (guest, joined) = joined(&dir);
        let server = guest.run(|| TcpListener::bind("0.0.0.0:80").unwrap());
        std::thread::spawn(move || {
            let held: Vec<_> =
                server.incoming().map(|c| c.map(|mut c| (c.write_all(b"x").unwrap(), c))).collect();
            drop(held);
        });
        let ports = open(&guest, &joined.addresses, "127.0.0.1::80").unwrap();
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: writes a structure of ours.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
        let most = (limit.rlim_cur / 8).clamp(16, 4096) as usize;
        if most > 1000 {
            return eprintln!("skipped: the limit of open files is too high for this");
        }
        let served = |client: &TcpStream, time| {
            client.set_read_timeout(Some(Duration::from_millis(time))).unwrap();
            (&*client).read(&mut [0; 1]).is_ok_and(|n| n == 1)
        };
        let mut clients: Vec<TcpStream> =
            (0..=most).map(|_| TcpStream::connect(ports.list()[0].host).unwrap()).collect();
        let last = clients.pop().unwrap();
        assert!(clients.iter().all(|c| served(c, 5000)));
        assert!(!served(&last, 300));
        drop(clients.pop());
        assert!(served(&last, 5000));
    });
}
