//! Directories of the cache that appear when all of their files are in them.

use crate::ImageError;
use std::fs;
use std::path::Path;

/// Makes a directory with these files. Where there is one already, it stays unless `replaces`: another process has just
/// made it, with the same content.
///
/// # Errors
/// Where the host refuses.
pub fn make<'a>(
    dir: &Path,
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    replaces: bool,
) -> Result<(), ImageError> {
    let new = dir.with_extension(format!("new{}", std::process::id()));
    fs::create_dir_all(&new).map_err(ImageError::file("cannot make directory", &new))?;
    for (name, data) in files {
        let path = new.join(name);
        fs::write(&path, data).map_err(ImageError::file("cannot write", &path))?;
    }
    if replaces {
        drop(fs::remove_dir_all(dir));
    }
    if fs::rename(&new, dir).is_err() {
        drop(fs::remove_dir_all(&new));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_directory_stays_unless_it_is_replaced() {
        let root = std::env::temp_dir().join(format!("trine-cache-directory-{}", std::process::id()));
        let dir = root.join("kernel");
        super::make(&dir, [("a", &b"first"[..]), ("b", b"")], false).unwrap();
        super::make(&dir, [("a", &b"second"[..])], false).unwrap();
        assert_eq!(std::fs::read(dir.join("a")).unwrap(), b"first");
        assert!(dir.join("b").is_file());
        super::make(&dir, [("a", &b"third"[..])], true).unwrap();
        assert_eq!(std::fs::read(dir.join("a")).unwrap(), b"third");
        assert!(!dir.join("b").exists());
        assert_eq!(root.read_dir().unwrap().count(), 1);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
