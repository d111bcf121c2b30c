//! The header of a qcow2 image (QEMU, docs/interop/qcow2.txt, "Header").

use super::super::host_file::HostFile;
use crate::ImageError;

/// The first four bytes of an image.
pub const MAGIC: [u8; 4] = *b"QFI\xfb";

/// Incompatible features, by their bit: what they are called here, and what to do.
const INCOMPATIBLE: [(u32, &str); 5] = [
    (0, "was not closed properly: `qemu-img check -r all` makes it usable again"),
    (1, "is marked as corrupt: `qemu-img check -r all` may repair it"),
    (
        2,
        "keeps its data in another file, which is not supported: `qemu-img convert -O qcow2` makes one without",
    ),
    (
        3,
        "is compressed by another method than zlib, which is not supported: `qemu-img convert -O qcow2` expands it",
    ),
    (4, "has extended L2 entries, which are not supported: `qemu-img convert -O qcow2` makes one without"),
];

/// Kinds of header extensions: the format of the backing file, the names of features.
const BACKING_FORMAT: u32 = 0xe279_2aca;
const FEATURES: u32 = 0x6803_f857;

/// The most entries of an L1 table, and the most bytes of a refcount table: QEMU's own limits.
const MOST_L1: u64 = (32 << 20) / 8;
const MOST_REFCOUNT_TABLE: u64 = 8 << 20;

/// A table in the file.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Offset in the file, a multiple of the cluster size.
    pub offset: u64,
    /// Number of its entries, of 8 bytes each.
    pub entries: u64,
}

/// What the header says, checked.
#[derive(Debug)]
pub struct Header {
    pub version: u32,
    pub cluster_bits: u32,
    /// Bytes of the disk.
    pub size: u64,
    pub l1: Table,
    pub refcounts: Table,
    /// log2 of a refcount's bits.
    pub refcount_order: u32,
    /// Number of internal snapshots.
    pub snapshots: u32,
    /// Name and format of the image below.
    pub backing: Option<(String, Option<String>)>,
}

/// The bytes at the start of the file.
struct Bytes(Vec<u8>);

impl Bytes {
    fn u32(&self, at: usize) -> u32 {
        let bytes = self.0.get(at..).and_then(|b| b.first_chunk());
        bytes.map_or(0, |b| u32::from_be_bytes(*b))
    }

    fn u64(&self, at: usize) -> u64 {
        (self.u32(at) as u64) << 32 | self.u32(at.saturating_add(4)) as u64
    }

    fn text(&self, at: u64, len: u64) -> Option<String> {
        let (at, end) = (usize::try_from(at).ok()?, usize::try_from(at.checked_add(len)?).ok()?);
        String::from_utf8(self.0.get(at..end)?.to_vec()).ok()
    }
}

impl Header {
    pub fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Reads and checks the header of an image.
    pub fn read(file: &HostFile) -> Result<Header, ImageError> {
        Header::parse(file).map_err(|what| ImageError::damaged(&file.path, what))
    }

    fn parse(file: &HostFile) -> Result<Header, String> {
        let read = |len: u64| {
            let mut bytes = vec![0; file.size.min(len) as usize];
            file.read_at(0, &mut bytes).map_err(|e| format!("the header cannot be read: {e}"))?;
            Ok::<_, String>(Bytes(bytes))
        };
        let bytes = read(112)?;
        if bytes.0.get(..4) != Some(&MAGIC) {
            return Err("this is not a qcow2 image".into());
        }
        if bytes.0.len() < 72 {
            return Err("this qcow2 image is cut off in its header".into());
        }
        let (version, cluster_bits) = (bytes.u32(4), bytes.u32(20));
        if !(2..=3).contains(&version) {
            return Err(format!("this is a qcow2 image of version {version}; only 2 and 3 are supported"));
        }
        if bytes.u32(32) != 0 {
            return Err(
                "this qcow2 image is encrypted, which is not supported: `qemu-img convert` decrypts it"
                    .into(),
            );
        }
        if !(9..=21).contains(&cluster_bits) {
            return Err(format!("this qcow2 image is damaged: its clusters have 2^{cluster_bits} bytes"));
        }
        let (mut refcount_order, mut len) = (4, 72);
        if version == 3 {
            check_features(bytes.u64(72))?;
            (refcount_order, len) = (bytes.u32(96), bytes.u32(100));
            if refcount_order > 6 {
                return Err(format!(
                    "this qcow2 image is damaged: its refcounts have 2^{refcount_order} bits"
                ));
            }
            if len < 104 || len as u64 > 1 << cluster_bits || !len.is_multiple_of(8) {
                return Err(format!("this qcow2 image is damaged: its header has {len} bytes"));
            }
        }
        let header = Header {
            version,
            cluster_bits,
            size: bytes.u64(24),
            l1: Table { offset: bytes.u64(40), entries: bytes.u32(36) as u64 },
            refcounts: Table { offset: bytes.u64(48), entries: (bytes.u32(56) as u64) << (cluster_bits - 3) },
            refcount_order,
            snapshots: bytes.u32(60),
            backing: None,
        };
        header.check(file.size)?;
        let backing = header.read_backing(&read(header.cluster())?, len as u64)?;
        Ok(Header { backing, ..header })
    }

    fn check(&self, file: u64) -> Result<(), String> {
        let damaged = |what: &str| Err(format!("this qcow2 image is damaged: {what}"));
        let cluster = self.cluster();
        if self.size == 0 || !self.size.is_multiple_of(512) || self.size > i64::MAX as u64 {
            return Err(format!(
                "the size of a disk must be a multiple of 512 bytes, but this qcow2 image says {}",
                self.size
            ));
        }
        let most_refcounts = MOST_REFCOUNT_TABLE.max(cluster) / 8;
        for (table, most, what) in [(self.l1, MOST_L1, "L1"), (self.refcounts, most_refcounts, "refcount")] {
            let end = table.offset.checked_add(table.entries * 8);
            let fits = table.entries <= most && end.is_some_and(|end| end <= file);
            if table.offset == 0 || !table.offset.is_multiple_of(cluster) || !fits {
                return damaged(&format!("its {what} table does not lie in the file"));
            }
        }
        // An L2 table is a cluster of entries, each of which names a cluster.
        let of_one = cluster * (cluster / 8);
        if self.l1.entries < self.size.div_ceil(of_one) {
            return damaged("its L1 table is too small for the disk");
        }
        Ok(())
    }

    /// Name and format of the backing file. The extensions of the header begin behind its `len` bytes.
    fn read_backing(&self, bytes: &Bytes, len: u64) -> Result<Option<(String, Option<String>)>, String> {
        let damaged = |what: &str| format!("this qcow2 image is damaged: {what}");
        let (at, size) = (bytes.u64(8), bytes.u32(16) as u64);
        let (mut format, mut extension) = (None, len);
        loop {
            let kind = bytes.u32(extension as usize);
            let size = bytes.u32(extension as usize + 4) as u64;
            if kind == 0 {
                break;
            }
            if extension + 8 + size > self.cluster() {
                return Err(damaged("an extension of its header does not lie in its first cluster"));
            }
            // `imago` relies on it that the table of features has whole entries.
            if kind == FEATURES && !size.is_multiple_of(48) {
                return Err(damaged("the table of names in its header is cut off"));
            }
            if kind == BACKING_FORMAT {
                format = bytes.text(extension + 8, size).or(Some(String::new()));
            }
            extension += 8 + size.next_multiple_of(8);
        }
        if at == 0 {
            return Ok(None);
        }
        if size > 1023 || at < len {
            return Err(damaged("the name of its backing file does not lie in its first cluster"));
        }
        let name = bytes.text(at, size).filter(|name| !name.is_empty() && !name.contains('\0'));
        let name = name.ok_or_else(|| damaged("the name of its backing file is not text"))?;
        Ok(Some((name, format)))
    }
}

fn check_features(incompatible: u64) -> Result<(), String> {
    if let Some((_, what)) = INCOMPATIBLE.iter().find(|(bit, _)| incompatible >> bit & 1 != 0) {
        return Err(format!("this qcow2 image {what}"));
    }
    match incompatible {
        0 => Ok(()),
        _ => Err(format!(
            "this qcow2 image needs features that are not known here (bit {})",
            incompatible.trailing_zeros()
        )),
    }
}
