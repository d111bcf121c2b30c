//! Tests of machines in groups: a port of the bridge, and the services behind it.

use crate::place::{Dir, Guest, host, plain, v4};
use std::fs::File;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use trine_base::{NetBackend, Partial};
use trine_hostnet::{Joined, Mode, Network, Port};
use trine_net::{Config, EthernetAddress, TapNetwork};

const BROADCAST: [u8; 6] = [0xff; 6];

/// A machine that is only its network.
struct Machine {
    net: TapNetwork,
    ether: [u8; 6],
    gateway: ([u8; 6], Ipv4Addr),
    joined: Joined,
}

fn join(network: &Network, group: &str, name: &str) -> trine_hostnet::Result<(Joined, Port)> {
    network.join_machine(&plain(&Mode::Group(group.into()), name, None))
}

impl Machine {
    fn new(network: &Network, group: &str, name: &str) -> Machine {
        let (joined, port) = join(network, group, name).unwrap();
        let gateway = (port.gateway_ether, joined.addresses.gateway.unwrap());
        let services = Config {
            guest4: v4(&joined.addresses),
            gateway4: gateway.1,
            mac: EthernetAddress(gateway.0),
            mtu: port.mtu,
            domain: group.into(),
            outside: false,
            hosts: Some(Arc::new(File::open(&joined.hosts).unwrap())),
            ..Config::default()
        };
        Machine { net: TapNetwork::new(port.tap, services).unwrap(), ether: port.ether, gateway, joined }
    }

    fn send(&mut self, to: [u8; 6], kind: u16, payload: &[u8]) {
        let frame = [&to[..], &self.ether, &kind.to_be_bytes(), payload].concat();
        self.net.send(&frame, Partial::default());
    }

    fn send_udp(&mut self, to: [u8; 6], [from_ip, to_ip]: [Ipv4Addr; 2], ports: [u16; 2], data: &[u8]) {
        let mut ip = vec![0x45, 0];
        ip.extend((28 + data.len() as u16).to_be_bytes());
        ip.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        ip.extend(from_ip.octets());
        ip.extend(to_ip.octets());
        let sum: u32 = ip.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        let sum = !(((sum >> 16) + (sum & 0xffff)) as u16);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        ports.iter().for_each(|port| ip.extend(port.to_be_bytes()));
        ip.extend((8 + data.len() as u16).to_be_bytes());
        // Without a checksum (RFC 768).
        ip.extend([0, 0]);
        ip.extend(data);
        self.send(to, 0x0800, &ip);
    }

    /// The first frame that arrives for which `find` finds something.
    fn wait<T>(&mut self, find: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        let until = Instant::now() + Duration::from_secs(5);
        let mut frame = Vec::new();
        while Instant::now() < until {
            match self.net.receive(&mut frame) {
                Some(_) => {
                    if let Some(found) = find(&frame) {
                        return Some(found);
                    }
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        None
    }

    /// The Ethernet address of a member, by ARP.
    fn find(&mut self, address: Ipv4Addr) -> Option<[u8; 6]> {
        let mut question = vec![0, 1, 8, 0, 6, 4, 0, 1];
        question.extend(self.ether);
        question.extend(v4(&self.joined.addresses).octets());
        question.extend([0; 6]);
        question.extend(address.octets());
        self.send(BROADCAST, 0x0806, &question);
        self.wait(|frame| {
            let is_answer = frame.get(12..14)? == [8, 6] && frame.get(20..22)? == [0, 2];
            (is_answer && frame.get(28..32)? == address.octets()).then(|| frame[22..28].try_into().ok())?
        })
    }

    /// The address that the network offers.
    fn offered(&mut self) -> Option<Ipv4Addr> {
        let mut message = vec![1, 1, 6, 0, 9, 9, 9, 9];
        message.resize(28, 0);
        message.extend(self.ether);
        message.resize(236, 0);
        // The magic number, and the option for the kind of message: a discovery.
        message.extend([99, 130, 83, 99, 53, 1, 1, 255]);
        message.resize(300, 0);
        self.send_udp(BROADCAST, [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST], [68, 67], &message);
        self.wait(|frame| {
            let is_offer = frame.get(34..38)? == [0, 67, 0, 68] && frame.get(46..50)? == [9; 4];
            is_offer.then(|| frame.get(58..62)?.first_chunk::<4>().map(|&a| Ipv4Addr::from(a)))?
        })
    }

    /// The address of a name, by the gateway's name server.
    fn resolve(&mut self, name: &str) -> Option<Ipv4Addr> {
        let mut question = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            question.push(label.len() as u8);
            question.extend(label.bytes());
        }
        question.extend([0, 0, 1, 0, 1]);
        let (ether, gateway) = self.gateway;
        self.send_udp(ether, [v4(&self.joined.addresses), gateway], [4000, 53], &question);
        let code = self.wait(|frame| {
            let is_answer = frame.get(34..38)? == [0, 53, 0x0f, 0xa0] && frame.get(42..44)? == [7, 7];
            is_answer.then(|| (frame[45] & 15, frame[49], frame.last_chunk::<4>().copied()))
        });
        match code? {
            (0, 1.., Some(address)) => Some(address.into()),
            _ => None,
        }
    }
}

/// What every user's group does.
pub fn meet(network: &Network, container: &Joined, ping: impl FnOnce(Ipv4Addr) -> bool) {
    let mut machine = Machine::new(network, "one", "box");
    let own = v4(&machine.joined.addresses);
    assert_eq!(machine.joined.addresses.v6, None);
    let hosts = || std::fs::read_to_string(&container.hosts).unwrap();
    let lines = hosts().lines().filter(|l| l.ends_with("\tbox")).count();
    assert_eq!((lines, hosts().contains(&format!("{own}\tbox\n"))), (1, true), "{}", hosts());
    // Frames go both ways: the container's kernel answers, and asks in its turn.
    assert!(machine.find(v4(&container.addresses)).is_some());
    assert!(machine.find(machine.gateway.1).is_some_and(|found| found == machine.gateway.0));
    assert!(machine.find(Ipv4Addr::new(192, 0, 2, 77)).is_none());
    assert_eq!(machine.offered(), Some(own));
    assert_eq!(machine.resolve("a"), Some(v4(&container.addresses)));
    assert_eq!(machine.resolve("A.one"), Some(v4(&container.addresses)));
    assert_eq!(machine.resolve("box"), Some(own));
    assert_eq!(machine.resolve("nobody"), None);
    assert!(ping(own), "nobody asked for the machine");
    let asked = move |frame: &[u8]| {
        // The packet itself, where the kernel has the machine's Ethernet address from the question above.
        let is_question = frame.get(12..14)? == [8, 6] && frame.get(20..22)? == [0, 1];
        let to = if is_question { frame.get(38..42)? } else { frame.get(30..34)? };
        ((is_question || frame.get(12..14)? == [8, 0]) && to == own.octets()).then_some(())
    };
    assert!(machine.wait(asked).is_some());
    drop(machine);
    assert!(!hosts().contains("box"), "{}", hosts());
}

#[test]
fn a_machine_and_a_container_meet() {
    host(|| {
        let dir = Dir::new();
        let network = dir.network();
        let a = Guest::new();
        let ja = a.join(&network, "one", "a").unwrap();
        meet(&network, &ja, |own| {
            a.run(move || std::net::UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"x", (own, 9)).is_ok())
        });
        drop(ja);
        dir.assert_empty();
    });
}

#[test]
fn only_groups_have_ports_for_machines() {
    host(|| {
        let dir = Dir::new();
        let join = dir.network().join_machine(&plain(&Mode::None, "box", None));
        assert!(join.unwrap_err().to_string().contains("private network only"));
        dir.assert_empty();
    });
}

#[test]
fn a_lost_descriptor_is_the_end_of_the_link() {
    host(|| {
        let dir = Dir::new();
        let network = dir.network();
        let (joined, port) = join(&network, "one", "box").unwrap();
        let links = || crate::place::command("ip", &["-o", "link"]);
        assert!(links().contains("tv-"), "{}", links());
        drop(port);
        assert!(!links().contains("tv-"), "{}", links());
        // And if the link goes first, the machine has no link any more.
        drop(joined);
        let mut machine = Machine::new(&network, "one", "box");
        assert!(machine.net.is_up());
        network.leave("box").unwrap();
        assert_eq!(machine.net.receive(&mut Vec::new()), None);
        assert!(!machine.net.is_up());
        drop(machine);
        dir.assert_empty();
    });
}
