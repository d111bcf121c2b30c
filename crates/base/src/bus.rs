//! A board's devices in one physical address space.

use crate::{Action, Actions, Clock, Device, Mailbox, StopReason, Width};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Handle of a device on a [`Bus`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceId(usize);

struct Window {
    base: u64,
    size: u64,
    device: Mutex<Box<dyn Device>>,
    /// Actions that the device asked for and that are not performed yet, in the device's order.
    asked: Mutex<VecDeque<Action>>,
    /// Held while actions of `asked` are performed, so that one thread at a time does so.
    performing: Mutex<()>,
}

/// When devices want [`Device::timer`].
#[derive(Default)]
struct Timers {
    /// Clock time in nanoseconds by device.
    at: BTreeMap<usize, u64>,
    /// Devices that want it as soon as possible, whatever their timer says.
    requested: BTreeSet<usize>,
}

impl Timers {
    fn next(&self) -> Option<u64> {
        if self.requested.is_empty() { self.at.values().min().copied() } else { Some(0) }
    }

    /// Takes a device whose time has come.
    fn take_due(&mut self, now: u64) -> Option<usize> {
        let due = || self.at.iter().find(|(_, at)| **at <= now).map(|(index, _)| *index);
        let index = self.requested.first().copied().or_else(due)?;
        self.requested.remove(&index);
        // A request leaves a later timer armed.
        if self.at.get(&index).is_some_and(|at| *at <= now) {
            self.at.remove(&index);
        }
        Some(index)
    }
}

/// The device windows of a board, its interrupt wiring and its timers.
///
/// What a device asks for is performed after it is unlocked, but in the order in which it was asked
/// for: the last level that a device drove is the one that its line has. Actions are queued while the
/// device is locked, and one thread at a time performs them; a call comes back only after its own
/// actions were performed, by whichever thread.
///
/// Lock order: the turn to perform a device's actions, then the interrupt controller, then the turn to
/// perform the controller's, then mailboxes and timers. Nothing waits for a turn with a device locked.
pub struct Bus {
    windows: Vec<Window>,
    controller: Option<DeviceId>,
    vcpus: Vec<Arc<Mailbox>>,
    clock: Arc<dyn Clock>,
    timers: Mutex<Timers>,
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
            timers: Mutex::default(),
            timer_changed: Condvar::new(),
            stop: Mutex::new(None),
        }
    }

    /// Puts `device` at physical addresses `base .. base + size`. Boards keep windows disjoint.
    pub fn add(&mut self, base: u64, size: u64, device: Box<dyn Device>) -> DeviceId {
        let device = Mutex::new(device);
        self.windows.push(Window {
            base,
            size,
            device,
            asked: Mutex::default(),
            performing: Mutex::default(),
        });
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
        let window = &self.windows[index];
        let mut out = Actions::new();
        let mut device = lock(&window.device);
        let result = f(&mut **device, &mut out);
        if out.is_empty() {
            return result;
        }
        // Queued before the device is unlocked: the queue has the order of the device's changes.
        lock(&window.asked).extend(out.take());
        drop(device);
        let _turn = lock(&window.performing);
        while let Some(action) = self.next_action(window) {
            self.perform(index, action);
        }
        result
    }

    fn next_action(&self, window: &Window) -> Option<Action> {
        lock(&window.asked).pop_front()
    }

    fn perform(&self, index: usize, action: Action) {
        match action {
            Action::Irq { line, level } => {
                // An input of the controller that the controller drives itself would wait for its own turn.
                if let Some(DeviceId(controller)) = self.controller.filter(|c| c.0 != index) {
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

    fn arm(&self, index: usize, at: Option<u64>) {
        let mut timers = lock(&self.timers);
        match at {
            // Never now: a device that asks for the past again and again must not keep busy who runs the timers.
            Some(at) => timers.at.insert(index, at.max(self.clock.now().saturating_add(1))),
            None => timers.at.remove(&index),
        };
        self.timers_changed(timers);
    }

    /// Has [`Device::timer`] of a device called soon, by the thread that runs the timers: for a caller that must not
    /// wait until the device is free.
    pub fn request_timer(&self, id: DeviceId) {
        let mut timers = lock(&self.timers);
        timers.requested.insert(id.0);
        self.timers_changed(timers);
    }

    fn timers_changed(&self, timers: MutexGuard<'_, Timers>) {
        drop(timers);
        self.timer_changed.notify_all();
        if self.clock.is_counted() {
            // A vCPU runs the timers, and decided before this change how far it goes.
            self.vcpus.iter().for_each(|mailbox| mailbox.kick());
        }
    }

    /// Stops the machine: the first reason counts; every vCPU is told to pause.
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

    /// The earliest time at which a device wants [`Device::timer`]; 0 where it wants it at once.
    pub fn next_timer(&self) -> Option<u64> {
        lock(&self.timers).next()
    }

    /// Calls every device whose time has come, each once.
    pub fn run_timers(&self) {
        let now = self.clock.now();
        loop {
            let due = lock(&self.timers).take_due(now);
            let Some(index) = due else { return };
            self.run(index, |device, out| device.timer(now, out));
        }
    }

    /// Wakes who sleeps in [`Bus::wait_timer`], which looks at its `done` again.
    pub fn wake_timers(&self) {
        // Locked, so that this does not fall between the other thread's look at `done` and its sleep.
        drop(lock(&self.timers));
        self.timer_changed.notify_all();
    }

    /// Sleeps until the next device timer is due, the set of timers changes, `most` has passed or `done` is true.
    /// Whoever sets `done` calls [`Bus::wake_timers`] afterwards.
    pub fn wait_timer(&self, most: Duration, done: &AtomicBool) {
        let timers = lock(&self.timers);
        if done.load(Ordering::SeqCst) {
            return;
        }
        let next = timers.next().map(|at| Duration::from_nanos(at.saturating_sub(self.clock.now())));
        let wait = next.unwrap_or(most).min(most);
        drop(self.timer_changed.wait_timeout(timers, wait).unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CountClock, HostClock};
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// What a test's device does in each call.
    type Act = Box<dyn FnMut(Call, &mut Actions) + Send>;

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Call {
        Write(u64),
        Timer,
        Input(u32, bool),
        Reset,
    }

    /// A device that notes its calls and does what a test says.
    struct Probe {
        calls: Sender<Call>,
        act: Act,
    }

    impl Probe {
        fn call(&mut self, call: Call, out: &mut Actions) {
            let _ = self.calls.send(call);
            (self.act)(call, out);
        }
    }

    impl Device for Probe {
        fn name(&self) -> &str {
            "probe"
        }
        fn read(&mut self, offset: u64, _: Width, _: u64, _: &mut Actions) -> u64 {
            !0 - offset
        }
        fn write(&mut self, _: u64, _: Width, value: u64, _: u64, out: &mut Actions) {
            self.call(Call::Write(value), out);
        }
        fn timer(&mut self, _: u64, out: &mut Actions) {
            self.call(Call::Timer, out);
        }
        fn input(&mut self, line: u32, level: bool, out: &mut Actions) {
            self.call(Call::Input(line, level), out);
        }
        fn reset(&mut self, out: &mut Actions) {
            self.call(Call::Reset, out);
        }
    }

    fn probe(act: impl FnMut(Call, &mut Actions) + Send + 'static) -> (Box<Probe>, Receiver<Call>) {
        let (calls, seen) = channel();
        (Box::new(Probe { calls, act: Box::new(act) }), seen)
    }

    fn counted() -> (Bus, Arc<CountClock>, Arc<Mailbox>) {
        let (clock, mailbox) = (Arc::new(CountClock::new(1, 0)), Arc::new(Mailbox::new()));
        (Bus::new(clock.clone(), vec![mailbox.clone()]), clock, mailbox)
    }

    const CPU_LINE: u32 = 5;

    fn line(mailbox: &Mailbox) -> bool {
        mailbox.lines.load(Ordering::SeqCst) >> CPU_LINE & 1 != 0
    }

    /// One thread raises a line and is held up after its device was unlocked; another lowers the line meanwhile.
    #[test]
    fn the_last_level_of_a_device_wins() {
        let mailbox = Arc::new(Mailbox::new());
        let mut bus = Bus::new(Arc::new(HostClock::new()), vec![mailbox.clone()]);
        let (device, _seen) = probe(|call, out| {
            if call == Call::Write(1) {
                out.irq(1, true);
            }
            out.push(Action::Cpu { vcpu: 0, line: CPU_LINE, level: call == Call::Write(1) });
        });
        bus.add(0, 8, device);
        let (lowered, wait) = channel::<()>();
        let (controller, held_up) = probe(move |_, _| {
            // In the wrong order the other thread comes through; in the right one it waits for this.
            let _ = wait.recv_timeout(Duration::from_millis(300));
        });
        let id = bus.add(8, 8, controller);
        bus.set_controller(id);
        std::thread::scope(|scope| {
            scope.spawn(|| bus.write(0, Width::B1, 1));
            assert_eq!(held_up.recv(), Ok(Call::Input(1, true)));
            assert_eq!(bus.write(0, Width::B1, 0), Some(()));
            assert!(!line(&mailbox), "the write that lowers the line has come back");
            drop(lowered);
        });
        assert!(!line(&mailbox), "the line has the level that the device asked for last");
    }

    #[test]
    fn two_threads_at_one_device() {
        let mailbox = Arc::new(Mailbox::new());
        let mut bus = Bus::new(Arc::new(HostClock::new()), vec![mailbox.clone()]);
        let level = Arc::new(AtomicBool::new(false));
        let theirs = level.clone();
        let (device, _seen) = probe(move |call, out| {
            let level = call == Call::Write(1);
            theirs.store(level, Ordering::SeqCst);
            out.push(Action::Cpu { vcpu: 0, line: CPU_LINE, level });
        });
        bus.add(0, 8, device);
        let barrier = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            let rounds = |value| {
                let (bus, barrier, level, mailbox) = (&bus, &barrier, &level, &mailbox);
                move || {
                    for _ in 0..20_000 {
                        barrier.wait();
                        bus.write(0, Width::B1, value);
                        barrier.wait();
                        assert_eq!(line(mailbox), level.load(Ordering::SeqCst));
                    }
                }
            };
            scope.spawn(rounds(1));
            scope.spawn(rounds(0));
        });
    }

    #[test]
    fn accesses_outside_windows_find_nothing() {
        let (mut bus, ..) = counted();
        let (device, seen) = probe(|_, _| {});
        bus.add(0x1000, 0x10, device);
        assert_eq!(bus.read(0x100f, Width::B1), Some(0xf0), "cut to the width");
        assert_eq!(bus.read(0x100f, Width::B2), None);
        assert_eq!(bus.read(0xfff, Width::B2), None);
        assert_eq!(bus.write(u64::MAX, Width::B8, 0), None);
        assert_eq!(bus.write(0x1008, Width::B4, 0x1_2345_6789), Some(()));
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Call::Write(0x2345_6789)]);
    }

    #[test]
    fn a_controller_that_drives_an_input_of_its_own() {
        let (mut bus, ..) = counted();
        let (controller, seen) = probe(|_, out| out.irq(3, true));
        let id = bus.add(0, 8, controller);
        bus.set_controller(id);
        bus.reset();
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Call::Reset]);
    }

    #[test]
    fn timers_run_once_when_due() {
        let (mut bus, clock, _) = counted();
        let (device, seen) = probe(|call, out| {
            if let Call::Write(at) = call {
                out.push(Action::Timer { at: (at != 0).then_some(at) });
            }
        });
        bus.add(0, 8, device);
        bus.write(0, Width::B8, 100);
        clock.set_count(99);
        bus.run_timers();
        assert_eq!((bus.next_timer(), seen.try_iter().count()), (Some(100), 1));
        clock.set_count(100);
        bus.run_timers();
        bus.run_timers();
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Call::Timer]);
        bus.write(0, Width::B8, 200);
        bus.write(0, Width::B8, 0);
        assert_eq!(bus.next_timer(), None, "disarmed");
    }

    #[test]
    fn a_timer_that_is_always_late_lets_others_run() {
        let (mut bus, clock, _) = counted();
        let (device, seen) = probe(|_, out| out.push(Action::Timer { at: Some(0) }));
        bus.add(0, 8, device);
        bus.reset();
        for count in 1..4 {
            clock.set_count(count);
            bus.run_timers();
        }
        assert_eq!(seen.try_iter().filter(|c| *c == Call::Timer).count(), 3, "once each time");
    }

    #[test]
    fn a_requested_call_leaves_the_timer_armed() {
        let (mut bus, _, mailbox) = counted();
        let (device, seen) = probe(|call, out| {
            if call == Call::Reset {
                out.push(Action::Timer { at: Some(50) });
            }
        });
        let id = bus.add(0, 8, device);
        bus.reset();
        mailbox.limit.store(1000, Ordering::SeqCst);
        bus.request_timer(id);
        assert_eq!(bus.next_timer(), Some(0));
        assert_eq!(mailbox.limit.load(Ordering::SeqCst), 0, "a vCPU that runs the timers is told");
        bus.run_timers();
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Call::Reset, Call::Timer]);
        assert_eq!(bus.next_timer(), Some(50));
    }

    #[test]
    fn a_timer_armed_while_a_counting_vcpu_runs_stops_it() {
        let (mut bus, _, mailbox) = counted();
        let (device, _seen) = probe(|_, out| out.push(Action::Timer { at: Some(50) }));
        bus.add(0, 8, device);
        mailbox.limit.store(1000, Ordering::SeqCst);
        bus.write(0, Width::B1, 0);
        assert_eq!(mailbox.limit.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn who_waits_for_timers_sees_the_end() {
        let bus = Bus::new(Arc::new(HostClock::new()), Vec::new());
        let start = std::time::Instant::now();
        for _ in 0..200 {
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(Ordering::SeqCst) {
                        bus.wait_timer(Duration::from_secs(20), &done);
                    }
                });
                done.store(true, Ordering::SeqCst);
                bus.wake_timers();
            });
        }
        assert!(start.elapsed() < Duration::from_secs(10), "slept though it was over");
    }

    #[test]
    fn the_first_reason_to_stop_counts() {
        let (mut bus, _, mailbox) = counted();
        let (device, _seen) = probe(|call, out| {
            if let Call::Write(code) = call {
                out.push(Action::Stop(StopReason::Failure(code as u32)));
            }
        });
        bus.add(0, 8, device);
        bus.write(0, Width::B1, 3);
        bus.write(0, Width::B1, 4);
        assert_eq!(mailbox.take_requests(), Mailbox::PAUSE);
        assert_eq!(bus.stopped(), Some(StopReason::Failure(3)));
        assert_eq!(bus.clear_stop(), Some(StopReason::Failure(3)));
        assert_eq!(bus.stopped(), None);
    }
}
