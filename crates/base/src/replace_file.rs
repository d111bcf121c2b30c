//! Files that are replaced as a whole: written under another name in the same directory, then renamed, so that whoever
//! reads finds all of the old content or all of the new.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a replaced file may contain after the host has crashed or lost power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Anything: nothing waits for the disk. For files that are of no use after a restart.
    Volatile,
    /// All of the old content or all of the new: the new content is on the disk before the file is renamed.
    Whole,
    /// The new content: when the call returns, the directory is on the disk, too.
    Lasting,
}

/// A file under a temporary name that is to replace another one. Dropped before [`NewFile::put`], it is removed.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    temporary: PathBuf,
    to: PathBuf,
    is_put: bool,
}

impl NewFile {
    /// Makes an empty file in the directory of `to`, with the permissions `mode`, restricted by the process's umask.
    ///
    /// # Errors
    /// The kernel's, without the file's name.
    pub fn beside(to: &Path, mode: u32) -> io::Result<NewFile> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let dir = directory(to);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let temporary = dir.join(format!(".new-{}-{count}", std::process::id()));
            let mut options = OpenOptions::new();
            match options.write(true).create_new(true).mode(mode).open(&temporary) {
                // Another process had or has this process ID: an earlier one, or one in another PID namespace.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                file => return Ok(NewFile { file: file?, temporary, to: to.into(), is_put: false }),
            }
        }
    }

    /// The file, to be written at any place.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Renames it to the file that it replaces.
    ///
    /// # Errors
    /// As [`NewFile::beside`]. The old file is still there, except where only the directory could not be synced.
    pub fn put(mut self, durability: Durability) -> io::Result<()> {
        if durability != Durability::Volatile {
            self.file.sync_all()?;
        }
        fs::rename(&self.temporary, &self.to)?;
        self.is_put = true;
        match durability {
            Durability::Lasting => sync_directory(directory(&self.to)),
            _ => Ok(()),
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_put {
            drop(fs::remove_file(&self.temporary));
        }
    }
}

/// Replaces a file, or makes it, with this content and the permissions `mode`, as [`NewFile`] does.
///
/// # Errors
/// As [`NewFile::put`].
pub fn replace(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let mut file = NewFile::beside(path, mode)?;
    file.write_all(bytes)?;
    file.put(durability)
}

/// Makes the names in a directory durable.
///
/// # Errors
/// As [`NewFile::beside`].
pub fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The directory that a file is in.
fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ if file.is_absolute() => Path::new("/"),
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn scratch(test: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("trine-replace-{test}-{}", std::process::id()));
        drop(fs::remove_dir_all(&dir));
        fs::create_dir(&dir).unwrap();
        dir
    }

    fn names(dir: &Path) -> Vec<String> {
        let names = dir.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let dir = scratch("whole");
        let path = dir.join("file");
        for (content, durability) in
            [("old", Durability::Volatile), ("newer", Durability::Whole), ("new", Durability::Lasting)]
        {
            replace(&path, content.as_bytes(), 0o600, durability).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        // One that is given up leaves the old content; so does one that cannot be renamed.
        let mut given_up = NewFile::beside(&path, 0o600).unwrap();
        given_up.write_all(b"half").unwrap();
        drop(given_up);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        fs::create_dir(dir.join("dir")).unwrap();
        assert!(replace(&dir.join("dir"), b"x", 0o600, Durability::Volatile).is_err());
        assert!(replace(&dir.join("none/file"), b"x", 0o600, Durability::Volatile).is_err());
        let mut left = names(&dir);
        left.sort();
        assert_eq!(left, ["dir", "file"]);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn readers_find_whole_content_while_writers_replace_it() {
        let dir = scratch("race");
        let path = dir.join("file");
        let contents = ["a".repeat(5000), "b".repeat(9000)];
        replace(&path, contents[0].as_bytes(), 0o600, Durability::Volatile).unwrap();
        std::thread::scope(|scope| {
            let writers = contents.each_ref().map(|content| {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..200 {
                        replace(path, content.as_bytes(), 0o600, Durability::Volatile).unwrap();
                    }
                })
            });
            while !writers.iter().all(|w| w.is_finished()) {
                let text = fs::read_to_string(&path).unwrap();
                assert!(contents.contains(&text), "{} bytes", text.len());
            }
        });
        assert_eq!(names(&dir), ["file"]);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn directories_of_files() {
        for (file, dir) in [("/a/b", "/a"), ("/a", "/"), ("a", "."), ("a/b", "a")] {
            assert_eq!(directory(Path::new(file)), Path::new(dir), "{file}");
        }
    }
}
