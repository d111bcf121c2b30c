//! The IR's rules, checked.

use crate::inst::{Block, Class, Inst, Val};
use crate::op::Fp;

/// Checks a block: operands are defined before use and of the right class, arms nest and end, no
/// value made in an arm is used after it, the block ends in an exit. The error names the
/// instruction and the rule.
pub fn verify(block: &Block) -> Result<(), String> {
    let mut arms: Vec<(u32, usize)> = Vec::new();
    let mut hidden = vec![false; block.insts.len()];
    for (i, inst) in block.insts.iter().enumerate() {
        let mut fault = None;
        inst.operands(|Val(v)| {
            let v = v as usize;
            if v >= i {
                fault = Some(format!("%{v} is used before it is made"));
            } else if hidden[v] {
                fault = Some(format!("%{v} was made in an arm that has ended"));
            } else if block.insts[v].result().is_none() {
                fault = Some(format!("%{v} has no value"));
            }
        });
        if let Some(fault) = fault.or_else(|| wrong_class(block, inst)) {
            return Err(format!("%{i} ({inst:?}): {fault}"));
        }
        match inst {
            Inst::IfNot { to, .. } => arms.push((to.0, i)),
            Inst::Label(label) => match arms.pop() {
                Some((open, start)) if open == label.0 => hidden[start..i].fill(true),
                _ => return Err(format!("%{i}: label {} does not end the innermost arm", label.0)),
            },
            _ => {}
        }
    }
    if !arms.is_empty() {
        return Err("an arm does not end".into());
    }
    match block.insts.last() {
        Some(Inst::Jump(..) | Inst::Raise(..)) => Ok(()),
        _ => Err("the block does not end in an exit".into()),
    }
}

fn wrong_class(block: &Block, inst: &Inst) -> Option<String> {
    let float = match inst {
        Inst::SetF(..) => true,
        Inst::Fp(Fp::FromInt(..) | Fp::FromBits(_), ..) => false,
        Inst::Fp(..) => true,
        _ => false,
    };
    let want = if float { Class::Float } else { Class::Int };
    let mut fault = None;
    inst.operands(|v| {
        if block.insts[v.0 as usize].result() != Some(want) {
            fault = Some(format!("%{} is not {want:?}", v.0));
        }
    });
    fault
}
