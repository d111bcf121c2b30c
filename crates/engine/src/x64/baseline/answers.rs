//! The baseline's implementation of [`Allocator`].

use super::emit::Emit;
use super::regs::NONE;
use crate::x64::asm::{Mem, Reg, Xmm};
use crate::x64::lower::allocator::{Allocator, Operand, RowSlots};
use crate::x64::thunks::{POOL, POOL_FP};
use trine_ir::Isa;
use trine_ir::inst::{Class, Val};

impl<I: Isa> Allocator for Emit<'_, I> {
    fn resolve(&self, v: Val) -> u32 {
        let mut v = v.0;
        while self.alloc.state.values[v as usize].alias != NONE {
            v = self.alloc.state.values[v as usize].alias;
        }
        v
    }

    fn gpr(&mut self, v: Val) -> Reg {
        let v = self.resolve(v);
        let have = self.alloc.state.values[v as usize].reg;
        if have != NONE && self.class(v) == Class::Int {
            self.alloc.in_use |= 1 << have;
            return have as Reg;
        }
        let r = self.take_place_of(v).unwrap_or_else(|| self.take_gpr());
        self.fetch(r, v);
        self.alloc.state.gpr[r as usize] = v;
        self.alloc.state.values[v as usize].reg = r as u32;
        r
    }

    fn xmm(&mut self, v: Val) -> Xmm {
        let v = self.resolve(v);
        let have = self.alloc.state.values[v as usize].reg;
        if have != NONE {
            self.alloc.in_use_fp |= 1 << have;
            return have as Xmm;
        }
        let x = self.take_xmm();
        self.fetch_fp(x, v);
        self.alloc.state.xmm[x as usize] = v;
        self.alloc.state.values[v as usize].reg = x as u32;
        x
    }

    fn gpr_or_mem(&mut self, v: Val) -> Operand {
        let value = self.alloc.state.values[self.resolve(v) as usize];
        if value.reg == NONE && value.home != NONE && value.last <= self.at {
            // Used once, and in memory: needs no register.
            return Operand::Mem(self.l.slot(value.home as u16));
        }
        Operand::Reg(self.gpr(v))
    }

    fn copy_to(&mut self, r: Reg, v: Val) {
        let v = self.resolve(v);
        self.fetch(r, v);
    }

    fn copy_low_to(&mut self, r: Reg, v: Val) {
        let v = self.resolve(v);
        match self.alloc.state.values[v as usize].reg {
            reg if reg != NONE && self.class(v) == Class::Float => self.a.movq_from(false, r, reg as Xmm),
            _ => {
                self.fetch(r, v);
                self.a.mov(false, r, r);
            }
        }
    }

    fn store_to(&mut self, m: Mem, v: Val) {
        let v = self.resolve(v);
        self.store_value(m, v);
    }

    fn take_gpr(&mut self) -> Reg {
        let r = self.victim(&self.alloc.state.gpr, POOL.into_iter(), self.alloc.in_use);
        let owner = self.alloc.state.gpr[r as usize];
        if owner != NONE {
            self.evict(owner);
        }
        self.alloc.state.gpr[r as usize] = NONE;
        self.alloc.in_use |= 1 << r;
        r
    }

    fn take_xmm(&mut self) -> Xmm {
        let r = self.victim(&self.alloc.state.xmm, 0..POOL_FP, self.alloc.in_use_fp);
        let owner = self.alloc.state.xmm[r as usize];
        if owner != NONE {
            self.evict(owner);
        }
        self.alloc.state.xmm[r as usize] = NONE;
        self.alloc.in_use_fp |= 1 << r;
        r
    }

    fn def_over(&mut self, operands: &[Val]) -> Reg {
        if let Some(r) = self.take_destination(!operands.is_empty()) {
            self.own(r);
            return r;
        }
        for &v in operands {
            let a = self.resolve(v);
            let value = self.alloc.state.values[a as usize];
            let ends = value.last <= self.at && value.cached == 0 && a != self.at;
            if ends && value.reg != NONE && self.class(a) == Class::Int {
                self.alloc.state.values[a as usize].reg = NONE;
                self.own(value.reg as Reg);
                return value.reg as Reg;
            }
        }
        let r = self.take_gpr();
        self.own(r);
        r
    }

    fn def_apart(&mut self) -> Reg {
        self.take_destination(true).unwrap_or_else(|| self.take_gpr())
    }

    fn def_from(&mut self, w: bool, v: Val) -> Reg {
        let a = self.resolve(v);
        let value = self.alloc.state.values[a as usize];
        if let Some(r) = self.take_destination(self.goes_to(value.reg, Class::Int)) {
            if value.reg == NONE {
                self.fetch(r, a);
            } else if value.reg != r as u32 {
                self.a.mov(w, r, value.reg as Reg);
            }
            self.own(r);
            return r;
        }
        let mine =
            value.reg != NONE && value.last <= self.at && value.cached == 0 && self.class(a) == Class::Int;
        if mine {
            self.alloc.state.values[a as usize].reg = NONE;
            self.alloc.in_use |= 1 << value.reg;
            self.own(value.reg as Reg);
            return value.reg as Reg;
        }
        if value.reg == NONE {
            let r = self.def();
            // The operand stays in its place: it is used here only once.
            self.fetch(r, a);
            return r;
        }
        let s = self.gpr(v);
        let r = self.def();
        self.a.mov(w, r, s);
        r
    }

    fn def_fp_over(&mut self, v: Val) -> (Xmm, Xmm) {
        let a = self.resolve(v);
        let s = self.xmm(v);
        let value = self.alloc.state.values[a as usize];
        if value.last <= self.at && value.cached == 0 || self.passes_on(a) {
            self.alloc.state.values[a as usize].reg = NONE;
            self.own_fp(s);
            return (s, s);
        }
        (self.def_fp(), s)
    }

    fn own_as(&mut self, at: u32, r: Reg) {
        self.alloc.state.gpr[r as usize] = at;
        self.alloc.state.values[at as usize].reg = r as u32;
    }

    fn own_fp(&mut self, x: Xmm) {
        self.alloc.state.xmm[x as usize] = self.at;
        self.alloc.state.values[self.at as usize].reg = x as u32;
    }

    fn alias(&mut self, v: Val) {
        let v = self.resolve(v);
        self.define_alias(v);
    }

    /// Values are never in `rcx` and `rdx`.
    fn clobber(&mut self, _: Reg) {}

    fn fp_ready(&mut self) -> bool {
        std::mem::replace(&mut self.alloc.state.fp_ready, true)
    }

    fn row_slots(&mut self) -> RowSlots {
        let home = self.home();
        let (first, dirty) = self.dirty_locs(home);
        RowSlots { displaced: self.away(home), first, dirty }
    }
}
