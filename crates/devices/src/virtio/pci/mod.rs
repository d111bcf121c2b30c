//! The PCI transport (virtio 1.2, 4.1), without the legacy interface: a function with one BAR for all of virtio's
//! registers, and one for MSI-X where the board has it.

use super::Virtio;
use super::queue::MAX_SIZE;
use super::transport::{Notices, Registers, State, Transport, queue_size, set_half};
use crate::pci::config::command;
use crate::pci::{BarKind, ConfigSpace, Identity, Msix, Place, Seat, msix};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use trine_base::state::Versioned;
use trine_base::{Actions, Device, StateError, Width, state, versions};
use trine_memory::Ram;

/// The vendor of all virtio devices (4.1.2).
const VENDOR: u16 = 0x1af4;
/// Device IDs are this and virtio's (4.1.2).
const FIRST_DEVICE: u16 = 0x1040;
/// The subsystem ID of QEMU's devices, which says nothing.
const SUBSYSTEM: u16 = 0x1100;
/// BARs.
const MSIX_BAR: u8 = 1;
const BAR: u8 = 4;
/// `VIRTIO_MSI_NO_VECTOR`.
const NO_VECTOR: u16 = 0xffff;

/// The parts of [`BAR`]: offset and bytes.
mod part {
    pub const SIZE: u64 = 0x4000;
    pub const COMMON: u64 = 0;
    pub const ISR: u64 = 0x1000;
    pub const DEVICE: u64 = 0x2000;
    pub const NOTIFY: u64 = 0x3000;
    pub const BYTES: u64 = 0x1000;
    /// Bytes between the notification registers of two queues.
    pub const NOTIFY_STRIDE: u64 = 4;
}

/// Capabilities: the vendor's, and the kinds of its structures (4.1.4).
mod capability {
    pub const ID: u8 = 9;
    pub const COMMON: u8 = 1;
    pub const NOTIFY: u8 = 2;
    pub const ISR: u8 = 3;
    pub const DEVICE: u8 = 4;
    pub const ACCESS: u8 = 5;
}

/// A virtio device behind a PCI function.
pub struct Pci {
    seat: Seat,
    config: ConfigSpace,
    /// Where the capability is that accesses BARs through the configuration space.
    access: u64,
    transport: Transport,
    msix: Option<Msix>,
    vectors: Vectors,
}

/// The MSI-X vector of each event.
#[derive(Clone, Serialize, Deserialize)]
struct Vectors {
    config: u16,
    queues: Vec<u16>,
}

impl Vectors {
    fn none(queues: usize) -> Vectors {
        Vectors { config: NO_VECTOR, queues: vec![NO_VECTOR; queues] }
    }
}

/// The first version of the saved state.
#[derive(Serialize, Deserialize)]
struct V1 {
    config: Vec<u8>,
    transport: State<Registers>,
    msix: Option<msix::Saved>,
    vectors: Vectors,
}

versions!(Saved of "a virtio PCI device" { V1(V1) });

/// Class, subclass and interface of a device, as on QEMU's board.
fn class(id: u32) -> u32 {
    match id {
        1 => 0x02_0000,
        2 => 0x01_0000,
        3 | 19 => 0x07_8000,
        26 => 0x01_8000,
        _ => 0x00_ff00,
    }
}

/// Adds a structure's capability: virtio's header behind ID and pointer, and what follows it.
fn add(config: &mut ConfigSpace, kind: u8, offset: u64, more: &[u8], writable: &[u8]) -> u8 {
    let len = (16 + more.len()) as u8;
    let mut body = vec![len, kind, BAR, 0, 0, 0];
    body.extend_from_slice(&(offset as u32).to_le_bytes());
    body.extend_from_slice(&(part::BYTES as u32).to_le_bytes());
    body.extend_from_slice(more);
    config.add_capability(capability::ID, &body, writable)
}

impl Pci {
    /// Puts `device` at `seat`, with its rings in `ram`.
    pub fn new(seat: Seat, ram: Arc<Ram>, device: Box<dyn Virtio>) -> Pci {
        let mut config = ConfigSpace::new(Identity {
            vendor: VENDOR,
            device: FIRST_DEVICE + device.id() as u16,
            revision: 1,
            class: class(device.id()),
            subsystem: (VENDOR, SUBSYSTEM),
            interrupt: true,
        });
        config.add_bar(BAR, part::SIZE, BarKind::Prefetchable64);
        add(&mut config, capability::COMMON, part::COMMON, &[], &[]);
        add(&mut config, capability::ISR, part::ISR, &[], &[]);
        add(&mut config, capability::DEVICE, part::DEVICE, &[], &[]);
        let stride = (part::NOTIFY_STRIDE as u32).to_le_bytes();
        add(&mut config, capability::NOTIFY, part::NOTIFY, &stride, &[]);
        // The guest chooses BAR, offset and length; the last 4 bytes are the access itself.
        let chosen = [&[0, 0, 0xff, 0, 0, 0], [0xff; 8].as_slice()].concat();
        let access = add(&mut config, capability::ACCESS, 0, &[0; 4], &chosen).into();
        let queues = device.queues();
        let msix = seat.has_messages().then(|| {
            config.add_bar(MSIX_BAR, 0x1000, BarKind::Memory32);
            Msix::new(&mut config, MSIX_BAR, queues as u16 + 1)
        });
        let transport = Transport::new(ram, device);
        Pci { seat, config, access, transport, msix, vectors: Vectors::none(queues) }
    }

    fn uses_messages(&self) -> bool {
        self.msix.as_ref().is_some_and(|msix| msix.is_enabled(&self.config))
    }

    /// Whether the function may access memory.
    fn is_master(&self) -> bool {
        self.config.command() & command::MASTER != 0
    }

    /// The level of the interrupt pin.
    fn pin(&self) -> bool {
        let wants = self.transport.registers.interrupt != 0 && !self.uses_messages();
        wants && self.config.command() & command::NO_INTX == 0
    }

    fn tell(&mut self, notices: Notices, out: &mut Actions) {
        if notices.is_empty() {
            return;
        }
        if !self.uses_messages() {
            self.transport.registers.interrupt |= notices.interrupt();
            self.config.set_interrupt_status(true);
            if self.pin() {
                self.seat.interrupt(true, out);
            }
            return;
        }
        let Some(msix) = &mut self.msix else { return };
        let used = self.vectors.queues.iter().enumerate().filter(|(i, _)| notices.used >> i & 1 != 0);
        let config = notices.config.then_some(self.vectors.config);
        used.map(|(_, &v)| v).chain(config).for_each(|v| msix.send(&self.config, v, out));
    }

    fn serve(&mut self, queue: usize, now: u64, out: &mut Actions) {
        if self.is_master() {
            let notices = self.transport.serve(queue, now, out);
            self.tell(notices, out);
        }
    }

    fn serve_all(&mut self, now: u64, out: &mut Actions) {
        if self.is_master() {
            let notices = self.transport.serve_all(now, out);
            self.tell(notices, out);
        }
    }

    /// Reads and clears the interrupt status (4.1.4.5).
    fn acknowledge(&mut self, out: &mut Actions) -> u32 {
        let status = std::mem::take(&mut self.transport.registers.interrupt);
        self.config.set_interrupt_status(false);
        if status != 0 && !self.uses_messages() {
            self.seat.interrupt(false, out);
        }
        status
    }

    /// Reads the common configuration (4.1.4.3).
    fn common(&mut self, offset: u64, width: Width) -> u64 {
        let (select, vectors) = (self.transport.registers.select as usize, &self.vectors);
        match offset {
            0x00 => self.transport.registers.feature_word[0] as u64,
            0x04 => self.transport.device_features(),
            0x08 => self.transport.registers.feature_word[1] as u64,
            0x0c => self.transport.driver_features(),
            0x10 => vectors.config as u64,
            0x12 => vectors.queues.len() as u64,
            0x14 => self.transport.registers.status as u64,
            0x15 => self.transport.registers.generation as u64 & 0xff,
            0x16 => select as u64,
            0x1a => vectors.queues.get(select).copied().unwrap_or(NO_VECTOR) as u64,
            0x1e => select as u64,
            0x18..0x3c => self.transport.queue().map_or(0, |q| match offset {
                0x18 if q.size == 0 => MAX_SIZE as u64,
                0x18 => q.size as u64,
                0x1c => q.ready as u64,
                0x20 | 0x24 => part_of(q.descriptors, offset, width),
                0x28 | 0x2c => part_of(q.available, offset, width),
                0x30 | 0x34 => part_of(q.used, offset, width),
                // A queue's reset is over at once.
                _ => 0,
            }),
            _ => 0,
        }
    }

    /// Writes the common configuration.
    fn set_common(&mut self, offset: u64, width: Width, value: u64, out: &mut Actions) {
        let known = self.msix.as_ref().map_or(0, Msix::vectors);
        let vector = if value < known as u64 { value as u16 } else { NO_VECTOR };
        match offset {
            0x00 => self.transport.registers.feature_word[0] = value as u32,
            0x08 => self.transport.registers.feature_word[1] = value as u32,
            0x0c => self.transport.set_driver_features(value),
            0x10 => self.vectors.config = vector,
            0x14 if value as u8 == 0 => self.reset_device(out),
            0x14 => self.transport.set_status(value as u8 as u32),
            0x16 => self.transport.registers.select = value & 0xffff,
            0x1a => {
                let select = self.transport.registers.select as usize;
                if let Some(v) = self.vectors.queues.get_mut(select) {
                    *v = vector;
                }
            }
            // Only a reset takes a queue back (4.1.4.3.2).
            0x1c if value as u16 == 1 => {
                if let Some(q) = self.transport.open_queue().filter(|q| q.size == 0) {
                    q.size = MAX_SIZE;
                }
                self.transport.set_ready(true);
            }
            0x3a if value as u16 == 1 => self.transport.reset_queue(),
            0x18..0x38 => {
                let Some(q) = self.transport.open_queue() else { return };
                match offset {
                    0x18 => q.size = queue_size(value & 0xffff).unwrap_or(q.size),
                    0x20 | 0x24 => set_part(&mut q.descriptors, offset, width, value),
                    0x28 | 0x2c => set_part(&mut q.available, offset, width, value),
                    0x30 | 0x34 => set_part(&mut q.used, offset, width, value),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn read_bar(&mut self, bar: u8, offset: u64, width: Width, out: &mut Actions) -> u64 {
        match (bar, offset & !(part::BYTES - 1)) {
            (MSIX_BAR, _) => self.msix.as_ref().map_or(0, |msix| msix.read(offset, width)),
            (BAR, part::COMMON) => self.common(offset, width),
            (BAR, part::ISR) if offset == part::ISR => self.acknowledge(out) as u64,
            (BAR, part::DEVICE) => self.transport.config(offset - part::DEVICE, width),
            _ => 0,
        }
    }

    fn write_bar(&mut self, (bar, offset): (u8, u64), width: Width, value: u64, now: u64, out: &mut Actions) {
        match (bar, offset & !(part::BYTES - 1)) {
            (MSIX_BAR, _) => {
                if let Some(msix) = &mut self.msix {
                    msix.write(&self.config, offset, width, value, out);
                }
            }
            (BAR, part::COMMON) => self.set_common(offset, width, value, out),
            (BAR, part::DEVICE) => {
                let notices = self.transport.write_config(offset - part::DEVICE, width, value);
                self.tell(notices, out);
            }
            (BAR, part::NOTIFY) => {
                let queue = (offset - part::NOTIFY) / part::NOTIFY_STRIDE;
                self.serve(queue as usize, now, out);
            }
            _ => {}
        }
    }

    /// The access that the guest makes through the configuration space (4.1.4.9): BAR, offset and width. `None` where
    /// the driver has chosen none that is possible, or the access is elsewhere.
    fn window(&self, offset: u64) -> Option<(u8, u64, Width)> {
        if offset != self.access + 16 {
            return None;
        }
        let field = |at, width| self.config.read(self.access + at, width);
        let (bar, at, len) = (field(4, Width::B1), field(8, Width::B4), field(12, Width::B4));
        let width = Width::from_bytes(len as u32).filter(|&width| width != Width::B8)?;
        let end = if bar == BAR as u64 { part::SIZE } else { 0x1000 };
        (at + len <= end && at.is_multiple_of(len)).then_some((bar as u8, at, width))
    }

    fn write_space(&mut self, offset: u64, width: Width, value: u64, now: u64, out: &mut Actions) {
        if let Some((bar, at, width)) = self.window(offset) {
            return self.write_bar((bar, at), width, value & width.mask(), now, out);
        }
        let (was_master, pin) = (self.is_master(), self.pin());
        if self.config.write(offset, width, value) {
            self.seat.map(&self.config.mappings());
        }
        if self.pin() != pin {
            self.seat.interrupt(!pin, out);
        }
        if let Some(msix) = &mut self.msix {
            msix.flush(&self.config, out);
        }
        if !was_master {
            // Notifications that came before were not lost.
            self.serve_all(now, out);
        }
    }

    /// The driver's reset: the configuration space stays.
    fn reset_device(&mut self, out: &mut Actions) {
        self.acknowledge(out);
        self.transport.reset(out);
        self.vectors = Vectors::none(self.vectors.queues.len());
    }
}

/// A field of 64 bits that is read in parts.
fn part_of(whole: u64, offset: u64, width: Width) -> u64 {
    whole >> (8 * (offset & 4)) & width.mask()
}

/// Writes a field of 64 bits, whole or one half.
fn set_part(whole: &mut u64, offset: u64, width: Width, value: u64) {
    match width {
        Width::B8 if offset & 4 == 0 => *whole = value,
        _ => set_half(whole, offset & 4 != 0, value),
    }
}

impl Device for Pci {
    fn name(&self) -> &str {
        self.transport.device().name()
    }

    fn read(&mut self, offset: u64, width: Width, _now: u64, out: &mut Actions) -> u64 {
        match Place::of(offset) {
            Place::Bar(bar, offset) => self.read_bar(bar, offset, width, out),
            Place::Config(offset) => match self.window(offset) {
                Some((bar, at, width)) => self.read_bar(bar, at, width, out) & width.mask(),
                None => self.config.read(offset, width),
            },
        }
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, now: u64, out: &mut Actions) {
        match Place::of(offset) {
            Place::Bar(bar, offset) => self.write_bar((bar, offset), width, value, now, out),
            Place::Config(offset) => self.write_space(offset, width, value, now, out),
        }
    }

    /// Called when input came from outside, or when a queue has more to do.
    fn timer(&mut self, now: u64, out: &mut Actions) {
        self.serve_all(now, out);
    }

    fn quiesce(&mut self, out: &mut Actions) {
        let notices = self.transport.quiesce();
        self.tell(notices, out);
    }

    fn reset(&mut self, out: &mut Actions) {
        self.reset_device(out);
        self.config.reset();
        if let Some(msix) = &mut self.msix {
            msix.reset();
        }
        self.seat.interrupt(false, out);
        self.seat.map(&[]);
    }

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(V1 {
            config: self.config.save(),
            transport: self.transport.state(),
            msix: self.msix.as_ref().map(Msix::save),
            vectors: self.vectors.clone(),
        }))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(V1 { config, transport, msix, vectors }) = state::load(state)?;
        self.config.load(&config).map_err(Saved::damaged)?;
        match (&mut self.msix, msix) {
            (Some(here), Some(saved)) => here.load(saved).map_err(Saved::damaged)?,
            (None, None) => {}
            _ => return Err(Saved::mismatch("one of both has MSI-X and the other one has not")),
        }
        if vectors.queues.len() != self.vectors.queues.len() {
            return Err(Saved::damaged(format!("it has {} vectors of queues", vectors.queues.len())));
        }
        self.vectors = vectors;
        self.transport.load::<Saved>(transport)?;
        self.config.set_interrupt_status(self.transport.registers.interrupt != 0);
        self.seat.map(&self.config.mappings());
        self.seat.set_level(self.pin());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
