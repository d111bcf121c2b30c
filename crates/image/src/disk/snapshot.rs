//! A disk whose writes are kept in memory and discarded at the end; the disk below is never written.

use std::collections::HashMap;
use trine_base::{BlockBackend, BlockError};

/// Size in bytes of the unit in which writes are kept.
const CHUNK: usize = 4096;

/// A snapshot over another disk.
pub struct Snapshot {
    base: Box<dyn BlockBackend>,
    written: HashMap<u64, Box<[u8]>>,
}

impl Snapshot {
    /// Creates a snapshot over `base`.
    pub fn over(base: Box<dyn BlockBackend>) -> Snapshot {
        Snapshot { base, written: HashMap::new() }
    }

    fn chunk(&mut self, n: u64) -> Result<&mut Box<[u8]>, BlockError> {
        if !self.written.contains_key(&n) {
            let mut chunk = vec![0; CHUNK].into_boxed_slice();
            let at = n * CHUNK as u64;
            let len = (self.base.size() - at).min(CHUNK as u64) as usize;
            self.base.read_at(at, &mut chunk[..len])?;
            self.written.insert(n, chunk);
        }
        self.written.get_mut(&n).ok_or(BlockError::ReadOnly)
    }
}

/// Splits `offset .. offset + len`: chunk, offset in the chunk, range in the buffer.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let inside = (at % CHUNK as u64) as usize;
        let n = (CHUNK - inside).min(len - done);
        let range = done..done + n;
        done += n;
        (n > 0).then_some((at / CHUNK as u64, inside, range))
    })
}

impl BlockBackend for Snapshot {
    fn size(&self) -> u64 {
        self.base.size()
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        BlockError::check_range(self.size(), offset, buf.len())?;
        for (n, inside, range) in pieces(offset, buf.len()) {
            let len = range.len();
            match self.written.get(&n) {
                Some(chunk) => buf[range].copy_from_slice(&chunk[inside..inside + len]),
                None => self.base.read_at(n * CHUNK as u64 + inside as u64, &mut buf[range])?,
            }
        }
        Ok(())
    }

    fn write_at(&mut self, offset: u64, buf: &[u8]) -> Result<(), BlockError> {
        BlockError::check_range(self.size(), offset, buf.len())?;
        for (n, inside, range) in pieces(offset, buf.len()) {
            let len = range.len();
            self.chunk(n)?[inside..inside + len].copy_from_slice(&buf[range]);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{RawDisk, Shared};
    use std::path::PathBuf;

    fn scratch(name: &str, bytes: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("trine-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn the_file_below_is_never_written() {
        let path = scratch("snapshot", &[7; 8192 + 512]);
        let mut disk = Snapshot::over(Box::new(RawDisk::open(&path, true).unwrap()));
        disk.write_at(4000, &[1; 300]).unwrap();
        disk.write_at(8192, &[2; 512]).unwrap();
        let mut buf = [0; 302];
        disk.read_at(3999, &mut buf).unwrap();
        assert_eq!((buf[0], buf[1], buf[300], buf[301]), (7, 1, 1, 7));
        assert!(disk.write_at(8192 + 511, &[0; 2]).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), vec![7; 8192 + 512]);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn one_image_is_not_written_by_two() {
        let path = scratch("locked", &[0; 512]);
        let open = |read_only| RawDisk::open(&path, read_only);
        let writer = open(false).unwrap();
        for read_only in [false, true] {
            let error = open(read_only).unwrap_err().to_string();
            assert!(error.contains("in use by another machine"), "{error}");
        }
        drop(writer);
        let readers = [open(true).unwrap(), open(true).unwrap()];
        assert!(open(false).is_err());
        drop(readers);
        let mut one = Shared::new(Box::new(open(false).unwrap()));
        let mut two = one.clone();
        one.write_at(0, &[5]).unwrap();
        drop(one);
        let mut byte = [0];
        two.read_at(0, &mut byte).unwrap();
        assert_eq!(byte, [5]);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_no_disk_is_refused() {
        let odd = scratch("odd", &[0; 513]);
        let error = RawDisk::open(&odd, true).unwrap_err().to_string();
        assert!(error.ends_with("this file has 513: it is cut off or not a disk"), "{error}");
        std::fs::remove_file(odd).unwrap();
        let mut read_only = RawDisk::open(&scratch("ro", &[0; 512]), true).unwrap();
        assert!(matches!(read_only.write_at(0, &[1]), Err(BlockError::ReadOnly)));
        std::fs::remove_file(scratch("ro", &[0; 512])).unwrap();
    }
}
