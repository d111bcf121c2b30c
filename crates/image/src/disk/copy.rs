//! Copies of disks: shared with the original where the file system can do that, otherwise with its holes.

use crate::ImageError;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The most bytes that are copied by one call.
const PIECE: usize = 64 << 20;

/// Copies a raw disk to the new file `to`, which appears when it is complete. Parts without data take no room.
///
/// # Errors
/// The original cannot be read, or the host has no room; nothing of the copy stays then.
pub fn sparse(from: &Path, to: &Path) -> Result<(), ImageError> {
    let source = File::open(from).map_err(ImageError::file("cannot open", from))?;
    let unfinished = to.with_extension(format!("new{}", std::process::id()));
    let made = File::create(&unfinished)
        .and_then(|copy| contents(&source, &copy))
        .and_then(|()| fs::rename(&unfinished, to));
    made.map_err(|e| {
        drop(fs::remove_file(&unfinished));
        ImageError::file("cannot write the disk", to)(e)
    })
}

/// Copies the contents of a file into an empty one.
pub(super) fn contents(source: &File, copy: &File) -> io::Result<()> {
    // SAFETY: the call takes two descriptors, which are open.
    if unsafe { libc::ioctl(copy.as_raw_fd(), libc::FICLONE as _, source.as_raw_fd()) } == 0 {
        return Ok(());
    }
    let size = source.metadata()?.len();
    copy.set_len(size)?;
    let mut at = 0;
    while let Some(start) = next(source, at, libc::SEEK_DATA)? {
        let end = next(source, start, libc::SEEK_HOLE)?.unwrap_or(size);
        piece(source, copy, start, end)?;
        at = end;
    }
    Ok(())
}

/// Where data or a hole begins, at `at` or behind it; `None` where there is none up to the end.
fn next(file: &File, at: u64, whence: i32) -> io::Result<Option<u64>> {
    // SAFETY: the call takes a descriptor that is open, and numbers.
    match unsafe { libc::lseek64(file.as_raw_fd(), at as i64, whence) } {
        -1 => match io::Error::last_os_error() {
            e if e.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            e => Err(e),
        },
        found => Ok(Some(found as u64)),
    }
}

fn piece(source: &File, copy: &File, mut at: u64, end: u64) -> io::Result<()> {
    while at < end {
        let most = (end - at).min(PIECE as u64) as usize;
        let (mut from, mut to) = (at as i64, at as i64);
        // SAFETY: the call takes two descriptors, which are open, and the addresses of two numbers.
        let n = unsafe {
            libc::copy_file_range(source.as_raw_fd(), &mut from, copy.as_raw_fd(), &mut to, most, 0)
        };
        match n {
            -1 => match io::Error::last_os_error() {
                // The kernel does not copy between these two file systems.
                e if matches!(e.raw_os_error(), Some(libc::EXDEV | libc::EOPNOTSUPP | libc::EINVAL)) => {
                    return by_hand(source, copy, at, end);
                }
                e => return Err(e),
            },
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => at += n as u64,
        }
    }
    Ok(())
}

fn by_hand(source: &File, copy: &File, mut at: u64, end: u64) -> io::Result<()> {
    let mut buf = vec![0; 1 << 20];
    while at < end {
        let buf = &mut buf[..(end - at).min(1 << 20) as usize];
        source.read_exact_at(buf, at)?;
        copy.write_all_at(buf, at)?;
        at += buf.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_copy_has_the_data_and_the_holes() {
        let dir = std::env::temp_dir().join(format!("trine-copy-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (from, to) = (dir.join("a.raw"), dir.join("b.raw"));
        let file = File::create(&from).unwrap();
        file.set_len(1 << 30).unwrap();
        for at in [0, 5 << 20, (1 << 30) - 3] {
            file.write_all_at(b"abc", at).unwrap();
        }
        sparse(&from, &to).unwrap();
        let copy = File::open(&to).unwrap();
        let read = |at| {
            let mut bytes = [0; 3];
            copy.read_exact_at(&mut bytes, at).unwrap();
            bytes
        };
        assert_eq!([0, 5 << 20, (1 << 30) - 3].map(read), [*b"abc"; 3]);
        assert_eq!(read(100 << 20), [0; 3]);
        let meta = copy.metadata().unwrap();
        assert!(meta.len() == 1 << 30 && meta.blocks() < 1 << 12, "{} blocks", meta.blocks());
        by_hand(&File::open(&to).unwrap(), &File::create(dir.join("c")).unwrap(), 3, 9).unwrap();
        assert_eq!(fs::read(dir.join("c")).unwrap(), [0; 9]);
        fs::remove_file(dir.join("c")).unwrap();
        // The whole directory has the two files and nothing unfinished.
        assert!(sparse(&dir.join("none"), &dir.join("c.raw")).is_err());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
        fs::remove_dir_all(&dir).unwrap();
    }
}
