//! What all virtio transports have in common: queues, negotiation of features, device status, configuration
//! space and serving (virtio 1.2, 2 and 3). A transport is registers around it, and a way to interrupt.

use super::queue::{MAX_SIZE, Queue, QueueV1};
use super::{Broken, Served, Virtio};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use trine_base::state::Versioned;
use trine_base::{Action, Actions, StateError, Width};
use trine_memory::Ram;

/// Nanoseconds between two turns of serving a queue: see [`Served::more`].
const REST: u64 = 100_000;
/// The most turns in a row of a queue whose driver adds chains just as it is asked to notify of them.
const TURNS: u32 = 4;

/// Features of every device (virtio 1.2, 6).
mod feature {
    pub const INDIRECT_DESC: u64 = 1 << 28;
    pub const EVENT_IDX: u64 = 1 << 29;
    pub const VERSION_1: u64 = 1 << 32;
    pub const RING_RESET: u64 = 1 << 40;
    pub const ALL: u64 = INDIRECT_DESC | EVENT_IDX | VERSION_1 | RING_RESET;
}

/// Device status bits (virtio 1.2, 2.1).
mod status {
    pub const DRIVER_OK: u32 = 4;
    pub const FEATURES_OK: u32 = 8;
    pub const NEEDS_RESET: u32 = 64;
}

/// What the driver is to be told by interrupts.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Notices {
    /// The queues in which buffers were used and whose driver wants to know, one bit for each.
    pub used: u64,
    /// Whether the configuration changed, or the device needs a reset.
    pub config: bool,
}

impl Notices {
    /// Whether there is nothing to tell.
    pub fn is_empty(self) -> bool {
        self == Notices::default()
    }

    /// The bits of the interrupt status that say the same (virtio 1.2, 4.1.4.5 and 4.2.2).
    pub(super) fn interrupt(self) -> u32 {
        (self.used != 0) as u32 | (self.config as u32) << 1
    }

    fn add(&mut self, other: Notices) {
        self.used |= other.used;
        self.config |= other.config;
    }
}

/// A virtio device and the state that every transport keeps for it.
pub struct Transport {
    ram: Arc<Ram>,
    device: Box<dyn Virtio>,
    pub(super) registers: Registers,
}

/// The state that a guest can change.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Registers {
    pub queues: Vec<Queue>,
    /// The queue that the registers of queues belong to.
    pub select: u64,
    pub status: u32,
    /// Interrupt status: see [`Notices::interrupt`].
    pub interrupt: u32,
    pub driver_features: u64,
    /// Which 32 feature bits the registers show: of the device, of the driver.
    pub feature_word: [u32; 2],
    /// Counts the changes of the device's configuration.
    pub generation: u32,
}

/// The registers in the first version of the saved state.
#[derive(Serialize, Deserialize)]
pub(super) struct RegistersV1 {
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
pub(super) struct State<R> {
    /// The device ID.
    pub id: u32,
    pub registers: R,
    /// The state of the kind of device.
    pub device: Vec<u8>,
}

impl State<RegistersV1> {
    /// The same as a state of the newest version.
    pub fn newest(self) -> State<Registers> {
        State { id: self.id, registers: self.registers.into(), device: self.device }
    }
}

impl Transport {
    /// Puts `device` behind a transport, with its rings in `ram`.
    pub fn new(ram: Arc<Ram>, device: Box<dyn Virtio>) -> Transport {
        let registers = Registers { queues: vec![Queue::default(); device.queues()], ..Registers::default() };
        Transport { ram, device, registers }
    }

    /// The device.
    pub fn device(&self) -> &dyn Virtio {
        &*self.device
    }

    /// All features that are offered.
    fn offered(&self) -> u64 {
        self.device.features() | feature::ALL
    }

    /// The 32 offered feature bits that the driver has selected.
    pub fn device_features(&self) -> u64 {
        match self.registers.feature_word[0] {
            word @ 0..2 => self.offered() >> (32 * word) & 0xffff_ffff,
            _ => 0,
        }
    }

    /// The 32 feature bits of the driver that it has selected.
    pub fn driver_features(&self) -> u64 {
        match self.registers.feature_word[1] {
            word @ 0..2 => self.registers.driver_features >> (32 * word) & 0xffff_ffff,
            _ => 0,
        }
    }

    /// Replaces the 32 feature bits of the driver that it has selected, before they are fixed.
    pub fn set_driver_features(&mut self, value: u64) {
        let (word, locked) = (self.registers.feature_word[1], self.is_negotiated());
        if !locked && word < 2 {
            set_half(&mut self.registers.driver_features, word == 1, value);
        }
    }

    fn is_negotiated(&self) -> bool {
        self.registers.status & status::FEATURES_OK != 0
    }

    /// Whether the driver may use the device's queues.
    fn is_live(&self) -> bool {
        self.registers.status & (status::DRIVER_OK | status::NEEDS_RESET) == status::DRIVER_OK
    }

    /// Changes the device status to another one than 0, for which the transport calls [`Transport::reset`].
    pub fn set_status(&mut self, value: u32) {
        let mut new = value & 0xff | self.registers.status & status::NEEDS_RESET;
        if new & status::FEATURES_OK != 0 && !self.is_negotiated() {
            let features = self.registers.driver_features;
            if features & !self.offered() == 0 && features & feature::VERSION_1 != 0 {
                self.negotiated();
            } else {
                new &= !status::FEATURES_OK;
            }
        }
        self.registers.status = new;
    }

    /// Tells device and queues what was negotiated.
    fn negotiated(&mut self) {
        let features = self.registers.driver_features;
        self.device.negotiated(features);
        let by_index = features & feature::EVENT_IDX != 0;
        self.registers.queues.iter_mut().for_each(|q| q.set_events_by_index(by_index));
    }

    /// The selected queue; `None` where the device has no such queue.
    pub fn queue(&mut self) -> Option<&mut Queue> {
        self.registers.queues.get_mut(self.registers.select as usize)
    }

    /// The selected queue, while its size and addresses may be changed.
    pub fn open_queue(&mut self) -> Option<&mut Queue> {
        self.queue().filter(|q| !q.ready)
    }

    /// Gives the selected queue to the device, or takes it back.
    pub fn set_ready(&mut self, ready: bool) {
        let index = self.registers.select as usize;
        let Some(queue) = self.queue() else { return };
        if ready {
            queue.ready = true;
        } else {
            queue.stop();
            self.device.stopped(index);
        }
    }

    /// Returns the selected queue to its state after a reset of the device (virtio 1.2, 2.6.1).
    pub fn reset_queue(&mut self) {
        let (index, negotiated) = (self.registers.select as usize, self.is_negotiated());
        let by_index = negotiated && self.registers.driver_features & feature::EVENT_IDX != 0;
        if let Some(queue) = self.queue() {
            *queue = Queue::default();
            queue.set_events_by_index(by_index);
            self.device.stopped(index);
        }
    }

    /// Serves a queue for one turn. Where there is more to do, the timer starts the next turn.
    #[must_use]
    pub fn serve(&mut self, index: usize, now: u64, out: &mut Actions) -> Notices {
        let mut notices = Notices::default();
        let Some(queue) = self.registers.queues.get(index).filter(|_| self.is_live()) else { return notices };
        let before = queue.returned();
        let served = self.turns(index);
        if matches!(served, Ok(Served { more: true, .. })) {
            out.push(Action::Timer { at: Some(now.saturating_add(REST)) });
        }
        notices.add(self.notices(index, before, served.map(|served| served.used)));
        notices.config |= self.config_changed();
        notices
    }

    /// What the driver is told of a queue that had returned `before` chains, and has returned more if `used`.
    fn notices(&mut self, index: usize, before: u16, used: Result<bool, Broken>) -> Notices {
        match used {
            Ok(used) => {
                let wanted = used && self.registers.queues[index].wants_interrupt(&self.ram, before);
                Notices { used: (wanted as u64) << index, config: false }
            }
            Err(Broken) => {
                self.registers.status |= status::NEEDS_RESET;
                Notices { used: 0, config: true }
            }
        }
    }

    /// Stops what the device has running on other threads: see [`trine_base::Device::quiesce`].
    #[must_use]
    pub fn quiesce(&mut self) -> Notices {
        let mut notices = Notices::default();
        for index in 0..self.registers.queues.len() {
            if !self.is_live() {
                // Nothing will be returned to this queue before the driver has reset the device.
                self.device.stopped(index);
                continue;
            }
            let queue = &mut self.registers.queues[index];
            let before = queue.returned();
            let used = self.device.quiesce(index, queue, &self.ram);
            notices.add(self.notices(index, before, used));
        }
        notices
    }

    /// Serves a queue until there is nothing to do and the driver knows when to notify again, or a turn is over.
    fn turns(&mut self, index: usize) -> Result<Served, Broken> {
        let (queue, mut used) = (&mut self.registers.queues[index], false);
        for _ in 0..TURNS {
            let served = self.device.serve(index, queue, &self.ram)?;
            used |= served.used;
            if served.more || !queue.ask_for_notification(&self.ram)? {
                return Ok(Served { used, more: served.more });
            }
        }
        Ok(Served { used, more: true })
    }

    /// Serves all queues: input came from outside, or one of them has more to do.
    #[must_use]
    pub fn serve_all(&mut self, now: u64, out: &mut Actions) -> Notices {
        let mut notices = Notices::default();
        (0..self.registers.queues.len()).for_each(|i| notices.add(self.serve(i, now, out)));
        notices
    }

    fn config_changed(&mut self) -> bool {
        let changed = self.device.config_changed();
        self.registers.generation = self.registers.generation.wrapping_add(changed as u32);
        changed
    }

    /// Reads the configuration space; bytes that the device does not have are zero.
    pub fn config(&self, offset: u64, width: Width) -> u64 {
        let config = self.device.config();
        let byte = |i: u64| config.get(offset.saturating_add(i) as usize).copied().unwrap_or(0) as u64;
        (0..width.bytes()).fold(0, |v, i| v | byte(i) << (8 * i))
    }

    /// Writes the configuration space.
    #[must_use]
    pub fn write_config(&mut self, offset: u64, width: Width, value: u64) -> Notices {
        self.device.write_config(offset, width, value);
        Notices { used: 0, config: self.is_live() && self.config_changed() }
    }

    /// Returns device and registers to the state after power-on, and disarms the timer.
    pub fn reset(&mut self, out: &mut Actions) {
        self.device.reset();
        let queues = vec![Queue::default(); self.device.queues()];
        self.registers = Registers { queues, ..Registers::default() };
        out.push(Action::Timer { at: None });
    }

    /// What is to be saved.
    pub(super) fn state(&self) -> State<Registers> {
        State { id: self.device.id(), registers: self.registers.clone(), device: self.device.save() }
    }

    /// Loads a state that is part of an `S`.
    pub(super) fn load<S: Versioned>(&mut self, state: State<Registers>) -> Result<(), StateError> {
        let State { id, mut registers, device } = state;
        let (here, queues) = (self.device.id(), self.registers.queues.len());
        if id != here {
            return Err(S::mismatch(format!("it belongs to a device of ID {id}, not {here}")));
        }
        if registers.queues.len() != queues {
            return Err(S::damaged(format!("it has {} queues, not {queues}", registers.queues.len())));
        }
        registers.queues.iter().try_for_each(Queue::check).map_err(S::damaged)?;
        let negotiated = registers.status & status::FEATURES_OK != 0;
        if negotiated && registers.driver_features & !self.offered() != 0 {
            return Err(S::mismatch("its driver uses features that this device does not offer"));
        }
        registers.queues.iter_mut().for_each(Queue::take_again);
        self.registers = registers;
        if negotiated {
            self.negotiated();
        }
        self.device.load(&device)
    }
}

/// The size that a driver gives to a queue; `None` where no queue has such a size.
pub(super) fn queue_size(value: u64) -> Option<u16> {
    u16::try_from(value).ok().filter(|size| (1..=MAX_SIZE).contains(size))
}

/// Replaces the low (`high` false) or high half of a 64-bit value.
pub(super) fn set_half(whole: &mut u64, high: bool, value: u64) {
    let shift = if high { 32 } else { 0 };
    *whole = *whole & !(0xffff_ffff << shift) | (value & 0xffff_ffff) << shift;
}
