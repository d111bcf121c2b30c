//! The software TLB: per vCPU and translation regime, direct-mapped, probed inline by generated
//! code.

use std::cell::Cell;
use trine_ir::{Flush, Mapping};

/// log2 of the entries of one regime.
pub const BITS: u32 = 9;
/// Entries of one regime.
pub const ENTRIES: usize = 1 << BITS;
/// Regimes kept apart at most.
pub const REGIMES: usize = 4;
/// A tag that no page has.
const NONE: u64 = 1;

/// One page. A tag is the page's virtual address, or [`NONE`].
#[repr(C)]
pub struct Entry {
    /// Loads.
    pub read: Cell<u64>,
    /// Stores; never of a page that holds translated code.
    pub write: Cell<u64>,
    /// Added to a virtual address it gives the host address.
    pub addend: Cell<u64>,
    /// Makes the size a power of two.
    pad: u64,
}

/// One page that code was fetched from.
struct Fetch {
    page: Cell<u64>,
    physical: Cell<u64>,
}

/// Pages of code remembered in one regime.
const FETCHES: usize = 256;

/// log2 of the size of [`Entry`].
pub const ENTRY_BITS: u32 = 5;
const _: () = assert!(size_of::<Entry>() == 1 << ENTRY_BITS);

impl Entry {
    const fn empty() -> Entry {
        Entry { read: Cell::new(NONE), write: Cell::new(NONE), addend: Cell::new(0), pad: 0 }
    }

    fn clear(&self) {
        self.read.set(NONE);
        self.write.set(NONE);
    }
}

/// The TLB of one vCPU.
#[repr(C)]
pub struct Tlb {
    entries: [[Entry; ENTRIES]; REGIMES],
    fetches: [[Fetch; FETCHES]; REGIMES],
    /// Whether a regime holds entries that are not in every address space.
    local: [Cell<bool>; REGIMES],
}

impl Default for Tlb {
    fn default() -> Self {
        Tlb {
            entries: [const { [const { Entry::empty() }; ENTRIES] }; REGIMES],
            fetches: [const { [const { Fetch { page: Cell::new(NONE), physical: Cell::new(0) } }; FETCHES] };
                REGIMES],
            local: [const { Cell::new(false) }; REGIMES],
        }
    }
}

impl Tlb {
    #[inline(always)]
    fn entry(&self, regime: usize, address: u64) -> &Entry {
        &self.entries[regime & (REGIMES - 1)][(address >> 12) as usize & (ENTRIES - 1)]
    }

    /// Offset of a regime's first entry from the start of the TLB, in bytes.
    pub const fn regime_offset(regime: usize) -> usize {
        (regime & (REGIMES - 1)) * ENTRIES * size_of::<Entry>()
    }

    /// Host address of `address` where an access of `bytes` hits and stays inside its page.
    #[inline(always)]
    pub fn probe(&self, regime: usize, address: u64, bytes: u64, write: bool) -> Option<usize> {
        let entry = self.entry(regime, address);
        let last = address.wrapping_add(bytes - 1) & !0xfff;
        let tag = if write { &entry.write } else { &entry.read };
        // Where the access crosses into the next page, `last` is that page, whose entry is another.
        (tag.get() == last).then(|| address.wrapping_add(entry.addend.get()) as usize)
    }

    fn fetch_entry(&self, regime: usize, address: u64) -> &Fetch {
        &self.fetches[regime & (REGIMES - 1)][(address >> 12) as usize & (FETCHES - 1)]
    }

    /// Physical address that code at `address` is fetched from, if it is known.
    pub fn fetch(&self, regime: usize, address: u64) -> Option<u64> {
        let entry = self.fetch_entry(regime, address);
        (entry.page.get() == address & !0xfff).then(|| entry.physical.get() | address & 0xfff)
    }

    /// Remembers where a page of code lies.
    pub fn insert_fetch(&self, regime: usize, address: u64, mapping: &Mapping) {
        let entry = self.fetch_entry(regime, address);
        entry.page.set(address & !0xfff);
        entry.physical.set(mapping.page);
        self.note_local(regime, mapping);
    }

    fn note_local(&self, regime: usize, mapping: &Mapping) {
        if !mapping.global {
            self.local[regime & (REGIMES - 1)].set(true);
        }
    }

    /// Enters a page; `host` is the host address of its first byte.
    pub fn insert(&self, regime: usize, address: u64, host: usize, mapping: &Mapping, writable: bool) {
        let entry = self.entry(regime, address);
        let page = address & !0xfff;
        let tag = |allowed: bool| if allowed { page } else { NONE };
        entry.read.set(tag(mapping.read));
        entry.write.set(tag(mapping.write && writable));
        entry.addend.set((host as u64).wrapping_sub(page));
        self.note_local(regime, mapping);
    }

    /// Forgets translations.
    pub fn flush(&self, what: Flush) {
        for regime in 0..REGIMES {
            match what {
                Flush::All => self.clear(regime),
                Flush::Page(address) => {
                    self.entry(regime, address).clear();
                    self.fetch_entry(regime, address).page.set(NONE);
                }
                Flush::AddressSpace(_) | Flush::Local if self.local[regime].get() => self.clear(regime),
                Flush::AddressSpace(_) | Flush::Local => {}
            }
        }
    }

    fn clear(&self, regime: usize) {
        self.entries[regime].iter().for_each(Entry::clear);
        self.fetches[regime].iter().for_each(|f| f.page.set(NONE));
        self.local[regime].set(false);
    }

    /// Takes the right to write away from every entry of the page at host address `host`.
    pub fn protect(&self, host: usize) {
        for entry in self.entries.iter().flatten() {
            let page = entry.write.get();
            if page != NONE && page.wrapping_add(entry.addend.get()) == host as u64 {
                entry.write.set(NONE);
            }
        }
    }
}
