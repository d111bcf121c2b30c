//! The MMIO transport, version 2 (virtio 1.2, 4.2). The legacy interface, version 1, which QEMU's board
//! offers by default, is not implemented.

use super::queue::{MAX_SIZE, Queue, QueueV1};
use super::{Broken, Served, Virtio};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use trine_base::state::Versioned;
use trine_base::{Action, Actions, Device, StateError, Width, state, versions};
use trine_memory::Ram;

const MAGIC: u64 = 0x7472_6976;
const VERSION: u64 = 2;
/// The vendor ID "TTRN", which is not registered. Drivers do no more than show it.
const VENDOR: u64 = 0x4e52_5454;
/// Nanoseconds between two turns of serving a queue: see [`Served::more`].
const REST: u64 = 100_000;
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
    registers: Registers,
}

/// The state that a guest can change.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Registers {
    queues: Vec<Queue>,
    select: u64,
    status: u32,
    interrupt: u32,
    driver_features: u64,
    feature_word: [u32; 2],
    /// Counts the changes of the device's configuration.
    generation: u32,
}

/// The registers in the first version of the saved state.
#[derive(Serialize, Deserialize)]
struct RegistersV1 {
    queues: Vec<QueueV1>,
    select: u64,
    status: u32,
    interrupt: u32,
    driver_features: u64,
    feature_word: [u32; 2],
}

impl From<RegistersV1> for Registers {
    fn from(old: RegistersV1) -> Registers {
        let RegistersV1 { queues, select, status, interrupt, driver_features, feature_word } = old;
        let queues = queues.into_iter().map(Queue::from).collect();
        Registers { queues, select, status, interrupt, driver_features, feature_word, generation: 0 }
    }
}

/// The saved state.
#[derive(Serialize, Deserialize)]
struct State<R> {
    /// The device ID.
    id: u32,
    registers: R,
    /// The state of the kind of device.
    device: Vec<u8>,
}

versions!(Saved of "a virtio device" { V1(State<RegistersV1>), V2(State<Registers>) });
versions!(SavedSlot of "an empty virtio slot" { V1(()) });

impl Mmio {
    /// Creates the transport of `device` on interrupt line `irq`, with its rings in `ram`.
    pub fn new(irq: u32, ram: Arc<Ram>, device: Box<dyn Virtio>) -> Mmio {
        let registers = Registers { queues: vec![Queue::default(); device.queues()], ..Registers::default() };
        Mmio { irq, ram, device, registers }
    }

    fn offered(&self) -> u64 {
        self.device.features() | VERSION_1
    }

    fn queue(&mut self) -> Option<&mut Queue> {
        self.registers.queues.get_mut(self.registers.select as usize)
    }

    /// Serves a queue for one turn. Where there is more to do, the device's timer starts the next turn.
    fn serve(&mut self, index: usize, now: u64, out: &mut Actions) {
        if self.registers.status & status::DRIVER_OK == 0 || self.registers.status & status::NEEDS_RESET != 0
        {
            return;
        }
        let Some(queue) = self.registers.queues.get_mut(index) else { return };
        match self.device.serve(index, queue, &self.ram) {
            Ok(Served { used, more }) => {
                if more {
                    out.push(Action::Timer { at: Some(now.saturating_add(REST)) });
                }
                if !used || !queue.wants_interrupt(&self.ram) {
                    return;
                }
                self.registers.interrupt |= USED;
            }
            Err(Broken) => {
                self.registers.status |= status::NEEDS_RESET;
                self.registers.interrupt |= CONFIG;
            }
        }
        out.irq(self.irq, true);
    }

    fn set_status(&mut self, value: u32, out: &mut Actions) {
        if value == 0 {
            return self.reset(out);
        }
        let mut new = value & 0xff | self.registers.status & status::NEEDS_RESET;
        let understood = self.registers.driver_features & !self.offered() == 0
            && self.registers.driver_features & VERSION_1 != 0;
        if new & status::FEATURES_OK != 0 && self.registers.status & status::FEATURES_OK == 0 && !understood {
            new &= !status::FEATURES_OK;
        }
        self.registers.status = new;
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
            0x004 => VERSION,
            0x008 => self.device.id() as u64,
            0x00c => VENDOR,
            0x010 if self.registers.feature_word[0] < 2 => {
                self.offered() >> (32 * self.registers.feature_word[0]) & 0xffff_ffff
            }
            0x034 if self.registers.select < self.registers.queues.len() as u64 => MAX_SIZE as u64,
            0x044 => self.queue().map_or(0, |q| q.ready as u64),
            0x060 => self.registers.interrupt as u64,
            0x070 => self.registers.status as u64,
            0x0fc => self.registers.generation as u64,
            // No shared memory regions: length and base are all ones (4.2.2).
            0x0b0..=0x0bc => 0xffff_ffff,
            _ => 0,
        }
    }

    fn write(&mut self, offset: u64, _width: Width, value: u64, now: u64, out: &mut Actions) {
        let locked = self.registers.status & status::FEATURES_OK != 0;
        match offset {
            0x014 => self.registers.feature_word[0] = value as u32,
            0x024 => self.registers.feature_word[1] = value as u32,
            0x020 if !locked && self.registers.feature_word[1] < 2 => {
                set_half(&mut self.registers.driver_features, self.registers.feature_word[1] == 1, value);
            }
            0x030 => self.registers.select = value,
            0x038 => {
                let size = if (1..=MAX_SIZE as u64).contains(&value) { value as u16 } else { 0 };
                if let Some(q) = self.queue().filter(|q| !q.ready) {
                    q.size = size;
                }
            }
            0x044 => {
                let index = self.registers.select as usize;
                let Some(q) = self.queue() else { return };
                match value & 1 {
                    0 => {
                        q.stop();
                        self.device.stopped(index);
                    }
                    _ => q.ready = true,
                }
            }
            0x050 => self.serve(value as usize, now, out),
            0x064 => {
                self.registers.interrupt &= !(value as u32);
                out.irq(self.irq, self.registers.interrupt != 0);
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

    /// Called when input came from outside, or when a queue has more to do.
    fn timer(&mut self, now: u64, out: &mut Actions) {
        (0..self.registers.queues.len()).for_each(|i| self.serve(i, now, out));
    }

    fn reset(&mut self, out: &mut Actions) {
        self.device.reset();
        let queues = vec![Queue::default(); self.device.queues()];
        self.registers = Registers { queues, ..Registers::default() };
        out.push(Action::Timer { at: None });
        out.irq(self.irq, false);
    }

    fn save(&self) -> Vec<u8> {
        let (id, device) = (self.device.id(), self.device.save());
        state::save(&Saved::V2(State { id, registers: self.registers.clone(), device }))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let (id, mut registers, device) = match state::load(state)? {
            Saved::V1(State { id, registers, device }) => (id, registers.into(), device),
            Saved::V2(State { id, registers, device }) => (id, registers, device),
        };
        let queues = self.registers.queues.len();
        if id != self.device.id() {
            return Err(Saved::mismatch(format!(
                "it belongs to a device of ID {id}, not {}",
                self.device.id()
            )));
        }
        if registers.queues.len() != queues {
            return Err(Saved::damaged(format!("it has {} queues, not {queues}", registers.queues.len())));
        }
        registers.queues.iter().try_for_each(Queue::check).map_err(Saved::damaged)?;
        if registers.status & status::FEATURES_OK != 0 && registers.driver_features & !self.offered() != 0 {
            return Err(Saved::mismatch("its driver uses features that this device does not offer"));
        }
        self.device.load(&device)?;
        registers.queues.iter_mut().for_each(Queue::take_again);
        self.registers = registers;
        Ok(())
    }
}

/// An empty slot: device ID 0 tells a driver that there is no device (virtio 1.2, 4.2.2).
pub struct EmptySlot;

impl Device for EmptySlot {
    fn name(&self) -> &str {
        "virtio-empty"
    }

    fn read(&mut self, offset: u64, _width: Width, _now: u64, _out: &mut Actions) -> u64 {
        match offset {
            0x000 => MAGIC,
            0x004 => VERSION,
            0x00c => VENDOR,
            _ => 0,
        }
    }

    fn write(&mut self, _offset: u64, _width: Width, _value: u64, _now: u64, _out: &mut Actions) {}

    fn reset(&mut self, _out: &mut Actions) {}

    fn save(&self) -> Vec<u8> {
        state::save(&SavedSlot::V1(()))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let SavedSlot::V1(()) = state::load(state)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::rng::Rng;
    use crate::virtio::tests::{DATA, Driver, source};

    fn rng() -> Rng {
        Rng::new(source(|bytes| bytes.fill(7)))
    }

    #[test]
    fn what_a_driver_probes() {
        let mut d = Driver::new(rng());
        assert_eq!([0, 4, 8, 0xc].map(|o| d.read(o)), [0x7472_6976, 2, 4, VENDOR]);
        d.write(0x14, 1);
        assert_eq!(d.read(0x10), 1, "VIRTIO_F_VERSION_1");
        d.write(0x14, 2);
        assert_eq!(d.read(0x10), 0);
        d.write(0x30, 0);
        assert_eq!(d.read(0x34), MAX_SIZE as u64);
        d.write(0x30, 1);
        assert_eq!((d.read(0x34), d.read(0x44)), (0, 0), "there is no second queue");
        assert_eq!((d.read(0xb0), d.read(0x100), d.read(0xfff)), (0xffff_ffff, 0, 0));
    }

    #[test]
    fn features_must_be_understood() {
        let mut d = Driver::new(rng());
        for (high, low) in [(0, 0), (3, 0), (1, 1)] {
            for (offset, value) in [(0x70, 0), (0x70, 3), (0x24, 1), (0x20, high), (0x24, 0), (0x20, low)] {
                d.write(offset, value);
            }
            d.write(0x70, 11);
            assert_eq!(d.read(0x70), 3, "{high:#x} {low:#x}");
        }
        d.negotiate();
        assert_eq!(d.read(0x70), 11);
    }

    #[test]
    fn a_queue_that_is_not_ready_keeps_size_and_addresses() {
        let mut d = Driver::new(rng());
        d.request(0, &[], &[(DATA, 4)]);
        // The order of some drivers: the size, "not ready", the addresses. Here they stay as they were.
        d.write(0x30, 0);
        d.write(0x44, 0);
        assert_eq!(d.read(0x44), 0);
        d.notify(0);
        let [_, available, used] = Driver::rings(0);
        d.ram.write(available, &[0; 4]).unwrap();
        d.ram.write(used, &[0; 4]).unwrap();
        d.ram.write(DATA, &[0; 4]).unwrap();
        d.write(0x44, 1);
        // It begins anew, with index 0.
        d.ram.write(available + 2, &[1]).unwrap();
        d.notify(0);
        assert_eq!((d.used(0), d.bytes(DATA, 4)), (1, vec![7; 4]));
    }

    #[test]
    fn sizes_and_addresses_are_fixed_while_a_queue_is_ready() {
        let mut d = Driver::new(rng());
        d.write(0x30, 0);
        d.write(0x38, 1);
        d.write(0x80, 0);
        d.request(0, &[], &[(DATA, 4)]);
        d.request(0, &[], &[(DATA, 4)]);
        assert_eq!(d.used(0), 2);
        d.write(0x44, 0);
        for size in [0, MAX_SIZE as u64 + 1, u32::MAX as u64] {
            d.write(0x38, size);
            d.write(0x44, 1);
            d.notify(0);
            d.write(0x44, 0);
        }
        assert_eq!(d.used(0), 2, "a queue of an impossible size has nothing");
    }

    #[test]
    fn interrupts_are_raised_acknowledged_and_suppressed() {
        let mut d = Driver::new(rng());
        d.request(0, &[], &[(DATA, 4)]);
        assert_eq!((d.read(0x60), d.line.as_slice()), (1, [true].as_slice()));
        d.notify(0);
        assert_eq!(d.line, [true], "nothing was used: no event");
        d.write(0x64, 1);
        assert_eq!((d.read(0x60), d.line.as_slice()), (0, [true, false].as_slice()));
        d.ram.write(Driver::rings(0)[1], &[1]).unwrap();
        d.request(0, &[], &[(DATA, 4)]);
        assert_eq!((d.read(0x60), d.line.len(), d.used(0)), (0, 2, 2), "the driver wanted none");
    }

    #[test]
    fn nothing_is_served_before_the_driver_is_ready_or_after_a_break() {
        let mut d = Driver::new(rng());
        d.write(0x70, 0);
        d.negotiate();
        d.set_up(0);
        d.request(0, &[], &[(DATA, 4)]);
        assert_eq!(d.used(0), 0);
        d.write(0x70, 15);
        d.notify(0);
        assert_eq!(d.used(0), 1);
        d.request(0, &[], &[(0, 4)]);
        assert!(d.needs_reset());
        assert_eq!(d.read(0x60) & 2, 2);
        d.write(0x70, 15);
        assert!(d.needs_reset(), "only a reset helps");
        d.notify(0);
        d.notify(u32::MAX as u64);
        assert_eq!(d.used(0), 1);
        d.write(0x70, 0);
        assert_eq!((d.read(0x70), d.read(0x60), d.line.last()), (0, 0, Some(&false)));
    }

    #[test]
    fn an_empty_slot_answers_and_keeps_nothing() {
        let (mut slot, mut out) = (EmptySlot, Actions::new());
        for offset in (0..0x1000).step_by(4) {
            slot.write(offset, Width::B4, 0xffff_ffff, 0, &mut out);
            let expected = match offset {
                0 => MAGIC,
                4 => 2,
                0xc => VENDOR,
                _ => 0,
            };
            assert_eq!(slot.read(offset, Width::B4, 0, &mut out), expected, "{offset:#x}");
        }
        slot.reset(&mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn anything_a_guest_may_do() {
        let mut d = Driver::new(rng());
        for offset in 0..0x200 {
            for value in [0, 1, 255, 256, 0xffff_ffff] {
                d.write(offset, value);
                d.read(offset);
            }
        }
    }
}
