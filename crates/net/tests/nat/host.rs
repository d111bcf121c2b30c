//! Servers on the host's loopback. Their threads end with their last connection, or with the process.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};
use trine_net::{Config, UserNetwork};

/// A network that reaches the host's loopback.
pub fn network(change: impl FnOnce(&mut Config)) -> UserNetwork {
    let mut config = Config { host: true, ..Config::default() };
    change(&mut config);
    UserNetwork::new(config).unwrap()
}

/// The host's port as the guest sees it.
pub fn through_gateway(port: u16) -> SocketAddr {
    SocketAddr::new("10.0.2.2".parse().unwrap(), port)
}

pub fn through_gateway6(port: u16) -> SocketAddr {
    SocketAddr::new("fd74:7269:6e65::2".parse::<IpAddr>().unwrap(), port)
}

/// A server for one connection.
pub fn serve<T: Send + 'static>(
    address: &str,
    f: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    (port, thread::spawn(move || f(listener.accept().unwrap().0)))
}

/// A server that sends back what comes, for so many connections at once.
pub fn echo_server(address: &str, connections: usize) -> u16 {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().take(connections) {
            thread::spawn(move || echo(stream.unwrap()));
        }
    });
    port
}

pub fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 64 << 10];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        stream.write_all(&buffer[..count]).unwrap();
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// A server that sends datagrams back, so many.
pub fn udp_echo_server(address: &str, count: usize) -> u16 {
    let socket = UdpSocket::bind(address).unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        for _ in 0..count {
            let (count, from) = socket.recv_from(&mut buffer).unwrap();
            socket.send_to(&buffer[..count], from).unwrap();
        }
    });
    port
}

/// Bytes that do not repeat soon.
pub fn pattern(count: usize) -> Vec<u8> {
    (0..count as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}
