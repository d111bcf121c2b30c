//! The NS16550A UART (National Semiconductor PC16550D data sheet, June 1995). Transmission takes no time; the
//! receive FIFO is filled from the console's input as it is emptied.

use super::Output;
use super::input::{ConsoleInput, Item};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use trine_base::state::Versioned;
use trine_base::{Action, Actions, Device, StateError, Width, state, versions};

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
/// Interrupt identification register: no interrupt is pending.
const NO_INTERRUPT: u8 = 1;

/// One UART.
pub struct Ns16550a {
    irq: u32,
    out: Output,
    input: Arc<ConsoleInput>,
    registers: Registers,
}

/// The state that a guest and the input can change.
#[derive(Clone, Serialize, Deserialize)]
struct Registers {
    fifo: VecDeque<Item>,
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    scr: u8,
    divisor: [u8; 2],
    overrun: bool,
    /// Whether the transmitter-empty interrupt is pending.
    thre: bool,
    /// The interrupt identification at the time when the line was driven last.
    told: u8,
    /// Number of reads of the line status register since an access that programs which poll do not make.
    polls: u32,
    /// Clock time in nanoseconds from which input may arrive.
    settled: u64,
}

impl Default for Registers {
    /// The state after power-on.
    fn default() -> Registers {
        Registers {
            fifo: VecDeque::new(),
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            scr: 0,
            divisor: [12, 0],
            overrun: false,
            thre: false,
            told: NO_INTERRUPT,
            polls: 0,
            settled: 0,
        }
    }
}

/// The first version of the saved state.
#[derive(Serialize, Deserialize)]
struct V1 {
    registers: Registers,
    /// Input that has not reached the FIFO yet.
    input: Vec<Item>,
}

versions!(Saved of "the serial port" { V1(V1) });

/// Nanoseconds after a driver starts to listen during which no input arrives: drivers read the receive
/// register once more "for luck" then, and what was typed ahead must not be lost to that.
const SETTLE: u64 = 20_000_000;

/// Number of reads of the line status after which a program counts as one that polls for input. In between it may take input,
/// and look at the modem's registers: EDK2 does before each look at the line status.
const POLLING: u32 = 16;

impl Ns16550a {
    /// Creates a UART on interrupt line `irq`.
    pub fn new(irq: u32, out: Output, input: Arc<ConsoleInput>) -> Ns16550a {
        Ns16550a { irq, out, input, registers: Registers::default() }
    }

    fn capacity(&self) -> usize {
        if self.registers.fcr & 1 != 0 { FIFO } else { 1 }
    }

    /// Takes input once the guest is ready for it, so that what was typed before a driver opens the port is
    /// not lost when the driver clears the FIFO. Returns whether any input was taken.
    fn fill(&mut self, now: u64) -> bool {
        let before = self.registers.fifo.len();
        let driven = self.registers.ier & ier::RECEIVED != 0 && now >= self.registers.settled;
        let listening = driven || self.registers.polls > POLLING;
        while listening && self.registers.mcr & LOOP == 0 && self.registers.fifo.len() < self.capacity() {
            match self.input.pop_item() {
                Some(item) => self.registers.fifo.push_back(item),
                None => break,
            }
        }
        self.registers.fifo.len() > before
    }

    fn receive(&mut self) -> u8 {
        match self.registers.fifo.pop_front() {
            Some(Item::Byte(b)) => b,
            Some(Item::Break) | None => 0,
        }
    }

    fn line_status(&mut self) -> u8 {
        let head = match self.registers.fifo.front() {
            None => 0,
            Some(Item::Byte(_)) => lsr::DATA_READY,
            Some(Item::Break) => lsr::DATA_READY | lsr::BREAK,
        };
        lsr::EMPTY | head | if std::mem::take(&mut self.registers.overrun) { lsr::OVERRUN } else { 0 }
    }

    /// Number of received bytes at which "data available" is reported; below it, a time-out is.
    fn trigger(&self) -> usize {
        if self.registers.fcr & 1 == 0 { 1 } else { [1, 4, 8, 14][(self.registers.fcr >> 6) as usize] }
    }

    /// Interrupt identification: the most urgent pending source.
    fn iir(&self) -> u8 {
        let fifos = if self.registers.fcr & 1 != 0 { 0xc0 } else { 0 };
        fifos
            | if self.registers.ier & ier::LINE_STATUS != 0 && self.registers.overrun {
                6
            } else if self.registers.ier & ier::RECEIVED != 0 && !self.registers.fifo.is_empty() {
                if self.registers.fifo.len() >= self.trigger() { 4 } else { 12 }
            } else if self.registers.ier & ier::TRANSMITTER_EMPTY != 0 && self.registers.thre {
                2
            } else {
                NO_INTERRUPT
            }
    }

    /// Drives the interrupt line where the reason for an interrupt changed, and at an `event`. At an event
    /// the line is driven even where it is high already, which is another interrupt to the controller.
    /// Accesses that are not events must not do that: a driver that never reads the interrupt identification
    /// leaves the line high, and its own reads of the line status would interrupt it.
    fn update(&mut self, event: bool, now: u64, out: &mut Actions) {
        let event = self.fill(now) || event;
        let iir = self.iir();
        if event || iir != self.registers.told {
            self.registers.told = iir;
            out.irq(self.irq, iir & NO_INTERRUPT == 0);
        }
    }

    fn transmit(&mut self, byte: u8) {
        if self.registers.mcr & LOOP == 0 {
            (self.out)(&[byte]);
        } else if self.registers.fifo.len() < self.capacity() {
            self.registers.fifo.push_back(Item::Byte(byte));
        } else {
            self.registers.overrun = true;
        }
        self.registers.thre = true;
    }

    fn write_fcr(&mut self, value: u8) {
        if (value ^ self.registers.fcr) & 1 != 0 || value & 2 != 0 {
            self.clear_fifo();
        }
        self.registers.fcr = if value & 1 != 0 { value & 0xc9 } else { 0 };
    }

    /// Empties the receive FIFO. What was typed comes again later: a driver that opens the port (Linux) enables the receive
    /// interrupt first and the FIFO, which clears it, afterwards; how much later depends on the host.
    fn clear_fifo(&mut self) {
        let items = std::mem::take(&mut self.registers.fifo);
        if self.registers.mcr & LOOP == 0 {
            self.input.give_back(items);
        }
    }

    /// Modem status: connected and ready; in loopback mode the outputs are connected to it.
    fn msr(&self) -> u8 {
        if self.registers.mcr & LOOP == 0 {
            return 0xb0;
        }
        (self.registers.mcr & 1) << 5
            | (self.registers.mcr & 2) << 3
            | (self.registers.mcr & 4) << 4
            | (self.registers.mcr & 8) << 4
    }
}

impl Device for Ns16550a {
    fn name(&self) -> &str {
        "uart0"
    }

    fn read(&mut self, offset: u64, _width: Width, now: u64, out: &mut Actions) -> u64 {
        let latch = self.registers.lcr & DLAB != 0;
        self.registers.polls = match offset {
            5 => self.registers.polls.saturating_add(1),
            0 if !latch && !self.registers.fifo.is_empty() => self.registers.polls,
            4 | 6 => self.registers.polls,
            _ => 0,
        };
        let came = self.fill(now);
        let value = match offset {
            0 if latch => self.registers.divisor[0],
            1 if latch => self.registers.divisor[1],
            0 => self.receive(),
            1 => self.registers.ier,
            2 => {
                let iir = self.iir();
                if iir & 15 == 2 {
                    self.registers.thre = false;
                }
                iir
            }
            3 => self.registers.lcr,
            4 => self.registers.mcr,
            5 => self.line_status(),
            6 => self.msr(),
            7 => self.registers.scr,
            _ => 0,
        };
        self.update(came || offset == 0 && !latch, now, out);
        value as u64
    }

    fn write(&mut self, offset: u64, _width: Width, value: u64, now: u64, out: &mut Actions) {
        let value = value as u8;
        self.registers.polls = 0;
        let latch = self.registers.lcr & DLAB != 0;
        let mut event = false;
        match offset {
            0 if latch => self.registers.divisor[0] = value,
            1 if latch => self.registers.divisor[1] = value,
            0 => {
                self.transmit(value);
                event = true;
            }
            1 => {
                // Enabling the transmitter's interrupt raises it at once: the transmitter is always empty.
                self.registers.thre |= value & !self.registers.ier & ier::TRANSMITTER_EMPTY != 0;
                if value & !self.registers.ier & ier::RECEIVED != 0 {
                    self.registers.settled = now.saturating_add(SETTLE);
                    out.push(Action::Timer { at: Some(self.registers.settled) });
                }
                event = value & 15 != self.registers.ier;
                self.registers.ier = value & 15;
            }
            2 => {
                self.write_fcr(value);
                event = true;
            }
            3 => self.registers.lcr = value,
            4 => self.registers.mcr = value & 0x1f,
            7 => self.registers.scr = value,
            _ => {}
        }
        self.update(event, now, out);
    }

    fn timer(&mut self, now: u64, out: &mut Actions) {
        self.update(false, now, out);
    }

    fn reset(&mut self, out: &mut Actions) {
        self.registers = Registers::default();
        out.push(Action::Timer { at: None });
        out.irq(self.irq, false);
    }

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(V1 { registers: self.registers.clone(), input: self.input.items() }))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(V1 { registers, input }) = state::load(state)?;
        if registers.fifo.len() > FIFO {
            return Err(Saved::damaged(format!("its FIFO holds {} bytes", registers.fifo.len())));
        }
        self.input.replace(input).map_err(Saved::damaged)?;
        self.registers = registers;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    const IRQ: u32 = 10;
    /// A time at which input may arrive.
    const LATER: u64 = 2 * SETTLE;

    struct Test {
        uart: Ns16550a,
        input: Arc<ConsoleInput>,
        sent: Arc<Mutex<Vec<u8>>>,
        /// The levels to which the line was driven.
        line: Vec<bool>,
    }

    impl Test {
        fn new() -> Test {
            let (input, sent) = (Arc::new(ConsoleInput::new()), Arc::new(Mutex::new(Vec::new())));
            let theirs = sent.clone();
            let out: Output = Box::new(move |bytes| theirs.lock().unwrap().extend_from_slice(bytes));
            Test { uart: Ns16550a::new(IRQ, out, input.clone()), input, sent, line: Vec::new() }
        }

        fn note(&mut self, mut out: Actions) {
            for action in out.drain() {
                match action {
                    Action::Irq { line: IRQ, level } => self.line.push(level),
                    Action::Timer { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        }

        fn read(&mut self, offset: u64) -> u8 {
            let mut out = Actions::new();
            let value = self.uart.read(offset, Width::B1, LATER, &mut out);
            self.note(out);
            value as u8
        }

        fn write(&mut self, offset: u64, value: u8) {
            self.write_at(offset, value, 0);
        }

        fn write_at(&mut self, offset: u64, value: u8, now: u64) {
            let mut out = Actions::new();
            self.uart.write(offset, Width::B1, value as u64, now, &mut out);
            self.note(out);
        }

        /// Types these bytes; returns the levels to which the line was driven.
        fn typed(&mut self, bytes: &[u8]) -> Vec<bool> {
            self.input.push(bytes);
            self.line.clear();
            let mut out = Actions::new();
            self.uart.timer(LATER, &mut out);
            self.note(out);
            std::mem::take(&mut self.line)
        }
    }

    #[test]
    fn bytes_go_out_and_come_in() {
        let mut t = Test::new();
        b"out".iter().for_each(|&b| t.write(0, b));
        assert_eq!(*t.sent.lock().unwrap(), b"out");
        assert_eq!(t.read(5), lsr::EMPTY);
        t.write(1, ier::RECEIVED);
        assert_eq!(t.typed(b"in"), [true]);
        assert_eq!([t.read(5), t.read(0), t.read(5), t.read(0), t.read(5)], [0x61, b'i', 0x61, b'n', 0x60]);
        assert_eq!(t.line.last(), Some(&false));
        assert_eq!(t.read(0), 0, "empty");
    }

    #[test]
    fn the_transmitter_interrupts_at_each_byte_until_it_is_identified() {
        let mut t = Test::new();
        t.write(1, ier::TRANSMITTER_EMPTY);
        assert_eq!(t.line, [true], "it is empty");
        assert_eq!(t.read(2), 2);
        assert_eq!(t.line, [true, false], "identified");
        assert_eq!(t.read(2), NO_INTERRUPT);
        t.line.clear();
        t.write(0, b'a');
        t.write(0, b'b');
        assert_eq!(t.line, [true, true], "each byte is an event");
        t.write(1, 0);
        assert_eq!(t.line, [true, true, false]);
    }

    /// xv6's driver reads line status and data only.
    #[test]
    fn looks_at_the_line_status_are_no_events() {
        let mut t = Test::new();
        t.write(1, ier::RECEIVED | ier::TRANSMITTER_EMPTY);
        t.write(0, b'a');
        t.line.clear();
        for _ in 0..100 {
            t.read(5);
            t.read(1);
            t.read(7);
        }
        assert_eq!(t.line, []);
        assert_eq!(t.typed(b"x"), [true], "input is");
        assert_eq!((t.read(5) & lsr::DATA_READY, t.read(0)), (lsr::DATA_READY, b'x'));
        assert_eq!(t.line, [true], "the transmitter's interrupt is still there");
    }

    #[test]
    fn more_than_fits_waits_outside() {
        let mut t = Test::new();
        t.write(2, 0xc1);
        t.write(1, ier::RECEIVED);
        assert_eq!(t.typed(&[b'.'; 13]), [true]);
        assert_eq!(t.read(2), 0xcc, "below the trigger it is a time-out");
        assert_eq!(t.typed(&[b'.'; 40]), [true]);
        assert_eq!(t.read(2), 0xc4);
        assert_eq!((t.uart.registers.fifo.len(), t.input.len()), (FIFO, 53 - FIFO));
        let received = (0..100).take_while(|_| t.read(5) & lsr::DATA_READY != 0 && t.read(0) == b'.').count();
        assert_eq!(received, 53, "nothing is lost");
        assert_eq!(t.read(5) & lsr::OVERRUN, 0);
    }

    #[test]
    fn what_is_typed_before_a_driver_listens_is_kept() {
        let mut t = Test::new();
        assert_eq!(t.typed(b"early"), []);
        t.write(2, 7);
        t.write_at(1, ier::RECEIVED, LATER);
        assert_eq!(t.read(0), 0, "the driver's read for luck finds nothing");
        let mut out = Actions::new();
        t.uart.timer(LATER + SETTLE, &mut out);
        assert_eq!(t.read(0), b'e');
    }

    #[test]
    fn what_is_typed_is_not_lost_to_a_clear() {
        let mut t = Test::new();
        t.write(1, ier::RECEIVED);
        assert_eq!(t.typed(b"early"), [true]);
        assert_eq!((t.uart.registers.fifo.len(), t.input.len()), (1, 4));
        t.write(2, 0x81);
        let received: Vec<u8> = (0..5).map(|_| t.read(0)).collect();
        assert_eq!((&received[..], t.read(5) & lsr::DATA_READY), (&b"early"[..], 0));
        // What the port sent itself is not input.
        t.write(4, LOOP);
        t.write(0, b'x');
        t.write(2, 0x83);
        t.write(4, 0);
        assert_eq!((t.read(5) & lsr::DATA_READY, t.input.len()), (0, 0));
    }

    #[test]
    fn who_polls_gets_input_without_interrupts() {
        let mut t = Test::new();
        t.input.push(b"p");
        let polls = (0..100).take_while(|_| t.read(5) & lsr::DATA_READY == 0).count();
        assert!(polls <= POLLING as usize + 1, "{polls}");
        assert_eq!(t.read(0), b'p');
        // It goes on to be one.
        t.input.push(b"q");
        assert_eq!((t.read(5) & lsr::DATA_READY, t.read(0)), (lsr::DATA_READY, b'q'));
        // The driver's look for luck and its settings show another program.
        for offset in [0, 1, 2, 7] {
            t.input.push(b"r");
            t.read(offset);
            assert_eq!(t.read(5) & lsr::DATA_READY, 0, "{offset}");
            t.read(1);
            (0..=POLLING).for_each(|_| _ = t.read(5));
            assert_eq!((t.read(5) & lsr::DATA_READY, t.read(0)), (lsr::DATA_READY, b'r'));
        }
        t.input.push(b"s");
        t.write(7, 0);
        assert_eq!(t.read(5) & lsr::DATA_READY, 0);
    }

    /// As EDK2's terminal driver, by a timer.
    #[test]
    fn who_looks_at_the_modem_in_between_polls_too() {
        let mut t = Test::new();
        t.input.push(b"p");
        let look = |t: &mut Test| {
            t.read(6);
            t.read(4);
            t.read(5) & lsr::DATA_READY != 0
        };
        let polls = (0..100).take_while(|_| !look(&mut t)).count();
        assert!(polls <= POLLING as usize + 1, "{polls}");
        assert_eq!(t.read(0), b'p');
    }

    #[test]
    fn a_break_is_said_with_its_byte() {
        let mut t = Test::new();
        t.write(1, ier::RECEIVED);
        t.input.push_break(b"");
        assert_eq!(t.typed(b"h"), [true]);
        assert_eq!(t.read(5) & 0x1f, lsr::BREAK | lsr::DATA_READY);
        assert_eq!((t.read(0), t.read(5) & 0x1f, t.read(0)), (0, lsr::DATA_READY, b'h'));
    }

    #[test]
    fn loopback_and_overrun() {
        let mut t = Test::new();
        t.write(1, ier::LINE_STATUS);
        t.write(4, LOOP | 0xf);
        assert_eq!(t.read(6), 0xf0);
        t.write(0, b'1');
        t.write(0, b'2');
        assert!(t.sent.lock().unwrap().is_empty());
        assert_eq!(t.read(2), 6, "overrun");
        assert_eq!(t.read(5), lsr::EMPTY | lsr::DATA_READY | lsr::OVERRUN);
        assert_eq!(t.read(5), lsr::EMPTY | lsr::DATA_READY, "said once");
        assert_eq!(t.line.last(), Some(&false));
        assert_eq!(t.read(0), b'1');
    }

    #[test]
    fn the_divisor_latch_hides_data_and_enable() {
        let mut t = Test::new();
        t.write(3, DLAB | 3);
        t.write(0, 0x34);
        t.write(1, 0x12);
        assert_eq!((t.read(0), t.read(1)), (0x34, 0x12));
        t.write(3, 3);
        assert_eq!((t.read(0), t.read(1), t.sent.lock().unwrap().len()), (0, 0, 0));
        t.write(7, 0xa5);
        assert_eq!((t.read(3), t.read(7)), (3, 0xa5));
    }

    #[test]
    fn anything_a_guest_may_do() {
        let mut t = Test::new();
        for (i, offset) in (0..0x100).cycle().take(4096).enumerate() {
            t.write(offset, (i * 37) as u8);
            t.input.push(b"x");
            t.read(offset);
        }
        let mut out = Actions::new();
        t.uart.reset(&mut out);
        t.note(out);
        assert_eq!(t.line.last(), Some(&false));
        assert_eq!((t.read(1), t.read(2), t.read(3), t.read(4), t.read(5)), (0, 1, 0, 0, lsr::EMPTY));
    }
}
