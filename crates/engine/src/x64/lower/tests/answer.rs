//! The second pass: an allocator that answers from places that were assigned before, and insists on the recorded questions.

use super::assign::{Place, TEMPORARY, TEMPORARY_FP};
use super::record::{Ask, Record};
use super::walk::Pass;
use crate::x64::asm::{Mem, Reg, Xmm, mem, reg::*};
use crate::x64::lower::Lower;
use crate::x64::lower::allocator::{Allocator, Operand, RowSlots};
use crate::x64::lower::facts::number_constant;
use crate::x64::pins::pin_registers;
use crate::x64::thunks::SCRATCH_FP;
use trine_ir::Isa;
use trine_ir::inst::{Class, Inst, Val};

pub struct Answers {
    record: Record,
    places: Vec<Place>,
    aliases: Vec<u32>,
    /// Number of the current instruction's next question.
    next: usize,
    /// Temporaries given in the current instruction.
    given: usize,
    given_fp: usize,
    /// Results that go to spill words at the end of the instruction: register, value.
    results: Vec<(u8, u32)>,
    fp_ready: bool,
}

impl Answers {
    pub fn new(record: Record, places: Vec<Place>) -> Answers {
        let aliases = (0..record.len() as u32).collect();
        let (next, given, given_fp, results) = (0, 0, 0, Vec::new());
        Answers { record, places, aliases, next, given, given_fp, results, fp_ready: false }
    }
}

impl<I: Isa> Lower<'_, I, Answers> {
    /// The question that comes now; gives its number.
    fn expect(&mut self, ask: Ask) -> usize {
        let question = self.alloc.next;
        assert_eq!(
            self.alloc.record[self.at as usize].get(question),
            Some(&ask),
            "a question of {}",
            self.at
        );
        self.alloc.next += 1;
        question
    }

    fn place(&self, v: u32) -> Place {
        self.alloc.places[v as usize]
    }

    fn class(&self, v: u32) -> Class {
        self.insts[v as usize].result().unwrap_or(Class::Int)
    }

    fn temporary(&mut self) -> Reg {
        self.alloc.given += 1;
        TEMPORARY[self.alloc.given - 1]
    }

    fn temporary_fp(&mut self) -> Xmm {
        self.alloc.given_fp += 1;
        TEMPORARY_FP[self.alloc.given_fp - 1]
    }

    fn word(&self, v: u32) -> Mem {
        match (self.place(v), self.class(v)) {
            (Place::Spill(n), Class::Vec) => self.l.spill_vector(n),
            (Place::Spill(n), _) => self.l.spill(n),
            (place, _) => panic!("value {v} is not in a spill word but {place:?}"),
        }
    }

    /// The register of a result, which goes to its spill word at the end of the instruction where it has one.
    fn result(&mut self, v: u32) -> u8 {
        let is_general = self.class(v) == Class::Int;
        if let Place::Register(r) = self.place(v) {
            return r;
        }
        let r = if is_general { self.temporary() } else { self.temporary_fp() };
        self.alloc.results.push((r, v));
        r
    }

    /// The register for a question that is answered by nothing but a register: that of the result which it becomes.
    fn take(&mut self, question: usize) -> Option<u8> {
        let owner = self.alloc.record[self.at as usize].iter().find_map(|ask| match *ask {
            Ask::Own(at, of) if of == question => Some(at),
            Ask::OwnFp(of) if of == question => Some(self.at),
            _ => None,
        });
        owner.map(|v| self.result(v))
    }

    /// A value's 64 bits into a general register.
    fn bring(&mut self, r: Reg, v: u32) {
        if let Some(bits) = number_constant(self.insts, v) {
            return self.a.mov_imm(r, bits);
        }
        match (self.insts[v as usize], self.place(v)) {
            (Inst::Const(k), _) => self.a.mov_imm(r, k),
            (Inst::Pc(offset), _) => {
                self.a.load(8, r, self.l.page());
                self.a.lea(true, r, mem(r, offset as i32));
            }
            (_, Place::Register(s)) if self.class(v) == Class::Int => self.a.mov(true, r, s),
            (_, Place::Register(s)) => self.a.movq_from(true, r, s),
            _ => self.a.load(8, r, self.word(v)),
        }
    }

    /// A number or vector that has no register into a vector register.
    fn bring_fp(&mut self, x: Xmm, v: u32) {
        match number_constant(self.insts, v) {
            Some(bits) => self.number_to(x, bits),
            None if self.class(v) == Class::Vec => self.a.movups_load(x, self.word(v)),
            None => self.a.movq_load(x, self.word(v)),
        }
    }
}

impl<I: Isa> Allocator for Lower<'_, I, Answers> {
    fn resolve(&self, v: Val) -> u32 {
        self.alloc.aliases[v.0 as usize]
    }

    fn gpr(&mut self, v: Val) -> Reg {
        let v = self.resolve(v);
        self.expect(Ask::Gpr(v));
        if let Place::Register(r) = self.place(v) {
            return r;
        }
        let r = self.temporary();
        self.bring(r, v);
        r
    }

    fn xmm(&mut self, v: Val) -> Xmm {
        let v = self.resolve(v);
        self.expect(Ask::Xmm(v));
        if let Place::Register(x) = self.place(v) {
            return x;
        }
        let x = self.temporary_fp();
        self.bring_fp(x, v);
        x
    }

    fn gpr_or_mem(&mut self, v: Val) -> Operand {
        let v = self.resolve(v);
        self.expect(Ask::GprOrMem(v));
        match self.place(v) {
            Place::Register(r) => Operand::Reg(r),
            Place::Spill(_) => Operand::Mem(self.word(v)),
            Place::Nowhere => {
                let r = self.temporary();
                self.bring(r, v);
                Operand::Reg(r)
            }
        }
    }

    fn copy_to(&mut self, r: Reg, v: Val) {
        let v = self.resolve(v);
        self.expect(Ask::Copy(v));
        self.bring(r, v);
    }

    fn copy_low_to(&mut self, r: Reg, v: Val) {
        let v = self.resolve(v);
        self.expect(Ask::CopyLow(v));
        self.bring(r, v);
        self.a.mov(false, r, r);
    }

    fn store_to(&mut self, m: Mem, v: Val) {
        let v = self.resolve(v);
        self.expect(Ask::Store(v));
        match (self.place(v), self.class(v)) {
            (Place::Register(r), Class::Int) => self.a.store(8, m, r),
            (Place::Register(x), Class::Float) => self.a.movq_store(m, x),
            (Place::Register(x), Class::Vec) => self.a.movups_store(m, x),
            (_, Class::Vec) => {
                self.a.movups_load(SCRATCH_FP, self.word(v));
                self.a.movups_store(m, SCRATCH_FP);
            }
            _ => {
                self.bring(RAX, v);
                self.a.store(8, m, RAX);
            }
        }
    }

    fn take_gpr(&mut self) -> Reg {
        let question = self.expect(Ask::TakeGpr);
        self.take(question).unwrap_or_else(|| self.temporary())
    }

    fn take_xmm(&mut self) -> Xmm {
        let question = self.expect(Ask::TakeXmm);
        self.take(question).unwrap_or_else(|| self.temporary_fp())
    }

    fn def_over(&mut self, operands: &[Val]) -> Reg {
        let operands = operands.iter().map(|&v| self.resolve(v)).collect();
        self.expect(Ask::DefOver(operands));
        self.result(self.at)
    }

    fn def_apart(&mut self) -> Reg {
        self.expect(Ask::DefApart);
        self.result(self.at)
    }

    fn def_from(&mut self, w: bool, v: Val) -> Reg {
        let v = self.resolve(v);
        self.expect(Ask::DefFrom(v));
        let r = self.result(self.at);
        match self.place(v) {
            Place::Register(s) if s == r => {}
            Place::Register(s) => self.a.mov(w, r, s),
            _ => self.bring(r, v),
        }
        r
    }

    fn def_fp_over(&mut self, v: Val) -> (Xmm, Xmm) {
        let v = self.resolve(v);
        self.expect(Ask::DefFpOver(v));
        let x = self.result(self.at);
        if let Place::Register(s) = self.place(v) {
            return (x, s);
        }
        self.bring_fp(x, v);
        (x, x)
    }

    fn own_as(&mut self, at: u32, _: Reg) {
        let ask = self.alloc.record[self.at as usize].get(self.alloc.next);
        assert!(matches!(ask, Some(&Ask::Own(of, _)) if of == at), "a question of {}", self.at);
        self.alloc.next += 1;
    }

    fn own_fp(&mut self, _: Xmm) {
        let ask = self.alloc.record[self.at as usize].get(self.alloc.next);
        assert!(matches!(ask, Some(Ask::OwnFp(_))), "a question of {}", self.at);
        self.alloc.next += 1;
    }

    fn alias(&mut self, v: Val) {
        let v = self.resolve(v);
        self.expect(Ask::Alias(v));
        self.alloc.aliases[self.at as usize] = v;
    }

    fn clobber(&mut self, r: Reg) {
        self.expect(Ask::Clobber(r));
    }

    fn fp_ready(&mut self) -> bool {
        self.expect(Ask::FpReady);
        std::mem::replace(&mut self.alloc.fp_ready, true)
    }

    /// All slots are in memory between two instructions.
    fn row_slots(&mut self) -> RowSlots {
        self.expect(Ask::Row);
        RowSlots { displaced: pin_registers::<I>(), first: self.side.locs.len() as u32, dirty: 0 }
    }
}

impl<I: Isa> Pass for Lower<'_, I, Answers> {
    fn finish(&mut self) {
        let asked = self.alloc.record[self.at as usize].len();
        assert_eq!(self.alloc.next, asked, "number of questions of {}", self.at);
        (self.alloc.next, self.alloc.given, self.alloc.given_fp) = (0, 0, 0);
        for (r, v) in std::mem::take(&mut self.alloc.results) {
            match (self.place(v), self.class(v)) {
                (Place::Spill(_), Class::Int) => self.a.store(8, self.word(v), r),
                (Place::Spill(_), Class::Float) => self.a.movq_store(self.word(v), r),
                (Place::Spill(_), Class::Vec) => self.a.movups_store(self.word(v), r),
                // Nobody uses it.
                _ => {}
            }
        }
    }
}
