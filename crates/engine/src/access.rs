//! What all accesses to guest memory have in common.

use crate::core::Core;
use crate::memory::GuestMemory;
use trine_ir::{Access, Hart, Hints, Isa, Leave, MemOp, Rmw, eval};

impl<I: Isa, M: GuestMemory<I>> Core<I, M> {
    /// The regime of an access with these hints.
    #[inline(always)]
    pub(crate) fn access_regime(&self, hints: Hints) -> usize {
        I::access_regime(self.mode.get(), hints)
    }

    /// Raises the exception for a misaligned access, if the access must be aligned.
    #[inline(always)]
    pub(crate) fn check_aligned(&self, how: MemOp, access: Access, address: u64) -> Result<(), Leave> {
        if how.is_misaligned(address) { Err(self.raise(I::misaligned(access, address))) } else { Ok(()) }
    }

    /// The result of an access with these hints: reports its exception the way the CPU does for such
    /// accesses.
    #[inline(always)]
    pub(crate) fn hinted<T>(&self, hints: Hints, done: Result<T, Leave>) -> Result<T, Leave> {
        if hints != Hints::NONE && matches!(done, Err(Leave::Trap)) {
            self.trap.set(I::hinted(self.trap.get(), hints));
        }
        done
    }

    /// For an access that reaches neither memory nor a device: raises the CPU's exception for that, if it has
    /// one.
    pub(crate) fn bus_error(&self, access: Access, address: u64) -> Result<(), Leave> {
        I::bus_error(access, address).map_or(Ok(()), |trap| Err(self.raise(trap)))
    }

    /// Notes the count of the current instruction, which is the devices' time in count mode.
    pub(crate) fn sync_clock(&self) {
        let _ = self.now();
    }

    /// Atomic update: `f` makes the new value from the old, or `None` to leave it. Returns the old.
    fn update(
        &self,
        regime: usize,
        how: MemOp,
        address: u64,
        f: impl Fn(u64) -> Option<u64>,
    ) -> Result<u64, Leave> {
        let f = |old| f(how.ordered(old)).map(|new| how.ordered(new));
        M::update(self, regime, how.width, address, f).map(|old| how.ordered(old))
    }

    /// Atomic read-modify-write at any address.
    pub fn rmw(&self, regime: usize, op: Rmw, how: MemOp, address: u64, operand: u64) -> Result<u64, Leave> {
        self.update(regime, how, address, |old| Some(eval::rmw(op, how.width.bits(), old, operand)))
    }

    /// Atomic compare-and-exchange at any address.
    pub fn exchange(
        &self,
        regime: usize,
        how: MemOp,
        address: u64,
        expect: u64,
        new: u64,
    ) -> Result<u64, Leave> {
        self.update(regime, how, address, |old| (old == expect).then_some(new))
    }

    /// Raises what an access to `len` bytes would raise: see [`Hart::probe`].
    pub(crate) fn probe_pages(
        &self,
        regime: usize,
        access: Access,
        address: u64,
        len: u64,
    ) -> Result<(), Leave> {
        // A helper that accesses more than once must leave, or be executed alone, from its start.
        if (I::WATCH_STOPS_BEFORE || !self.alone.get()) && access != Access::Execute {
            self.watch(access, address, len.max(1))?;
        }
        let last = address.wrapping_add(len.max(1) - 1);
        let pages = (last & !0xfff).wrapping_sub(address & !0xfff) >> 12;
        for page in 0..=pages {
            // The exception names the first byte that would be accessed there.
            let at = if page == 0 { address } else { (address & !0xfff).wrapping_add(page << 12) };
            M::probe(self, regime, access, at)?;
        }
        Ok(())
    }
}
