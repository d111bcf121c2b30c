//! A driver for the tests of devices, which also does things that no driver should do.

use super::{Mmio, Virtio};
use std::sync::Arc;
use trine_base::{Action, Actions, Device, Random, StateError, Width};
use trine_memory::Ram;

/// Start of RAM.
pub const BASE: u64 = 0x8000_0000;
/// Bytes of RAM.
pub const SIZE: u64 = 16 << 20;
/// An address for buffers.
pub const DATA: u64 = BASE + 0x10_0000;
/// Number of descriptors of each queue.
pub const QUEUE: u16 = 8;

/// `VIRTQ_DESC_F_NEXT`, `VIRTQ_DESC_F_WRITE`, `VIRTQ_DESC_F_INDIRECT`.
pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

const IRQ: u32 = 1;

/// A source of bytes that are not random; it has no state.
struct Source<F>(F);

impl<F: FnMut(&mut [u8]) + Send> Random for Source<F> {
    fn fill(&mut self, bytes: &mut [u8]) {
        (self.0)(bytes);
    }
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }
    fn load(&mut self, _: &[u8]) -> Result<(), StateError> {
        Ok(())
    }
}

pub fn source(fill: impl FnMut(&mut [u8]) + Send + 'static) -> Box<dyn Random> {
    Box::new(Source(fill))
}

/// A device with its driver.
pub struct Driver {
    pub mmio: Mmio,
    pub ram: Arc<Ram>,
    /// The levels to which the device drove its line.
    pub line: Vec<bool>,
    /// When the device wants its timer.
    pub timer: Option<u64>,
    features: u64,
    offered: Vec<u16>,
}

impl Driver {
    /// Creates a device whose queues are set up and whose driver is ready.
    pub fn new(device: impl Virtio + 'static) -> Driver {
        Driver::with_features(device, 0)
    }

    /// Creates a device whose driver accepts these features, too.
    pub fn with_features(device: impl Virtio + 'static, features: u64) -> Driver {
        Driver::with_ram(Driver::ram(), device, features)
    }

    /// Memory for a driver.
    pub fn ram() -> Arc<Ram> {
        Arc::new(Ram::new(BASE, SIZE).unwrap())
    }

    /// Creates a device that knows its driver's memory.
    pub fn with_ram(ram: Arc<Ram>, device: impl Virtio + 'static, features: u64) -> Driver {
        let queues = device.queues();
        let mmio = Mmio::new(IRQ, ram.clone(), Box::new(device));
        let (line, offered) = (Vec::new(), vec![0; queues]);
        let mut driver = Driver { mmio, ram, line, timer: None, features, offered };
        driver.negotiate();
        (0..queues as u64).for_each(|queue| driver.set_up(queue));
        driver.write(0x70, 15);
        driver.line.clear();
        driver
    }

    pub fn negotiate(&mut self) {
        let [low, high] = [self.features & 0xffff_ffff, self.features >> 32 | 1];
        for (offset, value) in
            [(0x70, 0), (0x70, 3), (0x24, 0), (0x20, low), (0x24, 1), (0x20, high), (0x70, 11)]
        {
            self.write(offset, value);
        }
    }

    /// Clears the rings of a queue, as a driver does before it sets it up once more.
    pub fn start_rings_anew(&mut self, queue: usize) {
        let [_, available, used] = Self::rings(queue as u64);
        [available, used].iter().for_each(|&at| self.ram.write(at, &[0; 4]).unwrap());
        self.offered[queue] = 0;
    }

    /// Addresses of the descriptors, the available ring and the used ring of a queue.
    pub fn rings(queue: u64) -> [u64; 3] {
        [0, 0x1000, 0x2000].map(|offset| BASE + 0x4000 * queue + offset)
    }

    pub fn set_up(&mut self, queue: u64) {
        let [descriptors, available, used] = Self::rings(queue);
        let size = QUEUE as u64;
        let halves = |at: u64| [at & 0xffff_ffff, at >> 32];
        let [[d0, d1], [a0, a1], [u0, u1]] = [halves(descriptors), halves(available), halves(used)];
        let steps = [(0x30, queue), (0x38, size), (0x80, d0), (0x84, d1), (0x90, a0), (0x94, a1), (0xa0, u0)];
        steps.into_iter().chain([(0xa4, u1), (0x44, 1)]).for_each(|(offset, v)| self.write(offset, v));
    }

    fn note(&mut self, mut out: Actions) {
        for action in out.drain() {
            match action {
                Action::Irq { line: IRQ, level } => self.line.push(level),
                Action::Timer { at } => self.timer = at,
                other => panic!("{other:?}"),
            }
        }
    }

    pub fn read(&mut self, offset: u64) -> u64 {
        let mut out = Actions::new();
        let value = self.mmio.read(offset, Width::B4, 0, &mut out);
        self.note(out);
        value
    }

    pub fn write(&mut self, offset: u64, value: u64) {
        let mut out = Actions::new();
        self.mmio.write(offset, Width::B4, value, 0, &mut out);
        self.note(out);
    }

    /// Calls the device's timer; returns false where the device wants none.
    pub fn turn(&mut self) -> bool {
        let Some(at) = self.timer.take() else { return false };
        let mut out = Actions::new();
        self.mmio.timer(at, &mut out);
        self.note(out);
        true
    }

    /// Wakes the device, as its backend does.
    pub fn wake(&mut self) {
        let mut out = Actions::new();
        self.mmio.timer(0, &mut out);
        self.note(out);
    }

    /// Pauses the device.
    pub fn quiesce(&mut self) {
        let mut out = Actions::new();
        self.mmio.quiesce(&mut out);
        self.note(out);
    }

    /// Writes a descriptor at an index of a table.
    pub fn describe(&self, table: u64, index: u16, (address, len): (u64, u32), flags: u16, next: u16) {
        let at = table + 16 * index as u64;
        let rest = len as u64 | (flags as u64) << 32 | (next as u64) << 48;
        self.ram.store(at, Width::B8, address).unwrap();
        self.ram.store(at + 8, Width::B8, rest).unwrap();
    }

    /// Makes the chain at `head` available `times` times, without a notification.
    pub fn offer(&mut self, queue: usize, head: u16, times: u16) {
        let [_, available, _] = Self::rings(queue as u64);
        for _ in 0..times {
            let at = available + 4 + 2 * (self.offered[queue] % QUEUE) as u64;
            self.ram.store(at, Width::B2, head as u64).unwrap();
            self.offered[queue] = self.offered[queue].wrapping_add(1);
        }
        self.ram.store(available + 2, Width::B2, self.offered[queue] as u64).unwrap();
    }

    pub fn notify(&mut self, queue: u64) {
        self.write(0x50, queue);
    }

    /// Makes one chain of buffers available, first those that the device reads, then those that it writes,
    /// and notifies.
    pub fn request(&mut self, queue: usize, readable: &[(u64, u32)], writable: &[(u64, u32)]) {
        let [table, ..] = Self::rings(queue as u64);
        let count = readable.len() + writable.len();
        for (i, &buffer) in readable.iter().chain(writable).enumerate() {
            let next = if i + 1 < count { NEXT } else { 0 };
            let write = if i >= readable.len() { WRITE } else { 0 };
            self.describe(table, i as u16, buffer, next | write, i as u16 + 1);
        }
        self.offer(queue, 0, 1);
        self.notify(queue as u64);
    }

    /// Number of chains that the device gave back, modulo 2¹⁶.
    pub fn used(&self, queue: usize) -> u16 {
        let [.., used] = Self::rings(queue as u64);
        self.ram.load(used + 2, Width::B2).unwrap() as u16
    }

    /// The chain returned last: its head, and the number of valid bytes.
    pub fn last_used(&self, queue: usize) -> (u32, u32) {
        let [.., used] = Self::rings(queue as u64);
        let at = used + 4 + 8 * (self.used(queue).wrapping_sub(1) % QUEUE) as u64;
        let [id, len] = [at, at + 4].map(|at| self.ram.load(at, Width::B4).unwrap() as u32);
        (id, len)
    }

    pub fn bytes(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.ram.read(at, &mut bytes).unwrap();
        bytes
    }

    /// Whether the device stopped because of its rings.
    pub fn needs_reset(&mut self) -> bool {
        self.read(0x70) & 64 != 0
    }
}
