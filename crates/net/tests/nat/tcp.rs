//! TCP between the guest and servers on the host's loopback.

use crate::guest::Guest;
use crate::host::{echo_server, network, pattern, serve, through_gateway, through_gateway6};
use smoltcp::socket::tcp::State;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

const MANY: usize = 50 << 20;

/// The guest sends `count` bytes and ends; the host has all of them and answers.
fn guest_to_host(guest: &mut Guest, to: impl Fn(u16) -> SocketAddr, address: &str, count: usize) {
    let (port, server) = serve(address, move |mut stream| {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        stream.write_all(b"thanks").unwrap();
        bytes
    });
    let handle = guest.connected(to(port));
    let bytes = pattern(count);
    guest.write(handle, &bytes);
    guest.tcp(handle).close();
    assert_eq!(guest.read(handle, 6), b"thanks");
    assert!(server.join().unwrap() == bytes);
}

/// The host sends `count` bytes and ends; the guest has all of them and sees the end.
fn host_to_guest(guest: &mut Guest, to: impl Fn(u16) -> SocketAddr, address: &str, count: usize) {
    let bytes = pattern(count);
    let (port, server) = serve(address, {
        let bytes = bytes.clone();
        move |mut stream| stream.write_all(&bytes).unwrap()
    });
    let handle = guest.connected(to(port));
    assert!(guest.read(handle, count) == bytes);
    guest.until("the end", |g| (g.tcp(handle).state() == State::CloseWait).then_some(()));
    server.join().unwrap();
}

#[test]
fn fifty_megabytes_to_the_host() {
    guest_to_host(&mut Guest::new(network(|_| ())), through_gateway, "127.0.0.1:0", MANY);
}

#[test]
fn fifty_megabytes_to_the_guest() {
    host_to_guest(&mut Guest::new(network(|_| ())), through_gateway, "127.0.0.1:0", MANY);
}

#[test]
fn the_same_by_ipv6_with_large_packets() {
    let mut guest = Guest::new(network(|c| c.mtu = 65_520));
    guest_to_host(&mut guest, through_gateway6, "[::1]:0", MANY);
    host_to_guest(&mut guest, through_gateway6, "[::1]:0", MANY);
}

#[test]
fn lost_frames_are_sent_again() {
    for (to, from) in [(13, 0), (0, 17), (20, 31)] {
        let mut guest = Guest::new(network(|_| ())).lose(to, from);
        host_to_guest(&mut guest, through_gateway, "127.0.0.1:0", 512 << 10);
        guest_to_host(&mut guest, through_gateway, "127.0.0.1:0", 128 << 10);
    }
}

#[test]
fn each_direction_is_closed_separately() {
    let (port, server) = serve("127.0.0.1:0", |mut stream| {
        stream.write_all(b"first").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        rest
    });
    let mut guest = Guest::new(network(|_| ()));
    let handle = guest.connected(through_gateway(port));
    assert_eq!(guest.read(handle, 5), b"first");
    guest.until("the end", |g| (!g.tcp(handle).may_recv()).then_some(()));
    let bytes = pattern(1 << 20);
    guest.write(handle, &bytes);
    guest.tcp(handle).close();
    guest.until("closing", |g| (g.tcp(handle).state() == State::Closed).then_some(()));
    assert!(server.join().unwrap() == bytes);
}

#[test]
fn a_reset_is_passed_on_in_both_directions() {
    let mut guest = Guest::new(network(|_| ()));
    let (port, server) = serve("127.0.0.1:0", |mut stream| stream.read(&mut [0; 10]).map_err(|e| e.kind()));
    let handle = guest.connected(through_gateway(port));
    guest.tcp(handle).abort();
    guest.poll();
    assert_eq!(server.join().unwrap(), Err(std::io::ErrorKind::ConnectionReset));
    let (port, server) = serve("127.0.0.1:0", |stream| {
        // What is closed with unread bytes is closed by a reset.
        stream.peek(&mut [0; 10]).unwrap();
    });
    let handle = guest.connected(through_gateway(port));
    guest.write(handle, b"unread");
    guest.until("the reset", |g| (g.tcp(handle).state() == State::Closed).then_some(()));
    server.join().unwrap();
}

/// Bytes that the other end's kernel has not acknowledged.
fn unsent(stream: &std::net::TcpStream) -> i32 {
    let mut count = 0;
    // SAFETY: stores a number of this type (tcp(7), SIOCOUTQ).
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    assert_eq!(result, 0);
    count
}

#[test]
fn what_was_sent_before_a_reset_still_arrives() {
    let bytes = pattern(300 << 10);
    let (port, server) = serve("127.0.0.1:0", {
        let bytes = bytes.clone();
        move |mut stream| {
            stream.peek(&mut [0; 10]).unwrap();
            stream.write_all(&bytes).unwrap();
            // What is closed with unread bytes is closed by a reset, which overtakes what the kernel has not sent yet.
            while unsent(&stream) > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let mut guest = Guest::new(network(|_| ()));
    let handle = guest.connected(through_gateway(port));
    guest.write(handle, b"unread");
    // The network reads what there is before it hears of the reset.
    guest.until("the first bytes", |g| g.tcp(handle).can_recv().then_some(()));
    server.join().unwrap();
    guest.tcp(handle).send_slice(b"more").unwrap();
    assert!(guest.read(handle, bytes.len()) == bytes);
    guest.until("the reset", |g| (g.tcp(handle).state() == State::Closed).then_some(()));
}

#[test]
fn a_port_on_which_nobody_listens_refuses() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut guest = Guest::new(network(|_| ()));
    for to in [through_gateway(port), through_gateway6(port)] {
        let handle = guest.connect(to);
        guest.until("the refusal", |g| (g.tcp(handle).state() == State::Closed).then_some(()));
    }
    guest.until("no connections", |g| (g.card.net.handle().stats().tcp_now == 0).then_some(()));
}

#[test]
fn two_hundred_connections_at_once() {
    let port = echo_server("127.0.0.1:0", 200);
    let mut guest = Guest::new(network(|_| ()));
    let handles: Vec<_> = (0..200).map(|_| guest.connect(through_gateway(port))).collect();
    guest.until("all connections", |g| handles.iter().all(|&h| g.tcp(h).may_send()).then_some(()));
    assert_eq!(guest.card.net.handle().stats().tcp_now, 200);
    let bytes = pattern(200 * 5000);
    let mine = |n: usize| &bytes[n * 5000..][..5000];
    handles.iter().enumerate().for_each(|(n, &h)| guest.write(h, mine(n)));
    for (n, &handle) in handles.iter().enumerate() {
        assert_eq!(guest.read(handle, 5000), mine(n), "connection {n}");
        guest.tcp(handle).close();
    }
    guest.until("all ends", |g| {
        handles.iter().all(|&h| !g.tcp(h).is_active() || g.tcp(h).state() == State::TimeWait).then_some(())
    });
}

#[test]
fn who_does_not_read_stops_the_sender_and_keeps_nobody_else_waiting() {
    let (port, server) = serve("127.0.0.1:0", |mut stream| {
        let bytes = pattern(16 << 20);
        stream.write_all(&bytes).unwrap();
    });
    let echo = echo_server("127.0.0.1:0", 1);
    let mut guest = Guest::new(network(|c| c.buffers = 1 << 20));
    let lazy = guest.connected(through_gateway(port));
    guest.rest(Duration::from_millis(300));
    let waiting = guest.card.net.handle().stats().tcp_buffered;
    assert!(waiting <= (1 << 20) + (64 << 10), "{waiting} bytes wait");
    let other = guest.connected(through_gateway(echo));
    guest.write(other, b"hello");
    assert_eq!(guest.read(other, 5), b"hello");
    assert!(guest.read(lazy, 16 << 20) == pattern(16 << 20));
    server.join().unwrap();
}

#[test]
fn a_server_that_does_not_read_closes_the_window() {
    let (tell, told) = std::sync::mpsc::channel();
    let (port, server) = serve("127.0.0.1:0", move |mut stream| {
        told.recv().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    });
    let mut guest = Guest::new(network(|_| ()));
    let handle = guest.connected(through_gateway(port));
    let bytes = pattern(24 << 20);
    let mut done = 0;
    let mut still = std::time::Instant::now();
    guest.until("the window to close", |g| {
        let count = g.tcp(handle).send_slice(&bytes[done..]).unwrap();
        done += count;
        if count > 0 {
            still = std::time::Instant::now();
        }
        (still.elapsed() > Duration::from_millis(500)).then_some(())
    });
    assert!(done < bytes.len(), "it takes all that is sent");
    tell.send(()).unwrap();
    guest.write(handle, &bytes[done..]);
    guest.tcp(handle).close();
    guest.until("the end", |g| {
        (!g.tcp(handle).is_active() || g.tcp(handle).state() == State::TimeWait).then_some(())
    });
    assert!(server.join().unwrap() == bytes);
}
