//! The walk over a block without branches and calls, the same in both passes. All slots are in memory between two
//! instructions.

use crate::x64::asm::reg::*;
use crate::x64::lower::Lower;
use crate::x64::lower::allocator::Allocator;
use crate::x64::pins::pinned;
use crate::x64::side::code;
use crate::x64::thunks::Thunk;
use trine_ir::Isa;
use trine_ir::inst::{Block, Inst};

/// An allocator that is told where instructions end.
pub trait Pass: Allocator {
    /// The end of the current instruction.
    fn finish(&mut self);
}

/// Whether a block can be walked.
pub fn is_straight(block: &Block) -> bool {
    !block.insts.iter().any(|inst| matches!(inst, Inst::IfNot { .. } | Inst::Label(_) | Inst::Call(..)))
}

impl<I: Isa, A> Lower<'_, I, A>
where
    Self: Pass,
{
    /// Lowers the block.
    pub fn walk(&mut self) {
        pinned::<I>().for_each(|(slot, r)| self.a.store(8, self.l.slot(slot), r));
        while (self.at as usize) < self.insts.len() {
            if !self.facts.of(self.at).deferred && !self.is_dead(self.at as usize) {
                self.one();
                self.finish();
            }
            self.at += 1;
        }
    }

    fn one(&mut self) {
        match self.insts[self.at as usize] {
            Inst::Get(slot) => {
                let r = self.def();
                self.a.load(8, r, self.l.slot(slot));
            }
            Inst::GetF(slot) => {
                let x = self.def_fp();
                self.a.movq_load(x, self.l.slot(slot));
            }
            Inst::GetV(slot) => {
                let x = self.def_fp();
                self.a.movups_load(x, self.l.slot(slot));
            }
            Inst::Set(slot, v) | Inst::SetF(slot, v) | Inst::SetV(slot, v) => {
                self.store_to(self.l.slot(slot), v);
            }
            Inst::Jump(_, v) => {
                self.copy_to(RAX, v);
                self.a.store(8, self.l.pc(), RAX);
                self.leave(code::GO);
            }
            Inst::Raise(cause, code, v) => {
                self.store_to(self.l.arg(1), v);
                self.a.mov_imm(RAX, cause);
                self.a.store(8, self.l.arg(0), RAX);
                self.a.load(8, RAX, self.l.page());
                self.a.lea(true, RAX, crate::x64::asm::mem(RAX, self.offset as i32));
                self.a.store(8, self.l.pc(), RAX);
                self.leave(code::RAISE | u64::from(code) << 8);
            }
            inst => self.lower(inst),
        }
    }

    /// Leaves with the pinned slots in their registers.
    fn leave(&mut self, code: u64) {
        pinned::<I>().for_each(|(slot, r)| self.a.load(8, r, self.l.slot(slot)));
        self.a.mov_imm(RAX, code);
        self.a.jmp_mem(self.l.thunk(Thunk::Exit));
    }
}
