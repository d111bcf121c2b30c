//! Writing initramfs archives file by file: cpio in the "newc" format (Linux,
//! Documentation/driver-api/early-userspace/buffer-format.rst), with owners, devices and hard links, and with
//! names that need not be text.

use std::io::{self, Read, Write};

/// The largest file in bytes: the format has 32 bits for its size.
pub const FILE_MOST: u64 = u32::MAX as u64;

/// The header of a file in an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Path without a leading slash.
    pub name: Vec<u8>,
    /// Type and permissions.
    pub mode: u32,
    /// Owner's user ID.
    pub uid: u32,
    /// Owner's group ID.
    pub gid: u32,
    /// Modification time in seconds since 1970.
    pub mtime: u32,
    /// All names of one file have the same number here, and 2 or more in `links`; the first one carries the
    /// contents.
    pub inode: u32,
    /// Number of names of the file.
    pub links: u32,
    /// Device numbers of a device node.
    pub device: (u32, u32),
    /// Size in bytes of the contents, or of a symbolic link's target.
    pub size: u32,
}

/// An archive under construction.
pub struct Writer<W> {
    out: W,
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    pub fn new(out: W) -> Writer<W> {
        Writer { out, written: 0 }
    }

    /// Adds a file with its contents.
    ///
    /// # Errors
    /// Writing or reading fails, or the contents do not have the size in the header.
    pub fn add(&mut self, head: &Head, content: &mut dyn Read) -> io::Result<()> {
        let name = head.name.len() as u32 + 1;
        let fields = [
            head.inode,
            head.mode,
            head.uid,
            head.gid,
            head.links.max(1),
            head.mtime,
            head.size,
            0,
            0,
            head.device.0,
            head.device.1,
            name,
            0,
        ];
        let text: String = fields.iter().map(|n| format!("{n:08X}")).collect();
        self.put(b"070701")?;
        self.put(text.as_bytes())?;
        self.put(&head.name)?;
        self.put(&[0])?;
        self.pad()?;
        let size = u64::from(head.size);
        let copied = io::copy(&mut content.take(size), &mut self.out)?;
        self.written += copied;
        if copied != size {
            let name = String::from_utf8_lossy(&head.name).into_owned();
            return Err(io::Error::other(format!("{name} became shorter while it was read")));
        }
        self.pad()
    }

    /// Ends the archive; returns its size.
    ///
    /// # Errors
    /// Writing fails.
    pub fn finish(mut self) -> io::Result<u64> {
        self.add(&Head { name: b"TRAILER!!!".to_vec(), ..Head::default() }, &mut io::empty())?;
        self.out.flush()?;
        Ok(self.written)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn pad(&mut self) -> io::Result<()> {
        let short = self.written.next_multiple_of(4) - self.written;
        self.put(&[0; 3][..short as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{self, Entry};
    use std::path::Path;

    #[test]
    fn archives_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        let head = |name: &str, mode, size| Head { name: name.into(), mode, size, ..Head::default() };
        writer.add(&head("bin", 0o040755, 0), &mut io::empty()).unwrap();
        writer.add(&Head { uid: 7, gid: 8, ..head("bin/x", 0o104755, 5) }, &mut &b"hello"[..]).unwrap();
        writer.add(&head("bin/y", 0o120777, 1), &mut &b"x"[..]).unwrap();
        writer.add(&Head { device: (5, 1), ..head("console", 0o020600, 0) }, &mut io::empty()).unwrap();
        let size = writer.finish().unwrap();
        assert_eq!(size, bytes.len() as u64);
        let file = Entry { mode: 0o104755, ..Entry::file("bin/x", 0, b"hello") };
        let want = vec![
            Entry::directory("bin"),
            file,
            Entry::symlink("bin/y", "x"),
            Entry::character("console", 5, 1),
        ];
        assert_eq!(archive::read(&bytes, Path::new("a")).unwrap(), want);
        // Magic, inode and mode are followed by owner and group.
        let at = bytes.windows(6).position(|w| w == b"bin/x\0").unwrap() - 110;
        assert_eq!(&bytes[at + 22..at + 38], b"0000000700000008");
    }

    #[test]
    fn files_that_shrink_are_found() {
        let mut writer = Writer::new(Vec::new());
        let error = writer.add(&Head { name: b"a".to_vec(), size: 3, ..Head::default() }, &mut &b"xy"[..]);
        assert!(error.unwrap_err().to_string().contains("a became shorter"));
    }
}
