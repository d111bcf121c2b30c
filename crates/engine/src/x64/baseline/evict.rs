//! Selects the register to take when none is free.

use super::emit::Emit;
use super::regs::{Cached, NONE};
use crate::x64::lower::allocator::Allocator;
use trine_ir::Isa;
use trine_ir::inst::Inst;

/// Number of IR instructions that are searched for the next use of a value when a register is needed: about
/// 15 of the guest's.
const WINDOW: u32 = 96;

impl<I: Isa> Emit<'_, I> {
    /// The cost of taking the register from this value, which is not dead and is used next after so many IR
    /// instructions: values not needed soon are cheapest, then the one needed last.
    fn cost(&self, v: u32, next: u32) -> u32 {
        let saved = self.is_saved(v);
        if next == WINDOW {
            return !saved as u32;
        }
        // One more store is worth it for a value that is needed some instructions later.
        2 + 2 * (WINDOW - next) + 8 * !saved as u32
    }

    /// For each register, after how many IR instructions its owner is used next: [`WINDOW`] if that is far or
    /// never.
    fn next_uses(&self, owners: &[u32; 16]) -> [u32; 16] {
        let register = |v: u32| {
            let reg = self.alloc.state.values[v as usize].reg as usize;
            owners.get(reg).is_some_and(|&owner| owner == v).then_some(reg)
        };
        // Slots that have the value of a register, until they are written.
        let held = |c: &Cached| Some((c.slot, register(c.val)?));
        let mut slots = self.alloc.slots.take();
        slots.clear();
        slots.extend(self.alloc.state.cache.iter().filter_map(held));
        let (mut next, mut arm) = ([WINDOW; 16], None);
        let mut missing = owners.iter().filter(|&&v| v != NONE).count();
        let rest = self.insts[self.at as usize + 1..].iter().take(WINDOW as usize - 1);
        for (inst, distance) in rest.zip(1..) {
            let mut found = |reg: usize| {
                missing -= (next[reg] == WINDOW) as usize;
                next[reg] = next[reg].min(distance);
            };
            match *inst {
                Inst::Get(slot) | Inst::GetF(slot) | Inst::GetV(slot) => {
                    slots.iter().filter(|s| s.0 == slot).for_each(|s| found(s.1));
                }
                Inst::IfNot { to, exits: true, .. } if arm.is_none() => arm = Some(to),
                Inst::Label(to) if arm == Some(to) => arm = None,
                Inst::Set(slot, _) | Inst::SetF(slot, _) | Inst::SetV(slot, _) if arm.is_none() => {
                    slots.retain(|s| s.0 != slot)
                }
                _ => {}
            }
            inst.operands(|v| {
                if v.0 <= self.at
                    && let Some(reg) = register(self.resolve(v))
                {
                    found(reg);
                }
            });
            let ends = arm.is_none() && matches!(inst, Inst::Jump(..) | Inst::Raise(..));
            if ends {
                slots.iter().filter(|s| self.is_wanted_at_end(s.0)).for_each(|s| found(s.1));
            }
            if ends || missing == 0 {
                break;
            }
        }
        self.alloc.slots.set(slots);
        next
    }

    /// Whether the value is in its slot's memory or a spill word, or can be rebuilt.
    fn is_saved(&self, v: u32) -> bool {
        let value = &self.alloc.state.values[v as usize];
        value.home != NONE || value.spill != NONE || self.rebuilds(v)
    }

    /// Whether the value is certainly not used from here to the end; cheaper than [`Emit::next_uses`].
    fn is_idle(&self, v: u32) -> bool {
        let read = |slot: u16| self.facts.may_be_read(slot, self.at);
        self.alloc.state.values[v as usize].last <= self.at
            && (self.alloc.state.cache.iter().filter(|c| c.val == v))
                .all(|c| !read(c.slot) && !self.is_wanted_at_end(c.slot))
    }

    /// The register that costs least: values not needed soon first, then the one needed last.
    pub fn victim(&self, owners: &[u32; 16], pool: impl Iterator<Item = u8> + Clone, in_use: u32) -> u8 {
        let usable = || pool.clone().filter(|r| in_use >> r & 1 == 0);
        let unowned = |r: &u8| owners[*r as usize] == NONE || self.dead(owners[*r as usize]);
        if let Some(r) = usable().find(unowned) {
            return r;
        }
        let idle = usable().filter(|&r| self.is_idle(owners[r as usize]));
        if let Some(r) = idle.min_by_key(|&r| !self.is_saved(owners[r as usize])) {
            return r;
        }
        let next = self.next_uses(owners);
        usable().min_by_key(|&r| self.cost(owners[r as usize], next[r as usize])).unwrap_or(0)
    }

    /// Takes the register from a value, saving the value if it is still needed.
    pub fn evict(&mut self, v: u32) {
        let value = self.alloc.state.values[v as usize];
        if !self.dead(v) && !self.rebuilds(v) && value.home == NONE && value.spill == NONE {
            match self.alloc.state.cache.iter().position(|c| c.val == v && c.dirty) {
                Some(i) => {
                    let slot = self.alloc.state.cache[i].slot;
                    self.store_value(self.l.slot(slot), v);
                    self.alloc.state.cache[i].dirty = false;
                    self.alloc.state.values[v as usize].home = slot as u32;
                }
                None => self.spill(v),
            }
        }
        self.alloc.state.values[v as usize].reg = NONE;
    }
}
