//! NS16550A UART (National Semiconductor PC16550D data sheet, June 1995). Transmission takes no
//! time; the receive FIFO is filled from the console's input as it is emptied.

use super::Output;
use super::input::{ConsoleInput, Item};
use std::collections::VecDeque;
use std::sync::Arc;
use trine_base::{Action, Actions, Device, Width};

/// Bytes of the receive FIFO.
const FIFO: usize = 16;

/// Interrupt enable register.
mod ier {
    pub const RECEIVED: u8 = 1;
    pub const TRANSMITTER_EMPTY: u8 = 2;
    pub const LINE_STATUS: u8 = 4;
}
/// Line status register.
mod lsr {
    pub const DATA_READY: u8 = 1;
    pub const OVERRUN: u8 = 2;
    pub const BREAK: u8 = 0x10;
    pub const EMPTY: u8 = 0x60;
}
/// Line control register: divisor latch access.
const DLAB: u8 = 0x80;
/// Modem control register: loopback, and the outputs.
const LOOP: u8 = 0x10;

/// One UART.
pub struct Ns16550a {
    irq: u32,
    out: Output,
    input: Arc<ConsoleInput>,
    fifo: VecDeque<Item>,
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    scr: u8,
    divisor: [u8; 2],
    overrun: bool,
    /// The transmitter-empty interrupt is pending.
    thre: bool,
    /// Reads of the line status since anything else was done.
    polls: u32,
    /// Clock time at which the first input may arrive.
    settled: u64,
}

/// Nanoseconds after a driver starts to listen in which nothing arrives: drivers read the receive
/// register once more "for luck" then, and what is typed ahead should not be lost to that.
const SETTLE: u64 = 20_000_000;

/// Reads of the line status in a row that make a program one that waits for input by polling.
const POLLING: u32 = 16;

impl Ns16550a {
    /// A UART on interrupt line `irq`.
    pub fn new(irq: u32, out: Output, input: Arc<ConsoleInput>) -> Ns16550a {
        Ns16550a {
            irq,
            out,
            input,
            fifo: VecDeque::new(),
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            scr: 0,
            divisor: [12, 0],
            overrun: false,
            thre: false,
            polls: 0,
            settled: 0,
        }
    }

    fn capacity(&self) -> usize {
        if self.fcr & 1 != 0 { FIFO } else { 1 }
    }

    /// Takes input as the guest is ready for it: what is typed before a driver opens the port is
    /// not lost when the driver clears the FIFO.
    fn fill(&mut self, now: u64) {
        let driven = self.ier & ier::RECEIVED != 0 && now >= self.settled;
        let listening = driven || self.polls > POLLING;
        while listening && self.mcr & LOOP == 0 && self.fifo.len() < self.capacity() {
            match self.input.pop_item() {
                Some(item) => self.fifo.push_back(item),
                None => return,
            }
        }
    }

    fn receive(&mut self) -> u8 {
        match self.fifo.pop_front() {
            Some(Item::Byte(b)) => b,
            Some(Item::Break) | None => 0,
        }
    }

    fn line_status(&mut self, now: u64) -> u8 {
        self.polls = self.polls.saturating_add(1);
        self.fill(now);
        let head = match self.fifo.front() {
            None => 0,
            Some(Item::Byte(_)) => lsr::DATA_READY,
            Some(Item::Break) => lsr::DATA_READY | lsr::BREAK,
        };
        lsr::EMPTY | head | if std::mem::take(&mut self.overrun) { lsr::OVERRUN } else { 0 }
    }

    /// Received bytes at which "data available" is said; below, it is a time-out.
    fn trigger(&self) -> usize {
        if self.fcr & 1 == 0 { 1 } else { [1, 4, 8, 14][(self.fcr >> 6) as usize] }
    }

    /// Interrupt identification: the most urgent pending source.
    fn iir(&self) -> u8 {
        let fifos = if self.fcr & 1 != 0 { 0xc0 } else { 0 };
        fifos
            | if self.ier & ier::LINE_STATUS != 0 && self.overrun {
                6
            } else if self.ier & ier::RECEIVED != 0 && !self.fifo.is_empty() {
                if self.fifo.len() >= self.trigger() { 4 } else { 12 }
            } else if self.ier & ier::TRANSMITTER_EMPTY != 0 && self.thre {
                2
            } else {
                1
            }
    }

    fn update(&mut self, now: u64, out: &mut Actions) {
        self.fill(now);
        out.irq(self.irq, self.iir() & 1 == 0);
    }

    fn transmit(&mut self, byte: u8) {
        if self.mcr & LOOP == 0 {
            (self.out)(&[byte]);
        } else if self.fifo.len() < self.capacity() {
            self.fifo.push_back(Item::Byte(byte));
        } else {
            self.overrun = true;
        }
        self.thre = true;
    }

    fn write_fcr(&mut self, value: u8) {
        if (value ^ self.fcr) & 1 != 0 || value & 2 != 0 {
            self.fifo.clear();
        }
        self.fcr = if value & 1 != 0 { value & 0xc9 } else { 0 };
    }

    /// Modem status: connected and ready; in loopback the outputs come back.
    fn msr(&self) -> u8 {
        if self.mcr & LOOP == 0 {
            return 0xb0;
        }
        (self.mcr & 1) << 5 | (self.mcr & 2) << 3 | (self.mcr & 4) << 4 | (self.mcr & 8) << 4
    }
}

impl Device for Ns16550a {
    fn name(&self) -> &str {
        "uart0"
    }

    fn read(&mut self, offset: u64, _width: Width, now: u64, out: &mut Actions) -> u64 {
        let latch = self.lcr & DLAB != 0;
        if offset != 5 {
            self.polls = 0;
        }
        self.fill(now);
        let value = match offset {
            0 if latch => self.divisor[0],
            1 if latch => self.divisor[1],
            0 => self.receive(),
            1 => self.ier,
            2 => {
                let iir = self.iir();
                if iir & 15 == 2 {
                    self.thre = false;
                }
                iir
            }
            3 => self.lcr,
            4 => self.mcr,
            5 => self.line_status(now),
            6 => self.msr(),
            7 => self.scr,
            _ => 0,
        };
        self.update(now, out);
        value as u64
    }

    fn write(&mut self, offset: u64, _width: Width, value: u64, now: u64, out: &mut Actions) {
        let value = value as u8;
        self.polls = 0;
        let latch = self.lcr & DLAB != 0;
        match offset {
            0 if latch => self.divisor[0] = value,
            1 if latch => self.divisor[1] = value,
            0 => self.transmit(value),
            1 => {
                // Enabling the transmitter's interrupt raises it: the transmitter is always empty.
                self.thre |= value & !self.ier & ier::TRANSMITTER_EMPTY != 0;
                if value & !self.ier & ier::RECEIVED != 0 {
                    self.settled = now.saturating_add(SETTLE);
                    out.push(Action::Timer { at: Some(self.settled) });
                }
                self.ier = value & 15;
            }
            2 => self.write_fcr(value),
            3 => self.lcr = value,
            4 => self.mcr = value & 0x1f,
            7 => self.scr = value,
            _ => {}
        }
        self.update(now, out);
    }

    fn timer(&mut self, now: u64, out: &mut Actions) {
        self.update(now, out);
    }

    fn reset(&mut self, out: &mut Actions) {
        self.fifo.clear();
        (self.ier, self.fcr, self.lcr, self.mcr, self.scr) = (0, 0, 0, 0, 0);
        self.divisor = [12, 0];
        self.overrun = false;
        self.thre = false;
        out.irq(self.irq, false);
    }
}
