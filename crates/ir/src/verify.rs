//! Checks the IR's rules.

use crate::inst::{Block, Class, Inst, Val};
use crate::op::{Bin, Extra, Fmt, Fp, IntTy, Un};

/// An arm that has not ended.
struct Arm {
    label: u32,
    /// Its `IfNot`.
    start: usize,
    exits: bool,
}

/// Checks a block: operands are defined before use, of the right class and not wider than the operation;
/// widths exist; arms nest, end once and exit if and only if they are marked so; nothing follows an exit; no
/// value made in an arm is used after it; further results follow their operation directly; slots of vectors
/// are used for nothing else; guest instructions begin outside of arms and are as many as the block says; the
/// block ends in an exit. The error names the instruction and the rule.
pub fn verify(block: &Block) -> Result<(), String> {
    let mut arms: Vec<Arm> = Vec::new();
    let mut hidden = vec![false; block.insts.len()];
    let mut ended = vec![false; block.labels as usize];
    let mut guest = 0;
    let vectors: Vec<u16> = block.insts.iter().filter_map(vector_slot).collect();
    for (i, inst) in block.insts.iter().enumerate() {
        let fault = |what: String| Err(format!("%{i} ({inst:?}): {what}"));
        let mut unknown = None;
        inst.operands(|Val(v)| {
            let v = v as usize;
            if v >= i {
                unknown = Some(format!("%{v} is used before it is made"));
            } else if hidden[v] {
                unknown = Some(format!("%{v} was made in an arm that has ended"));
            } else if block.insts[v].result().is_none() {
                unknown = Some(format!("%{v} has no value"));
            }
        });
        let unknown = unknown.or_else(|| stray_extra(block, i)).or_else(|| shared_slot(inst, &vectors));
        if let Some(what) = unknown.or_else(|| wrong_class(block, inst)).or_else(|| wrong_width(block, inst))
        {
            return fault(what);
        }
        let after_exit = i > 0 && is_exit(&block.insts[i - 1]);
        if after_exit && !matches!(inst, Inst::Label(_)) {
            return fault("it follows an exit".into());
        }
        match inst {
            Inst::IfNot { to, exits, .. } => match ended.get(to.0 as usize) {
                None => return fault(format!("the block has only {} labels", block.labels)),
                Some(_) if ended[to.0 as usize] || arms.iter().any(|a| a.label == to.0) => {
                    return fault(format!("label {} ends another arm, too", to.0));
                }
                Some(_) => arms.push(Arm { label: to.0, start: i, exits: *exits }),
            },
            Inst::Label(label) => match arms.pop() {
                Some(arm) if arm.label == label.0 => {
                    if arm.exits != after_exit {
                        let says = if arm.exits {
                            "is marked to exit and does not"
                        } else {
                            "exits and is not marked so"
                        };
                        return fault(format!("the arm {says}"));
                    }
                    hidden[arm.start..i].fill(true);
                    ended[label.0 as usize] = true;
                }
                _ => return fault(format!("label {} does not end the innermost arm", label.0)),
            },
            Inst::Begin(..) if !arms.is_empty() => {
                return fault("a guest instruction begins inside an arm".into());
            }
            Inst::Begin(..) => guest += 1,
            _ => {}
        }
    }
    if !arms.is_empty() {
        return Err("an arm does not end".into());
    }
    if guest != block.guest {
        return Err(format!("{guest} guest instructions begin, but the block counts {}", block.guest));
    }
    match block.insts.last() {
        Some(last) if is_exit(last) => Ok(()),
        _ => Err("the block does not end in an exit".into()),
    }
}

fn vector_slot(inst: &Inst) -> Option<u16> {
    match *inst {
        Inst::GetV(slot) | Inst::SetV(slot, _) => Some(slot),
        _ => None,
    }
}

/// Why the instruction uses a slot of a vector in another way, if it does.
fn shared_slot(inst: &Inst, vectors: &[u16]) -> Option<String> {
    let shared = match *inst {
        Inst::Get(slot) | Inst::GetF(slot) | Inst::Set(slot, _) | Inst::SetF(slot, _) => {
            vectors.contains(&slot) || slot > 0 && vectors.contains(&(slot - 1))
        }
        Inst::GetV(slot) | Inst::SetV(slot, _) => vectors.iter().any(|&other| other.abs_diff(slot) == 1),
        _ => false,
    };
    shared.then(|| "the slot is half of another vector".into())
}

/// Why a further result does not belong where it is, if so.
fn stray_extra(block: &Block, i: usize) -> Option<String> {
    let Inst::Extra(extra, Val(of)) = block.insts[i] else { return None };
    let fits = match block.insts[of as usize] {
        Inst::Carry(..) => matches!(extra, Extra::Carry | Extra::Overflow),
        Inst::DivWide(..) => extra == Extra::Remainder,
        _ => false,
    };
    if !fits {
        return Some(format!("%{of} has no {extra:?}"));
    }
    let follows = block.insts[of as usize + 1..i].iter().all(|inst| matches!(inst, Inst::Extra(..)));
    (!follows).then(|| format!("it does not follow %{of}"))
}

fn is_exit(inst: &Inst) -> bool {
    matches!(inst, Inst::Jump(..) | Inst::Raise(..))
}

/// The class of an instruction's operand `n`.
fn operand_class(inst: &Inst, n: usize) -> Class {
    match inst {
        Inst::SetF(..) => Class::Float,
        Inst::Fp(Fp::FromInt(..) | Fp::FromBits(_), ..) => Class::Int,
        Inst::Fp(..) => Class::Float,
        Inst::SelectF(..) if n > 0 => Class::Float,
        Inst::SetV(..) | Inst::Vec(..) | Inst::VFp(..) | Inst::VExtract(..) | Inst::VMask(..) => Class::Vec,
        Inst::VInsert(..) if n == 0 => Class::Vec,
        Inst::StoreV(..) if n == 1 => Class::Vec,
        _ => Class::Int,
    }
}

fn wrong_class(block: &Block, inst: &Inst) -> Option<String> {
    let (mut fault, mut n) = (None, 0);
    inst.operands(|v| {
        let want = operand_class(inst, n);
        n += 1;
        if block.insts[v.0 as usize].result() != Some(want) {
            fault = Some(format!("%{} is not {want:?}", v.0));
        }
    });
    fault
}

fn bits_of_fmt(fmt: Fmt) -> u32 {
    match fmt {
        Fmt::S => 32,
        Fmt::D => 64,
    }
}

fn bits_of_int(ty: IntTy) -> u32 {
    match ty {
        IntTy::I32 | IntTy::U32 => 32,
        IntTy::I64 | IntTy::U64 => 64,
    }
}

/// How many low bits of the integer that `inst` makes may be nonzero.
pub fn bits_of(inst: &Inst) -> u32 {
    match *inst {
        Inst::Const(k) => 64 - k.leading_zeros(),
        Inst::Bin(_, n, ..) | Inst::Un(_, n, _) | Inst::Select(n, ..) => n.into(),
        Inst::Zext(_, to, _) | Inst::Sext(_, to, _) => to.into(),
        Inst::Carry(_, n, _) => n.into(),
        Inst::VExtract(lane, ..) => lane.bits(),
        Inst::VMask(lane, _) => lane.count(),
        Inst::Cmp(..) | Inst::Extra(Extra::Carry | Extra::Overflow, _) => 1,
        Inst::Load(m, _) | Inst::Rmw(_, m, ..) | Inst::Exchange(m, ..) => m.width.bits(),
        Inst::Fp(op, ..) => match op {
            op if op.compares().is_some() => 1,
            Fp::ToInt(_, ty) => bits_of_int(ty),
            Fp::ToBits(fmt) => bits_of_fmt(fmt),
            _ => 64,
        },
        _ => 64,
    }
}

/// Whether an operation of 32 bits accepts values of 64 bits, of which it reads the low half.
pub fn reads_low_bits(op: Bin) -> bool {
    let high_product = matches!(op, Bin::MulhS | Bin::MulhU | Bin::MulhSU);
    !high_product && !matches!(op, Bin::DivS | Bin::DivU | Bin::RemS | Bin::RemU)
}

fn wrong_width(block: &Block, inst: &Inst) -> Option<String> {
    let exists = |n: u8| match n {
        1 | 8 | 16 | 32 | 64 => None,
        n => Some(format!("{n} bits is not a width")),
    };
    let at_most = |v: Val, bits: u32| {
        let n = bits_of(&block.insts[v.0 as usize]);
        (n > bits).then(|| format!("%{} has {n} bits, only {bits} are accepted", v.0))
    };
    match *inst {
        // Operations of 32 bits read the low bits of their operands, except those whose result depends on
        // more.
        Inst::Bin(op, 32, ..) if reads_low_bits(op) => None,
        Inst::Cmp(_, 32, ..) => None,
        Inst::Bin(_, n, a, b) | Inst::Cmp(_, n, a, b) => {
            exists(n).or_else(|| at_most(a, n.into())).or_else(|| at_most(b, n.into()))
        }
        Inst::Un(Un::Bswap, n @ (1 | 8), _) => Some(format!("{n} bits have no byte order")),
        Inst::Un(_, n, a) => exists(n).or_else(|| at_most(a, n.into())),
        Inst::Select(n, c, a, b) => exists(n)
            .or_else(|| at_most(c, 1))
            .or_else(|| at_most(a, n.into()))
            .or_else(|| at_most(b, n.into())),
        Inst::SelectF(c, ..) => at_most(c, 1),
        Inst::Carry(_, n, [a, b, c]) => exists(n)
            .or_else(|| (n == 1).then(|| "carries of one bit do not exist".into()))
            .or_else(|| at_most(a, n.into()))
            .or_else(|| at_most(b, n.into()))
            .or_else(|| at_most(c, 1)),
        Inst::Vec(op, _) => (!op.exists()).then(|| "this operation of vectors does not exist".into()),
        Inst::VFp(op, ..) => {
            (!op.exists()).then(|| "this operation of numbers in lanes does not exist".into())
        }
        Inst::VInsert(lane, n, ..) | Inst::VExtract(lane, n, _) => {
            (n as u32 >= lane.count()).then(|| format!("lane {n} does not exist"))
        }
        // The field takes the low bits.
        Inst::Insert(at, len, ..) => {
            let inside = len > 0 && at as u32 + len as u32 <= 64;
            (!inside).then(|| "the field exceeds 64 bits".into())
        }
        Inst::IfNot { c, .. } => at_most(c, 1),
        Inst::Zext(from, to, a) => exists(from).or_else(|| exists(to)).or_else(|| at_most(a, from.into())),
        // What lies above the bits that count is not looked at.
        Inst::Sext(from, to, _) => exists(from).or_else(|| exists(to)),
        // A store takes the low bytes.
        Inst::Store(..) => None,
        Inst::Rmw(_, m, _, v) => at_most(v, m.width.bits()),
        Inst::Exchange(m, _, expect, new) => {
            at_most(expect, m.width.bits()).or_else(|| at_most(new, m.width.bits()))
        }
        Inst::Fp(Fp::FromInt(ty, _), _, [a, ..]) => at_most(a, bits_of_int(ty)),
        Inst::Fp(Fp::FromBits(fmt), _, [a, ..]) => at_most(a, bits_of_fmt(fmt)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
