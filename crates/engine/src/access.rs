//! Guest memory accesses that miss the software TLB: page walks, devices, page crossings.

use crate::code_copies::Copies;
use crate::core::Core;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use trine_base::Width;
use trine_ir::{Access, Hart, Hints, Isa, Leave, MemOp, Rmw, Trap, eval};

/// Loads from a host address inside guest RAM.
///
/// # Safety
/// `host .. host + width` lies inside the mapping of a live [`trine_memory::Ram`].
#[inline(always)]
unsafe fn host_load(host: usize, width: Width) -> u64 {
    let p = host as *mut u8;
    // SAFETY: by the caller; x86 reads any alignment, and RAM is shared: read once, volatile.
    unsafe {
        match width {
            Width::B1 => AtomicU8::from_ptr(p).load(Ordering::Relaxed) as u64,
            Width::B2 if host & 1 == 0 => AtomicU16::from_ptr(p.cast()).load(Ordering::Relaxed) as u64,
            Width::B4 if host & 3 == 0 => AtomicU32::from_ptr(p.cast()).load(Ordering::Relaxed) as u64,
            Width::B8 if host & 7 == 0 => AtomicU64::from_ptr(p.cast()).load(Ordering::Relaxed),
            Width::B2 => (p as *const u16).read_unaligned() as u64,
            Width::B4 => (p as *const u32).read_unaligned() as u64,
            Width::B8 => (p as *const u64).read_unaligned(),
        }
    }
}

/// Stores to a host address inside guest RAM that holds no translated code.
///
/// # Safety
/// As for [`host_load`].
#[inline(always)]
unsafe fn host_store(host: usize, width: Width, value: u64) {
    let p = host as *mut u8;
    // SAFETY: by the caller.
    unsafe {
        match width {
            Width::B1 => AtomicU8::from_ptr(p).store(value as u8, Ordering::Relaxed),
            Width::B2 if host & 1 == 0 => {
                AtomicU16::from_ptr(p.cast()).store(value as u16, Ordering::Relaxed)
            }
            Width::B4 if host & 3 == 0 => {
                AtomicU32::from_ptr(p.cast()).store(value as u32, Ordering::Relaxed)
            }
            Width::B8 if host & 7 == 0 => AtomicU64::from_ptr(p.cast()).store(value, Ordering::Relaxed),
            Width::B2 => (p as *mut u16).write_unaligned(value as u16),
            Width::B4 => (p as *mut u32).write_unaligned(value as u32),
            Width::B8 => (p as *mut u64).write_unaligned(value),
        }
    }
}

impl<I: Isa> Core<I> {
    /// Loads from a virtual address in `regime`.
    #[inline(always)]
    pub fn load(&self, regime: usize, width: Width, address: u64) -> Result<u64, Leave> {
        if self.direct.is_some() {
            return self.direct_load(width, address);
        }
        match self.tlb.probe(regime, address, width.bytes(), false) {
            // SAFETY: a TLB entry maps a page of RAM, and the probe checked that the access stays
            // inside it.
            Some(host) => Ok(unsafe { host_load(host, width) }),
            None => self.slow_load(regime, width, address),
        }
    }

    /// Stores to a virtual address in `regime`.
    #[inline(always)]
    pub fn store(&self, regime: usize, width: Width, address: u64, value: u64) -> Result<(), Leave> {
        if self.direct.is_some() {
            return self.direct_store(width, address, value);
        }
        match self.tlb.probe(regime, address, width.bytes(), true) {
            Some(host) => {
                // SAFETY: as in `load`; a write entry is never of a page that holds translated code.
                unsafe { host_store(host, width, value) };
                Ok(())
            }
            None => self.slow_store(regime, width, address, value),
        }
    }

    /// The regime of an access with these hints.
    #[inline(always)]
    pub(crate) fn access_regime(&self, hints: Hints) -> usize {
        I::access_regime(self.mode.get(), hints)
    }

    /// Raises what an access that must be aligned and is not raises.
    #[inline(always)]
    pub(crate) fn check_aligned(&self, how: MemOp, access: Access, address: u64) -> Result<(), Leave> {
        if how.is_misaligned(address) { Err(self.raise(I::misaligned(access, address))) } else { Ok(()) }
    }

    /// What an access with these hints came to: its exception is reported as the CPU does with them.
    #[inline(always)]
    pub(crate) fn hinted<T>(&self, hints: Hints, done: Result<T, Leave>) -> Result<T, Leave> {
        if hints != Hints::NONE && matches!(done, Err(Leave::Trap)) {
            self.trap.set(I::hinted(self.trap.get(), hints));
        }
        done
    }

    /// The physical address behind a virtual one; enters the page into the TLB where it is RAM.
    pub fn translate(&self, regime: usize, address: u64, access: Access) -> Result<u64, Leave> {
        let mapping = I::walk(self, regime, address, access).map_err(|t| self.raise(t))?;
        if let Some(host) = self.ram.host_address(mapping.page) {
            let writable = mapping.write && self.ram.may_write(mapping.page, self.writer.get());
            self.tlb.insert(regime, address, host, &mapping, writable);
        }
        Ok(mapping.page | address & 0xfff)
    }

    /// Before a store: leaves where it would change code that a CPU must see at once, and is not executed alone yet.
    pub(crate) fn leave_code_alone(&self, physical: u64) -> Result<(), Leave> {
        let waits = I::CODE_COHERENT && !self.alone.get() && self.ram.is_code(physical);
        if waits { Err(Leave::Alone) } else { Ok(()) }
    }

    /// An access reaches no memory and no device: raises the CPU's exception for that, if it has one.
    pub(crate) fn bus_error(&self, access: Access, address: u64) -> Result<(), Leave> {
        I::bus_error(access, address).map_or(Ok(()), |trap| Err(self.raise(trap)))
    }

    /// A load reaches nothing: ones, where that is no exception.
    fn read_nothing(&self, width: Width, access: Access, address: u64) -> Result<u64, Leave> {
        self.bus_error(access, address)?;
        Ok(width.mask())
    }

    /// A load that missed.
    #[cold]
    #[inline(never)]
    pub fn slow_load(&self, regime: usize, width: Width, address: u64) -> Result<u64, Leave> {
        let n = width.bytes();
        let first = self.translate(regime, address, Access::Read)?;
        let here = 0x1000 - (address & 0xfff);
        if here >= n {
            return self.phys_read(first, width, address);
        }
        let next = address.wrapping_add(here);
        let second = self.translate(regime, next, Access::Read)?;
        (0..n).try_fold(0u64, |value, i| {
            let at = if i < here { first + i } else { second + (i - here) };
            Ok(value | self.phys_read(at, Width::B1, address.wrapping_add(i))? << (8 * i))
        })
    }

    fn phys_read(&self, at: u64, width: Width, address: u64) -> Result<u64, Leave> {
        if let Some(value) = self.ram.load(at, width) {
            return Ok(value);
        }
        self.sync_clock();
        self.bus.read(at, width).map_or_else(|| self.read_nothing(width, Access::Read, address), Ok)
    }

    /// In count mode devices see the count of the instruction that reaches them.
    pub(crate) fn sync_clock(&self) {
        let _ = self.now();
    }

    /// A store that missed.
    #[cold]
    #[inline(never)]
    pub fn slow_store(&self, regime: usize, width: Width, address: u64, value: u64) -> Result<(), Leave> {
        let n = width.bytes();
        // Registers may hold more than is stored, and devices would see it.
        let value = value & width.mask();
        let first = self.translate(regime, address, Access::Write)?;
        let here = 0x1000 - (address & 0xfff);
        if here >= n {
            self.leave_code_alone(first)?;
            return self.phys_write(first, width, value, address);
        }
        let second = self.translate(regime, address.wrapping_add(here), Access::Write)?;
        self.leave_code_alone(first)?;
        self.leave_code_alone(second)?;
        for at in [first, second] {
            if !self.ram.contains(at, 1) && here < n {
                // A device register cannot be written in pieces, but on CPUs that know no bus errors.
                self.bus_error(Access::Write, address)?;
            }
        }
        for i in 0..n {
            let at = if i < here { first + i } else { second + (i - here) };
            self.phys_write(at, Width::B1, value >> (8 * i) & 0xff, address.wrapping_add(i))?;
        }
        Ok(())
    }

    fn phys_write(&self, at: u64, width: Width, value: u64, address: u64) -> Result<(), Leave> {
        if self.ram.store(at, width, value).is_some() {
            return Ok(());
        }
        self.sync_clock();
        self.bus.write(at, width, value).map_or_else(|| self.bus_error(Access::Write, address), Ok)
    }

    /// Atomic update: `f` makes the new value from the old, or `None` to leave it. Gives the old.
    fn update(
        &self,
        regime: usize,
        how: MemOp,
        address: u64,
        f: impl Fn(u64) -> Option<u64>,
    ) -> Result<u64, Leave> {
        let width = how.width;
        let f = |old| f(how.ordered(old)).map(|new| how.ordered(new));
        if self.direct.is_some() {
            return self.direct_update(width, address, f).map(|old| how.ordered(old));
        }
        let at = self.translate(regime, address, Access::Write)?;
        self.leave_code_alone(at)?;
        loop {
            let Some(old) = self.ram.load(at, width) else {
                return self.read_nothing(width, Access::Write, address);
            };
            let Some(new) = f(old) else { return Ok(how.ordered(old)) };
            match self.ram.compare_exchange(at, width, old, new) {
                Some(found) if found == old => return Ok(how.ordered(old)),
                Some(_) => {}
                None => return self.read_nothing(width, Access::Write, address),
            }
        }
    }

    /// Atomic read-modify-write of an aligned address.
    pub fn rmw(&self, regime: usize, op: Rmw, how: MemOp, address: u64, operand: u64) -> Result<u64, Leave> {
        self.update(regime, how, address, |old| Some(eval::rmw(op, how.width.bits(), old, operand)))
    }

    /// Atomic compare-and-exchange of an aligned address.
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
        let last = address.wrapping_add(len.max(1) - 1);
        let pages = (last & !0xfff).wrapping_sub(address & !0xfff) >> 12;
        for page in 0..=pages {
            // The first byte that would be accessed there is what the exception names.
            let at = if page == 0 { address } else { (address & !0xfff).wrapping_add(page << 12) };
            match self.direct {
                Some(_) => self.direct_probe(access, at)?,
                None if access == Access::Write => {
                    let physical = self.translate(regime, at, access)?;
                    self.leave_code_alone(physical)?;
                }
                None => self.translate(regime, at, access).map(drop)?,
            }
        }
        Ok(())
    }

    /// Reads code bytes at a physical address, of a program from the copies where they have them.
    pub(crate) fn fetch(&self, copies: &Copies, at: u64, width: Width) -> Option<u64> {
        match self.direct {
            Some(_) => copies.load(at, width).or_else(|| crate::direct::load(at, width)),
            None => self.ram.load(at, width),
        }
    }

    /// The exception for a fetch that reaches no memory.
    pub fn fetch_error(&self, address: u64) -> Trap {
        match self.direct {
            Some(_) => I::refused(Access::Execute, address),
            None => I::bus_error(Access::Execute, address).unwrap_or_else(|| I::illegal(&[0xff; 16])),
        }
    }
}
