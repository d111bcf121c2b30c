//! Which value lives where: the register allocator of one block.

use super::emit::Emit;
use crate::x64::asm::{Alu, Mem, Reg, Xmm, mem, reg::*};
use crate::x64::lower::facts::{Fact, number_constant};
use crate::x64::pins::pin_of;
use crate::x64::side::Loc;
use crate::x64::thunks::SCRATCH_FP;
use trine_ir::Isa;
use trine_ir::inst::{Class, Inst, Val};

/// No register, no slot, no spill word, no value.
pub const NONE: u32 = u32::MAX;

/// What is known of a value while code is emitted.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    /// The value that this one is another name of.
    pub alias: u32,
    /// Index of the last instruction that uses it, or an alias of it.
    pub last: u32,
    /// Its register.
    pub reg: u32,
    /// Its spill word.
    pub spill: u32,
    /// The slot whose memory holds it.
    pub home: u32,
    /// Number of slots whose current value it is.
    pub cached: u32,
}

impl Value {
    /// A value nobody uses.
    pub const NEW: Value = Value { alias: NONE, last: 0, reg: NONE, spill: NONE, home: NONE, cached: 0 };
}

/// The current value of a slot.
#[derive(Clone, Copy, Debug)]
pub struct Cached {
    /// The slot.
    pub slot: u16,
    /// Its value.
    pub val: u32,
    /// The slot's memory is out of date.
    pub dirty: bool,
}

/// Everything that says where values are; copied where code forks.
#[derive(Clone, Default)]
pub struct State {
    /// By value.
    pub values: Vec<Value>,
    /// Owner of each general register.
    pub gpr: [u32; 16],
    /// Owner of each vector register.
    pub xmm: [u32; 16],
    /// The slots touched.
    pub cache: Vec<Cached>,
    /// Owner of each spill word.
    pub spills: Vec<u32>,
    /// Owner of each spill word of 128 bits.
    pub vector_spills: Vec<u32>,
    /// The host's MXCSR is the guest's.
    pub fp_ready: bool,
}

impl State {
    /// For a block of whose values this is known.
    pub fn reset(&mut self, facts: &[Fact]) {
        self.values.clear();
        self.values.extend(facts.iter().map(|f| Value { last: f.last, ..Value::NEW }));
        self.gpr = [NONE; 16];
        self.xmm = [NONE; 16];
        self.cache.clear();
        self.spills.clear();
        self.vector_spills.clear();
        self.fp_ready = false;
    }
}

/// Spill words in the frame.
const SPILLS: usize = 64;
/// Spill words of 128 bits in the frame.
const VECTOR_SPILLS: usize = 16;

impl<I: Isa> Emit<'_, I> {
    /// The value that `v` stands for.
    pub fn resolve(&self, v: Val) -> u32 {
        let mut v = v.0;
        while self.s.values[v as usize].alias != NONE {
            v = self.s.values[v as usize].alias;
        }
        v
    }

    /// The constant behind a value.
    pub fn constant(&self, v: Val) -> Option<u64> {
        match self.insts[self.resolve(v) as usize] {
            Inst::Const(k) => Some(k),
            _ => None,
        }
    }

    /// The constant, where it fits a sign-extended immediate of 32 bits.
    pub fn imm32(&self, v: Val, bits: u8) -> Option<i32> {
        let k = self.constant(v)?;
        if bits <= 32 {
            return Some(k as u32 as i32);
        }
        i32::try_from(k as i64).ok()
    }

    /// The bits of a number that is a constant.
    pub fn number_constant(&self, v: u32) -> Option<u64> {
        number_constant(self.insts, v)
    }

    /// The register that holds a value now.
    pub fn register(&self, v: u32) -> Option<Reg> {
        let reg = self.s.values[v as usize].reg;
        (reg != NONE).then_some(reg as Reg)
    }

    /// Whether the value can be made again at no cost.
    pub fn rebuilds(&self, v: u32) -> bool {
        matches!(self.insts[v as usize], Inst::Const(_) | Inst::Pc(_)) || self.number_constant(v).is_some()
    }

    pub fn class(&self, v: u32) -> Class {
        self.insts[v as usize].result().unwrap_or(Class::Int)
    }

    /// Nobody needs the value any more.
    pub fn dead(&self, v: u32) -> bool {
        let value = &self.s.values[v as usize];
        value.cached == 0 && value.last < self.at
    }

    pub fn spill(&mut self, v: u32) {
        if self.class(v) == Class::Vec {
            return self.spill_vector(v);
        }
        let free = self.s.spills.iter().position(|&o| o == NONE || self.dead(o));
        let n = free.unwrap_or_else(|| {
            self.s.spills.push(NONE);
            self.s.spills.len() - 1
        });
        if n >= SPILLS {
            self.too_complex = true;
            return;
        }
        self.s.spills[n] = v;
        self.store_value(self.l.spill(n), v);
        self.s.values[v as usize].spill = n as u32;
    }

    fn spill_vector(&mut self, v: u32) {
        let free = self.s.vector_spills.iter().position(|&o| o == NONE || self.dead(o));
        let n = free.unwrap_or_else(|| {
            self.s.vector_spills.push(NONE);
            self.s.vector_spills.len() - 1
        });
        if n >= VECTOR_SPILLS {
            self.too_complex = true;
            return;
        }
        self.s.vector_spills[n] = v;
        self.store_value(self.l.spill_vector(n), v);
        self.s.values[v as usize].spill = n as u32;
    }

    /// Where a vector lies that has no register.
    fn vector_place(&self, v: u32) -> Mem {
        let value = self.s.values[v as usize];
        match value.home {
            NONE => self.l.spill_vector(value.spill as usize & (VECTOR_SPILLS - 1)),
            slot => self.l.slot(slot as u16),
        }
    }

    /// Stores a vector. Uses a scratch register where it has none.
    fn store_whole(&mut self, m: Mem, v: u32) {
        let reg = self.s.values[v as usize].reg;
        if reg != NONE {
            return self.a.movups_store(m, reg as Xmm);
        }
        self.a.movups_load(SCRATCH_FP, self.vector_place(v));
        self.a.movups_store(m, SCRATCH_FP);
    }

    /// Stores a value's 64 or 128 bits. Uses a scratch register where it has none.
    pub fn store_value(&mut self, m: Mem, v: u32) {
        let value = self.s.values[v as usize];
        if self.class(v) == Class::Vec {
            return self.store_whole(m, v);
        }
        if value.reg != NONE {
            match self.class(v) {
                Class::Int => self.a.store(8, m, value.reg as u8),
                Class::Float | Class::Vec => self.a.movq_store(m, value.reg as u8),
            }
            return;
        }
        if let Inst::Const(k) = self.insts[v as usize]
            && let Ok(k) = i32::try_from(k as i64)
        {
            self.a.store_imm(true, m, k);
            return;
        }
        self.fetch(RAX, v);
        self.a.store(8, m, RAX);
    }

    /// Brings a value's 64 bits into a general register, whatever its class.
    pub fn fetch(&mut self, r: Reg, v: u32) {
        let value = self.s.values[v as usize];
        match self.insts[v as usize] {
            _ if value.reg != NONE => match self.class(v) {
                Class::Int => self.a.mov(true, r, value.reg as u8),
                Class::Float | Class::Vec => self.a.movq_from(true, r, value.reg as u8),
            },
            Inst::Const(k) => self.a.mov_imm(r, k),
            Inst::Pc(offset) => self.page_plus(r, offset),
            _ if let Some(k) = self.number_constant(v) => self.a.mov_imm(r, k),
            _ if value.home != NONE => self.a.load(8, r, self.l.slot(value.home as u16)),
            _ => self.a.load(8, r, self.l.spill(value.spill as usize & (SPILLS - 1))),
        }
    }

    /// The page's address plus an offset.
    pub fn page_plus(&mut self, r: Reg, offset: i64) {
        self.a.load(8, r, self.l.page());
        match i32::try_from(offset) {
            Ok(0) => {}
            Ok(offset) => self.a.lea(true, r, mem(r, offset)),
            Err(_) => {
                let other = if r == RCX { RDX } else { RCX };
                self.a.mov_imm(other, offset as u64);
                self.a.alu(Alu::Add, true, r, other);
            }
        }
    }

    /// The general register that holds a value, pinned.
    pub fn gpr(&mut self, v: Val) -> Reg {
        let v = self.resolve(v);
        let have = self.s.values[v as usize].reg;
        if have != NONE && self.class(v) == Class::Int {
            self.in_use |= 1 << have;
            return have as Reg;
        }
        let r = self.take_place_of(v).unwrap_or_else(|| self.take_gpr());
        self.fetch(r, v);
        self.s.gpr[r as usize] = v;
        self.s.values[v as usize].reg = r as u32;
        r
    }

    /// The vector register that holds a value, pinned. Uses `rax` for a number that is a constant.
    pub fn xmm(&mut self, v: Val) -> Xmm {
        let v = self.resolve(v);
        let have = self.s.values[v as usize].reg;
        if have != NONE {
            self.in_use_fp |= 1 << have;
            return have as Xmm;
        }
        let x = self.take_xmm();
        if self.class(v) == Class::Vec {
            self.a.movups_load(x, self.vector_place(v));
            self.s.xmm[x as usize] = v;
            self.s.values[v as usize].reg = x as u32;
            return x;
        }
        let value = self.s.values[v as usize];
        if let Some(k) = self.number_constant(v) {
            self.number_to(x, k);
        } else if value.home != NONE {
            self.a.movq_load(x, self.l.slot(value.home as u16));
        } else {
            self.a.movq_load(x, self.l.spill(value.spill as usize & (SPILLS - 1)));
        }
        self.s.xmm[x as usize] = v;
        self.s.values[v as usize].reg = x as u32;
        x
    }

    /// A number with these bits into a vector register. Leaves the flags alone, and uses `rax`.
    pub fn number_to(&mut self, x: Xmm, bits: u64) {
        self.a.mov_imm(RAX, bits);
        self.a.movq_to(true, x, RAX);
    }

    /// A register for the result of the current instruction.
    pub fn def(&mut self) -> Reg {
        let r = self.take_destination(false).unwrap_or_else(|| self.take_gpr());
        self.own(r);
        r
    }

    /// A vector register for the result of the current instruction.
    pub fn def_fp(&mut self) -> Xmm {
        let x = self.take_xmm();
        self.own_fp(x);
        x
    }

    /// The current instruction's result is in this vector register, which was taken before.
    pub fn own_fp(&mut self, x: Xmm) {
        self.s.xmm[x as usize] = self.at;
        self.s.values[self.at as usize].reg = x as u32;
    }

    /// A register for the result, which is written by one host instruction that reads all operands at once, or after all were
    /// read: that of an operand that ends here, where there is one.
    pub fn def_over(&mut self, operands: &[Val]) -> Reg {
        if let Some(r) = self.take_destination(true) {
            self.own(r);
            return r;
        }
        for &v in operands {
            let a = self.resolve(v);
            let value = self.s.values[a as usize];
            let ends = value.last <= self.at && value.cached == 0 && a != self.at;
            if ends && value.reg != NONE && self.class(a) == Class::Int {
                self.s.values[a as usize].reg = NONE;
                self.own(value.reg as Reg);
                return value.reg as Reg;
            }
        }
        self.def()
    }

    /// The current instruction's result is in this register, which was taken before.
    pub fn own(&mut self, r: Reg) {
        self.own_as(self.at, r);
    }

    /// The result of the instruction at `at`, this one or one that belongs to it, is in this register, which was taken
    /// before.
    pub fn own_as(&mut self, at: u32, r: Reg) {
        self.s.gpr[r as usize] = at;
        self.s.values[at as usize].reg = r as u32;
    }

    /// A register for the result that holds `v` already: `v`'s own where it is not needed any more.
    pub fn def_from(&mut self, w: bool, v: Val) -> Reg {
        let a = self.resolve(v);
        let value = self.s.values[a as usize];
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
            self.s.values[a as usize].reg = NONE;
            self.in_use |= 1 << value.reg;
            self.own(value.reg as Reg);
            return value.reg as Reg;
        }
        if value.reg == NONE {
            let r = self.def();
            // The operand stays where it is: it is used here only once.
            self.fetch(r, a);
            return r;
        }
        let s = self.gpr(v);
        let r = self.def();
        self.a.mov(w, r, s);
        r
    }

    /// The same for vector registers.
    pub fn def_fp_from(&mut self, v: Val) -> Xmm {
        let (d, s) = self.def_fp_over(v);
        if d != s {
            self.a.movaps(d, s);
        }
        d
    }

    /// A vector register for the result, and that of `v`: the same where `v` ends here.
    pub fn def_fp_over(&mut self, v: Val) -> (Xmm, Xmm) {
        let a = self.resolve(v);
        let s = self.xmm(v);
        let value = self.s.values[a as usize];
        if value.last <= self.at && value.cached == 0 || self.passes_on(a) {
            self.s.values[a as usize].reg = NONE;
            self.own_fp(s);
            return (s, s);
        }
        (self.def_fp(), s)
    }

    /// The current instruction's result is `v`.
    pub fn define_alias(&mut self, v: u32) {
        let last = self.s.values[self.at as usize].last;
        self.s.values[self.at as usize].alias = v;
        let value = &mut self.s.values[v as usize];
        value.last = value.last.max(last);
    }

    /// Reads a slot: the value it has in this block, or a new one that lives in its memory.
    pub fn read_slot(&mut self, slot: u16, class: Class) {
        if let Some(i) = self.s.cache.iter().position(|c| c.slot == slot) {
            let Cached { val, dirty, .. } = self.s.cache[i];
            if val == self.at {
                return;
            }
            let integer = matches!(self.insts[val as usize], Inst::Const(_) | Inst::Pc(_));
            if self.class(val) == class || integer && class == Class::Int {
                self.define_alias(val);
                return;
            }
            if dirty {
                self.store_value(self.l.slot(slot), val);
            }
            self.keep(val, slot);
            self.s.values[val as usize].cached -= 1;
            self.s.cache.swap_remove(i);
        }
        self.s.values[self.at as usize].home = slot as u32;
        self.s.values[self.at as usize].cached = 1;
        self.s.cache.push(Cached { slot, val: self.at, dirty: false });
    }

    /// The memory of `slot` is about to stop holding `v`: where `v` is still needed and is nowhere
    /// else, it gets a register.
    fn keep(&mut self, v: u32, slot: u16) {
        if self.s.values[v as usize].home != slot as u32 {
            return;
        }
        let value = self.s.values[v as usize];
        let needed = value.last > self.at || value.cached > 1;
        if needed && value.reg == NONE && value.spill == NONE {
            match self.class(v) {
                Class::Int => drop(self.gpr(Val(v))),
                Class::Float | Class::Vec => drop(self.xmm(Val(v))),
            }
        }
        self.s.values[v as usize].home = NONE;
    }

    /// Writes a slot.
    pub fn write_slot(&mut self, slot: u16, v: Val) {
        let v = self.resolve(v);
        match self.s.cache.iter().position(|c| c.slot == slot) {
            Some(i) => {
                let old = self.s.cache[i].val;
                if old == v {
                    return;
                }
                self.keep(old, slot);
                self.s.values[old as usize].cached -= 1;
                self.s.cache[i] = Cached { slot, val: v, dirty: true };
            }
            None => self.s.cache.push(Cached { slot, val: v, dirty: true }),
        }
        self.s.values[v as usize].cached += 1;
    }

    /// Brings the memory of every slot up to date.
    pub fn write_back(&mut self) {
        self.write_back_but(|_, _| false);
    }

    /// Brings the memory of the slots up to date, but of those that are left out.
    pub fn write_back_but(&mut self, left_out: impl Fn(&Self, u16) -> bool) {
        for i in 0..self.s.cache.len() {
            let Cached { slot, val, dirty } = self.s.cache[i];
            if dirty && !left_out(self, slot) {
                self.store_value(self.l.slot(slot), val);
                self.s.cache[i].dirty = false;
                if self.s.values[val as usize].home == NONE {
                    self.s.values[val as usize].home = slot as u32;
                }
            }
        }
    }

    /// Before something that may change the memory of these slots, which is up to date.
    pub fn forget_slots(&mut self, changes: impl Fn(u16) -> bool) {
        let mut i = 0;
        while i < self.s.cache.len() {
            let Cached { slot, val, .. } = self.s.cache[i];
            if changes(slot) {
                self.keep(val, slot);
                self.s.values[val as usize].cached -= 1;
                self.s.cache.swap_remove(i);
            } else {
                i += 1;
            }
        }
    }

    /// Before something that may change any slot and any register: slots go to memory, values that
    /// are still needed to spill words.
    pub fn leave_registers(&mut self) {
        self.write_back();
        for cached in std::mem::take(&mut self.s.cache) {
            let value = &mut self.s.values[cached.val as usize];
            value.cached -= 1;
        }
        for v in (0..self.at).chain(self.end()..self.insts.len() as u32) {
            let value = self.s.values[v as usize];
            let somewhere = value.reg != NONE || value.home != NONE;
            if somewhere && value.last > self.at && value.alias == NONE {
                if value.spill == NONE && !self.rebuilds(v) {
                    self.spill(v);
                }
                self.s.values[v as usize].home = NONE;
            }
            self.s.values[v as usize].reg = NONE;
        }
        self.s.gpr = [NONE; 16];
        self.s.xmm = [NONE; 16];
    }

    /// Where the slots are that are neither in memory nor, being pinned, in their register: `home` are those.
    pub fn dirty_locs(&mut self, home: u16) -> (u32, u16) {
        let first = self.side.locs.len();
        for i in 0..self.s.cache.len() {
            let Cached { slot, val, dirty } = self.s.cache[i];
            if dirty && pin_of::<I>(slot).is_none_or(|r| home >> r & 1 == 0) {
                let loc = self.loc(val);
                self.side.locs.push((slot, loc));
            }
        }
        (first as u32, (self.side.locs.len() - first) as u16)
    }

    fn loc(&self, v: u32) -> Loc {
        let value = &self.s.values[v as usize];
        match self.insts[v as usize] {
            _ if value.reg != NONE => match self.class(v) {
                Class::Int => Loc::Gpr(value.reg as u8),
                Class::Float => Loc::Xmm(value.reg as u8),
                Class::Vec => Loc::Vector(value.reg as u8),
            },
            _ if self.class(v) == Class::Vec => match value.home {
                NONE => Loc::VectorSpill(value.spill as u8),
                slot => Loc::VectorSlot(slot as u16),
            },
            Inst::Const(k) => Loc::Const(k),
            Inst::Pc(offset) => Loc::Pc(offset),
            _ if let Some(k) = self.number_constant(v) => Loc::Const(k),
            _ if value.home != NONE => Loc::Slot(value.home as u16),
            _ => Loc::Spill(value.spill as u8),
        }
    }
}
