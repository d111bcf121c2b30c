//! Network device (virtio 1.2, 5.1): frames between a guest and a [`NetBackend`], over one or more pairs of queues.
//!
//! [`receive`] is how frames get into the guest's buffers, [`flows`] which pair they go to. Filters for addresses
//! (`VIRTIO_NET_F_CTRL_RX`) and VLANs are not offered: the guest sees all frames.

mod flows;
mod receive;

use super::queue::{Chain, Progress, Queue, Served, gather, scatter, total};
use super::{Broken, Virtio};
use flows::Flows;
use receive::Inbox;
use serde::{Deserialize, Serialize};
use trine_base::net::MAX_FRAME;
use trine_base::net_header as header;
use trine_base::state::Versioned;
use trine_base::{NetBackend, Offloads, StateError, state, versions};
use trine_memory::Ram;

/// Feature bits (5.1.3).
mod feature {
    pub const CSUM: u64 = 1 << 0;
    pub const GUEST_CSUM: u64 = 1 << 1;
    pub const MTU: u64 = 1 << 3;
    pub const MAC: u64 = 1 << 5;
    pub const GUEST_TSO4: u64 = 1 << 7;
    pub const GUEST_TSO6: u64 = 1 << 8;
    pub const HOST_TSO4: u64 = 1 << 11;
    pub const HOST_TSO6: u64 = 1 << 12;
    pub const MRG_RXBUF: u64 = 1 << 15;
    pub const STATUS: u64 = 1 << 16;
    pub const CTRL_VQ: u64 = 1 << 17;
    pub const MQ: u64 = 1 << 22;
    pub const CTRL_MAC_ADDR: u64 = 1 << 23;
    /// Those that need nothing of the network.
    pub const ALWAYS: u64 =
        GUEST_CSUM | MTU | MAC | GUEST_TSO4 | GUEST_TSO6 | MRG_RXBUF | STATUS | CTRL_VQ | CTRL_MAC_ADDR;
}

/// Commands of the control queue: class and number (5.1.6.5).
mod control {
    pub const MAC_ADDR_SET: [u8; 2] = [1, 1];
    pub const PAIRS_SET: [u8; 2] = [4, 0];
    pub const OK: u8 = 0;
    pub const ERR: u8 = 1;
    /// Bytes of a command with the longest argument that is understood.
    pub const MOST: usize = 2 + 6;
}

/// The most pairs of queues.
pub const MOST_PAIRS: u16 = 8;
/// The most frames that are received in one turn, and the most bytes; a frame begun below it is finished.
const TURN_FRAMES: usize = 256;
const TURN_BYTES: usize = 1 << 20;
/// Bytes of the Ethernet header, without which nothing is a frame.
const ETHERNET: usize = 14;

/// The state that a guest can change.
#[derive(Clone, Serialize, Deserialize)]
struct Registers {
    mac: [u8; 6],
    /// The pairs of queues in use.
    pairs: u16,
    /// Whether the guest knows of a link.
    link: bool,
    /// What the guest was told about the network.
    mtu: u16,
}

versions!(Saved of "the network device" { V1(Registers) });

/// The device.
pub struct Net {
    backend: Box<dyn NetBackend>,
    mac: [u8; 6],
    most_pairs: u16,
    features: u64,
    registers: Registers,
    flows: Flows,
    inboxes: Vec<Inbox>,
    /// Memory for a frame that is sent or received.
    frame: Vec<u8>,
}

impl Net {
    /// Creates a device on the network `backend`, with the address `mac` and 1 to [`MOST_PAIRS`] pairs of queues.
    pub fn new(backend: Box<dyn NetBackend>, mac: [u8; 6], pairs: u16) -> Net {
        let registers = Registers { mac, pairs: 1, link: backend.is_up(), mtu: backend.mtu() };
        let most_pairs = pairs.clamp(1, MOST_PAIRS);
        let inboxes = (0..most_pairs).map(|_| Inbox::default()).collect();
        let (flows, frame) = (Flows::new(1), Vec::new());
        Net { backend, mac, most_pairs, features: 0, registers, flows, inboxes, frame }
    }

    fn has(&self, feature: u64) -> bool {
        self.features & feature != 0
    }

    /// What the driver may leave undone.
    fn guest_leaves(&self) -> Offloads {
        let has = |feature| self.has(feature);
        let (tcp4, tcp6) = (has(feature::HOST_TSO4), has(feature::HOST_TSO6));
        Offloads { checksum: has(feature::CSUM), tcp4, tcp6 }
    }

    /// What may be left undone for the driver.
    fn guest_accepts(&self) -> Offloads {
        let has = |feature| self.has(feature);
        let (tcp4, tcp6) = (has(feature::GUEST_TSO4), has(feature::GUEST_TSO6));
        Offloads { checksum: has(feature::GUEST_CSUM), tcp4, tcp6 }
    }

    /// The control queue is behind the pairs that there can be (5.1.2).
    fn control_queue(&self) -> usize {
        2 * if self.has(feature::MQ) { self.most_pairs as usize } else { 1 }
    }

    fn transmit(&mut self, pair: u16, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        queue.serve(ram, |chain, _, _| {
            let len = self.send(pair, chain, ram);
            Ok(Progress::Finished { moved: len as u64, written: 0 })
        })
    }

    /// Sends the frame of a chain; returns its length. What is not a frame, and what leaves undone more than was
    /// negotiated, is dropped.
    fn send(&mut self, pair: u16, chain: &Chain, ram: &Ram) -> usize {
        let mut head = [0; header::LEN];
        let len = total(&chain.readable).saturating_sub(header::LEN as u64);
        if !(ETHERNET as u64..=MAX_FRAME as u64).contains(&len) {
            return 0;
        }
        gather(ram, &chain.readable, 0, &mut head);
        self.frame.resize(len as usize, 0);
        gather(ram, &chain.readable, header::LEN as u64, &mut self.frame);
        if let Some(partial) = header::decode(&head, self.guest_leaves())
            && self.backend.is_up()
        {
            self.flows.sent(&self.frame, pair);
            self.backend.send(&self.frame, partial);
        }
        len as usize
    }

    /// Serves the receive queue of a pair: delivers what waits for it, then takes frames from the network.
    fn receive(&mut self, pair: usize, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        let merge = self.has(feature::MRG_RXBUF);
        let (mut used, mut bytes) = self.inboxes[pair].deliver(queue, ram, merge)?;
        let mut more = true;
        for _ in 0..TURN_FRAMES {
            // A frame that finds no room stays in the network, which slows its senders down.
            if bytes >= TURN_BYTES || !self.inboxes.iter().all(Inbox::has_room) {
                break;
            }
            let Some(to) = self.take_frame() else {
                more = false;
                break;
            };
            if to == pair && !self.inboxes[pair].starved {
                let (buffers, moved) = self.inboxes[pair].deliver(queue, ram, merge)?;
                used += buffers;
                bytes += moved;
            }
        }
        let room = self.inboxes.iter().all(Inbox::has_room);
        let ready = self.inboxes.iter().any(Inbox::is_ready);
        Ok(Served { used: used > 0, more: more && room || ready })
    }

    /// Takes a frame from the network and puts it into the inbox of its pair, which it returns; `None` where the network
    /// has none.
    fn take_frame(&mut self) -> Option<usize> {
        let partial = self.backend.receive(&mut self.frame)?;
        let to = self.flows.pair(&self.frame) as usize % self.inboxes.len();
        let head = header::encode(partial, self.guest_accepts());
        if let Some(head) = head.filter(|_| (ETHERNET..=MAX_FRAME).contains(&self.frame.len())) {
            self.inboxes[to].put([head.as_slice(), &self.frame].concat());
        }
        Some(to)
    }

    fn control(&mut self, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        queue.serve(ram, |chain, _, _| {
            let mut command = [0; control::MOST];
            let len = gather(ram, &chain.readable, 0, &mut command);
            let answer = if self.command(&command[..len]) { control::OK } else { control::ERR };
            let written = scatter(ram, &chain.writable, 0, &[answer]);
            Ok(Progress::Finished { moved: len as u64, written: written as u32 })
        })
    }

    /// Does a command; returns whether it was understood.
    fn command(&mut self, command: &[u8]) -> bool {
        let Some((&name, argument)) = command.split_first_chunk() else { return false };
        match (name, argument) {
            (control::MAC_ADDR_SET, &[a, b, c, d, e, f]) if self.has(feature::CTRL_MAC_ADDR) => {
                self.registers.mac = [a, b, c, d, e, f];
            }
            (control::PAIRS_SET, &[low, high, ..]) if self.has(feature::MQ) => {
                let pairs = u16::from_le_bytes([low, high]);
                if !(1..=self.most_pairs).contains(&pairs) {
                    return false;
                }
                self.use_pairs(pairs);
            }
            _ => return false,
        }
        true
    }

    fn use_pairs(&mut self, pairs: u16) {
        self.registers.pairs = pairs;
        self.flows = Flows::new(pairs);
        self.clear();
    }

    /// Loses what waits for the guest.
    fn clear(&mut self) {
        self.inboxes.iter_mut().for_each(|inbox| *inbox = Inbox::default());
    }
}

/// Whether a queue of a pair is the one in which the guest receives.
fn is_receive(index: usize) -> bool {
    index.is_multiple_of(2)
}

impl Virtio for Net {
    fn id(&self) -> u32 {
        1
    }

    fn name(&self) -> &str {
        "virtio-net"
    }

    fn features(&self) -> u64 {
        let takes = self.backend.takes();
        let offered = [
            (feature::CSUM, takes.checksum),
            (feature::HOST_TSO4, takes.checksum && takes.tcp4),
            (feature::HOST_TSO6, takes.checksum && takes.tcp6),
            (feature::MQ, self.most_pairs > 1),
        ];
        offered
            .iter()
            .filter(|(_, offered)| *offered)
            .fold(feature::ALWAYS, |all, (feature, _)| all | feature)
    }

    fn queues(&self) -> usize {
        2 * self.most_pairs as usize + 1
    }

    fn negotiated(&mut self, features: u64) {
        self.features = features;
        self.backend.set_gives(self.guest_accepts());
    }

    fn config(&self) -> Vec<u8> {
        let mut config = self.registers.mac.to_vec();
        for word in [self.registers.link as u16, self.most_pairs, self.registers.mtu] {
            config.extend(word.to_le_bytes());
        }
        config
    }

    fn config_changed(&mut self) -> bool {
        let link = self.backend.is_up();
        std::mem::replace(&mut self.registers.link, link) != link
    }

    fn serve(&mut self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        let pair = index / 2;
        if index == self.control_queue() {
            return self.control(queue, ram);
        }
        if pair >= self.registers.pairs as usize {
            return Ok(Served::default());
        }
        if is_receive(index) {
            self.receive(pair, queue, ram)
        } else {
            self.transmit(pair as u16, queue, ram)
        }
    }

    fn stopped(&mut self, index: usize) {
        if let Some(inbox) = self.inboxes.get_mut(index / 2).filter(|_| is_receive(index)) {
            *inbox = Inbox::default();
        }
    }

    fn reset(&mut self) {
        self.features = 0;
        self.registers.mac = self.mac;
        self.use_pairs(1);
        self.backend.set_gives(Offloads::default());
    }

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(self.registers.clone()))
    }

    /// Frames that waited are lost, as those in the network are.
    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(registers) = state::load(state)?;
        if !(1..=self.most_pairs).contains(&registers.pairs) {
            return Err(Saved::damaged(format!("it uses {} pairs of queues", registers.pairs)));
        }
        let (was, is) = (registers.mtu, self.backend.mtu());
        if was != is {
            return Err(Saved::mismatch(format!("packets had up to {was} bytes, but here {is}")));
        }
        self.use_pairs(registers.pairs);
        self.registers = registers;
        self.backend.reset();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
