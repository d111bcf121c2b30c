//! What an access to guest memory is, besides its address.

use trine_base::Width;

/// The order of a value's bytes in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Order {
    /// The least significant byte has the lowest address.
    Little,
    /// The most significant byte has the lowest address.
    Big,
}

/// Width and byte order of an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct MemOp {
    /// How many bytes are accessed.
    pub width: Width,
    /// Their order.
    pub order: Order,
}

impl From<Width> for MemOp {
    /// A little-endian access.
    #[inline(always)]
    fn from(width: Width) -> MemOp {
        MemOp { width, order: Order::Little }
    }
}

impl MemOp {
    /// The same access in big-endian order.
    #[must_use]
    pub const fn big(self) -> MemOp {
        MemOp { order: Order::Big, ..self }
    }

    /// Whether the value's bytes lie in memory in the reverse order of the host's registers.
    #[inline(always)]
    pub const fn swaps(self) -> bool {
        matches!(self.order, Order::Big) && !matches!(self.width, Width::B1)
    }

    /// The value whose bytes in little-endian order are those of `value` in this access's order; and the other way
    /// round, as both are the same. Only the low bytes of `value` count.
    #[inline(always)]
    pub const fn ordered(self, value: u64) -> u64 {
        if self.swaps() { value.swap_bytes() >> (64 - self.width.bits()) } else { value }
    }
}
