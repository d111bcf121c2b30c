//! The first pass: an allocator that records what each instruction asks, and answers anything.

use super::walk::Pass;
use crate::x64::asm::{Mem, Reg, Xmm};
use crate::x64::lower::Lower;
use crate::x64::lower::allocator::{Allocator, Operand, RowSlots};
use crate::x64::thunks::{POOL, POOL_FP};
use trine_ir::Isa;
use trine_ir::inst::Val;

/// One question. Values are those behind all aliases; a register is named by the question that it answered, counted from the
/// first one of the instruction.
#[derive(Clone, PartialEq, Debug)]
pub enum Ask {
    Gpr(u32),
    Xmm(u32),
    GprOrMem(u32),
    Copy(u32),
    CopyLow(u32),
    Store(u32),
    TakeGpr,
    TakeXmm,
    DefOver(Vec<u32>),
    DefApart,
    DefFrom(u32),
    DefFpOver(u32),
    Own(u32, usize),
    OwnFp(usize),
    Alias(u32),
    Clobber(Reg),
    FpReady,
    Row,
}

/// The questions of a block, by IR instruction.
pub type Record = Vec<Vec<Ask>>;

/// How a recorder answers.
#[derive(Clone, Copy, Debug)]
pub struct Dummy {
    /// The first register that it gives; the next ones follow in the order of the pool.
    pub first: usize,
    /// Results get the registers of operands where they may, and operands that may be in memory are there.
    pub shares: bool,
}

pub struct Recorder {
    pub record: Record,
    dummy: Dummy,
    aliases: Vec<u32>,
    /// What was given in the current instruction: register, question, value.
    general: Vec<(Reg, usize, u32)>,
    vector: Vec<(Xmm, usize)>,
    fp_ready: bool,
}

/// No value.
const NONE: u32 = u32::MAX;

impl Recorder {
    pub fn new(values: usize, dummy: Dummy) -> Recorder {
        Recorder {
            record: vec![Vec::new(); values],
            dummy,
            aliases: (0..values as u32).collect(),
            general: Vec::new(),
            vector: Vec::new(),
            fp_ready: false,
        }
    }

    fn give(&mut self, question: usize, v: u32) -> Reg {
        let n = self.general.len();
        assert!(n < POOL.len(), "an instruction asks for at most as many registers as there are");
        let r = POOL[(self.dummy.first + n) % POOL.len()];
        self.general.push((r, question, v));
        r
    }

    fn give_fp(&mut self, question: usize) -> Xmm {
        let x = ((self.dummy.first + self.vector.len()) % POOL_FP as usize) as Xmm;
        self.vector.push((x, question));
        x
    }

    /// Gives the register of one of the operands, where it shares.
    fn give_over(&mut self, question: usize, may: impl Fn(u32) -> bool) -> Reg {
        let found = self.general.iter().find(|g| self.dummy.shares && may(g.2)).map(|g| g.0);
        match found {
            Some(r) => {
                self.general.push((r, question, NONE));
                r
            }
            None => self.give(question, NONE),
        }
    }
}

impl<I: Isa> Lower<'_, I, Recorder> {
    fn note(&mut self, ask: Ask) -> usize {
        let asks = &mut self.alloc.record[self.at as usize];
        asks.push(ask);
        asks.len() - 1
    }
}

impl<I: Isa> Allocator for Lower<'_, I, Recorder> {
    fn resolve(&self, v: Val) -> u32 {
        self.alloc.aliases[v.0 as usize]
    }

    fn gpr(&mut self, v: Val) -> Reg {
        let v = self.resolve(v);
        let question = self.note(Ask::Gpr(v));
        self.alloc.give(question, v)
    }

    fn xmm(&mut self, v: Val) -> Xmm {
        let question = self.note(Ask::Xmm(self.resolve(v)));
        self.alloc.give_fp(question)
    }

    fn gpr_or_mem(&mut self, v: Val) -> Operand {
        let v = self.resolve(v);
        let question = self.note(Ask::GprOrMem(v));
        match self.alloc.dummy.shares {
            true => Operand::Mem(self.l.spill(0)),
            false => Operand::Reg(self.alloc.give(question, v)),
        }
    }

    fn copy_to(&mut self, _: Reg, v: Val) {
        self.note(Ask::Copy(self.resolve(v)));
    }

    fn copy_low_to(&mut self, _: Reg, v: Val) {
        self.note(Ask::CopyLow(self.resolve(v)));
    }

    fn store_to(&mut self, _: Mem, v: Val) {
        self.note(Ask::Store(self.resolve(v)));
    }

    fn take_gpr(&mut self) -> Reg {
        let question = self.note(Ask::TakeGpr);
        self.alloc.give(question, NONE)
    }

    fn take_xmm(&mut self) -> Xmm {
        let question = self.note(Ask::TakeXmm);
        self.alloc.give_fp(question)
    }

    fn def_over(&mut self, operands: &[Val]) -> Reg {
        let operands: Vec<u32> = operands.iter().map(|&v| self.resolve(v)).collect();
        let question = self.note(Ask::DefOver(operands.clone()));
        self.alloc.give_over(question, |v| operands.contains(&v))
    }

    fn def_apart(&mut self) -> Reg {
        let question = self.note(Ask::DefApart);
        self.alloc.give_over(question, |v| v != NONE)
    }

    fn def_from(&mut self, _: bool, v: Val) -> Reg {
        let v = self.resolve(v);
        let question = self.note(Ask::DefFrom(v));
        self.alloc.give_over(question, |other| other == v)
    }

    fn def_fp_over(&mut self, v: Val) -> (Xmm, Xmm) {
        let question = self.note(Ask::DefFpOver(self.resolve(v)));
        let d = self.alloc.give_fp(question);
        let s = if self.alloc.dummy.shares { d } else { self.alloc.give_fp(question) };
        (d, s)
    }

    fn own_as(&mut self, at: u32, r: Reg) {
        let given = self.alloc.general.iter().rev().find(|g| g.0 == r);
        let question = given.unwrap_or_else(|| panic!("register {r} was not given")).1;
        self.note(Ask::Own(at, question));
    }

    fn own_fp(&mut self, x: Xmm) {
        let given = self.alloc.vector.iter().rev().find(|g| g.0 == x);
        let question = given.unwrap_or_else(|| panic!("vector register {x} was not given")).1;
        self.note(Ask::OwnFp(question));
    }

    fn alias(&mut self, v: Val) {
        let v = self.resolve(v);
        self.note(Ask::Alias(v));
        self.alloc.aliases[self.at as usize] = v;
    }

    fn clobber(&mut self, r: Reg) {
        self.note(Ask::Clobber(r));
    }

    fn fp_ready(&mut self) -> bool {
        self.note(Ask::FpReady);
        std::mem::replace(&mut self.alloc.fp_ready, true)
    }

    fn row_slots(&mut self) -> RowSlots {
        self.note(Ask::Row);
        RowSlots { displaced: 0, first: 0, dirty: 0 }
    }
}

impl<I: Isa> Pass for Lower<'_, I, Recorder> {
    fn finish(&mut self) {
        self.alloc.general.clear();
        self.alloc.vector.clear();
    }
}
