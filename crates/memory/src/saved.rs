//! RAM that is written to a file, and RAM that is mapped from one.

use crate::{MemoryError, PAGE, Ram, map};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::PoisonError;
use trine_base::Width;

/// Bytes that are read at a time.
const PIECE: u64 = 1 << 20;
const ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];

/// A part of a value: guest-physical address, and bytes (1 to 7).
type Part = (u64, u64);

impl Ram {
    /// Creates RAM that has the `size` bytes at `offset` of a file, copy-on-write: the file is never written, and is read
    /// as the guest needs it. It must not be changed meanwhile; where it is cut off, an access ends the process by SIGBUS.
    ///
    /// # Errors
    /// As [`Ram::new`]; the file is shorter, or `offset` is not a multiple of the page size.
    pub fn copy_on_write(base: u64, size: u64, file: &File, offset: u64) -> Result<Ram, MemoryError> {
        crate::check(base, size)?;
        let fail = |error| MemoryError::Host { bytes: size, error };
        let end = file.metadata().map_err(fail)?.len();
        if offset.checked_add(size).is_none_or(|needed| needed > end) {
            return Err(fail(io::Error::other("the file that has its contents is too short")));
        }
        Ok(Ram::of(base, size, map(file, offset, size, libc::MAP_PRIVATE)?, None))
    }

    /// Writes the contents to `offset` (a multiple of the page size) of a file that has only zeros there, and makes the
    /// file end behind them. Pages of zeros are left out. No vCPU and no device may write meanwhile.
    ///
    /// # Errors
    /// The host's.
    pub fn save(&self, file: &File, offset: u64) -> io::Result<()> {
        file.set_len(offset + self.size)?;
        let mut piece = vec![0; PIECE as usize];
        let mut at = 0;
        while let Some((start, end)) = self.next_data(at)? {
            for from in (start..end).step_by(PIECE as usize) {
                let piece = &mut piece[..(end - from).min(PIECE) as usize];
                match &self.file {
                    Some(memory) => memory.read_exact_at(piece, from)?,
                    None => self.read(self.base + from, piece).ok_or(io::ErrorKind::UnexpectedEof)?,
                }
                write_pages(file, offset + from, piece)?;
            }
            at = end;
        }
        Ok(())
    }

    /// The next range of offsets that may have anything but zeros, from `at` on; `None` where there is none.
    fn next_data(&self, at: u64) -> io::Result<Option<(u64, u64)>> {
        // Asking a private mapping for its own pages would take a look at every page, too.
        let Some(file) = &self.file else { return Ok((at < self.size).then_some((at, self.size))) };
        let seek = |from: u64, whence| {
            // SAFETY: the call takes a descriptor that is open, and numbers.
            match unsafe { libc::lseek64(file.as_raw_fd(), from as i64, whence) } {
                -1 => match io::Error::last_os_error() {
                    e if e.raw_os_error() == Some(libc::ENXIO) => Ok(None),
                    e => Err(e),
                },
                found => Ok(Some(found as u64)),
            }
        };
        let Some(start) = seek(at, libc::SEEK_DATA)? else { return Ok(None) };
        Ok(Some((start, seek(start, libc::SEEK_HOLE)?.unwrap_or(self.size))))
    }

    /// Atomic update of a value in the last bytes of a page and the first ones of another page that is no neighbour, where
    /// [`Ram::side_by_side`] cannot map them: the pages of a private mapping exist once only. Gives the old value; `None`
    /// where it is not in RAM. It is atomic for other updates made here; the halves change one after the other, which
    /// another vCPU's plain load can see.
    pub fn update_apart(&self, parts: [Part; 2], f: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let _alone = self.apart.lock().unwrap_or_else(PoisonError::into_inner);
        let [(first, low), (second, high)] = parts;
        if !(1..8).contains(&low) || !(1..8).contains(&high) || low + high > 8 {
            return None;
        }
        // Each half lies in one aligned word: at its end, and at its beginning.
        let words = [first.checked_add(low)?.checked_sub(8)?, second];
        let (shift, bits) = (64 - 8 * low, 8 * low);
        let mask = (1u64 << (8 * high)) - 1;
        loop {
            let [left, right] = [self.load(words[0], Width::B8)?, self.load(words[1], Width::B8)?];
            let old = left >> shift | (right & mask) << bits;
            let Some(new) = f(old) else { return Some(old) };
            let new_left = left & !(u64::MAX << shift) | new << shift;
            if self.compare_exchange(words[0], Width::B8, left, new_left)? != left {
                continue;
            }
            let new_right = right & !mask | (new >> bits) & mask;
            if self.compare_exchange(words[1], Width::B8, right, new_right)? == right {
                return Some(old);
            }
            // Taken back unless somebody has changed it meanwhile; then it is as if that had come later.
            self.compare_exchange(words[0], Width::B8, new_left, left)?;
        }
    }
}

/// Writes those pages that are not zero, neighbours at once.
fn write_pages(file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    let pages: Vec<&[u8]> = bytes.chunks(PAGE as usize).collect();
    let is_zero = |page: &[u8]| page == &ZEROS[..page.len()];
    let mut from = 0;
    for run in pages.chunk_by(|a, b| is_zero(a) == is_zero(b)) {
        let len: usize = run.iter().map(|page| page.len()).sum();
        if !run.first().is_some_and(|page| is_zero(page)) {
            file.write_all_at(&bytes[from..from + len], at + from as u64)?;
        }
        from += len;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const BASE: u64 = 0x8000_0000;

    fn scratch(name: &str) -> File {
        let path = std::env::temp_dir().join(format!("trine-ram-{name}-{}", std::process::id()));
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    /// RAM of 16 MiB with a few bytes in it, saved behind two pages of something else.
    fn saved(name: &str) -> File {
        let ram = Ram::new(BASE, 16 << 20).unwrap();
        ram.write(BASE, b"first").unwrap();
        ram.write(BASE + (5 << 20) + 4094, b"across").unwrap();
        ram.write(BASE + (16 << 20) - 4, b"last").unwrap();
        // Written, but zero.
        ram.write(BASE + (9 << 20), &[0; 4096]).unwrap();
        let file = scratch(name);
        ram.save(&file, 2 * PAGE).unwrap();
        file
    }

    fn text(ram: &Ram, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        ram.read(at, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn memory_comes_back_and_what_is_zero_takes_no_room() {
        let file = saved("back");
        let meta = file.metadata().unwrap();
        assert_eq!(meta.len(), 2 * PAGE + (16 << 20));
        assert!(meta.blocks() <= 8 * 8, "{} blocks", meta.blocks());
        let [one, two] = [(); 2].map(|()| Ram::copy_on_write(BASE, 16 << 20, &file, 2 * PAGE).unwrap());
        for ram in [&one, &two] {
            assert_eq!(text(ram, BASE, 5), b"first");
            assert_eq!(text(ram, BASE + (5 << 20) + 4094, 6), b"across");
            assert_eq!(text(ram, BASE + (16 << 20) - 4, 4), b"last");
        }
        // Each has its own.
        one.write(BASE, b"other").unwrap();
        assert_eq!((text(&one, BASE, 5), text(&two, BASE, 5)), (b"other".to_vec(), b"first".to_vec()));
        // And can be saved again.
        let again = scratch("again");
        one.save(&again, 0).unwrap();
        let third = Ram::copy_on_write(BASE, 16 << 20, &again, 0).unwrap();
        assert_eq!(text(&third, BASE, 5), b"other");
        assert_eq!(text(&third, BASE + (16 << 20) - 4, 4), b"last");
        assert_eq!(one.discard(BASE, PAGE), Some(()));
        assert_eq!(text(&one, BASE, 5), b"other");
    }

    #[test]
    fn what_cannot_be_mapped_is_refused() {
        let file = saved("refused");
        let error =
            |offset, size| Ram::copy_on_write(BASE, size, &file, offset).map(drop).unwrap_err().to_string();
        assert!(error(3 * PAGE, 16 << 20).contains("too short"));
        assert!(error(u64::MAX - 5, 16 << 20).contains("too short"));
        assert!(error(100, PAGE).contains("refused"));
        assert!(error(0, 100).contains("multiple of 4096"));
    }

    #[test]
    fn a_value_in_two_pages_of_a_private_mapping() {
        let ram = Ram::copy_on_write(BASE, 16 << 20, &saved("apart"), 2 * PAGE).unwrap();
        assert!(ram.side_by_side(BASE, BASE + 2 * PAGE).is_none());
        let parts = [(BASE + PAGE - 3, 3), (BASE + 5 * PAGE, 5)];
        ram.write(BASE + PAGE - 8, &[0x11; 8]).unwrap();
        ram.write(BASE + 5 * PAGE, &[0x22; 8]).unwrap();
        let old = ram.update_apart(parts, |old| Some(old + 1));
        assert_eq!(old, Some(0x2222_2222_2211_1111));
        assert_eq!(ram.update_apart(parts, |_| None), Some(0x2222_2222_2211_1112));
        assert_eq!(text(&ram, BASE + PAGE - 8, 8), [0x11, 0x11, 0x11, 0x11, 0x11, 0x12, 0x11, 0x11]);
        assert_eq!(text(&ram, BASE + 5 * PAGE, 8), [0x22; 8]);
        // No update of several threads is lost.
        let small = [(BASE + PAGE - 1, 1), (BASE + 9 * PAGE, 3)];
        ram.write(BASE + PAGE - 1, &[0]).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| _ = ram.update_apart(small, |old| Some(old + 1))));
            }
        });
        assert_eq!(ram.update_apart(small, |_| None), Some(4000));
        assert_eq!(ram.update_apart([(BASE, 8), (BASE, 1)], Some), None);
        assert_eq!(ram.update_apart([(0, 1), (BASE, 1)], Some), None);
    }
}
