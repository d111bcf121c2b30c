//! One connection as the device knows it: its phase, and the credit of both sides (virtio 1.2, 5.10.6.3).

use super::packet::{op, shutdown};
use trine_base::vsock::{BUFFER, GuestEnd, StreamId, View};

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The host asks for it; the guest has been told so, or will be.
    HostAsks {
        /// Whether the guest has been told.
        told: bool,
    },
    /// The guest asks for it.
    GuestAsks,
    /// Both sides want it.
    Open,
}

/// What is to be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Keep,
    /// It is over, and the guest knows.
    Forget,
    /// It is over, and the guest is told by [`op::RST`].
    Reset,
}

/// A packet for the guest: operation and flags. The data of [`op::RW`] is apart.
pub type Output = (u16, u32);

/// A connection.
#[derive(Debug)]
pub struct Connection {
    pub stream: StreamId,
    pub phase: Phase,
    /// Whether the connection is in the list of those that have a packet for the guest.
    pub listed: bool,
    /// The guest is owed [`op::RESPONSE`].
    owes_response: bool,
    /// The guest has asked for [`op::CREDIT_UPDATE`].
    owes_credit: bool,
    /// The guest was asked for its credit, and has not said anything since.
    asked_credit: bool,
    /// All bytes that came from the guest, and those of them that the host has taken: now, and as the guest knows.
    received: u32,
    taken: u32,
    told: u32,
    /// All bytes that went to the guest.
    sent: u32,
    /// What the guest says of its buffer.
    guest_buffer: u32,
    guest_taken: u32,
    /// Bytes for the guest that wait in the stream.
    waiting: u32,
    /// What the host does no longer, and what the guest was told of that and does no longer: flags of [`shutdown`].
    host_shut: u32,
    told_shut: u32,
    guest_shut: u32,
}

impl Connection {
    /// A connection over `stream`.
    pub fn new(stream: StreamId, phase: Phase) -> Connection {
        Connection {
            stream,
            phase,
            listed: false,
            owes_response: false,
            owes_credit: false,
            asked_credit: false,
            received: 0,
            taken: 0,
            told: 0,
            sent: 0,
            guest_buffer: 0,
            guest_taken: 0,
            waiting: 0,
            host_shut: 0,
            told_shut: 0,
            guest_shut: 0,
        }
    }

    /// Follows what the host's end has done.
    pub fn look(&mut self, view: &View) -> Verdict {
        self.taken = view.taken;
        self.waiting = view.waiting;
        self.host_shut |= if view.ended { shutdown::SEND } else { 0 };
        self.host_shut |= if view.stopped || view.closed { shutdown::RECEIVE } else { 0 };
        if self.phase == Phase::GuestAsks && view.accepted {
            (self.phase, self.owes_response) = (Phase::Open, true);
        }
        match self.phase {
            Phase::Open => Verdict::Keep,
            // The guest has never heard of it.
            Phase::HostAsks { told: false } if view.closed => Verdict::Forget,
            _ if view.closed => Verdict::Reset,
            _ => Verdict::Keep,
        }
    }

    /// Notes what the guest says of its buffer, in any packet.
    pub fn credit(&mut self, buffer: u32, taken: u32) {
        if (self.guest_buffer, self.guest_taken) != (buffer, taken) {
            (self.guest_buffer, self.guest_taken, self.asked_credit) = (buffer, taken, false);
        }
    }

    /// The guest wants to know the host's credit.
    pub fn credit_wanted(&mut self) {
        self.owes_credit = true;
    }

    /// How many bytes the guest has room for. A guest whose numbers make no sense has none.
    fn room_of_guest(&self) -> u32 {
        self.guest_buffer.saturating_sub(self.sent.wrapping_sub(self.guest_taken))
    }

    /// Counts bytes from the guest; returns false where it must not send them.
    pub fn receive(&mut self, len: u32) -> bool {
        let pending = self.received.wrapping_sub(self.told);
        let may = self.phase == Phase::Open && self.guest_shut & shutdown::SEND == 0;
        if !may || len > BUFFER - pending.min(BUFFER) {
            return false;
        }
        self.received = self.received.wrapping_add(len);
        true
    }

    /// The guest shuts directions down; returns all that it has shut down.
    pub fn shut(&mut self, flags: u32) -> u32 {
        self.guest_shut |= flags & shutdown::BOTH;
        self.guest_shut
    }

    /// What the guest is told of the host's buffer, which it then knows: size, bytes taken.
    pub fn tell_credit(&mut self) -> (u32, u32) {
        (self.told, self.owes_credit) = (self.taken, false);
        (BUFFER, self.taken)
    }

    /// The next packet for the guest, if there is one; its data replaces what `data` contains, at most `room` bytes.
    pub fn output(&mut self, end: &GuestEnd, room: usize, data: &mut Vec<u8>) -> Option<Output> {
        data.clear();
        match self.phase {
            Phase::HostAsks { told: false } => {
                self.phase = Phase::HostAsks { told: true };
                return Some((op::REQUEST, 0));
            }
            Phase::Open => {}
            _ => return None,
        }
        if std::mem::take(&mut self.owes_response) {
            return Some((op::RESPONSE, 0));
        }
        self.output_data(end, room, data).or_else(|| self.output_shutdown()).or_else(|| self.output_credit())
    }

    /// Whether [`Connection::output`] has a packet, given a buffer with room for a byte of data.
    pub fn has_output(&self) -> bool {
        match self.phase {
            Phase::HostAsks { told } => !told,
            Phase::GuestAsks => false,
            Phase::Open => {
                let data = self.sends_data() && (self.room_of_guest() > 0 || !self.asked_credit);
                self.owes_response || data || self.shutdown_due() != 0 || self.credit_due()
            }
        }
    }

    /// Whether there are bytes for the guest, which wants them.
    fn sends_data(&self) -> bool {
        self.waiting > 0 && self.guest_shut & shutdown::RECEIVE == 0
    }

    fn output_data(&mut self, end: &GuestEnd, room: usize, data: &mut Vec<u8>) -> Option<Output> {
        if !self.sends_data() {
            return None;
        }
        let most = room.min(self.room_of_guest() as usize);
        if most == 0 {
            let asks = !std::mem::replace(&mut self.asked_credit, true);
            return asks.then_some((op::CREDIT_REQUEST, 0));
        }
        end.receive(self.stream, most, data);
        let len = data.len() as u32;
        self.sent = self.sent.wrapping_add(len);
        self.waiting = if len > 0 { self.waiting.saturating_sub(len) } else { 0 };
        (len > 0).then_some((op::RW, 0))
    }

    /// What the guest is to be told of the host's directions, if anything. The end of what the host sends comes behind the
    /// last of it.
    fn shutdown_due(&self) -> u32 {
        let shut = self.host_shut & if self.sends_data() { shutdown::RECEIVE } else { shutdown::BOTH };
        if shut & !self.told_shut == 0 { 0 } else { shut | self.told_shut }
    }

    fn output_shutdown(&mut self) -> Option<Output> {
        let due = self.shutdown_due();
        self.told_shut |= due;
        (due != 0).then_some((op::SHUTDOWN, due))
    }

    /// Credit is told by a packet of its own when half of the buffer is full as far as the guest knows.
    fn credit_due(&self) -> bool {
        let seems_full = self.received.wrapping_sub(self.told) > BUFFER / 2;
        self.owes_credit || (seems_full && self.taken != self.told)
    }

    fn output_credit(&mut self) -> Option<Output> {
        self.credit_due().then_some((op::CREDIT_UPDATE, 0))
    }
}
