//! Blocks that jump to their own start keep guest registers in host registers from round to round.
//!
//! Such a block first loads what it will read, then comes the *header*, where the rounds meet. From there on the registers
//! hold the carried slots and their memory is out of date; whoever leaves stores them, at the header, too. The other
//! slots are stored at the end of each round.

use super::asm::{Place, Reg};
use super::emit::Emit;
use super::regs::{Cached, NONE};
use super::thunks::POOL;
use std::collections::HashSet;
use trine_ir::inst::{Class, Inst};
use trine_ir::{Flow, Isa};

/// General registers that may hold values across rounds; the others are for what a round computes.
const CARRIED: usize = POOL.len() - 1;
/// The same for vector registers.
const CARRIED_FP: usize = 11;

/// A slot whose value is in a register at the header.
#[derive(Clone, Copy, Debug)]
struct Carried {
    slot: u16,
    class: Class,
    reg: Reg,
    /// Some round writes it.
    written: bool,
}

/// The header of a loop.
#[derive(Default)]
pub struct Loop {
    header: Option<Place>,
    carried: Vec<Carried>,
}

impl<I: Isa> Emit<'_, I> {
    /// Whether the block jumps to its own start, and keeps to its registers all the way.
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
        matches!(self.insts[v as usize], Inst::Pc(offset) if offset == self.start)
    }

    /// Slots that a round reads before it writes them: where, and which. Those that it also writes
    /// come first.
    fn read_first(&self) -> Vec<(u32, u16, Class, bool)> {
        let mut touched = HashSet::new();
        let mut written = HashSet::new();
        let mut reads = Vec::new();
        let mut arm = None;
        for (i, inst) in self.insts.iter().enumerate() {
            match *inst {
                Inst::IfNot { to, .. } if arm.is_none() => arm = Some(to),
                Inst::Label(to) if arm == Some(to) => arm = None,
                // An arm may lead to the next round, too.
                Inst::Set(slot, _) | Inst::SetF(slot, _) if arm.is_some() => drop(written.insert(slot)),
                _ if arm.is_some() => {}
                Inst::Get(slot) if touched.insert(slot) => reads.push((i as u32, slot, Class::Int)),
                Inst::GetF(slot) if touched.insert(slot) => reads.push((i as u32, slot, Class::Float)),
                Inst::Set(slot, _) | Inst::SetF(slot, _) => {
                    touched.insert(slot);
                    written.insert(slot);
                }
                _ => {}
            }
        }
        let mut reads: Vec<_> =
            reads.into_iter().map(|(i, s, class)| (i, s, class, written.contains(&s))).collect();
        reads.sort_by_key(|&(.., written)| !written);
        reads
    }

    /// Loads what a loop carries, and starts its header. Other blocks start as they are.
    pub fn begin_loop(&mut self) {
        if !self.is_loop() {
            return;
        }
        let (mut general, mut vector) = (POOL.into_iter().take(CARRIED), 0..CARRIED_FP as u8);
        for (v, slot, class, written) in self.read_first() {
            let free = match class {
                Class::Int => general.next(),
                Class::Float | Class::Vec => vector.next(),
            };
            let Some(reg) = free else { continue };
            let carried = Carried { slot, class, reg, written };
            self.load_carried(carried);
            match class {
                Class::Int => self.s.gpr[reg as usize] = v,
                Class::Float | Class::Vec => self.s.xmm[reg as usize] = v,
            }
            let value = &mut self.s.values[v as usize];
            (value.reg, value.cached) = (reg as u32, 1);
            value.home = if written { NONE } else { slot as u32 };
            self.s.cache.push(Cached { slot, val: v, dirty: written });
            self.round.carried.push(carried);
        }
        self.round.header = Some(self.a.here());
    }

    fn load_carried(&mut self, c: Carried) {
        match c.class {
            Class::Int => self.a.load(8, c.reg, self.l.slot(c.slot)),
            Class::Float => self.a.movq_load(c.reg, self.l.slot(c.slot)),
            Class::Vec => self.a.movups_load(c.reg, self.l.slot(c.slot)),
        }
    }

    /// Whether a jump to this offset begins the next round.
    pub fn is_round(&self, offset: i64) -> bool {
        self.round.header.is_some() && offset == self.start
    }

    /// Brings the memory of the carried slots up to date at the header.
    pub fn store_carried(&mut self) {
        for c in self.round.carried.clone().into_iter().filter(|c| c.written) {
            self.spill_carried(c, c.reg);
        }
    }

    fn spill_carried(&mut self, c: Carried, from: Reg) {
        match c.class {
            Class::Int => self.a.store(8, self.l.slot(c.slot), from),
            Class::Float => self.a.movq_store(self.l.slot(c.slot), from),
            Class::Vec => self.a.movups_store(self.l.slot(c.slot), from),
        }
    }

    /// Whether the next round finds the slot's value in a register: its memory need not be up to date.
    pub fn stays_in_register(&self, slot: u16) -> bool {
        let carried = self.round.carried.iter().find(|c| c.slot == slot);
        carried.is_some_and(|c| self.register_of(*c).is_some())
    }

    /// Goes to the header; every slot that does not stay in a register is in memory.
    pub fn next_round(&mut self) {
        let Some(header) = self.round.header else { return };
        let mut moves = Vec::new();
        for c in self.round.carried.clone() {
            match self.register_of(c) {
                Some(from) if from == c.reg => {}
                Some(from) => moves.push((c, from)),
                None => moves.push((c, NONE as Reg)),
            }
        }
        // A register is written when nothing reads it any more; where two wait for each other, one
        // takes its value by memory.
        while !moves.is_empty() {
            let is_read = |c: Carried, i: usize| {
                let others = moves.iter().enumerate().filter(|&(j, _)| j != i);
                others.into_iter().any(|(_, &(o, from))| o.class == c.class && from == c.reg)
            };
            let free = (0..moves.len()).find(|&i| !is_read(moves[i].0, i));
            match free.map(|i| moves.swap_remove(i)) {
                Some((c, from)) if from == NONE as Reg => self.load_carried(c),
                Some((c, from)) if c.class == Class::Int => self.a.mov(true, c.reg, from),
                Some((c, from)) => self.a.movaps(c.reg, from),
                None => {
                    let (c, from) = moves[0];
                    self.spill_carried(c, from);
                    moves[0].1 = NONE as Reg;
                }
            }
        }
        let jump = self.a.jmp();
        self.a.fix(jump, header);
    }

    /// The register that holds a slot's current value.
    fn register_of(&self, c: Carried) -> Option<Reg> {
        let cached = self.s.cache.iter().find(|cached| cached.slot == c.slot)?;
        let value = &self.s.values[cached.val as usize];
        let fits = value.reg != NONE && self.insts[cached.val as usize].result() == Some(c.class);
        fits.then_some(value.reg as Reg)
    }
}
