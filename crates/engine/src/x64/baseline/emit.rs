//! One block from IR to code: the walk over its instructions.

use super::loops::Loop;
use super::regs::{NONE, State};
use crate::block::Block;
use crate::x64::asm::{Asm, Hole, Part, Place};
use crate::x64::lower::facts::Facts;
use crate::x64::side::Side;
use crate::x64::thunks::Layout;
use std::marker::PhantomData;
use trine_ir::Isa;
use trine_ir::inst::{Class, Inst, Val};

/// Memory that is used again from block to block.
#[derive(Default)]
pub struct Scratch {
    facts: Facts,
    state: State,
}

/// What the code of a block says of itself.
pub struct Emitted {
    /// Displacements of the direct jumps, in the order of their numbers.
    pub holes: Vec<Hole>,
    /// Accesses that the host may refuse, and their rows.
    pub accesses: Vec<(Place, u32)>,
}

/// The compilation of one block.
pub struct Emit<'a, I: Isa> {
    pub a: &'a mut Asm,
    pub side: &'a mut Side,
    pub l: Layout,
    pub insts: &'a [Inst],
    /// What is known of the instructions' values.
    pub facts: &'a Facts,
    /// Where values are.
    pub s: &'a mut State,
    /// Index of the current IR instruction.
    pub at: u32,
    /// General registers that the current instruction uses.
    pub in_use: u32,
    /// Vector registers that the current instruction uses.
    pub in_use_fp: u32,
    /// Guest instructions in the block.
    pub guest: u32,
    /// Guest instructions begun.
    pub begun: u32,
    /// Offset in the page and length of the current guest instruction.
    pub offset: i64,
    pub bytes: u8,
    /// Mode of the block.
    pub mode: u32,
    /// A helper was called, which may have changed the mode: where control goes is looked up.
    pub called: bool,
    /// Offset of the first guest instruction.
    pub start: i64,
    /// Inside an arm that does not come back.
    pub in_arm: bool,
    /// More values than spill words.
    pub too_complex: bool,
    /// Displacements of direct jumps, in the order of their numbers.
    pub holes: Vec<Hole>,
    /// Accesses that the host may refuse, and their rows.
    pub accesses: Vec<(Place, u32)>,
    /// Number of the block's first direct jump.
    pub first_site: u32,
    /// Guest addresses are host addresses.
    pub direct: bool,
    /// Where the block's rounds meet, if it is a loop.
    pub round: Loop,
    isa: PhantomData<I>,
}

impl<'a, I: Isa> Emit<'a, I> {
    /// Prepares for a block.
    #[expect(clippy::too_many_arguments, reason = "what a block's code depends on")]
    pub fn new(
        a: &'a mut Asm,
        side: &'a mut Side,
        scratch: &'a mut Scratch,
        l: Layout,
        block: &Block<I>,
        ir: &'a trine_ir::Block,
        direct: bool,
        first_site: u32,
    ) -> Self {
        scratch.facts.find(&ir.insts, ir.insts.len() - I::PINNED.len());
        scratch.state.reset(scratch.facts.all());
        Emit {
            a,
            side,
            l,
            insts: &ir.insts,
            facts: &scratch.facts,
            s: &mut scratch.state,
            at: 0,
            in_use: 0,
            in_use_fp: 0,
            guest: ir.guest,
            begun: 0,
            offset: 0,
            bytes: 0,
            mode: block.mode,
            called: false,
            start: (block.start & (crate::block::PAGE - 1)) as i64,
            in_arm: false,
            too_complex: false,
            holes: Vec::new(),
            accesses: Vec::new(),
            first_site,
            direct,
            round: Loop::default(),
            isa: PhantomData,
        }
    }

    /// Emits everything; `None` where the block needs more room than there is.
    pub fn run(mut self) -> Option<Emitted> {
        self.begin_pinned();
        self.begin_loop();
        self.entry();
        while self.at < self.end() {
            self.one();
            self.at += 1;
        }
        (!self.too_complex).then_some(Emitted { holes: self.holes, accesses: self.accesses })
    }

    /// One IR instruction.
    fn one(&mut self) {
        let inst = self.insts[self.at as usize];
        self.in_use = 0;
        self.in_use_fp = 0;
        if self.facts.of(self.at).deferred || self.is_dead(self.at as usize) {
            return;
        }
        match inst {
            Inst::Const(_) | Inst::Pc(_) => {}
            Inst::Get(slot) => self.read_slot(slot, Class::Int),
            Inst::GetF(slot) => self.read_slot(slot, Class::Float),
            Inst::Set(slot, v) | Inst::SetF(slot, v) => self.write_slot(slot, v),
            Inst::Bin(op, bits, x, y) => self.binary(op, bits, x, y),
            Inst::Cmp(op, bits, x, y) => self.compare(op, bits, x, y),
            Inst::Un(op, bits, x) => self.unary(op, bits, x),
            Inst::Zext(from, to, x) => self.zero_extend(from.min(to), x),
            Inst::Sext(from, to, x) => self.sign_extend(from, to, x),
            Inst::Select(_, c, x, y) => self.select(c, x, y),
            Inst::SelectF(c, x, y) => self.select_float(c, x, y),
            Inst::GetV(slot) => self.read_slot(slot, Class::Vec),
            Inst::SetV(slot, v) => self.write_slot(slot, v),
            Inst::Vec(op, args) => self.vector(op, args),
            Inst::ToVec(x) => self.vector_of(x),
            Inst::VInsert(lane, n, v, x) => self.vector_insert(lane, n, v, x),
            Inst::VExtract(lane, n, v) => self.vector_extract(lane, n, v),
            Inst::VMask(lane, v) => self.vector_mask(lane, v),
            Inst::LoadV(hints, a) => self.load_vector(hints, a),
            Inst::StoreV(hints, a, v) => self.store_vector(hints, a, v),
            Inst::Carry(op, bits, args) => self.carry(op, bits, args),
            Inst::DivWide(signed, args) => self.divide_wide(signed, args),
            // Made with what it belongs to.
            Inst::Extra(..) => {}
            Inst::Insert(at, len, old, v) => self.insert(at, len, old, v),
            Inst::Load(how, a) => self.load(how, a),
            Inst::Store(how, a, v) => self.store(how, a, v),
            Inst::Rmw(op, how, a, v) => self.rmw(op, how, a, v),
            Inst::Exchange(how, a, old, new) => self.exchange(how, a, old, new),
            Inst::Fence => self.a.barrier(),
            Inst::Fp(op, rounding, args) => self.float(op, rounding, args),
            Inst::Flags => self.flags_value(),
            Inst::SetFlags(v) => self.set_flags(v),
            Inst::Call(helper, args) => self.call(helper, args),
            Inst::Begin(offset, bytes) => {
                self.offset = offset;
                self.bytes = bytes;
                self.begun += 1;
            }
            Inst::IfNot { c, to, exits } => self.arm(c, to, exits),
            Inst::Label(_) => {}
            Inst::Jump(flow, v) => self.exit_jump(flow, v),
            Inst::Raise(cause, v) => self.exit_raise(cause, v),
        }
    }

    /// Whether the instruction at `i` needs no code.
    pub fn is_dead(&self, i: usize) -> bool {
        self.facts.is_dead(i, &self.insts[i])
    }

    /// What follows `from` out of line. Control does not go on behind what was emitted last.
    pub fn cold(&mut self, from: &[Hole], emit: impl FnOnce(&mut Self)) {
        let part = self.a.switch(Part::Cold);
        from.iter().for_each(|hole| self.a.fix_here(*hole));
        emit(self);
        self.a.switch(part);
    }

    /// The same where control goes on: what is out of line already, as an arm that exits, jumps over it.
    pub fn cold_with<T>(&mut self, from: &[Hole], emit: impl FnOnce(&mut Self) -> T) -> T {
        let part = self.a.switch(Part::Cold);
        let over = (part == Part::Cold).then(|| self.a.jmp());
        from.iter().for_each(|hole| self.a.fix_here(*hole));
        let result = emit(self);
        if let Some(over) = over {
            self.a.fix_here(over);
        }
        self.a.switch(part);
        result
    }

    /// What follows `from` out of line, and then goes on here.
    pub fn aside(&mut self, from: &[Hole], emit: impl FnOnce(&mut Self)) {
        let back = self.a.here();
        self.cold_with(from, |e| {
            emit(e);
            let jump = e.a.jmp();
            e.a.fix(jump, back);
        });
    }

    /// `IfNot … Label`.
    fn arm(&mut self, c: Val, to: trine_ir::inst::Label, exits: bool) {
        if exits {
            let cc = self.condition(c);
            let saved = self.s.clone();
            if self.goes_round(to) {
                // The way that is taken most often: it stays here, and one jump leads to the header.
                let over = self.a.jcc(cc.opposite());
                self.leaving_arm(to);
                self.a.fix_here(over);
            } else {
                let taken = self.a.jcc(cc);
                self.cold_with(&[taken], |e| e.leaving_arm(to));
            }
            *self.s = saved;
        } else {
            // Both ways meet with everything in memory.
            self.leave_registers_but(c);
            let cc = self.condition(c);
            let skip = self.a.jcc(cc.opposite());
            self.forget_registers();
            self.until(to);
            self.leave_registers();
            self.a.fix_here(skip);
            self.s.fp_ready = false;
        }
    }

    /// An arm that does not come back.
    fn leaving_arm(&mut self, to: trine_ir::inst::Label) {
        let was = std::mem::replace(&mut self.in_arm, true);
        self.until(to);
        self.in_arm = was;
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

    /// [`Emit::leave_registers`], but the condition's operands may be looked at afterwards.
    fn leave_registers_but(&mut self, c: Val) {
        let mut operands = vec![c];
        self.insts[c.0 as usize].operands(|v| operands.push(v));
        let mut kept = Vec::new();
        for v in operands {
            let v = self.resolve(v);
            kept.push((v, std::mem::replace(&mut self.s.values[v as usize].last, NONE - 1)));
        }
        self.leave_registers();
        for (v, last) in kept.into_iter().rev() {
            self.s.values[v as usize].last = last;
        }
    }

    /// Values are in their spill words: registers hold nothing that the other way does not know.
    fn forget_registers(&mut self) {
        for v in self.s.gpr.into_iter().chain(self.s.xmm).filter(|v| *v != NONE) {
            self.s.values[v as usize].reg = NONE;
        }
        self.s.gpr = [NONE; 16];
        self.s.xmm = [NONE; 16];
    }
}
