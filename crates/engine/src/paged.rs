//! Memory behind an MMU: accesses that hit the software TLB, and those that miss it: page walks, devices, page crossings.

use crate::block::{Block, PAGE};
use crate::core::Core;
use crate::memory::GuestMemory;
use crate::page_index::PageIndex;
use crate::run::Engine;
use crate::tlb::{Flushed, Tlb};
use std::cell::Cell;
use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use trine_base::{CachedPage, Width};
use trine_ir::{Access, Hart, Hints, Isa, Leave, Trap};
use trine_memory::Ram;

/// Physical memory behind an MMU, the software TLB and the bus: a machine's.
#[repr(C)]
pub struct Paged<I: Isa> {
    /// Address translations.
    pub tlb: Tlb<I>,
    /// Guest RAM.
    pub ram: Arc<Ram>,
    /// The vCPU's bit for [`Ram::may_write`].
    pub(crate) writer: Cell<u8>,
}

impl<I: Isa> GuestMemory<I> for Paged<I> {
    type Source = Arc<Ram>;
    type Copies = ();
    const TLB: Option<usize> = Some(offset_of!(Self, tlb));
    const IDENTITY: bool = false;

    // SAFETY: by the trait: the caller keeps what it asks for.
    unsafe fn init(place: *mut Self, ram: Arc<Ram>) {
        // SAFETY: by the caller; zeros are a value of the TLB, and the other fields are written.
        unsafe {
            (&raw mut (*place).ram).write(ram);
            (&raw mut (*place).writer).write(Cell::new(1));
            (*place).tlb.start();
        }
    }

    fn ram(&self) -> Option<&Ram> {
        Some(&self.ram)
    }

    fn set_writer(&self, writer: u8) {
        self.writer.set(writer);
    }

    fn protect(&self, host: usize) {
        self.tlb.protect(host);
    }

    fn flush_page(&self, address: u64) -> Flushed {
        self.tlb.flush_page(address)
    }

    fn flush_local(&self) {
        self.tlb.flush_local();
    }

    fn flush_all(&self) {
        self.tlb.flush_all();
    }

    fn cached_pages(&self) -> Vec<CachedPage> {
        self.tlb.pages()
    }

    #[inline(always)]
    fn load(core: &Core<I, Self>, regime: usize, width: Width, address: u64) -> Result<u64, Leave> {
        core.paged_load(regime, width, address)
    }

    #[inline(always)]
    fn store(
        core: &Core<I, Self>,
        regime: usize,
        width: Width,
        address: u64,
        value: u64,
    ) -> Result<(), Leave> {
        core.paged_store(regime, width, address, value)
    }

    fn update(
        core: &Core<I, Self>,
        regime: usize,
        width: Width,
        address: u64,
        f: impl Fn(u64) -> Option<u64>,
    ) -> Result<u64, Leave> {
        core.paged_update(regime, width, address, f)
    }

    fn load_vector(core: &Core<I, Self>, hints: Hints, address: u64) -> Result<u128, Leave> {
        core.paged_load_vector(hints, address)
    }

    fn store_vector(core: &Core<I, Self>, hints: Hints, address: u64, value: u128) -> Result<(), Leave> {
        core.paged_store_vector(hints, address, value)
    }

    fn slow_load(core: &Core<I, Self>, regime: usize, width: Width, address: u64) -> Result<u64, Leave> {
        core.walk_and_load(regime, width, address)
    }

    fn slow_store(
        core: &Core<I, Self>,
        regime: usize,
        width: Width,
        address: u64,
        value: u64,
    ) -> Result<(), Leave> {
        core.walk_and_store(regime, width, address, value)
    }

    fn slow_load_vector(core: &Core<I, Self>, hints: Hints, address: u64) -> Result<u128, Leave> {
        core.walk_and_load_vector(hints, address)
    }

    fn slow_store_vector(core: &Core<I, Self>, hints: Hints, address: u64, value: u128) -> Result<(), Leave> {
        core.walk_and_store_vector(hints, address, value)
    }

    fn probe(core: &Core<I, Self>, regime: usize, access: Access, address: u64) -> Result<(), Leave> {
        let physical = core.translate(regime, address, access)?;
        if access == Access::Write { core.leave_code_alone(physical) } else { Ok(()) }
    }

    fn zero(core: &Core<I, Self>, address: u64, len: u64) -> Result<(), Leave> {
        core.paged_zero(address, len)
    }

    fn fetch_address(core: &Core<I, Self>, address: u64) -> Result<u64, Trap> {
        core.paged_fetch_address(address)
    }

    fn fetch_error(address: u64) -> Trap {
        I::bus_error(Access::Execute, address).unwrap_or_else(|| I::illegal(&[0xff; 16]))
    }

    fn fetch(&self, _copies: &(), at: u64, width: Width) -> Option<u64> {
        self.ram.load_any(at, width)
    }

    fn is_settled(&self, physical: u64) -> bool {
        self.ram.is_settled(physical)
    }

    fn settle(engine: &Engine<I, Self>, physical: u64) {
        engine.make_code(physical);
    }

    fn changed_blocks(pages: &PageIndex<I, Self>, start: u64, end: u64) -> Vec<*mut Block<I, Self>> {
        // The writer made the page data again: the next write to it would not be noted for any of its blocks.
        pages.of_pages(start / PAGE, end.div_ceil(PAGE).saturating_sub(1))
    }
}

/// A value at any address. Guest memory changes while it is accessed: what is not aligned for an atomic access is read and
/// written by volatile ones, once.
#[derive(Clone, Copy)]
#[repr(C, packed)]
pub(crate) struct Unaligned<T>(pub T);

/// Loads from a host address inside guest RAM.
///
/// # Safety
/// `host .. host + width` lies inside the mapping of a live [`trine_memory::Ram`].
#[inline(always)]
unsafe fn host_load(host: usize, width: Width) -> u64 {
    let p = host as *mut u8;
    // SAFETY: by the caller. Each type is accessed at addresses of its alignment, of which the last three need none.
    unsafe {
        match width {
            Width::B1 => AtomicU8::from_ptr(p).load(Ordering::Relaxed) as u64,
            Width::B2 if host & 1 == 0 => AtomicU16::from_ptr(p.cast()).load(Ordering::Relaxed) as u64,
            Width::B4 if host & 3 == 0 => AtomicU32::from_ptr(p.cast()).load(Ordering::Relaxed) as u64,
            Width::B8 if host & 7 == 0 => AtomicU64::from_ptr(p.cast()).load(Ordering::Relaxed),
            Width::B2 => (p as *const Unaligned<u16>).read_volatile().0 as u64,
            Width::B4 => (p as *const Unaligned<u32>).read_volatile().0 as u64,
            Width::B8 => (p as *const Unaligned<u64>).read_volatile().0,
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
    // SAFETY: as in `host_load`.
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
            Width::B2 => (p as *mut Unaligned<u16>).write_volatile(Unaligned(value as u16)),
            Width::B4 => (p as *mut Unaligned<u32>).write_volatile(Unaligned(value as u32)),
            Width::B8 => (p as *mut Unaligned<u64>).write_volatile(Unaligned(value)),
        }
    }
}

impl<I: Isa> Core<I, Paged<I>> {
    /// Loads from a virtual address in `regime`.
    #[inline(always)]
    pub(crate) fn paged_load(&self, regime: usize, width: Width, address: u64) -> Result<u64, Leave> {
        match self.memory.tlb.probe(regime, address, width.bytes(), false) {
            // SAFETY: a TLB entry maps a page of RAM, and the probe checked that the access stays
            // inside it.
            Some(host) => Ok(unsafe { host_load(host, width) }),
            None => self.walk_and_load(regime, width, address),
        }
    }

    /// Stores to a virtual address in `regime`.
    #[inline(always)]
    pub(crate) fn paged_store(
        &self,
        regime: usize,
        width: Width,
        address: u64,
        value: u64,
    ) -> Result<(), Leave> {
        match self.memory.tlb.probe(regime, address, width.bytes(), true) {
            Some(host) => {
                // SAFETY: as in `load`; a write entry is never of a page that holds translated code.
                unsafe { host_store(host, width, value) };
                Ok(())
            }
            None => self.walk_and_store(regime, width, address, value),
        }
    }

    /// The physical address of a fetch.
    pub(crate) fn paged_fetch_address(&self, address: u64) -> Result<u64, Trap> {
        let regime = I::fetch_regime(self.mode.get());
        if let Some(physical) = self.memory.tlb.fetch(regime, address) {
            return Ok(physical);
        }
        let mapping = I::walk(self, regime, address, Access::Execute)?;
        if !self.memory.ram.is_fetched_from(mapping.page) {
            return Err(Paged::<I>::fetch_error(address));
        }
        self.memory.tlb.insert_fetch(regime, address, &mapping);
        if !mapping.global {
            self.runs_local(regime);
        }
        Ok(mapping.page | address & 0xfff)
    }

    /// The physical address of a virtual one; enters the page into the TLB if it is RAM.
    pub fn translate(&self, regime: usize, address: u64, access: Access) -> Result<u64, Leave> {
        let mapping = I::walk(self, regime, address, access).map_err(|t| self.raise(t))?;
        if let Some(host) = self.memory.ram.host_address(mapping.page)
            && !self.debug.is_watched(address)
        {
            let writable = mapping.write && self.memory.ram.may_write(mapping.page, self.memory.writer.get());
            self.memory.tlb.insert(regime, address, host, &mapping, writable);
        }
        Ok(mapping.page | address & 0xfff)
    }

    /// Before a store: leaves if the store would change code that the CPU must see at once, and the
    /// instruction is not executed alone yet.
    pub(crate) fn leave_code_alone(&self, physical: u64) -> Result<(), Leave> {
        let waits = I::CODE_COHERENT && !self.alone.get() && self.memory.ram.is_code(physical);
        if waits { Err(Leave::Alone) } else { Ok(()) }
    }

    /// A load that reaches nothing: gives ones, unless that is an exception.
    pub(crate) fn read_nothing(&self, width: Width, access: Access, address: u64) -> Result<u64, Leave> {
        self.bus_error(access, address)?;
        Ok(width.mask())
    }

    /// A load that missed.
    #[cold]
    #[inline(never)]
    pub(crate) fn walk_and_load(&self, regime: usize, width: Width, address: u64) -> Result<u64, Leave> {
        let n = width.bytes();
        let first = self.translate(regime, address, Access::Read)?;
        self.watch(Access::Read, address, n)?;
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
        if let Some(value) = self.memory.ram.load_any(at, width) {
            return Ok(value);
        }
        self.sync_clock();
        self.bus
            .read_as(self.vcpu, at, width)
            .map_or_else(|| self.read_nothing(width, Access::Read, address), Ok)
    }

    /// A store that missed.
    #[cold]
    #[inline(never)]
    pub(crate) fn walk_and_store(
        &self,
        regime: usize,
        width: Width,
        address: u64,
        value: u64,
    ) -> Result<(), Leave> {
        let n = width.bytes();
        // Registers may have more bits than are stored, and devices would see them.
        let value = value & width.mask();
        let first = self.translate(regime, address, Access::Write)?;
        self.watch(Access::Write, address, n)?;
        let here = 0x1000 - (address & 0xfff);
        if here >= n {
            self.leave_code_alone(first)?;
            return self.phys_write(first, width, value, address);
        }
        let second = self.translate(regime, address.wrapping_add(here), Access::Write)?;
        self.leave_code_alone(first)?;
        self.leave_code_alone(second)?;
        for at in [first, second] {
            if !self.memory.ram.contains(at, 1) && here < n {
                // A device register cannot be written in pieces, except on CPUs without bus errors.
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
        if self.memory.ram.store(at, width, value).is_some() {
            return Ok(());
        }
        self.sync_clock();
        self.bus
            .write_as(self.vcpu, at, width, value)
            .map_or_else(|| self.bus_error(Access::Write, address), Ok)
    }

    fn paged_update(
        &self,
        regime: usize,
        width: Width,
        address: u64,
        f: impl Fn(u64) -> Option<u64>,
    ) -> Result<u64, Leave> {
        if !width.aligned(address) {
            self.watch_update(address, width.bytes())?;
            return self.update_unaligned(regime, width, address, f);
        }
        let at = self.translate(regime, address, Access::Write)?;
        self.watch_update(address, width.bytes())?;
        self.leave_code_alone(at)?;
        loop {
            let Some(old) = self.memory.ram.load(at, width) else {
                return self.read_nothing(width, Access::Write, address);
            };
            let Some(new) = f(old) else { return Ok(old) };
            match self.memory.ram.compare_exchange(at, width, old, new) {
                Some(found) if found == old => return Ok(old),
                Some(_) => {}
                None => return self.read_nothing(width, Access::Write, address),
            }
        }
    }

    /// Stores zeros to an aligned range inside one page.
    fn paged_zero(&self, address: u64, len: u64) -> Result<(), Leave> {
        let physical = self.translate(self.data_regime(), address, Access::Write)?;
        self.watch(Access::Write, address, len)?;
        if !self.memory.ram.contains(physical, len) {
            return self.bus_error(Access::Write, address);
        }
        self.leave_code_alone(physical)?;
        for offset in (0..len).step_by(8) {
            self.memory.ram.store(physical + offset, Width::B8, 0);
        }
        Ok(())
    }
}
