//! A board's devices in one physical address space.

use crate::{Action, Actions, Clock, Device, Mailbox, StopReason, Width};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Handle of a device on a [`Bus`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceId(usize);

struct Window {
    base: u64,
    size: u64,
    device: Mutex<Box<dyn Device>>,
}

/// The device windows of a board, its interrupt wiring and its timers.
///
/// Lock order: a device, then (after it is unlocked) the interrupt controller, then mailboxes.
pub struct Bus {
    windows: Vec<Window>,
    controller: Option<DeviceId>,
    vcpus: Vec<Arc<Mailbox>>,
    clock: Arc<dyn Clock>,
    timers: Mutex<BTreeMap<usize, u64>>,
    timer_changed: Condvar,
    stop: Mutex<Option<StopReason>>,
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bus {
    /// An empty bus whose devices see the time of `clock` and reach `vcpus`.
    pub fn new(clock: Arc<dyn Clock>, vcpus: Vec<Arc<Mailbox>>) -> Bus {
        Bus {
            windows: Vec::new(),
            controller: None,
            vcpus,
            clock,
            timers: Mutex::new(BTreeMap::new()),
            timer_changed: Condvar::new(),
            stop: Mutex::new(None),
        }
    }

    /// Puts `device` at physical addresses `base .. base + size`. Boards keep windows disjoint.
    pub fn add(&mut self, base: u64, size: u64, device: Box<dyn Device>) -> DeviceId {
        self.windows.push(Window { base, size, device: Mutex::new(device) });
        DeviceId(self.windows.len() - 1)
    }

    /// Names the device that [`Action::Irq`] goes to.
    pub fn set_controller(&mut self, id: DeviceId) {
        self.controller = Some(id);
    }

    /// The clock that devices see.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn find(&self, address: u64, width: Width) -> Option<(usize, u64)> {
        self.windows.iter().enumerate().find_map(|(index, w)| {
            let offset = address.checked_sub(w.base)?;
            (offset.checked_add(width.bytes())? <= w.size).then_some((index, offset))
        })
    }

    /// Reads a device register; `None` where no device answers.
    pub fn read(&self, address: u64, width: Width) -> Option<u64> {
        let (index, offset) = self.find(address, width)?;
        let now = self.clock.now();
        Some(self.run(index, |device, out| device.read(offset, width, now, out)) & width.mask())
    }

    /// Writes a device register; `None` where no device answers.
    pub fn write(&self, address: u64, width: Width, value: u64) -> Option<()> {
        let (index, offset) = self.find(address, width)?;
        let now = self.clock.now();
        self.run(index, |device, out| device.write(offset, width, value & width.mask(), now, out));
        Some(())
    }

    /// Calls `f` with the device locked, then performs what it asked for.
    pub fn with<R>(&self, id: DeviceId, f: impl FnOnce(&mut dyn Device, &mut Actions) -> R) -> R {
        self.run(id.0, f)
    }

    fn run<R>(&self, index: usize, f: impl FnOnce(&mut dyn Device, &mut Actions) -> R) -> R {
        let mut out = Actions::new();
        let result = f(&mut **lock(&self.windows[index].device), &mut out);
        if !out.is_empty() {
            self.perform(index, out);
        }
        result
    }

    fn perform(&self, index: usize, mut out: Actions) {
        for action in out.take() {
            match action {
                Action::Irq { line, level } => {
                    if let Some(DeviceId(controller)) = self.controller {
                        self.run(controller, |device, out| device.input(line, level, out));
                    }
                }
                Action::Cpu { vcpu, line, level } => {
                    if let Some(mailbox) = self.vcpus.get(vcpu as usize) {
                        mailbox.set_line(line, level);
                    }
                }
                Action::Timer { at } => self.arm(index, at),
                Action::Stop(reason) => self.stop(reason),
            }
        }
    }

    fn arm(&self, index: usize, at: Option<u64>) {
        let mut timers = lock(&self.timers);
        match at {
            Some(at) => timers.insert(index, at),
            None => timers.remove(&index),
        };
        self.timer_changed.notify_all();
    }

    /// Stops the machine: the first reason counts; every vCPU is told to pause.
    pub fn stop(&self, reason: StopReason) {
        lock(&self.stop).get_or_insert(reason);
        for mailbox in &self.vcpus {
            mailbox.request(Mailbox::PAUSE);
        }
        self.timer_changed.notify_all();
    }

    /// Why the machine was stopped, if it was.
    pub fn stopped(&self) -> Option<StopReason> {
        lock(&self.stop).clone()
    }

    /// Forgets that the machine was stopped (for a reset).
    pub fn clear_stop(&self) -> Option<StopReason> {
        lock(&self.stop).take()
    }

    /// Resets every device.
    pub fn reset(&self) {
        for index in 0..self.windows.len() {
            self.run(index, |device, out| device.reset(out));
        }
    }

    /// The earliest time at which a device wants [`Device::timer`].
    pub fn next_timer(&self) -> Option<u64> {
        lock(&self.timers).values().min().copied()
    }

    /// Calls every device whose time has come.
    pub fn run_timers(&self) {
        let now = self.clock.now();
        loop {
            let due = {
                let mut timers = lock(&self.timers);
                let due = timers.iter().find(|(_, at)| **at <= now).map(|(index, _)| *index);
                if let Some(index) = due {
                    timers.remove(&index);
                }
                due
            };
            let Some(index) = due else { return };
            self.run(index, |device, out| device.timer(now, out));
        }
    }

    /// Wakes who sleeps in [`Bus::wait_timer`].
    pub fn wake_timers(&self) {
        self.timer_changed.notify_all();
    }

    /// Sleeps until the next device timer is due, the set of timers changes or `most` has passed.
    pub fn wait_timer(&self, most: Duration) {
        let timers = lock(&self.timers);
        let next = timers.values().min().map(|at| Duration::from_nanos(at.saturating_sub(self.clock.now())));
        let wait = next.unwrap_or(most).min(most);
        drop(self.timer_changed.wait_timeout(timers, wait).unwrap_or_else(PoisonError::into_inner));
    }
}
