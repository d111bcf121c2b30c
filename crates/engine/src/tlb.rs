//! The software TLB: per vCPU and translation regime, direct-mapped, probed by generated code: in a thunk, behind the pairs
//! that it probes inline.

use std::cell::Cell;
use trine_base::CachedPage;
use trine_ir::{Isa, Mapping, Regimes};

/// log2 of the entries of one regime, which reach 16 MiB. With 512 entries a sieve of 2 MB took twice the
/// time.
pub const BITS: u32 = 12;
/// Entries of one regime.
pub const ENTRIES: usize = 1 << BITS;
/// A tag of no page: nor what is left of the address of an access that is not aligned ([`Pair`]), which has bits in the
/// lowest four only.
const NONE: u64 = 0x800;

/// One page. A tag is the page's virtual address, or [`NONE`].
#[repr(C)]
pub struct Entry {
    /// Tag for loads.
    pub read: Cell<u64>,
    /// Tag for stores; never of a page that holds translated code.
    pub write: Cell<u64>,
    /// Added to a virtual address, gives the host address.
    pub addend: Cell<u64>,
    /// Makes the size a power of two.
    pad: u64,
}

/// The page that accesses with one base register hit last; checked before the table.
#[repr(C)]
pub struct Pair {
    /// Its virtual address, or [`NONE`].
    pub page: Cell<u64>,
    /// Added to a virtual address in it, gives the host address.
    pub addend: Cell<u64>,
}

/// Pairs of one regime and kind of access: half of them for base registers, half for places in the code.
pub const PAIRS: usize = 64;

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
    fn clear(&self) {
        self.read.set(NONE);
        self.write.set(NONE);
    }
}

/// Which large pages may have entries. An entry covers 4 KiB, but a flush of any address of a large page
/// covers all of it; so flushes check here first. A set of hashes: it may contain a page without entries, but
/// never lacks one with entries.
struct Large {
    /// The sizes that were seen, one bit for each log2 of bytes.
    sizes: Cell<u64>,
    /// One bit for the hash of a large page's number and size.
    seen: [Cell<u64>; LARGE_WORDS],
}

/// Words of hashes of large pages.
const LARGE_WORDS: usize = 64;

impl Large {
    fn word_and_bit(&self, address: u64, size: u32) -> (&Cell<u64>, u64) {
        let hash = ((address >> size) ^ (size as u64) << 58).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (&self.seen[(hash >> 58) as usize & (LARGE_WORDS - 1)], 1 << (hash >> 52 & 63))
    }

    fn note(&self, address: u64, size: u8) {
        if size > 12 && size < 64 {
            let (word, bit) = self.word_and_bit(address, size as u32);
            word.set(word.get() | bit);
            self.sizes.set(self.sizes.get() | 1 << size);
        }
    }

    /// log2 of the largest page around `address` that may have entries, if there is one.
    fn around(&self, address: u64) -> Option<u32> {
        let mut sizes = self.sizes.get();
        while sizes != 0 {
            let size = 63 - sizes.leading_zeros();
            let (word, bit) = self.word_and_bit(address, size);
            if word.get() & bit != 0 {
                return Some(size);
            }
            sizes &= !(1 << size);
        }
        None
    }

    fn clear(&self) {
        if self.sizes.replace(0) != 0 {
            self.seen.iter().for_each(|word| word.set(0));
        }
    }
}

/// The extent of a flush of one page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flushed {
    /// Only that page of 4 KiB had entries.
    Page,
    /// A large page around it may have had entries anywhere in it.
    Large,
}

/// One element for each regime of a CPU.
type Each<I, T> = <<I as Isa>::Regimes as Regimes>::Each<T>;

/// The TLB of one vCPU. No entry spans two lines of the host's caches.
#[repr(C, align(64))]
pub struct Tlb<I: Isa> {
    entries: Each<I, [Entry; ENTRIES]>,
    fetches: Each<I, [Fetch; FETCHES]>,
    /// What generated code checks before the entries; valid while the entries that they were taken from would
    /// be.
    pub pairs: Each<I, [Pair; PAIRS * 2]>,
    /// 1 if a pair was filled since all were forgotten.
    pub pairs_used: Cell<u32>,
    /// Whether a regime holds entries that are not in every address space.
    local: Each<I, Cell<bool>>,
    /// For each regime, which groups of entries may hold any: at most flushes, few do.
    used: Each<I, Cell<u64>>,
    /// The large pages behind the entries of all regimes.
    large: Large,
}

/// Entries of one group.
const GROUP: usize = ENTRIES / 64;

impl<I: Isa> Tlb<I> {
    /// Number of regimes; callers pass one below it.
    pub const REGIMES: usize = I::Regimes::COUNT;

    /// Makes a TLB of memory that is all zeros, in which page 0 would seem mapped: must be called before any
    /// look-up.
    pub fn start(&self) {
        for regime in 0..Self::REGIMES {
            self.used.as_ref()[regime].set(u64::MAX);
            self.clear(regime);
        }
        self.pairs_used.set(1);
        self.forget_pairs();
    }

    /// Index of a pair.
    pub const fn pair(regime: usize, n: usize, write: bool) -> usize {
        assert!(regime < Self::REGIMES);
        (regime * PAIRS + n % PAIRS) * 2 + write as usize
    }

    fn forget_pairs(&self) {
        if self.pairs_used.replace(0) != 0 {
            self.pairs.as_ref().as_flattened().iter().for_each(|pair| pair.page.set(NONE));
        }
    }

    #[inline(always)]
    fn entry(&self, regime: usize, address: u64) -> &Entry {
        &self.entries.as_ref()[regime][(address >> 12) as usize & (ENTRIES - 1)]
    }

    /// Offset of a regime's first entry from the start of the TLB, in bytes.
    pub const fn regime_offset(regime: usize) -> usize {
        assert!(regime < Self::REGIMES);
        regime * ENTRIES * size_of::<Entry>()
    }

    /// Host address of `address` if an access of `bytes` hits and stays inside its page.
    #[inline(always)]
    pub fn probe(&self, regime: usize, address: u64, bytes: u64, write: bool) -> Option<usize> {
        let entry = self.entry(regime, address);
        let last = address.wrapping_add(bytes - 1) & !0xfff;
        let tag = if write { &entry.write } else { &entry.read };
        // If the access crosses into the next page, `last` is that page, which has another entry.
        (tag.get() == last).then(|| address.wrapping_add(entry.addend.get()) as usize)
    }

    fn fetch_entry(&self, regime: usize, address: u64) -> &Fetch {
        &self.fetches.as_ref()[regime][(address >> 12) as usize & (FETCHES - 1)]
    }

    /// Physical address that code at `address` is fetched from, if it is known.
    pub fn fetch(&self, regime: usize, address: u64) -> Option<u64> {
        let entry = self.fetch_entry(regime, address);
        (entry.page.get() == address & !0xfff).then(|| entry.physical.get() | address & 0xfff)
    }

    /// Remembers the address of a page of code.
    pub fn insert_fetch(&self, regime: usize, address: u64, mapping: &Mapping) {
        let entry = self.fetch_entry(regime, address);
        entry.page.set(address & !0xfff);
        entry.physical.set(mapping.page);
        self.note(regime, address, mapping);
    }

    /// Records what flushes need to know of a new entry.
    fn note(&self, regime: usize, address: u64, mapping: &Mapping) {
        let group = ((address >> 12) as usize & (ENTRIES - 1)) / GROUP;
        let used = &self.used.as_ref()[regime];
        used.set(used.get() | 1 << group);
        self.large.note(address, mapping.size);
        if !mapping.global {
            self.local.as_ref()[regime].set(true);
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
        self.note(regime, address, mapping);
    }

    /// Forgets all translations.
    pub fn flush_all(&self) {
        self.forget_pairs();
        (0..Self::REGIMES).for_each(|regime| self.clear(regime));
        self.large.clear();
    }

    /// Forgets translations that are not the same in every address space.
    pub fn flush_local(&self) {
        self.forget_pairs();
        (0..Self::REGIMES).filter(|&r| self.local.as_ref()[r].get()).for_each(|regime| self.clear(regime));
    }

    /// Forgets the translations of the page around `address`, and of the large page around that.
    pub fn flush_page(&self, address: u64) -> Flushed {
        self.forget_pairs();
        if let Some(size) = self.large.around(address) {
            (0..Self::REGIMES).for_each(|regime| self.clear_range(regime, address, size));
            return Flushed::Large;
        }
        for regime in 0..Self::REGIMES {
            self.entry(regime, address).clear();
            self.fetch_entry(regime, address).page.set(NONE);
        }
        Flushed::Page
    }

    /// Forgets the pages of the `2^size` bytes around `address`.
    fn clear_range(&self, regime: usize, address: u64, size: u32) {
        let inside = |tag: &Cell<u64>| tag.get() != NONE && (tag.get() ^ address) >> size == 0;
        let first = address >> size << size;
        let pages = 1u64 << (size - 12).min(BITS);
        for page in 0..pages {
            let entry = self.entry(regime, first.wrapping_add(page << 12));
            if inside(&entry.read) || inside(&entry.write) {
                entry.clear();
            }
        }
        self.fetches.as_ref()[regime].iter().filter(|f| inside(&f.page)).for_each(|f| f.page.set(NONE));
    }

    /// All entries; the physical addresses of those for data are the host's.
    pub fn pages(&self) -> Vec<CachedPage> {
        let mut pages = Vec::new();
        for regime in 0..Self::REGIMES {
            for entry in &self.entries.as_ref()[regime] {
                let (read, write) = (entry.read.get(), entry.write.get());
                if let Some(page) = [read, write].into_iter().find(|&tag| tag != NONE) {
                    let physical = page.wrapping_add(entry.addend.get());
                    let (read, write) = (read != NONE, write != NONE);
                    pages.push(CachedPage { regime, page, physical, read, write, execute: false });
                }
            }
            for fetch in self.fetches.as_ref()[regime].iter().filter(|f| f.page.get() != NONE) {
                let (page, physical) = (fetch.page.get(), fetch.physical.get());
                pages.push(CachedPage { regime, page, physical, read: false, write: false, execute: true });
            }
        }
        pages
    }

    fn clear(&self, regime: usize) {
        let mut used = self.used.as_ref()[regime].replace(0);
        while used != 0 {
            let first = used.trailing_zeros() as usize * GROUP;
            self.entries.as_ref()[regime][first..first + GROUP].iter().for_each(Entry::clear);
            used &= used - 1;
        }
        self.fetches.as_ref()[regime].iter().for_each(|f| f.page.set(NONE));
        self.local.as_ref()[regime].set(false);
    }

    /// Makes every entry for the page at host address `host` read-only.
    pub fn protect(&self, host: usize) {
        self.forget_pairs();
        for (entries, used) in self.entries.as_ref().iter().zip(self.used.as_ref()) {
            for (group, entries) in entries.chunks(GROUP).enumerate() {
                if used.get() >> group & 1 == 0 {
                    continue;
                }
                for entry in entries {
                    let page = entry.write.get();
                    if page != NONE && page.wrapping_add(entry.addend.get()) == host as u64 {
                        entry.write.set(NONE);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_isa_riscv::Rv64;

    const HOST: usize = 0x7000_0000_0000;

    fn mapping(page: u64, size: u8, global: bool) -> Mapping {
        Mapping { page, read: true, write: true, execute: true, global, size }
    }

    fn tlb() -> Box<Tlb<Rv64>> {
        // SAFETY: all fields are cells of numbers and booleans, for which zeros are valid.
        let tlb = unsafe { Box::<Tlb<Rv64>>::new_zeroed().assume_init() };
        tlb.start();
        tlb
    }

    /// Enters a page of data and of code whose physical address is its virtual one.
    fn enter(tlb: &Tlb<Rv64>, address: u64, size: u8, global: bool) {
        tlb.insert(1, address, HOST, &mapping(address, size, global), true);
        tlb.insert_fetch(1, address, &mapping(address, size, global));
    }

    fn has(tlb: &Tlb<Rv64>, address: u64) -> (bool, bool) {
        (tlb.probe(1, address, 8, false).is_some(), tlb.fetch(1, address).is_some())
    }

    #[test]
    fn a_probe_stays_inside_the_page() {
        let tlb = tlb();
        enter(&tlb, 0x5000, 12, false);
        assert_eq!(tlb.probe(1, 0x5008, 8, true), Some(HOST + 8));
        assert_eq!(tlb.probe(1, 0x5ff8, 8, false), Some(HOST + 0xff8));
        assert_eq!(tlb.probe(1, 0x5ff9, 8, false), None, "crosses into the next page");
        assert_eq!(tlb.probe(0, 0x5008, 8, false), None, "another regime");
        assert_eq!(tlb.probe(1, 0x5008 + ((ENTRIES as u64) << 12), 8, false), None, "same entry, other page");
        assert_eq!(tlb.probe(1, u64::MAX, 1, false), None);
    }

    #[test]
    fn a_flush_of_a_small_page_leaves_its_neighbours() {
        let tlb = tlb();
        [0x4000, 0x5000, 0x6000].into_iter().for_each(|a| enter(&tlb, a, 12, false));
        assert_eq!(tlb.flush_page(0x5123), Flushed::Page);
        assert_eq!(
            [0x4000, 0x5000, 0x6000].map(|a| has(&tlb, a)),
            [(true, true), (false, false), (true, true)]
        );
    }

    #[test]
    fn a_flush_of_any_address_forgets_the_whole_large_page() {
        for size in [16, 21, 22, 30, 39] {
            let tlb = tlb();
            let (start, end) = (3u64 << size, 4u64 << size);
            let (first, last) = (start + 0x1000, end - 0x2000);
            [start - 0x1000, first, last, end].into_iter().for_each(|a| {
                enter(&tlb, a, if (start..end).contains(&a) { size } else { 12 }, true);
            });
            // Outside of it, it stays.
            assert_eq!(tlb.flush_page(end + 0x5000), Flushed::Page, "2^{size}");
            assert_eq!((has(&tlb, first), has(&tlb, last)), ((true, true), (true, true)), "2^{size}");
            assert_eq!(tlb.flush_page(start), Flushed::Large, "2^{size}");
            assert_eq!((has(&tlb, first), has(&tlb, last)), ((false, false), (false, false)), "2^{size}");
            assert_eq!((has(&tlb, start - 0x1000), has(&tlb, end)), ((true, true), (true, true)), "2^{size}");
        }
    }

    #[test]
    fn global_pages_stay_where_an_address_space_goes() {
        let tlb = tlb();
        tlb.insert(0, 0x5000, HOST, &mapping(0x5000, 12, false), true);
        enter(&tlb, 0x5000, 12, true);
        tlb.flush_local();
        assert_eq!((tlb.probe(0, 0x5000, 1, false), has(&tlb, 0x5000)), (None, (true, true)));
        tlb.flush_all();
        assert_eq!(has(&tlb, 0x5000), (false, false));
    }

    #[test]
    fn a_protected_page_has_no_write_entry() {
        let tlb = tlb();
        enter(&tlb, 0x5000, 12, false);
        tlb.insert(2, 0x9000, HOST, &mapping(0x5000, 12, false), true);
        tlb.protect(HOST);
        for (regime, address) in [(1, 0x5000), (2, 0x9000)] {
            assert_eq!(tlb.probe(regime, address, 1, true), None);
            assert!(tlb.probe(regime, address, 1, false).is_some());
        }
    }
}
