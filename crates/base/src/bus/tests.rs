//! How a bus performs the actions of its devices.

mod local;
mod routed;

use super::*;
use crate::{CountClock, HostClock, StateError, state, versions};
use std::sync::mpsc::{Receiver, Sender, channel};

/// What a test's device does in each call.
type Act = Box<dyn FnMut(Call, &mut Actions) + Send>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    Write(u64),
    Timer,
    Quiesce,
    Input(u32, bool),
    Message(u64, u32),
    Acknowledge,
    Reset,
}

/// A device that records its calls and does what a test tells it to.
pub struct Probe {
    calls: Sender<Call>,
    act: Act,
    /// The interrupts that it acknowledges, the last one first.
    pending: Vec<u32>,
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
    fn quiesce(&mut self, out: &mut Actions) {
        self.call(Call::Quiesce, out);
    }
    fn input(&mut self, line: u32, level: bool, out: &mut Actions) {
        self.call(Call::Input(line, level), out);
    }
    fn message(&mut self, address: u64, data: u32, out: &mut Actions) {
        self.call(Call::Message(address, data), out);
    }
    fn acknowledge(&mut self, out: &mut Actions) -> Option<u32> {
        self.call(Call::Acknowledge, out);
        self.pending.pop()
    }
    fn reset(&mut self, out: &mut Actions) {
        self.call(Call::Reset, out);
    }
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }
    fn load(&mut self, _: &[u8]) -> Result<(), StateError> {
        Ok(())
    }
}

/// A probe, and the calls that it has had.
pub fn probe(act: impl FnMut(Call, &mut Actions) + Send + 'static) -> (Box<Probe>, Receiver<Call>) {
    let (calls, seen) = channel();
    (Box::new(Probe { calls, act: Box::new(act), pending: Vec::new() }), seen)
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
    bus.add(0, 8, device).unwrap();
    let (lowered, wait) = channel::<()>();
    let (controller, held_up) = probe(move |_, _| {
        // In the wrong order the other thread comes through; in the right one it waits for this.
        let _ = wait.recv_timeout(Duration::from_millis(300));
    });
    let id = bus.add(8, 8, controller).unwrap();
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
    bus.add(0, 8, device).unwrap();
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
    bus.add(0x1000, 0x10, device).unwrap();
    assert_eq!(bus.read(0x100f, Width::B1), Some(0xf0), "cut to the width");
    assert_eq!(bus.read(0x100f, Width::B2), None);
    assert_eq!(bus.read(0xfff, Width::B2), None);
    assert_eq!(bus.write(u64::MAX, Width::B8, 0), None);
    assert_eq!(bus.write(0x1008, Width::B4, 0x1_2345_6789), Some(()));
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Call::Write(0x2345_6789)]);
}

#[test]
fn ports_are_a_space_of_their_own() {
    let (mut bus, ..) = counted();
    let (serial, seen) = probe(|_, _| {});
    bus.add_ports(0x3f8, 8, serial).unwrap();
    bus.add(0x3f8, 8, probe(|_, _| panic!("memory is not meant")).0).unwrap();
    assert_eq!(bus.read_port(0x3f9, Width::B1), Some(0xfe));
    assert_eq!(bus.write_port(0x3fe, Width::B2, 0x1_2345), Some(()));
    assert_eq!((bus.read_port(0x3ff, Width::B2), bus.write_port(0xffff, Width::B4, 0)), (None, None));
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Call::Write(0x2345)]);
}

#[test]
fn an_overlap_names_both_devices_and_ranges() {
    let (mut bus, ..) = counted();
    let mut add = |base, size| bus.add(base, size, probe(|_, _| {}).0).map(|_| ()).map_err(|e| e.to_string());
    assert_eq!(add(0x1000, 0x100), Ok(()));
    let overlap = "'probe' at memory 0x10f0-0x110f overlaps 'probe' at 0x1000-0x10ff";
    assert_eq!(add(0x10f0, 0x20), Err(overlap.into()));
    let outside = "'probe' cannot have 0x2 bytes of memory at 0xffffffffffffffff: no such range of addresses";
    assert_eq!(add(u64::MAX, 2), Err(outside.into()));
    assert_eq!(add(0x1100, 0x20), Ok(()), "what was refused has no window");
}

#[test]
fn no_device_lies_in_memory() {
    let (mut bus, ..) = counted();
    let text = |result: Result<(), WindowError>| result.map_err(|e| e.to_string());
    assert_eq!(text(bus.reserve(0x1000, 0x1000, "RAM")), Ok(()));
    let device = bus.add(0x1ff8, 0x10, probe(|_, _| {}).0).map(|_| ());
    let overlap = "'probe' at memory 0x1ff8-0x2007 overlaps 'RAM' at 0x1000-0x1fff";
    assert_eq!(text(device), Err(overlap.into()));
    bus.add(0x2000, 8, probe(|_, _| {}).0).unwrap();
    let more = "'ROM' at memory 0x2000-0x2fff overlaps 'probe' at 0x2000-0x2007";
    assert_eq!(text(bus.reserve(0x2000, 0x1000, "ROM")), Err(more.into()));
    assert_eq!((bus.read(0x1000, Width::B8), bus.write(0x1000, Width::B1, 0)), (None, None));
}

#[test]
fn a_controller_that_drives_an_input_of_its_own() {
    let (mut bus, ..) = counted();
    let (controller, seen) = probe(|_, out| out.irq(3, true));
    let id = bus.add(0, 8, controller).unwrap();
    bus.set_controller(id);
    bus.reset();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Call::Reset]);
}

#[test]
fn an_event_is_posted_to_the_vcpu_that_is_meant() {
    let mailboxes = [Mailbox::new(), Mailbox::new()].map(Arc::new);
    let mut bus = Bus::new(Arc::new(CountClock::new(1, 0)), mailboxes.to_vec());
    let (device, _seen) = probe(|call, out| {
        if let Call::Write(vcpu) = call {
            out.push(Action::Edge { vcpu: vcpu as u32, number: 9 });
        }
    });
    bus.add(0, 8, device).unwrap();
    mailboxes.iter().for_each(|mailbox| mailbox.limit.store(1000, Ordering::SeqCst));
    bus.write(0, Width::B4, 1);
    bus.write(0, Width::B4, 2);
    let limits = [0, 1].map(|n: usize| mailboxes[n].limit.load(Ordering::SeqCst));
    assert_eq!(limits, [1000, 0], "only that vCPU is told");
    assert_eq!([0, 1, 1].map(|n: usize| mailboxes[n].take_edge(9)), [false, true, false]);
}

#[test]
fn timers_run_once_when_due() {
    let (mut bus, clock, _) = counted();
    let (device, seen) = probe(|call, out| {
        if let Call::Write(at) = call {
            out.push(Action::Timer { at: (at != 0).then_some(at) });
        }
    });
    bus.add(0, 8, device).unwrap();
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
    bus.add(0, 8, device).unwrap();
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
    let id = bus.add(0, 8, device).unwrap();
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
    bus.add(0, 8, device).unwrap();
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
    bus.add(0, 8, device).unwrap();
    bus.write(0, Width::B1, 3);
    bus.write(0, Width::B1, 4);
    assert_eq!(mailbox.take_requests(), Mailbox::PAUSE);
    assert_eq!(bus.stopped(), Some(StopReason::Failure(3)));
}

#[test]
fn no_timer_is_served_while_the_bus_is_paused() {
    let mailbox = Arc::new(Mailbox::new());
    let mut bus = Bus::new(Arc::new(HostClock::new()), vec![mailbox]);
    let (device, seen) = probe(|call, out| {
        if call == Call::Reset {
            out.push(Action::Timer { at: Some(1) });
        }
    });
    let id = bus.add(0, 8, device).unwrap();
    bus.reset();
    bus.pause();
    bus.request_timer(id);
    let at = bus.clock().now();
    bus.run_timers();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Call::Reset, Call::Quiesce]);
    assert_eq!(bus.clock().now(), at);
    // Who sleeps until the next timer does not wake again and again meanwhile.
    let start = std::time::Instant::now();
    bus.wait_timer(Duration::from_millis(20), &AtomicBool::new(false));
    assert!(start.elapsed() >= Duration::from_millis(20));
    bus.resume();
    bus.run_timers();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Call::Timer]);
}

#[test]
fn a_pause_waits_for_the_timer_that_is_served() {
    let mut bus = Bus::new(Arc::new(HostClock::new()), Vec::new());
    let served = Arc::new(AtomicBool::new(false));
    let theirs = served.clone();
    let (device, seen) = probe(move |call, _| {
        if call == Call::Timer {
            std::thread::sleep(Duration::from_millis(50));
            theirs.store(true, Ordering::SeqCst);
        }
    });
    let id = bus.add(0, 8, device).unwrap();
    bus.request_timer(id);
    std::thread::scope(|scope| {
        scope.spawn(|| bus.run_timers());
        assert_eq!(seen.recv(), Ok(Call::Timer));
        bus.pause();
        assert!(served.load(Ordering::SeqCst));
    });
}

/// A device that counts its writes, and asks for its timer and an interrupt at each.
struct Counter(&'static str, u64);

versions!(Saved of "the counter" { V1(u64) });

impl Device for Counter {
    fn name(&self) -> &str {
        self.0
    }
    fn read(&mut self, _: u64, _: Width, _: u64, _: &mut Actions) -> u64 {
        self.1
    }
    fn write(&mut self, _: u64, _: Width, value: u64, now: u64, out: &mut Actions) {
        self.1 += value;
        out.push(Action::Timer { at: Some(now + self.1) });
        out.push(Action::Cpu { vcpu: 0, line: CPU_LINE, level: true });
    }
    fn reset(&mut self, _: &mut Actions) {}
    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(self.1))
    }
    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(count) = state::load(state)?;
        self.1 = count;
        Ok(())
    }
}

fn counters(names: &[&'static str]) -> (Bus, Arc<CountClock>, Arc<Mailbox>) {
    let (mut bus, clock, mailbox) = counted();
    for (i, name) in names.iter().enumerate() {
        bus.add(8 * i as u64, 8, Box::new(Counter(name, 0))).unwrap();
    }
    (bus, clock, mailbox)
}

#[test]
fn a_saved_bus_comes_back_with_clock_devices_timers_and_lines() {
    let (old, clock, _) = counters(&["a", "b"]);
    clock.set_count(1000);
    for (address, value) in [(0, 5), (8, 7), (8, 8)] {
        old.write(address, Width::B1, value);
    }
    old.stop(StopReason::Failure(9));
    old.pause();
    let (new, clock, mailbox) = counters(&["a", "b"]);
    new.load(&old.save()).unwrap();
    assert_eq!([0, 8].map(|address| new.read(address, Width::B1)), [Some(5), Some(15)]);
    assert_eq!((clock.now(), new.next_timer(), line(&mailbox)), (1000, Some(1005), true));
    assert_eq!(new.stopped(), Some(StopReason::Failure(9)));
    assert_eq!(new.save(), old.save());
}

#[test]
fn a_bus_that_does_not_fit_or_is_damaged_is_refused() {
    let state = counters(&["a", "b"]).0.save();
    let error = |names: &[&'static str]| counters(names).0.load(&state).unwrap_err().to_string();
    let fits = "the saved state of the board's devices does not fit this machine: ";
    assert_eq!(error(&["a", "c"]), format!("{fits}it has the device 'b' where this one has 'c'"));
    assert_eq!(error(&["a"]), format!("{fits}it has 2 devices, but this machine has 1"));
    for end in 0..state.len() {
        assert!(counters(&["a", "b"]).0.load(&state[..end]).is_err(), "{end}");
    }
    for at in 0..state.len() {
        for bit in 0..8 {
            let mut state = state.clone();
            state[at] ^= 1 << bit;
            let (bus, clock, _) = counters(&["a", "b"]);
            if bus.load(&state).is_ok() {
                clock.set_count(u64::MAX);
                bus.run_timers();
                bus.read(8, Width::B1);
            }
        }
    }
}

#[test]
fn a_pause_makes_devices_quiet_and_has_them_go_on_afterwards() {
    let mailbox = Arc::new(Mailbox::new());
    let mut bus = Bus::new(Arc::new(HostClock::new()), vec![mailbox.clone()]);
    // Its other threads drive its line when they are stopped.
    let (device, seen) = probe(|call, out| {
        if call == Call::Quiesce {
            out.push(Action::Cpu { vcpu: 0, line: CPU_LINE, level: true });
        }
    });
    bus.add(0, 8, device).unwrap();
    assert!(!line(&mailbox));
    bus.pause();
    assert!(line(&mailbox), "what a device asks for then is done before the pause has begun");
    bus.run_timers();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Call::Quiesce], "nothing is served in a pause");
    bus.resume();
    bus.run_timers();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Call::Timer]);
}

#[test]
fn after_a_load_devices_are_called_once_in_counted_time_too() {
    let paused = || {
        let ((mut bus, ..), (device, calls)) = (counted(), probe(|_, _| ()));
        bus.add(0, 8, device).unwrap();
        bus.pause();
        (bus, calls)
    };
    let ((old, _old_calls), (new, calls)) = (paused(), paused());
    let timers = || calls.try_iter().filter(|call| *call == Call::Timer).count();
    new.load(&old.save()).unwrap();
    assert_eq!(new.save(), old.save());
    new.run_timers();
    assert_eq!(timers(), 0, "the bus is paused");
    new.resume();
    new.run_timers();
    assert_eq!(timers(), 1);
    // A pause without a load says nothing: the run would not repeat.
    new.pause();
    new.resume();
    new.run_timers();
    assert_eq!(timers(), 0);
}
