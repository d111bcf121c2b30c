//! The address space of a program: the parts of the host process's address space that belong to the guest.
//!
//! The host never executes guest code, so no guest page is mapped executable; the guest's permission to fetch
//! code is recorded here. Mappings are below [`END`], where nothing belongs to the monitor.

mod calls;
mod regions;

use crate::call::{Context, get};
use crate::errno::Errno;
use crate::host;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use trine_engine::direct::{self, Pages};
use trine_memory::CodeOwner;

pub use calls::*;
use regions::{Inner, Mapped, Owner, Region};

/// Size of a page in bytes, on the host and in the guest.
pub const PAGE: u64 = 4096;
/// The first address above the program's: half of Sv39, as on hardware.
pub const END: u64 = direct::END;
/// The lowest address that is chosen for mappings. The program may ask for lower ones; the host's
/// `vm.mmap_min_addr` decides whether they are possible.
pub const START: u64 = 0x1_0000;
/// The least room in bytes that is left for the stack at the highest addresses.
const LEAST_ROOM: u64 = 1 << 30;
/// The most room that is left for it, whatever its limit: the rest is for other mappings.
const MOST_ROOM: u64 = END / 4;
/// The gap that stays free below a growing mapping (Linux's default `stack_guard_gap`).
const GUARD: u64 = 256 * PAGE;

/// A mapping, as other modules see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// First address.
    pub start: u64,
    /// The first address behind it.
    pub end: u64,
    /// `PROT_*` flags, as the program set them.
    pub protection: u32,
    /// Whether it is shared with other processes.
    pub shared: bool,
    /// The host's path of its file, if it has one. `/proc/self/maps` shows it.
    pub file: Option<String>,
    /// Its offset in the file.
    pub offset: u64,
}

/// An address space.
pub struct Space {
    inner: Mutex<Inner>,
    /// Number of breakpoints of the debugger.
    stops: AtomicUsize,
}

impl Default for Space {
    /// An empty one, to which this process gives the addresses below [`END`].
    fn default() -> Space {
        // SAFETY: this executable is position-independent, so the host's kernel places it, its heap and its stack in the upper
        // third of 2^47 bytes, and what it maps without a wish below them. Only an address space wishes for addresses
        // below `END`, for its program.
        unsafe { direct::claim_addresses() };
        Space { inner: Mutex::default(), stops: AtomicUsize::default() }
    }
}

const EXEC: u32 = libc::PROT_EXEC as u32;
const WRITE: u32 = libc::PROT_WRITE as u32;
const READ: u32 = libc::PROT_READ as u32;
const PROTECTIONS: u32 = READ | WRITE | EXEC;

/// The protection on the host: readable if the guest may fetch code, but never executable.
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

/// The default size of a huge page in bytes (`/proc/meminfo`).
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

/// The alignment of a mapping's address, and whether its size is rounded up to it as well: that of a
/// hugetlbfs file is not.
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
        // The host reports sizes that it does not support.
        log if (12..=34).contains(&log) => (1 << log, true),
        _ => (PAGE, true),
    }
}

/// Whether a whole range may belong to a program.
pub fn is_programs(start: u64, size: u64) -> bool {
    start <= END && size <= END - start
}

/// A non-canonical address, which no process has on any kernel.
pub const NOWHERE: u64 = 1 << 63;

/// Translates an address for the host's kernel: addresses above [`END`] belong to the monitor and must look
/// unmapped to the program. The kernel reports an error where and when it accesses them.
pub fn programs(at: u64) -> u64 {
    if at < END { at } else { NOWHERE }
}

/// The same for the start of a range.
pub fn programs_range(start: u64, size: u64) -> u64 {
    if is_programs(start, size) { start } else { NOWHERE }
}

/// The same for an argument that may be a number: values that are not addresses stay.
pub fn programs_or_number(value: u64) -> u64 {
    if (END..NOWHERE).contains(&value) { NOWHERE } else { value }
}

fn view((&start, r): (&u64, &Region)) -> View {
    let file = r.file.as_ref().map(|f| f.name.clone());
    View { start, end: r.end, protection: r.protection, shared: r.shared, file, offset: r.offset }
}

/// Makes a system call about mappings below [`END`].
fn host_call(number: i64, args: [u64; 6]) -> Result<u64, Errno> {
    // SAFETY: the callers check that the range is the program's, where nothing of ours is.
    unsafe { host::call(number, args) }
}

/// The arguments of a mapping.
pub struct Mapping {
    /// The address, or a hint.
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
    /// Locks the space, for operations that do not depend on where mappings are.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the space, and records how far mappings have grown.
    fn settled(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock();
        inner.settle();
        inner
    }

    /// Reserves room for the stack at the highest addresses, within bounds; returns its size.
    pub fn leave_room(&self, wanted: u64) -> u64 {
        let room = wanted.saturating_add(GUARD).clamp(LEAST_ROOM, MOST_ROOM) & !(PAGE - 1);
        self.lock().top = END - room;
        room - GUARD
    }

    /// Adds a vCPU, identified by its process (a number that is unique here) and its thread ID.
    pub fn add_owner(&self, process: usize, thread: i32, code: Arc<dyn CodeOwner>) {
        self.lock().owners.push(Owner { process, thread, code });
    }

    /// IDs of a process's threads that have a vCPU here.
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

    /// Removes the vCPU of a thread.
    pub fn remove_owner(&self, process: usize, thread: i32) {
        self.lock().owners.retain(|o| (o.process, o.thread) != (process, thread));
    }

    /// Removes the vCPUs of a process.
    pub fn remove_owners(&self, process: usize) {
        self.lock().owners.retain(|o| o.process != process);
    }

    /// Calls `f` while no other thread changes the address space; for `fork`.
    pub fn quiet<T>(&self, f: impl FnOnce() -> T) -> T {
        let _inner = self.lock();
        f()
    }

    /// In a forked child: only the thread that forked exists, with its vCPU.
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

    /// Sets or removes a breakpoint of the debugger: vCPUs stop before the instruction at `at`. The program's
    /// memory is not changed. Returns false if nothing is mapped there.
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

    /// Whether there is a breakpoint of the debugger at this address.
    pub fn is_stop(&self, at: u64) -> bool {
        self.stops.load(Ordering::SeqCst) != 0 && self.lock().stops.contains(&at)
    }

    /// Removes all breakpoints of the debugger.
    pub fn clear_stops(&self) {
        let all = std::mem::take(&mut self.lock().stops);
        self.stops.store(0, Ordering::SeqCst);
        all.into_iter().for_each(|at| self.code_changed(at, at + 1));
    }

    /// Writes to the program's memory for a debugger, even where the program must not write. Returns false if
    /// not everything could be written.
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
        let done = parts.iter().all(opened) && direct::write(at, bytes).is_some();
        for (from, size, protection) in parts {
            let _ = host_call(libc::SYS_mprotect, [from, size, protection, 0, 0, 0]);
        }
        inner.forget_code(at, end);
        done
    }

    /// Creates a mapping; returns its address.
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
                // A growing mapping has room to grow.
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

    /// Changes the protection of a range.
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
            // On this CPU no mapping grows upwards.
            _ if inner.mapped_end(start) == start => return Err(Errno(libc::ENOMEM)),
            _ => return Err(Errno(libc::EINVAL)),
        };
        let done = host_call(libc::SYS_mprotect, [start, size, host_protection(protection), 0, 0, 0]);
        // The part before a hole is changed.
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

    /// Sets the start of the heap.
    pub fn set_brk(&self, at: u64) {
        let mut inner = self.lock();
        (inner.brk_start, inner.brk) = (at, at);
    }

    /// Moves the end of the heap; returns where it is.
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

    /// The contents of `/proc/self/maps`.
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
            // The name is in column 74, as in the kernel's text.
            let _ = match name.is_empty() {
                true => writeln!(text, "{line}"),
                false => writeln!(text, "{line:<73}{name}"),
            };
        }
        text
    }

    /// Makes a call of the host about a range, which must belong to the program; `ENOMEM` if it does not.
    pub fn host_ranged(&self, number: i64, args: [u64; 6], at: u64, size: u64) -> Result<u64, Errno> {
        if !is_programs(at, size) {
            return Err(Errno(libc::ENOMEM));
        }
        host_call(number, args)
    }

    /// Why an access to `address` fails: `SEGV_MAPERR` (1) if nothing is mapped, `SEGV_ACCERR` (2) if it is
    /// not allowed.
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
        // Growing mappings seldom contain code.
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

#[cfg(test)]
pub(crate) mod tests;
