//! A reader of untrusted tar archives, whose memory usage is bounded whatever the archive contains.
//!
//! Sources: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Header Block"; GNU tar manual, "Basic Tar Format" and
//! "Storing Sparse Files"; star's `SCHILY.xattr`.

use std::io::{self, Read};
use tar::{EntryType, Header};

const BLOCK: usize = 512;
/// The longest path, as the kernel's `PATH_MAX`.
const PATH_MOST: usize = 4096;
/// The most bytes of all headers before an entry together. Extended attributes of the size that the kernel
/// allows (64 KiB each) fit several times. Limiting each header alone would not help: any number may follow
/// each other.
const HEADERS_MOST: u64 = 1 << 20;
/// The most pieces of a sparse file.
const PIECES_MOST: usize = 1 << 20;

/// The type of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A hard link.
    Hard,
    /// A symbolic link.
    Symbolic,
    /// A character device: major, minor.
    Character(u32, u32),
    /// A block device: major, minor.
    Block(u32, u32),
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// An entry of an archive.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its path, as written in the archive.
    pub path: Vec<u8>,
    /// The target of a link.
    pub link: Vec<u8>,
    /// Its type.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner's user ID.
    pub uid: u64,
    /// Owner's group ID.
    pub gid: u64,
    /// Modification time: seconds since 1970, nanoseconds.
    pub mtime: (i64, u32),
    /// Size in bytes, including holes.
    pub size: u64,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The pieces of a sparse file that have content: offset and length, ascending.
    pub pieces: Option<Vec<(u64, u64)>>,
}

/// An archive being read.
pub struct Reader<R> {
    inner: R,
    /// Bytes of the current entry's content that were not read yet.
    left: u64,
    /// Bytes of padding behind it.
    padding: u64,
    ended: bool,
}

/// What preceding headers say about an entry.
#[derive(Default)]
struct Extra {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: Sparse,
}

/// The pax records about sparse files, in GNU's formats 0.0, 0.1 and 1.0.
#[derive(Default)]
struct Sparse {
    one: bool,
    size: Option<u64>,
    map: Vec<u64>,
}

fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn too_large(size: u64, most: u64) -> io::Error {
    wrong(match most < HEADERS_MOST {
        true => format!("a header has {size} bytes, but at most {most} are allowed here"),
        false => format!("a header has {size} bytes, but at most {most} are allowed"),
    })
}

/// Parses a number of a header; an empty field is 0, as in all implementations.
fn number(parsed: io::Result<u64>, field: &[u8], what: &str) -> io::Result<u64> {
    match parsed {
        Err(_) if field.iter().all(|&b| b == 0 || b == b' ') => Ok(0),
        parsed => parsed.map_err(|_| wrong(format!("an entry's {what} is not a number"))),
    }
}

impl<R: Read> Reader<R> {
    /// Creates a reader of an archive that is not compressed.
    pub fn new(inner: R) -> Reader<R> {
        Reader { inner, left: 0, padding: 0, ended: false }
    }

    /// Reads the next entry; `None` at the end.
    ///
    /// # Errors
    /// Reading fails, or the archive is invalid.
    pub fn entry(&mut self) -> io::Result<Option<Entry>> {
        let (mut extra, mut allowed) = (Extra::default(), HEADERS_MOST);
        loop {
            let rest = self.left + self.padding;
            let skipped = io::copy(&mut (&mut self.inner).take(rest), &mut io::sink())?;
            if skipped < rest {
                return Err(wrong("the archive ends inside an entry"));
            }
            (self.left, self.padding) = (0, 0);
            let Some(header) = self.header()? else { return Ok(None) };
            let size = number(header.entry_size(), &header.as_old().size, "size")?;
            self.open(size)?;
            let kind = header.entry_type();
            match kind {
                EntryType::GNULongName => extra.path = Some(self.text(allowed)?),
                EntryType::GNULongLink => extra.link = Some(self.text(allowed)?),
                EntryType::XHeader => {
                    let bytes = self.small(allowed)?;
                    extra.pax(&bytes)?;
                }
                EntryType::XGlobalHeader if size <= allowed => (),
                EntryType::XGlobalHeader => return Err(too_large(size, allowed)),
                _ => return self.described(&header, extra).map(Some),
            }
            // A header without information still costs time, so it counts.
            let counted = size.max(BLOCK as u64);
            allowed = allowed.checked_sub(counted).ok_or_else(|| too_large(counted, allowed))?;
        }
    }

    /// The inner reader; after [`Reader::entry`] it is at the start of the entry's content.
    pub fn inner(&self) -> &R {
        &self.inner
    }

    /// The current entry's content.
    pub fn data(&mut self) -> Data<'_, R> {
        Data(self)
    }

    /// Reads everything behind the archive's end.
    ///
    /// # Errors
    /// Reading fails.
    pub fn finish(mut self) -> io::Result<R> {
        io::copy(&mut self.inner, &mut io::sink())?;
        Ok(self.inner)
    }

    fn open(&mut self, size: u64) -> io::Result<()> {
        if size > i64::MAX as u64 {
            return Err(wrong("an entry's size is too large"));
        }
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(wrong("this is not a tar archive, or one that ends inside a header")),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => (),
                Err(e) => return Err(e),
            }
        }
        Ok(Some(block))
    }

    fn header(&mut self) -> io::Result<Option<Header>> {
        if self.ended {
            return Ok(None);
        }
        let Some(block) = self.block()?.filter(|b| b.iter().any(|&b| b != 0)) else {
            self.ended = true;
            return Ok(None);
        };
        let header = Header::from_byte_slice(&block).clone();
        // The checksum's own field counts as spaces.
        let sum = block[..148].iter().chain(&block[156..]).map(|&b| u32::from(b)).sum::<u32>() + 8 * 32;
        match header.cksum() {
            Ok(said) if said == sum => Ok(Some(header)),
            _ => Err(wrong("this is not a tar archive, or a damaged one (a header's checksum is wrong)")),
        }
    }

    /// Reads the content of a header that describes another.
    fn small(&mut self, most: u64) -> io::Result<Vec<u8>> {
        if self.left > most {
            return Err(too_large(self.left, most));
        }
        let length = self.left;
        let mut bytes = Vec::new();
        self.data().take(length).read_to_end(&mut bytes)?;
        match bytes.len() as u64 == length {
            true => Ok(bytes),
            false => Err(wrong("the archive ends inside a header")),
        }
    }

    fn text(&mut self, allowed: u64) -> io::Result<Vec<u8>> {
        let mut bytes = self.small(allowed.min(2 * PATH_MOST as u64))?;
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        bytes.truncate(end);
        Ok(bytes)
    }

    fn described(&mut self, header: &Header, extra: Extra) -> io::Result<Entry> {
        let path = extra.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link =
            extra.link.or_else(|| header.link_name_bytes().map(|l| l.into_owned())).unwrap_or_default();
        for text in [&path, &link] {
            if text.len() > PATH_MOST {
                return Err(wrong(format!(
                    "a path has {} bytes, but at most {PATH_MOST} are allowed",
                    text.len()
                )));
            }
            if text.contains(&0) {
                return Err(wrong("a path contains a zero byte"));
            }
        }
        let kind = self.kind(header, &path)?;
        if let Some(size) = extra.size {
            self.open(size)?;
        }
        // Links, directories and devices have no content, whatever their size field says (all implementations
        // agree).
        if kind != Kind::File {
            self.open(0)?;
        }
        let (mut size, mut pieces) = (self.left, None);
        if kind == Kind::File && header.entry_type() == EntryType::GNUSparse {
            let (map, real) = self.old_sparse(header)?;
            (size, pieces) = (real, Some(map));
        } else if kind == Kind::File
            && let Some(real) = extra.sparse.size
        {
            let map = if extra.sparse.one { self.sparse_map()? } else { extra.sparse.map };
            (size, pieces) = (real, Some(map.chunks_exact(2).map(|p| (p[0], p[1])).collect()));
        }
        if let Some(pieces) = &pieces {
            fits(pieces, size, self.left)?;
        }
        let mtime = match extra.mtime {
            Some(time) => time,
            // GNU writes times before 1970 as negative binary numbers.
            None => (number(header.mtime(), &header.as_old().mtime, "time")? as i64, 0),
        };
        Ok(Entry {
            path,
            link,
            kind,
            mode: number(header.mode().map(u64::from), &header.as_old().mode, "mode")? as u32 & 0o7777,
            uid: extra.uid.map_or_else(|| number(header.uid(), &header.as_old().uid, "owner"), Ok)?,
            gid: extra.gid.map_or_else(|| number(header.gid(), &header.as_old().gid, "group"), Ok)?,
            mtime,
            size,
            xattrs: extra.xattrs,
            pieces,
        })
    }

    fn kind(&self, header: &Header, path: &[u8]) -> io::Result<Kind> {
        let device = || {
            let field =
                |n: io::Result<Option<u32>>| n.ok().flatten().ok_or_else(|| wrong("a device has no numbers"));
            Ok::<_, io::Error>((field(header.device_major())?, field(header.device_minor())?))
        };
        Ok(match header.entry_type() {
            EntryType::Regular if path.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
            EntryType::Link => Kind::Hard,
            EntryType::Symlink => Kind::Symbolic,
            EntryType::Char => device().map(|(a, b)| Kind::Character(a, b))?,
            EntryType::Block => device().map(|(a, b)| Kind::Block(a, b))?,
            EntryType::Directory => Kind::Directory,
            EntryType::Fifo => Kind::Fifo,
            other => {
                let path = String::from_utf8_lossy(path);
                return Err(wrong(format!(
                    "{path}: an entry has an unknown type (0x{:02x})",
                    other.as_byte()
                )));
            }
        })
    }

    /// GNU's old format: pieces are listed in the header and in blocks that follow it.
    fn old_sparse(&mut self, header: &Header) -> io::Result<(Vec<(u64, u64)>, u64)> {
        let bad = |_| wrong("a sparse file's map is not a list of numbers");
        let gnu = header.as_gnu().ok_or_else(|| wrong("a sparse file has a header that is not GNU's"))?;
        let real = gnu.real_size().map_err(bad)?;
        let mut pieces = Vec::new();
        let mut add = |slots: &[tar::GnuSparseHeader]| -> io::Result<()> {
            for slot in slots.iter().filter(|s| !s.is_empty()) {
                pieces.push((slot.offset().map_err(bad)?, slot.length().map_err(bad)?));
            }
            match pieces.len() > PIECES_MOST {
                true => Err(wrong(format!("a sparse file has more than {PIECES_MOST} pieces"))),
                false => Ok(()),
            }
        };
        add(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut next = tar::GnuExtSparseHeader::new();
            let block = self.block()?.ok_or_else(|| wrong("the archive ends inside a header"))?;
            next.as_mut_bytes().copy_from_slice(&block);
            add(&next.sparse)?;
            more = next.is_extended();
        }
        Ok((pieces, real))
    }

    /// GNU's format 1.0: decimal numbers in lines before the content, padded to a block.
    fn sparse_map(&mut self) -> io::Result<Vec<u64>> {
        let bad = || wrong("a sparse file's map is not a list of numbers");
        let (mut numbers, mut wanted): (Vec<u64>, Option<usize>) = (Vec::new(), None);
        let mut digits = 0;
        let mut number: u64 = 0;
        loop {
            let mut block = [0; BLOCK];
            self.data().read_exact(&mut block).map_err(|_| bad())?;
            for byte in block {
                if wanted.is_some_and(|w| numbers.len() == w) {
                    return Ok(numbers);
                }
                match byte {
                    b'0'..=b'9' if digits < 20 => {
                        let more = number.checked_mul(10).and_then(|n| n.checked_add(u64::from(byte - b'0')));
                        number = more.ok_or_else(bad)?;
                        digits += 1;
                    }
                    b'\n' if digits > 0 => {
                        match wanted {
                            None if number > PIECES_MOST as u64 => return Err(bad()),
                            None => wanted = Some(2 * number as usize),
                            Some(_) => numbers.push(number),
                        }
                        (number, digits) = (0, 0);
                    }
                    _ => return Err(bad()),
                }
            }
            if wanted.is_some_and(|w| numbers.len() == w) {
                return Ok(numbers);
            }
        }
    }
}

/// Checks that pieces ascend, lie inside the file and cover all of its content.
fn fits(pieces: &[(u64, u64)], size: u64, content: u64) -> io::Result<()> {
    let mut end = 0;
    let mut sum = 0u64;
    for &(offset, length) in pieces {
        let next = offset.checked_add(length).filter(|&n| offset >= end && n <= size);
        end = next.ok_or_else(|| wrong("a sparse file's pieces overlap or lie outside it"))?;
        sum += length;
    }
    match sum == content {
        true => Ok(()),
        false => Err(wrong("a sparse file's pieces do not have the length of its content")),
    }
}

impl Extra {
    /// Parses records of the form `LENGTH KEY=VALUE\n`, where the length includes everything.
    fn pax(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let bad = || wrong("a pax header is not a list of records");
        while !bytes.is_empty() {
            let space = bytes.iter().take(8).position(|&b| b == b' ').ok_or_else(bad)?;
            let length = std::str::from_utf8(&bytes[..space]).ok().and_then(|t| t.parse::<usize>().ok());
            let length = length.filter(|&n| n > space + 1 && n <= bytes.len()).ok_or_else(bad)?;
            let record = bytes[space + 1..length].strip_suffix(b"\n").ok_or_else(bad)?;
            let equals = record.iter().position(|&b| b == b'=').ok_or_else(bad)?;
            self.record(&record[..equals], &record[equals + 1..])?;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let text = || std::str::from_utf8(value).unwrap_or("");
        let number = || text().parse::<u64>().map_err(|_| wrong("a number of a pax header is not valid"));
        match key {
            b"path" => self.path = Some(value.into()),
            b"linkpath" => self.link = Some(value.into()),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"mtime" => {
                self.mtime = Some(time(text()).ok_or_else(|| wrong("a time of a pax header is not valid"))?)
            }
            b"GNU.sparse.major" => self.sparse.one = value == b"1",
            b"GNU.sparse.name" => self.path = Some(value.into()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.size = Some(number()?),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.sparse.map.push(number()?),
            b"GNU.sparse.map" => {
                let numbers = text().split(',').map(str::parse::<u64>);
                let map: Result<Vec<u64>, _> = numbers.collect();
                self.sparse.map = map.map_err(|_| wrong("a sparse file's map is not a list of numbers"))?;
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.into(), value.into()));
                }
            }
        }
        Ok(())
    }
}

/// Parses seconds with a fraction, such as `-1.5`.
fn time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nine: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = nine.parse().ok()?;
    match whole.starts_with('-') && nanoseconds > 0 {
        true => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        false => Some((seconds, nanoseconds)),
    }
}

/// The current entry's content.
pub struct Data<'a, R>(&'a mut Reader<R>);

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.0.left).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.0.inner.read(&mut buffer[..most])?;
        if n == 0 && most > 0 {
            return Err(wrong("the archive ends inside an entry"));
        }
        self.0.left -= n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: EntryType, size: u64) -> Header {
        let mut h = Header::new_gnu();
        h.set_entry_type(kind);
        h.set_size(size);
        h.set_mode(0o644);
        h.set_uid(1);
        h.set_gid(2);
        h.set_mtime(3);
        h.set_path("x").unwrap();
        h.set_cksum();
        h
    }

    fn block(h: &Header, data: &[u8]) -> Vec<u8> {
        let mut bytes = h.as_bytes().to_vec();
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (1..).map(|d| rest + d).find(|n| n.to_string().len() + rest == *n).unwrap();
            bytes.extend_from_slice(format!("{length} {key}=").as_bytes());
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        block(&header(EntryType::XHeader, bytes.len() as u64), &bytes)
    }

    fn first(bytes: &[u8]) -> io::Result<(Entry, Vec<u8>)> {
        let mut reader = Reader::new(bytes);
        let entry = reader.entry()?.ok_or_else(|| wrong("no entry"))?;
        let mut data = Vec::new();
        reader.data().read_to_end(&mut data)?;
        Ok((entry, data))
    }

    #[test]
    fn pax_headers_say_what_fields_cannot() {
        let long = vec![b'p'; 300];
        let mut bytes = pax(&[
            ("path", &long),
            ("uid", b"100000000"),
            ("mtime", b"-1.25"),
            ("SCHILY.xattr.security.capability", b"\x01\n=\x00\x0a"),
        ]);
        bytes.extend(block(&header(EntryType::Regular, 3), b"abc"));
        let (entry, data) = first(&bytes).unwrap();
        assert_eq!((entry.path, entry.uid, entry.gid), (long, 100_000_000, 2));
        assert_eq!(entry.mtime, (-2, 750_000_000));
        assert_eq!(entry.xattrs, [(b"security.capability".to_vec(), b"\x01\n=\x00\x0a".to_vec())]);
        assert_eq!(data, b"abc");
    }

    #[test]
    fn sparse_files_in_three_formats() {
        let mut one =
            pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"5000")]);
        let mut content = b"2\n0\n2\n4096\n3\n".to_vec();
        content.resize(BLOCK, 0);
        content.extend(b"abcde");
        one.extend(block(&header(EntryType::Regular, content.len() as u64), &content));
        let mut point_one = pax(&[("GNU.sparse.map", b"0,2,4096,3"), ("GNU.sparse.size", b"5000")]);
        point_one.extend(block(&header(EntryType::Regular, 5), b"abcde"));
        let mut old = header(EntryType::GNUSparse, 5);
        {
            let gnu = old.as_gnu_mut().unwrap();
            for (slot, (o, n)) in
                gnu.sparse.iter_mut().zip([("00000000000", "00000000002"), ("00000010000", "00000000003")])
            {
                slot.offset[..11].copy_from_slice(o.as_bytes());
                slot.numbytes[..11].copy_from_slice(n.as_bytes());
            }
            gnu.realsize[..11].copy_from_slice(b"00000011610");
        }
        old.set_cksum();
        for bytes in [one, point_one, block(&old, b"abcde")] {
            let (entry, data) = first(&bytes).unwrap();
            assert_eq!((entry.size, entry.pieces), (5000, Some(vec![(0, 2), (4096, 3)])));
            assert_eq!(data, b"abcde");
        }
    }

    #[test]
    fn lying_archives_are_refused() {
        let refusal = |bytes: &[u8]| first(bytes).unwrap_err().to_string();
        let good = block(&header(EntryType::Regular, 3), b"abc");
        assert!(refusal(&good[..100]).contains("inside a header"));
        assert!(refusal(&good[..514]).contains("inside an entry"));
        let mut flipped = good.clone();
        flipped[0] ^= 1;
        assert!(refusal(&flipped).contains("checksum"));
        assert!(refusal(b"hello").contains("inside a header"));
        // A header that claims 1 TiB, which would have to be kept in memory.
        for kind in [EntryType::XHeader, EntryType::GNULongName, EntryType::XGlobalHeader] {
            assert!(refusal(&block(&header(kind, 1 << 40), b"")).contains("a header has"));
        }
        let sparse = |map: &[u8], size: &[u8]| {
            let mut bytes = pax(&[("GNU.sparse.map", map), ("GNU.sparse.size", size)]);
            bytes.extend(block(&header(EntryType::Regular, 5), b"abcde"));
            bytes
        };
        assert!(refusal(&sparse(b"0,2,1,3", b"5000")).contains("overlap"));
        assert!(refusal(&sparse(b"0,2,4096,3", b"4097")).contains("outside"));
        assert!(refusal(&sparse(b"0,2,4096,30", b"5000")).contains("do not have the length"));
        assert!(refusal(&sparse(b"18446744073709551615,2,0,3", b"5000")).contains("overlap"));
        assert!(refusal(&block(&header(EntryType::new(b'Z'), 0), b"")).contains("0x5a"));
        assert!(refusal(&block(&header(EntryType::XHeader, 5), b"99 a=")).contains("list of records"));
        let mut link = pax(&[("linkpath", b"a\0b")]);
        link.extend(block(&header(EntryType::Symlink, 0), b""));
        assert!(refusal(&link).contains("zero byte"));
    }

    /// The same bytes over and over: an archive of any length.
    struct Again {
        bytes: Vec<u8>,
        at: usize,
        left: u64,
    }

    impl Read for Again {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = buffer.len().min(self.bytes.len() - self.at).min(self.left as usize);
            buffer[..n].copy_from_slice(&self.bytes[self.at..self.at + n]);
            self.at = (self.at + n) % self.bytes.len();
            self.left -= n as u64;
            Ok(n)
        }
    }

    #[test]
    fn headers_in_a_row_have_one_bound_together() {
        let xattrs = pax(&[("SCHILY.xattr.user.a", &[b'x'; 60_000])]);
        let sparse = pax(&[("GNU.sparse.offset", &b"1"[..]); 2000]);
        let mut name = block(&header(EntryType::GNULongName, 5000), &[b'n'; 4000]);
        name.resize(BLOCK + 5120, 0);
        let global = block(&header(EntryType::XGlobalHeader, 4000), &[b' '; 4000]);
        let nothing = block(&header(EntryType::XHeader, 0), b"");
        for bytes in [xattrs, sparse, name, global, nothing] {
            let mut reader = Reader::new(Again { bytes, at: 0, left: 1 << 40 });
            let why = reader.entry().unwrap_err().to_string();
            assert!(why.contains("a header has"), "{why}");
            let read = (1 << 40) - reader.inner().left;
            assert!(read < 3 << 20, "{read} bytes were read");
        }
        // What other tools write is accepted: 15 attributes of 64 KiB, and long names.
        let mut bytes = block(&header(EntryType::GNULongName, 4000), &[b'n'; 4000]);
        bytes.extend(pax(&[("SCHILY.xattr.user.a", &[b'x'; 65_536][..]); 15]));
        bytes.extend(block(&header(EntryType::Regular, 3), b"abc"));
        assert_eq!(first(&bytes).unwrap().0.xattrs.len(), 15);
    }

    #[test]
    fn what_has_no_content_is_not_skipped() {
        let mut bytes = block(&header(EntryType::Directory, 1 << 30), b"");
        bytes.extend(block(&header(EntryType::Regular, 3), b"abc"));
        let mut reader = Reader::new(&bytes[..]);
        assert_eq!(reader.entry().unwrap().unwrap().kind, Kind::Directory);
        assert_eq!(reader.entry().unwrap().unwrap().kind, Kind::File);
        assert!(reader.entry().unwrap().is_none());
        assert!(reader.entry().unwrap().is_none(), "the end stays the end");
    }

    #[test]
    fn times_with_fractions() {
        assert_eq!(time("12"), Some((12, 0)));
        assert_eq!(time("12.5"), Some((12, 500_000_000)));
        assert_eq!(time("-0.5"), Some((-1, 500_000_000)));
        assert_eq!(time("12.x"), None);
        assert_eq!(time(""), None);
    }
}
