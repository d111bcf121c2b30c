//! Arithmetic (IEEE 754-2019, 5.4.1).

use crate::format::{Kind, Parts, infinity, jam, pack, pack_wide, unpack, zero};
use crate::{DZ, Env, Format, NV, Round};

fn invalid<F: Format>(env: &mut Env) -> u64 {
    env.flags |= NV;
    F::NAN
}

/// The result where an operand is a NaN.
fn nan<F: Format>(env: &mut Env, operands: &[Parts]) -> Option<u64> {
    if operands.iter().any(|p| p.kind == Kind::Signaling) {
        env.flags |= NV;
    }
    operands.iter().any(Parts::is_nan).then_some(F::NAN)
}

/// Sign of an exact zero sum of numbers with different signs.
fn cancelled(env: &Env) -> bool {
    env.round == Round::Rdn
}

/// A finite number for a sum: `±m / 2^126 × 2^exp`.
#[derive(Clone, Copy)]
struct Term {
    sign: bool,
    exp: i32,
    m: u128,
}

impl Term {
    fn of(p: Parts) -> Term {
        Term { sign: p.sign, exp: p.exp, m: (p.sig as u128) << 63 }
    }
}

/// Sum of two terms that are not zero. Bits shifted out are remembered in the lowest bit; that is
/// exact enough because at least 22 low bits of every term are zero, so only terms that cannot
/// cancel far lose any.
fn sum<F: Format>(env: &mut Env, a: Term, b: Term) -> u64 {
    let (a, b) = if (a.exp, a.m) >= (b.exp, b.m) { (a, b) } else { (b, a) };
    let small = jam(b.m, a.exp.wrapping_sub(b.exp) as u32);
    if a.sign == b.sign {
        return pack_wide::<F>(env, a.sign, a.exp, a.m + small);
    }
    match a.m - small {
        0 => zero::<F>(cancelled(env)),
        m => pack_wide::<F>(env, a.sign, a.exp, m),
    }
}

fn add_parts<F: Format>(env: &mut Env, a: u64, b: u64, x: Parts, y: Parts) -> u64 {
    if let Some(nan) = nan::<F>(env, &[x, y]) {
        return nan;
    }
    match (x.kind, y.kind) {
        (Kind::Infinite, Kind::Infinite) if x.sign != y.sign => invalid::<F>(env),
        (Kind::Infinite, _) => a,
        (_, Kind::Infinite) => b,
        (Kind::Zero, Kind::Zero) => zero::<F>(if x.sign == y.sign { x.sign } else { cancelled(env) }),
        (Kind::Zero, _) => b,
        (_, Kind::Zero) => a,
        _ => sum::<F>(env, Term::of(x), Term::of(y)),
    }
}

/// Sum.
pub fn add<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    add_parts::<F>(env, a, b, unpack::<F>(a), unpack::<F>(b))
}

/// Difference.
pub fn sub<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    add::<F>(env, a, b ^ F::SIGN)
}

/// Product of two significands: `m / 2^126 × 2^exp`.
fn product(x: Parts, y: Parts) -> Term {
    let m = x.sig as u128 * y.sig as u128;
    let (m, carry) = if m >> 127 != 0 { (m >> 1, 1) } else { (m, 0) };
    Term { sign: x.sign != y.sign, exp: x.exp + y.exp + carry, m }
}

/// Product.
pub fn mul<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    let (x, y) = (unpack::<F>(a), unpack::<F>(b));
    if let Some(nan) = nan::<F>(env, &[x, y]) {
        return nan;
    }
    let sign = x.sign != y.sign;
    match (x.kind, y.kind) {
        (Kind::Infinite, Kind::Zero) | (Kind::Zero, Kind::Infinite) => invalid::<F>(env),
        (Kind::Infinite, _) | (_, Kind::Infinite) => infinity::<F>(sign),
        (Kind::Zero, _) | (_, Kind::Zero) => zero::<F>(sign),
        _ => {
            let p = product(x, y);
            pack_wide::<F>(env, p.sign, p.exp, p.m)
        }
    }
}

/// Quotient.
pub fn div<F: Format>(env: &mut Env, a: u64, b: u64) -> u64 {
    let (x, y) = (unpack::<F>(a), unpack::<F>(b));
    if let Some(nan) = nan::<F>(env, &[x, y]) {
        return nan;
    }
    let sign = x.sign != y.sign;
    match (x.kind, y.kind) {
        (Kind::Infinite, Kind::Infinite) | (Kind::Zero, Kind::Zero) => invalid::<F>(env),
        (Kind::Infinite, _) => infinity::<F>(sign),
        (_, Kind::Infinite) | (Kind::Zero, _) => zero::<F>(sign),
        (_, Kind::Zero) => {
            env.flags |= DZ;
            infinity::<F>(sign)
        }
        _ => {
            let n = (x.sig as u128) << 63;
            let (q, r) = (n / y.sig as u128, n % y.sig as u128);
            // 2^62 < q < 2^64: scaled to 2^126 it has room for the remainder's bit.
            pack_wide::<F>(env, sign, x.exp - y.exp, q << 63 | (r != 0) as u128)
        }
    }
}

/// Largest integer whose square is at most `n`.
fn isqrt(n: u128) -> u128 {
    let (mut rest, mut root) = (n, 0u128);
    let mut bit = 1u128 << 126;
    while bit != 0 {
        if rest >= root + bit {
            rest -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
        bit >>= 2;
    }
    root
}

/// Square root.
pub fn sqrt<F: Format>(env: &mut Env, a: u64) -> u64 {
    let x = unpack::<F>(a);
    if let Some(nan) = nan::<F>(env, &[x]) {
        return nan;
    }
    match x.kind {
        Kind::Zero => a,
        _ if x.sign => invalid::<F>(env),
        Kind::Infinite => a,
        _ => {
            // sig / 2^63 × 2^exp with an even exponent: the root of sig × 2^63 or × 2^64.
            let n = (x.sig as u128) << if x.exp & 1 == 0 { 63 } else { 64 };
            let root = isqrt(n);
            let sig = root as u64 | (root * root != n) as u64;
            pack::<F>(env, false, x.exp >> 1, sig)
        }
    }
}

/// `±(a × b) ± c` with one rounding.
pub fn fma<F: Format>(env: &mut Env, a: u64, b: u64, c: u64, neg_product: bool, neg_addend: bool) -> u64 {
    let (mut x, y) = (unpack::<F>(a), unpack::<F>(b));
    let c = if neg_addend { c ^ F::SIGN } else { c };
    let z = unpack::<F>(c);
    x.sign ^= neg_product;
    if matches!((x.kind, y.kind), (Kind::Infinite, Kind::Zero) | (Kind::Zero, Kind::Infinite)) {
        return invalid::<F>(env);
    }
    if let Some(nan) = nan::<F>(env, &[x, y, z]) {
        return nan;
    }
    let sign = x.sign != y.sign;
    if x.kind == Kind::Infinite || y.kind == Kind::Infinite {
        let opposite = z.kind == Kind::Infinite && z.sign != sign;
        return if opposite { invalid::<F>(env) } else { infinity::<F>(sign) };
    }
    if z.kind == Kind::Infinite {
        return c;
    }
    if x.kind == Kind::Zero || y.kind == Kind::Zero {
        let product = Parts { kind: Kind::Zero, sign, exp: 0, sig: 0 };
        return add_parts::<F>(env, zero::<F>(sign), c, product, z);
    }
    let p = product(x, y);
    if z.kind == Kind::Zero {
        return pack_wide::<F>(env, p.sign, p.exp, p.m);
    }
    sum::<F>(env, p, Term::of(z))
}
