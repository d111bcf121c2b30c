//! A guest: smoltcp's stack on the network's cable.

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant as HostInstant};
use trine_base::{NetBackend, Partial};
use trine_net::UserNetwork;

pub const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
/// How long anything may take before a test fails.
pub const LONG: Duration = Duration::from_secs(60);

/// The guest's network card, which may lose frames.
pub struct Card {
    pub net: UserNetwork,
    mtu: usize,
    /// Every n-th frame is lost: to the guest, and from it.
    lose: (usize, usize),
    count: (usize, usize),
}

pub struct Received(Vec<u8>);
pub struct Sending<'a>(&'a mut Card);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        self.0.count.1 += 1;
        if self.0.lose.1 == 0 || !self.0.count.1.is_multiple_of(self.0.lose.1) {
            self.0.net.send(&frame, Partial::default());
        }
        result
    }
}

impl Device for Card {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        loop {
            let mut frame = Vec::new();
            self.net.receive(&mut frame)?;
            self.count.0 += 1;
            if self.lose.0 == 0 || !self.count.0.is_multiple_of(self.lose.0) {
                return Some((Received(frame), Sending(self)));
            }
        }
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu + 14;
        capabilities.checksum = ChecksumCapabilities::default();
        capabilities.checksum.tcp = Checksum::Both;
        capabilities
    }
}

/// A guest with fixed addresses.
pub struct Guest {
    pub card: Card,
    pub interface: Interface,
    pub sockets: SocketSet<'static>,
    start: HostInstant,
    port: u16,
}

impl Guest {
    /// A guest with the addresses that it would get.
    pub fn new(net: UserNetwork) -> Guest {
        let mut guest = Guest::without_address(net);
        guest.interface.update_ip_addrs(|list| {
            list.push(IpCidr::new(IpAddress::v4(10, 0, 2, 15), 24)).unwrap();
            list.push(IpCidr::new("fd74:7269:6e65::15".parse::<IpAddr>().unwrap().into(), 64)).unwrap();
        });
        let routes = guest.interface.routes_mut();
        routes.add_default_ipv4_route("10.0.2.2".parse().unwrap()).unwrap();
        routes.add_default_ipv6_route("fd74:7269:6e65::2".parse().unwrap()).unwrap();
        guest
    }

    /// A guest without addresses.
    pub fn without_address(net: UserNetwork) -> Guest {
        let mtu = usize::from(net.mtu());
        let mut card = Card { net, mtu, lose: (0, 0), count: (0, 0) };
        let mut config = Config::new(HardwareAddress::Ethernet(MAC));
        config.random_seed = 7;
        let interface = Interface::new(config, &mut card, Instant::from_millis(0));
        let sockets = SocketSet::new(Vec::new());
        Guest { card, interface, sockets, start: HostInstant::now(), port: 40_000 }
    }

    /// Loses every n-th frame to the guest, and every m-th from it.
    pub fn lose(mut self, to: usize, from: usize) -> Guest {
        self.card.lose = (to, from);
        self
    }

    pub fn now(&self) -> Instant {
        Instant::from_micros(self.start.elapsed().as_micros() as i64)
    }

    pub fn poll(&mut self) {
        let now = self.now();
        self.interface.poll(now, &mut self.card, &mut self.sockets);
    }

    /// Polls until `done` returns something.
    pub fn until<T>(&mut self, what: &str, mut done: impl FnMut(&mut Guest) -> Option<T>) -> T {
        let start = HostInstant::now();
        let mut idle = 0;
        loop {
            let before = self.card.count;
            self.poll();
            if let Some(result) = done(self) {
                return result;
            }
            assert!(start.elapsed() < LONG, "{what}: takes too long; {:?}", self.card.net.handle().stats());
            idle = if self.card.count == before { idle + 1 } else { 0 };
            if idle > 20 {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    }

    /// Polls for a while.
    pub fn rest(&mut self, time: Duration) {
        let start = HostInstant::now();
        while start.elapsed() < time {
            self.poll();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn tcp_socket(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 256 << 10]);
        self.sockets.add(tcp::Socket::new(buffer(), buffer()))
    }

    pub fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Begins to connect.
    pub fn connect(&mut self, to: SocketAddr) -> SocketHandle {
        let handle = self.tcp_socket();
        self.port += 1;
        let port = self.port;
        let context = self.interface.context();
        self.sockets.get_mut::<tcp::Socket>(handle).connect(context, to, port).unwrap();
        handle
    }

    /// Connects.
    pub fn connected(&mut self, to: SocketAddr) -> SocketHandle {
        let handle = self.connect(to);
        self.until("connecting", |g| g.tcp(handle).may_send().then_some(()));
        handle
    }

    pub fn listen(&mut self, port: u16) -> SocketHandle {
        let handle = self.tcp_socket();
        self.tcp(handle).listen(port).unwrap();
        handle
    }

    /// Sends all of it.
    pub fn write(&mut self, handle: SocketHandle, bytes: &[u8]) {
        let mut done = 0;
        self.until("writing", |g| {
            done += g.tcp(handle).send_slice(&bytes[done..]).unwrap();
            (done == bytes.len()).then_some(())
        });
    }

    /// Reads so many bytes.
    pub fn read(&mut self, handle: SocketHandle, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut done = 0;
        self.until("reading", |g| {
            if g.tcp(handle).may_recv() || g.tcp(handle).can_recv() {
                done += g.tcp(handle).recv_slice(&mut bytes[done..]).unwrap();
            }
            (done == count).then_some(())
        });
        bytes
    }

    pub fn udp_socket(&mut self, port: u16) -> SocketHandle {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 16], vec![0; 64 << 10]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).unwrap();
        self.sockets.add(socket)
    }

    pub fn udp(&mut self, handle: SocketHandle) -> &mut udp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Sends a datagram and returns the next one that comes, with its sender.
    pub fn ask(&mut self, handle: SocketHandle, to: SocketAddr, bytes: &[u8]) -> (Vec<u8>, SocketAddr) {
        self.udp(handle).send_slice(bytes, to).unwrap();
        self.datagram(handle)
    }

    pub fn datagram(&mut self, handle: SocketHandle) -> (Vec<u8>, SocketAddr) {
        self.until("a datagram", |g| {
            let (bytes, from) = g.udp(handle).recv().ok()?;
            Some((bytes.to_vec(), SocketAddr::new(from.endpoint.addr.into(), from.endpoint.port)))
        })
    }
}
