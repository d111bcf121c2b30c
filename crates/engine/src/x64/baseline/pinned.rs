//! Guest registers that stay in host registers from block to block.
//!
//! Wherever a block begins, the slots that the CPU names ([`Isa::PINNED`]) are in the host registers
//! [`PINS`](crate::x64::pins::PINS) and their memory is out of date; all other slots are in memory. The entry
//! to generated code loads them, the exit stores them, and each jump to another block first brings them home.
//! Inside a block they are values like others: they may be stored, moved, or give up their register.

use super::emit::Emit;
use super::regs::{Cached, NONE};
use crate::x64::asm::{Reg, Xmm, reg::*};
use crate::x64::pins::{pin_of, pin_registers, pinned};
use crate::x64::thunks::SCRATCH_FP;
use trine_ir::Isa;
use trine_ir::inst::{Class, Inst, Val};

/// A slot, and the register that holds it at a place where paths meet.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// The slot.
    pub slot: u16,
    /// Class of its register.
    pub class: Class,
    /// Its register.
    pub reg: Reg,
}

/// Adds the values of the pinned slots at a block's beginning, as reads after its end, for which no code is
/// emitted.
pub fn append_entry_values<I: Isa>(insts: &mut Vec<Inst>) {
    insts.extend(I::PINNED.iter().map(|&slot| Inst::Get(slot)));
}

impl<I: Isa> Emit<'_, I> {
    /// Index of the first entry value: the end of the block's own instructions.
    pub fn end(&self) -> u32 {
        (self.insts.len() - I::PINNED.len()) as u32
    }

    /// Sets the register state at the beginning of a block.
    pub fn begin_pinned(&mut self) {
        for (v, (slot, reg)) in (self.end()..).zip(pinned::<I>()) {
            let value = &mut self.alloc.state.values[v as usize];
            (value.reg, value.cached) = (reg as u32, 1);
            self.alloc.state.gpr[reg as usize] = v;
            self.alloc.state.cache.push(Cached { slot, val: v, dirty: true });
        }
    }

    /// Updates the memory of the slots that are not pinned.
    pub fn store_unpinned(&mut self) {
        self.write_back_but(|_, slot| pin_of::<I>(slot).is_some());
    }

    /// Brings the pinned slots into their registers; uses `rcx`.
    pub fn bring_home(&mut self) {
        if self.away(self.home()) != 0 {
            self.settle(&self.pinned_held());
        }
    }

    /// The pinned slots, in their registers.
    pub fn pinned_held(&self) -> Vec<Held> {
        pinned::<I>().map(|(slot, reg)| Held { slot, class: Class::Int, reg }).collect()
    }

    /// The current value of a slot.
    fn current(&self, slot: u16) -> Option<u32> {
        self.alloc.state.cache.iter().find(|c| c.slot == slot).map(|c| c.val)
    }

    /// The register that holds a slot's current value, if it is of this class.
    pub fn register_of(&self, slot: u16, class: Class) -> Option<Reg> {
        let v = self.current(slot)? as usize;
        let reg = self.alloc.state.values[v].reg;
        (reg != NONE && self.insts[v].result() == Some(class)).then_some(reg as Reg)
    }

    /// Brings slots into registers. A slot is in memory unless its value is in a register of the right class,
    /// or is an integer that can be rebuilt. Uses `rcx` and the vector scratch register.
    pub fn settle(&mut self, held: &[Held]) {
        self.settle_moves(held, true);
        for h in held.iter().filter(|h| h.class == Class::Int) {
            match self.current(h.slot) {
                Some(_) if self.register_of(h.slot, Class::Int).is_some() => {}
                Some(v) => self.fetch(h.reg, v),
                None => self.a.load(8, h.reg, self.l.slot(h.slot)),
            }
        }
        self.settle_moves(held, false);
        for h in held {
            match h.class {
                _ if self.register_of(h.slot, h.class).is_some() => {}
                // Done above.
                Class::Int => {}
                Class::Float => self.a.movq_load(h.reg, self.l.slot(h.slot)),
                Class::Vec => self.a.movups_load(h.reg, self.l.slot(h.slot)),
            }
        }
    }

    /// Moves between general registers, or between vector registers, as if all at once: a register is written
    /// when nothing reads it any more, and of registers that wait for each other in a circle, one waits in
    /// the scratch register.
    fn settle_moves(&mut self, held: &[Held], general: bool) {
        let scratch = if general { RCX } else { SCRATCH_FP };
        let held = held.iter().filter(|h| (h.class == Class::Int) == general);
        let from = |h: &Held| Some((h.reg, self.register_of(h.slot, h.class)?));
        let mut moves: Vec<(Reg, Reg)> = held.filter_map(from).filter(|(to, from)| to != from).collect();
        while let Some(&(first, _)) = moves.first() {
            let ready = moves.iter().position(|&(to, _)| moves.iter().all(|&(_, from)| from != to));
            match ready {
                Some(i) => {
                    let (to, from) = moves.swap_remove(i);
                    self.move_register(general, to, from);
                }
                None => {
                    self.move_register(general, scratch, first);
                    moves.iter_mut().filter(|m| m.1 == first).for_each(|m| m.1 = scratch);
                }
            }
        }
    }

    fn move_register(&mut self, general: bool, to: Reg, from: Reg) {
        if general { self.a.mov(true, to, from) } else { self.a.movaps(to as Xmm, from as Xmm) }
    }

    /// The registers that hold their own pinned slots, a bit for each.
    pub fn home(&self) -> u16 {
        let holds = |c: &Cached| {
            let reg =
                pin_of::<I>(c.slot).filter(|&r| self.alloc.state.values[c.val as usize].reg == r as u32)?;
            (self.class(c.val) == Class::Int).then_some(1 << reg)
        };
        self.alloc.state.cache.iter().filter_map(holds).fold(0, |all, bit: u16| all | bit)
    }

    /// The registers of pinned slots, without those in `home`.
    pub fn away(&self, home: u16) -> u16 {
        pin_registers::<I>() & !home
    }

    /// The register for a slot at the end: of a round in a loop, else of the block.
    fn place_of(&self, slot: u16, class: Class) -> Option<Reg> {
        match self.is_round(self.alloc.start) {
            true => self.round_place(slot, class),
            false => pin_of::<I>(slot).filter(|_| class == Class::Int),
        }
    }

    /// Whether a slot must be in a register at the end.
    pub fn is_wanted_at_end(&self, slot: u16) -> bool {
        [Class::Int, Class::Float, Class::Vec].into_iter().any(|class| self.place_of(slot, class).is_some())
    }

    /// The slot that the current result is written to immediately, perhaps after sign-extension, if that slot
    /// has a register at the end. Nothing in between may fault.
    fn destination(&self, class: Class) -> Option<(u16, Reg)> {
        let after = |v: u32| self.insts.get(v as usize + 1);
        let mut v = self.at;
        if matches!(after(v), Some(&Inst::Sext(_, 64, Val(x))) if x == v) && self.facts.of(v).uses == 1 {
            v += 1;
        }
        match after(v) {
            Some(&(Inst::Set(slot, Val(set)) | Inst::SetF(slot, Val(set)) | Inst::SetV(slot, Val(set))))
                if set == v && !self.is_dead(v as usize + 1) =>
            {
                Some((slot, self.place_of(slot, class)?))
            }
            _ => None,
        }
    }

    /// Whether the current result is to be put into this register directly.
    pub fn goes_to(&self, reg: u32, class: Class) -> bool {
        self.destination(class).is_some_and(|(_, r)| r as u32 == reg)
    }

    /// The register to put the current result into directly, if the slot's old value ends here. `over`: it
    /// may be an operand's register. Until the result is there ([`Emit::own`]), the old value's place is
    /// still recorded.
    pub fn take_destination(&mut self, over: bool) -> Option<Reg> {
        let (slot, reg) = self.destination(Class::Int)?;
        if !self.gives_way(slot, self.alloc.state.gpr[reg as usize])
            || !over && self.alloc.in_use >> reg & 1 != 0
        {
            return None;
        }
        self.alloc.in_use |= 1 << reg;
        Some(reg)
    }

    /// Whether a value is needed neither after the current instruction nor by another slot than this one,
    /// which is written now.
    pub fn gives_way(&self, slot: u16, owner: u32) -> bool {
        if owner == NONE {
            return true;
        }
        let value = self.alloc.state.values[owner as usize];
        value.last <= self.at && value.cached == (self.current(slot) == Some(owner)) as u32
    }

    /// Whether the current result, which goes to a value's slot, takes over the value's vector register.
    pub fn passes_on(&self, v: u32) -> bool {
        let reg = self.alloc.state.values[v as usize].reg;
        self.destination(self.class(self.at))
            .is_some_and(|(slot, r)| r as u32 == reg && self.gives_way(slot, v))
    }

    /// The register for a value at the end, if that is free.
    pub fn take_place_of(&mut self, v: u32) -> Option<Reg> {
        if self.alloc.state.values[v as usize].cached == 0 {
            return None;
        }
        let slots = self.alloc.state.cache.iter().filter(|c| c.val == v);
        let mut regs = slots.filter_map(|c| self.place_of(c.slot, Class::Int));
        let free = |r: &Reg| {
            let owner = self.alloc.state.gpr[*r as usize];
            self.alloc.in_use >> *r & 1 == 0 && (owner == NONE || self.dead(owner))
        };
        let reg = regs.find(free)?;
        self.alloc.in_use |= 1 << reg;
        Some(reg)
    }
}
