//! How an instruction accesses guest memory.

use trine_base::Width;

/// The order of a value's bytes in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Order {
    /// The least significant byte has the lowest address.
    Little,
    /// The most significant byte has the lowest address.
    Big,
}

/// What else an instruction states about an access. It never changes the accessed value, only whether the
/// access is allowed, and how its fault is reported.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Hash)]
pub struct Hints {
    /// An address that is not a multiple of the width raises [`crate::Isa::misaligned`].
    pub aligned: bool,
    /// The access is to the stack.
    pub stack: bool,
    /// The CPU makes the access itself, with the supervisor's rights: to a descriptor table and the like.
    pub supervisor: bool,
}

impl Hints {
    /// No hints.
    pub const NONE: Hints = Hints { aligned: false, stack: false, supervisor: false };
}

/// Width, byte order and hints of an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct MemOp {
    /// How many bytes are accessed.
    pub width: Width,
    /// Their order.
    pub order: Order,
    /// The hints.
    pub hints: Hints,
}

impl From<Width> for MemOp {
    /// A little-endian access without hints.
    #[inline(always)]
    fn from(width: Width) -> MemOp {
        MemOp { width, order: Order::Little, hints: Hints::NONE }
    }
}

impl MemOp {
    /// The same access in big-endian order.
    #[must_use]
    pub const fn big(self) -> MemOp {
        MemOp { order: Order::Big, ..self }
    }

    /// The same access with these hints.
    #[must_use]
    pub const fn hinted(self, hints: Hints) -> MemOp {
        MemOp { hints, ..self }
    }

    /// Whether an access to this address is refused because it is not aligned.
    #[inline(always)]
    pub const fn is_misaligned(self, address: u64) -> bool {
        self.hints.aligned && !self.width.aligned(address)
    }

    /// Whether the value's bytes must be swapped between memory and the host's registers.
    #[inline(always)]
    pub const fn swaps(self) -> bool {
        matches!(self.order, Order::Big) && !matches!(self.width, Width::B1)
    }

    /// The value whose bytes in little-endian order are those of `value` in this access's order, and vice
    /// versa. Only the low bytes of `value` count.
    #[inline(always)]
    pub const fn ordered(self, value: u64) -> u64 {
        if self.swaps() { value.swap_bytes() >> (64 - self.width.bits()) } else { value }
    }
}
