//! RISC-V ACLINT: machine software interrupts and the machine timer at the addresses of SiFive's
//! CLINT (RISC-V ACLINT specification 1.0-rc4).

use trine_base::{Action, Actions, Device, Width};

const MTIMECMP: u64 = 0x4000;
const MTIME: u64 = 0xbff8;
/// Machine software interrupt in `mip`.
const MSI: u32 = 3;
/// Machine timer interrupt in `mip`.
const MTI: u32 = 7;
/// Nanoseconds a tick.
const TICK: u64 = 100;

/// The timer and the software interrupts of all harts.
pub struct Aclint {
    msip: Vec<bool>,
    compare: Vec<u64>,
    /// Added to the clock's ticks: the guest may set `mtime`.
    offset: u64,
}

impl Aclint {
    /// For harts 0 to `harts - 1`.
    pub fn new(harts: usize) -> Aclint {
        Aclint { msip: vec![false; harts], compare: vec![u64::MAX; harts], offset: 0 }
    }

    fn time(&self, now: u64) -> u64 {
        (now / TICK).wrapping_add(self.offset)
    }

    fn update(&self, now: u64, out: &mut Actions) {
        let time = self.time(now);
        for (hart, &compare) in self.compare.iter().enumerate() {
            out.push(Action::Cpu { vcpu: hart as u32, line: MTI, level: time >= compare });
        }
        let next = self.compare.iter().filter(|&&c| c > time).min();
        let at = next.and_then(|c| (c - time).checked_mul(TICK)?.checked_add(now / TICK * TICK));
        out.push(Action::Timer { at });
    }

    /// The 64-bit register at `offset & !7`, if it is one.
    fn wide(&self, offset: u64, now: u64) -> Option<u64> {
        match offset & !7 {
            MTIME => Some(self.time(now)),
            o => self.compare.get(o.checked_sub(MTIMECMP)? as usize / 8).copied(),
        }
    }
}

impl Device for Aclint {
    fn name(&self) -> &str {
        "aclint"
    }

    fn read(&mut self, offset: u64, _width: Width, now: u64, _out: &mut Actions) -> u64 {
        if offset < MTIMECMP {
            return self.msip.get(offset as usize / 4).map_or(0, |&m| m as u64);
        }
        self.wide(offset, now).map_or(0, |v| v >> (8 * (offset & 7)))
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, now: u64, out: &mut Actions) {
        if offset < MTIMECMP {
            let hart = offset as usize / 4;
            if let Some(m) = self.msip.get_mut(hart) {
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
            MTIME => self.offset = new.wrapping_sub(now / TICK),
            o => {
                if let Some(c) = self.compare.get_mut((o - MTIMECMP) as usize / 8) {
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
        self.offset = 0;
        self.compare.fill(u64::MAX);
        for hart in 0..self.msip.len() {
            self.msip[hart] = false;
            out.push(Action::Cpu { vcpu: hart as u32, line: MSI, level: false });
            out.push(Action::Cpu { vcpu: hart as u32, line: MTI, level: false });
        }
        out.push(Action::Timer { at: None });
    }
}
