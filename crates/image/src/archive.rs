//! Initramfs archives: cpio in the "newc" format (Linux, Documentation/driver-api/early-userspace/
//! buffer-format.rst), possibly compressed with gzip.

use crate::ImageError;
use cpio::newc::{Builder, ModeFileType, Reader};
use std::io::Read;
use std::path::Path;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path without a leading slash.
    pub name: String,
    /// Type and permissions.
    pub mode: u32,
    /// Device numbers of a device node.
    pub device: (u32, u32),
    /// Contents, or the target of a symbolic link.
    pub data: Vec<u8>,
}

/// The most bytes to which an archive may unpack.
const MOST: u64 = 1 << 30;
const TYPE: u32 = 0o170000;
const SYMLINK: u32 = 0o120000;

impl Entry {
    /// A regular file.
    pub fn file(name: &str, permissions: u32, data: &[u8]) -> Entry {
        Entry { name: name.into(), mode: 0o100000 | permissions, device: (0, 0), data: data.into() }
    }
    /// A directory.
    pub fn directory(name: &str) -> Entry {
        Entry { name: name.into(), mode: 0o040755, device: (0, 0), data: Vec::new() }
    }
    /// A symbolic link.
    pub fn symlink(name: &str, target: &str) -> Entry {
        Entry { name: name.into(), mode: SYMLINK | 0o777, device: (0, 0), data: target.into() }
    }
    /// A character device.
    pub fn character(name: &str, major: u32, minor: u32) -> Entry {
        Entry { name: name.into(), mode: 0o020600, device: (major, minor), data: Vec::new() }
    }
    /// The target of a symbolic link; `None` for other entries.
    pub fn target(&self) -> Option<&str> {
        if self.mode & TYPE == SYMLINK { std::str::from_utf8(&self.data).ok() } else { None }
    }
}

/// Checks that an entry's name is not longer than the archive: the reader allocates room before it reads the
/// name.
fn fits(entry: &[u8]) -> std::io::Result<()> {
    // The magic is followed by twelve numbers of eight digits; the last one is the length of the name.
    let digits = entry.get(94..102).and_then(|d| std::str::from_utf8(d).ok());
    match digits.and_then(|d| usize::from_str_radix(d, 16).ok()) {
        Some(length) if length <= entry.len() => Ok(()),
        _ => Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "an entry's name is longer than the whole archive",
        )),
    }
}

/// Reads an archive; `path` is its name in errors.
pub fn read(bytes: &[u8], path: &Path) -> Result<Vec<Entry>, ImageError> {
    let bad = |e: std::io::Error| ImageError::damaged(path, format!("the archive is damaged: {e}"));
    let mut plain = Vec::new();
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(bytes).take(MOST + 1).read_to_end(&mut plain).map_err(bad)?;
        if plain.len() as u64 > MOST {
            return Err(ImageError::damaged(path, format!("the archive unpacks to more than {MOST} bytes")));
        }
        &plain[..]
    } else {
        bytes
    };
    let mut entries = Vec::new();
    let mut rest = bytes;
    loop {
        fits(rest).map_err(bad)?;
        let mut reader = Reader::new(rest).map_err(bad)?;
        if reader.entry().is_trailer() {
            return Ok(entries);
        }
        let e = reader.entry();
        let mut entry = Entry {
            name: e.name().trim_start_matches("./").trim_start_matches('/').into(),
            mode: e.mode(),
            device: (e.rdev_major(), e.rdev_minor()),
            data: Vec::new(),
        };
        reader.read_to_end(&mut entry.data).map_err(bad)?;
        entries.push(entry);
        rest = reader.finish().map_err(bad)?;
    }
}

/// Writes an archive.
pub fn write(entries: &[Entry]) -> Result<Vec<u8>, ImageError> {
    let bad = |e: std::io::Error| ImageError::Other(format!("cannot write the archive: {e}"));
    let mut out = Vec::new();
    for (inode, e) in (1..).zip(entries) {
        let kind = match e.mode & TYPE {
            SYMLINK => ModeFileType::Symlink,
            0o040000 => ModeFileType::Directory,
            0o020000 => ModeFileType::Char,
            _ => ModeFileType::Regular,
        };
        let builder = Builder::new(&e.name)
            .ino(inode)
            .mode(e.mode & 0o7777)
            .set_mode_file_type(kind)
            .rdev_major(e.device.0)
            .rdev_minor(e.device.1);
        let mut writer = builder.write(&mut out, e.data.len() as u32);
        std::io::Write::write_all(&mut writer, &e.data).map_err(bad)?;
        writer.finish().map_err(bad)?;
    }
    cpio::newc::trailer(&mut out).map_err(bad)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_go_there_and_back() {
        let entries = vec![
            Entry::directory("bin"),
            Entry::file("bin/x", 0o755, b"hello"),
            Entry::symlink("bin/y", "x"),
            Entry::character("console", 5, 1),
        ];
        let bytes = write(&entries).unwrap();
        assert_eq!(read(&bytes, Path::new("a")).unwrap(), entries);
        let error = read(&bytes[..bytes.len() / 2], Path::new("a.cpio")).unwrap_err().to_string();
        assert!(error.starts_with("a.cpio: the archive is damaged"), "{error}");
        // A name of 4 GiB.
        let mut lying = bytes.clone();
        lying[94..102].copy_from_slice(b"FFFFFFFF");
        let error = read(&lying, Path::new("a.cpio")).unwrap_err().to_string();
        assert!(error.contains("name is longer"), "{error}");
    }
}
