//! Map files of `perf`: names for generated code (tools/perf/Documentation/jit-interface.txt in Linux). One
//! line for each piece of code, written when it is made: address and size in hexadecimal digits, name.
//!
//! Callers provide the names: this module knows nothing of executables and their symbols.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Gives the name of code for a guest's PC.
pub type Name = Box<dyn FnMut(u64) -> String + Send>;

/// What to do with an existing map file for this process's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// It belongs to an earlier process and is removed.
    New,
    /// It belongs to this process, before it executed another program, and is continued.
    Append,
}

/// Name of the code that every vCPU has: the thunks into and out of generated code.
const FIXED: &str = "trine: into and out of generated code";

/// The open file, and its identity: a program may close this descriptor and open another file there.
struct Open {
    file: File,
    identity: (u64, u64),
}

struct Inner {
    open: Option<Open>,
    name: Name,
}

/// A map file.
pub struct PerfMap {
    inner: Mutex<Inner>,
    lowest: RawFd,
}

fn identity(file: &File) -> Result<(u64, u64)> {
    let is = file.metadata()?;
    Ok((is.dev(), is.ino()))
}

/// Where `perf` looks for the map of this process.
pub fn path() -> PathBuf {
    PathBuf::from(format!("/tmp/perf-{}.map", std::process::id()))
}

/// Whether the file belongs to this user.
fn is_own(is: &std::fs::Metadata) -> bool {
    // SAFETY: only returns a number.
    is.is_file() && is.nlink() == 1 && is.uid() == unsafe { libc::geteuid() }
}

/// Creates the file, or opens this user's own.
fn create(start: Start) -> Result<File> {
    let path = path();
    if start == Start::Append {
        let mut options = OpenOptions::new();
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = options.read(true).append(true).custom_flags(flags).open(&path);
        if let Some(file) = file.ok().filter(|f| f.metadata().is_ok_and(|m| is_own(&m))) {
            return Ok(file);
        }
    }
    let make = || {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create_new(true).mode(0o600).open(&path)
    };
    match make() {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            if !is_own(&path.symlink_metadata()?) {
                return Err(e);
            }
            std::fs::remove_file(&path)?;
            make()
        }
        made => made,
    }
}

/// Opens the new file on a descriptor from `lowest` on, if one is free.
fn open(start: Start, lowest: RawFd) -> Result<Open> {
    let file = create(start)?;
    // SAFETY: duplicates a descriptor.
    let high = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) };
    // SAFETY: just made; nobody else owns it.
    let file = if high >= 0 { unsafe { File::from_raw_fd(high) } } else { file };
    Ok(Open { identity: identity(&file)?, file })
}

impl Open {
    fn is_here(&self) -> bool {
        identity(&self.file).is_ok_and(|i| i == self.identity)
    }
}

impl PerfMap {
    /// Creates this process's map file. Its descriptor is `lowest` or higher if the host allows that.
    ///
    /// # Errors
    /// The host's error, if the file cannot be created.
    pub fn create(start: Start, lowest: RawFd, name: Name) -> Result<PerfMap> {
        let open = Some(open(start, lowest)?);
        Ok(PerfMap { inner: Mutex::new(Inner { open, name }), lowest })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds `size` bytes of code at the host's address `code`, made for the guest's `pc`, or for every guest.
    pub fn add(&self, code: usize, size: usize, pc: Option<u64>) {
        let mut inner = self.lock();
        let name = pc.map_or_else(|| FIXED.into(), &mut inner.name);
        let name: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        if let Some(open) = inner.open.as_mut().filter(|o| o.is_here()) {
            // One write: a process that is ended leaves whole lines. Lines that the disk has no room for are
            // missing.
            let _ = open.file.write_all(format!("{code:x} {size:x} {name}\n").as_bytes());
        }
    }

    /// Calls `f` while no other thread writes; for `fork`.
    pub fn quiet<T>(&self, f: impl FnOnce() -> T) -> T {
        let _inner = self.lock();
        f()
    }

    /// In a forked child: a map file of its own, with the contents of its parent's, whose code it has, too.
    ///
    /// # Errors
    /// The host's error; there is no map then.
    pub fn after_fork(&self) -> Result<()> {
        let mut inner = self.lock();
        let Some(mut old) = inner.open.take() else { return Ok(()) };
        if !old.is_here() {
            // Whatever the program has there stays open.
            std::mem::forget(old);
            return Err(Error::from(ErrorKind::NotFound));
        }
        let mut text = Vec::new();
        // The position is shared with the parent, which appends and does not use it.
        old.file.rewind()?;
        old.file.read_to_end(&mut text)?;
        let mut new = open(Start::New, self.lowest)?;
        new.file.write_all(&text)?;
        inner.open = Some(new);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_the_end_of_a_closed_descriptor() {
        let map = PerfMap::create(Start::New, 300, Box::new(|pc| format!("at\n{pc}"))).expect("made");
        map.add(0xabc0, 0x20, Some(7));
        let again = PerfMap::create(Start::Append, 300, Box::new(|_| String::new())).expect("opened");
        again.add(0x1000, 16, None);
        let text = || std::fs::read_to_string(path()).expect("there");
        let lines = "abc0 20 at?7\n1000 10 trine: into and out of generated code\n";
        assert_eq!(text(), lines);
        // A file of the program's at that descriptor is not written to.
        let other = std::env::temp_dir().join(format!("trine-perf-{}", std::process::id()));
        let fd = map.lock().open.as_ref().map(|o| o.file.as_raw_fd()).expect("open");
        let file = File::create(&other).expect("made");
        // SAFETY: replaces a descriptor of this test's.
        assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), fd) }, fd);
        map.add(1, 1, Some(1));
        let written = std::fs::read(&other).expect("there");
        let kept = text();
        std::fs::remove_file(&other).expect("removed");
        std::fs::remove_file(path()).expect("removed");
        assert_eq!((fd >= 300, &written[..], &kept[..]), (true, &b""[..], lines));
    }
}
