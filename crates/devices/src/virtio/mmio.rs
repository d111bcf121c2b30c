//! The MMIO transport, version 2 (virtio 1.2, 4.2). The legacy interface, version 1, which QEMU's board
//! offers by default, is not implemented.

use super::Virtio;
use super::queue::MAX_SIZE;
use super::transport::{Notices, Registers, RegistersV1, State, Transport, queue_size, set_half};
use std::sync::Arc;
use trine_base::{Actions, Device, StateError, Width, state, versions};
use trine_memory::Ram;

const MAGIC: u64 = 0x7472_6976;
const VERSION: u64 = 2;
/// The vendor ID "TTRN", which is not registered. Drivers do no more than show it.
const VENDOR: u64 = 0x4e52_5454;

/// A virtio device behind MMIO registers.
pub struct Mmio {
    irq: u32,
    transport: Transport,
}

versions!(Saved of "a virtio device" { V1(State<RegistersV1>), V2(State<Registers>) });
versions!(SavedSlot of "an empty virtio slot" { V1(()) });

impl Mmio {
    /// Creates the transport of `device` on interrupt line `irq`, with its rings in `ram`.
    pub fn new(irq: u32, ram: Arc<Ram>, device: Box<dyn Virtio>) -> Mmio {
        Mmio { irq, transport: Transport::new(ram, device) }
    }

    fn tell(&mut self, notices: Notices, out: &mut Actions) {
        if notices.is_empty() {
            return;
        }
        self.transport.registers.interrupt |= notices.interrupt();
        out.irq(self.irq, true);
    }

    fn set_address(&mut self, offset: u64, value: u64) {
        let Some(q) = self.transport.open_queue() else { return };
        let address = match offset & !4 {
            0x080 => &mut q.descriptors,
            0x090 => &mut q.available,
            _ => &mut q.used,
        };
        set_half(address, offset & 4 != 0, value);
    }
}

impl Device for Mmio {
    fn name(&self) -> &str {
        self.transport.device().name()
    }

    fn read(&mut self, offset: u64, width: Width, _now: u64, _out: &mut Actions) -> u64 {
        if offset >= 0x100 {
            return self.transport.config(offset - 0x100, width);
        }
        match offset {
            0x000 => MAGIC,
            0x004 => VERSION,
            0x008 => self.transport.device().id() as u64,
            0x00c => VENDOR,
            0x010 => self.transport.device_features(),
            0x034 => self.transport.queue().map_or(0, |_| MAX_SIZE as u64),
            0x044 => self.transport.queue().map_or(0, |q| q.ready as u64),
            0x060 => self.transport.registers.interrupt as u64,
            0x070 => self.transport.registers.status as u64,
            // No shared memory regions: length and base are all ones (4.2.2).
            0x0b0..=0x0bc => 0xffff_ffff,
            0x0fc => self.transport.registers.generation as u64,
            _ => 0,
        }
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, now: u64, out: &mut Actions) {
        match offset {
            0x014 => self.transport.registers.feature_word[0] = value as u32,
            0x020 => self.transport.set_driver_features(value),
            0x024 => self.transport.registers.feature_word[1] = value as u32,
            0x030 => self.transport.registers.select = value,
            0x038 => {
                // No size at all for an impossible one: such a queue is empty.
                if let Some(q) = self.transport.open_queue() {
                    q.size = queue_size(value).unwrap_or(0);
                }
            }
            0x044 => self.transport.set_ready(value & 1 != 0),
            0x050 => {
                let notices = self.transport.serve(value as usize, now, out);
                self.tell(notices, out);
            }
            0x064 => {
                self.transport.registers.interrupt &= !(value as u32);
                out.irq(self.irq, self.transport.registers.interrupt != 0);
            }
            0x070 if value as u32 == 0 => self.reset(out),
            0x070 => self.transport.set_status(value as u32),
            0x080 | 0x084 | 0x090 | 0x094 | 0x0a0 | 0x0a4 => self.set_address(offset, value),
            0x0c0 if value & 1 != 0 => self.transport.reset_queue(),
            0x100.. => {
                let notices = self.transport.write_config(offset - 0x100, width, value);
                self.tell(notices, out);
            }
            _ => {}
        }
    }

    /// Called when input came from outside, or when a queue has more to do.
    fn timer(&mut self, now: u64, out: &mut Actions) {
        let notices = self.transport.serve_all(now, out);
        self.tell(notices, out);
    }

    fn quiesce(&mut self, out: &mut Actions) {
        let notices = self.transport.quiesce();
        self.tell(notices, out);
    }

    fn reset(&mut self, out: &mut Actions) {
        self.transport.reset(out);
        out.irq(self.irq, false);
    }

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V2(self.transport.state()))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let state = match state::load(state)? {
            Saved::V1(state) => state.newest(),
            Saved::V2(state) => state,
        };
        self.transport.load::<Saved>(state)
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
    use crate::virtio::tests::{DATA, Driver, QUEUE, source};

    fn rng() -> Rng {
        Rng::new(source(|bytes| bytes.fill(7)))
    }

    #[test]
    fn what_a_driver_probes() {
        let mut d = Driver::new(rng());
        assert_eq!([0, 4, 8, 0xc].map(|o| d.read(o)), [0x7472_6976, 2, 4, VENDOR]);
        d.write(0x14, 1);
        assert_eq!(d.read(0x10), 0x101, "VIRTIO_F_VERSION_1 and VIRTIO_F_RING_RESET");
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
        for (high, low) in [(0, 0), (3, 0), (1, 1), (0x100, 0)] {
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
    fn a_queue_is_reset_alone() {
        let mut d = Driver::new(rng());
        d.request(0, &[], &[(DATA, 4)]);
        d.write(0x30, 0);
        d.write(0xc0, 1);
        assert_eq!((d.read(0xc0), d.read(0x44)), (0, 0), "it is done at once");
        d.notify(0);
        d.start_rings_anew(0);
        d.set_up(0);
        d.request(0, &[], &[(DATA, 4)]);
        assert_eq!(d.used(0), 1);
        d.write(0x30, 7);
        d.write(0xc0, 1);
    }

    #[test]
    fn driver_and_device_name_the_index_of_the_next_event() {
        let mut d = Driver::with_features(rng(), 1 << 29);
        let [_, available, used] = Driver::rings(0);
        let asked = |d: &Driver| d.ram.load(used + 4 + 8 * QUEUE as u64, Width::B2).unwrap();
        let wish = available + 4 + 2 * QUEUE as u64;
        d.request(0, &[], &[(DATA, 4)]);
        assert_eq!((asked(&d), d.line.len()), (1, 1), "the driver waits for the first one");
        d.request(0, &[], &[(DATA, 4)]);
        assert_eq!((asked(&d), d.line.len(), d.used(0)), (2, 1, 2), "it did not ask for the second one");
        d.ram.store(wish, Width::B2, 3).unwrap();
        d.request(0, &[], &[(DATA, 4)]);
        assert_eq!(d.line.len(), 1);
        d.request(0, &[], &[(DATA, 4)]);
        assert_eq!((asked(&d), d.line.len()), (4, 2));
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
