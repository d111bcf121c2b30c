use super::*;
use crate::virtio::tests::{BASE, DATA, Driver, QUEUE, WRITE};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use trine_base::net::Segments;
use trine_base::{Partial, Waker, Width};

/// What the tests see of a network.
#[derive(Default)]
struct Wire {
    sent: Vec<(Vec<u8>, Partial)>,
    coming: VecDeque<(Vec<u8>, Partial)>,
    gives: Offloads,
    down: bool,
    resets: u32,
    mtu: u16,
}

#[derive(Clone, Default)]
struct Network(Arc<Mutex<Wire>>);

impl Network {
    fn wire(&self) -> std::sync::MutexGuard<'_, Wire> {
        self.0.lock().unwrap()
    }

    fn comes(&self, frame: Vec<u8>) {
        self.wire().coming.push_back((frame, Partial::default()));
    }

    fn device(&self, pairs: u16) -> Net {
        Net::new(Box::new(self.clone()), MAC, pairs)
    }
}

impl NetBackend for Network {
    fn set_waker(&mut self, _: Waker) {}
    fn takes(&self) -> Offloads {
        Offloads { checksum: true, tcp4: true, tcp6: false }
    }
    fn set_gives(&mut self, gives: Offloads) {
        self.wire().gives = gives;
    }
    fn mtu(&self) -> u16 {
        1500 + self.wire().mtu
    }
    fn is_up(&self) -> bool {
        !self.wire().down
    }
    fn send(&mut self, frame: &[u8], partial: Partial) {
        self.wire().sent.push((frame.to_vec(), partial));
    }
    fn receive(&mut self, frame: &mut Vec<u8>) -> Option<Partial> {
        let (next, partial) = self.wire().coming.pop_front()?;
        *frame = next;
        Some(partial)
    }
    fn reset(&mut self) {
        self.wire().resets += 1;
    }
}

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const RX: usize = 0;
const TX: usize = 1;

/// Makes a chain of one writable buffer available in queue `queue`, at descriptor `index`.
fn buffer(d: &mut Driver, queue: usize, index: u16, len: u32) -> u64 {
    let at = DATA + 0x2_0000 * queue as u64 + 0x2000 * index as u64;
    d.describe(Driver::rings(queue as u64)[0], index, (at, len), WRITE, 0);
    d.offer(queue, index, 1);
    at
}

/// Sends a frame by a queue.
fn send(d: &mut Driver, queue: usize, header: &[u8], frame: &[u8]) {
    let mut bytes = header.to_vec();
    bytes.resize(header::LEN, 0);
    bytes.extend(frame);
    d.ram.write(DATA, &bytes).unwrap();
    // Header and frame share buffers in any way.
    d.request(queue, &[(DATA, 7), (DATA + 7, bytes.len() as u32 - 7)], &[]);
}

/// Gives a command and returns the answer.
fn command(d: &mut Driver, queue: usize, command: &[u8]) -> u8 {
    d.ram.write(DATA, command).unwrap();
    d.request(queue, &[(DATA, command.len() as u32)], &[(DATA + 0x100, 1)]);
    d.bytes(DATA + 0x100, 1)[0]
}

/// Lets the device look at the network, as its waker does.
fn wake(d: &mut Driver) {
    d.timer = Some(0);
    d.turn();
}

#[test]
fn a_driver_reads_what_there_is() {
    let network = Network::default();
    let mut d = Driver::new(network.device(2));
    let mut config = MAC.to_vec();
    config.extend([1, 0, 2, 0, 0xdc, 5]);
    let read: Vec<u8> = (0..3).flat_map(|i| (d.read(0x100 + 4 * i) as u32).to_le_bytes()).collect();
    assert_eq!(read, config);
    d.write(0x14, 0);
    let features = d.read(0x10);
    assert_eq!(features & (feature::HOST_TSO4 | feature::HOST_TSO6), feature::HOST_TSO4, "as the network");
    assert_eq!(features & feature::MQ, feature::MQ);
    assert_eq!(network.device(0).queues(), 3);
    assert_eq!(network.device(99).queues(), 17);
}

#[test]
fn frames_are_sent_with_what_is_left_undone() {
    let network = Network::default();
    let mut d = Driver::with_features(network.device(1), feature::CSUM | feature::HOST_TSO4);
    let frame: Vec<u8> = (0..100).collect();
    send(&mut d, TX, &[], &frame);
    send(&mut d, TX, &[1, 1, 0, 0, 0x40, 0, 34, 0, 16, 0], &frame);
    let checksum = Some((34, 16));
    let partial = Partial { checksum, segments: Some((Segments::Tcp4, 64)), verified: false };
    assert_eq!(network.wire().sent, [(frame.clone(), Partial::default()), (frame.clone(), partial)]);
    assert_eq!((d.used(TX), d.last_used(TX)), (2, (0, 0)));
    // Not negotiated, not a frame, too long, no link: returned, but not sent.
    send(&mut d, TX, &[1, 4, 0, 0, 0x40, 0, 34, 0, 16, 0], &frame);
    send(&mut d, TX, &[], &frame[..ETHERNET - 1]);
    d.request(TX, &[(DATA, 12), (BASE, MAX_FRAME as u32 + 1)], &[]);
    network.wire().down = true;
    send(&mut d, TX, &[], &frame);
    assert_eq!((d.used(TX), network.wire().sent.len()), (6, 2));
}

#[test]
fn frames_are_received_into_one_buffer_each() {
    let network = Network::default();
    let mut d = Driver::new(network.device(1));
    let small = buffer(&mut d, RX, 0, 200);
    network.comes(vec![9; 60]);
    wake(&mut d);
    assert_eq!((d.used(RX), d.last_used(RX), d.line.len()), (1, (0, 72), 1));
    let head = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    assert_eq!(d.bytes(small, 72), [head.as_slice(), &[9; 60]].concat());
    // One that is too long is lost, one that finds no buffer waits.
    buffer(&mut d, RX, 1, 200);
    [[7; 189].as_slice(), &[8; 100], &[6; 100]].iter().for_each(|frame| network.comes(frame.to_vec()));
    wake(&mut d);
    assert_eq!((d.used(RX), d.last_used(RX)), (2, (1, 112)));
    let third = buffer(&mut d, RX, 2, 200);
    d.notify(RX as u64);
    assert_eq!((d.used(RX), d.bytes(third + 12, 1)), (3, vec![6]));
}

#[test]
fn frames_are_received_into_as_many_buffers_as_they_need() {
    let network = Network::default();
    let mut d = Driver::with_features(network.device(1), feature::MRG_RXBUF | 1 << 29);
    let places = [0, 1].map(|i| buffer(&mut d, RX, i, 100));
    d.notify(RX as u64);
    network.comes((0..250).collect());
    wake(&mut d);
    assert_eq!(d.used(RX), 0, "all of it at once");
    let asked = Driver::rings(0)[2] + 4 + 8 * QUEUE as u64;
    assert_eq!(d.ram.load(asked, Width::B2), Some(2), "the device waits for more than those");
    let last = buffer(&mut d, RX, 2, 100);
    d.notify(RX as u64);
    assert_eq!((d.used(RX), d.last_used(RX)), (3, (2, 62)));
    assert_eq!(d.bytes(places[0] + 10, 3), [3, 0, 0], "three buffers, then the frame");
    assert_eq!((d.bytes(places[1], 2), d.bytes(last + 61, 1)), (vec![88, 89], vec![249]));
    // One for which the whole queue does not suffice is lost.
    for i in 0..QUEUE {
        buffer(&mut d, RX, i, 16);
    }
    network.comes(vec![1; 1000]);
    network.comes(vec![2; 20]);
    wake(&mut d);
    assert_eq!((d.used(RX), d.last_used(RX)), (5, (1, 16)));
}

#[test]
fn what_is_left_undone_is_what_the_driver_accepts() {
    let network = Network::default();
    let mut d = Driver::with_features(network.device(1), feature::GUEST_CSUM | feature::GUEST_TSO6);
    let gives = Offloads { checksum: true, tcp4: false, tcp6: true };
    assert_eq!(network.wire().gives, gives);
    let at = buffer(&mut d, RX, 0, 4096);
    let checksum = Some((54, 16));
    for segments in [(Segments::Tcp4, 1000), (Segments::Tcp6, 1000)] {
        let partial = Partial { checksum, segments: Some(segments), verified: false };
        network.wire().coming.push_back((vec![5; 3000], partial));
    }
    wake(&mut d);
    assert_eq!((d.used(RX), d.bytes(at, 12)), (1, vec![1, 4, 74, 0, 0xe8, 3, 54, 0, 16, 0, 1, 0]));
    d.write(0x70, 0);
    assert_eq!(network.wire().gives, Offloads::default());
}

#[test]
fn frames_in_the_network_wait_while_the_guest_has_no_buffers() {
    let network = Network::default();
    let mut d = Driver::new(network.device(1));
    (0..1000).for_each(|_| network.comes(vec![3; 1500]));
    wake(&mut d);
    while d.turn() {}
    let left = network.wire().coming.len();
    assert!((800..900).contains(&left), "{left}: a bounded amount is taken");
    for i in 0..1000 {
        buffer(&mut d, RX, i % QUEUE, 2000);
        d.notify(RX as u64);
    }
    while d.turn() {}
    assert_eq!((d.used(RX), network.wire().coming.len()), (1000, 0));
}

#[test]
fn a_turn_is_bounded() {
    let network = Network::default();
    let mut d = Driver::new(network.device(1));
    (0..600).for_each(|_| network.comes(Vec::new()));
    wake(&mut d);
    assert_eq!(network.wire().coming.len(), 600 - TURN_FRAMES, "even of what is not a frame");
    assert!(d.turn() && d.turn() && !d.turn());
}

/// A UDP packet between two ports.
fn udp(from: u16, to: u16) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    [from, to].iter().for_each(|port| frame.extend(port.to_be_bytes()));
    frame.extend([0; 20]);
    frame
}

#[test]
fn flows_come_back_by_the_pair_that_they_are_sent_by() {
    let network = Network::default();
    let mut d = Driver::with_features(network.device(2), feature::MQ | feature::CTRL_VQ);
    let ctrl = 4;
    assert_eq!(command(&mut d, ctrl, &[4, 0, 2, 0]), control::OK);
    for pair in 0..2 {
        for i in 0..4 {
            buffer(&mut d, 2 * pair, i, 256);
        }
    }
    for port in 0..4 {
        let pair = port % 2;
        send(&mut d, 2 * pair + 1, &[], &udp(1000 + port as u16, 53));
        network.comes(udp(53, 1000 + port as u16));
    }
    wake(&mut d);
    assert_eq!([d.used(0), d.used(2)], [2, 2]);
    for pairs in [0, 3, 0xffff_u16] {
        let [low, high] = pairs.to_le_bytes();
        assert_eq!(command(&mut d, ctrl, &[4, 0, low, high]), control::ERR, "{pairs}");
    }
    // With one pair, the others are not served.
    assert_eq!(command(&mut d, ctrl, &[4, 0, 1, 0]), control::OK);
    send(&mut d, 3, &[], &udp(1, 2));
    assert_eq!((d.used(3), network.wire().sent.len()), (2, 4));
}

#[test]
fn the_control_queue_follows_the_pairs_in_use_without_multiqueue() {
    let network = Network::default();
    let mut d = Driver::with_features(network.device(4), feature::CTRL_VQ | feature::CTRL_MAC_ADDR);
    let commands: [(&[u8], u8); 7] = [
        (&[1, 1, 2, 3, 4, 5, 6, 7], control::OK),
        (&[1, 1, 2, 3], control::ERR),
        (&[4, 0, 1, 0], control::ERR),
        (&[0, 0, 1], control::ERR),
        (&[1, 0, 0, 0, 0, 0], control::ERR),
        (&[9], control::ERR),
        (&[1, 1, 2, 3, 4, 5, 6, 7], control::OK),
    ];
    for (bytes, answer) in commands {
        assert_eq!(command(&mut d, 2, bytes), answer, "{bytes:?}");
    }
    assert_eq!(d.read(0x100), 0x0504_0302);
    d.write(0x70, 0);
    assert_eq!(d.read(0x100), 2, "the first address comes back");
}

#[test]
fn the_guest_is_told_when_the_link_comes_and_goes() {
    let network = Network::default();
    let mut d = Driver::new(network.device(1));
    for (down, generation) in [(true, 1), (false, 2)] {
        network.wire().down = down;
        wake(&mut d);
        assert_eq!((d.read(0x60), d.read(0xfc)), (2, generation));
        assert_eq!(d.read(0x104) >> 16 & 1, !down as u64);
        d.write(0x64, 2);
        wake(&mut d);
        assert_eq!(d.read(0x60), 0, "once");
    }
}

#[test]
fn a_loaded_device_goes_on_with_an_empty_network() {
    let network = Network::default();
    let mut old = network.device(2);
    old.negotiated(feature::MQ | feature::CTRL_MAC_ADDR);
    assert!(old.command(&[4, 0, 2, 0]) && old.command(&[1, 1, 9, 9, 9, 9, 9, 9]));
    let mut new = network.device(2);
    new.load(&old.save()).unwrap();
    assert_eq!((new.config(), new.registers.pairs), (old.config(), 2));
    assert_eq!(network.wire().resets, 1);
    assert!(matches!(network.device(1).load(&old.save()), Err(StateError::Damaged { .. })));
    network.wire().mtu = 1;
    let error = network.device(2).load(&old.save()).unwrap_err();
    assert!(error.to_string().ends_with("packets had up to 1500 bytes, but here 1501"), "{error}");
}

#[test]
fn anything_a_guest_may_do() {
    let network = Network::default();
    let all = feature::ALWAYS | feature::MQ | feature::CSUM | feature::HOST_TSO4;
    let mut d = Driver::with_features(network.device(8), all);
    for queue in 0..17 {
        for len in [0u32, 1, 11, 12, 26, 65_561, 65_562, 1 << 20] {
            network.comes(vec![1; len as usize]);
            d.request(queue, &[(BASE, len)], &[]);
            d.request(queue, &[], &[(DATA, len)]);
            d.request(queue, &[(DATA, len), (DATA, 3)], &[(DATA, len), (DATA, len)]);
            wake(&mut d);
        }
    }
    for offset in (0..0x200).step_by(4) {
        d.write(offset, 0xffff_ffff);
        d.read(offset);
    }
}
