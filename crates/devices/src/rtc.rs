//! Goldfish real-time clock (Android's goldfish virtual hardware guide): wall-clock nanoseconds.

use std::sync::Arc;
use trine_base::{Action, Actions, Clock, Device, Width};

const TIME_LOW: u64 = 0x00;
const TIME_HIGH: u64 = 0x04;
const ALARM_LOW: u64 = 0x08;
const ALARM_HIGH: u64 = 0x0c;
const IRQ_ENABLED: u64 = 0x10;
const CLEAR_ALARM: u64 = 0x14;
const ALARM_STATUS: u64 = 0x18;
const CLEAR_INTERRUPT: u64 = 0x1c;

/// The clock.
pub struct GoldfishRtc {
    irq: u32,
    clock: Arc<dyn Clock>,
    /// Added to the host's time: the guest may set the clock.
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
    /// A clock on interrupt line `irq`.
    pub fn new(irq: u32, clock: Arc<dyn Clock>) -> GoldfishRtc {
        GoldfishRtc {
            irq,
            clock,
            offset: 0,
            latched: 0,
            time_high: 0,
            alarm: 0,
            alarm_high: 0,
            armed: false,
            enabled: false,
            pending: false,
        }
    }

    fn time(&self) -> u64 {
        self.clock.wall().wrapping_add(self.offset)
    }

    fn update(&mut self, now: u64, out: &mut Actions) {
        if self.armed && self.time() >= self.alarm {
            self.armed = false;
            self.pending = true;
        }
        let wait = self.alarm.saturating_sub(self.time());
        out.push(Action::Timer { at: self.armed.then(|| now.saturating_add(wait)) });
        out.irq(self.irq, self.pending && self.enabled);
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
                self.latched = (time >> 32) as u32;
                time & 0xffff_ffff
            }
            TIME_HIGH => self.latched as u64,
            ALARM_LOW => self.alarm & 0xffff_ffff,
            ALARM_HIGH => self.alarm >> 32,
            IRQ_ENABLED => self.enabled as u64,
            ALARM_STATUS => self.armed as u64,
            _ => 0,
        }
    }

    fn write(&mut self, offset: u64, _width: Width, value: u64, now: u64, out: &mut Actions) {
        match offset {
            TIME_HIGH => self.time_high = value as u32,
            TIME_LOW => {
                let wanted = (self.time_high as u64) << 32 | value & 0xffff_ffff;
                self.offset = wanted.wrapping_sub(self.clock.wall());
            }
            ALARM_HIGH => self.alarm_high = value as u32,
            ALARM_LOW => {
                self.alarm = (self.alarm_high as u64) << 32 | value & 0xffff_ffff;
                self.armed = true;
            }
            IRQ_ENABLED => self.enabled = value & 1 != 0,
            CLEAR_ALARM => self.armed = false,
            CLEAR_INTERRUPT => self.pending = false,
            _ => {}
        }
        self.update(now, out);
    }

    fn timer(&mut self, now: u64, out: &mut Actions) {
        self.update(now, out);
    }

    fn reset(&mut self, out: &mut Actions) {
        (self.armed, self.enabled, self.pending, self.alarm) = (false, false, false, 0);
        out.push(Action::Timer { at: None });
        out.irq(self.irq, false);
    }
}
