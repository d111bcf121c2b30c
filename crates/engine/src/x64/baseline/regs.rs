//! The register allocator of one block.

use super::emit::Emit;
use crate::x64::asm::{Alu, Mem, Reg, Xmm, mem, reg::*};
use crate::x64::lower::allocator::Allocator;
use crate::x64::lower::facts::{Fact, number_constant};
use crate::x64::pins::pin_of;
use crate::x64::side::Loc;
use crate::x64::thunks::SCRATCH_FP;
use trine_ir::Isa;
use trine_ir::inst::{Class, Inst, Val};

/// None, for a register, slot, spill word or value.
pub const NONE: u32 = u32::MAX;

/// What is known about a value while code is emitted.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    /// The value that this one is an alias of.
    pub alias: u32,
    /// Index of the last instruction that uses it, or an alias of it.
    pub last: u32,
    /// Its register.
    pub reg: u32,
    /// Its spill word.
    pub spill: u32,
    /// The slot whose memory holds it.
    pub home: u32,
    /// Number of slots of which it is the current value.
    pub cached: u32,
}

impl Value {
    /// An unused value.
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

/// The places of all values; copied where paths fork ([`State::copy`]).
#[derive(Default)]
pub struct State {
    /// By value.
    pub values: Vec<Value>,
    /// Owner of each general register.
    pub gpr: [u32; 16],
    /// Owner of each vector register.
    pub xmm: [u32; 16],
    /// The accessed slots.
    pub cache: Vec<Cached>,
    /// Owner of each spill word.
    pub spills: Vec<u32>,
    /// Owner of each spill word of 128 bits.
    pub vector_spills: Vec<u32>,
    /// The host's MXCSR is the guest's.
    pub fp_ready: bool,
}

impl State {
    /// Becomes equal to another one, in the memory that it has.
    pub fn copy(&mut self, from: &State) {
        self.values.clone_from(&from.values);
        (self.gpr, self.xmm) = (from.gpr, from.xmm);
        self.cache.clone_from(&from.cache);
        self.spills.clone_from(&from.spills);
        self.vector_spills.clone_from(&from.vector_spills);
        self.fp_ready = from.fp_ready;
    }

    /// Resets for a block with these facts about its values.
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
    /// Whether the value can be rebuilt at no cost.
    pub fn rebuilds(&self, v: u32) -> bool {
        let integer = matches!(self.insts[v as usize], Inst::Const(_) | Inst::Pc(_));
        integer || number_constant(self.insts, v).is_some()
    }

    pub fn class(&self, v: u32) -> Class {
        self.insts[v as usize].result().unwrap_or(Class::Int)
    }

    /// Whether the value is no longer needed.
    pub fn dead(&self, v: u32) -> bool {
        let value = &self.alloc.state.values[v as usize];
        value.cached == 0 && value.last < self.at
    }

    pub fn spill(&mut self, v: u32) {
        if self.class(v) == Class::Vec {
            return self.spill_vector(v);
        }
        let free = self.alloc.state.spills.iter().position(|&o| o == NONE || self.dead(o));
        let n = free.unwrap_or_else(|| {
            self.alloc.state.spills.push(NONE);
            self.alloc.state.spills.len() - 1
        });
        if n >= SPILLS {
            self.alloc.too_complex = true;
            return;
        }
        self.alloc.state.spills[n] = v;
        self.store_value(self.l.spill(n), v);
        self.alloc.state.values[v as usize].spill = n as u32;
    }

    fn spill_vector(&mut self, v: u32) {
        let free = self.alloc.state.vector_spills.iter().position(|&o| o == NONE || self.dead(o));
        let n = free.unwrap_or_else(|| {
            self.alloc.state.vector_spills.push(NONE);
            self.alloc.state.vector_spills.len() - 1
        });
        if n >= VECTOR_SPILLS {
            self.alloc.too_complex = true;
            return;
        }
        self.alloc.state.vector_spills[n] = v;
        self.store_value(self.l.spill_vector(n), v);
        self.alloc.state.values[v as usize].spill = n as u32;
    }

    /// The place of a vector that has no register.
    fn vector_place(&self, v: u32) -> Mem {
        let value = self.alloc.state.values[v as usize];
        match value.home {
            NONE => self.l.spill_vector(value.spill as usize & (VECTOR_SPILLS - 1)),
            slot => self.l.slot(slot as u16),
        }
    }

    /// Stores a vector. Uses a scratch register if it has none.
    fn store_whole(&mut self, m: Mem, v: u32) {
        let reg = self.alloc.state.values[v as usize].reg;
        if reg != NONE {
            return self.a.movups_store(m, reg as Xmm);
        }
        self.a.movups_load(SCRATCH_FP, self.vector_place(v));
        self.a.movups_store(m, SCRATCH_FP);
    }

    /// Stores a value's 64 or 128 bits. Uses a scratch register if it has none.
    pub fn store_value(&mut self, m: Mem, v: u32) {
        let value = self.alloc.state.values[v as usize];
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
        let value = self.alloc.state.values[v as usize];
        match self.insts[v as usize] {
            _ if value.reg != NONE => match self.class(v) {
                Class::Int => self.a.mov(true, r, value.reg as u8),
                Class::Float | Class::Vec => self.a.movq_from(true, r, value.reg as u8),
            },
            Inst::Const(k) => self.a.mov_imm(r, k),
            Inst::Pc(offset) => self.page_plus(r, offset),
            _ if let Some(k) = number_constant(self.insts, v) => self.a.mov_imm(r, k),
            _ if value.home != NONE => self.a.load(8, r, self.l.slot(value.home as u16)),
            _ => self.a.load(8, r, self.l.spill(value.spill as usize & (SPILLS - 1))),
        }
    }

    /// Brings a floating-point number or a vector, which has no register, into a vector register.
    pub fn fetch_fp(&mut self, x: Xmm, v: u32) {
        let value = self.alloc.state.values[v as usize];
        if self.class(v) == Class::Vec {
            return self.a.movups_load(x, self.vector_place(v));
        }
        if let Some(k) = number_constant(self.insts, v) {
            return self.number_to(x, k);
        }
        let m = match value.home {
            NONE => self.l.spill(value.spill as usize & (SPILLS - 1)),
            slot => self.l.slot(slot as u16),
        };
        self.a.movq_load(x, m);
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

    /// Records that the current instruction's result is `v`.
    pub fn define_alias(&mut self, v: u32) {
        let last = self.alloc.state.values[self.at as usize].last;
        self.alloc.state.values[self.at as usize].alias = v;
        let value = &mut self.alloc.state.values[v as usize];
        value.last = value.last.max(last);
    }

    /// Reads a slot: its value in this block, or a new one that lives in its memory.
    pub fn read_slot(&mut self, slot: u16, class: Class) {
        if let Some(i) = self.alloc.state.cache.iter().position(|c| c.slot == slot) {
            let Cached { val, dirty, .. } = self.alloc.state.cache[i];
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
            self.alloc.state.values[val as usize].cached -= 1;
            self.alloc.state.cache.swap_remove(i);
        }
        self.alloc.state.values[self.at as usize].home = slot as u32;
        self.alloc.state.values[self.at as usize].cached = 1;
        self.alloc.state.cache.push(Cached { slot, val: self.at, dirty: false });
    }

    /// Called before the memory of `slot` stops holding `v`: if `v` is still needed and is nowhere else, it
    /// gets a register.
    fn keep(&mut self, v: u32, slot: u16) {
        if self.alloc.state.values[v as usize].home != slot as u32 {
            return;
        }
        let value = self.alloc.state.values[v as usize];
        let needed = value.last > self.at || value.cached > 1;
        if needed && value.reg == NONE && value.spill == NONE {
            match self.class(v) {
                Class::Int => drop(self.gpr(Val(v))),
                Class::Float | Class::Vec => drop(self.xmm(Val(v))),
            }
        }
        self.alloc.state.values[v as usize].home = NONE;
    }

    /// Writes a slot.
    pub fn write_slot(&mut self, slot: u16, v: Val) {
        let v = self.resolve(v);
        match self.alloc.state.cache.iter().position(|c| c.slot == slot) {
            Some(i) => {
                let old = self.alloc.state.cache[i].val;
                if old == v {
                    return;
                }
                self.keep(old, slot);
                self.alloc.state.values[old as usize].cached -= 1;
                self.alloc.state.cache[i] = Cached { slot, val: v, dirty: true };
            }
            None => self.alloc.state.cache.push(Cached { slot, val: v, dirty: true }),
        }
        self.alloc.state.values[v as usize].cached += 1;
    }

    /// Updates the memory of every slot.
    pub fn write_back(&mut self) {
        self.write_back_but(|_, _| false);
    }

    /// Updates the memory of the slots, except those in `left_out`.
    pub fn write_back_but(&mut self, left_out: impl Fn(&Self, u16) -> bool) {
        for i in 0..self.alloc.state.cache.len() {
            let Cached { slot, val, dirty } = self.alloc.state.cache[i];
            if dirty && !left_out(self, slot) {
                self.store_value(self.l.slot(slot), val);
                self.alloc.state.cache[i].dirty = false;
                if self.alloc.state.values[val as usize].home == NONE {
                    self.alloc.state.values[val as usize].home = slot as u32;
                }
            }
        }
    }

    /// Called before something that may change the memory of these slots, which is up to date.
    pub fn forget_slots(&mut self, changes: impl Fn(u16) -> bool) {
        let mut i = 0;
        while i < self.alloc.state.cache.len() {
            let Cached { slot, val, .. } = self.alloc.state.cache[i];
            if changes(slot) {
                self.keep(val, slot);
                self.alloc.state.values[val as usize].cached -= 1;
                self.alloc.state.cache.swap_remove(i);
            } else {
                i += 1;
            }
        }
    }

    /// Called before something that may change any slot and any register: slots go to memory, values that are
    /// still needed to spill words.
    pub fn leave_registers(&mut self) {
        self.write_back();
        for cached in std::mem::take(&mut self.alloc.state.cache) {
            let value = &mut self.alloc.state.values[cached.val as usize];
            value.cached -= 1;
        }
        for v in (0..self.at).chain(self.end()..self.insts.len() as u32) {
            let value = self.alloc.state.values[v as usize];
            let somewhere = value.reg != NONE || value.home != NONE;
            if somewhere && value.last > self.at && value.alias == NONE {
                if value.spill == NONE && !self.rebuilds(v) {
                    self.spill(v);
                }
                self.alloc.state.values[v as usize].home = NONE;
            }
            self.alloc.state.values[v as usize].reg = NONE;
        }
        self.alloc.state.gpr = [NONE; 16];
        self.alloc.state.xmm = [NONE; 16];
    }

    /// Lists the slots that are neither in memory nor, if pinned, in their register; `home` are the registers
    /// that hold their own slots.
    pub fn dirty_locs(&mut self, home: u16) -> (u32, u16) {
        let first = self.side.locs.len();
        for i in 0..self.alloc.state.cache.len() {
            let Cached { slot, val, dirty } = self.alloc.state.cache[i];
            if dirty && pin_of::<I>(slot).is_none_or(|r| home >> r & 1 == 0) {
                let loc = self.loc(val);
                self.side.locs.push((slot, loc));
            }
        }
        (first as u32, (self.side.locs.len() - first) as u16)
    }

    fn loc(&self, v: u32) -> Loc {
        let value = &self.alloc.state.values[v as usize];
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
            Inst::Const(k) => Loc::Const(k.into()),
            Inst::Pc(offset) => Loc::Pc((offset as u64).into()),
            _ if let Some(k) = number_constant(self.insts, v) => Loc::Const(k.into()),
            _ if value.home != NONE => Loc::Slot(value.home as u16),
            _ => Loc::Spill(value.spill as u8),
        }
    }
}
