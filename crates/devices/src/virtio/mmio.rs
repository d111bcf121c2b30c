//! The MMIO transport, version 2 (virtio 1.2, 4.2).

use super::queue::{MAX_SIZE, Queue};
use super::{Broken, Virtio};
use std::sync::Arc;
use trine_base::{Actions, Device, Width};
use trine_memory::Ram;

const MAGIC: u64 = 0x7472_6976;
const VENDOR: u64 = 0x4e52_5454; // "TTRN"
/// `VIRTIO_F_VERSION_1`.
const VERSION_1: u64 = 1 << 32;

/// Device status bits (virtio 1.2, 2.1).
mod status {
    pub const DRIVER_OK: u32 = 4;
    pub const FEATURES_OK: u32 = 8;
    pub const NEEDS_RESET: u32 = 64;
}
/// Interrupt status: a buffer was used, the configuration changed.
const USED: u32 = 1;
const CONFIG: u32 = 2;

/// A virtio device behind MMIO registers.
pub struct Mmio {
    irq: u32,
    ram: Arc<Ram>,
    device: Box<dyn Virtio>,
    queues: Vec<Queue>,
    select: usize,
    status: u32,
    interrupt: u32,
    driver_features: u64,
    feature_word: [u32; 2],
}

impl Mmio {
    /// `device` on interrupt line `irq`, its rings in `ram`.
    pub fn new(irq: u32, ram: Arc<Ram>, device: Box<dyn Virtio>) -> Mmio {
        let queues = vec![Queue::default(); device.queues()];
        Mmio {
            irq,
            ram,
            device,
            queues,
            select: 0,
            status: 0,
            interrupt: 0,
            driver_features: 0,
            feature_word: [0; 2],
        }
    }

    fn offered(&self) -> u64 {
        self.device.features() | VERSION_1
    }

    fn queue(&mut self) -> Option<&mut Queue> {
        self.queues.get_mut(self.select)
    }

    fn serve(&mut self, index: usize, out: &mut Actions) {
        if self.status & status::DRIVER_OK == 0 || self.status & status::NEEDS_RESET != 0 {
            return;
        }
        let Some(queue) = self.queues.get_mut(index) else { return };
        match self.device.serve(index, queue, &self.ram) {
            Ok(true) if queue.wants_interrupt(&self.ram) => self.interrupt |= USED,
            Ok(_) => {}
            Err(Broken) => {
                self.status |= status::NEEDS_RESET;
                self.interrupt |= CONFIG;
            }
        }
        out.irq(self.irq, self.interrupt != 0);
    }

    fn set_status(&mut self, value: u32, out: &mut Actions) {
        if value == 0 {
            return self.reset(out);
        }
        let mut new = value & 0xff | self.status & status::NEEDS_RESET;
        let understood = self.driver_features & !self.offered() == 0 && self.driver_features & VERSION_1 != 0;
        if new & status::FEATURES_OK != 0 && self.status & status::FEATURES_OK == 0 && !understood {
            new &= !status::FEATURES_OK;
        }
        self.status = new;
    }

    fn config(&self, offset: u64, width: Width) -> u64 {
        let config = self.device.config();
        let byte = |i: u64| config.get((offset + i) as usize).copied().unwrap_or(0) as u64;
        (0..width.bytes()).fold(0, |v, i| v | byte(i) << (8 * i))
    }
}

/// Replaces the low (`high` false) or high half of a 64-bit address.
fn set_half(address: &mut u64, high: bool, value: u64) {
    let shift = if high { 32 } else { 0 };
    *address = *address & !(0xffff_ffff << shift) | (value & 0xffff_ffff) << shift;
}

impl Device for Mmio {
    fn name(&self) -> &str {
        self.device.name()
    }

    fn read(&mut self, offset: u64, width: Width, _now: u64, _out: &mut Actions) -> u64 {
        if offset >= 0x100 {
            return self.config(offset - 0x100, width);
        }
        match offset {
            0x000 => MAGIC,
            0x004 => 2,
            0x008 => self.device.id() as u64,
            0x00c => VENDOR,
            0x010 if self.feature_word[0] < 2 => self.offered() >> (32 * self.feature_word[0]) & 0xffff_ffff,
            0x034 if self.select < self.queues.len() => MAX_SIZE as u64,
            0x044 => self.queue().map_or(0, |q| q.ready as u64),
            0x060 => self.interrupt as u64,
            0x070 => self.status as u64,
            // No shared memory regions: length and base are all ones (4.2.2).
            0x0b0..=0x0bc => 0xffff_ffff,
            _ => 0,
        }
    }

    fn write(&mut self, offset: u64, _width: Width, value: u64, _now: u64, out: &mut Actions) {
        let locked = self.status & status::FEATURES_OK != 0;
        match offset {
            0x014 => self.feature_word[0] = value as u32,
            0x024 => self.feature_word[1] = value as u32,
            0x020 if !locked && self.feature_word[1] < 2 => {
                set_half(&mut self.driver_features, self.feature_word[1] == 1, value);
            }
            0x030 => self.select = value as usize,
            0x038 => {
                let size = if (1..=MAX_SIZE as u64).contains(&value) { value as u16 } else { 0 };
                if let Some(q) = self.queue().filter(|q| !q.ready) {
                    q.size = size;
                }
            }
            0x044 => {
                if let Some(q) = self.queue() {
                    match value & 1 {
                        0 => *q = Queue::default(),
                        _ => q.ready = true,
                    }
                }
            }
            0x050 => self.serve(value as usize, out),
            0x064 => {
                self.interrupt &= !(value as u32);
                out.irq(self.irq, self.interrupt != 0);
            }
            0x070 => self.set_status(value as u32, out),
            0x080..=0x0a4 => {
                let Some(q) = self.queue().filter(|q| !q.ready) else { return };
                match offset {
                    0x080 | 0x084 => set_half(&mut q.descriptors, offset & 4 != 0, value),
                    0x090 | 0x094 => set_half(&mut q.available, offset & 4 != 0, value),
                    0x0a0 | 0x0a4 => set_half(&mut q.used, offset & 4 != 0, value),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// Input came from outside.
    fn timer(&mut self, _now: u64, out: &mut Actions) {
        (0..self.queues.len()).for_each(|i| self.serve(i, out));
    }

    fn reset(&mut self, out: &mut Actions) {
        self.device.reset();
        self.queues.fill(Queue::default());
        (self.status, self.interrupt, self.driver_features, self.select) = (0, 0, 0, 0);
        self.feature_word = [0; 2];
        out.irq(self.irq, false);
    }
}
