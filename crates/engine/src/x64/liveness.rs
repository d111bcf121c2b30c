//! What of a block nobody needs: values that are not used, and writes of slots that others overwrite before anybody looks.

use super::emit::Emit;
use trine_ir::Isa;
use trine_ir::inst::Inst;

impl<I: Isa> Emit<'_, I> {
    /// Counts each value's uses and finds its last one, in one walk from the end: what is dead uses nothing.
    pub(super) fn count_live_uses(&mut self) {
        let mut overwritten = Vec::new();
        for (i, inst) in self.insts.iter().enumerate().rev() {
            match *inst {
                Inst::Set(slot, _) | Inst::SetF(slot, _) if overwritten.contains(&slot) => {
                    self.s.values[i].overwritten = true;
                }
                Inst::Set(slot, _) | Inst::SetF(slot, _) => overwritten.push(slot),
                Inst::Get(slot) | Inst::GetF(slot) => overwritten.retain(|s| *s != slot),
                _ if sees_slots(inst) => overwritten.clear(),
                _ => {}
            }
            if self.is_dead(i) {
                continue;
            }
            inst.operands(|v| {
                let value = &mut self.s.values[v.0 as usize];
                value.uses += 1;
                value.last = value.last.max(i as u32);
            });
            if let Inst::Load(_, a)
            | Inst::Store(_, a, _)
            | Inst::Rmw(_, _, a, _)
            | Inst::Exchange(_, a, ..) = *inst
            {
                self.s.values[a.0 as usize].addresses += 1;
            }
        }
    }

    /// Whether the instruction at `i` needs no code, as far as the walk came.
    pub(super) fn is_dead(&self, i: usize) -> bool {
        let value = &self.s.values[i];
        value.overwritten || (value.uses == 0 && self.insts[i].is_pure())
    }
}

/// Whether slots must have their values at this instruction: it may leave the block, or control comes from elsewhere.
fn sees_slots(inst: &Inst) -> bool {
    inst.is_access()
        || matches!(
            inst,
            Inst::Call(..) | Inst::IfNot { .. } | Inst::Label(_) | Inst::Jump(..) | Inst::Raise(..)
        )
}
