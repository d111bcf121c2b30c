//! Block device (virtio 1.2, 5.2).
//!
//! * `request`: what a request asks for and how it is done; [`counters`]: statistics.

pub mod counters;
mod request;

#[cfg(test)]
mod tests;

pub use counters::Counters;

use super::queue::{MAX_SIZE, Progress, Queue, Served, scatter, total};
use super::requests::{Handler, RequestQueues};
use super::{Broken, Chain, Virtio};
use request::{MOST_RANGES, MOST_SECTORS, S_IOERR, Target, Work};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use trine_base::block::SECTOR;
use trine_base::state::Versioned;
use trine_base::{BlockBackend, StateError, Waker, Workers, state, versions};
use trine_memory::Ram;

/// Features: fields of the configuration are valid, or requests are understood (5.2.3).
mod feature {
    pub const SEG_MAX: u64 = 1 << 2;
    pub const RO: u64 = 1 << 5;
    pub const BLK_SIZE: u64 = 1 << 6;
    pub const FLUSH: u64 = 1 << 9;
    pub const TOPOLOGY: u64 = 1 << 10;
    pub const MQ: u64 = 1 << 12;
    pub const DISCARD: u64 = 1 << 13;
    pub const WRITE_ZEROES: u64 = 1 << 14;
}

/// The largest number of buffers of a request's data: a chain in a queue of the largest size has two more,
/// for header and status. A driver that is not told makes requests of one buffer.
const SEG_MAX: u32 = MAX_SIZE as u32 - 2;
/// The most queues of a disk.
pub const MOST_QUEUES: usize = 8;

/// The first version of the saved state: what a driver has read about the disk, which must still be true. An
/// unfinished request is in the queue's state.
#[derive(Serialize, Deserialize)]
struct V1 {
    /// Bytes of the disk.
    size: u64,
    read_only: bool,
}

versions!(Saved of "the block device" { V1(V1) });

/// The device.
pub struct Block {
    requests: RequestQueues<Target>,
}

impl Block {
    /// Creates a device for `disk`, with one queue, which does requests at once; the guest sees the first 20 bytes of
    /// `id` as its serial number.
    pub fn new(disk: Arc<dyn BlockBackend>, id: &str) -> Block {
        let mut bytes = [0; 20];
        id.bytes().zip(&mut bytes).for_each(|(b, to)| *to = b);
        let target =
            Target { disk, id: bytes, write_through: AtomicBool::new(true), counters: Arc::default() };
        Block { requests: RequestQueues::new(target, 1) }
    }

    /// Has requests done by other threads; `ram` is where the guest's buffers are. The device must be woken by its
    /// [`Block::waker`].
    pub fn with_workers(mut self, workers: Arc<Workers>, ram: Arc<Ram>) -> Block {
        self.requests.set_workers(workers, ram);
        self
    }

    /// Gives it so many queues, 1 to [`MOST_QUEUES`].
    pub fn with_queues(mut self, queues: usize) -> Block {
        self.requests.set_count(queues.clamp(1, MOST_QUEUES));
        self
    }

    /// What wakes the device when a request is finished: to be connected to the bus.
    pub fn waker(&self) -> Waker {
        self.requests.waker.clone()
    }

    /// What it has done so far.
    pub fn counters(&self) -> Arc<Counters> {
        self.target().counters.clone()
    }

    fn target(&self) -> &Target {
        &self.requests.handler
    }
}

impl Handler for Target {
    type Work = Work;
    /// The status, and the bytes that were written for the driver besides.
    type Outcome = (u8, u32);

    /// A read or write of a whole disk is a single request, and other devices and the user want their turn, too. The
    /// header is read again each time and is checked again, because the guest may have changed it.
    fn turn(&self, ram: &Ram, chain: &Chain, done: u64, most: u64) -> Result<Progress, Broken> {
        let work = Work::parse(ram, chain, &*self.disk);
        let result = work.perform(self, ram, chain, (done, most), &AtomicBool::new(false));
        match result {
            Ok(moved) if done.saturating_add(moved) < work.len() => return Ok(Progress::Moved(moved)),
            _ => {}
        }
        let moved = *result.as_ref().unwrap_or(&0);
        let outcome = work.outcome(self, chain, result);
        Ok(Progress::Finished { moved, written: self.end(ram, chain, &outcome)? })
    }

    /// Without room for the status nobody would learn how it went.
    fn accept(&self, ram: &Ram, chain: &Chain) -> Result<Work, Broken> {
        match total(&chain.writable) {
            0 => Err(Broken),
            _ => Ok(Work::parse(ram, chain, &*self.disk)),
        }
    }

    fn perform(&self, ram: &Ram, chain: &Chain, work: &Work, stop: &AtomicBool) -> Option<(u8, u32)> {
        match work.perform(self, ram, chain, (0, u64::MAX), stop) {
            Ok(moved) if moved < work.len() => None,
            result => Some(work.outcome(self, chain, result)),
        }
    }

    fn failed(&self) -> (u8, u32) {
        (S_IOERR, 0)
    }

    /// Stores the status.
    fn end(&self, ram: &Ram, chain: &Chain, (status, written): &(u8, u32)) -> Result<u32, Broken> {
        let at = total(&chain.writable).checked_sub(1).ok_or(Broken)?;
        scatter(ram, &chain.writable, at, &[*status]);
        Ok(written.saturating_add(1))
    }
}

impl Virtio for Block {
    fn id(&self) -> u32 {
        2
    }

    fn name(&self) -> &str {
        "virtio-block"
    }

    fn features(&self) -> u64 {
        use feature::*;
        let changes = if self.target().disk.read_only() { RO } else { DISCARD | WRITE_ZEROES };
        let queues = if self.requests.count() > 1 { MQ } else { 0 };
        SEG_MAX | BLK_SIZE | FLUSH | TOPOLOGY | changes | queues
    }

    fn negotiated(&mut self, features: u64) {
        self.target().write_through.store(features & feature::FLUSH == 0, Ordering::Relaxed);
    }

    fn queues(&self) -> usize {
        self.requests.count()
    }

    fn config(&self) -> Vec<u8> {
        let (disk, mut config) = (&self.target().disk, vec![0; 60]);
        let sizes = disk.block_sizes();
        let sectors = |bytes: u32| bytes / SECTOR as u32;
        let mut put = |at: usize, bytes: &[u8]| config[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &(disk.size() / SECTOR).to_le_bytes());
        put(12, &SEG_MAX.to_le_bytes());
        put(20, &(SECTOR as u32).to_le_bytes());
        // Topology: log2 of sectors of a physical block, the smallest and the best size of requests in sectors.
        put(24, &[sectors(sizes.physical).max(1).ilog2() as u8]);
        put(26, &(sectors(sizes.physical) as u16).to_le_bytes());
        put(34, &(self.requests.count() as u16).to_le_bytes());
        let most = [MOST_SECTORS, MOST_RANGES, sectors(sizes.discard).max(1), MOST_SECTORS, MOST_RANGES];
        (36..).step_by(4).zip(most).for_each(|(at, value)| put(at, &value.to_le_bytes()));
        put(56, &[1]);
        config
    }

    fn serve(&mut self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        self.requests.serve(index, queue, ram)
    }

    fn quiesce(&mut self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<bool, Broken> {
        self.requests.quiesce(index, queue, ram)
    }

    fn stopped(&mut self, index: usize) {
        self.requests.forget(index);
    }

    fn reset(&mut self) {
        self.requests.forget_all();
        self.target().write_through.store(true, Ordering::Relaxed);
    }

    fn save(&self) -> Vec<u8> {
        let disk = &self.target().disk;
        state::save(&Saved::V1(V1 { size: disk.size(), read_only: disk.read_only() }))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(V1 { size, read_only }) = state::load(state)?;
        let (here, fixed) = (self.target().disk.size(), self.target().disk.read_only());
        if size != here {
            return Err(Saved::mismatch(format!("the disk had {size} bytes, but this one has {here}")));
        }
        if read_only != fixed {
            let what = |fixed| if fixed { "read-only" } else { "writable" };
            let (was, is) = (what(read_only), what(fixed));
            return Err(Saved::mismatch(format!("the disk was {was}, but this one is {is}")));
        }
        self.requests.forget_all();
        Ok(())
    }
}
