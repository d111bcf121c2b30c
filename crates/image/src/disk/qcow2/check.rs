//! Checks the tables of a qcow2 image before it is used (QEMU, docs/interop/qcow2.txt, "Cluster mapping", "Host cluster
//! management").
//!
//! Every cluster that is referred to must lie in the file, must be referred to no more often than its refcount says, and
//! may be written in place only if there is one reference. Then writes cannot overwrite tables, or data of another place.
//! Clusters that nothing refers to (leaks) do no harm.

use super::super::host_file::HostFile;
use super::header::{Header, Table};
use crate::ImageError;

/// The most clusters of an image file: there is a byte for each while the image is checked.
const MOST_CLUSTERS: u64 = 1 << 30;

/// Bits 9 to 55 of an entry: an offset in the file.
const OFFSET: u64 = (1 << 56) - (1 << 9);
/// The cluster has a refcount of 1 and may be written in place.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// The cluster reads as zeros (version 3).
const ZERO: u64 = 1;

/// In a cluster's byte: somebody relies on being its only user. The bits below count references.
const ALONE: u8 = 1 << 7;
const COUNT: u8 = ALONE - 1;

struct Check<'a> {
    file: &'a HostFile,
    header: &'a Header,
    /// A byte for each cluster of the file.
    used: Vec<u8>,
}

/// Checks all tables.
///
/// # Errors
/// What is damaged, in a sentence.
pub fn check(file: &HostFile, header: &Header) -> Result<(), ImageError> {
    let clusters = file.size.div_ceil(header.cluster());
    if clusters > MOST_CLUSTERS {
        let what = format!("this qcow2 image has {clusters} clusters; at most {MOST_CLUSTERS} are supported");
        return Err(ImageError::damaged(&file.path, what));
    }
    let mut check = Check { file, header, used: vec![0; clusters as usize] };
    check.all().map_err(|what| {
        let what = format!("this qcow2 image is damaged, see `qemu-img check`: {what}");
        ImageError::damaged(&file.path, what)
    })
}

impl Check<'_> {
    fn all(&mut self) -> Result<(), String> {
        self.refer(0, "the header", false)?;
        self.refer_all(self.header.l1, "the L1 table")?;
        self.refer_all(self.header.refcounts, "the refcount table")?;
        self.mappings()?;
        self.refcounts()
    }

    /// Notes a reference to the cluster at `offset`.
    fn refer(&mut self, offset: u64, what: &str, alone: bool) -> Result<u8, String> {
        if !offset.is_multiple_of(self.header.cluster()) {
            return Err(format!("{what} is not at the start of a cluster"));
        }
        let used = self.used.get_mut((offset >> self.header.cluster_bits) as usize);
        let used = used.ok_or_else(|| format!("{what} lies behind the end of the file"))?;
        if *used & COUNT < COUNT {
            *used += 1;
        }
        *used |= if alone { ALONE } else { 0 };
        Ok(*used & COUNT)
    }

    fn refer_all(&mut self, table: Table, what: &str) -> Result<(), String> {
        let clusters = (table.entries * 8).div_ceil(self.header.cluster());
        (0..clusters)
            .try_for_each(|n| self.refer(table.offset + n * self.header.cluster(), what, false).map(|_| ()))
    }

    /// Reads entries of a table, at most a cluster of them.
    fn entries(&self, offset: u64, entries: u64) -> Result<Vec<u64>, String> {
        let mut bytes = vec![0; (entries * 8) as usize];
        // The last cluster of the file may be short; what is missing is zero.
        let have = self.file.size.saturating_sub(offset).min(bytes.len() as u64) as usize;
        let read = self.file.read_at(offset, &mut bytes[..have]);
        read.map_err(|e| format!("a table at {offset:#x} cannot be read: {e}"))?;
        Ok(bytes.as_chunks().0.iter().map(|b| u64::from_be_bytes(*b)).collect())
    }

    /// Calls `each` with the entries of a table that are not zero.
    fn each(
        &mut self,
        table: Table,
        mut each: impl FnMut(&mut Self, u64, u64) -> Result<(), String>,
    ) -> Result<(), String> {
        let of_cluster = self.header.cluster() / 8;
        let mut first = 0;
        while first < table.entries {
            let entries = self.entries(table.offset + first * 8, (table.entries - first).min(of_cluster))?;
            for (n, entry) in (first..).zip(entries).filter(|(_, entry)| *entry != 0) {
                each(self, n, entry)?;
            }
            first += of_cluster;
        }
        Ok(())
    }

    fn mappings(&mut self) -> Result<(), String> {
        let entries = self.header.cluster() / 8;
        self.each(self.header.l1, |check, n, entry| {
            if entry & !(OFFSET | COPIED) != 0 {
                return Err(format!("entry {n} of the L1 table has bits that mean nothing"));
            }
            let offset = entry & OFFSET;
            if offset == 0 {
                return Ok(());
            }
            let times = check.refer(offset, &format!("L2 table {n}"), entry & COPIED != 0)?;
            if times > 1 {
                return Err(format!("L2 table {n} is used twice"));
            }
            check.each(Table { offset, entries }, |check, m, entry| check.mapping(n, m, entry))
        })
    }

    /// Checks entry `m` of L2 table `n`.
    fn mapping(&mut self, n: u64, m: u64, entry: u64) -> Result<(), String> {
        let what = || format!("cluster {m} of L2 table {n}");
        if entry & COMPRESSED != 0 {
            return self.compressed(&what(), entry);
        }
        let allowed = if self.header.version >= 3 { OFFSET | COPIED | ZERO } else { OFFSET | COPIED };
        if entry & !allowed != 0 {
            return Err(format!("{} has bits that mean nothing", what()));
        }
        match entry & OFFSET {
            0 if entry & COPIED != 0 => Err(format!("{} lies in the header", what())),
            0 => Ok(()),
            offset => self.refer(offset, &what(), entry & COPIED != 0).map(|_| ()),
        }
    }

    fn compressed(&mut self, what: &str, entry: u64) -> Result<(), String> {
        let bits = 62 - (self.header.cluster_bits - 8);
        let offset = entry & ((1 << bits) - 1);
        let sectors = (entry & !(COPIED | COMPRESSED)) >> bits;
        if entry & COPIED != 0 {
            return Err(format!("{what} is compressed, but may be written in place"));
        }
        let end = (offset & !511) + (sectors + 1) * 512;
        let (first, last) = (offset >> self.header.cluster_bits, (end - 1) >> self.header.cluster_bits);
        for cluster in first..=last {
            // The number of sectors is an upper limit, which may reach past the end of the file.
            if cluster == first || (cluster as usize) < self.used.len() {
                self.refer(cluster << self.header.cluster_bits, what, false)?;
            }
        }
        Ok(())
    }

    /// Compares what was found with the refcounts of the file.
    fn refcounts(&mut self) -> Result<(), String> {
        let mut blocks = vec![0; self.header.refcounts.entries as usize];
        self.each(self.header.refcounts, |check, n, entry| {
            if entry & 511 != 0 {
                return Err(format!("entry {n} of the refcount table has bits that mean nothing"));
            }
            if check.refer(entry, &format!("refcount block {n}"), false)? > 1 {
                return Err(format!("refcount block {n} is used twice"));
            }
            blocks[n as usize] = entry;
            Ok(())
        })?;
        // So many refcounts are in a block.
        let of_block = (self.header.cluster() * 8) >> self.header.refcount_order;
        for first in (0..self.used.len() as u64).step_by(of_block as usize) {
            let block = blocks.get((first / of_block) as usize).copied().unwrap_or(0);
            self.block(first, of_block, block)?;
        }
        Ok(())
    }

    /// Compares the clusters from `first` with the refcount block at this offset (none at 0).
    fn block(&self, first: u64, count: u64, offset: u64) -> Result<(), String> {
        let words = match offset {
            0 => vec![0; (self.header.cluster() / 8) as usize],
            _ => self.entries(offset, self.header.cluster() / 8)?,
        };
        for (n, used) in (first..).zip(&self.used[first as usize..]).take(count as usize) {
            let refcount = refcount(&words, n - first, self.header.refcount_order);
            if refcount < (used & COUNT) as u64 {
                return Err(format!("cluster {n} of the file is used more often than its refcount says"));
            }
            if used & ALONE != 0 && refcount != 1 {
                return Err(format!("cluster {n} of the file may be written in place, but has other users"));
            }
        }
        Ok(())
    }
}

/// Refcount `n` of a block that was read as big-endian words. Those of less than a byte begin at its lowest bit.
fn refcount(words: &[u64], n: u64, order: u32) -> u64 {
    let bits = 1u64 << order;
    let bit = n * bits;
    let bytes = words.get((bit / 64) as usize).copied().unwrap_or(0).to_be_bytes();
    let first = (bit % 64 / 8) as usize;
    match order {
        0..3 => u64::from(bytes[first]) >> (bit % 8) & ((1 << bits) - 1),
        _ => bytes[first..first + (bits / 8) as usize].iter().fold(0, |v, b| v << 8 | u64::from(*b)),
    }
}
