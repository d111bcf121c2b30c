//! Accesses of 16 bytes: each is done or faults as a whole, even across the end of a page.

use crate::core::Core;
use crate::memory::GuestMemory;
use crate::paged::{Paged, Unaligned};
use trine_base::Width;
use trine_ir::{Access, Hart, Hints, Isa, Leave};

/// Bytes of a vector.
const BYTES: u64 = 16;

impl<I: Isa, M: GuestMemory<I>> Core<I, M> {
    /// Loads a vector.
    pub(crate) fn load_vector(&self, hints: Hints, address: u64) -> Result<u128, Leave> {
        self.check_wide(hints, Access::Read, address)?;
        self.hinted(hints, M::load_vector(self, hints, address))
    }

    /// Stores a vector.
    pub(crate) fn store_vector(&self, hints: Hints, address: u64, value: u128) -> Result<(), Leave> {
        self.check_wide(hints, Access::Write, address)?;
        self.hinted(hints, M::store_vector(self, hints, address, value))
    }

    fn check_wide(&self, hints: Hints, access: Access, address: u64) -> Result<(), Leave> {
        let misaligned = hints.aligned && !address.is_multiple_of(BYTES);
        if misaligned { Err(self.raise(I::misaligned(access, address))) } else { Ok(()) }
    }
}

impl<I: Isa> Core<I, Paged<I>> {
    /// Loads a vector, through the TLB if that has the page.
    pub(crate) fn paged_load_vector(&self, hints: Hints, address: u64) -> Result<u128, Leave> {
        match self.memory.tlb.probe(self.access_regime(hints), address, BYTES, false) {
            // SAFETY: a TLB entry maps a page of RAM, and the probe checked that the access stays inside it.
            Some(host) => Ok(unsafe { (host as *const Unaligned<u128>).read_volatile().0 }),
            None => self.walk_and_load_vector(hints, address),
        }
    }

    /// Stores a vector, through the TLB if that has the page.
    pub(crate) fn paged_store_vector(&self, hints: Hints, address: u64, value: u128) -> Result<(), Leave> {
        match self.memory.tlb.probe(self.access_regime(hints), address, BYTES, true) {
            Some(host) => {
                // SAFETY: as in `paged_load_vector`; a write entry is never of a page that holds translated code.
                unsafe { (host as *mut Unaligned<u128>).write_volatile(Unaligned(value)) };
                Ok(())
            }
            None => self.walk_and_store_vector(hints, address, value),
        }
    }

    /// A load of a vector that missed the TLB.
    #[cold]
    #[inline(never)]
    pub(crate) fn walk_and_load_vector(&self, hints: Hints, address: u64) -> Result<u128, Leave> {
        // Before the first half: the instruction must not have loaded anything from a device when it is executed again.
        self.watch(Access::Read, address, BYTES)?;
        let regime = self.access_regime(hints);
        let upper = address.wrapping_add(BYTES / 2);
        let low = self.walk_and_load(regime, Width::B8, address)?;
        Ok(low as u128 | (self.walk_and_load(regime, Width::B8, upper)? as u128) << 64)
    }

    /// A store of a vector that missed the TLB.
    #[cold]
    #[inline(never)]
    pub(crate) fn walk_and_store_vector(&self, hints: Hints, address: u64, value: u128) -> Result<(), Leave> {
        self.store_halves(self.access_regime(hints), address, value)
    }

    /// Stores both halves, once neither can fault.
    fn store_halves(&self, regime: usize, address: u64, value: u128) -> Result<(), Leave> {
        self.watch(Access::Write, address, BYTES)?;
        let crosses = address & 0xfff > 0x1000 - BYTES;
        // A fault in the second page is reported at its start, as for any other access.
        let second = (address | 0xfff).wrapping_add(1);
        for part in std::iter::once(address).chain(crosses.then_some(second)) {
            let at = self.translate(regime, part, Access::Write)?;
            // A device takes one access or none: both parts of one that crosses a page must be memory.
            if crosses && !self.memory.ram.contains(at, 1) {
                self.bus_error(Access::Write, part)?;
            }
        }
        let upper = address.wrapping_add(BYTES / 2);
        self.walk_and_store(regime, Width::B8, address, value as u64)?;
        self.walk_and_store(regime, Width::B8, upper, (value >> 64) as u64)
    }
}
