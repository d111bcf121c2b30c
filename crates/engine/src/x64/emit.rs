//! One block from IR to code: the walk over its instructions.

use super::asm::{Asm, Hole, Part, Place};
use super::loops::Loop;
use super::regs::{NONE, State};
use super::side::Side;
use super::thunks::Layout;
use crate::block::Block;
use std::marker::PhantomData;
use trine_ir::inst::{Class, Inst, Val};
use trine_ir::{Bin, Fmt, Fp, Isa};

/// Memory that is used again from block to block.
#[derive(Default)]
pub struct Scratch {
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
    pub(super) a: &'a mut Asm,
    pub(super) side: &'a mut Side,
    pub(super) l: Layout,
    pub(super) insts: &'a [Inst],
    /// Where values are.
    pub(super) s: &'a mut State,
    /// Index of the last read of each of the first slots.
    pub(super) last_read: [u32; 64],
    /// Index of the current IR instruction.
    pub(super) at: u32,
    /// General registers that the current instruction uses.
    pub(super) in_use: u32,
    /// Vector registers that the current instruction uses.
    pub(super) in_use_fp: u32,
    /// Guest instructions in the block.
    pub(super) guest: u32,
    /// Guest instructions begun.
    pub(super) begun: u32,
    /// Offset in the page and length of the current guest instruction.
    pub(super) offset: i64,
    pub(super) bytes: u8,
    /// Mode of the block.
    pub(super) mode: u32,
    /// A helper was called, which may have changed the mode: where control goes is looked up.
    pub(super) called: bool,
    /// Offset of the first guest instruction.
    pub(super) start: i64,
    /// Inside an arm that does not come back.
    pub(super) in_arm: bool,
    /// More values than spill words.
    pub(super) too_complex: bool,
    /// Displacements of direct jumps, in the order of their numbers.
    pub(super) holes: Vec<Hole>,
    /// Accesses that the host may refuse, and their rows.
    pub(super) accesses: Vec<(Place, u32)>,
    /// Number of the block's first direct jump.
    pub(super) first_site: u32,
    /// Guest addresses are host addresses.
    pub(super) direct: bool,
    /// Where the block's rounds meet, if it is a loop.
    pub(super) round: Loop,
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
        scratch.state.reset(ir.insts.len());
        Emit {
            a,
            side,
            l,
            insts: &ir.insts,
            s: &mut scratch.state,
            last_read: [0; 64],
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
        self.count_uses();
        self.begin_pinned();
        self.begin_loop();
        self.entry();
        while self.at < self.end() {
            self.one();
            self.at += 1;
        }
        (!self.too_complex).then_some(Emitted { holes: self.holes, accesses: self.accesses })
    }

    /// Finds each value's last use, and what is better emitted at its only use.
    fn count_uses(&mut self) {
        self.count_live_uses();
        for (i, inst) in self.insts[..self.end() as usize].iter().enumerate() {
            if self.is_dead(i) {
                continue;
            }
            if let Inst::Get(slot) | Inst::GetF(slot) | Inst::GetV(slot) = *inst
                && let Some(last) = self.last_read.get_mut(slot as usize)
            {
                *last = i as u32;
            }
            match *inst {
                Inst::Load(_, a)
                | Inst::Store(_, a, _)
                | Inst::Rmw(_, _, a, _)
                | Inst::Exchange(_, a, ..)
                | Inst::LoadV(_, a)
                | Inst::StoreV(_, a, _) => {
                    self.defer_address(a, i as u32);
                }
                Inst::Sext(from, 64, x) => self.sign_load(from, x),
                Inst::IfNot { c, .. } | Inst::Select(_, c, ..) | Inst::SelectF(c, ..) => {
                    self.defer_compare(c, i as u32)
                }
                Inst::Flags => self.quiet_compare(i),
                _ => {}
            }
        }
    }

    fn defer(&mut self, v: Val, user: u32, operands: &[Val]) {
        self.s.values[v.0 as usize].deferred = true;
        for o in operands {
            let value = &mut self.s.values[o.0 as usize];
            value.last = value.last.max(user);
        }
    }

    /// A load of which nothing but the sign-extension is used extends by itself.
    fn sign_load(&mut self, from: u8, x: Val) {
        if let Inst::Load(how, _) = self.insts[x.0 as usize]
            && how.width.bits() == from as u32
            && self.s.values[x.0 as usize].uses == 1
        {
            self.s.values[x.0 as usize].signed = true;
        }
    }

    /// Base plus constant becomes part of the access.
    fn defer_address(&mut self, a: Val, user: u32) {
        if self.s.values[a.0 as usize].uses != self.s.values[a.0 as usize].addresses {
            return;
        }
        if let Inst::Bin(Bin::Add, 64, base, k) = self.insts[a.0 as usize]
            && let Inst::Const(k) = self.insts[k.0 as usize]
            && (k as i64).unsigned_abs() < 1 << 30
        {
            self.defer(a, user, &[base]);
        }
    }

    /// A comparison used once becomes part of its user.
    fn defer_compare(&mut self, c: Val, user: u32) {
        if self.s.values[c.0 as usize].uses != 1 {
            return;
        }
        if let Inst::Cmp(_, bits @ (8 | 16 | 32 | 64), x, y) = self.insts[c.0 as usize] {
            self.defer(c, user, &[x, y]);
            if bits == 64 && matches!(self.insts[y.0 as usize], Inst::Const(k) if k as i64 == k as i32 as i64)
            {
                self.defer_upper_half(x, user);
            }
        }
    }

    /// The upper half of a number's bits that is only compared needs no register of its own.
    fn defer_upper_half(&mut self, x: Val, user: u32) {
        if let Some((_, bits, number)) = self.upper_half(x)
            && [x, bits].iter().all(|v| self.s.values[v.0 as usize].uses == 1)
        {
            self.defer(x, user, &[]);
            self.defer(bits, user, &[number]);
        }
    }

    /// Shift, bits and number, where `x` is the upper half of a binary64.
    pub(super) fn upper_half(&self, x: Val) -> Option<(Bin, Val, Val)> {
        let Inst::Bin(op @ (Bin::Shr | Bin::Sar), 64, bits, by) = self.insts[x.0 as usize] else {
            return None;
        };
        match (self.insts[bits.0 as usize], self.insts[by.0 as usize]) {
            (Inst::Fp(Fp::ToBits(Fmt::D), _, [number, ..]), Inst::Const(32)) => Some((op, bits, number)),
            _ => None,
        }
    }

    /// One IR instruction.
    fn one(&mut self) {
        let inst = self.insts[self.at as usize];
        let value = self.s.values[self.at as usize];
        self.in_use = 0;
        self.in_use_fp = 0;
        if value.deferred || self.is_dead(self.at as usize) {
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

    /// What follows `from` out of line. Control does not go on behind what was emitted last.
    pub(super) fn cold(&mut self, from: &[Hole], emit: impl FnOnce(&mut Self)) {
        let part = self.a.switch(Part::Cold);
        from.iter().for_each(|hole| self.a.fix_here(*hole));
        emit(self);
        self.a.switch(part);
    }

    /// The same where control goes on: what is out of line already, as an arm that exits, jumps over it.
    pub(super) fn cold_with<T>(&mut self, from: &[Hole], emit: impl FnOnce(&mut Self) -> T) -> T {
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
    pub(super) fn aside(&mut self, from: &[Hole], emit: impl FnOnce(&mut Self)) {
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
            let taken = self.a.jcc(cc);
            let saved = self.s.clone();
            self.cold_with(&[taken], |e| {
                let was = std::mem::replace(&mut e.in_arm, true);
                e.until(to);
                e.in_arm = was;
            });
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
