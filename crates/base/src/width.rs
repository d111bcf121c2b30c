//! The size of one memory or device access.

/// Number of bytes that one access moves.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Width {
    /// One byte.
    B1,
    /// Two bytes.
    B2,
    /// Four bytes.
    B4,
    /// Eight bytes.
    B8,
}

impl Width {
    /// The width of `bytes` bytes; `None` unless that is 1, 2, 4 or 8.
    pub const fn from_bytes(bytes: u32) -> Option<Width> {
        match bytes {
            1 => Some(Width::B1),
            2 => Some(Width::B2),
            4 => Some(Width::B4),
            8 => Some(Width::B8),
            _ => None,
        }
    }

    /// Its size in bytes: 1, 2, 4 or 8.
    #[inline(always)]
    pub const fn bytes(self) -> u64 {
        1 << self as u64
    }

    /// Its size in bits: 8, 16, 32 or 64.
    #[inline(always)]
    pub const fn bits(self) -> u32 {
        8 << self as u32
    }

    /// The bits of a 64-bit word that a value of this width can occupy.
    #[inline(always)]
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// Whether `address` is a multiple of the width.
    #[inline(always)]
    pub const fn aligned(self, address: u64) -> bool {
        address & (self.bytes() - 1) == 0
    }
}
