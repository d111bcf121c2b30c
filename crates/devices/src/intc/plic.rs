//! RISC-V Platform-Level Interrupt Controller (RISC-V PLIC specification 1.0.0), level-triggered
//! sources.

use trine_base::{Action, Actions, Device, Width};

const PRIORITY: u64 = 0;
const PENDING: u64 = 0x1000;
const ENABLE: u64 = 0x2000;
const ENABLE_STRIDE: u64 = 0x80;
const CONTEXT: u64 = 0x20_0000;
const CONTEXT_STRIDE: u64 = 0x1000;
/// Largest priority.
const TOP: u32 = 7;

/// Where one context's output goes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The vCPU.
    pub vcpu: u32,
    /// Its interrupt input: 11 for M, 9 for S.
    pub line: u32,
}

struct Context {
    target: Target,
    enable: Vec<u32>,
    threshold: u32,
    output: bool,
}

/// The controller.
pub struct Plic {
    sources: u32,
    priority: Vec<u32>,
    level: Vec<bool>,
    pending: Vec<bool>,
    claimed: Vec<bool>,
    contexts: Vec<Context>,
}

impl Plic {
    /// A controller with sources 1 to `sources` (at most 1023) and one context a target.
    pub fn new(sources: u32, targets: &[Target]) -> Plic {
        let sources = sources.min(1023);
        let n = sources as usize + 1;
        let context = |&target: &Target| Context {
            target,
            enable: vec![0; n.div_ceil(32)],
            threshold: 0,
            output: false,
        };
        Plic {
            sources,
            priority: vec![0; n],
            level: vec![false; n],
            pending: vec![false; n],
            claimed: vec![false; n],
            contexts: targets.iter().map(context).collect(),
        }
    }

    /// The source that a context would claim.
    fn best(&self, context: &Context) -> Option<usize> {
        let candidates = (1..=self.sources as usize).filter(|&i| {
            self.pending[i]
                && self.priority[i] > context.threshold
                && context.enable[i / 32] >> (i % 32) & 1 != 0
        });
        // The lowest number wins among equals.
        candidates.min_by_key(|&i| (TOP - self.priority[i], i))
    }

    fn update(&mut self, out: &mut Actions) {
        for i in 0..self.contexts.len() {
            let level = self.best(&self.contexts[i]).is_some();
            let context = &mut self.contexts[i];
            if std::mem::replace(&mut context.output, level) != level {
                let Target { vcpu, line } = context.target;
                out.push(Action::Cpu { vcpu, line, level });
            }
        }
    }

    fn claim(&mut self, context: usize) -> u32 {
        let Some(i) = self.contexts.get(context).and_then(|c| self.best(c)) else { return 0 };
        self.pending[i] = false;
        self.claimed[i] = true;
        i as u32
    }

    fn complete(&mut self, context: usize, source: u32) {
        let i = source as usize;
        let enabled = self.contexts.get(context).and_then(|c| c.enable.get(i / 32)).copied().unwrap_or(0);
        if i == 0 || source > self.sources || enabled >> (i % 32) & 1 == 0 {
            return;
        }
        self.claimed[i] = false;
        self.pending[i] |= self.level[i];
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
            o @ PRIORITY..PENDING => self.priority.get(o as usize / 4).copied().unwrap_or(0),
            o @ PENDING..ENABLE => Self::bits(&self.pending, (o - PENDING) as usize / 4),
            o @ ENABLE..CONTEXT => {
                let (context, word) = ((o - ENABLE) / ENABLE_STRIDE, (o - ENABLE) % ENABLE_STRIDE / 4);
                let context = self.contexts.get(context as usize);
                context.and_then(|c| c.enable.get(word as usize)).copied().unwrap_or(0)
            }
            o => {
                let (context, register) = ((o - CONTEXT) / CONTEXT_STRIDE, (o - CONTEXT) % CONTEXT_STRIDE);
                match register {
                    0 => self.contexts.get(context as usize).map_or(0, |c| c.threshold),
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
                if let Some(p) = self.priority.get_mut(o as usize / 4) {
                    *p = value & TOP;
                }
            }
            o @ ENABLE..CONTEXT => {
                let (context, word) = ((o - ENABLE) / ENABLE_STRIDE, (o - ENABLE) % ENABLE_STRIDE / 4);
                let context = self.contexts.get_mut(context as usize);
                if let Some(e) = context.and_then(|c| c.enable.get_mut(word as usize)) {
                    *e = if word == 0 { value & !1 } else { value };
                }
            }
            o if o >= CONTEXT => {
                let (context, register) = ((o - CONTEXT) / CONTEXT_STRIDE, (o - CONTEXT) % CONTEXT_STRIDE);
                match (register, self.contexts.get_mut(context as usize)) {
                    (0, Some(c)) => c.threshold = value & TOP,
                    (4, Some(_)) => self.complete(context as usize, value),
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
        self.level[i] = level;
        if !self.claimed[i] {
            self.pending[i] = level;
        }
        self.update(out);
    }

    fn reset(&mut self, out: &mut Actions) {
        self.priority.fill(0);
        self.claimed.fill(false);
        self.pending.copy_from_slice(&self.level);
        for c in &mut self.contexts {
            c.enable.fill(0);
            c.threshold = 0;
        }
        self.update(out);
    }
}
