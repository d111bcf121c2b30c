//! Two pages of RAM side by side, for accesses that cross from one into another.

use crate::{PAGE, Ram};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::time::Duration;

/// Two pages of a [`Ram`], mapped side by side for as long as this lives.
pub struct Window(NonNull<u8>);

impl Window {
    /// The host's address of the first page's first byte.
    pub fn host(&self) -> usize {
        self.0.as_ptr() as usize
    }

    fn map(file: &File, first: u64, second: u64) -> Option<Window> {
        let map = |at: *mut libc::c_void, pages: u64, offset: u64, fixed: i32| {
            let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | fixed);
            // SAFETY: a mapping at a place of the kernel's choice, or over a page that is this window's own.
            let at = unsafe {
                libc::mmap(at, (pages * PAGE) as usize, protection, flags, file.as_raw_fd(), offset as i64)
            };
            (at != libc::MAP_FAILED).then_some(at)
        };
        let window = Window(NonNull::new(map(std::ptr::null_mut(), 2, first, 0)?.cast())?);
        map((window.host() + PAGE as usize) as *mut _, 1, second, libc::MAP_FIXED)?;
        Some(window)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: both pages were mapped for this window, whose owner does not use them any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), 2 * PAGE as usize) };
    }
}

impl Ram {
    /// Maps the pages that hold two addresses side by side; `None` unless both are in RAM. Writes there do not
    /// pass the guard ([`Ram::guard`]).
    pub fn side_by_side(&self, first: u64, second: u64) -> Option<Window> {
        let file = self.file.as_ref().filter(|_| self.contains(first, 1) && self.contains(second, 1))?;
        let offset = |address: u64| (address - self.base()) & !(PAGE - 1);
        loop {
            if let Some(window) = Window::map(file, offset(first), offset(second)) {
                return Some(window);
            }
            // The host's kernel has no memory for the mapping. The access can be neither left out nor divided.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
