//! Memory for generated code: one memfd mapped twice, read-execute and read-write. No mapping is
//! ever both writable and executable.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

/// Code memory of one vCPU.
pub struct CodeMemory {
    execute: usize,
    write: usize,
    size: usize,
    used: usize,
    /// The mappings have no file.
    bare: bool,
}

impl CodeMemory {
    /// `size` bytes; pages are taken from the host when they are first used.
    pub fn new(size: usize) -> std::io::Result<CodeMemory> {
        let file = new_file(size)?;
        let execute = map(&file, size, READ_EXECUTE, None)?;
        let write = map(&file, size, READ_WRITE, None).inspect_err(|_| {
            // SAFETY: mapped just now, and nothing points into it yet.
            unsafe { libc::munmap(execute as *mut libc::c_void, size) };
        })?;
        Ok(CodeMemory { execute, write, size, used: 0, bare: false })
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

    /// Overwrites bytes of code at the executable address `at`.
    pub fn patch<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        let offset = at.wrapping_sub(self.execute);
        if offset <= self.size - N {
            // SAFETY: inside the writable mapping; only this vCPU's thread runs this code, and it
            // is not inside it now.
            unsafe { ((self.write + offset) as *mut [u8; N]).write(bytes) };
        }
    }

    /// Start and end of the executable mapping.
    pub fn range(&self) -> (usize, usize) {
        (self.execute, self.execute + self.size)
    }

    /// Before a fork: a copy for the child, whose mappings would otherwise be shared with the parent, which goes on
    /// changing its code.
    pub fn before_fork(&self) -> std::io::Result<File> {
        let file = new_file(self.size)?;
        // SAFETY: the used part lies inside the readable mapping, and only this thread writes it.
        let used = unsafe { std::slice::from_raw_parts(self.execute as *const u8, self.used) };
        file.write_all_at(used, 0)?;
        Ok(file)
    }

    /// In the process just forked: takes the copy, at the same addresses.
    pub fn after_fork(&mut self, file: File) -> std::io::Result<()> {
        if self.bare {
            return self.map_bare(&file);
        }
        for (at, protection) in [(self.execute, READ_EXECUTE), (self.write, READ_WRITE)] {
            map(&file, self.size, protection, Some(at))?;
        }
        Ok(())
    }

    /// Puts memory without a file in place of the memfd: only there does `perf` look for names in map files.
    pub fn make_bare(&mut self) -> std::io::Result<()> {
        let copy = self.before_fork()?;
        self.bare = true;
        self.map_bare(&copy)
    }

    /// Memory without a file at the same addresses, with the contents of `file`.
    fn map_bare(&mut self, file: &File) -> std::io::Result<()> {
        let (write, execute) = (self.write as *mut libc::c_void, self.execute as *mut libc::c_void);
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: in place of our writable mapping, to which no reference exists.
        let p = unsafe { libc::mmap(write, self.size, READ_WRITE, flags, -1, 0) };
        if p == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: the mapping made just now, which only this thread knows.
        let used = unsafe { std::slice::from_raw_parts_mut(self.write as *mut u8, self.used) };
        file.read_exact_at(used, 0)?;
        // A shared mapping of which 0 bytes are moved is there twice afterwards (mremap(2)).
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        // SAFETY: in place of our executable mapping, whose code does not run now; the contents are the same.
        let p = unsafe { libc::mremap(write, 0, self.size, flags, execute) };
        // SAFETY: as above.
        if p == libc::MAP_FAILED || unsafe { libc::mprotect(execute, self.size, READ_EXECUTE) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(())
    }

    /// Forgets all code behind the first `keep` bytes.
    pub fn truncate(&mut self, keep: usize) {
        self.used = keep.min(self.used);
    }
}

const READ_EXECUTE: i32 = libc::PROT_READ | libc::PROT_EXEC;
const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;

fn new_file(size: usize) -> std::io::Result<File> {
    // SAFETY: a literal name; the result is checked.
    let fd = unsafe { libc::memfd_create(c"trine-code".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: `fd` was just made and nobody else owns it.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(size as u64)?;
    Ok(file)
}

/// Maps the file, in place of the mapping `at` where one is given.
fn map(file: &File, size: usize, protection: i32, at: Option<usize>) -> std::io::Result<usize> {
    let flags = libc::MAP_SHARED | if at.is_some() { libc::MAP_FIXED } else { 0 };
    let (address, fd) = (at.unwrap_or(0) as *mut libc::c_void, file.as_raw_fd());
    // SAFETY: a new shared mapping at an address of the kernel's choice, or in place of one of ours with the
    // same contents.
    let p = unsafe { libc::mmap(address, size, protection, flags, fd, 0) };
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
