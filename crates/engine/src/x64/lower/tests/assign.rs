//! Between the passes: a linear scan over the record gives each value a register for all of its life, or a spill word.

use super::record::{Ask, Record};
use crate::x64::asm::{Reg, reg::*};
use crate::x64::lower::facts::number_constant;
use trine_ir::inst::{Class, Inst};

/// Where a value is from its definition to its last use.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Place {
    /// Nowhere: it is made again at each use, or has none.
    Nowhere,
    /// In a register of its class.
    Register(u8),
    /// In a spill word of its class.
    Spill(usize),
}

/// Registers that values live in. `rcx` and `rdx` are among them: rules say where they change these.
const GENERAL: [Reg; 6] = [RCX, RDX, RBX, 8, 9, 10];
/// Registers for temporaries, and for operands and results that live in spill words.
pub const TEMPORARY: [Reg; 6] = [RSI, R12, R13, RDI, R14, 11];
const VECTOR: [u8; 6] = [8, 9, 10, 11, 12, 13];
pub const TEMPORARY_FP: [u8; 5] = [0, 1, 2, 3, 4];
/// Spill words for general registers and binary64, and for vectors.
const WORDS: [usize; 2] = [64, 16];

/// From the instruction that makes a value to the last one that uses it.
#[derive(Clone, Copy, Debug)]
struct Life {
    from: usize,
    to: usize,
}

fn used(ask: &Ask) -> Vec<u32> {
    match ask {
        Ask::Gpr(v) | Ask::Xmm(v) | Ask::GprOrMem(v) | Ask::Copy(v) | Ask::CopyLow(v) | Ask::Store(v) => {
            vec![*v]
        }
        Ask::DefFrom(v) | Ask::DefFpOver(v) | Ask::Alias(v) => vec![*v],
        _ => Vec::new(),
    }
}

/// Which value a life is of.
fn lives(record: &Record) -> Vec<Life> {
    let mut lives: Vec<Life> = (0..record.len()).map(|from| Life { from, to: from }).collect();
    for (at, asks) in record.iter().enumerate() {
        for ask in asks {
            used(ask).into_iter().for_each(|v| lives[v as usize].to = at);
            if let Ask::Own(extra, _) = *ask {
                // Made together with the current instruction's result.
                lives[extra as usize].from = at;
            }
        }
    }
    lives
}

/// The values whose registers the result of these asks may have, where they end there.
fn may_give(asks: &[Ask]) -> Vec<u32> {
    let all = || asks.iter().flat_map(used).collect();
    let of = |ask: &Ask| match ask {
        Ask::DefOver(operands) => Some(operands.clone()),
        Ask::DefFrom(v) | Ask::DefFpOver(v) => Some(vec![*v]),
        Ask::DefApart => Some(all()),
        _ => None,
    };
    asks.iter().find_map(of).unwrap_or_default()
}

/// Gives each value its place; `None` where spill words do not suffice.
pub fn assign(insts: &[Inst], record: &Record) -> Option<Vec<Place>> {
    let lives = lives(record);
    let mut places = vec![Place::Nowhere; insts.len()];
    let is_constant = |v: usize| {
        matches!(insts[v], Inst::Const(_) | Inst::Pc(_)) || number_constant(insts, v as u32).is_some()
    };
    let is_made = |v: usize| !is_constant(v) && insts[v].result().is_some();
    let mut order: Vec<usize> =
        (0..insts.len()).filter(|&v| is_made(v) && lives[v].to > lives[v].from).collect();
    order.sort_by_key(|&v| lives[v].from);
    let clobbers =
        |life: Life, r: Reg| record[life.from..=life.to].iter().flatten().any(|ask| *ask == Ask::Clobber(r));
    for (n, &v) in order.iter().enumerate() {
        let (life, class) = (lives[v], insts[v].result());
        let is_general = class == Some(Class::Int);
        let gives = if life.from == v { may_give(&record[v]) } else { Vec::new() };
        // Those before that still live where this one is made.
        let others = order[..n].iter().filter(|&&other| {
            let ends = lives[other].to == life.from && gives.contains(&(other as u32));
            lives[other].to >= life.from && !ends
        });
        let taken: Vec<(Place, Option<Class>)> =
            others.map(|&other| (places[other], insts[other].result())).collect();
        let pool = if is_general { &GENERAL[..] } else { &VECTOR[..] };
        let is_taken = |r: u8| {
            taken.iter().any(|&(p, c)| p == Place::Register(r) && (c == Some(Class::Int)) == is_general)
        };
        let free = |r: &&u8| !is_taken(**r) && (!is_general || !clobbers(life, **r));
        places[v] = match pool.iter().find(free) {
            Some(&r) => Place::Register(r),
            None => {
                let is_vector = class == Some(Class::Vec);
                let mut words = 0..WORDS[is_vector as usize];
                let word = words.find(|&n| {
                    !taken.iter().any(|(p, c)| *p == Place::Spill(n) && (*c == Some(Class::Vec)) == is_vector)
                });
                Place::Spill(word?)
            }
        };
    }
    Some(places)
}
