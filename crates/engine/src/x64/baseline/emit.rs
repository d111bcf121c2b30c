//! One block from IR to code: the walk over its instructions.

use super::loops::Loop;
use super::regs::{NONE, State};
use crate::block::BlockPlace;
use crate::x64::asm::{Asm, Hole, Place};
use crate::x64::lower::Lower;
use crate::x64::lower::allocator::Allocator;
use crate::x64::lower::facts::Facts;
use crate::x64::side::Side;
use crate::x64::thunks::Layout;
use std::cell::Cell;
use std::marker::PhantomData;
use trine_ir::Isa;
use trine_ir::inst::{Class, Inst, Val};

/// Memory that is reused from block to block.
#[derive(Default)]
pub struct Scratch {
    facts: Facts,
    state: State,
    saved: Vec<State>,
    slots: Cell<Vec<(u16, usize)>>,
    /// About the code that was emitted last.
    pub emitted: Emitted,
}

/// Data about the code of a block.
#[derive(Default)]
pub struct Emitted {
    /// Displacements of the direct jumps, in the order of their numbers.
    pub holes: Vec<Hole>,
    /// Accesses that the host may refuse, and their rows.
    pub accesses: Vec<(Place, u32)>,
}

/// The baseline's register allocator, with other data about the block that is being compiled.
pub struct Baseline<'a> {
    /// Where values are.
    pub state: &'a mut State,
    /// States for the paths that exit, one for each that has begun.
    pub saved: &'a mut Vec<State>,
    /// Memory for a list of slots with the registers that have their values.
    pub slots: &'a Cell<Vec<(u16, usize)>>,
    /// General registers that the current instruction uses.
    pub in_use: u32,
    /// Vector registers that the current instruction uses.
    pub in_use_fp: u32,
    /// A helper was called, which may have changed the mode: jump targets are looked up.
    pub called: bool,
    /// Offset of the first guest instruction.
    pub start: i64,
    /// Inside an arm that exits.
    pub in_arm: bool,
    /// More values than spill words.
    pub too_complex: bool,
    /// Displacements of direct jumps, in the order of their numbers.
    pub holes: &'a mut Vec<Hole>,
    /// Number of the block's first direct jump.
    pub first_site: u32,
    /// The loop's header, if the block is a loop.
    pub round: Loop,
}

/// The compilation of one block.
pub type Emit<'a, I> = Lower<'a, I, Baseline<'a>>;

impl<'a, I: Isa> Emit<'a, I> {
    /// Prepares for a block.
    pub fn new(
        a: &'a mut Asm,
        side: &'a mut Side,
        scratch: &'a mut Scratch,
        l: Layout,
        place: BlockPlace,
        ir: &'a trine_ir::Block,
        first_site: u32,
    ) -> Self {
        scratch.facts.find(&ir.insts, ir.insts.len() - I::PINNED.len());
        scratch.state.reset(scratch.facts.all());
        scratch.emitted.holes.clear();
        scratch.emitted.accesses.clear();
        let alloc = Baseline {
            state: &mut scratch.state,
            saved: &mut scratch.saved,
            slots: &scratch.slots,
            in_use: 0,
            in_use_fp: 0,
            called: false,
            start: place.offset,
            in_arm: false,
            too_complex: false,
            holes: &mut scratch.emitted.holes,
            first_site,
            round: Loop::default(),
        };
        Lower {
            a,
            side,
            l,
            insts: &ir.insts,
            facts: &scratch.facts,
            at: 0,
            guest: ir.guest,
            begun: 0,
            offset: 0,
            bytes: 0,
            mode: place.mode,
            accesses: &mut scratch.emitted.accesses,
            alloc,
            isa: PhantomData,
        }
    }

    /// Emits everything; false if the block needs more spill words than there are.
    pub fn run(mut self) -> bool {
        self.begin_pinned();
        self.begin_loop();
        self.entry();
        while self.at < self.end() {
            self.one();
            self.at += 1;
        }
        !self.alloc.too_complex
    }

    /// One IR instruction.
    fn one(&mut self) {
        let inst = self.insts[self.at as usize];
        self.alloc.in_use = 0;
        self.alloc.in_use_fp = 0;
        if self.facts.of(self.at).deferred || self.is_dead(self.at as usize) {
            return;
        }
        match inst {
            Inst::Get(slot) => self.read_slot(slot, Class::Int),
            Inst::GetF(slot) => self.read_slot(slot, Class::Float),
            Inst::GetV(slot) => self.read_slot(slot, Class::Vec),
            Inst::Set(slot, v) | Inst::SetF(slot, v) | Inst::SetV(slot, v) => self.write_slot(slot, v),
            Inst::Call(helper, args) => self.call(helper, args),
            Inst::IfNot { c, to, exits } => self.arm(c, to, exits),
            Inst::Jump(flow, v) => self.exit_jump(flow, v),
            Inst::Raise(cause, code, v) => self.exit_raise(cause, code, v),
            _ => self.lower(inst),
        }
    }

    /// `IfNot … Label`.
    fn arm(&mut self, c: Val, to: trine_ir::inst::Label, exits: bool) {
        if exits {
            let cc = self.condition(c);
            let mut saved = self.alloc.saved.pop().unwrap_or_default();
            saved.copy(self.alloc.state);
            if self.goes_round(to) {
                // The path that is taken most often: it stays here, and one jump leads to the header.
                let over = self.a.jcc(cc.opposite());
                self.leaving_arm(to);
                self.a.fix_here(over);
            } else {
                let taken = self.a.jcc(cc);
                self.cold_with(&[taken], |e| e.leaving_arm(to));
            }
            std::mem::swap(self.alloc.state, &mut saved);
            self.alloc.saved.push(saved);
        } else {
            // Both paths meet with everything in memory.
            self.leave_registers_but(c);
            let cc = self.condition(c);
            let skip = self.a.jcc(cc.opposite());
            self.forget_registers();
            self.until(to);
            self.leave_registers();
            self.a.fix_here(skip);
            self.alloc.state.fp_ready = false;
        }
    }

    /// An arm that exits.
    fn leaving_arm(&mut self, to: trine_ir::inst::Label) {
        let was = std::mem::replace(&mut self.alloc.in_arm, true);
        self.until(to);
        self.alloc.in_arm = was;
    }

    /// Emits what comes before the label.
    fn until(&mut self, to: trine_ir::inst::Label) {
        loop {
            self.at += 1;
            if matches!(self.insts[self.at as usize], Inst::Label(l) if l == to) {
                return;
            }
            self.one();
        }
    }

    /// [`Emit::leave_registers`], but the condition's operands may be read afterwards.
    fn leave_registers_but(&mut self, c: Val) {
        let mut operands = vec![c];
        self.insts[c.0 as usize].operands(|v| operands.push(v));
        let mut kept = Vec::new();
        for v in operands {
            let v = self.resolve(v);
            kept.push((v, std::mem::replace(&mut self.alloc.state.values[v as usize].last, NONE - 1)));
        }
        self.leave_registers();
        for (v, last) in kept.into_iter().rev() {
            self.alloc.state.values[v as usize].last = last;
        }
    }

    /// All values are in their spill words: registers hold nothing that the other path does not know.
    fn forget_registers(&mut self) {
        for v in self.alloc.state.gpr.into_iter().chain(self.alloc.state.xmm).filter(|v| *v != NONE) {
            self.alloc.state.values[v as usize].reg = NONE;
        }
        self.alloc.state.gpr = [NONE; 16];
        self.alloc.state.xmm = [NONE; 16];
    }
}
