//! Guest memory: the only way to a machine's RAM.
//!
//! RAM is a memfd that is mapped once, or a private mapping of a saved machine's memory ([`Ram::copy_on_write`]). Other vCPUs and
//! devices write to it at any time, so it is accessed only through relaxed atomics and the host's string instruction (here) or by
//! generated code; never as `&[u8]`. Every write made here passes the *write guard*: where a page holds translated code, the owner
//! of the translations is told. The guard checks before the bytes change and once more afterwards, since in between another thread
//! may have marked the page as code and read its old bytes.

mod copy;
mod pages;
mod rom;
mod saved;
mod sync;
mod window;

pub use pages::Becoming;
use pages::Pages;
pub use rom::Contents;
use rom::Rom;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use trine_base::Width;
pub use window::Window;

/// log2 of the page size of the write guard.
pub const PAGE_BITS: u32 = 12;
/// Page size of the write guard in bytes.
pub const PAGE: u64 = 1 << PAGE_BITS;

/// Why RAM could not be created.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The size is zero, is not a multiple of the page size, or exceeds the address space.
    #[error("a memory size of {0} bytes is not possible: it must be a multiple of 4096 and not zero")]
    Size(u64),
    /// The base address is not a multiple of the page size.
    #[error("memory cannot begin at {0:#x}: it must be a multiple of 4096")]
    Base(u64),
    /// There is memory already.
    #[error("memory at {0:#x} would lie over other memory")]
    Overlap(u64),
    /// The host has less memory than was asked for.
    #[error("the guest needs {want} MiB of memory, but the host has only {have} MiB available")]
    TooLarge {
        /// The size that was asked for, in MiB.
        want: u64,
        /// `MemAvailable` of `/proc/meminfo`, in MiB.
        have: u64,
    },
    /// The host refused to provide the memory.
    #[error("the host refused {bytes} bytes of memory: {error}")]
    Host {
        /// The size that was asked for, in bytes.
        bytes: u64,
        /// Its reason.
        error: std::io::Error,
    },
}

/// An owner of translations of guest pages.
pub trait CodeOwner: Send + Sync {
    /// Page `page` (physical address >> 12), which was made code by [`Ram::become_code`], is about to be written.
    /// Called with no lock held, before the bytes change, and again afterwards where the page was marked
    /// meanwhile.
    fn code_written(&self, page: u64);

    /// The bytes from `start` up to `end` (physical addresses) have changed, in pages that stay marked. By
    /// default this is the same as a write to each of their pages.
    fn code_changed(&self, start: u64, end: u64) {
        (start >> 12..=end.saturating_sub(1) >> 12).for_each(|page| self.code_written(page));
    }
}

/// The RAM of one machine: a contiguous range of guest-physical addresses.
pub struct Ram {
    base: u64,
    size: u64,
    host: NonNull<u8>,
    /// The memory, where it is shared memory: `None` if there is none, or it is a private mapping.
    file: Option<File>,
    /// Held during an atomic update of two pages of a private mapping, which cannot be mapped side by side.
    apart: Mutex<()>,
    pages: Pages,
    roms: Vec<Rom>,
    owners: Mutex<Vec<Arc<dyn CodeOwner>>>,
}

// SAFETY: `host` points to a mapping that lives as long as `Ram` and is accessed only through atomics, the string
// instruction of `copy` and generated code, all of which are safe from any thread.
unsafe impl Send for Ram {}
// SAFETY: as above; all interior state is atomics or behind a mutex.
unsafe impl Sync for Ram {}

impl Ram {
    /// Creates RAM of `size` bytes at guest-physical address `base`; all bytes are zero.
    pub fn new(base: u64, size: u64) -> Result<Ram, MemoryError> {
        check(base, size)?;
        let fail = || MemoryError::Host { bytes: size, error: std::io::Error::last_os_error() };
        // SAFETY: the name is a NUL-terminated literal; the result is checked.
        let fd = unsafe { libc::memfd_create(c"trine-ram".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(fail());
        }
        // SAFETY: `fd` was just made and nobody else owns it.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(size).map_err(|error| MemoryError::Host { bytes: size, error })?;
        let host = map(&file, 0, size, libc::MAP_SHARED)?;
        Ok(Ram::of(base, size, host, Some(file)))
    }

    fn of(base: u64, size: u64, host: NonNull<u8>, file: Option<File>) -> Ram {
        let pages = Pages::new((size >> PAGE_BITS) as usize);
        let (apart, roms, owners) = (Mutex::default(), Vec::new(), Mutex::default());
        Ram { base, size, host, file, apart, pages, roms, owners }
    }

    /// Creates a RAM without any memory, for a vCPU whose guest addresses are host addresses.
    pub fn none() -> Ram {
        Ram::of(0, 0, NonNull::dangling(), None)
    }

    /// First guest-physical address.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether the whole range `address .. address + len` is RAM.
    #[inline(always)]
    pub fn contains(&self, address: u64, len: u64) -> bool {
        let offset = address.wrapping_sub(self.base);
        offset < self.size && len <= self.size - offset
    }

    /// Host address of a guest-physical address, for generated code; `None` where there is no RAM.
    #[inline(always)]
    pub fn host_address(&self, address: u64) -> Option<usize> {
        let offset = address.wrapping_sub(self.base);
        (offset < self.size).then(|| self.host.as_ptr() as usize + offset as usize)
    }

    #[inline(always)]
    fn pointer(&self, address: u64, width: Width) -> Option<*mut u8> {
        if !self.contains(address, width.bytes()) {
            return None;
        }
        // SAFETY: the range was just checked to lie inside the mapping.
        Some(unsafe { self.host.as_ptr().add((address - self.base) as usize) })
    }

    /// Reads a little-endian value; `None` outside RAM. Atomic if `address` is aligned.
    #[inline(always)]
    pub fn load(&self, address: u64, width: Width) -> Option<u64> {
        let p = self.pointer(address, width)?;
        if !width.aligned(p as u64) {
            let mut bytes = [0; 8];
            self.read(address, &mut bytes[..width.bytes() as usize])?;
            return Some(u64::from_le_bytes(bytes));
        }
        // SAFETY: `p` is inside the mapping and aligned, and no plain access of Rust races with this one.
        Some(unsafe {
            match width {
                Width::B1 => AtomicU8::from_ptr(p).load(Ordering::Relaxed) as u64,
                Width::B2 => AtomicU16::from_ptr(p.cast()).load(Ordering::Relaxed) as u64,
                Width::B4 => AtomicU32::from_ptr(p.cast()).load(Ordering::Relaxed) as u64,
                Width::B8 => AtomicU64::from_ptr(p.cast()).load(Ordering::Relaxed),
            }
        })
    }

    /// Writes a little-endian value; `None` outside RAM. Atomic if `address` is aligned.
    #[inline(always)]
    pub fn store(&self, address: u64, width: Width, value: u64) -> Option<()> {
        let p = self.pointer(address, width)?;
        if !width.aligned(p as u64) {
            return self.write(address, &value.to_le_bytes()[..width.bytes() as usize]);
        }
        self.guarded(address, width.bytes(), || {
            // SAFETY: `p` is inside the mapping and aligned.
            unsafe { put(p, width, value) };
        });
        Some(())
    }

    /// Calls `change`, which writes to these bytes, between the two checks of the write guard.
    #[inline(always)]
    fn guarded<T>(&self, address: u64, len: u64, change: impl FnOnce() -> T) -> T {
        self.guard(address, len);
        let result = change();
        // Pairs with the fence in `become_code`: either this thread sees the mark, or the thread that set it
        // sees the bytes.
        fence(Ordering::SeqCst);
        self.guard(address, len);
        result
    }

    /// Sequentially consistent compare-and-exchange of an aligned value of 4 or 8 bytes. Returns the value
    /// that was found there (equal to `expect` if it was replaced), or `None` outside RAM or where `address`
    /// is not aligned.
    pub fn compare_exchange(&self, address: u64, width: Width, expect: u64, new: u64) -> Option<u64> {
        let p = self.pointer(address, width).filter(|p| width.aligned(*p as u64))?;
        let order = Ordering::SeqCst;
        // SAFETY: `p` is inside the mapping and aligned, and no plain access of Rust races with this one.
        self.guarded(address, width.bytes(), || unsafe {
            match width {
                Width::B1 => Some(
                    AtomicU8::from_ptr(p)
                        .compare_exchange(expect as u8, new as u8, order, order)
                        .unwrap_or_else(|found| found) as u64,
                ),
                Width::B2 => Some(
                    AtomicU16::from_ptr(p.cast())
                        .compare_exchange(expect as u16, new as u16, order, order)
                        .unwrap_or_else(|found| found) as u64,
                ),
                Width::B4 => Some(
                    AtomicU32::from_ptr(p.cast())
                        .compare_exchange(expect as u32, new as u32, order, order)
                        .unwrap_or_else(|found| found) as u64,
                ),
                Width::B8 => Some(
                    AtomicU64::from_ptr(p.cast())
                        .compare_exchange(expect, new, order, order)
                        .unwrap_or_else(|found| found),
                ),
            }
        })
    }

    /// Fills `buf` from `address`; `None` (and nothing read) unless all of it is RAM. In no order, and from 128 bytes on not
    /// even an aligned word is read as a whole while others write it.
    pub fn read(&self, address: u64, buf: &mut [u8]) -> Option<()> {
        if !self.contains(address, buf.len() as u64) {
            return None;
        }
        if buf.len() >= copy::MANY {
            let from = self.pointer(address, Width::B1)?;
            // SAFETY: all of it is inside the mapping, and nobody else uses `buf`.
            unsafe { copy::bytes(buf.as_mut_ptr(), from, buf.len()) };
            return Some(());
        }
        let mut at = address;
        let mut rest = buf;
        while !rest.is_empty() {
            let width = if at.is_multiple_of(8) && rest.len() >= 8 { Width::B8 } else { Width::B1 };
            let value = self.load(at, width)?.to_le_bytes();
            let (head, tail) = rest.split_at_mut(width.bytes() as usize);
            match head.first_chunk_mut::<8>() {
                Some(word) => *word = value,
                None => head[0] = value[0],
            }
            rest = tail;
            at += width.bytes();
        }
        Some(())
    }

    /// Stores `buf` at `address`; `None` (and nothing written) unless all of it is RAM. In no order, and from 128 bytes on not
    /// even an aligned word appears as a whole.
    pub fn write(&self, address: u64, buf: &[u8]) -> Option<()> {
        if !self.contains(address, buf.len() as u64) {
            return None;
        }
        // One check for the whole buffer: the second check waits for the stores, which is too slow for every
        // 8 bytes of a device's transfer.
        self.guarded(address, buf.len() as u64, || self.put_all(address, buf))
    }

    /// Gives the whole pages among `len` bytes at `address` back to the host. Then they contain zeros, or what they did
    /// before where the host refuses or they are a private mapping's: that would read as the saved memory again. Returns `None` unless all of these bytes are RAM.
    pub fn discard(&self, address: u64, len: u64) -> Option<()> {
        if !self.contains(address, len) {
            return None;
        }
        let (start, end) = (address.checked_next_multiple_of(PAGE)?, (address + len) / PAGE * PAGE);
        let Some(len) = end.checked_sub(start).filter(|&len| len != 0) else { return Some(()) };
        let Some(file) = &self.file else { return Some(()) };
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let offset = (start - self.base) as libc::off_t;
        self.guarded(start, len, || {
            // SAFETY: the range lies in the file, which is RAM's own. Its mapping stays; other threads see the zeros as
            // they see any write.
            unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, len as libc::off_t) };
        });
        Some(())
    }

    /// [`Ram::write`] without the guard.
    fn put_all(&self, address: u64, buf: &[u8]) -> Option<()> {
        if buf.len() >= copy::MANY {
            let to = self.pointer(address, Width::B1)?;
            // SAFETY: all of it is inside the mapping, as the caller has checked, and nobody writes `buf`.
            unsafe { copy::bytes(to, buf.as_ptr(), buf.len()) };
            return Some(());
        }
        let mut at = address;
        let mut rest = buf;
        while let Some((&byte, behind)) = rest.split_first() {
            let word = rest.split_first_chunk::<8>().filter(|_| at.is_multiple_of(8));
            let (width, value, tail) = match word {
                Some((word, tail)) => (Width::B8, u64::from_le_bytes(*word), tail),
                None => (Width::B1, byte.into(), behind),
            };
            let p = self.pointer(at, width).filter(|p| width.aligned(*p as u64))?;
            // SAFETY: `p` is inside the mapping and aligned.
            unsafe { put(p, width, value) };
            (at, rest) = (at + width.bytes(), tail);
        }
        Some(())
    }

    /// Adds an owner that is told when a page marked as code is written.
    pub fn add_code_owner(&self, owner: Arc<dyn CodeOwner>) {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner).push(owner);
    }

    /// Number of the page that holds `address`; larger than that of any page where `address` is not in RAM.
    #[inline(always)]
    fn page(&self, address: u64) -> usize {
        (address.wrapping_sub(self.base) >> PAGE_BITS) as usize
    }

    /// Asks for the right to write to the page that holds `address` without passing the guard, as a vCPU does
    /// by a TLB entry; returns whether it is granted. `vcpu` is a bit, which several vCPUs may share.
    pub fn may_write(&self, address: u64, vcpu: u8) -> bool {
        self.pages.may_write(self.page(address), vcpu)
    }

    /// The states of the pages around `address` and its page's number there: those of RAM or of a read-only memory.
    #[inline(always)]
    fn states(&self, address: u64) -> (&Pages, usize) {
        let page = self.page(address);
        match self.contains(address, 1) {
            true => (&self.pages, page),
            false => self
                .rom(address)
                .map_or((&self.pages, page), |(rom, offset)| (&rom.pages, (offset >> PAGE_BITS) as usize)),
        }
    }

    /// Begins to turn the page that holds `address` into a code page, whose bytes will be translated.
    pub fn become_code(&self, address: u64) -> Becoming {
        let (pages, page) = self.states(address);
        pages.become_code(page)
    }

    /// Completes what [`Ram::become_code`] began, once no vCPU can write to the page unnoticed.
    pub fn end_becoming(&self, address: u64) {
        let (pages, page) = self.states(address);
        pages.end_becoming(page);
    }

    /// Whether code may be translated from the page that holds `address`: every write to it passes the guard,
    /// or it is neither in RAM nor in a read-only memory.
    pub fn is_settled(&self, address: u64) -> bool {
        let (pages, page) = self.states(address);
        pages.is_settled(page)
    }

    /// Whether the page that holds `address` holds translated code or is becoming a code page.
    #[inline(always)]
    pub fn is_code(&self, address: u64) -> bool {
        let (pages, page) = self.states(address);
        pages.is_code(page)
    }

    /// The write guard: must be called before `len` bytes at `address` change by other means than the methods
    /// here, and again after the change and a fence.
    #[inline(always)]
    pub fn guard(&self, address: u64, len: u64) {
        // The part of the range that is in RAM: the range may begin below it, end behind it, or wrap.
        let end = address.saturating_add(len).min(self.base + self.size);
        let start = address.max(self.base);
        if start >= end {
            return;
        }
        for index in (start - self.base) >> PAGE_BITS..=(end - 1 - self.base) >> PAGE_BITS {
            if self.pages.is_code(index as usize) {
                self.code_written(&self.pages, self.base >> PAGE_BITS, index);
            }
        }
    }

    /// Tells the owners of a write to page `index` of `pages`, of which the first one has the number `first`.
    #[cold]
    fn code_written(&self, pages: &Pages, first: u64, index: u64) {
        pages.written(index as usize, || {
            let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for owner in owners {
                owner.code_written(first + index);
            }
        });
    }
}

/// Checks the address and the size of a RAM to be made.
fn check(base: u64, size: u64) -> Result<(), MemoryError> {
    if size == 0 || !size.is_multiple_of(PAGE) || base.checked_add(size).is_none() {
        return Err(MemoryError::Size(size));
    }
    // Code pages are known to their owners by page number.
    if !base.is_multiple_of(PAGE) {
        return Err(MemoryError::Base(base));
    }
    match host_available() {
        Some(have) if size > have => Err(MemoryError::TooLarge { want: size >> 20, have: have >> 20 }),
        _ => Ok(()),
    }
}

/// Maps `size` bytes of a file for reading and writing.
fn map(file: &File, offset: u64, size: u64, sharing: libc::c_int) -> Result<NonNull<u8>, MemoryError> {
    let fail = |error| MemoryError::Host { bytes: size, error };
    let offset = libc::off_t::try_from(offset).map_err(|e| fail(std::io::Error::other(e)))?;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let host = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size as usize,
            libc::PROT_READ | libc::PROT_WRITE,
            sharing | libc::MAP_NORESERVE,
            file.as_raw_fd(),
            offset,
        )
    };
    match NonNull::new(host.cast::<u8>()) {
        Some(start) if host != libc::MAP_FAILED => Ok(start),
        _ => Err(fail(std::io::Error::last_os_error())),
    }
}

/// Stores a value's low bytes.
///
/// # Safety
/// `p` is inside the mapping of a live [`Ram`] and a multiple of the width.
#[inline(always)]
unsafe fn put(p: *mut u8, width: Width, value: u64) {
    // SAFETY: by the caller; no plain access of Rust races with this one.
    unsafe {
        match width {
            Width::B1 => AtomicU8::from_ptr(p).store(value as u8, Ordering::Relaxed),
            Width::B2 => AtomicU16::from_ptr(p.cast()).store(value as u16, Ordering::Relaxed),
            Width::B4 => AtomicU32::from_ptr(p.cast()).store(value as u32, Ordering::Relaxed),
            Width::B8 => AtomicU64::from_ptr(p.cast()).store(value, Ordering::Relaxed),
        }
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        if self.size == 0 {
            return;
        }
        // SAFETY: the mapping was made by `map` with this size and nobody can use it any more.
        unsafe { libc::munmap(self.host.as_ptr().cast(), self.size as usize) };
    }
}

/// Bytes of memory that `/proc/meminfo` calls available; `None` where it does not say.
fn host_available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests;
