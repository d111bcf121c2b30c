//! RISC-V Platform-Level Interrupt Controller (RISC-V PLIC specification 1.0.0).
//!
//! The gateways are those of QEMU's board: a source becomes pending whenever its device drives its line high,
//! even where the line was high before, and stays pending until it is claimed. Completion alone does not make
//! a source pending whose line is still high, as a level-triggered gateway of the specification would:
//! drivers written for QEMU leave lines high (xv6's never reads the UART's interrupt identification) and
//! would be interrupted without end. Therefore a device must drive its line at each event that is worth an
//! interrupt, not only when the level changes.

use serde::{Deserialize, Serialize};
use trine_base::state::Versioned;
use trine_base::{Action, Actions, Device, StateError, Width, state, versions};

const PRIORITY: u64 = 0;
const PENDING: u64 = 0x1000;
const ENABLE: u64 = 0x2000;
const ENABLE_STRIDE: u64 = 0x80;
const CONTEXT: u64 = 0x20_0000;
const CONTEXT_STRIDE: u64 = 0x1000;
/// Largest priority.
const TOP: u32 = 7;

/// The interrupt input that one context drives.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The vCPU.
    pub vcpu: u32,
    /// Its interrupt input: 11 for M mode, 9 for S mode.
    pub line: u32,
}

versions!(Saved of "the PLIC" { V1(Registers) });

/// The state that a guest and the devices can change.
#[derive(Clone, Serialize, Deserialize)]
struct Registers {
    /// Indexed by source, like the next two; source 0 does not exist.
    priority: Vec<u32>,
    pending: Vec<bool>,
    claimed: Vec<bool>,
    contexts: Vec<Context>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Context {
    /// One bit per source.
    enable: Vec<u32>,
    threshold: u32,
    /// The level that the vCPU's interrupt input was driven to last.
    output: bool,
}

/// The controller.
pub struct Plic {
    sources: u32,
    /// The interrupt inputs, by context.
    targets: Vec<Target>,
    registers: Registers,
}

impl Plic {
    /// Creates a controller with sources 1 to `sources` (at most 1023) and one context for each target.
    pub fn new(sources: u32, targets: &[Target]) -> Plic {
        let sources = sources.min(1023);
        let n = sources as usize + 1;
        let context = Context { enable: vec![0; n.div_ceil(32)], ..Context::default() };
        let registers = Registers {
            priority: vec![0; n],
            pending: vec![false; n],
            claimed: vec![false; n],
            contexts: vec![context; targets.len()],
        };
        Plic { sources, targets: targets.to_vec(), registers }
    }

    /// The source that a context would claim; `None` where none is pending and enabled.
    fn best(&self, context: &Context) -> Option<usize> {
        let candidates = (1..=self.sources as usize).filter(|&i| {
            self.registers.pending[i]
                && !self.registers.claimed[i]
                && self.registers.priority[i] > context.threshold
                && context.enable[i / 32] >> (i % 32) & 1 != 0
        });
        // The lowest number wins among equals.
        candidates.min_by_key(|&i| (TOP - self.registers.priority[i], i))
    }

    fn update(&mut self, out: &mut Actions) {
        for i in 0..self.targets.len() {
            let level = self.best(&self.registers.contexts[i]).is_some();
            let context = &mut self.registers.contexts[i];
            if std::mem::replace(&mut context.output, level) != level {
                let Target { vcpu, line } = self.targets[i];
                out.push(Action::Cpu { vcpu, line, level });
            }
        }
    }

    fn claim(&mut self, context: usize) -> u32 {
        let Some(i) = self.registers.contexts.get(context).and_then(|c| self.best(c)) else { return 0 };
        self.registers.pending[i] = false;
        self.registers.claimed[i] = true;
        i as u32
    }

    /// Completes a source, whether or not it is enabled in the context that completes it, as on QEMU's board:
    /// a driver may have disabled it meanwhile.
    fn complete(&mut self, source: u32) {
        if let Some(claimed) = self.registers.claimed.get_mut(source as usize) {
            *claimed = false;
        }
    }

    fn bits(flags: &[bool], word: usize) -> u32 {
        let first = word * 32;
        (first..(first + 32).min(flags.len())).fold(0, |v, i| v | (flags[i] as u32) << (i - first))
    }
}

impl Device for Plic {
    fn name(&self) -> &str {
        "plic"
    }

    fn read(&mut self, offset: u64, _width: Width, _now: u64, out: &mut Actions) -> u64 {
        let value = match offset & !3 {
            o @ PRIORITY..PENDING => self.registers.priority.get(o as usize / 4).copied().unwrap_or(0),
            o @ PENDING..ENABLE => Self::bits(&self.registers.pending, (o - PENDING) as usize / 4),
            o @ ENABLE..CONTEXT => {
                let (context, word) = ((o - ENABLE) / ENABLE_STRIDE, (o - ENABLE) % ENABLE_STRIDE / 4);
                let context = self.registers.contexts.get(context as usize);
                context.and_then(|c| c.enable.get(word as usize)).copied().unwrap_or(0)
            }
            o => {
                let (context, register) = ((o - CONTEXT) / CONTEXT_STRIDE, (o - CONTEXT) % CONTEXT_STRIDE);
                match register {
                    0 => self.registers.contexts.get(context as usize).map_or(0, |c| c.threshold),
                    4 => self.claim(context as usize),
                    _ => 0,
                }
            }
        };
        self.update(out);
        value as u64
    }

    fn write(&mut self, offset: u64, _width: Width, value: u64, _now: u64, out: &mut Actions) {
        let value = value as u32;
        match offset & !3 {
            o @ 4..PENDING => {
                if let Some(p) = self.registers.priority.get_mut(o as usize / 4) {
                    *p = value & TOP;
                }
            }
            o @ ENABLE..CONTEXT => {
                let (context, word) = ((o - ENABLE) / ENABLE_STRIDE, (o - ENABLE) % ENABLE_STRIDE / 4);
                let context = self.registers.contexts.get_mut(context as usize);
                if let Some(e) = context.and_then(|c| c.enable.get_mut(word as usize)) {
                    *e = if word == 0 { value & !1 } else { value };
                }
            }
            o if o >= CONTEXT => {
                let (context, register) = ((o - CONTEXT) / CONTEXT_STRIDE, (o - CONTEXT) % CONTEXT_STRIDE);
                match (register, self.registers.contexts.get_mut(context as usize)) {
                    (0, Some(c)) => c.threshold = value & TOP,
                    (4, Some(_)) => self.complete(value),
                    _ => {}
                }
            }
            _ => {}
        }
        self.update(out);
    }

    fn input(&mut self, line: u32, level: bool, out: &mut Actions) {
        let i = line as usize;
        if i == 0 || line > self.sources {
            return;
        }
        self.registers.pending[i] |= level;
        self.update(out);
    }

    fn reset(&mut self, out: &mut Actions) {
        let r = &mut self.registers;
        r.priority.fill(0);
        r.claimed.fill(false);
        r.pending.fill(false);
        for c in &mut r.contexts {
            c.enable.fill(0);
            c.threshold = 0;
        }
        self.update(out);
    }

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(self.registers.clone()))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(registers) = state::load(state)?;
        let shape = |r: &Registers| {
            let enables: Vec<_> = r.contexts.iter().map(|c| c.enable.len()).collect();
            ([r.priority.len(), r.pending.len(), r.claimed.len()], enables)
        };
        if shape(&registers) != shape(&self.registers) {
            return Err(Saved::mismatch("it has a different number of sources or contexts"));
        }
        let thresholds = registers.contexts.iter().map(|c| c.threshold);
        if registers.priority.iter().copied().chain(thresholds).any(|level| level > TOP) {
            return Err(Saved::damaged(format!("a priority or threshold is above {TOP}")));
        }
        self.registers = registers;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: u64 = CONTEXT;
    const S: u64 = CONTEXT + CONTEXT_STRIDE;
    const THRESHOLD: u64 = 0;
    const CLAIM: u64 = 4;

    struct Test(Plic);

    impl Test {
        /// Sources 1 to 40, all of priority 1 and enabled in M mode.
        fn new() -> Test {
            let targets = [Target { vcpu: 0, line: 11 }, Target { vcpu: 0, line: 9 }];
            let mut test = Test(Plic::new(40, &targets));
            (1..=40).for_each(|i| test.write(4 * i, 1));
            test.write(ENABLE, u32::MAX);
            test.write(ENABLE + 4, u32::MAX);
            test
        }

        fn read(&mut self, offset: u64) -> u32 {
            self.0.read(offset, Width::B4, 0, &mut Actions::new()) as u32
        }

        fn write(&mut self, offset: u64, value: u32) {
            self.0.write(offset, Width::B4, value as u64, 0, &mut Actions::new());
        }

        /// Drives a line and returns the controller's actions.
        fn line(&mut self, line: u32, level: bool) -> Vec<Action> {
            let mut out = Actions::new();
            self.0.input(line, level, &mut out);
            out.drain().collect()
        }
    }

    fn output(line: u32, level: bool) -> Vec<Action> {
        vec![Action::Cpu { vcpu: 0, line, level }]
    }

    #[test]
    fn claim_and_complete() {
        let mut t = Test::new();
        assert_eq!(t.line(10, true), output(11, true));
        assert_eq!(t.read(PENDING), 1 << 10);
        assert_eq!(t.read(M + CLAIM), 10);
        assert_eq!((t.read(PENDING), t.read(M + CLAIM)), (0, 0), "claimed once");
        t.write(M + CLAIM, 10);
        assert_eq!(t.read(M + CLAIM), 0, "the line is still high, and nothing happened since");
    }

    #[test]
    fn a_line_driven_again_while_it_is_served_interrupts_after_completion() {
        let mut t = Test::new();
        t.line(10, true);
        assert_eq!(t.read(M + CLAIM), 10);
        assert_eq!(t.line(10, true), [], "not before");
        assert_eq!((t.read(PENDING), t.read(M + CLAIM)), (1 << 10, 0));
        let mut out = Actions::new();
        t.0.write(M + CLAIM, Width::B4, 10, 0, &mut out);
        assert_eq!(out.drain().collect::<Vec<_>>(), output(11, true));
        assert_eq!(t.read(M + CLAIM), 10);
    }

    #[test]
    fn what_pends_stays_though_the_line_falls() {
        let mut t = Test::new();
        t.line(3, true);
        assert_eq!(t.line(3, false), []);
        assert_eq!(t.read(M + CLAIM), 3);
    }

    #[test]
    fn priorities_thresholds_and_ties() {
        let mut t = Test::new();
        t.write(4 * 40, 7);
        for line in [9, 40, 2] {
            t.line(line, true);
        }
        assert_eq!([t.read(M + CLAIM), t.read(M + CLAIM)], [40, 2], "the highest, then the lowest number");
        t.write(M + THRESHOLD, 1);
        assert_eq!(t.read(M + CLAIM), 0, "not above the threshold");
        t.write(M + THRESHOLD, 0);
        t.write(4 * 9, 0);
        assert_eq!(t.read(M + CLAIM), 0, "priority 0 never interrupts");
        t.write(4 * 9, 0xff);
        assert_eq!(t.read(4 * 9), 7, "as many bits as there are");
        assert_eq!(t.read(M + CLAIM), 9);
    }

    #[test]
    fn contexts_enable_for_themselves() {
        let mut t = Test::new();
        t.write(ENABLE, 0);
        t.write(ENABLE + ENABLE_STRIDE, u32::MAX);
        assert_eq!(t.read(ENABLE + ENABLE_STRIDE), !1, "source 0 does not exist");
        assert_eq!(t.line(5, true), output(9, true));
        assert_eq!((t.read(M + CLAIM), t.read(S + CLAIM)), (0, 5));
    }

    #[test]
    fn a_source_that_was_disabled_can_be_completed() {
        let mut t = Test::new();
        t.line(5, true);
        assert_eq!(t.read(M + CLAIM), 5);
        t.write(ENABLE, 0);
        t.write(M + CLAIM, 5);
        t.write(ENABLE, u32::MAX);
        t.line(5, true);
        assert_eq!(t.read(M + CLAIM), 5);
    }

    #[test]
    fn anything_a_guest_may_do() {
        let mut t = Test::new();
        for offset in (0..0x60_0000u64).step_by(0x7c).chain([M + CLAIM, 0x5f_fffc, 0x5f_ffff]) {
            for value in [0, 41, 1023, 1024, u32::MAX] {
                t.write(offset, value);
                t.read(offset);
            }
        }
        for line in [0, 41, 1024, u32::MAX] {
            assert_eq!(t.line(line, true), []);
        }
        let mut out = Actions::new();
        t.0.reset(&mut out);
        t.line(7, true);
        assert_eq!(t.read(M + CLAIM), 0, "nothing is enabled after a reset");
    }
}
