//! Operands for the comparisons: special values, edges, and numbers related to each other.

#![allow(dead_code, reason = "each test binary uses a part")]

use trine_softfloat::{self as sf, Env, Format, Round};

/// All rounding directions.
pub const ROUNDS: [Round; 5] = [Round::Rne, Round::Rtz, Round::Rdn, Round::Rup, Round::Rmm];

/// Largest finite magnitude.
pub fn largest<F: Format>() -> u64 {
    F::INFINITY - 1
}

/// Smallest normal magnitude.
pub fn smallest_normal<F: Format>() -> u64 {
    1 << F::FRACTION_BITS
}

/// Whether these bits are a NaN.
pub fn is_nan<F: Format>(bits: u64) -> bool {
    bits & (F::SIGN - 1) > F::INFINITY
}

/// Whether these bits are a signaling NaN.
pub fn is_signaling<F: Format>(bits: u64) -> bool {
    is_nan::<F>(bits) && bits & F::QUIET == 0
}

/// The canonical NaN for any NaN.
pub fn canonical<F: Format>(bits: u64) -> u64 {
    if is_nan::<F>(bits) { F::NAN } else { bits }
}

/// Special values of both signs.
pub fn specials<F: Format>() -> Vec<u64> {
    let one = (F::BIAS as u64) << F::FRACTION_BITS;
    let min = smallest_normal::<F>();
    let positive = [
        [0, 1, 2, 3, min - 1, min, min + 1, 2 * min - 1, 2 * min],
        [
            one - 2,
            one - 1,
            one,
            one + 1,
            one + F::QUIET,
            one + F::FRACTION,
            one + min,
            one + min + F::QUIET,
            one - min,
        ],
        [
            largest::<F>() - 1,
            largest::<F>(),
            F::INFINITY,
            F::INFINITY + 1,
            F::NAN - 1,
            F::NAN,
            F::NAN + 1,
            F::SIGN - 1,
            one / 2,
        ],
    ];
    positive.iter().flatten().flat_map(|&v| [v, v | F::SIGN]).collect()
}

/// xorshift64*.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 32) % n
    }

    /// 0..n, small ones more often.
    fn small(&mut self, n: u64) -> u64 {
        let bound = 1 + self.below(n);
        self.below(bound)
    }

    fn fraction<F: Format>(&mut self) -> u64 {
        let shift = self.below(F::FRACTION_BITS as u64 + 1);
        let bits = match self.below(6) {
            0 => F::FRACTION << shift,
            1 => F::FRACTION >> shift,
            2 => 1 << shift,
            3 => !(1 << shift),
            4 => self.next() << shift,
            _ => self.next(),
        };
        bits & F::FRACTION
    }

    fn exponent<F: Format>(&mut self) -> u64 {
        let (max, bias, bits) = (F::EXPONENT_MAX as u64, F::BIAS as u64, F::FRACTION_BITS as u64);
        match self.below(6) {
            0 => self.small(4),
            1 => max - 1 - self.small(4),
            2 => bias + self.small(70),
            3 => bias - self.small(2 * bits),
            4 => bias / 2 + self.below(2 * bits) - bits.min(bias / 2),
            _ => self.below(max),
        }
    }

    /// Any datum, including extreme values and NaNs.
    pub fn operand<F: Format>(&mut self, specials: &[u64]) -> u64 {
        match self.below(16) {
            0 => specials[self.below(specials.len() as u64) as usize],
            1 => self.next() & (F::SIGN | (F::SIGN - 1)),
            _ => {
                let sign = if self.next() >> 63 != 0 { F::SIGN } else { 0 };
                let exponent = self.exponent::<F>().min(F::EXPONENT_MAX as u64);
                sign | exponent << F::FRACTION_BITS | self.fraction::<F>()
            }
        }
    }

    /// A number near this one with the other sign; sometimes the same bits in a near binade.
    fn near<F: Format>(&mut self, a: u64) -> u64 {
        let step = self.small(60);
        let moved = match self.below(3) {
            0 => a.wrapping_add(step),
            1 => a.wrapping_sub(step),
            _ => a.wrapping_sub(step << F::FRACTION_BITS),
        };
        (moved ^ F::SIGN) & (F::SIGN | (F::SIGN - 1))
    }

    /// Three operands: the second sometimes cancels the first, the third sometimes their product.
    pub fn operands<F: Format>(&mut self, specials: &[u64]) -> [u64; 3] {
        let a = self.operand::<F>(specials);
        let b = if self.below(4) == 0 { self.near::<F>(a) } else { self.operand::<F>(specials) };
        let product = sf::mul::<F>(&mut Env::new(Round::Rtz), a, b);
        let c = if self.below(3) == 0 { self.near::<F>(product) } else { self.operand::<F>(specials) };
        [a, b, c]
    }
}

/// Calls `check` with all pairs of special values (and a random third), then with `count` random ones.
pub fn each<F: Format>(count: usize, seed: u64, mut check: impl FnMut([u64; 3])) {
    let specials = specials::<F>();
    let mut random = Random::new(seed);
    for &a in &specials {
        for &b in &specials {
            check([a, b, specials[random.below(specials.len() as u64) as usize]]);
            check([a, b, random.operand::<F>(&specials)]);
        }
    }
    for _ in 0..count {
        check(random.operands::<F>(&specials));
    }
}

/// Runs one operation without flags set before; result and flags.
pub fn run(round: Round, op: impl FnOnce(&mut Env) -> u64) -> (u64, u8) {
    let mut env = Env::new(round);
    let result = op(&mut env);
    (result, env.flags)
}
