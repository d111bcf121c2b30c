//! All connections of the device: what packets from the guest and news from the host do to them, and what is to be sent to
//! the guest.

use super::connection::{Connection, Phase, Verdict};
use super::packet::{Header, STREAM, op, shutdown};
use std::collections::{HashMap, VecDeque};
use trine_base::vsock::{GuestEnd, MOST, Ports, StreamId, View};

/// The host's context ID (virtio 1.2, 5.10.4).
pub const HOST: u64 = 2;
/// Answers to packets without a connection that wait for the guest's buffers. While there are so many, no packet of the guest
/// is looked at.
const MOST_ANSWERS: usize = 64;

/// The connections of a guest.
pub struct Table {
    /// The guest's context ID.
    guest: u64,
    end: GuestEnd,
    connections: HashMap<Ports, Connection>,
    by_stream: HashMap<StreamId, Ports>,
    /// The connections that have a packet for the guest, in turn.
    listed: VecDeque<Ports>,
    answers: VecDeque<Header>,
}

impl Table {
    /// A table without connections.
    pub fn new(guest: u64, end: GuestEnd) -> Table {
        let (connections, by_stream) = Default::default();
        Table { guest, end, connections, by_stream, listed: VecDeque::new(), answers: VecDeque::new() }
    }

    /// Forgets all connections; the host's processes see their end.
    pub fn clear(&mut self) {
        self.connections.clear();
        self.by_stream.clear();
        self.listed.clear();
        self.answers.clear();
        self.end.reset();
    }

    /// Whether a packet of the guest may be looked at.
    pub fn takes_input(&self) -> bool {
        self.answers.len() < MOST_ANSWERS
    }

    /// Whether there is a packet for the guest; a connection that was listed for one may have none any more.
    pub fn has_output(&self) -> bool {
        !self.answers.is_empty() || !self.listed.is_empty()
    }

    /// Follows what the host's end has done since. Returns whether there may be more.
    pub fn follow_host(&mut self) -> bool {
        // The host's thread goes on meanwhile: this must not last as long as it does.
        for _ in 0..2 * MOST {
            let Some((stream, view)) = self.end.news() else { return false };
            match self.by_stream.get(&stream).copied() {
                Some(ports) => self.look(ports, &view),
                None => self.host_asks(stream, &view),
            }
        }
        true
    }

    fn look(&mut self, ports: Ports, view: &View) {
        let Some(connection) = self.connections.get_mut(&ports) else { return };
        let verdict = connection.look(view);
        self.settle(ports, verdict);
    }

    fn host_asks(&mut self, stream: StreamId, view: &View) {
        // The guest has a connection with the same ports: it chose this port of the host itself.
        let taken = self.connections.contains_key(&view.ports);
        if !view.by_host || view.closed || taken {
            return self.end.close(stream);
        }
        self.add(view.ports, Connection::new(stream, Phase::HostAsks { told: false }));
    }

    fn add(&mut self, ports: Ports, connection: Connection) {
        self.by_stream.insert(connection.stream, ports);
        self.connections.insert(ports, connection);
        self.list(ports);
    }

    /// Notes that a connection has a packet for the guest, if it does.
    fn list(&mut self, ports: Ports) {
        if let Some(connection) = self.connections.get_mut(&ports)
            && connection.has_output()
            && !std::mem::replace(&mut connection.listed, true)
        {
            self.listed.push_back(ports);
        }
    }

    fn settle(&mut self, ports: Ports, verdict: Verdict) {
        match verdict {
            Verdict::Keep => self.list(ports),
            Verdict::Forget => self.forget(ports),
            Verdict::Reset => {
                self.forget(ports);
                self.answers.push_back(self.header(ports, op::RST, 0));
            }
        }
    }

    fn forget(&mut self, ports: Ports) {
        if let Some(connection) = self.connections.remove(&ports) {
            self.by_stream.remove(&connection.stream);
            self.end.close(connection.stream);
            // Without this, a guest that asks and resets again and again makes the list longer without end.
            if connection.listed {
                self.listed.retain(|listed| *listed != ports);
            }
        }
    }

    /// A header from the host to the guest.
    fn header(&self, ports: Ports, op: u16, flags: u32) -> Header {
        let (src_cid, dst_cid) = (HOST, self.guest);
        let (src_port, dst_port) = (ports.host, ports.guest);
        Header { src_cid, dst_cid, src_port, dst_port, kind: STREAM, op, flags, ..Header::default() }
    }

    /// A packet from the guest. `data` has as many bytes as the header says, or fewer where they are not there.
    pub fn input(&mut self, header: &Header, data: &[u8]) {
        // Nobody else sends by this device (5.10.6.4).
        if header.src_cid != self.guest {
            return;
        }
        let ports = Ports { host: header.dst_port, guest: header.src_port };
        let known = header.dst_cid == HOST && header.kind == STREAM;
        let Some(connection) = self.connections.get_mut(&ports).filter(|_| known) else {
            return self.input_without_connection(known, ports, header);
        };
        connection.credit(header.buf_alloc, header.fwd_cnt);
        let verdict = input(connection, &self.end, header, data);
        self.settle(ports, verdict);
    }

    fn input_without_connection(&mut self, known: bool, ports: Ports, header: &Header) {
        if header.op == op::RST {
            return;
        }
        let asks = known && header.op == op::REQUEST;
        let Some(stream) = asks.then(|| self.end.connect(ports)).flatten() else {
            return self.answers.push_back(header.refusal());
        };
        let mut connection = Connection::new(stream, Phase::GuestAsks);
        connection.credit(header.buf_alloc, header.fwd_cnt);
        self.add(ports, connection);
    }

    /// The next packet for the guest, if there is one: its header, and its data of at most `room` bytes in place of what
    /// `data` contains.
    pub fn output(&mut self, room: usize, data: &mut Vec<u8>) -> Option<Header> {
        data.clear();
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        while let Some(ports) = self.listed.pop_front() {
            let Some(connection) = self.connections.get_mut(&ports) else { continue };
            connection.listed = false;
            let Some((op, flags)) = connection.output(&self.end, room, data) else { continue };
            let (buf_alloc, fwd_cnt) = connection.tell_credit();
            self.list(ports);
            let header = self.header(ports, op, flags);
            return Some(Header { len: data.len() as u32, buf_alloc, fwd_cnt, ..header });
        }
        None
    }
}

/// What a packet from the guest does to its connection.
fn input(connection: &mut Connection, end: &GuestEnd, header: &Header, data: &[u8]) -> Verdict {
    let stream = connection.stream;
    match (header.op, connection.phase) {
        (op::RST, _) => return Verdict::Forget,
        (op::RESPONSE, Phase::HostAsks { told: true }) => {
            connection.phase = Phase::Open;
            end.accept(stream);
        }
        (op::RW, Phase::Open) => {
            let whole = data.len() == header.len as usize;
            if !whole || !connection.receive(header.len) || !end.send(stream, data) {
                return Verdict::Reset;
            }
        }
        (op::CREDIT_UPDATE, _) => {}
        (op::CREDIT_REQUEST, _) => connection.credit_wanted(),
        (op::SHUTDOWN, Phase::Open) => {
            let shut = connection.shut(header.flags);
            if shut == shutdown::BOTH {
                // The answer that tells the guest that nothing more comes. What it has sent still reaches the host.
                return Verdict::Reset;
            }
            if shut & shutdown::SEND != 0 {
                end.end(stream);
            }
            if shut & shutdown::RECEIVE != 0 {
                end.stop(stream);
            }
        }
        _ => return Verdict::Reset,
    }
    Verdict::Keep
}
