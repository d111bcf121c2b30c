//! RISC-V ACLINT: machine software interrupts and the machine timer at the addresses of SiFive's
//! CLINT (RISC-V ACLINT specification 1.0-rc4).

use serde::{Deserialize, Serialize};
use trine_base::state::Versioned;
use trine_base::{Action, Actions, Device, StateError, Width, state, versions};

const MTIMECMP: u64 = 0x4000;
const MTIME: u64 = 0xbff8;
/// Machine software interrupt in `mip`.
const MSI: u32 = 3;
/// Machine timer interrupt in `mip`.
const MTI: u32 = 7;
/// Nanoseconds per tick.
const TICK: u64 = 100;

versions!(Saved of "the ACLINT" { V1(Registers) });

/// The timer and the software interrupts of all harts.
pub struct Aclint {
    registers: Registers,
}

/// The state that a guest can change; the lists have one entry per hart.
#[derive(Clone, Serialize, Deserialize)]
struct Registers {
    msip: Vec<bool>,
    compare: Vec<u64>,
    /// Added to the clock's ticks: the guest may set `mtime`.
    offset: u64,
}

impl Aclint {
    /// Creates the timers of harts 0 to `harts - 1`.
    pub fn new(harts: usize) -> Aclint {
        Aclint {
            registers: Registers { msip: vec![false; harts], compare: vec![u64::MAX; harts], offset: 0 },
        }
    }

    fn time(&self, now: u64) -> u64 {
        (now / TICK).wrapping_add(self.registers.offset)
    }

    fn update(&self, now: u64, out: &mut Actions) {
        let time = self.time(now);
        for (hart, &compare) in self.registers.compare.iter().enumerate() {
            out.push(Action::Cpu { vcpu: hart as u32, line: MTI, level: time >= compare });
        }
        let next = self.registers.compare.iter().filter(|&&c| c > time).min();
        let at = next.and_then(|c| (c - time).checked_mul(TICK)?.checked_add(now / TICK * TICK));
        out.push(Action::Timer { at });
    }

    /// The value of the 64-bit register at `offset & !7`; `None` where there is none.
    fn wide(&self, offset: u64, now: u64) -> Option<u64> {
        match offset & !7 {
            MTIME => Some(self.time(now)),
            o => self.registers.compare.get(o.checked_sub(MTIMECMP)? as usize / 8).copied(),
        }
    }
}

impl Device for Aclint {
    fn name(&self) -> &str {
        "aclint"
    }

    fn read(&mut self, offset: u64, _width: Width, now: u64, _out: &mut Actions) -> u64 {
        if offset < MTIMECMP {
            return self.registers.msip.get(offset as usize / 4).map_or(0, |&m| m as u64);
        }
        self.wide(offset, now).map_or(0, |v| v >> (8 * (offset & 7)))
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, now: u64, out: &mut Actions) {
        if offset < MTIMECMP {
            let hart = offset as usize / 4;
            if let Some(m) = self.registers.msip.get_mut(hart) {
                *m = value & 1 != 0;
                out.push(Action::Cpu { vcpu: hart as u32, line: MSI, level: *m });
            }
            return;
        }
        let Some(old) = self.wide(offset, now) else { return };
        let shift = 8 * (offset & 7);
        let mask = width.mask() << shift;
        let new = old & !mask | value << shift & mask;
        match offset & !7 {
            MTIME => self.registers.offset = new.wrapping_sub(now / TICK),
            o => {
                if let Some(c) = self.registers.compare.get_mut((o - MTIMECMP) as usize / 8) {
                    *c = new;
                }
            }
        }
        self.update(now, out);
    }

    fn timer(&mut self, now: u64, out: &mut Actions) {
        self.update(now, out);
    }

    fn reset(&mut self, out: &mut Actions) {
        self.registers.offset = 0;
        self.registers.compare.fill(u64::MAX);
        for hart in 0..self.registers.msip.len() {
            self.registers.msip[hart] = false;
            out.push(Action::Cpu { vcpu: hart as u32, line: MSI, level: false });
            out.push(Action::Cpu { vcpu: hart as u32, line: MTI, level: false });
        }
        out.push(Action::Timer { at: None });
    }

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(self.registers.clone()))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(registers) = state::load(state)?;
        let harts = self.registers.msip.len();
        if (registers.msip.len(), registers.compare.len()) != (harts, harts) {
            return Err(Saved::mismatch(format!("it is for {} harts, not {harts}", registers.msip.len())));
        }
        self.registers = registers;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSIP: u64 = 0;

    struct Test {
        aclint: Aclint,
        now: u64,
        /// The interrupt lines of two harts.
        lines: [u32; 2],
        timer: Option<u64>,
    }

    impl Test {
        fn new() -> Test {
            Test { aclint: Aclint::new(2), now: 12_345, lines: [0; 2], timer: None }
        }

        fn call<R>(&mut self, f: impl FnOnce(&mut Aclint, u64, &mut Actions) -> R) -> R {
            let mut out = Actions::new();
            let result = f(&mut self.aclint, self.now, &mut out);
            for action in out.drain() {
                match action {
                    Action::Cpu { vcpu, line, level } => {
                        let lines = &mut self.lines[vcpu as usize];
                        *lines = *lines & !(1 << line) | (level as u32) << line;
                    }
                    Action::Timer { at } => self.timer = at,
                    other => panic!("{other:?}"),
                }
            }
            result
        }

        fn read(&mut self, offset: u64, width: Width) -> u64 {
            self.call(|a, now, out| a.read(offset, width, now, out)) & width.mask()
        }

        fn write(&mut self, offset: u64, width: Width, value: u64) {
            self.call(|a, now, out| a.write(offset, width, value, now, out));
        }

        fn timer(&mut self, now: u64) {
            self.now = now;
            self.call(|a, now, out| a.timer(now, out));
        }
    }

    #[test]
    fn software_interrupts_are_each_harts_own() {
        let mut t = Test::new();
        t.write(MSIP + 4, Width::B4, 3);
        assert_eq!((t.lines, t.read(MSIP + 4, Width::B4)), ([0, 1 << MSI], 1));
        t.write(MSIP, Width::B4, 1);
        t.write(MSIP + 4, Width::B4, 2);
        assert_eq!(t.lines, [1 << MSI, 0]);
        t.write(MSIP + 8, Width::B4, 1);
        assert_eq!(t.read(MSIP + 8, Width::B4), 0, "there is no third hart");
    }

    #[test]
    fn the_timer_compares_and_rearms() {
        let mut t = Test::new();
        assert_eq!(t.read(MTIME, Width::B8), 123);
        t.write(MTIMECMP + 8, Width::B8, 130);
        t.write(MTIMECMP, Width::B8, 140);
        assert_eq!((t.lines, t.timer), ([0, 0], Some(13_000)));
        t.timer(12_999);
        assert_eq!((t.lines, t.timer), ([0, 0], Some(13_000)), "too early changes nothing");
        t.timer(13_000);
        assert_eq!((t.lines, t.timer), ([0, 1 << MTI], Some(14_000)));
        t.timer(14_007);
        assert_eq!((t.lines, t.timer), ([1 << MTI; 2], None));
        t.write(MTIMECMP, Width::B8, u64::MAX);
        assert_eq!((t.lines, t.timer), ([0, 1 << MTI], None), "too far away to come");
        t.write(MTIMECMP + 8, Width::B8, 0);
        assert_eq!(t.lines, [0, 1 << MTI], "in the past");
    }

    #[test]
    fn halves_and_bytes_of_registers() {
        let mut t = Test::new();
        t.write(MTIMECMP + 4, Width::B4, 0x1234);
        assert_eq!(t.read(MTIMECMP, Width::B8), 0x1234_ffff_ffff);
        t.write(MTIMECMP, Width::B4, 0x5678_9abc);
        t.write(MTIMECMP + 1, Width::B1, 0xee);
        assert_eq!(t.read(MTIMECMP, Width::B8), 0x1234_5678_eebc);
        assert_eq!((t.read(MTIMECMP + 4, Width::B4), t.read(MTIMECMP + 5, Width::B1)), (0x1234, 0x12));
    }

    #[test]
    fn the_guest_sets_the_time() {
        let mut t = Test::new();
        t.write(MTIMECMP, Width::B8, 5000);
        t.write(MTIME, Width::B8, 4999);
        assert_eq!((t.read(MTIME, Width::B8), t.lines[0]), (4999, 0));
        assert_eq!(t.timer, Some(12_400), "one tick ahead");
        t.timer(12_400);
        assert_eq!(t.lines[0], 1 << MTI);
        t.write(MTIME, Width::B8, u64::MAX);
        assert_eq!((t.read(MTIME, Width::B8), t.lines[0]), (u64::MAX, 1 << MTI));
        t.timer(12_500);
        assert_eq!((t.read(MTIME, Width::B8), t.lines[0]), (0, 0), "it wraps");
    }

    #[test]
    fn anything_a_guest_may_do() {
        let mut t = Test::new();
        for offset in (0..0x1_0000).step_by(3) {
            for (width, value) in
                [(Width::B1, 0xff), (Width::B4, 0), (Width::B8, u64::MAX), (Width::B8, 1 << 63)]
            {
                t.write(offset, width, value);
                t.read(offset, width);
            }
        }
        t.call(|a, _, out| a.reset(out));
        assert_eq!((t.lines, t.timer, t.read(MTIME, Width::B8)), ([0, 0], None, 123));
        assert_eq!(t.read(MTIMECMP, Width::B8), u64::MAX);
    }
}
