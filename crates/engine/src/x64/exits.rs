//! How a block is entered and left.

use super::asm::{Alu, Cc, Part, mem2, reg::*};
use super::emit::Emit;
use super::side::{Kind, Row, code};
use super::thunks::Thunk;
use crate::jumps;
use trine_ir::inst::{Inst, Val};
use trine_ir::{Helper, Isa, Touch};

impl<I: Isa> Emit<'_, I> {
    /// Counts the block's instructions and leaves where that goes past the limit.
    pub fn entry(&mut self) {
        let n = self.guest as i32;
        self.a.alu_imm(Alu::Add, true, R15, n);
        self.a.alu_mem(Alu::Cmp, true, R15, super::asm::mem(R14, 0));
        let over = self.a.jcc(Cc::Above);
        let part = self.a.switch(Part::Cold);
        self.a.fix_here(over);
        self.a.alu_imm(Alu::Sub, true, R15, n);
        self.set_pc(self.start);
        self.leave(code::GO);
        self.a.switch(part);
    }

    /// Instructions of the block not yet done; the current one counts as done where `this`.
    fn undone(&self, this: bool) -> u32 {
        self.guest - self.begun + !this as u32
    }

    fn uncount(&mut self, this: bool) {
        let undone = self.undone(this);
        if undone != 0 {
            self.a.alu_imm(Alu::Sub, true, R15, undone as i32);
        }
    }

    fn set_pc(&mut self, offset: i64) {
        self.page_plus(RAX, offset);
        self.a.store(8, self.l.pc(), RAX);
    }

    fn leave(&mut self, code: u64) {
        self.a.mov_imm(RAX, code);
        self.a.jmp_mem(self.l.thunk(Thunk::Exit));
    }

    /// Leaves for a virtual address.
    pub fn exit_jump(&mut self, target: Val) {
        self.write_back();
        let v = self.resolve(target);
        match self.insts[v as usize] {
            Inst::Pc(offset) if self.links(offset) => {
                self.uncount(true);
                self.direct(offset);
            }
            _ => {
                self.fetch(RAX, v);
                self.uncount(true);
                self.indirect();
            }
        }
    }

    /// Whether a jump to this offset may go straight to the block there: it lies in the same page,
    /// and its first instruction does, too.
    fn links(&self, offset: i64) -> bool {
        !self.called && (0..=0x1000 - I::MAX_BYTES as i64).contains(&offset)
    }

    /// A direct jump: leaves for the dispatcher the first time, which then links it.
    fn direct(&mut self, offset: i64) {
        let jump = self.a.jmp();
        let number = self.side.sites.len() as u64;
        self.side.sites.push(0);
        self.holes.push(jump);
        let part = self.a.switch(Part::Cold);
        self.a.fix_here(jump);
        self.set_pc(offset);
        self.leave(code::LINK | number << 8);
        self.a.switch(part);
    }

    /// A jump to the address in `rax` through the jump cache.
    fn indirect(&mut self) {
        let entry = |field: usize, l: i32| mem2(RBP, RCX, l + field as i32);
        let jumps = self.l.jumps;
        self.a.store(8, self.l.pc(), RAX);
        self.a.mov(true, RCX, RAX);
        self.a.shift_imm(super::asm::Shift::Shr, true, RCX, jumps::FOLD);
        self.a.alu(Alu::Xor, true, RCX, RAX);
        self.a.mov_imm(RDX, jumps::LOW | jumps::HIGH);
        self.a.pext(RCX, RCX, RDX);
        self.a.shift_imm(super::asm::Shift::Shl, false, RCX, jumps::ENTRY_BITS as u8);
        self.a.load(8, RDX, self.l.stamp());
        self.a.alu_mem(Alu::Cmp, true, RAX, entry(std::mem::offset_of!(jumps::Entry, pc), jumps));
        let other = self.a.jcc(Cc::NotEqual);
        self.a.alu_mem(Alu::Cmp, true, RDX, entry(std::mem::offset_of!(jumps::Entry, stamp), jumps));
        let stale = self.a.jcc(Cc::NotEqual);
        self.a.alu_imm(Alu::And, true, RAX, -0x1000);
        self.a.store(8, self.l.page(), RAX);
        self.a.jmp_mem(entry(std::mem::offset_of!(jumps::Entry, code), jumps));
        let part = self.a.switch(Part::Cold);
        self.a.fix_here(other);
        self.a.fix_here(stale);
        self.leave(code::GO);
        self.a.switch(part);
    }

    /// Leaves with an exception; the current instruction is not done.
    pub fn exit_raise(&mut self, cause: u64, value: Val) {
        self.write_back();
        let v = self.resolve(value);
        self.fetch(RAX, v);
        self.a.store(8, self.l.arg(1), RAX);
        self.a.mov_imm(RAX, cause);
        self.a.store(8, self.l.arg(0), RAX);
        self.uncount(false);
        self.set_pc(self.offset);
        self.leave(code::RAISE);
    }

    /// Calls a helper that may do anything to the state.
    pub fn call(&mut self, helper: &'static Helper, args: [Val; 3]) {
        for (n, v) in args.into_iter().enumerate() {
            let v = self.resolve(v);
            self.store_value(self.l.arg(n), v);
        }
        self.leave_registers();
        self.s.fp_ready = false;
        self.called |= helper.touch == Touch::All;
        self.set_pc(self.offset);
        self.a.lea(true, RAX, super::asm::mem(R15, -(self.undone(false) as i32)));
        self.a.store(8, self.l.retired(), RAX);
        let number = self.helper_number(helper);
        self.a.mov_imm(RSI, number as u64 | (self.bytes as u64) << 16);
        self.a.call_mem(self.l.thunk(Thunk::Helper));
        if self.s.values[self.at as usize].uses != 0 {
            let r = self.def();
            self.a.mov(true, r, RAX);
        }
    }

    fn helper_number(&mut self, helper: &'static Helper) -> usize {
        let found = self.side.helpers.iter().position(|h| std::ptr::eq(*h, helper));
        found.unwrap_or_else(|| {
            self.side.helpers.push(helper);
            self.side.helpers.len() - 1
        })
    }

    /// Calls the slow path of the current instruction, whose arguments are stored. The result is in
    /// `rax`.
    pub fn call_slow(&mut self, kind: Kind) {
        let (first, dirty) = self.dirty_locs();
        let row = Row { kind, offset: self.offset as u16, undone: self.undone(false) as u16, first, dirty };
        self.a.call_mem(self.l.thunk(Thunk::Slow));
        self.a.mark(self.side.rows.len() as u32);
        self.side.rows.push(row);
    }
}
