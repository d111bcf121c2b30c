//! The address space of a program: which parts of the host process's are the guest's.
//!
//! Guest code is never executed by the host, so no guest page is mapped executable; who may fetch code from where is
//! noted here. Mappings lie below [`END`], where nothing of the monitor is.

use crate::call::{Context, get};
use crate::errno::Errno;
use crate::host;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use trine_engine::direct::Pages;
use trine_memory::CodeOwner;

/// Bytes of a page, of the host and of the guest.
pub const PAGE: u64 = 4096;
/// First address above the program's: half of Sv39, as on hardware.
pub const END: u64 = 1 << 38;
/// Lowest address that is chosen where the program names none. It may ask for lower ones; whether it gets them the
/// host's `vm.mmap_min_addr` decides.
pub const START: u64 = 0x1_0000;
/// Least room that is left for the stack at the highest addresses.
const LEAST_ROOM: u64 = 1 << 30;
/// Most room that is left for it, whatever its limit: the rest is the program's for other mappings.
const MOST_ROOM: u64 = END / 4;
/// What stays free below a mapping that grows (`stack_guard_gap` of Linux, by default).
const GUARD: u64 = 256 * PAGE;

/// A mapping.
#[derive(Clone, Debug)]
struct Region {
    end: u64,
    /// `PROT_*` as the program has them.
    protection: u32,
    shared: bool,
    /// What `/proc/self/maps` says of a file.
    file: Option<Arc<Mapped>>,
    /// Where the region begins in the file.
    offset: u64,
    /// What `/proc/self/maps` says at the end of the line, where there is no file.
    name: String,
    /// It grows downwards when the page below it is touched (`MAP_GROWSDOWN`): the host does that.
    grows: bool,
    /// What its addresses are multiples of: [`PAGE`], or the size of its huge pages.
    align: u64,
}

/// A mapped file.
#[derive(Debug, Default)]
struct Mapped {
    device: u64,
    inode: u64,
    name: String,
}

/// A mapping as others see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// First address.
    pub start: u64,
    /// First address behind.
    pub end: u64,
    /// `PROT_*` as the program has them.
    pub protection: u32,
    /// Shared with other processes.
    pub shared: bool,
    /// Path of the file on the host, where there is one. `/proc/self/maps` has the same.
    pub file: Option<String>,
    /// Where the mapping begins in the file.
    pub offset: u64,
}

/// A vCPU that fetches code here.
struct Owner {
    /// Whose thread it is: processes may share an address space.
    process: usize,
    thread: i32,
    code: Arc<dyn CodeOwner>,
}

struct Inner {
    regions: BTreeMap<u64, Region>,
    /// Where those begin that grow.
    growing: BTreeSet<u64>,
    /// Pages that code was fetched from.
    code: BTreeSet<u64>,
    owners: Vec<Owner>,
    brk_start: u64,
    brk: u64,
    /// Where a debugger stops the program.
    stops: BTreeSet<u64>,
    /// Below this address mappings are placed; above it the stack grows.
    top: u64,
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

/// An address space.
#[derive(Default)]
pub struct Space {
    inner: Mutex<Inner>,
    /// Number of the debugger's breakpoints.
    stops: AtomicUsize,
}

const EXEC: u32 = libc::PROT_EXEC as u32;
const WRITE: u32 = libc::PROT_WRITE as u32;
const READ: u32 = libc::PROT_READ as u32;
const PROTECTIONS: u32 = READ | WRITE | EXEC;

/// Protection of the host's mapping: readable where the guest may fetch, never executable.
fn host_protection(protection: u32) -> u64 {
    let read = if protection & EXEC != 0 { READ } else { 0 };
    (protection & (READ | WRITE) | read) as u64
}

fn round_up(size: u64) -> Option<u64> {
    round_up_to(size, PAGE)
}

/// The next multiple of `align`, which is a power of two.
fn round_up_to(size: u64, align: u64) -> Option<u64> {
    Some(size.checked_add(align - 1)? & !(align - 1))
}

/// Whether the host has anything mapped at a page.
fn is_mapped(page: u64) -> bool {
    let mut resident = 0u8;
    host_call(libc::SYS_mincore, [page, PAGE, &raw mut resident as u64, 0, 0, 0]) != Err(Errno(libc::ENOMEM))
}

/// Bytes of a huge page where the program does not say (`/proc/meminfo`).
fn usual_huge_page() -> u64 {
    static USUAL: OnceLock<u64> = OnceLock::new();
    *USUAL.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = text
            .lines()
            .find_map(|l| l.strip_prefix("Hugepagesize:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.map(|kib| kib << 10).filter(|size| size.is_power_of_two()).unwrap_or(2 << 20)
    })
}

/// What the addresses of a mapping must be multiples of, and whether its size is rounded up to that, too: that of a
/// file of huge pages is not.
fn alignment(m: &Mapping) -> (u64, bool) {
    if m.flags & libc::MAP_ANONYMOUS as u32 == 0 {
        // SAFETY: a structure of integers.
        let mut about: libc::statfs = unsafe { std::mem::zeroed() };
        // SAFETY: writes a structure of ours.
        let known = unsafe { libc::fstatfs(m.fd, &mut about) } == 0;
        let huge = known && about.f_type == libc::HUGETLBFS_MAGIC;
        return (Some(about.f_bsize as u64).filter(|s| huge && s.is_power_of_two()).unwrap_or(PAGE), false);
    }
    if m.flags & libc::MAP_HUGETLB as u32 == 0 {
        return (PAGE, true);
    }
    match m.flags >> libc::MAP_HUGE_SHIFT & libc::MAP_HUGE_MASK as u32 {
        0 => (usual_huge_page(), true),
        // Of a size that the host does not have it complains.
        log if (12..=34).contains(&log) => (1 << log, true),
        _ => (PAGE, true),
    }
}

/// Whether all of a range may be a program's, and its end is an address.
pub fn is_programs(start: u64, size: u64) -> bool {
    start <= END && size <= END - start
}

/// An address that no process has, on any kernel: not canonical.
pub const NOWHERE: u64 = 1 << 63;

/// What the host's kernel gets for an address of the program: above [`END`] is the monitor, and for a program nothing. The
/// kernel complains of it where, and when, it looks at it.
pub fn programs(at: u64) -> u64 {
    if at < END { at } else { NOWHERE }
}

/// The same for the start of a range.
pub fn programs_range(start: u64, size: u64) -> u64 {
    if is_programs(start, size) { start } else { NOWHERE }
}

/// The same for what may be a number: those that are no address at all stay.
pub fn programs_or_number(value: u64) -> u64 {
    if (END..NOWHERE).contains(&value) { NOWHERE } else { value }
}

fn view((&start, r): (&u64, &Region)) -> View {
    let file = r.file.as_ref().map(|f| f.name.clone());
    View { start, end: r.end, protection: r.protection, shared: r.shared, file, offset: r.offset }
}

/// A system call about mappings below [`END`].
fn host_call(number: i64, args: [u64; 6]) -> Result<u64, Errno> {
    // SAFETY: the callers check that the range is the program's, where nothing of ours is.
    unsafe { host::call(number, args) }
}

impl Inner {
    /// Cuts regions so that none crosses `at`.
    fn split(&mut self, at: u64) {
        let Some((&start, region)) = self.regions.range_mut(..at).next_back() else { return };
        if region.end > at {
            let mut rest = region.clone();
            region.end = at;
            rest.offset += at - start;
            self.put(at, rest);
        }
    }

    /// Takes the regions of a range out.
    fn remove(&mut self, start: u64, end: u64) -> Vec<(u64, Region)> {
        self.split(start);
        self.split(end);
        let keys: Vec<u64> = self.regions.range(start..end).map(|(k, _)| *k).collect();
        keys.into_iter().filter_map(|k| Some((k, self.take(k)?))).collect()
    }

    /// Puts a region where none is.
    fn put(&mut self, start: u64, region: Region) {
        if region.grows {
            self.growing.insert(start);
        }
        self.regions.insert(start, region);
    }

    /// Takes the region out that begins there.
    fn take(&mut self, start: u64) -> Option<Region> {
        self.growing.remove(&start);
        self.regions.remove(&start)
    }

    /// Tells the vCPUs that pages they fetched code from have changed.
    fn forget_code(&mut self, start: u64, end: u64) {
        // A program may name a range that ends before it begins.
        if start >= end {
            return;
        }
        let pages: Vec<u64> = self.code.range(start & !(PAGE - 1)..end).copied().collect();
        for page in pages {
            self.code.remove(&page);
            self.tell(|code| code.code_written(page / PAGE));
        }
    }

    /// Highest gap of `size` bytes below `top` that begins at a multiple of `align`. Below what grows there is room left.
    fn gap(&self, size: u64, align: u64, top: u64) -> Option<u64> {
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

    /// Where a mapping goes for which the program names no address.
    fn place(&self, size: u64, align: u64) -> Result<u64, Errno> {
        let found = self.gap(size, align, self.top).or_else(|| self.gap(size, align, END));
        found.ok_or(Errno(libc::ENOMEM))
    }

    /// Notes how far the host has let mappings grow. Nothing else lies between one and the next lower mapping, so that
    /// the pages which are there now are those that it grew by.
    fn settle(&mut self) {
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

    /// The region that has this address.
    fn region_at(&self, at: u64) -> Option<&Region> {
        self.regions.range(..=at).next_back().map(|(_, r)| r).filter(|r| r.end > at)
    }

    fn is_free(&self, start: u64, end: u64) -> bool {
        self.regions.range(..end).next_back().is_none_or(|(_, r)| r.end <= start)
    }

    /// Where the growing mapping begins that `mprotect(start, …, PROT_GROWSDOWN)` is about: all of it is meant.
    fn grown_from(&self, start: u64, end: u64) -> Result<u64, Errno> {
        let at = self.regions.range(..end).rev().take_while(|(_, r)| r.end > start).last();
        let (&(mut from), region) = at.ok_or(Errno(libc::ENOMEM))?;
        if !region.grows {
            return Err(Errno(libc::EINVAL));
        }
        // Parts with the same protection are one mapping for the host.
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

    /// Where the mappings that begin at or before `start` and follow each other end.
    fn mapped_end(&self, start: u64) -> u64 {
        let mut end = start;
        while let Some((_, region)) = self.regions.range(..=end).next_back().filter(|(_, r)| r.end > end) {
            end = region.end;
        }
        end
    }

    /// Tells those who keep translations. All threads of a program share theirs, and are told at once.
    fn tell(&self, what: impl Fn(&dyn CodeOwner)) {
        let same = |a: &Owner, b: &Owner| Arc::as_ptr(&a.code).addr() == Arc::as_ptr(&b.code).addr();
        for (i, owner) in self.owners.iter().enumerate() {
            if !self.owners[..i].iter().any(|before| same(before, owner)) {
                what(&*owner.code);
            }
        }
    }

    fn insert(&mut self, start: u64, region: Region) {
        self.forget_code(start, region.end);
        self.remove(start, region.end);
        self.put(start, region);
    }
}

/// What is to be mapped.
pub struct Mapping {
    /// Where, or a hint.
    pub at: u64,
    /// Bytes.
    pub size: u64,
    /// `PROT_*`.
    pub protection: u32,
    /// `MAP_*`.
    pub flags: u32,
    /// File, or -1.
    pub fd: i32,
    /// Offset in the file.
    pub offset: u64,
}

const FIXED: u32 = libc::MAP_FIXED as u32;
const NO_REPLACE: u32 = libc::MAP_FIXED_NOREPLACE as u32;

impl Space {
    /// For what has nothing to do with where mappings are.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With mappings as far as they have grown.
    fn settled(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        inner.settle();
        inner
    }

    /// Leaves so much room for the stack at the highest addresses, within bounds, and gives how much that is.
    pub fn leave_room(&self, wanted: u64) -> u64 {
        let room = wanted.saturating_add(GUARD).clamp(LEAST_ROOM, MOST_ROOM) & !(PAGE - 1);
        self.lock().top = END - room;
        room - GUARD
    }

    /// Adds a vCPU, by its process (any number that no other one here has) and its thread's number there.
    pub fn add_owner(&self, process: usize, thread: i32, code: Arc<dyn CodeOwner>) {
        self.lock().owners.push(Owner { process, thread, code });
    }

    /// Numbers of a process's threads that have a vCPU here.
    pub fn threads(&self, process: usize) -> Vec<i32> {
        self.lock().owners.iter().filter(|o| o.process == process).map(|o| o.thread).collect()
    }

    /// All mappings, by address.
    pub fn views(&self) -> Vec<View> {
        self.settled().regions.iter().map(view).collect()
    }

    /// The mapping at an address.
    pub fn view_at(&self, at: u64) -> Option<View> {
        let inner = self.settled();
        inner.regions.range(..=at).next_back().filter(|(_, r)| r.end > at).map(view)
    }

    /// The vCPU of a thread is gone.
    pub fn remove_owner(&self, process: usize, thread: i32) {
        self.lock().owners.retain(|o| (o.process, o.thread) != (process, thread));
    }

    /// The vCPUs of a process are gone.
    pub fn remove_owners(&self, process: usize) {
        self.lock().owners.retain(|o| o.process != process);
    }

    /// Calls `f` while no other thread changes the address space; for `fork`.
    pub fn quiet<T>(&self, f: impl FnOnce() -> T) -> T {
        let _inner = self.lock();
        f()
    }

    /// In a process just forked: only the thread that forked is here, with its vCPU.
    pub fn only(&self, process: usize, thread: i32, code: Arc<dyn CodeOwner>) {
        self.lock().owners = vec![Owner { process, thread, code }];
    }

    /// Code in this range may have changed.
    pub fn code_changed(&self, start: u64, end: u64) {
        let inner = self.lock();
        if start < end && inner.code.range(start & !(PAGE - 1)..end).next().is_some() {
            inner.tell(|code| code.code_changed(start, end));
        }
    }

    /// Sets or removes a debugger's breakpoint: vCPUs stop before the instruction at `at`. The program's memory stays
    /// as it is. False where nothing is mapped.
    pub fn set_stop(&self, at: u64, wanted: bool) -> bool {
        let mut inner = self.settled();
        let found = inner.regions.range(..=at).next_back();
        if wanted && found.is_none_or(|(_, r)| r.end <= at) {
            return false;
        }
        let changed = if wanted { inner.stops.insert(at) } else { inner.stops.remove(&at) };
        self.stops.store(inner.stops.len(), Ordering::SeqCst);
        if changed {
            inner.forget_code(at, at + 1);
        }
        true
    }

    /// Whether a debugger's breakpoint is there.
    pub fn is_stop(&self, at: u64) -> bool {
        self.stops.load(Ordering::SeqCst) != 0 && self.lock().stops.contains(&at)
    }

    /// Removes all of the debugger's breakpoints.
    pub fn clear_stops(&self) {
        let all = std::mem::take(&mut self.lock().stops);
        self.stops.store(0, Ordering::SeqCst);
        all.into_iter().for_each(|at| self.code_changed(at, at + 1));
    }

    /// Writes to the program's memory for a debugger, also where the program may not. False where not all of it
    /// could be written.
    pub fn poke(&self, at: u64, bytes: &[u8]) -> bool {
        let Some(end) = at.checked_add(bytes.len() as u64).filter(|&end| end <= END) else { return false };
        let mut inner = self.settled();
        let (mut mapped, mut parts) = (at, Vec::new());
        for (&start, r) in inner.regions.range(..end).filter(|(_, r)| r.end > at) {
            if start > mapped {
                return false;
            }
            mapped = r.end;
            if r.protection & WRITE == 0 {
                let (from, to) = (start.max(at & !(PAGE - 1)), r.end.min(end.next_multiple_of(PAGE)));
                parts.push((from, to - from, host_protection(r.protection)));
            }
        }
        if mapped < end {
            return false;
        }
        let opened = |&(from, size, _): &(u64, u64, u64)| {
            host_call(libc::SYS_mprotect, [from, size, (READ | WRITE) as u64, 0, 0, 0]).is_ok()
        };
        let done = parts.iter().all(opened) && trine_engine::direct::write(at, bytes).is_some();
        for (from, size, protection) in parts {
            let _ = host_call(libc::SYS_mprotect, [from, size, protection, 0, 0, 0]);
        }
        inner.forget_code(at, end);
        done
    }

    /// Maps something; gives its address.
    pub fn map(&self, m: &Mapping) -> Result<u64, Errno> {
        if m.size == 0 {
            return Err(Errno(libc::EINVAL));
        }
        let (align, rounds) = alignment(m);
        let size = round_up_to(m.size, if rounds { align } else { PAGE }).ok_or(Errno(libc::ENOMEM))?;
        let fixed = m.flags & (FIXED | NO_REPLACE) != 0;
        if m.at & (PAGE - 1) != 0 && fixed {
            return Err(Errno(libc::EINVAL));
        }
        let grows = m.flags & libc::MAP_GROWSDOWN as u32 != 0;
        let mut inner = self.settled();
        let fits = |at: u64| at < END && size <= END - at;
        let at = match fixed {
            true if !fits(m.at) => return Err(Errno(libc::ENOMEM)),
            true => m.at,
            false => {
                let hint = m.at & !(PAGE - 1);
                let good = hint >= START
                    && hint.is_multiple_of(align)
                    && fits(hint)
                    && inner.is_free(hint, hint + size);
                // What grows has room for it.
                let room = if grows { GUARD } else { 0 };
                let place =
                    || Ok(inner.place(size.checked_add(room).ok_or(Errno(libc::ENOMEM))?, align)? + room);
                if good { hint } else { place()? }
            }
        };
        if m.flags & NO_REPLACE != 0 && !inner.is_free(at, at + size) {
            return Err(Errno(libc::EEXIST));
        }
        let protection = m.protection & PROTECTIONS;
        let flags = (m.flags & !NO_REPLACE | FIXED) as u64;
        let args = [at, m.size, host_protection(protection), flags, m.fd as u64, m.offset];
        host_call(libc::SYS_mmap, args)?;
        let kind = m.flags & libc::MAP_TYPE as u32;
        let (file, shared) = (file_of(m), kind != libc::MAP_PRIVATE as u32);
        let offset = if file.is_some() { m.offset } else { 0 };
        let end = at + size;
        inner.insert(at, Region { end, protection, shared, file, offset, name: String::new(), grows, align });
        Ok(at)
    }

    /// Names the mapping that starts at `at`.
    pub fn name(&self, at: u64, name: &str) {
        if let Some(region) = self.lock().regions.get_mut(&at) {
            region.name = name.into();
        }
    }

    /// Unmaps a range.
    pub fn unmap(&self, start: u64, size: u64) -> Result<(), Errno> {
        let size = round_up(size).filter(|&s| s != 0).ok_or(Errno(libc::EINVAL))?;
        if start & (PAGE - 1) != 0 || start >= END || size > END - start {
            return Err(Errno(libc::EINVAL));
        }
        let mut inner = self.settled();
        host_call(libc::SYS_munmap, [start, size, 0, 0, 0, 0])?;
        inner.forget_code(start, start + size);
        inner.remove(start, start + size);
        Ok(())
    }

    /// Changes what may be done with a range.
    pub fn protect(&self, start: u64, size: u64, protection: u32) -> Result<(), Errno> {
        if start & (PAGE - 1) != 0 {
            return Err(Errno(libc::EINVAL));
        }
        let size = round_up(size).ok_or(Errno(libc::ENOMEM))?;
        if size == 0 {
            return Ok(());
        }
        if start >= END || size > END - start {
            return Err(Errno(libc::ENOMEM));
        }
        let grows = protection & (libc::PROT_GROWSDOWN | libc::PROT_GROWSUP) as u32;
        if protection & !(PROTECTIONS | grows) != 0 || grows.count_ones() == 2 {
            return Err(Errno(libc::EINVAL));
        }
        let mut inner = self.settled();
        let (start, size) = match grows as i32 {
            0 => (start, size),
            libc::PROT_GROWSDOWN => {
                let from = inner.grown_from(start, start + size)?;
                (from, start + size - from)
            }
            // No mapping of this CPU grows upwards.
            _ if inner.mapped_end(start) == start => return Err(Errno(libc::ENOMEM)),
            _ => return Err(Errno(libc::EINVAL)),
        };
        let done = host_call(libc::SYS_mprotect, [start, size, host_protection(protection), 0, 0, 0]);
        // What lies before a hole is changed.
        let end = match done {
            Ok(_) => start + size,
            Err(Errno(libc::ENOMEM)) => inner.mapped_end(start).min(start + size),
            Err(e) => return Err(e),
        };
        inner.forget_code(start, end);
        let changed = inner.remove(start, end);
        for (at, mut region) in changed {
            region.protection = protection & PROTECTIONS;
            inner.put(at, region);
        }
        done.map(drop)
    }

    /// Moves or resizes a mapping.
    pub fn remap(&self, [old, old_size, new_size, flags, wanted, _]: [u64; 6]) -> Result<u64, Errno> {
        let invalid = Err(Errno(libc::EINVAL));
        let (Some(size), Some(old_len)) = (round_up(new_size), round_up(old_size)) else { return invalid };
        if old & (PAGE - 1) != 0 || size == 0 {
            return invalid;
        }
        if old >= END || old_len > END - old {
            return Err(Errno(libc::EFAULT));
        }
        let fixed = flags & libc::MREMAP_FIXED as u64 != 0;
        if fixed && (wanted & (PAGE - 1) != 0 || !(START..END).contains(&wanted) || size > END - wanted) {
            return invalid;
        }
        let mut inner = self.settled();
        let found = inner.regions.range(..=old).next_back().map(|(_, r)| r.clone());
        let region = found.filter(|r| r.end > old).ok_or(Errno(libc::EFAULT))?;
        let stays = flags & libc::MREMAP_DONTUNMAP as u64 != 0;
        let in_place =
            !stays && (size <= old_len || (old + size <= END && inner.is_free(old + old_len, old + size)));
        let move_it = flags & libc::MREMAP_MAYMOVE as u64 != 0;
        let (target, flags) = match (fixed, in_place) {
            (true, _) => (wanted, flags),
            (false, true) => (old, flags & !(libc::MREMAP_MAYMOVE as u64)),
            (false, false) if !move_it => return Err(Errno(libc::ENOMEM)),
            (false, false) => (inner.place(size, region.align)?, flags | libc::MREMAP_FIXED as u64),
        };
        let at = host_call(libc::SYS_mremap, [old, old_size, size, flags, target, 0])?;
        inner.forget_code(old, old + old_len);
        if !stays {
            inner.remove(old, old + old_len);
        }
        inner.insert(at, Region { end: at + size, ..region });
        Ok(at)
    }

    /// Where the heap begins.
    pub fn set_brk(&self, at: u64) {
        let mut inner = self.lock();
        (inner.brk_start, inner.brk) = (at, at);
    }

    /// Moves the heap's end; gives where it is.
    pub fn brk(&self, wanted: u64) -> u64 {
        let (start, now, top) = {
            let inner = self.lock();
            (inner.brk_start, inner.brk, inner.top)
        };
        if wanted < start || wanted >= top {
            return now;
        }
        let (Some(mapped), Some(end)) = (round_up(now), round_up(wanted)) else { return now };
        let done = if end > mapped {
            let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u32 | NO_REPLACE;
            let (at, size, protection) = (mapped, end - mapped, READ | WRITE);
            self.map(&Mapping { at, size, protection, flags, fd: -1, offset: 0 })
                .map(|at| self.name(at, "[heap]"))
        } else if end < mapped {
            self.unmap(end, mapped - end)
        } else {
            Ok(())
        };
        if done.is_ok() {
            self.lock().brk = wanted;
        }
        self.lock().brk
    }

    /// `/proc/self/maps`.
    pub fn maps(&self) -> String {
        let mut text = String::new();
        for (start, r) in &self.settled().regions {
            let flag = |bit, c| if r.protection & bit != 0 { c } else { '-' };
            let kind = if r.shared { 's' } else { 'p' };
            let (x, y, z) = (flag(READ, 'r'), flag(WRITE, 'w'), flag(EXEC, 'x'));
            let none = Mapped::default();
            let file = r.file.as_deref().unwrap_or(&none);
            let (major, minor) = (libc::major(file.device), libc::minor(file.device));
            let name = if r.file.is_some() { &file.name } else { &r.name };
            let line = format!(
                "{start:08x}-{:08x} {x}{y}{z}{kind} {:08x} {major:02x}:{minor:02x} {} ",
                r.end, r.offset, file.inode
            );
            // The name stands in column 74, as the kernel has it.
            let _ = match name.is_empty() {
                true => writeln!(text, "{line}"),
                false => writeln!(text, "{line:<73}{name}"),
            };
        }
        text
    }

    /// A call of the host about a range, which has to be the program's; `ENOMEM` where it is not.
    pub fn host_ranged(&self, number: i64, args: [u64; 6], at: u64, size: u64) -> Result<u64, Errno> {
        if !is_programs(at, size) {
            return Err(Errno(libc::ENOMEM));
        }
        host_call(number, args)
    }

    /// Why an access to `address` fails: `SEGV_MAPERR` (1) where nothing is mapped, `SEGV_ACCERR` (2) where it is not
    /// allowed.
    pub fn fault_code(&self, address: u64) -> i32 {
        let inner = self.settled();
        let mapped = inner.regions.range(..=address).next_back().is_some_and(|(_, r)| r.end > address);
        if mapped { 2 } else { 1 }
    }
}

/// The file of a mapping.
fn file_of(m: &Mapping) -> Option<Arc<Mapped>> {
    if m.flags & libc::MAP_ANONYMOUS as u32 != 0 || m.fd < 0 {
        return None;
    }
    // SAFETY: a structure of integers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: writes a structure of ours.
    if unsafe { libc::fstat(m.fd, &mut stat) } < 0 {
        return None;
    }
    let link = std::fs::read_link(format!("/proc/self/fd/{}", m.fd)).unwrap_or_default();
    let name = link.to_string_lossy().into_owned();
    Some(Arc::new(Mapped { device: stat.st_dev, inode: stat.st_ino, name }))
}

impl Pages for Space {
    fn fetch(&self, page: u64) -> bool {
        let mut inner = self.lock();
        // Seldom is code where something has grown.
        if inner.region_at(page).is_none() {
            inner.settle();
        }
        let allowed = inner.region_at(page).is_some_and(|r| r.protection & EXEC != 0);
        if allowed {
            inner.code.insert(page);
        }
        allowed
    }

    fn may_change(&self, page: u64) -> bool {
        let inner = self.lock();
        inner.region_at(page).is_none_or(|r| r.shared || r.protection & WRITE != 0)
    }

    fn stops(&self, page: u64) -> Vec<u64> {
        match self.stops.load(Ordering::SeqCst) {
            0 => Vec::new(),
            _ => self.lock().stops.range(page..page + PAGE).copied().collect(),
        }
    }
}

/// `mmap(addr, length, prot, flags, fd, offset)`.
pub fn mmap(c: &Context, [at, size, protection, flags, fd, offset]: [u64; 6]) -> Result<u64, Errno> {
    let (protection, flags, fd) = (protection as u32, flags as u32, fd as i32);
    c.guest.space.map(&Mapping { at, size, protection, flags, fd, offset })
}

/// `membarrier(command, flags, cpu)`. Where all threads are to see changed code, no thread's translations stay.
pub fn membarrier(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    const SYNC_CORE: i32 = libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE;
    let result = c.host(libc::SYS_membarrier, args)?;
    if args[0] as i32 == SYNC_CORE {
        c.guest.space.code_changed(0, END);
    }
    Ok(result)
}

/// `munmap(addr, length)`.
pub fn munmap(c: &Context, [at, size, ..]: [u64; 6]) -> Result<u64, Errno> {
    c.guest.space.unmap(at, size).map(|()| 0)
}

/// `mprotect(addr, length, prot)`.
pub fn mprotect(c: &Context, [at, size, protection, ..]: [u64; 6]) -> Result<u64, Errno> {
    c.guest.space.protect(at, size, protection as u32).map(|()| 0)
}

/// `mremap(old, old size, new size, flags, new)`.
pub fn mremap(c: &Context, args: [u64; 6]) -> Result<u64, Errno> {
    c.guest.space.remap(args)
}

/// Whether memory may hold something else after this advice (madvise(2)); what is not known may do anything.
fn advice_drops(advice: u64) -> bool {
    !matches!(
        advice as i32,
        libc::MADV_NORMAL
            | libc::MADV_RANDOM
            | libc::MADV_SEQUENTIAL
            | libc::MADV_WILLNEED
            | libc::MADV_DONTFORK
            ..=libc::MADV_KEEPONFORK
                | libc::MADV_COLD
                | libc::MADV_PAGEOUT
                | libc::MADV_POPULATE_READ
                | libc::MADV_POPULATE_WRITE
                | libc::MADV_COLLAPSE
    )
}

/// Whether memory may hold something else after `madvise(addr, length, advice)`.
pub fn madvise_drops(args: &[u64; 6]) -> bool {
    advice_drops(args[2])
}

/// Most ranges of one call (`UIO_MAXIOV`).
const MOST_RANGES: u64 = 1024;

/// `process_madvise(pidfd, ranges, count, advice, flags)`: what lies above a program's addresses is a monitor's.
pub fn process_madvise(c: &Context, [pidfd, at, count, advice, flags, _]: [u64; 6]) -> Result<u64, Errno> {
    if count > MOST_RANGES {
        return Err(Errno(libc::EINVAL));
    }
    let ranges =
        (0..count).map(|i| get::<[u64; 2]>(at.wrapping_add(16 * i))).collect::<Result<Vec<_>, _>>()?;
    if ranges.iter().any(|&[start, size]| !is_programs(start, size)) {
        return Err(Errno(libc::ENOMEM));
    }
    let result = c.host(libc::SYS_process_madvise, [pidfd, ranges.as_ptr() as u64, count, advice, flags, 0]);
    if advice_drops(advice) {
        ranges.iter().for_each(|&[start, size]| c.guest.space.code_changed(start, start + size));
    }
    result
}

/// `brk(addr)`.
pub fn brk(c: &Context, [wanted, ..]: [u64; 6]) -> Result<u64, Errno> {
    Ok(c.guest.space.brk(wanted))
}

/// The key of a shared memory segment.
fn key_of(ds: &libc::shmid_ds) -> u32 {
    ds.shm_perm.__key as u32
}

/// `shmat(id, addr, flags)`.
pub fn shmat(c: &Context, [id, wanted, flags, ..]: [u64; 6]) -> Result<u64, Errno> {
    // SAFETY: a structure of integers.
    let mut ds: libc::shmid_ds = unsafe { std::mem::zeroed() };
    c.host(libc::SYS_shmctl, [id, libc::IPC_STAT as u64, &raw mut ds as u64, 0, 0, 0])?;
    let mut inner = c.guest.space.settled();
    let host_flags = flags & !(libc::SHM_EXEC as u64);
    let attach = |inner: &Inner, align: u64| -> Result<(u64, u64), Errno> {
        let size = round_up_to(ds.shm_segsz as u64, align).ok_or(Errno(libc::EINVAL))?;
        let at = match wanted {
            0 => inner.place(size, align)?,
            at if flags & libc::SHM_RND as u64 != 0 => at & !(PAGE - 1),
            at => at,
        };
        if at == 0 || at >= END || size > END - at {
            return Err(Errno(libc::EINVAL));
        }
        Ok((c.host(libc::SYS_shmat, [id, at, host_flags, 0, 0, 0])?, size))
    };
    // Whether its pages are huge (`SHM_HUGETLB`) the host does not say.
    let (at, size, align) = match attach(&inner, PAGE) {
        Err(Errno(libc::EINVAL)) => {
            let huge = usual_huge_page();
            attach(&inner, huge).map(|(at, size)| (at, size, huge))?
        }
        done => done.map(|(at, size)| (at, size, PAGE))?,
    };
    let read_only = flags & libc::SHM_RDONLY as u64 != 0;
    let exec = if flags & libc::SHM_EXEC as u64 != 0 { EXEC } else { 0 };
    let protection = READ | exec | if read_only { 0 } else { WRITE };
    // As Linux names it: by its key, with its number for an inode.
    let (inode, name) = (id & 0xffff_ffff, format!("/SYSV{:08x} (deleted)", key_of(&ds)));
    let file = Some(Arc::new(Mapped { device: 0, inode, name }));
    inner.insert(
        at,
        Region {
            end: at + size,
            protection,
            shared: true,
            file,
            offset: 0,
            name: String::new(),
            grows: false,
            align,
        },
    );
    Ok(at)
}

/// `shmdt(addr)`.
pub fn shmdt(c: &Context, [at, ..]: [u64; 6]) -> Result<u64, Errno> {
    let mut inner = c.guest.space.settled();
    if at >= END {
        return Err(Errno(libc::EINVAL));
    }
    c.host(libc::SYS_shmdt, [at, 0, 0, 0, 0, 0])?;
    let end = inner.regions.get(&at).map_or(at, |r| r.end);
    inner.forget_code(at, end);
    inner.remove(at, end);
    Ok(0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_monitor_are_nowhere() {
        assert_eq!([0, END - 1, END, u64::MAX].map(programs), [0, END - 1, NOWHERE, NOWHERE]);
        let numbers = [0, END, 0x7fff_ffff_f000, NOWHERE, -1i64 as u64].map(programs_or_number);
        assert_eq!(numbers, [0, NOWHERE, NOWHERE, NOWHERE, -1i64 as u64]);
        assert_eq!((programs_range(8, END - 8), programs_range(8, END - 7)), (8, NOWHERE));
        assert_eq!(programs_range(8, u64::MAX), NOWHERE);
    }

    #[test]
    fn only_some_advice_drops() {
        let drops = |advice: i32| madvise_drops(&[0, 0, advice as u64, 0, 0, 0]);
        let kept = [libc::MADV_WILLNEED, libc::MADV_DONTFORK, libc::MADV_NOHUGEPAGE, libc::MADV_KEEPONFORK];
        assert!(!kept.into_iter().any(drops));
        let dropped = [libc::MADV_DONTNEED, libc::MADV_FREE, libc::MADV_REMOVE, libc::MADV_HWPOISON, 102, -1];
        assert!(dropped.into_iter().all(drops));
    }

    pub(crate) fn page(space: &Space, protection: i32) -> u64 {
        let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u32;
        let m = Mapping { at: 0, size: PAGE, protection: protection as u32, flags, fd: -1, offset: 0 };
        space.map(&m).expect("mapped")
    }

    fn byte(at: u64) -> u8 {
        let mut byte = [0];
        trine_engine::direct::read(at, &mut byte).expect("readable");
        byte[0]
    }

    /// A process has one address space: two of these tests would map over each other.
    pub(crate) static ALONE: Mutex<()> = Mutex::new(());

    #[test]
    fn debuggers_write_where_programs_may_not() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let space = Space::default();
        let text = page(&space, libc::PROT_READ | libc::PROT_EXEC);
        let data = page(&space, libc::PROT_READ | libc::PROT_WRITE);
        assert!(space.poke(text + 4, &[7]) && space.poke(data, &[8]));
        assert_eq!((byte(text + 4), byte(data)), (7, 8));
        // Over the end of one mapping into the other, whichever lies first.
        let end = text.min(data) + PAGE - 1;
        assert_eq!(space.poke(end, &[9, 10]), text.abs_diff(data) == PAGE);
        // What is mapped nowhere, partly and at the end of all addresses.
        assert!(!space.poke(text.min(data) - 1, &[1, 2]) && !space.poke(u64::MAX, &[1, 2]));
        [text, data].iter().for_each(|&at| space.unmap(at, PAGE).expect("unmapped"));
        assert!(!space.poke(text, &[1]));
    }

    #[test]
    fn what_grows_is_known_and_has_room() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let space = Space::default();
        let (protection, flags) = (READ | WRITE, (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u32);
        let grows = flags | libc::MAP_GROWSDOWN as u32;
        let map = |at, size, flags| space.map(&Mapping { at, size, protection, flags, fd: -1, offset: 0 });
        let stack = map(0, 4 * PAGE, grows).expect("mapped");
        let other = map(0, PAGE, flags).expect("mapped");
        assert!(other + PAGE + GUARD <= stack, "{other:#x} is too close below {stack:#x}");
        // The host keeps the same distance.
        space.unmap(other, PAGE).expect("unmapped");
        trine_engine::direct::write(stack - 5 * PAGE, &[1]).expect("the host lets it grow");
        let view = space.view_at(stack - 5 * PAGE).expect("a mapping");
        assert_eq!((view.start, view.end), (stack - 5 * PAGE, stack + 4 * PAGE));
        assert_eq!((space.fault_code(stack - PAGE), space.fault_code(stack - 6 * PAGE)), (2, 1));
        let taken = map(stack - 2 * PAGE, PAGE, flags | NO_REPLACE);
        assert_eq!(taken, Err(Errno(libc::EEXIST)));
        let other = map(0, PAGE, flags).expect("mapped");
        // From anywhere in it, all that lies below is meant.
        let down = READ | libc::PROT_GROWSDOWN as u32;
        space.protect(stack, PAGE, down).expect("protected");
        assert_eq!(
            space.view_at(stack - 5 * PAGE).map(|v| (v.end, v.protection)),
            Some((stack + PAGE, READ))
        );
        assert_eq!(space.protect(other, PAGE, down), Err(Errno(libc::EINVAL)));
        space.unmap(stack - 5 * PAGE, 9 * PAGE).expect("unmapped");
        space.unmap(other, PAGE).expect("unmapped");
        assert!(space.views().is_empty());
    }

    #[test]
    fn gaps_are_aligned() {
        let mut inner = Inner::default();
        let region = |end| Region {
            end,
            protection: READ,
            shared: false,
            file: None,
            offset: 0,
            name: String::new(),
            grows: false,
            align: PAGE,
        };
        let huge = 2 << 20;
        inner.put(inner.top - 5 * PAGE, region(inner.top));
        assert_eq!(inner.place(PAGE, PAGE), Ok(inner.top - 6 * PAGE));
        let below = (inner.top - 5 * PAGE - 1) & !(huge - 1);
        assert_eq!(inner.place(huge, huge), Ok(below - huge));
        let flags = |more: i32| (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | more) as u32;
        let of = |flags| alignment(&Mapping { at: 0, size: 1, protection: 0, flags, fd: -1, offset: 0 });
        assert_eq!(of(flags(0)), (PAGE, true));
        assert_eq!(of(flags(libc::MAP_HUGETLB | libc::MAP_HUGE_1GB)), (1 << 30, true));
    }

    #[test]
    fn stops_are_listed_by_page() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let space = Space::default();
        let text = page(&space, libc::PROT_READ | libc::PROT_EXEC);
        assert!(!space.set_stop(text - 2, true), "nothing is mapped there");
        assert!(space.set_stop(text + 2, true) && space.set_stop(text + 4094, true));
        assert_eq!(Pages::stops(&space, text), [text + 2, text + 4094]);
        assert!(space.set_stop(text + 2, false) && space.is_stop(text + 4094) && !space.is_stop(text + 2));
        space.clear_stops();
        assert!(!space.is_stop(text + 4094) && Pages::stops(&space, text).is_empty());
        space.unmap(text, PAGE).expect("unmapped");
    }
}
