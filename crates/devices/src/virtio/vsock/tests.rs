use super::packet::{STREAM, op, shutdown};
use super::*;
use crate::virtio::tests::{BASE, DATA, Driver, QUEUE, WRITE};
use std::collections::VecDeque;
use trine_base::vsock::{HostEnd, MOST, StreamId, View, streams};

const CID: u32 = 3;
const HOST: u64 = table::HOST;
/// Where the buffers of the receive queue are, each of so many bytes.
const BUFFERS: u64 = DATA + 0x10_0000;
const LARGE: u32 = 0x1_0000;
/// What the guest of the tests says of its buffers.
const GUEST_BUFFER: u32 = 1 << 18;

/// A device with its driver, and the host's end.
struct Rig {
    d: Driver,
    host: HostEnd,
    /// Used buffers of the receive queue that were read.
    read: u16,
}

/// A packet that the guest has received.
type Got = (Header, Vec<u8>);

impl Rig {
    fn new() -> Rig {
        let (guest, host) = streams();
        Rig { d: Driver::new(Vsock::new(CID, guest)), host, read: 0 }
    }

    /// Offers a buffer for a packet, at descriptor `index`.
    fn buffer(&mut self, index: u16, len: u32) {
        let at = BUFFERS + u64::from(LARGE) * u64::from(index);
        self.d.describe(Driver::rings(RECEIVE as u64)[0], index, (at, len), WRITE, 0);
        self.d.offer(RECEIVE, index, 1);
    }

    /// Offers one buffer after the other while there are packets, and returns them all.
    fn receive(&mut self) -> Vec<Got> {
        let mut all = Vec::new();
        if self.d.used(RECEIVE) == 0 && self.read == 0 {
            self.buffer(0, LARGE);
        }
        loop {
            self.d.wake();
            while self.d.turn() {}
            if self.d.used(RECEIVE) == self.read {
                return all;
            }
            self.read = self.read.wrapping_add(1);
            all.push(self.packet());
            self.buffer(0, LARGE);
        }
    }

    /// The packet in the buffer that was used last.
    fn packet(&self) -> Got {
        let (index, len) = self.d.last_used(RECEIVE);
        let bytes = self.d.bytes(BUFFERS + u64::from(LARGE) * u64::from(index), len as usize);
        let (head, data) = bytes.split_at(packet::LEN);
        (Header::decode(head.try_into().unwrap()), data.to_vec())
    }

    /// What the guest receives, as operations and flags.
    fn ops(&mut self) -> Vec<(u16, u32)> {
        self.receive().iter().map(|(header, _)| (header.op, header.flags)).collect()
    }

    fn send(&mut self, header: Header, data: &[u8]) {
        self.d.ram.write(DATA, &header.encode()).unwrap();
        self.d.ram.write(DATA + 0x1000, data).unwrap();
        let len = data.len() as u32;
        // Header and data share buffers in any way.
        self.d.request(TRANSMIT, &[(DATA, 40), (DATA + 40, 4), (DATA + 0x1000, len)], &[]);
    }

    /// Sends a packet of a connection.
    fn op(&mut self, (host, guest): (u32, u32), op: u16, flags: u32) {
        self.send(Header { flags, ..from_guest((host, guest), op) }, &[]);
    }

    fn data(&mut self, ports: (u32, u32), data: &[u8]) {
        self.send(Header { len: data.len() as u32, ..from_guest(ports, op::RW) }, data);
    }

    fn news(&self) -> Vec<(StreamId, View)> {
        std::iter::from_fn(|| self.host.news()).collect()
    }

    /// A connection that the guest has asked for; its guest's port is `guest`.
    fn by_guest(&mut self, guest: u32) -> StreamId {
        self.op((PORT, guest), op::REQUEST, 0);
        let news = self.news();
        let &[(id, view)] = &news[..] else { panic!("{news:?}") };
        assert!(!view.accepted && !view.by_host && view.ports.host == PORT && view.ports.guest == guest);
        self.host.accept(id);
        assert_eq!(self.ops(), [(op::RESPONSE, 0)]);
        id
    }

    fn received_by_host(&self, id: StreamId) -> Vec<u8> {
        let mut bytes = VecDeque::new();
        self.host.receive(id, &mut bytes);
        self.host.taken(id, bytes.len() as u32);
        bytes.into()
    }
}

/// A port of the host.
const PORT: u32 = 700;

fn from_guest((host, guest): (u32, u32), op: u16) -> Header {
    Header {
        src_cid: CID.into(),
        dst_cid: HOST,
        src_port: guest,
        dst_port: host,
        kind: STREAM,
        op,
        buf_alloc: GUEST_BUFFER,
        ..Header::default()
    }
}

#[test]
fn a_driver_reads_its_context_id() {
    let mut rig = Rig::new();
    assert_eq!((rig.d.read(0x100), rig.d.read(0x104), rig.d.read(8)), (CID.into(), 0, 19));
    let of = |cid| Vsock::new(cid, streams().0).config();
    assert_eq!(of(0), [3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(of(u32::MAX), [0xfe, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
}

#[test]
fn the_guest_connects_and_bytes_go_both_ways() {
    let mut rig = Rig::new();
    let id = rig.by_guest(1000);
    rig.data((PORT, 1000), b"question");
    assert_eq!(rig.received_by_host(id), b"question");
    assert!(rig.host.send(id, b"answer"));
    let got = rig.receive();
    let &[(header, ref data)] = &got[..] else { panic!("{got:?}") };
    let expected = Header {
        src_cid: HOST,
        dst_cid: CID.into(),
        src_port: PORT,
        dst_port: 1000,
        len: 6,
        kind: STREAM,
        op: op::RW,
        flags: 0,
        buf_alloc: BUFFER,
        fwd_cnt: 8,
    };
    assert_eq!((header, data.as_slice()), (expected, b"answer".as_slice()));
}

#[test]
fn the_host_connects_and_is_accepted_or_refused() {
    let mut rig = Rig::new();
    let (id, port) = rig.host.connect(22).unwrap();
    let got = rig.receive();
    assert_eq!((got.len(), got[0].0.op, got[0].0.src_port, got[0].0.dst_port), (1, op::REQUEST, port, 22));
    assert!(rig.host.send(id, b"early"), "waits until the guest has accepted");
    assert_eq!(rig.ops(), []);
    rig.op((port, 22), op::RESPONSE, 0);
    assert_eq!(rig.news().last().map(|(_, view)| view.accepted), Some(true));
    assert_eq!(rig.ops(), [(op::RW, 0)]);
    let (_, port) = rig.host.connect(23).unwrap();
    assert_eq!(rig.ops(), [(op::REQUEST, 0)]);
    rig.op((port, 23), op::RST, 0);
    let (_, view) = *rig.news().last().unwrap();
    assert!(view.closed && !view.accepted);
    // One that goes before the guest has heard of it, and one after.
    let (id, _) = rig.host.connect(24).unwrap();
    rig.host.close(id);
    assert_eq!(rig.ops(), []);
    let (id, _) = rig.host.connect(24).unwrap();
    assert_eq!(rig.ops(), [(op::REQUEST, 0)]);
    rig.host.close(id);
    assert_eq!(rig.ops(), [(op::RST, 0)]);
}

#[test]
fn a_port_of_the_host_that_nobody_serves_refuses() {
    let mut rig = Rig::new();
    rig.op((PORT, 1), op::REQUEST, 0);
    let (id, _) = rig.news()[0];
    rig.host.close(id);
    assert_eq!(rig.ops(), [(op::RST, 0)]);
    rig.op((PORT, 1), op::RW, 0);
    assert_eq!(rig.ops(), [(op::RST, 0)], "it does not exist any more");
}

#[test]
fn the_guest_is_told_of_room_as_the_host_takes_bytes() {
    let mut rig = Rig::new();
    let id = rig.by_guest(1);
    rig.data((PORT, 1), &vec![1; BUFFER as usize / 2]);
    assert_eq!(rig.received_by_host(id).len(), BUFFER as usize / 2);
    assert_eq!(rig.ops(), [], "the guest still has half of the buffer");
    rig.data((PORT, 1), &[1; 100]);
    let got = rig.receive();
    assert_eq!((got.len(), got[0].0.op, got[0].0.fwd_cnt), (1, op::CREDIT_UPDATE, BUFFER / 2));
    rig.op((PORT, 1), op::CREDIT_REQUEST, 0);
    assert_eq!(rig.ops(), [(op::CREDIT_UPDATE, 0)]);
    // Full, and nobody reads: no more room is told.
    rig.data((PORT, 1), &vec![1; BUFFER as usize - 100]);
    assert_eq!(rig.ops(), []);
    assert_eq!(rig.received_by_host(id).len(), BUFFER as usize);
    assert_eq!(rig.receive()[0].0.fwd_cnt, BUFFER / 2 + BUFFER);
}

#[test]
fn a_guest_that_ignores_the_credit_is_reset() {
    let mut rig = Rig::new();
    let id = rig.by_guest(1);
    rig.data((PORT, 1), &vec![1; BUFFER as usize]);
    // The host has taken it, but the guest does not know that yet.
    assert_eq!(rig.received_by_host(id).len(), BUFFER as usize);
    rig.data((PORT, 1), &[1]);
    assert_eq!(rig.ops(), [(op::RST, 0)]);
    assert!(rig.news().last().unwrap().1.closed);
}

#[test]
fn the_host_waits_for_the_guests_room() {
    let mut rig = Rig::new();
    rig.send(Header { buf_alloc: 10, ..from_guest((PORT, 1), op::REQUEST) }, &[]);
    let (id, _) = rig.news()[0];
    rig.host.accept(id);
    assert!(rig.host.send(id, b"more than fits"));
    assert_eq!(rig.ops(), [(op::RESPONSE, 0), (op::RW, 0), (op::CREDIT_REQUEST, 0)]);
    assert_eq!(rig.ops(), [], "asked once");
    let update = from_guest((PORT, 1), op::CREDIT_UPDATE);
    for (buf_alloc, fwd_cnt, expected) in
        [(10, 8, Some("an f")), (3, 8, None), (10, 900, None), (10, 13, None)]
    {
        rig.send(Header { buf_alloc, fwd_cnt, ..update }, &[]);
        let got = rig.receive();
        let data: Vec<_> = got.iter().filter(|(h, _)| h.op == op::RW).map(|(_, data)| data.clone()).collect();
        // "more than fits" in two parts: ten bytes, then as many as there is room for.
        match expected {
            Some(_) => assert_eq!(data, [b"fits".to_vec()], "{buf_alloc} {fwd_cnt}"),
            None => assert!(data.is_empty(), "{buf_alloc} {fwd_cnt}"),
        }
    }
}

#[test]
fn bytes_are_cut_to_the_guests_buffers() {
    let mut rig = Rig::new();
    let id = rig.by_guest(1);
    assert!(rig.host.send(id, b"123456789"));
    // The large buffer that is left first, then small ones; one that is too small for anything is returned empty.
    rig.d.wake();
    rig.read = rig.d.used(RECEIVE);
    assert!(rig.host.send(id, b"abcdef"));
    for (index, len) in [(1, 44), (2, 46), (3, 20), (4, 48)] {
        rig.buffer(index, len);
    }
    rig.d.wake();
    let [.., used] = Driver::rings(RECEIVE as u64);
    let entry = |n: u16| used + 4 + 8 * u64::from((rig.read + n) % QUEUE);
    let len = |n| rig.d.ram.load(entry(n) + 4, trine_base::Width::B4).unwrap();
    assert_eq!([0, 1, 2, 3].map(len), [0, 46, 0, 48]);
    let data = |index: u64, len| rig.d.bytes(BUFFERS + u64::from(LARGE) * index + 44, len);
    assert_eq!((data(2, 2), data(4, 4)), (b"ab".to_vec(), b"cdef".to_vec()));
}

#[test]
fn each_direction_is_shut_down_by_itself() {
    let mut rig = Rig::new();
    let id = rig.by_guest(1);
    // The host's half: the end comes behind the bytes.
    assert!(rig.host.send(id, b"last"));
    rig.host.end(id);
    assert_eq!(rig.ops(), [(op::RW, 0), (op::SHUTDOWN, shutdown::SEND)]);
    rig.data((PORT, 1), b"still");
    assert_eq!(rig.received_by_host(id), b"still");
    // The guest's half.
    rig.op((PORT, 1), op::SHUTDOWN, shutdown::SEND);
    let (_, view) = *rig.news().last().unwrap();
    assert!(view.ended && !view.closed);
    rig.host.close(id);
    assert_eq!(rig.ops(), [(op::SHUTDOWN, shutdown::BOTH)]);
    rig.op((PORT, 1), op::RST, 0);
    assert_eq!((rig.ops(), rig.news()), (vec![], vec![]));
}

#[test]
fn what_the_guest_sent_before_it_closed_reaches_the_host() {
    let mut rig = Rig::new();
    let id = rig.by_guest(1);
    rig.data((PORT, 1), b"goodbye");
    rig.op((PORT, 1), op::SHUTDOWN, shutdown::BOTH);
    assert_eq!(rig.ops(), [(op::RST, 0)], "the guest may use the port again");
    assert!(rig.news().last().unwrap().1.closed);
    let again = rig.by_guest(1);
    assert_eq!((rig.received_by_host(id), again != id), (b"goodbye".to_vec(), true));
}

#[test]
fn a_guest_that_shuts_down_and_goes_on_is_reset() {
    for flags in [shutdown::SEND, shutdown::BOTH] {
        let mut rig = Rig::new();
        rig.by_guest(1);
        rig.op((PORT, 1), op::SHUTDOWN, flags);
        let _ = rig.receive();
        rig.data((PORT, 1), b"more");
        assert_eq!(rig.ops(), [(op::RST, 0)]);
    }
}

#[test]
fn a_guest_that_receives_nothing_more_gets_nothing_more() {
    let mut rig = Rig::new();
    let id = rig.by_guest(1);
    rig.op((PORT, 1), op::SHUTDOWN, shutdown::RECEIVE);
    assert!(rig.host.send(id, b"lost"));
    assert_eq!(rig.ops(), []);
    let (_, view) = *rig.news().last().unwrap();
    assert!(view.stopped && !view.ended && !view.closed);
    rig.host.close(id);
    assert_eq!(rig.ops(), [(op::SHUTDOWN, shutdown::BOTH)]);
}

#[test]
fn packets_that_no_guest_should_send() {
    let mut rig = Rig::new();
    let base = from_guest((PORT, 1), op::REQUEST);
    let refused = |kind, dst_cid, op| Header { kind, dst_cid, op, ..base };
    // Dropped: another's name, an answer to nothing, no whole header.
    rig.send(Header { src_cid: 4, ..base }, &[]);
    rig.op((PORT, 1), op::RST, 0);
    rig.d.request(TRANSMIT, &[(DATA, 43)], &[]);
    rig.d.request(TRANSMIT, &[], &[(DATA, 100)]);
    assert_eq!((rig.ops(), rig.news(), rig.d.used(TRANSMIT)), (vec![], vec![], 4));
    // Refused: another type, another context, an operation without a connection.
    for header in [
        refused(2, HOST, op::REQUEST),
        refused(STREAM, 1, op::REQUEST),
        refused(STREAM, HOST, op::RW),
        refused(STREAM, HOST, 99),
        refused(STREAM, HOST, op::RESPONSE),
    ] {
        rig.send(header, &[]);
        let got = rig.receive();
        assert_eq!(got, [(header.refusal(), vec![])]);
    }
    assert_eq!(rig.news(), []);
    // The end of a connection: an unknown operation, a second request, an answer that nobody wants, missing bytes.
    for (op, len) in [(99, 0), (op::REQUEST, 0), (op::RESPONSE, 0), (op::RW, 5), (0, 0), (op::RW, u32::MAX)] {
        rig.by_guest(1);
        rig.send(Header { op, len, ..base }, &[]);
        assert_eq!(rig.ops(), [(op::RST, 0)], "{op}");
        let (id, view) = *rig.news().last().unwrap();
        assert!(view.closed);
        rig.host.close(id);
    }
    assert!(!rig.d.needs_reset());
}

#[test]
fn data_before_the_host_has_accepted_resets() {
    let mut rig = Rig::new();
    rig.op((PORT, 1), op::REQUEST, 0);
    rig.data((PORT, 1), b"early");
    assert_eq!(rig.ops(), [(op::RST, 0)]);
}

#[test]
fn connections_take_turns() {
    let mut rig = Rig::new();
    let ids = [1, 2, 3].map(|port| rig.by_guest(port));
    for id in ids {
        assert!(rig.host.send(id, &[7; 100_000]));
    }
    let order: Vec<u32> = rig.receive().iter().map(|(header, _)| header.dst_port).collect();
    assert_eq!(order, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn there_are_so_many_connections_and_no_more() {
    let mut rig = Rig::new();
    let ids: Vec<_> = (0..MOST as u32).map(|port| rig.by_guest(port)).collect();
    rig.op((PORT, 5000), op::REQUEST, 0);
    assert_eq!(rig.ops(), [(op::RST, 0)]);
    assert!(rig.host.connect(1).is_none());
    rig.op((PORT, 7), op::RST, 0);
    rig.host.close(ids[7]);
    while rig.host.news().is_some() {}
    rig.by_guest(5000);
}

/// The guest gives no buffers for the answers: its packets wait.
#[test]
fn a_flood_that_nobody_reads_the_answers_of_is_bounded() {
    let mut rig = Rig::new();
    let header = from_guest((PORT, 1), op::RW);
    rig.d.ram.write(DATA, &header.encode()).unwrap();
    rig.d.describe(Driver::rings(TRANSMIT as u64)[0], 0, (DATA, 44), 0, 0);
    let mut offered = 0;
    for _ in 0..20 {
        if rig.d.used(TRANSMIT) == offered {
            rig.d.offer(TRANSMIT, 0, QUEUE);
            offered += QUEUE;
        }
        rig.d.notify(TRANSMIT as u64);
        while rig.d.turn() {}
    }
    assert_eq!(rig.d.used(TRANSMIT), 64);
    assert!(!rig.d.turn(), "it does not look again and again");
    let answers = rig.receive().len();
    while rig.d.turn() {}
    assert_eq!((answers, rig.d.used(TRANSMIT)), (72, 72));
    // Connections that are asked for and reset leave nothing behind.
    for port in 0..2000 {
        rig.op((PORT, port), op::REQUEST, 0);
        rig.op((PORT, port), op::RST, 0);
        rig.news().iter().for_each(|(id, _)| rig.host.close(*id));
    }
    assert_eq!(rig.ops(), []);
}

#[test]
fn a_reset_closes_everything() {
    let mut rig = Rig::new();
    rig.by_guest(1);
    rig.d.write(0x70, 0);
    assert!(rig.news().last().unwrap().1.closed);
}

#[test]
fn after_a_load_the_guest_is_told_that_its_connections_are_gone() {
    let (end, host) = streams();
    let mut old = Vsock::new(CID, end);
    let state = old.save();
    let id = host.connect(1).unwrap().0;
    old.load(&state).unwrap();
    assert!(old.announces_reset && host.news().is_some_and(|(gone, view)| gone == id && view.closed));
    let mut d = Driver::new(old);
    // The driver's own reset has forgotten the announcement: it has no connections then.
    d.request(EVENT, &[], &[(DATA, 4)]);
    assert_eq!(d.used(EVENT), 0);
    let mut device = Vsock::new(CID, streams().0);
    device.load(&state).unwrap();
    let ram = Driver::ram();
    let [descriptors, available, used] = [BASE, BASE + 0x1000, BASE + 0x2000];
    let mut queue = Queue::default();
    (queue.size, queue.ready) = (8, true);
    (queue.descriptors, queue.available, queue.used) = (descriptors, available, used);
    // A buffer that is too small, then one that is not.
    for (index, len) in [(0, 2), (1, 8)] {
        let at = descriptors + 16 * index;
        ram.store(at, trine_base::Width::B8, DATA).unwrap();
        ram.store(at + 8, trine_base::Width::B8, len | 2 << 32).unwrap();
        ram.store(available + 4 + 2 * index, trine_base::Width::B2, index).unwrap();
    }
    ram.store(available + 2, trine_base::Width::B2, 2).unwrap();
    ram.write(DATA, &[9; 8]).unwrap();
    assert_eq!(device.serve(EVENT, &mut queue, &ram), Ok(Served { used: true, more: true }));
    assert_eq!(device.serve(EVENT, &mut queue, &ram), Ok(Served { used: true, more: false }));
    assert!(!device.announces_reset && device.unheard == Some(0));
    // Nothing is sent before the guest has taken that to heart: it would end a new connection, too.
    assert_eq!(device.serve(EVENT, &mut queue, &ram), Ok(Served { used: false, more: false }));
    assert_eq!(device.serve(RECEIVE, &mut Queue::default(), &ram), Ok(Served::default()));
    ram.store(available + 2, trine_base::Width::B2, 3).unwrap();
    device.serve(EVENT, &mut queue, &ram).unwrap();
    assert_eq!((device.unheard, queue.waits(&ram)), (None, true));
    assert_eq!(ram.load(DATA, trine_base::Width::B8), Some(0x0909_0909_0000_0000));
    let error = Vsock::new(9, streams().0).load(&state).unwrap_err();
    assert!(error.to_string().ends_with("the guest's context ID was 3, but here it is 9"), "{error}");
}

#[test]
fn anything_a_guest_may_do() {
    let mut rig = Rig::new();
    for queue in 0..4 {
        for len in [0u32, 1, 43, 44, 45, 65_536, 1 << 20] {
            let _ = rig.host.connect(len);
            rig.d.request(queue.min(2), &[(BASE, len)], &[]);
            rig.d.request(queue.min(2), &[], &[(DATA, len)]);
            rig.d.request(queue.min(2), &[(DATA, len), (DATA, 3)], &[(DATA, len), (DATA, len)]);
            rig.d.wake();
        }
    }
    for offset in (0..0x200).step_by(4) {
        rig.d.write(offset, 0xffff_ffff);
        rig.d.read(offset);
    }
}
