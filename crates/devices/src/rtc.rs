//! The Goldfish real-time clock (Android's goldfish virtual hardware guide), which counts wall-clock
//! nanoseconds.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use trine_base::{Action, Actions, Clock, Device, StateError, Width, state, versions};

const TIME_LOW: u64 = 0x00;
const TIME_HIGH: u64 = 0x04;
const ALARM_LOW: u64 = 0x08;
const ALARM_HIGH: u64 = 0x0c;
const IRQ_ENABLED: u64 = 0x10;
const CLEAR_ALARM: u64 = 0x14;
const ALARM_STATUS: u64 = 0x18;
const CLEAR_INTERRUPT: u64 = 0x1c;

versions!(Saved of "the real-time clock" { V1(Registers) });

/// The clock.
pub struct GoldfishRtc {
    irq: u32,
    clock: Arc<dyn Clock>,
    registers: Registers,
}

/// The state that a guest can change.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Registers {
    /// Added to the host's wall-clock time: the guest may set the clock.
    offset: u64,
    latched: u32,
    time_high: u32,
    alarm: u64,
    alarm_high: u32,
    armed: bool,
    enabled: bool,
    pending: bool,
}

impl GoldfishRtc {
    /// Creates a clock on interrupt line `irq`.
    pub fn new(irq: u32, clock: Arc<dyn Clock>) -> GoldfishRtc {
        GoldfishRtc { irq, clock, registers: Registers::default() }
    }

    fn time(&self) -> u64 {
        self.clock.wall().wrapping_add(self.registers.offset)
    }

    /// Raises the alarm if it is due, and otherwise arms the timer for it; returns whether it was raised.
    fn alarm(&mut self, now: u64, out: &mut Actions) -> bool {
        let time = self.time();
        let r = &mut self.registers;
        let comes = r.armed && time >= r.alarm;
        if comes {
            (r.armed, r.pending) = (false, true);
        }
        let wait = r.alarm.saturating_sub(time);
        out.push(Action::Timer { at: r.armed.then(|| now.saturating_add(wait)) });
        comes
    }

    fn drive(&self, out: &mut Actions) {
        out.irq(self.irq, self.registers.pending && self.registers.enabled);
    }
}

impl Device for GoldfishRtc {
    fn name(&self) -> &str {
        "rtc"
    }

    fn read(&mut self, offset: u64, _width: Width, _now: u64, _out: &mut Actions) -> u64 {
        match offset {
            TIME_LOW => {
                let time = self.time();
                self.registers.latched = (time >> 32) as u32;
                time & 0xffff_ffff
            }
            TIME_HIGH => self.registers.latched as u64,
            ALARM_LOW => self.registers.alarm & 0xffff_ffff,
            ALARM_HIGH => self.registers.alarm >> 32,
            IRQ_ENABLED => self.registers.enabled as u64,
            ALARM_STATUS => self.registers.armed as u64,
            _ => 0,
        }
    }

    fn write(&mut self, offset: u64, _width: Width, value: u64, now: u64, out: &mut Actions) {
        match offset {
            TIME_HIGH => self.registers.time_high = value as u32,
            TIME_LOW => {
                let wanted = (self.registers.time_high as u64) << 32 | value & 0xffff_ffff;
                self.registers.offset = wanted.wrapping_sub(self.clock.wall());
            }
            ALARM_HIGH => self.registers.alarm_high = value as u32,
            ALARM_LOW => {
                self.registers.alarm = (self.registers.alarm_high as u64) << 32 | value & 0xffff_ffff;
                self.registers.armed = true;
            }
            IRQ_ENABLED => self.registers.enabled = value & 1 != 0,
            CLEAR_ALARM => self.registers.armed = false,
            CLEAR_INTERRUPT => self.registers.pending = false,
            _ => {}
        }
        self.alarm(now, out);
        self.drive(out);
    }

    /// The timer may come although the alarm was set anew meanwhile, or because the host's time jumped. That
    /// is not an event: driving the line then would be another interrupt to the controller.
    fn timer(&mut self, now: u64, out: &mut Actions) {
        if self.alarm(now, out) {
            self.drive(out);
        }
    }

    fn reset(&mut self, out: &mut Actions) {
        let r = &mut self.registers;
        (r.armed, r.enabled, r.pending, r.alarm) = (false, false, false, 0);
        out.push(Action::Timer { at: None });
        out.irq(self.irq, false);
    }

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(self.registers.clone()))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(registers) = state::load(state)?;
        self.registers = registers;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_base::CountClock;

    const EPOCH: u64 = 1_700_000_000_123_456_789;
    const IRQ: u32 = 11;

    struct Test {
        clock: Arc<CountClock>,
        rtc: GoldfishRtc,
        line: bool,
        timer: Option<u64>,
    }

    impl Test {
        fn new() -> Test {
            let clock = Arc::new(CountClock::new(1, EPOCH));
            Test { rtc: GoldfishRtc::new(IRQ, clock.clone()), clock, line: false, timer: None }
        }

        fn note(&mut self, mut out: Actions) {
            for action in out.drain() {
                match action {
                    Action::Irq { line: IRQ, level } => self.line = level,
                    Action::Timer { at } => self.timer = at,
                    other => panic!("{other:?}"),
                }
            }
        }

        fn read(&mut self, offset: u64) -> u64 {
            let (mut out, now) = (Actions::new(), self.clock.now());
            let value = self.rtc.read(offset, Width::B4, now, &mut out);
            self.note(out);
            value
        }

        fn write(&mut self, offset: u64, value: u64) {
            let (mut out, now) = (Actions::new(), self.clock.now());
            self.rtc.write(offset, Width::B4, value, now, &mut out);
            self.note(out);
        }

        fn time(&mut self) -> u64 {
            self.read(TIME_LOW) | self.read(TIME_HIGH) << 32
        }

        fn set_alarm(&mut self, at: u64) {
            self.write(ALARM_HIGH, at >> 32);
            self.write(ALARM_LOW, at & 0xffff_ffff);
        }

        /// Advances the clock to `now`; calls the timer where it is due.
        fn at(&mut self, now: u64) {
            self.clock.set_count(now);
            if self.timer.is_some_and(|at| at <= now) {
                let mut out = Actions::new();
                self.rtc.timer(now, &mut out);
                self.note(out);
            }
        }
    }

    #[test]
    fn the_time_is_read_in_one_piece() {
        let mut t = Test::new();
        let low = t.read(TIME_LOW);
        t.at(1 << 32);
        assert_eq!(t.read(TIME_HIGH) << 32 | low, EPOCH, "the high half is that of the low half's time");
        assert_eq!(t.time(), EPOCH + (1 << 32));
    }

    #[test]
    fn the_guest_sets_the_time() {
        let mut t = Test::new();
        t.write(TIME_HIGH, 0x1234);
        t.write(TIME_LOW, 0x5678);
        t.at(1000);
        assert_eq!(t.time(), 0x1234_0000_5678 + 1000);
    }

    #[test]
    fn an_alarm_interrupts_once() {
        let mut t = Test::new();
        t.write(IRQ_ENABLED, 1);
        t.set_alarm(EPOCH + 500);
        assert_eq!((t.timer, t.line, t.read(ALARM_STATUS)), (Some(500), false, 1));
        t.at(500);
        assert_eq!((t.timer, t.line, t.read(ALARM_STATUS)), (None, true, 0));
        t.write(CLEAR_INTERRUPT, 1);
        assert!(!t.line);
        t.set_alarm(EPOCH);
        assert!(t.line, "an alarm in the past comes at once");
        assert_eq!(t.read(ALARM_LOW) | t.read(ALARM_HIGH) << 32, EPOCH);
    }

    #[test]
    fn alarms_are_taken_back_masked_and_reset() {
        let mut t = Test::new();
        t.set_alarm(EPOCH + 500);
        t.write(CLEAR_ALARM, 1);
        assert_eq!((t.timer, t.read(ALARM_STATUS)), (None, 0));
        t.set_alarm(EPOCH + 500);
        t.at(500);
        assert!(!t.line, "not enabled");
        t.write(IRQ_ENABLED, 1);
        assert!(t.line);
        let mut out = Actions::new();
        t.rtc.reset(&mut out);
        t.note(out);
        assert_eq!((t.line, t.read(IRQ_ENABLED)), (false, 0));
    }

    #[test]
    fn anything_a_guest_may_do() {
        let mut t = Test::new();
        for offset in 0..0x100 {
            for value in [0, 1, 0xffff_ffff] {
                t.write(offset, value);
                t.read(offset);
            }
        }
        t.set_alarm(u64::MAX);
        assert!(t.timer.is_some(), "far away");
    }
}
