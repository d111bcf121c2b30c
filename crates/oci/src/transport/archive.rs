//! A tar archive with random access to its members.

use super::Source;
use crate::digest::Hasher;
use crate::error::{Error, Result};
use crate::layer::decompress::{self, Compression};
use crate::layer::tar::{Kind, Reader};
use crate::store::{Spool, Store};
use oci_spec::image::Descriptor;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The most members of an archive of images; more members of a root file system are not listed.
const MEMBERS_MOST: usize = 20_000;
/// The most bytes of all members' names together, which are kept in memory.
const NAMES_MOST: usize = 16 << 20;
/// The largest decompressed size of an archive in bytes.
const ARCHIVE_MOST: u64 = crate::document::LAYER_MOST;
/// The longest chain of links between members.
const LINKS_MOST: usize = 8;

enum Member {
    Content { offset: u64, size: u64 },
    Link(String),
}

/// An archive.
pub struct Archive {
    file: File,
    place: PathBuf,
    members: HashMap<String, Member>,
    /// Holds the store's copy of an archive that came through a pipe or was compressed.
    _spool: Option<Spool>,
    /// The file as it was given, for root file systems.
    original: Option<File>,
}

/// Counts the bytes that are read.
struct Counting<R>(R, u64);

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.read(buffer)?;
        self.1 += n as u64;
        Ok(n)
    }
}

/// A member's path without `.` and `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => (),
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

impl Archive {
    /// Opens a file, or with `-` standard input; compressed archives are stored decompressed.
    ///
    /// # Errors
    /// The file does not exist or is not an archive.
    pub fn open(store: &Store, path: &Path) -> Result<Archive> {
        let place = if path == Path::new("-") { PathBuf::from("standard input") } else { path.to_path_buf() };
        let bad = |e: io::Error| Error::damaged(place.display().to_string(), e.to_string());
        let mut spool = None;
        let mut file = if path == Path::new("-") {
            let mut taken = store.spool()?;
            io::copy(&mut decompress::AtMost::new(io::stdin().lock(), ARCHIVE_MOST), &mut taken)
                .map_err(bad)?;
            let file = taken.reopen()?;
            spool = Some(taken);
            file
        } else {
            let opened = File::open(path).map_err(Error::file("cannot open", path))?;
            match opened.metadata() {
                Ok(m) if m.is_file() => opened,
                _ => {
                    return Err(Error::Refused(format!(
                        "{} is not a regular file: pass it through a pipe, as -",
                        path.display()
                    )));
                }
            }
        };
        let mut start = [0; 8];
        let n = file.read_at(&mut start, 0).map_err(bad)?;
        let mut original = None;
        if Compression::of(&start[..n])? != Compression::None {
            let mut taken = store.spool()?;
            io::copy(&mut decompress::bounded(&file, ARCHIVE_MOST)?, &mut taken).map_err(bad)?;
            original = Some(std::mem::replace(&mut file, taken.reopen()?));
            spool = Some(taken);
        }
        let members = members(&file).map_err(bad)?;
        Ok(Archive { file, place, members, _spool: spool, original })
    }

    /// Whether it has this member.
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    fn find(&self, name: &str) -> Result<(u64, u64)> {
        let mut name = normal(name);
        for _ in 0..LINKS_MOST {
            match self.members.get(&name) {
                Some(Member::Content { offset, size }) => return Ok((*offset, *size)),
                Some(Member::Link(target)) => name.clone_from(target),
                None => break,
            }
        }
        Err(Error::damaged(self.place(), format!("the archive has no member {name}")))
    }

    /// A member's size.
    ///
    /// # Errors
    /// There is no such member.
    pub fn size(&self, name: &str) -> Result<u64> {
        self.find(name).map(|(_, size)| size)
    }

    /// A member's content.
    ///
    /// # Errors
    /// There is no such member.
    pub fn member(&self, name: &str) -> Result<impl Read + Send + use<>> {
        let (offset, size) = self.find(name)?;
        let again = || {
            // A descriptor of its own, since other threads read other members at the same time.
            let mut file =
                File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&self.file)))?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(file)
        };
        let file = again().map_err(Error::file("cannot read", &self.place))?;
        Ok(io::BufReader::with_capacity(1 << 17, file).take(size))
    }

    /// A small member's content.
    ///
    /// # Errors
    /// There is no such member, or it has more than `most` bytes.
    pub fn small(&self, name: &str, most: u64) -> Result<Vec<u8>> {
        if self.size(name)? > most {
            return Err(Error::damaged(self.place(), format!("{name} has more than {most} bytes")));
        }
        let mut bytes = Vec::new();
        self.member(name)?.read_to_end(&mut bytes).map_err(Error::file("cannot read", &self.place))?;
        Ok(bytes)
    }

    /// `index.json` of an OCI layout.
    ///
    /// # Errors
    /// There is no such member.
    pub fn index(&self) -> Result<Vec<u8>> {
        self.small("index.json", crate::document::MANIFEST_MOST)
    }

    /// The whole archive as it was given.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn whole(&self) -> Result<File> {
        let mut file = self.original.as_ref().unwrap_or(&self.file);
        file.seek(SeekFrom::Start(0)).map_err(Error::file("cannot read", &self.place))?;
        file.try_clone().map_err(Error::file("cannot read", &self.place))
    }

    /// The digest of the decompressed archive, after checking that all of it is a valid archive.
    ///
    /// # Errors
    /// It is not a valid archive.
    pub fn verify(&self) -> Result<Hasher> {
        let bad = |e: io::Error| Error::damaged(self.place(), e.to_string());
        let mut file = &self.file;
        file.seek(SeekFrom::Start(0)).map_err(bad)?;
        let buffered = io::BufReader::with_capacity(1 << 17, file);
        let mut reader = Reader::new(crate::digest::Hashing::new(buffered, Hasher::default()));
        while reader.entry().map_err(bad)?.is_some() {}
        Ok(reader.finish().map_err(bad)?.finish().0)
    }
}

impl Source for Archive {
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + '_>> {
        let digest = descriptor.digest();
        Ok(Box::new(self.member(&format!("blobs/{}/{}", digest.algorithm(), digest.digest()))?))
    }

    fn place(&self) -> String {
        self.place.display().to_string()
    }
}

fn members(file: &File) -> io::Result<HashMap<String, Member>> {
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    let mut reader = Reader::new(Counting(io::BufReader::with_capacity(1 << 17, file), 0));
    let (mut members, mut names) = (HashMap::new(), 0);
    while let Some(entry) = reader.entry()? {
        let Ok(name) = std::str::from_utf8(&entry.path).map(normal) else { continue };
        let link = String::from_utf8_lossy(&entry.link);
        let member = match entry.kind {
            Kind::File if entry.pieces.is_none() => {
                Member::Content { offset: reader.inner().1, size: entry.size }
            }
            Kind::Hard => Member::Link(normal(&link)),
            Kind::Symbolic => Member::Link(normal(&format!("{name}/../{link}"))),
            _ => continue,
        };
        names += name.len() + link.len();
        members.insert(name, member);
        if members.len() >= MEMBERS_MOST || names > NAMES_MOST {
            break;
        }
    }
    Ok(members)
}
