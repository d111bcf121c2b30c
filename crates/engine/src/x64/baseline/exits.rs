//! Entry to and exits from a block.

use super::emit::Emit;
use crate::x64::asm::{Alu, Asm, Cc, Hole, Mem, mem, reg::*};
use crate::x64::lower::allocator::Allocator;
use crate::x64::side::{Kind, code};
use crate::x64::thunks::{self, Thunk};
use trine_ir::inst::{Inst, Val};
use trine_ir::{Flow, Helper, Isa};

impl<I: Isa> Emit<'_, I> {
    /// Counts the block's instructions and leaves if that exceeds the limit.
    pub fn entry(&mut self) {
        let n = self.guest as i32;
        self.a.alu_imm(Alu::Add, true, R15, n);
        self.mark_header();
        self.a.load(8, RAX, self.l.limit());
        self.a.alu_mem(Alu::Cmp, true, R15, mem(RAX, 0));
        let over = self.a.jcc(Cc::Above);
        self.cold(&[over], |e| {
            e.a.alu_imm(Alu::Sub, true, R15, n);
            e.leave_header();
            e.leave_to(e.alloc.start, code::GO);
        });
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

    /// Leaves to an offset in the page.
    fn leave_to(&mut self, offset: i64, code: u64) {
        self.a.mov_imm(RCX, offset as u64);
        self.a.mov_imm(RAX, code);
        self.a.jmp_mem(self.l.thunk(Thunk::ExitTo));
    }

    /// Leaves to a virtual address.
    pub fn exit_jump(&mut self, flow: Flow, target: Val) {
        // A call returns to the code after it, for which an arm has no room: `flow` is only a hint.
        let flow = if self.alloc.in_arm && flow == Flow::Call { Flow::Plain } else { flow };
        let v = self.resolve(target);
        let direct = match self.insts[v as usize] {
            Inst::Pc(offset) if self.links(offset) => Some(offset),
            _ => None,
        };
        if flow != Flow::Call && direct.is_some_and(|offset| self.is_round(offset)) {
            self.store_uncarried();
            // The completed part of this round, and the whole of the next one, less the whole of this one.
            self.a.alu_imm(Alu::Add, true, R15, self.begun as i32);
            return self.next_round();
        }
        self.store_unpinned();
        if direct.is_none() {
            // Now, as its register may be a pinned slot's.
            self.fetch(RAX, v);
        }
        self.bring_home();
        self.uncount(true);
        match (flow, direct) {
            (Flow::Call, _) => self.call_guest(direct),
            (_, Some(offset)) => self.direct(offset, Asm::jmp),
            (Flow::Return, None) => self.return_guest(),
            (Flow::Plain, None) => self.indirect(Asm::jmp_mem),
        }
    }

    /// A guest call is a call of the host, so that the host's return predictor knows where it returns to.
    /// Below the return address is the address that the guest must return to for it to be taken.
    fn call_guest(&mut self, direct: Option<i64>) {
        let back = self.offset + self.bytes as i64;
        self.a.alu_mem(Alu::Cmp, true, RSP, self.l.stack_end());
        let full = self.a.jcc(Cc::Below);
        self.aside(&[full], |e| e.a.load(8, RSP, e.l.stack()));
        self.page_plus(RDX, back);
        self.a.push(RDX);
        match direct {
            Some(offset) => self.direct(offset, Asm::call),
            None => self.indirect(Asm::call_mem),
        }
        // The host returns to here; the return address is off the stack.
        self.a.load(8, RAX, mem(RSP, thunks::OPEN_PC - 8));
        self.a.lea(true, RSP, mem(RSP, thunks::OPEN_CALL - 8));
        match self.links(back) {
            true => self.direct(back, Asm::jmp),
            false => self.a.jmp_mem(self.l.thunk(Thunk::Indirect)),
        }
    }

    /// A return to the address in `rax`: a return of the host, if the latest open call expects that address.
    fn return_guest(&mut self) {
        self.a.alu_mem(Alu::Cmp, true, RAX, mem(RSP, thunks::OPEN_PC));
        let other = self.a.jcc(Cc::NotEqual);
        self.a.alu_imm(Alu::And, true, RAX, -0x1000);
        self.a.store(8, self.l.page(), RAX);
        self.a.ret();
        self.cold(&[other], |e| {
            // The open calls no longer match the guest's: forget them.
            e.a.load(8, RSP, e.l.stack());
            e.a.jmp_mem(e.l.thunk(Thunk::Indirect));
        });
    }

    /// Whether a jump to this offset may go directly to the block there: it is in the same page, and so is
    /// its first instruction.
    fn links(&self, offset: i64) -> bool {
        !self.alloc.called && (0..=0x1000 - I::MAX_BYTES as i64).contains(&offset)
    }

    /// A direct jump or call: leaves to the dispatcher the first time, which then links it.
    fn direct(&mut self, offset: i64, go: fn(&mut Asm) -> Hole) {
        self.a.align_displacement();
        let jump = go(self.a);
        let number = self.alloc.first_site as u64 + self.alloc.holes.len() as u64;
        self.alloc.holes.push(jump);
        self.cold(&[jump], |e| {
            e.leave_to(offset, code::LINK | number << 8);
        });
    }

    /// A jump or call to the address in `rax` through the jump cache.
    fn indirect(&mut self, go: fn(&mut Asm, Mem)) {
        let missed = thunks::indirect(self.a, &self.l, go);
        self.cold(&missed, |e| e.leave(code::GO));
    }

    /// Leaves with an exception; the current instruction does not complete.
    pub fn exit_raise(&mut self, cause: u64, code: u32, value: Val) {
        self.store_unpinned();
        self.copy_to(RAX, value);
        self.a.store(8, self.l.arg(1), RAX);
        self.a.mov_imm(RAX, cause);
        self.a.store(8, self.l.arg(0), RAX);
        self.bring_home();
        self.uncount(false);
        self.leave_to(self.offset, code::RAISE | u64::from(code) << 8);
    }

    /// Calls a helper.
    pub fn call(&mut self, helper: &'static Helper, args: [Val; 3]) {
        for (n, v) in args.into_iter().enumerate() {
            self.store_to(self.l.arg(n), v);
        }
        if helper.flushes {
            self.call_flushing(helper)
        } else {
            self.call_keeping(helper)
        }
        if self.facts.of(self.at).uses != 0 {
            let r = self.def();
            self.a.mov(true, r, RAX);
        }
    }

    /// Calls a helper after which the block practically ends: everything goes to memory.
    fn call_flushing(&mut self, helper: &'static Helper) {
        self.leave_registers();
        self.alloc.state.fp_ready = false;
        self.alloc.called = true;
        self.set_pc(self.offset);
        self.a.lea(true, RAX, mem(R15, -(self.undone(false) as i32)));
        self.a.store(8, self.l.retired(), RAX);
        let number = self.helper_number(helper);
        self.a.mov_imm(RSI, number as u64 | (self.bytes as u64) << 16);
        self.a.call_mem(self.l.thunk(Thunk::Helper));
    }

    /// Calls a helper as a slow path: values stay in registers, and so do the slots that it does not use.
    fn call_keeping(&mut self, helper: &'static Helper) {
        self.write_back_but(|_, slot| !helper.reads.has(slot) && !helper.writes.has(slot));
        self.forget_slots(|slot| helper.writes.has(slot));
        let number = self.helper_number(helper) as u16;
        self.call_slow(Kind::Helper { number, bytes: self.bytes });
    }

    fn helper_number(&mut self, helper: &'static Helper) -> usize {
        let found = self.side.helpers.iter().position(|h| std::ptr::eq(*h, helper));
        found.unwrap_or_else(|| {
            self.side.helpers.push(helper);
            self.side.helpers.len() - 1
        })
    }
}
