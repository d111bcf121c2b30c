//! Floating point in software: used by the interpreter always, and by generated code if the host's FPU gives
//! other results.

use crate::core::Core;
use crate::memory::GuestMemory;
use trine_ir::{Fmt, Fp, FpRules, IntTy, Isa, Round, Rounding, Sign, VFp};
use trine_softfloat::{self as sf, Env, F32, F64, Format, IntKind};

/// Executes `op`; the flags go to the CPU's slot.
pub fn soft<I: Isa, M: GuestMemory<I>>(core: &Core<I, M>, op: Fp, rounding: Rounding, args: [u64; 3]) -> u64 {
    let round = match rounding {
        Rounding::Static(r) => r,
        Rounding::Dynamic => I::Fp::round(core.slots.as_ref()),
    };
    let slots = core.slots.as_ref();
    let (denormals, traps) = (I::Fp::denormals(slots), I::Fp::traps(slots));
    let mut env = Env { round: direction(round), rules: I::Fp::RULES, denormals, traps, flags: 0 };
    let result = perform(&mut env, op, args);
    if env.flags != 0 {
        I::Fp::harvest(core.slots.as_ref(), mxcsr_flags(env.flags));
    }
    result
}

/// Executes `op` lane by lane, as [`soft`] does one.
pub fn soft_vector<I: Isa, M: GuestMemory<I>>(
    core: &Core<I, M>,
    op: VFp,
    rounding: Rounding,
    args: [u128; 2],
) -> u128 {
    op.perform(args, |lanes| soft(core, op.op, rounding, lanes))
}

/// Flags in MXCSR's format.
fn mxcsr_flags(flags: u8) -> u32 {
    let bit = |flag: u8, to: u32| ((flags & flag != 0) as u32) << to;
    bit(sf::NV, 0) | bit(sf::DE, 1) | bit(sf::DZ, 2) | bit(sf::OF, 3) | bit(sf::UF, 4) | bit(sf::NX, 5)
}

fn direction(round: Round) -> sf::Round {
    match round {
        Round::Rne => sf::Round::Rne,
        Round::Rtz => sf::Round::Rtz,
        Round::Rdn => sf::Round::Rdn,
        Round::Rup => sf::Round::Rup,
        Round::Rmm => sf::Round::Rmm,
    }
}

fn kind(ty: IntTy) -> IntKind {
    match ty {
        IntTy::I32 => IntKind::I32,
        IntTy::U32 => IntKind::U32,
        IntTy::I64 => IntKind::I64,
        IntTy::U64 => IntKind::U64,
    }
}

/// Mask of the lower half of 64 bits, which holds a binary32.
const LOW: u64 = 0xffff_ffff;

/// The result of an operation that only moves bits; `None` for others.
#[inline(always)]
pub fn moved(op: Fp, [a, b, _]: [u64; 3]) -> Option<u64> {
    match op {
        Fp::ToBits(Fmt::D) | Fp::FromBits(_) => Some(a),
        // The bits above a binary32 are undefined.
        Fp::ToBits(Fmt::S) | Fp::Low => Some(a & LOW),
        Fp::WithLow => Some(a & !LOW | b & LOW),
        _ => None,
    }
}

fn perform(env: &mut Env, op: Fp, args: [u64; 3]) -> u64 {
    // Generated code ignores the bits above a binary32.
    let [a, b, c] = match op {
        Fp::FromInt(..) => args,
        _ if format(op) == Fmt::S => args.map(|x| x & LOW),
        _ => args,
    };
    match op {
        Fp::Convert(Fmt::S) => sf::convert::<F32, F64>(env, a),
        Fp::Convert(Fmt::D) => sf::convert::<F64, F32>(env, a),
        _ => match format(op) {
            Fmt::S => typed::<F32>(env, op, [a, b, c], 31),
            Fmt::D => typed::<F64>(env, op, [a, b, c], 63),
        },
    }
}

/// The format that an operation works in.
pub fn format(op: Fp) -> Fmt {
    match op {
        Fp::Add(f) | Fp::Sub(f) | Fp::Mul(f) | Fp::Div(f) | Fp::Sqrt(f) | Fp::Min(f) | Fp::Max(f) => f,
        Fp::Eq(f) | Fp::Lt(f) | Fp::Le(f) | Fp::LtQuiet(f) | Fp::LeQuiet(f) | Fp::Unordered(f) => f,
        Fp::Convert(f) | Fp::ToInt(f, _) | Fp::FromInt(_, f) => f,
        Fp::Sgnj(f, _) | Fp::ToBits(f) | Fp::FromBits(f) => f,
        Fp::Fma { fmt, .. } => fmt,
        Fp::Low | Fp::WithLow => Fmt::D,
    }
}

fn typed<F: Format>(env: &mut Env, op: Fp, [a, b, c]: [u64; 3], sign_bit: u32) -> u64 {
    let sign = 1u64 << sign_bit;
    match op {
        Fp::Add(_) => sf::add::<F>(env, a, b),
        Fp::Sub(_) => sf::sub::<F>(env, a, b),
        Fp::Mul(_) => sf::mul::<F>(env, a, b),
        Fp::Div(_) => sf::div::<F>(env, a, b),
        Fp::Sqrt(_) => sf::sqrt::<F>(env, a),
        Fp::Fma { neg_product, neg_addend, .. } => sf::fma::<F>(env, a, b, c, neg_product, neg_addend),
        Fp::Min(_) => sf::min::<F>(env, a, b),
        Fp::Max(_) => sf::max::<F>(env, a, b),
        Fp::Eq(_) => sf::eq::<F>(env, a, b) as u64,
        Fp::Lt(_) => sf::lt::<F>(env, a, b) as u64,
        Fp::Le(_) => sf::le::<F>(env, a, b) as u64,
        Fp::LtQuiet(_) => sf::lt_quiet::<F>(env, a, b) as u64,
        Fp::LeQuiet(_) => sf::le_quiet::<F>(env, a, b) as u64,
        Fp::Unordered(_) => sf::unordered::<F>(env, a, b) as u64,
        Fp::ToInt(_, ty) => sf::to_int::<F>(env, a, kind(ty)),
        Fp::FromInt(ty, _) => sf::from_int::<F>(env, a, kind(ty)),
        Fp::Sgnj(_, Sign::Copy) => a & !sign | b & sign,
        Fp::Sgnj(_, Sign::Negate) => a & !sign | !b & sign,
        Fp::Sgnj(_, Sign::Xor) => a ^ b & sign,
        Fp::ToBits(_) | Fp::FromBits(_) | Fp::Low | Fp::WithLow => moved(op, [a, b, c]).unwrap_or(a),
        // Done before: its formats differ.
        Fp::Convert(_) => a,
    }
}
