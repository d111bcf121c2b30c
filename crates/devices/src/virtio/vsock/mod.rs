//! Socket device (virtio 1.2, 5.10): connections between programs of the guest and processes of the host, without a network.
//!
//! [`packet`] is what a packet looks like, [`connection`] one connection with its credit, [`table`] all of them. The host's
//! processes are behind [`trine_base::vsock`]. Stream sockets only: `VIRTIO_VSOCK_F_SEQPACKET` is not offered. A connection
//! does not outlive a saved machine: after a load all are gone, and the guest is told so by an event.

mod connection;
mod packet;
mod table;

use super::queue::{Chain, Queue, Served, gather, scatter, total};
use super::{Broken, Virtio};
use packet::Header;
use serde::{Deserialize, Serialize};
use table::Table;
use trine_base::state::Versioned;
use trine_base::vsock::{BUFFER, GuestEnd};
use trine_base::{StateError, Waker, state, versions};
use trine_memory::Ram;

/// Feature: stream sockets.
const F_STREAM: u64 = 1 << 0;
/// The smallest context ID of a guest; those below are reserved (5.10.4).
pub const FIRST_CID: u32 = 3;
/// The largest context ID of a guest: the one above it means any.
pub const LAST_CID: u32 = u32::MAX - 1;

/// Queues: packets for the guest, packets from it, events.
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const EVENT: usize = 2;
const QUEUES: usize = 3;

/// `VIRTIO_VSOCK_EVENT_TRANSPORT_RESET`: all connections are gone, and the context ID may have changed (5.10.6.7).
const TRANSPORT_RESET: [u8; 4] = [0; 4];

/// The most packets in one turn of a queue, and the bytes after which it ends; the packet that reaches them is finished.
const TURN_PACKETS: usize = 256;
const TURN_BYTES: usize = 1 << 20;

/// The state that a guest has seen or set.
#[derive(Clone, Serialize, Deserialize)]
struct Registers {
    /// The guest's context ID.
    cid: u32,
}

versions!(Saved of "the socket device" { V1(Registers) });

/// The device.
pub struct Vsock {
    registers: Registers,
    table: Table,
    /// Whether the guest is to be told that its connections are gone: after each load, so it is not saved.
    announces_reset: bool,
    /// The guest was told, by a buffer of its event queue in which so many others were left, and has not given it a new one
    /// yet. Until then it may still end any connection that it has, without a word.
    unheard: Option<u16>,
    /// The device's own: packets from the guest are answered by another queue than theirs.
    waker: Waker,
    /// Whether packets of the guest wait until it has taken some answers.
    stalled: bool,
    /// Memory for the data of a packet.
    data: Vec<u8>,
}

impl Vsock {
    /// Creates a device for the guest `cid`, [`FIRST_CID`] to [`LAST_CID`]; others are replaced by the nearest of these.
    pub fn new(cid: u32, end: GuestEnd) -> Vsock {
        let cid = cid.clamp(FIRST_CID, LAST_CID);
        let waker = Waker::new();
        end.set_waker(waker.clone());
        Vsock {
            registers: Registers { cid },
            announces_reset: false,
            unheard: None,
            table: Table::new(cid.into(), end),
            waker,
            stalled: false,
            data: Vec::new(),
        }
    }

    /// What wakes the device, for the board to connect.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Puts packets into the guest's buffers.
    fn receive(&mut self, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        if self.announces_reset || self.unheard.is_some() {
            return Ok(Served::default());
        }
        let more = self.table.follow_host();
        let (mut used, mut bytes) = (false, 0);
        for _ in 0..TURN_PACKETS {
            if bytes >= TURN_BYTES || !self.table.has_output() {
                break;
            }
            let Some(chain) = queue.pop(ram)? else {
                return Ok(Served { used, more: more || self.unstalled() });
            };
            let room = (total(&chain.writable) as usize).saturating_sub(packet::LEN);
            let header = if room == 0 { None } else { self.table.output(room, &mut self.data) };
            let written = match header {
                Some(header) => self.write(ram, &chain, &header),
                // Not even a header and one byte fit into it.
                None if room == 0 => 0,
                None => {
                    queue.unpop(1);
                    break;
                }
            };
            queue.push(ram, &chain, written as u32)?;
            used = true;
            bytes += written;
        }
        Ok(Served { used, more: more || self.table.has_output() || self.unstalled() })
    }

    /// Writes a packet into a chain; returns its length.
    fn write(&self, ram: &Ram, chain: &Chain, header: &Header) -> usize {
        let head = scatter(ram, &chain.writable, 0, &header.encode());
        head + scatter(ram, &chain.writable, packet::LEN as u64, &self.data)
    }

    /// Whether packets that waited can be looked at now.
    fn unstalled(&mut self) -> bool {
        self.stalled && self.table.takes_input()
    }

    /// Takes packets from the guest.
    fn transmit(&mut self, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        let (mut used, mut bytes) = (false, 0);
        self.stalled = false;
        for _ in 0..TURN_PACKETS {
            if bytes >= TURN_BYTES {
                break;
            }
            if !self.table.takes_input() {
                self.stalled = true;
                break;
            }
            let Some(chain) = queue.pop(ram)? else { break };
            bytes += self.take(ram, &chain);
            queue.push(ram, &chain, 0)?;
            used = true;
        }
        if self.table.has_output() {
            self.waker.wake();
        }
        Ok(Served { used, more: !self.stalled && queue.waits(ram) })
    }

    /// Takes the packet in a chain; returns its length. What is too short for a header is dropped.
    fn take(&mut self, ram: &Ram, chain: &Chain) -> usize {
        let mut head = [0; packet::LEN];
        if gather(ram, &chain.readable, 0, &mut head) < packet::LEN {
            return 0;
        }
        let header = Header::decode(&head);
        let there = total(&chain.readable).saturating_sub(packet::LEN as u64);
        // More than the buffer of a connection is refused anyway.
        let len = u64::from(header.len).min(there).min(u64::from(BUFFER) + 1);
        self.data.resize(len as usize, 0);
        let read = gather(ram, &chain.readable, packet::LEN as u64, &mut self.data);
        self.data.truncate(read);
        self.table.input(&header, &self.data);
        packet::LEN + read
    }

    /// The number of buffers in a queue, which asks the driver to notify of the next one.
    fn left(queue: &mut Queue, ram: &Ram) -> Result<u16, Broken> {
        let mut left = 0;
        while queue.pop(ram)?.is_some() {
            left += 1;
        }
        if left > 0 {
            queue.unpop(left);
        }
        Ok(left)
    }

    /// Looks whether the guest has heard of a reset: its driver gives a buffer back when it has done what the event says.
    fn hear(&mut self, queue: &mut Queue, ram: &Ram) -> Result<(), Broken> {
        if let Some(before) = self.unheard
            && Self::left(queue, ram)? > before
        {
            self.unheard = None;
            // What waits for the guest is in another queue.
            self.waker.wake();
        }
        Ok(())
    }

    /// Tells the guest of a reset.
    fn announce(&mut self, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        self.hear(queue, ram)?;
        let mut used = false;
        while self.announces_reset
            && let Some(chain) = queue.pop(ram)?
        {
            let written = scatter(ram, &chain.writable, 0, &TRANSPORT_RESET);
            self.announces_reset = written < TRANSPORT_RESET.len();
            queue.push(ram, &chain, written as u32)?;
            used = true;
            if self.announces_reset {
                // The next turn tries the next buffer.
                return Ok(Served { used, more: queue.waits(ram) });
            }
            self.unheard = Some(Self::left(queue, ram)?);
        }
        Ok(Served { used, more: false })
    }
}

impl Virtio for Vsock {
    fn id(&self) -> u32 {
        19
    }

    fn name(&self) -> &str {
        "virtio-vsock"
    }

    fn features(&self) -> u64 {
        F_STREAM
    }

    fn queues(&self) -> usize {
        QUEUES
    }

    fn config(&self) -> Vec<u8> {
        u64::from(self.registers.cid).to_le_bytes().to_vec()
    }

    fn serve(&mut self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        match index {
            RECEIVE => self.receive(queue, ram),
            TRANSMIT => self.transmit(queue, ram),
            EVENT => self.announce(queue, ram),
            _ => Ok(Served::default()),
        }
    }

    fn reset(&mut self) {
        self.table.clear();
        (self.stalled, self.announces_reset, self.unheard) = (false, false, None);
    }

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(self.registers.clone()))
    }

    /// The host's processes are not those of the saved machine: all connections are reset, and the guest is told.
    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(registers) = state::load(state)?;
        let (was, is) = (registers.cid, self.registers.cid);
        if was != is {
            return Err(Saved::mismatch(format!("the guest's context ID was {was}, but here it is {is}")));
        }
        self.table.clear();
        self.stalled = false;
        (self.announces_reset, self.unheard) = (true, None);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
