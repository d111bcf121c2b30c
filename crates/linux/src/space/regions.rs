//! The list of mapped regions of an address space: lookup, free gaps, and growing mappings.

use super::*;

/// A mapping.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub end: u64,
    /// `PROT_*` flags, as the program set them.
    pub protection: u32,
    pub shared: bool,
    /// Its file, as `/proc/self/maps` shows it.
    pub file: Option<Arc<Mapped>>,
    /// The offset of the region in the file.
    pub offset: u64,
    /// The name at the end of the line in `/proc/self/maps`, if there is no file.
    pub name: String,
    /// Whether it grows downwards when the page below it is touched (`MAP_GROWSDOWN`), which the host does.
    pub grows: bool,
    /// The alignment of its addresses: [`PAGE`], or the size of its huge pages.
    pub align: u64,
}

/// A mapped file.
#[derive(Debug, Default)]
pub(super) struct Mapped {
    pub device: u64,
    pub inode: u64,
    pub name: String,
}

/// A vCPU that fetches code here.
pub(super) struct Owner {
    /// The process of its thread: several processes may share an address space.
    pub process: usize,
    pub thread: i32,
    pub code: Arc<dyn CodeOwner>,
}

pub(super) struct Inner {
    pub regions: BTreeMap<u64, Region>,
    /// Start addresses of the growing mappings.
    pub growing: BTreeSet<u64>,
    /// Pages from which code was fetched.
    pub code: BTreeSet<u64>,
    pub owners: Vec<Owner>,
    pub brk_start: u64,
    pub brk: u64,
    /// Addresses of the debugger's breakpoints.
    pub stops: BTreeSet<u64>,
    /// Mappings are placed below this address; the stack grows above it.
    pub top: u64,
}

impl Default for Inner {
    fn default() -> Inner {
        Inner {
            regions: BTreeMap::new(),
            growing: BTreeSet::new(),
            code: BTreeSet::new(),
            owners: Vec::new(),
            brk_start: 0,
            brk: 0,
            stops: BTreeSet::new(),
            top: END - LEAST_ROOM,
        }
    }
}

impl Inner {
    /// Cuts regions so that none crosses `at`.
    pub(super) fn split(&mut self, at: u64) {
        let Some((&start, region)) = self.regions.range_mut(..at).next_back() else { return };
        if region.end > at {
            let mut rest = region.clone();
            region.end = at;
            rest.offset += at - start;
            self.put(at, rest);
        }
    }

    /// Removes and returns the regions of a range.
    pub(super) fn remove(&mut self, start: u64, end: u64) -> Vec<(u64, Region)> {
        self.split(start);
        self.split(end);
        let keys: Vec<u64> = self.regions.range(start..end).map(|(k, _)| *k).collect();
        keys.into_iter().filter_map(|k| Some((k, self.take(k)?))).collect()
    }

    /// Adds a region where there is none.
    pub(super) fn put(&mut self, start: u64, region: Region) {
        if region.grows {
            self.growing.insert(start);
        }
        self.regions.insert(start, region);
    }

    /// Removes and returns the region that begins at `start`.
    pub(super) fn take(&mut self, start: u64) -> Option<Region> {
        self.growing.remove(&start);
        self.regions.remove(&start)
    }

    /// Tells the vCPUs that pages have changed from which they fetched code.
    pub(super) fn forget_code(&mut self, start: u64, end: u64) {
        // The program may give a range that ends before it begins.
        if start >= end {
            return;
        }
        let pages: Vec<u64> = self.code.range(start & !(PAGE - 1)..end).copied().collect();
        for page in pages {
            self.code.remove(&page);
            self.tell(|code| code.code_written(page / PAGE));
        }
    }

    /// The highest gap of `size` bytes below `top` whose start is a multiple of `align`. Room is left below
    /// growing mappings.
    pub(super) fn gap(&self, size: u64, align: u64, top: u64) -> Option<u64> {
        let place = |end: u64| Some(end.checked_sub(size)? & !(align - 1));
        let mut end = top;
        for (&start, region) in self.regions.range(..top).rev() {
            if place(end).is_some_and(|at| at >= region.end) {
                break;
            }
            end = end.min(if region.grows { start.saturating_sub(GUARD) } else { start });
        }
        place(end).filter(|&start| start >= START)
    }

    /// The address for a mapping for which the program gives none.
    pub(super) fn place(&self, size: u64, align: u64) -> Result<u64, Errno> {
        let found = self.gap(size, align, self.top).or_else(|| self.gap(size, align, END));
        found.ok_or(Errno(libc::ENOMEM))
    }

    /// Records how far the host has let mappings grow. There is nothing else between a growing mapping and
    /// the next lower one, so the pages that exist there now belong to it.
    pub(super) fn settle(&mut self) {
        let mut grown = Vec::new();
        for &start in &self.growing {
            let below = self.regions.range(..start).next_back().map_or(0, |(_, r)| r.end);
            if below == start || !is_mapped(start - PAGE) {
                continue;
            }
            let (mut free, mut there) = (below, start - PAGE);
            while free < there {
                let middle = free.midpoint(there) & !(PAGE - 1);
                if is_mapped(middle) { there = middle } else { free = middle + PAGE }
            }
            grown.push((start, there));
        }
        for (start, now) in grown {
            if let Some(mut region) = self.take(start) {
                region.offset = 0;
                self.put(now, region);
            }
        }
    }

    /// The region that contains this address.
    pub(super) fn region_at(&self, at: u64) -> Option<&Region> {
        self.regions.range(..=at).next_back().map(|(_, r)| r).filter(|r| r.end > at)
    }

    pub(super) fn is_free(&self, start: u64, end: u64) -> bool {
        self.regions.range(..end).next_back().is_none_or(|(_, r)| r.end <= start)
    }

    /// The start of the growing mapping for `mprotect(start, …, PROT_GROWSDOWN)`, all of which is changed.
    pub(super) fn grown_from(&self, start: u64, end: u64) -> Result<u64, Errno> {
        let at = self.regions.range(..end).rev().take_while(|(_, r)| r.end > start).last();
        let (&(mut from), region) = at.ok_or(Errno(libc::ENOMEM))?;
        if !region.grows {
            return Err(Errno(libc::EINVAL));
        }
        // Parts with the same protection are one mapping on the host.
        while let Some((&lower, _)) = self
            .regions
            .range(..from)
            .next_back()
            .filter(|(_, r)| r.end == from && r.grows && r.protection == region.protection)
        {
            from = lower;
        }
        Ok(from)
    }

    /// The end of the contiguous mappings from `start` on.
    pub(super) fn mapped_end(&self, start: u64) -> u64 {
        let mut end = start;
        while let Some((_, region)) = self.regions.range(..=end).next_back().filter(|(_, r)| r.end > end) {
            end = region.end;
        }
        end
    }

    /// Tells the owners of translations. All threads of a program share theirs, and are told at once.
    pub(super) fn tell(&self, what: impl Fn(&dyn CodeOwner)) {
        let same = |a: &Owner, b: &Owner| Arc::as_ptr(&a.code).addr() == Arc::as_ptr(&b.code).addr();
        for (i, owner) in self.owners.iter().enumerate() {
            if !self.owners[..i].iter().any(|before| same(before, owner)) {
                what(&*owner.code);
            }
        }
    }

    pub(super) fn insert(&mut self, start: u64, region: Region) {
        self.forget_code(start, region.end);
        self.remove(start, region.end);
        self.put(start, region);
    }
}
