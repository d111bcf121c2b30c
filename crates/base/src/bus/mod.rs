//! A board's devices in its address spaces: physical memory and, where the CPU has them, I/O ports.

mod local;
mod routed;
mod saved;
mod timers;
mod windows;

use crate::trace::{DeviceAccess, Tracer};
use crate::{Action, Actions, Clock, Device, Mailbox, StopReason, Width};
use local::Local;
pub use routed::{Router, SharedLine};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use timers::Timers;
pub use windows::{BusDevice, Range, Space, WindowError};
use windows::{Owner, Windows};

/// Handle of a device on a [`Bus`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceId(usize);

/// One device, and the actions that are to be performed for it.
struct Slot {
    device: Mutex<Locked>,
    /// Actions that the device asked for and that are not performed yet, in the device's order.
    asked: Mutex<VecDeque<Action>>,
    /// Held while actions of `asked` are performed, so that one thread at a time does so.
    performing: Mutex<()>,
}

/// What is locked while a device is called.
struct Locked {
    device: Box<dyn Device>,
    /// Empty between calls; kept for its memory, so that a call allocates none.
    out: Actions,
}

/// The device windows of a board, its interrupt wiring and its timers.
///
/// The actions that a device asks for are performed after it is unlocked, in the order in which it asked: the
/// level that a device drove last is the level that its line has. Actions are queued while the device is
/// locked, and one thread at a time performs them. A call returns only after its own actions were performed,
/// by this thread or another one.
///
/// Lock order: the turn to perform a device's actions, then the interrupt controller (or the target of messages),
/// then the turn to perform the controller's actions, then mailboxes and timers. No thread waits for a turn while it holds a
/// device's lock, nor for the turn of a vCPU's own controller ([`Action::Local`]) while it holds another turn.
pub struct Bus {
    devices: Vec<Slot>,
    memory: Windows,
    ports: Windows,
    /// What only one vCPU sees, for each of `vcpus`.
    locals: Vec<Local>,
    controller: Option<DeviceId>,
    message_target: Option<DeviceId>,
    /// Who asserts lines that several devices drive.
    shared_lines: Vec<(u32, Arc<SharedLine>)>,
    routers: Vec<Arc<dyn Router>>,
    vcpus: Vec<Arc<Mailbox>>,
    clock: Arc<dyn Clock>,
    timers: Mutex<Timers>,
    timer_changed: Condvar,
    /// While this is set, no timer is served. It changes only while `timers` is locked.
    paused: AtomicBool,
    /// Whether a state was loaded since the bus was last resumed.
    loaded: AtomicBool,
    /// Held while a device is called because of its timer.
    serving: Mutex<()>,
    stop: Mutex<Option<StopReason>>,
    /// Who is told of accesses to devices.
    tracer: OnceLock<Arc<dyn Tracer>>,
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bus {
    /// An empty bus whose devices see the time of `clock` and reach `vcpus`.
    pub fn new(clock: Arc<dyn Clock>, vcpus: Vec<Arc<Mailbox>>) -> Bus {
        Bus {
            devices: Vec::new(),
            memory: Windows::default(),
            ports: Windows::default(),
            locals: vcpus.iter().map(|_| Local::default()).collect(),
            controller: None,
            message_target: None,
            shared_lines: Vec::new(),
            routers: Vec::new(),
            vcpus,
            clock,
            timers: Mutex::default(),
            timer_changed: Condvar::new(),
            paused: AtomicBool::new(false),
            loaded: AtomicBool::new(false),
            serving: Mutex::new(()),
            stop: Mutex::new(None),
            tracer: OnceLock::new(),
        }
    }

    /// Puts `device` at physical addresses `base .. base + size`.
    pub fn add(&mut self, base: u64, size: u64, device: Box<dyn Device>) -> Result<DeviceId, WindowError> {
        self.add_to(Space::Memory, base, size, device)
    }

    /// Puts `device` at `count` I/O ports from `first` on.
    pub fn add_ports(
        &mut self,
        first: u16,
        count: u32,
        device: Box<dyn Device>,
    ) -> Result<DeviceId, WindowError> {
        self.add_to(Space::Ports, first.into(), count.into(), device)
    }

    /// Keeps devices out of `size` bytes of physical memory from `base` on: they are `what`, for instance RAM,
    /// which vCPUs access without the bus. A device there would never be asked.
    pub fn reserve(&mut self, base: u64, size: u64, what: &'static str) -> Result<(), WindowError> {
        self.insert(Space::Memory, base, size, Owner::Reserved(what), what)
    }

    fn add_to(
        &mut self,
        space: Space,
        base: u64,
        size: u64,
        device: Box<dyn Device>,
    ) -> Result<DeviceId, WindowError> {
        let index = self.devices.len();
        self.insert(space, base, size, Owner::Device(index), device.name())?;
        Ok(self.push(device))
    }

    fn push(&mut self, device: Box<dyn Device>) -> DeviceId {
        self.devices.push(Slot {
            device: Mutex::new(Locked { device, out: Actions::new() }),
            asked: Mutex::default(),
            performing: Mutex::default(),
        });
        lock(&self.timers).add();
        DeviceId(self.devices.len() - 1)
    }

    /// Gives a window to an owner with this name.
    fn insert(
        &mut self,
        space: Space,
        base: u64,
        size: u64,
        owner: Owner,
        name: &str,
    ) -> Result<(), WindowError> {
        let Some(range) = Range::new(space, base, size) else {
            return Err(WindowError::Outside { name: name.to_owned(), space, base, size });
        };
        if let Some((taken, other)) = self.overlap(space, range, owner) {
            let other = match other {
                Owner::Device(device) | Owner::Local { device, .. } => {
                    lock(&self.devices[device].device).device.name().to_owned()
                }
                Owner::Router { name, .. } | Owner::Reserved(name) => name.to_owned(),
            };
            return Err(WindowError::Overlap { name: name.to_owned(), space, range, other, taken });
        }
        let windows = match (space, owner) {
            (Space::Memory, Owner::Local { vcpu, .. }) => &mut self.locals[vcpu].windows,
            (Space::Memory, _) => &mut self.memory,
            (Space::Ports, _) => &mut self.ports,
        };
        windows.insert(range, owner);
        Ok(())
    }

    /// The window that `owner` cannot have some of these addresses beside, and whose it is.
    fn overlap(&self, space: Space, range: Range, owner: Owner) -> Option<(Range, Owner)> {
        match space {
            Space::Ports => self.ports.overlap(range),
            Space::Memory => self.memory.overlap(range).or_else(|| {
                // A device of one vCPU may not hide one that all of them see, but be where another vCPU's is.
                let others = match owner {
                    Owner::Local { vcpu, .. } => &self.locals[vcpu..=vcpu],
                    _ => &self.locals[..],
                };
                others.iter().find_map(|local| local.windows.overlap(range))
            }),
        }
    }

    /// All devices and where they are, for people. A device without a window is reached by a router, or not by addresses.
    pub fn devices(&self) -> Vec<BusDevice> {
        let mut devices: Vec<BusDevice> = self
            .devices
            .iter()
            .map(|slot| BusDevice { name: lock(&slot.device).device.name().to_owned(), windows: Vec::new() })
            .collect();
        let locals = self.locals.iter().map(|local| &local.windows);
        let memory = std::iter::once(&self.memory).chain(locals).map(|windows| (Space::Memory, windows));
        for (space, windows) in memory.chain([(Space::Ports, &self.ports)]) {
            for (range, owner) in windows.all() {
                match owner {
                    Owner::Device(device) | Owner::Local { device, .. } => {
                        devices[device].windows.push((space, range));
                    }
                    Owner::Router { name, .. } | Owner::Reserved(name) => {
                        devices.push(BusDevice { name: name.to_owned(), windows: vec![(space, range)] });
                    }
                }
            }
        }
        devices
    }

    /// Makes `id` the interrupt controller: the device that [`Action::Irq`] goes to.
    pub fn set_controller(&mut self, id: DeviceId) {
        self.controller = Some(id);
    }

    /// The clock that devices see.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Reads a device register in memory; `None` where no device answers.
    pub fn read(&self, address: u64, width: Width) -> Option<u64> {
        self.read_from(&self.memory, address, width)
    }

    /// Writes a device register in memory; `None` where no device answers.
    pub fn write(&self, address: u64, width: Width, value: u64) -> Option<()> {
        self.write_to(&self.memory, address, width, value)
    }

    /// Reads an I/O port; `None` where no device answers.
    pub fn read_port(&self, port: u16, width: Width) -> Option<u64> {
        self.read_from(&self.ports, port.into(), width)
    }

    /// Writes an I/O port; `None` where no device answers.
    pub fn write_port(&self, port: u16, width: Width, value: u64) -> Option<()> {
        self.write_to(&self.ports, port.into(), width, value)
    }

    fn read_from(&self, windows: &Windows, address: u64, width: Width) -> Option<u64> {
        match windows.find(address, width) {
            Some(found) => Some(self.read_at(found, width)),
            None => self.read_routed(windows, address, width),
        }
    }

    fn write_to(&self, windows: &Windows, address: u64, width: Width, value: u64) -> Option<()> {
        match windows.find(address, width) {
            Some(found) => {
                self.write_at(found, width, value);
                Some(())
            }
            None => self.write_routed(windows, address, width, value),
        }
    }

    /// Reads the register of a device (its number) at an offset.
    fn read_at(&self, (index, offset): (usize, u64), width: Width) -> u64 {
        let now = self.clock.now();
        let value = self.run(index, |device, out| device.read(offset, width, now, out)) & width.mask();
        self.trace(index, DeviceAccess { offset, width, value, write: false });
        value
    }

    fn write_at(&self, (index, offset): (usize, u64), width: Width, value: u64) {
        let now = self.clock.now();
        self.trace(index, DeviceAccess { offset, width, value: value & width.mask(), write: true });
        self.run(index, |device, out| device.write(offset, width, value & width.mask(), now, out));
    }

    /// Has this tracer told of every access to a device from now on; the first one that is set stays.
    pub fn set_tracer(&self, tracer: Arc<dyn Tracer>) {
        let _ = self.tracer.set(tracer);
    }

    fn trace(&self, index: usize, access: DeviceAccess) {
        if let Some(tracer) = self.tracer.get() {
            let name = lock(&self.devices[index].device).device.name().to_owned();
            tracer.access(&name, access);
        }
    }

    /// Calls `f` with the device locked, then performs what it asked for.
    pub fn with<R>(&self, id: DeviceId, f: impl FnOnce(&mut dyn Device, &mut Actions) -> R) -> R {
        self.run(id.0, f)
    }

    fn run<R>(&self, index: usize, f: impl FnOnce(&mut dyn Device, &mut Actions) -> R) -> R {
        let mut told = Vec::new();
        let result = self.call(index, &mut told, f);
        self.settle(told);
        result
    }

    /// Calls a device and performs what it asks for. The actions of vCPUs' controllers that are told something
    /// thereby are left to the caller: they are added to `told`.
    fn call<R>(
        &self,
        index: usize,
        told: &mut Vec<usize>,
        f: impl FnOnce(&mut dyn Device, &mut Actions) -> R,
    ) -> R {
        let (result, asks) = self.call_only(index, f);
        if asks {
            self.perform_asked(index, told);
        }
        result
    }

    /// Calls a device and queues what it asks for; returns whether it asked for anything.
    fn call_only<R>(&self, index: usize, f: impl FnOnce(&mut dyn Device, &mut Actions) -> R) -> (R, bool) {
        let slot = &self.devices[index];
        let mut locked = lock(&slot.device);
        let Locked { device, out } = &mut *locked;
        let result = f(&mut **device, out);
        if out.is_empty() {
            return (result, false);
        }
        // Queued before the device is unlocked: the queue has the order of the device's changes.
        lock(&slot.asked).extend(out.drain());
        (result, true)
    }

    /// Performs the queued actions of these devices and of those that are told something thereby. The caller
    /// holds no turn: two controllers that tell each other something at the same time would wait for each
    /// other's turn for ever.
    fn settle(&self, mut told: Vec<usize>) {
        while let Some(index) = told.pop() {
            self.perform_asked(index, &mut told);
        }
    }

    fn perform_asked(&self, index: usize, told: &mut Vec<usize>) {
        let slot = &self.devices[index];
        let _turn = lock(&slot.performing);
        // Not in the head of the loop: there, the queue would stay locked while the action is performed.
        let next = || lock(&slot.asked).pop_front();
        while let Some(action) = next() {
            self.perform(index, action, told);
        }
    }

    fn perform(&self, index: usize, action: Action, told: &mut Vec<usize>) {
        match action {
            Action::Irq { line, level } => {
                // A controller must not drive its own inputs: it would wait for its own turn for ever.
                if let Some(DeviceId(controller)) = self.controller.filter(|c| c.0 != index) {
                    self.call(controller, told, |device, out| {
                        if level || !self.is_asserted(line) {
                            device.input(line, level, out);
                        }
                    });
                }
            }
            Action::Message { address, data } => {
                if let Some(DeviceId(target)) = self.message_target.filter(|t| t.0 != index) {
                    self.call(target, told, |device, out| device.message(address, data, out));
                }
            }
            Action::Local { vcpu, line, level } => {
                let local = self.locals.get(vcpu as usize).and_then(|local| local.controller);
                if let Some(DeviceId(local)) = local
                    && self.call_only(local, |device, out| device.input(line, level, out)).1
                {
                    told.push(local);
                }
            }
            Action::Cpu { vcpu, line, level } => {
                if let Some(mailbox) = self.vcpus.get(vcpu as usize) {
                    mailbox.set_line(line, level);
                }
            }
            Action::Edge { vcpu, number } => {
                if let Some(mailbox) = self.vcpus.get(vcpu as usize) {
                    mailbox.post_edge(number);
                }
            }
            Action::Timer { at } => self.arm(index, at),
            Action::Stop(reason) => self.stop(reason),
        }
    }

    fn arm(&self, index: usize, at: Option<u64>) {
        let mut timers = lock(&self.timers);
        // Never now: a device that arms its timer in the past again and again must not keep the timer thread
        // busy.
        timers.arm(index, at.map(|at| at.max(self.clock.now().saturating_add(1))));
        self.timers_changed(timers);
    }

    /// Asks the thread that runs the timers to call [`Device::timer`] of this device soon. For callers that
    /// must not wait until the device is free.
    pub fn request_timer(&self, id: DeviceId) {
        let mut timers = lock(&self.timers);
        timers.request(id.0);
        self.timers_changed(timers);
    }

    fn timers_changed(&self, timers: MutexGuard<'_, Timers>) {
        drop(timers);
        self.timer_changed.notify_all();
        if self.clock.is_counted() {
            // In counted time a vCPU's thread runs the timers; it chose its budget before this change.
            self.vcpus.iter().for_each(|mailbox| mailbox.kick());
        }
    }

    /// Stops the machine: the first reason counts. Every vCPU is asked to pause.
    pub fn stop(&self, reason: StopReason) {
        lock(&self.stop).get_or_insert(reason);
        for mailbox in &self.vcpus {
            mailbox.request(Mailbox::PAUSE);
        }
    }

    /// Why the machine was stopped, if it was.
    pub fn stopped(&self) -> Option<StopReason> {
        lock(&self.stop).clone()
    }

    /// Resets every device.
    pub fn reset(&self) {
        for index in 0..self.devices.len() {
            self.run(index, |device, out| device.reset(out));
        }
    }

    /// The earliest time at which a device wants [`Device::timer`]; 0 where it wants it at once.
    pub fn next_timer(&self) -> Option<u64> {
        lock(&self.timers).next()
    }

    /// Calls every device whose time has come, each once; none while the bus is paused.
    pub fn run_timers(&self) {
        let now = self.clock.now();
        loop {
            let _serving = lock(&self.serving);
            let mut timers = lock(&self.timers);
            let due = if self.paused.load(Ordering::SeqCst) { None } else { timers.take_due(now) };
            drop(timers);
            let Some(index) = due else { return };
            self.run(index, |device, out| device.timer(now, out));
        }
    }

    /// Wakes the threads that sleep in [`Bus::wait_timer`]; they look at their `done` again.
    pub fn wake_timers(&self) {
        // Locked, so that this cannot fall between the other thread's look at `done` and its sleep.
        drop(lock(&self.timers));
        self.timer_changed.notify_all();
    }

    /// Sleeps until the next device timer is due, the set of timers changes, `most` has passed or `done` is
    /// true. A thread that sets `done` must call [`Bus::wake_timers`] afterwards.
    pub fn wait_timer(&self, most: Duration, done: &AtomicBool) {
        let timers = lock(&self.timers);
        if done.load(Ordering::SeqCst) {
            return;
        }
        // No time passes while the bus is paused; resuming wakes this thread.
        let next = if self.paused.load(Ordering::SeqCst) { None } else { timers.next() };
        let next = next.map(|at| Duration::from_nanos(at.saturating_sub(self.clock.now())));
        let wait = next.unwrap_or(most).min(most);
        drop(self.timer_changed.wait_timeout(timers, wait).unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
pub(crate) mod tests;
