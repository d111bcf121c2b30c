//! Blocks that jump to their own start keep more guest registers in host registers, from round to round, than
//! the pinned ones.
//!
//! Such a block first loads what it will read, then comes the *header*, where the rounds meet. From there on
//! the registers hold the carried slots and their memory is out of date; every exit stores them, including
//! one at the header. The other slots are stored at the end of each round. Pinned slots are carried in their
//! own registers, unless the loop does not need them and runs short of registers.

use super::emit::Emit;
use super::pinned::Held;
use super::regs::{Cached, NONE};
use crate::x64::asm::{Place, Reg};
use crate::x64::pins::{PINS, pin_of, pinned};
use crate::x64::thunks::POOL;
use std::collections::HashSet;
use trine_ir::inst::{Class, Inst, Label};
use trine_ir::{Flow, Isa};

/// General registers that must stay free for values within a round.
const FREE: usize = 1;
/// Vector registers that may hold values across rounds; the others are for values within a round.
const CARRIED_FP: u8 = 11;

/// The header of a loop.
#[derive(Default)]
pub struct Loop {
    header: Option<Place>,
    /// The slots in registers there.
    held: Vec<Held>,
    /// Those of them whose memory is out of date there, except pinned ones.
    written: Vec<Held>,
}

/// The slots that a round reads before it writes them, and those that it writes.
#[derive(Default)]
struct Round {
    /// Reads: index, slot and class.
    reads: Vec<(u32, u16, Class)>,
    /// Slots read first.
    read: HashSet<u16>,
    written: HashSet<u16>,
}

impl<I: Isa> Emit<'_, I> {
    /// Whether the block jumps to its own start, and its registers stay in use all the way.
    fn is_loop(&self) -> bool {
        let mut found = false;
        for inst in self.insts {
            match *inst {
                Inst::Call(helper, _) if helper.flushes => return false,
                Inst::IfNot { exits: false, .. } => return false,
                Inst::Jump(flow, v) => found |= flow != Flow::Call && self.is_start(v.0),
                _ => {}
            }
        }
        found
    }

    fn is_start(&self, v: u32) -> bool {
        matches!(self.insts[v as usize], Inst::Pc(offset) if offset == self.alloc.start)
    }

    /// A round's accesses to slots. Reads of slots that it also writes come first.
    fn round_of(&self) -> Round {
        let mut round = Round::default();
        let mut touched = HashSet::new();
        let mut arm = None;
        for (i, inst) in self.insts[..self.end() as usize].iter().enumerate() {
            let mut read = |slot, class| {
                if touched.insert(slot) {
                    round.reads.push((i as u32, slot, class));
                    round.read.insert(slot);
                }
            };
            match *inst {
                Inst::IfNot { to, .. } if arm.is_none() => arm = Some(to),
                Inst::Label(to) if arm == Some(to) => arm = None,
                // An arm may lead to the next round, too.
                Inst::Set(slot, _) | Inst::SetF(slot, _) | Inst::SetV(slot, _) if arm.is_some() => {
                    round.written.insert(slot);
                }
                _ if arm.is_some() => {}
                Inst::Get(slot) => read(slot, Class::Int),
                Inst::GetF(slot) => read(slot, Class::Float),
                Inst::GetV(slot) => read(slot, Class::Vec),
                Inst::Set(slot, _) | Inst::SetF(slot, _) | Inst::SetV(slot, _) => {
                    touched.insert(slot);
                    round.written.insert(slot);
                }
                _ => {}
            }
        }
        let written = &round.written;
        round.reads.sort_by_key(|(_, slot, _)| !written.contains(slot));
        round
    }

    /// Loads the slots that a loop carries, and starts its header. Does nothing for other blocks.
    pub fn begin_loop(&mut self) {
        if !self.is_loop() {
            return;
        }
        let round = self.round_of();
        let unpinned = |r: &Reg| !PINS[..I::PINNED.len()].contains(r);
        let mut general: Vec<Reg> = POOL.into_iter().filter(unpinned).skip(FREE).collect();
        let mut vector: Vec<Reg> = (0..CARRIED_FP).rev().collect();
        let mut yielding = self.yielding(&round);
        self.alloc.round.held = self.pinned_held();
        for &(v, slot, class) in round.reads.iter().filter(|r| pin_of::<I>(r.1).is_none()) {
            let free = match class {
                Class::Int => general.pop().or_else(|| yielding.pop().map(|y| self.yield_register(y))),
                Class::Float | Class::Vec => vector.pop(),
            };
            let Some(reg) = free else { continue };
            self.carry_slot(v, Held { slot, class, reg }, round.written.contains(&slot));
        }
        self.alloc.round.header = Some(self.a.here());
    }

    /// Pinned slots whose registers a loop may use for others, the best last: those that it does not access,
    /// and before them those that each round writes before it reads them.
    fn yielding(&self, round: &Round) -> Vec<Held> {
        let mut slots = self.pinned_held();
        slots.retain(|h| !round.read.contains(&h.slot));
        slots.sort_by_key(|h| !round.written.contains(&h.slot));
        slots
    }

    /// Stores a pinned slot to memory for the duration of the loop.
    fn yield_register(&mut self, h: Held) -> Reg {
        self.a.store(8, self.l.slot(h.slot), h.reg);
        self.alloc.round.held.retain(|other| other.slot != h.slot);
        self.alloc.state.gpr[h.reg as usize] = NONE;
        if let Some(c) = self.alloc.state.cache.iter_mut().find(|c| c.slot == h.slot) {
            c.dirty = false;
            let value = &mut self.alloc.state.values[c.val as usize];
            (value.reg, value.home) = (NONE, h.slot as u32);
        }
        h.reg
    }

    /// Loads a slot, which the instruction `v` is the first to read, for all rounds.
    fn carry_slot(&mut self, v: u32, h: Held, written: bool) {
        match h.class {
            Class::Int => {
                self.a.load(8, h.reg, self.l.slot(h.slot));
                self.alloc.state.gpr[h.reg as usize] = v;
            }
            Class::Float => {
                self.a.movq_load(h.reg, self.l.slot(h.slot));
                self.alloc.state.xmm[h.reg as usize] = v;
            }
            Class::Vec => {
                self.a.movups_load(h.reg, self.l.slot(h.slot));
                self.alloc.state.xmm[h.reg as usize] = v;
            }
        }
        let value = &mut self.alloc.state.values[v as usize];
        (value.reg, value.cached) = (h.reg as u32, 1);
        value.home = if written { NONE } else { h.slot as u32 };
        self.alloc.state.cache.push(Cached { slot: h.slot, val: v, dirty: written });
        self.alloc.round.held.push(h);
        if written {
            self.alloc.round.written.push(h);
        }
    }

    /// Marks the header: after the count of the first round's instructions, as each jump to it counts the
    /// next round's.
    pub fn mark_header(&mut self) {
        if self.alloc.round.header.is_some() {
            self.alloc.round.header = Some(self.a.here());
        }
    }

    /// Whether the arm that ends at a label continues with the next round.
    pub fn goes_round(&self, end: Label) -> bool {
        let arm = &self.insts[self.at as usize..];
        let end = arm.iter().position(|i| matches!(i, Inst::Label(l) if *l == end));
        let last = end.and_then(|n| arm.get(n.checked_sub(1)?));
        matches!(last, Some(&Inst::Jump(flow, v)) if flow != Flow::Call && self.is_start(v.0))
            && self.alloc.round.header.is_some()
    }

    /// Whether a jump to this offset starts the next round.
    pub fn is_round(&self, offset: i64) -> bool {
        self.alloc.round.header.is_some() && offset == self.alloc.start
    }

    /// The register that holds a slot at the header.
    pub fn round_place(&self, slot: u16, class: Class) -> Option<Reg> {
        self.alloc.round.held.iter().find(|h| h.slot == slot && h.class == class).map(|h| h.reg)
    }

    /// From the header's registers to those of a block's beginning.
    pub fn leave_header(&mut self) {
        if self.alloc.round.header.is_none() {
            return;
        }
        for h in self.alloc.round.written.clone() {
            match h.class {
                Class::Int => self.a.store(8, self.l.slot(h.slot), h.reg),
                Class::Float => self.a.movq_store(self.l.slot(h.slot), h.reg),
                Class::Vec => self.a.movups_store(self.l.slot(h.slot), h.reg),
            }
        }
        for (slot, reg) in pinned::<I>() {
            if !self.alloc.round.held.iter().any(|h| h.slot == slot) {
                self.a.load(8, reg, self.l.slot(slot));
            }
        }
    }

    /// Updates the memory of the slots that the next round does not find in a register.
    pub fn store_uncarried(&mut self) {
        self.write_back_but(|e, slot| {
            let held = e.alloc.round.held.iter().find(|h| h.slot == slot);
            held.is_some_and(|h| h.class == Class::Int || e.register_of(slot, h.class).is_some())
        });
    }

    /// Goes to the header; slots that do not stay in registers are in memory.
    pub fn next_round(&mut self) {
        let Some(header) = self.alloc.round.header else { return };
        let held = std::mem::take(&mut self.alloc.round.held);
        self.settle(&held);
        self.alloc.round.held = held;
        let jump = self.a.jmp();
        self.a.fix(jump, header);
    }
}
