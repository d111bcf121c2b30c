//! Exclusive locks of files, which end with the last descriptor of the open file (flock(2)).

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Time between two attempts to take a lock that another process holds.
const PAUSE: Duration = Duration::from_millis(2);

/// Opens a file of this user alone, which is created if missing, and takes its lock within this time; `None` where
/// another process holds it. [`Duration::MAX`] waits for ever.
///
/// # Errors
/// The kernel's, without the file's name.
pub fn take(path: &Path, within: Duration) -> io::Result<Option<File>> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if within == Duration::MAX {
        return wait(&file).map(|()| Some(file));
    }
    let end = Instant::now() + within;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(e)) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
            Err(_) => {}
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Waits for the lock of a file that is open.
///
/// # Errors
/// The kernel's.
pub fn wait(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_taken_once_and_ends_with_its_file() {
        let path = std::env::temp_dir().join(format!("trine-lock-{}", std::process::id()));
        let first = take(&path, Duration::ZERO).unwrap().unwrap();
        assert!(take(&path, Duration::ZERO).unwrap().is_none());
        let start = Instant::now();
        assert!(take(&path, Duration::from_millis(30)).unwrap().is_none());
        assert!(start.elapsed() >= Duration::from_millis(30));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| take(&path, Duration::MAX).unwrap().is_some());
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waits.is_finished());
            drop(first);
            assert!(waits.join().unwrap());
        });
        assert!(take(&path, Duration::ZERO).unwrap().is_some());
        assert!(take(&path.join("below"), Duration::ZERO).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
