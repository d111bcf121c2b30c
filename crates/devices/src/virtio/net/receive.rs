//! Frames for the guest: which are waiting, and how one gets into a queue's buffers.

use crate::virtio::Broken;
use crate::virtio::queue::{Chain, Queue, scatter, total};
use std::collections::VecDeque;
use trine_base::net_header as header;
use trine_memory::Ram;

/// The bytes of frames that wait for one pair; one frame more is taken below it.
const MOST_WAITING: usize = 256 << 10;

/// A frame behind its header.
pub type Frame = Vec<u8>;

/// Frames that were received while another queue was being served, or that wait for buffers.
#[derive(Default)]
pub struct Inbox {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Whether the first frame waits for buffers: serving the queue again, without new ones, does not help.
    pub starved: bool,
}

impl Inbox {
    /// Whether another frame may be put in.
    pub fn has_room(&self) -> bool {
        self.bytes < MOST_WAITING
    }

    /// Whether serving its queue would deliver something.
    pub fn is_ready(&self) -> bool {
        !self.frames.is_empty() && !self.starved
    }

    /// Adds a frame at the end.
    pub fn put(&mut self, frame: Frame) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Delivers frames while there are buffers; returns the number of buffers used, and of bytes.
    pub fn deliver(&mut self, queue: &mut Queue, ram: &Ram, merge: bool) -> Result<(usize, usize), Broken> {
        let (mut buffers, mut bytes) = (0, 0);
        self.starved = false;
        while let Some(frame) = self.frames.front_mut() {
            let used = match deliver(frame, queue, ram, merge)? {
                Delivery::Done(used) => used,
                Delivery::Dropped => 0,
                Delivery::NoBuffers => {
                    self.starved = true;
                    break;
                }
            };
            buffers += used;
            bytes += frame.len();
            self.bytes -= frame.len();
            self.frames.pop_front();
        }
        Ok((buffers, bytes))
    }
}

/// What became of a frame.
enum Delivery {
    /// It is in so many buffers.
    Done(usize),
    /// The driver's buffers are too small for it.
    Dropped,
    /// The driver has to offer more buffers.
    NoBuffers,
}

/// Writes one frame with its header into the queue's buffers: into one, or, where `merge` was negotiated, into as many
/// as it needs.
fn deliver(frame: &mut [u8], queue: &mut Queue, ram: &Ram, merge: bool) -> Result<Delivery, Broken> {
    let (mut chains, mut room): (Vec<Chain>, u64) = (Vec::new(), 0);
    let most = if merge { queue.size as usize } else { 1 };
    while room < frame.len() as u64 {
        let next = if chains.len() < most { queue.pop(ram)? } else { None };
        let Some(chain) = next else {
            let enough_were_there = chains.len() == most;
            queue.unpop(chains.len() as u16);
            return Ok(if enough_were_there { Delivery::Dropped } else { Delivery::NoBuffers });
        };
        room += total(&chain.writable);
        chains.push(chain);
    }
    let count = chains.len() as u16;
    frame[header::BUFFERS..header::LEN].copy_from_slice(&count.to_le_bytes());
    let (mut at, mut used) = (0, Vec::with_capacity(chains.len()));
    for chain in &chains {
        let n = scatter(ram, &chain.writable, 0, &frame[at..]);
        used.push((chain.head, n as u32));
        at += n;
    }
    queue.push_all(ram, &used)?;
    Ok(Delivery::Done(chains.len()))
}
