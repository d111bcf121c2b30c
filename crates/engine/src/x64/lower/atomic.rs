//! Atomic accesses: one locked instruction of the host if there is one, else compare-and-exchange until no
//! other write came between.

use super::Lower;
use super::allocator::Allocator;
use super::memory::Address;
use crate::x64::asm::{Alu, Cc, Hole, Reg, Shift, mem, reg::*};
use crate::x64::side::Kind;
use trine_base::Width;
use trine_ir::inst::Val;
use trine_ir::{Isa, MemOp, Rmw};

fn is_signed(op: Rmw) -> bool {
    matches!(op, Rmw::MinS | Rmw::MaxS)
}

impl<I: Isa, A> Lower<'_, I, A>
where
    Self: Allocator,
{
    /// Atomic read-modify-write.
    pub fn rmw(&mut self, op: Rmw, how: MemOp, a: Val, v: Val) {
        let bytes = how.width.bytes();
        let at = self.address(a);
        let s = self.gpr(v);
        let d = self.def_apart();
        let operand = if bytes < 4 && is_signed(op) { self.take_gpr() } else { s };
        let miss = self.probe_atomic(at, how);
        let m = mem(RCX, 0);
        match op {
            Rmw::Swap => {
                self.a.mov(true, RAX, s);
                self.swap_bytes(how, RAX);
                self.atomic();
                self.a.xchg(bytes, m, RAX);
            }
            Rmw::Add if !how.swaps() => {
                self.a.mov(true, RAX, s);
                self.atomic();
                self.a.lock_xadd(bytes, m, RAX);
            }
            _ => {
                if operand != s {
                    self.a.movsx(bytes, true, operand, s);
                }
                self.rmw_loop(op, how, operand);
            }
        }
        self.old_value(how, d);
        self.out_of_line(miss, at, &[s], Kind::Rmw(op, how), d);
        self.own(d);
    }

    /// Compare-and-exchange until no other write came between; the old bytes are left in `rax`.
    fn rmw_loop(&mut self, op: Rmw, how: MemOp, s: Reg) {
        let (w, bytes) = (how.width == Width::B8, how.width.bytes());
        self.clobber(RDX);
        self.atomic();
        self.a.load(bytes, RAX, mem(RCX, 0));
        let again = self.a.here();
        self.a.mov(w, RDX, RAX);
        self.swap_bytes(how, RDX);
        if bytes < 4 && is_signed(op) {
            self.a.movsx(bytes, true, RDX, RDX);
        }
        match op {
            Rmw::Add => self.a.alu(Alu::Add, w, RDX, s),
            Rmw::And => self.a.alu(Alu::And, w, RDX, s),
            Rmw::Or => self.a.alu(Alu::Or, w, RDX, s),
            Rmw::Xor => self.a.alu(Alu::Xor, w, RDX, s),
            Rmw::Swap => self.a.mov(w, RDX, s),
            Rmw::MinS | Rmw::MaxS | Rmw::MinU | Rmw::MaxU => {
                let replace = match op {
                    Rmw::MinS => Cc::Greater,
                    Rmw::MaxS => Cc::Less,
                    Rmw::MinU => Cc::Above,
                    _ => Cc::Below,
                };
                self.a.alu(Alu::Cmp, w, RDX, s);
                self.a.cmov(replace, w, RDX, s);
            }
        }
        self.swap_bytes(how, RDX);
        self.atomic();
        self.a.lock_cmpxchg(bytes, mem(RCX, 0), RDX);
        let retry = self.a.jcc(Cc::NotEqual);
        self.a.fix(retry, again);
    }

    /// Atomic compare-and-exchange.
    pub fn exchange(&mut self, how: MemOp, a: Val, old: Val, new: Val) {
        let at = self.address(a);
        let (expect, new) = (self.gpr(old), self.gpr(new));
        let d = self.def_apart();
        let miss = self.probe_atomic(at, how);
        self.a.mov(true, RAX, expect);
        let store = if how.swaps() {
            self.clobber(RDX);
            self.swap_bytes(how, RAX);
            self.a.mov(true, RDX, new);
            self.swap_bytes(how, RDX);
            RDX
        } else {
            new
        };
        self.atomic();
        self.a.lock_cmpxchg(how.width.bytes(), mem(RCX, 0), store);
        self.old_value(how, d);
        self.out_of_line(miss, at, &[expect, new], Kind::Exchange(how), d);
        self.own(d);
    }

    /// The slow path of an atomic access, whose result goes to `d`.
    fn out_of_line(&mut self, miss: Option<Hole>, at: Address, args: &[Reg], kind: Kind, d: Reg) {
        if let Some(miss) = miss {
            self.aside(&[miss], |e| {
                e.call_access(at, args, kind);
                e.a.mov(true, d, RAX);
            });
        }
    }

    /// The value of the bytes in `rax`, into `d`.
    fn old_value(&mut self, how: MemOp, d: Reg) {
        match how.width {
            Width::B1 | Width::B2 => self.a.movzx(how.width.bytes(), d, RAX),
            width => self.a.mov(width == Width::B8, d, RAX),
        }
        self.swap_bytes(how, d);
    }

    /// Converts between the value in a register and its bytes as in memory; bits above become zero.
    fn swap_bytes(&mut self, how: MemOp, r: Reg) {
        if !how.swaps() {
            return;
        }
        self.a.bswap(how.width == Width::B8, r);
        if how.width == Width::B2 {
            self.a.shift_imm(Shift::Shr, false, r, 16);
        }
    }
}
