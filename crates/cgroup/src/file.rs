//! Control group files: three system calls to write one, four to read one.

use crate::{Error, Result};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Opens an existing file; the descriptor closes on `exec`.
pub(crate) fn open(path: &Path, flags: i32) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: reads a string of ours; the descriptor is nobody else's.
    match unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) } {
        ..0 => Err(io::Error::last_os_error()),
        // SAFETY: as above.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

/// Writes a text with a single call, because the kernel needs values in one piece.
pub(crate) fn put(fd: &OwnedFd, text: &str) -> io::Result<()> {
    // SAFETY: reads a text of ours.
    match unsafe { libc::write(fd.as_raw_fd(), text.as_ptr().cast(), text.len()) } {
        ..0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Writes a value into an existing file.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let done = open(path, libc::O_WRONLY | libc::O_TRUNC).and_then(|fd| put(&fd, text));
    done.map_err(|error| Error::file(path, "written", text, error))
}

/// Writes several values, one after the other.
pub(crate) fn write_all(path: &Path, texts: impl IntoIterator<Item = String>) -> Result<()> {
    let mut texts = texts.into_iter().peekable();
    if texts.peek().is_none() {
        return Ok(());
    }
    let fd = open(path, libc::O_WRONLY | libc::O_APPEND);
    let fd = fd.map_err(|error| Error::file(path, "written", texts.peek().map_or("", |t| t), error))?;
    texts.try_for_each(|text| put(&fd, &text).map_err(|error| Error::file(path, "written", &text, error)))
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<String> {
    // Without asking for the size first: these files have none.
    let read = || -> io::Result<String> {
        let fd = open(path, libc::O_RDONLY)?;
        let mut bytes = Vec::with_capacity(8192);
        loop {
            if bytes.capacity() - bytes.len() < 4096 {
                bytes.reserve(bytes.capacity());
            }
            let free = bytes.spare_capacity_mut();
            // SAFETY: writes into the free part of a buffer of ours.
            match unsafe { libc::read(fd.as_raw_fd(), free.as_mut_ptr().cast(), free.len()) } {
                ..0 => return Err(io::Error::last_os_error()),
                0 => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
                // SAFETY: the kernel has written so many bytes there.
                count => unsafe { bytes.set_len(bytes.len() + count as usize) },
            }
        }
    };
    read().map_err(|error| Error::file(path, "read", "", error))
}

/// Reads a number; `max` and larger values are `u64::MAX`.
pub(crate) fn number(path: &Path) -> Option<u64> {
    parse(read(path).ok()?.trim())
}

pub(crate) fn parse(text: &str) -> Option<u64> {
    if text == "max" { Some(u64::MAX) } else { text.parse().ok() }
}

/// The number that follows a key in a text of key-value lines.
pub(crate) fn value(text: &str, key: &str) -> Option<u64> {
    let pair = |line: &str| parse(line.strip_prefix(key)?.strip_prefix(' ')?.trim());
    text.lines().find_map(pair)
}

/// Creates a directory; returns whether it did not exist.
pub(crate) fn make_directory(path: &Path) -> io::Result<bool> {
    let text = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: reads a string of ours.
    if unsafe { libc::mkdir(text.as_ptr(), 0o755) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        e if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        e => Err(e),
    }
}

/// Removes an empty directory; it is not an error if it does not exist.
pub(crate) fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The directories inside a directory.
pub(crate) fn directories(path: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}
