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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trine_engine::direct::Pages;
use trine_memory::CodeOwner;

/// Bytes of a page, of the host and of the guest.
pub const PAGE: u64 = 4096;
/// First address above the program's: half of Sv39, as on hardware.
pub const END: u64 = 1 << 38;
/// First address that may be mapped (the host's `vm.mmap_min_addr` by default).
pub const START: u64 = 0x1_0000;
/// Below the stack, and what grows down from there.
const GAP: u64 = 1 << 30;

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

#[derive(Default)]
struct Inner {
    regions: BTreeMap<u64, Region>,
    /// Pages that code was fetched from.
    code: BTreeSet<u64>,
    owners: Vec<Owner>,
    brk_start: u64,
    brk: u64,
    /// Where a debugger stops the program.
    stops: BTreeSet<u64>,
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
    Some(size.checked_add(PAGE - 1)? & !(PAGE - 1))
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
            self.regions.insert(at, rest);
        }
    }

    /// Takes the regions of a range out.
    fn remove(&mut self, start: u64, end: u64) -> Vec<(u64, Region)> {
        self.split(start);
        self.split(end);
        let keys: Vec<u64> = self.regions.range(start..end).map(|(k, _)| *k).collect();
        keys.into_iter().filter_map(|k| Some((k, self.regions.remove(&k)?))).collect()
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
            self.owners.iter().for_each(|owner| owner.code.code_written(page / PAGE));
        }
    }

    /// Highest gap of `size` bytes below `top`.
    fn gap(&self, size: u64, top: u64) -> Option<u64> {
        let mut end = top;
        for (&start, region) in self.regions.range(..top).rev() {
            if region.end <= end && end - region.end >= size {
                break;
            }
            end = end.min(start);
        }
        let start = end.checked_sub(size)?;
        (start >= START).then_some(start)
    }

    fn is_free(&self, start: u64, end: u64) -> bool {
        self.regions.range(..end).next_back().is_none_or(|(_, r)| r.end <= start)
    }

    /// Where the mappings that begin at or before `start` and follow each other end.
    fn mapped_end(&self, start: u64) -> u64 {
        let mut end = start;
        while let Some((_, region)) = self.regions.range(..=end).next_back().filter(|(_, r)| r.end > end) {
            end = region.end;
        }
        end
    }

    fn insert(&mut self, start: u64, region: Region) {
        self.forget_code(start, region.end);
        self.remove(start, region.end);
        self.regions.insert(start, region);
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
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.lock().regions.iter().map(view).collect()
    }

    /// The mapping at an address.
    pub fn view_at(&self, at: u64) -> Option<View> {
        let inner = self.lock();
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
            inner.owners.iter().for_each(|owner| owner.code.code_changed(start, end));
        }
    }

    /// Sets or removes a debugger's breakpoint: vCPUs stop before the instruction at `at`. The program's memory stays
    /// as it is. False where nothing is mapped.
    pub fn set_stop(&self, at: u64, wanted: bool) -> bool {
        let mut inner = self.lock();
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
        let mut inner = self.lock();
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
        let size = round_up(m.size).ok_or(Errno(libc::ENOMEM))?;
        let fixed = m.flags & (FIXED | NO_REPLACE) != 0;
        if m.at & (PAGE - 1) != 0 && fixed {
            return Err(Errno(libc::EINVAL));
        }
        let mut inner = self.lock();
        let fits = |at: u64| (START..END).contains(&at) && size <= END - at;
        let at = match fixed {
            true if !fits(m.at) => return Err(Errno(if m.at < START { libc::EPERM } else { libc::ENOMEM })),
            true => m.at,
            false => {
                let hint = m.at & !(PAGE - 1);
                let good = hint != 0 && fits(hint) && inner.is_free(hint, hint + size);
                let gap = || inner.gap(size, END - GAP).or_else(|| inner.gap(size, END));
                if good { hint } else { gap().ok_or(Errno(libc::ENOMEM))? }
            }
        };
        if m.flags & NO_REPLACE != 0 && !inner.is_free(at, at + size) {
            return Err(Errno(libc::EEXIST));
        }
        let protection = m.protection & PROTECTIONS;
        let flags = (m.flags & !NO_REPLACE & !(libc::MAP_GROWSDOWN as u32) | FIXED) as u64;
        let args = [at, size, host_protection(protection), flags, m.fd as u64, m.offset];
        host_call(libc::SYS_mmap, args)?;
        let kind = m.flags & libc::MAP_TYPE as u32;
        let (file, shared) = (file_of(m), kind != libc::MAP_PRIVATE as u32);
        let offset = if file.is_some() { m.offset } else { 0 };
        inner.insert(at, Region { end: at + size, protection, shared, file, offset, name: String::new() });
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
        let mut inner = self.lock();
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
        if protection & !(PROTECTIONS | grows) != 0 {
            return Err(Errno(libc::EINVAL));
        }
        let mut inner = self.lock();
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
            inner.regions.insert(at, region);
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
        let mut inner = self.lock();
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
            (false, false) => {
                let gap = inner.gap(size, END - GAP).ok_or(Errno(libc::ENOMEM))?;
                (gap, flags | libc::MREMAP_FIXED as u64)
            }
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
        let (start, now) = {
            let inner = self.lock();
            (inner.brk_start, inner.brk)
        };
        if wanted < start || wanted >= END - GAP {
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
        for (start, r) in &self.lock().regions {
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
        let inner = self.lock();
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
        let found = inner.regions.range(..=page).next_back();
        let allowed = found.is_some_and(|(_, r)| r.end > page && r.protection & EXEC != 0);
        if allowed {
            inner.code.insert(page);
        }
        allowed
    }

    fn may_change(&self, page: u64) -> bool {
        let inner = self.lock();
        let region = inner.regions.range(..=page).next_back().map(|(_, r)| r);
        region.is_none_or(|r| r.end <= page || r.shared || r.protection & WRITE != 0)
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
    let size = round_up(ds.shm_segsz as u64).ok_or(Errno(libc::EINVAL))?;
    let mut inner = c.guest.space.lock();
    let at = match wanted {
        0 => inner.gap(size, END - GAP).ok_or(Errno(libc::ENOMEM))?,
        at if flags & libc::SHM_RND as u64 != 0 => at & !(PAGE - 1),
        at => at,
    };
    if !(START..END).contains(&at) || size > END - at {
        return Err(Errno(libc::EINVAL));
    }
    let host_flags = flags & !(libc::SHM_EXEC as u64);
    let at = c.host(libc::SYS_shmat, [id, at, host_flags, 0, 0, 0])?;
    let read_only = flags & libc::SHM_RDONLY as u64 != 0;
    let exec = if flags & libc::SHM_EXEC as u64 != 0 { EXEC } else { 0 };
    let protection = READ | exec | if read_only { 0 } else { WRITE };
    // As Linux names it: by its key, with its number for an inode.
    let (inode, name) = (id & 0xffff_ffff, format!("/SYSV{:08x} (deleted)", key_of(&ds)));
    let file = Some(Arc::new(Mapped { device: 0, inode, name }));
    inner.insert(
        at,
        Region { end: at + size, protection, shared: true, file, offset: 0, name: String::new() },
    );
    Ok(at)
}

/// `shmdt(addr)`.
pub fn shmdt(c: &Context, [at, ..]: [u64; 6]) -> Result<u64, Errno> {
    let mut inner = c.guest.space.lock();
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

    fn page(space: &Space, protection: i32) -> u64 {
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
