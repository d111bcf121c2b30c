//! An assembler for classic BPF as seccomp(2) runs it. It works from the end to the beginning: jumps only go
//! forward, so every target exists before the jump to it, and equal endings are shared.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET,
    BPF_W, sock_filter,
};
use std::collections::HashMap;

/// The longest distance of a conditional jump, minus the instructions by which a new jump may still move its
/// targets away.
const REACH: usize = 250;

/// Offsets in `struct seccomp_data`: the number, the architecture, the low half of the first argument.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;
pub(super) const ARGUMENTS: u32 = 16;

/// A comparison of the accumulator with a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    Above,
    NotBelow,
    AnyBit,
}

/// A target of jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Label {
    /// The end of the program, with this return value.
    Return(u32),
    /// An instruction that is written already, counted from the end.
    At(usize),
}

/// A program under construction, last instruction first.
#[derive(Default)]
pub(super) struct Assembler {
    backwards: Vec<sock_filter>,
    /// The most recent instruction that is, or jumps to, each label.
    latest: HashMap<Label, usize>,
}

impl Assembler {
    fn push(&mut self, code: u32, jt: u8, jf: u8, k: u32) -> Label {
        self.backwards.push(sock_filter { code: code as u16, jt, jf, k });
        Label::At(self.backwards.len() - 1)
    }

    /// How many instructions a jump written next would have to skip.
    fn distance(&self, target: usize) -> usize {
        self.backwards.len() - target - 1
    }

    /// Writes an instruction that is, or jumps to, the label.
    fn bridge(&mut self, label: Label) -> usize {
        match label {
            Label::Return(value) => self.push(BPF_RET | BPF_K, 0, 0, value),
            Label::At(at) => self.push(BPF_JMP | BPF_JA, 0, 0, self.distance(at) as u32),
        };
        let at = self.backwards.len() - 1;
        self.latest.insert(label, at);
        at
    }

    /// The label's instruction, or one that jumps to it, within reach of a conditional jump.
    fn near(&mut self, label: Label) -> usize {
        let itself = if let Label::At(at) = label { Some(at) } else { None };
        let known = [itself, self.latest.get(&label).copied()];
        let within = |at: &usize| self.distance(*at) <= REACH;
        match known.into_iter().flatten().find(within) {
            Some(at) => at,
            None => self.bridge(label),
        }
    }

    /// Jumps to `yes` if the comparison holds, otherwise to `no`.
    pub(super) fn jump(&mut self, compare: Compare, with: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let (yes, no) = (self.near(yes), self.near(no));
        let code = match compare {
            Compare::Equal => BPF_JEQ,
            Compare::Above => BPF_JGT,
            Compare::NotBelow => BPF_JGE,
            Compare::AnyBit => BPF_JSET,
        };
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.push(BPF_JMP | BPF_K | code, jt, jf, with)
    }

    /// Makes the label the very next instruction, for instructions that cannot jump.
    fn next(&mut self, label: Label) {
        if label != Label::At(self.backwards.len().wrapping_sub(1)) {
            self.bridge(label);
        }
    }

    /// Loads a word of the call's data and continues at `then`.
    pub(super) fn load(&mut self, offset: u32, then: Label) -> Label {
        if let Label::Return(_) = then {
            return then;
        }
        self.next(then);
        self.push(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset)
    }

    /// Masks the accumulator and continues at `then`.
    pub(super) fn and(&mut self, mask: u32, then: Label) -> Label {
        self.next(then);
        self.push(BPF_ALU | BPF_AND | BPF_K, 0, 0, mask)
    }

    /// The program that starts at this label.
    pub(super) fn finish(mut self, start: Label) -> Vec<sock_filter> {
        self.next(start);
        self.backwards.reverse();
        self.backwards
    }
}
