//! Memory for generated code: one memfd mapped twice, read-execute and read-write. No mapping is
//! ever both writable and executable.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};

/// Code memory of one vCPU.
pub struct CodeMemory {
    execute: usize,
    write: usize,
    size: usize,
    used: usize,
    _file: File,
}

impl CodeMemory {
    /// `size` bytes; pages are taken from the host when they are first used.
    pub fn new(size: usize) -> std::io::Result<CodeMemory> {
        // SAFETY: a literal name; the result is checked.
        let fd = unsafe { libc::memfd_create(c"trine-code".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: `fd` was just made and nobody else owns it.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(size as u64)?;
        let execute = map(&file, size, libc::PROT_READ | libc::PROT_EXEC)?;
        let write = map(&file, size, libc::PROT_READ | libc::PROT_WRITE).inspect_err(|_| {
            // SAFETY: mapped just now, and nothing points into it yet.
            unsafe { libc::munmap(execute as *mut libc::c_void, size) };
        })?;
        Ok(CodeMemory { execute, write, size, used: 0, _file: file })
    }

    /// Host address at which the next code will run.
    pub fn next(&self) -> usize {
        self.execute + self.used
    }

    /// Bytes used.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Adds code; gives the address at which it runs, or `None` where the memory is full.
    pub fn add(&mut self, code: &[u8]) -> Option<usize> {
        let at = self.used;
        if code.len() > self.size - at {
            return None;
        }
        // SAFETY: `at .. at + len` lies inside the writable mapping, and no reference to it exists.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), (self.write + at) as *mut u8, code.len()) };
        self.used = (at + code.len()).next_multiple_of(16).min(self.size);
        Some(self.execute + at)
    }

    /// The code from the executable address `at` to the end.
    pub fn read(&self, at: usize) -> Vec<u8> {
        let offset = at.wrapping_sub(self.execute).min(self.used);
        // SAFETY: inside the readable mapping; nobody writes it meanwhile.
        unsafe { std::slice::from_raw_parts((self.execute + offset) as *const u8, self.used - offset) }
            .to_vec()
    }

    /// Overwrites four bytes of code at the executable address `at`.
    pub fn patch(&mut self, at: usize, value: i32) {
        let offset = at.wrapping_sub(self.execute);
        if offset <= self.size - 4 {
            // SAFETY: inside the writable mapping; only this vCPU's thread runs this code, and it
            // is not inside it now.
            unsafe { ((self.write + offset) as *mut i32).write_unaligned(value) };
        }
    }

    /// Forgets all code behind the first `keep` bytes.
    pub fn truncate(&mut self, keep: usize) {
        self.used = keep.min(self.used);
    }
}

fn map(file: &File, size: usize, protection: i32) -> std::io::Result<usize> {
    let (anywhere, fd) = (std::ptr::null_mut(), file.as_raw_fd());
    // SAFETY: a new shared mapping at an address of the kernel's choice.
    let p = unsafe { libc::mmap(anywhere, size, protection, libc::MAP_SHARED, fd, 0) };
    if p == libc::MAP_FAILED { Err(std::io::Error::last_os_error()) } else { Ok(p as usize) }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        for address in [self.execute, self.write] {
            // SAFETY: mapped in `new` with this size; the vCPU that ran the code is gone.
            unsafe { libc::munmap(address as *mut libc::c_void, self.size) };
        }
    }
}
