//! Random numbers, and random values that are likely to reveal errors.

/// SplitMix64.
pub struct Random(u64);

impl Random {
    /// Creates the generator for a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x6a09_e667_f3bc_c908)
    }

    /// The next number.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `n` (not 0).
    pub fn below(&mut self, n: u64) -> u64 {
        self.word() % n
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of a list.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// A random integer, often near a power of two or a limit.
    pub fn integer(&mut self) -> u64 {
        let near = self.below(5).wrapping_sub(2);
        match self.below(6) {
            0 => near,
            1 => (1u64 << self.below(64)).wrapping_add(near),
            2 => (i64::MAX as u64).wrapping_add(near),
            3 => self.word() as u32 as u64,
            4 => self.word() as i32 as i64 as u64,
            _ => self.word(),
        }
    }

    /// A random binary64, or a binary32 in its NaN box; often a special value.
    pub fn float(&mut self) -> u64 {
        if self.once_in(2) {
            let bits = self.shaped(23, 8, 31) as u32;
            return 0xffff_ffff_0000_0000 | bits as u64;
        }
        self.shaped(52, 11, 63)
    }

    /// A floating-point number with a field that is often extreme, a small integer, or near one.
    fn shaped(&mut self, fraction: u32, exponent: u32, sign: u32) -> u64 {
        let top = (1u64 << exponent) - 1;
        let bias = top / 2;
        let e = match self.below(8) {
            0 => 0,
            1 => top,
            2 => 1,
            3 => top - 1,
            4 | 5 => bias.wrapping_add(self.below(70)).wrapping_sub(3),
            _ => self.word() & top,
        };
        let mask = (1u64 << fraction) - 1;
        let f = match self.below(6) {
            0 => 0,
            1 => mask,
            2 => 1,
            3 => 1 << (fraction - 1),
            _ => self.word() & mask,
        };
        self.below(2) << sign | (e & top) << fraction | f
    }
}
