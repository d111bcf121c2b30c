//! Comparisons of floating-point numbers that leave the flags unchanged.

use trine_ir::inst::{Inst, Val};
use trine_ir::{Bin, Fp};

/// A slot holds the flags, but has not been read.
const UNREAD: Val = Val(u32::MAX);

/// Finds `frflags`, one signaling comparison, `fsflags` of the same value (C's `isless` and similar),
/// beginning at IR instruction `first`: the comparison may raise any flags, as nobody sees them. Returns the
/// indices of the comparison and of the write.
pub fn compare(insts: &[Inst], first: usize) -> Option<[usize; 2]> {
    let mut holders = Vec::new();
    let mut compare = None;
    for (i, inst) in insts.iter().enumerate().skip(first + 1) {
        let is_flags = |v: Val, holders: &[(u16, Val)]| {
            v.0 as usize == first
                || matches!(insts[v.0 as usize], Inst::Get(slot) if holders.contains(&(slot, v)))
        };
        match *inst {
            Inst::Set(slot, v) => {
                let holds = is_flags(v, &holders);
                holders.retain(|(s, _)| *s != slot);
                if holds {
                    holders.push((slot, UNREAD));
                }
            }
            // The values read from a slot that holds the flags.
            Inst::Get(slot) if holders.contains(&(slot, UNREAD)) => holders.push((slot, Val(i as u32))),
            Inst::Fp(Fp::Lt(_) | Fp::Le(_), ..) if compare.is_none() => compare = Some(i),
            Inst::SetFlags(v) => {
                let is_same = is_masked(insts, v, |v| is_flags(v, &holders));
                return compare.filter(|_| is_same).map(|compare| [compare, i]);
            }
            Inst::Begin(..) | Inst::SetF(..) => {}
            _ if inst.is_pure() => {}
            _ => return None,
        }
    }
    None
}

/// Whether `v` is the flags, perhaps masked to their five bits.
fn is_masked(insts: &[Inst], v: Val, is_flags: impl Fn(Val) -> bool) -> bool {
    let inner = match insts[v.0 as usize] {
        Inst::Bin(Bin::And, 64, x, k) if insts[k.0 as usize].constant() == Some(31) => x,
        _ => v,
    };
    is_flags(inner)
}
