//! Memory for generated code: shared memory mapped twice, read-execute and read-write, at unrelated
//! addresses. No mapping is ever both writable and executable.
//!
//! It has no file: a program's limit on the size of files (`RLIMIT_FSIZE`) would apply to a memfd, and `perf`
//! looks for names in map files only for memory without a file.

use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};

/// Code starts at multiples of this many bytes, a line of the host's cache: the same loop took up to a fifth
/// longer at other addresses.
pub const ALIGN: usize = 64;

/// Bytes of a part of code memory. Code memory is filled part by part, so that one can be emptied while the
/// others are in use.
pub const PART: usize = 8 << 20;
/// Parts of code memory.
pub const PARTS: usize = 16;
/// Bytes in front of the parts for code that is there from the start.
pub const FIXED: usize = 4096;

/// Bytes of the code memory of a machine, all of its parts being as large as [`PART`].
pub const SIZE: usize = FIXED + PARTS * PART;

/// Memory for the code of all vCPUs that share translations.
pub struct CodeMemory {
    execute: usize,
    write: usize,
    size: usize,
    part: usize,
}

impl CodeMemory {
    /// Memory for all parts of `part` bytes; pages are taken from the host when they are first used.
    ///
    /// # Errors
    /// The host's error, if it has no memory or address space.
    pub fn new(part: usize) -> std::io::Result<CodeMemory> {
        let size = FIXED + PARTS * part;
        let write = writable(size, None)?;
        let execute = executable(write, size, None).inspect_err(|_| {
            // SAFETY: mapped just now, and nothing points into it yet.
            unsafe { libc::munmap(write as *mut libc::c_void, size) };
        })?;
        Ok(CodeMemory { execute, write, size, part })
    }

    /// Executable address of the first byte of a part.
    pub fn part(&self, part: usize) -> usize {
        self.execute + FIXED + part * self.part
    }

    /// Bytes of a part.
    pub fn part_size(&self) -> usize {
        self.part
    }

    /// Number of the part that holds an executable address; larger than any part's if none does.
    pub fn part_of(&self, at: usize) -> usize {
        at.wrapping_sub(self.part(0)) / self.part
    }

    /// Writes code that will run at the address `at`. Returns false, and writes nothing, if that is not
    /// inside.
    ///
    /// # Safety
    /// No thread executes or writes these bytes at the same time.
    pub unsafe fn put(&self, at: usize, code: &[u8]) -> bool {
        let offset = at.wrapping_sub(self.execute);
        if offset > self.size || code.len() > self.size - offset {
            return false;
        }
        // SAFETY: inside the writable mapping, to which no reference exists; nobody else uses these bytes, by
        // the caller.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), (self.write + offset) as *mut u8, code.len()) };
        true
    }

    /// The code from the executable address `at` to the address `end`.
    ///
    /// # Safety
    /// No thread puts code there or patches it at the same time.
    pub unsafe fn read(&self, at: usize, end: usize) -> Vec<u8> {
        let offset = at.wrapping_sub(self.execute).min(self.size);
        let size = end.saturating_sub(at).min(self.size - offset);
        // SAFETY: inside the readable mapping, and nobody writes it, by the caller.
        unsafe { std::slice::from_raw_parts((self.execute + offset) as *const u8, size) }.to_vec()
    }

    /// Patches the displacement at the executable address `at`, a multiple of 4. A thread that executes it at
    /// this moment sees the old or the new one.
    pub fn patch(&self, at: usize, displacement: i32) {
        if let Some(place) = self.displacement(at) {
            place.store(displacement, Ordering::Release);
        }
    }

    fn displacement(&self, at: usize) -> Option<&AtomicI32> {
        let offset = at.wrapping_sub(self.execute);
        let inside = offset.is_multiple_of(4) && offset <= self.size - 4;
        debug_assert!(inside, "{at:#x} is not the place of a displacement");
        // SAFETY: inside the writable mapping, which lives as long as this, and aligned; displacements are only changed here.
        inside.then(|| unsafe { AtomicI32::from_ptr((self.write + offset) as *mut i32) })
    }

    /// Gives the memory of a part back to the host; it reads as zeros until code is put there again.
    ///
    /// # Safety
    /// No thread executes code of the part.
    pub unsafe fn release(&self, part: usize) {
        let at = (self.write + FIXED + part * self.part) as *mut libc::c_void;
        // SAFETY: inside the writable mapping, to which no reference exists.
        unsafe { libc::madvise(at, self.part, libc::MADV_REMOVE) };
    }

    /// Makes every thread of this process that executes code from now on see what was put into memory before,
    /// even if it executed something else at the same address earlier (Intel SDM volume 3, 10.1.3:
    /// cross-modifying code needs a serializing instruction on the thread that executes it).
    pub fn synchronize(&self) {
        static REGISTERED: Once = Once::new();
        let barrier = |command: i32| {
            // SAFETY: changes no memory.
            unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
        };
        REGISTERED.call_once(|| {
            barrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE);
        });
        // If the host refuses: every thread has passed a safepoint since it ran the old code, millions of
        // instructions ago, and no processor is known to keep fetched code for so long.
        barrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE);
    }

    /// Start and end of the executable mapping.
    pub fn range(&self) -> (usize, usize) {
        (self.execute, self.execute + self.size)
    }

    /// In a forked child, whose mappings are shared with the parent, which continues to change its code: maps
    /// other memory at the same addresses and restores the copied code, each piece with its address.
    ///
    /// # Errors
    /// The host's error. The code must not be run then.
    pub fn after_fork(&self, copies: &[(usize, Vec<u8>)]) -> std::io::Result<()> {
        writable(self.size, Some(self.write))?;
        for (at, code) in copies {
            // SAFETY: the process has only this thread, which is here.
            unsafe { self.put(*at, code) };
        }
        executable(self.write, self.size, Some(self.execute)).map(drop)
    }
}

const READ_EXECUTE: i32 = libc::PROT_READ | libc::PROT_EXEC;
const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// Writable shared memory, replacing the mapping `at` if one is given.
fn writable(size: usize, at: Option<usize>) -> std::io::Result<usize> {
    let fixed = if at.is_some() { libc::MAP_FIXED } else { 0 };
    let (address, flags) =
        (at.unwrap_or(0) as *mut libc::c_void, libc::MAP_SHARED | libc::MAP_ANONYMOUS | fixed);
    // SAFETY: a new mapping at an address of the kernel's choice, or replacing one of this process whose
    // contents are no longer used.
    let p = unsafe { libc::mmap(address, size, READ_WRITE, flags, -1, 0) };
    if p == libc::MAP_FAILED { Err(std::io::Error::last_os_error()) } else { Ok(p as usize) }
}

/// Maps the same memory again, executable, replacing the mapping `at` if one is given. Moving 0 bytes of a
/// shared mapping maps it a second time (mremap(2)).
fn executable(write: usize, size: usize, at: Option<usize>) -> std::io::Result<usize> {
    let flags = libc::MREMAP_MAYMOVE | if at.is_some() { libc::MREMAP_FIXED } else { 0 };
    let (from, to) = (write as *mut libc::c_void, at.unwrap_or(0) as *mut libc::c_void);
    // SAFETY: `write` is a shared mapping of this size made here; the target is of the kernel's choice, or a
    // mapping made here whose code does not run now.
    let p = unsafe { libc::mremap(from, 0, size, flags, to) };
    if p == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the mapping made just now, into which nothing points yet.
    if unsafe { libc::mprotect(p, size, READ_EXECUTE) } != 0 {
        let error = std::io::Error::last_os_error();
        // SAFETY: as above.
        unsafe { libc::munmap(p, size) };
        return Err(error);
    }
    Ok(p as usize)
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        for address in [self.execute, self.write] {
            // SAFETY: mapped in `new` with this size; the vCPUs that ran the code are gone.
            unsafe { libc::munmap(address as *mut libc::c_void, self.size) };
        }
    }
}
