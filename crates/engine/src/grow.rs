//! Tables that grow while others read them.
//!
//! Address space is reserved for the maximal number of elements, so that an element never moves. It becomes
//! writable piece by piece: a limit on a process's data (`RLIMIT_DATA`) counts all writable memory, used or
//! not. There is one writer at a time and any number of readers, including a signal handler. The memory is
//! private: a forked child has its own copy.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that become writable at a time; a multiple of the host's pages.
const PIECE: usize = 256 << 10;

/// At most a fixed number of elements, none of which ever moves.
pub struct Grow<T> {
    at: NonNull<T>,
    most: usize,
    len: AtomicUsize,
    /// Bytes from the start that are writable.
    writable: AtomicUsize,
}

// SAFETY: elements below `len` are only read; those above belong to the one writer.
unsafe impl<T: Copy + Send + Sync> Sync for Grow<T> {}
// SAFETY: as above.
unsafe impl<T: Copy + Send + Sync> Send for Grow<T> {}

impl<T: Copy> Grow<T> {
    /// Reserves room for `most` elements.
    ///
    /// # Errors
    /// The host's error, if it has no address space left.
    pub fn new(most: usize) -> io::Result<Grow<T>> {
        let bytes =
            most.checked_mul(size_of::<T>()).filter(|&n| n != 0).ok_or(io::ErrorKind::InvalidInput)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Grow { at, most, len: AtomicUsize::new(0), writable: AtomicUsize::new(0) })
    }

    /// All elements.
    pub fn all(&self) -> &[T] {
        // SAFETY: every element below `len` was written before `len` was stored, and none changes while it
        // exists.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len.load(Ordering::Acquire)) }
    }

    /// Whether so many more elements fit.
    pub fn has_room(&self, more: usize) -> bool {
        more <= self.most - self.len.load(Ordering::Relaxed)
    }

    /// Makes so many bytes from the start writable, if the host allows it.
    fn make_writable(&self, bytes: usize) -> bool {
        let done = self.writable.load(Ordering::Relaxed);
        if bytes <= done {
            return true;
        }
        let end = bytes.next_multiple_of(PIECE).min(self.most * size_of::<T>());
        let (length, protection) = (end - done, libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a part of the mapping that nobody has accessed yet; both ends are multiples of the page
        // size, unless they are the mapping's own.
        let refused = unsafe { libc::mprotect(self.at.as_ptr().byte_add(done).cast(), length, protection) };
        if refused == 0 {
            self.writable.store(end, Ordering::Relaxed);
        }
        refused == 0
    }

    /// Adds elements; returns false, and adds nothing, if there is no room or memory for them.
    ///
    /// # Safety
    /// No other thread writes at the same time.
    pub unsafe fn extend(&self, elements: &[T]) -> bool {
        if !self.has_room(elements.len()) {
            return false;
        }
        let len = self.len.load(Ordering::Relaxed);
        if !self.make_writable((len + elements.len()) * size_of::<T>()) {
            return false;
        }
        // SAFETY: inside the mapping; nobody reads there before `len` is stored, and this is the only writer.
        unsafe {
            self.at.as_ptr().add(len).copy_from_nonoverlapping(elements.as_ptr(), elements.len());
        }
        self.len.store(len + elements.len(), Ordering::Release);
        true
    }

    /// Forgets all elements.
    ///
    /// # Safety
    /// No other thread writes at the same time, and none has a reference to an element.
    pub unsafe fn clear(&self) {
        self.len.store(0, Ordering::Release);
    }

    /// Gives the memory of elements that were forgotten back to the host, if there are no elements.
    ///
    /// # Safety
    /// As for [`Grow::clear`].
    pub unsafe fn release(&self) {
        if self.len.load(Ordering::Relaxed) == 0 {
            let bytes = self.writable.load(Ordering::Relaxed);
            // SAFETY: the mapping's start, of which nobody reads anything; it reads as zeros afterwards.
            unsafe { libc::madvise(self.at.as_ptr().cast(), bytes, libc::MADV_DONTNEED) };
        }
    }
}

impl<T> Drop for Grow<T> {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this size; nobody has a reference to an element any more.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.most * size_of::<T>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stay_where_they_are_and_there_are_at_most_so_many() {
        let table = Grow::new(5000).expect("mapped");
        // SAFETY: one thread.
        unsafe {
            assert!(table.extend(&[1u64, 2]));
            let first = &raw const table.all()[0];
            assert!(table.extend(&[7; 4990]) && table.has_room(8) && !table.has_room(9));
            assert!(!table.extend(&[8; 9]));
            assert_eq!((table.all().len(), &raw const table.all()[0], table.all()[1]), (4992, first, 2));
            table.clear();
            table.release();
            assert!(table.all().is_empty() && table.extend(&[9; 5000]));
            table.release();
            assert_eq!(table.all(), [9; 5000], "elements stay");
        }
        assert!(Grow::<u64>::new(0).is_err() && Grow::<u64>::new(usize::MAX).is_err());
    }

    #[test]
    fn a_reader_sees_whole_elements_while_another_thread_adds() {
        let table = Grow::new(1 << 16).expect("mapped");
        std::thread::scope(|s| {
            s.spawn(|| {
                // SAFETY: the only writer.
                (0..1u64 << 16).for_each(|n| assert!(unsafe { table.extend(&[(n, !n)]) }));
            });
            while table.all().len() < 1 << 16 {
                let last = table.all().iter().enumerate().next_back();
                assert!(last.is_none_or(|(i, &(a, b))| a == i as u64 && b == !a));
            }
        });
    }
}
