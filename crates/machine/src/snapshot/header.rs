//! The file of a snapshot: its format, and what is checked before anything of it is used.

use super::{SnapshotError, disk_beside};
use crate::firmware::FirmwareKind;
use crate::{Board, Disk, FlashBank};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use trine_base::state::{self, Versioned};
use trine_image::disk::{self, Access, Format};
use trine_memory::{MemoryError, PAGE, Ram};

const MAGIC: &[u8; 8] = b"TRINESNP";
/// The version of the prefix.
const VERSION: u64 = 1;
/// Bytes of the prefix, and of its part that the sum covers.
const PREFIX: usize = 64;
const SUMMED: usize = 32;
/// The most bytes of a header and of a state.
const MOST_HEADER: u64 = 1 << 20;
const MOST_STATE: u64 = 1 << 30;
/// The most memory of a machine in bytes, and the most of each kind of devices: no board has more.
const MOST_MEMORY: u64 = 1 << 44;
const MOST_CPUS: u32 = 512;
const MOST_DEVICES: usize = 32;
const MOST_QUEUE_PAIRS: u16 = 8;

/// What the command needs to know of the guest that it did not make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Whether the end of the console's input is told to the guest by Ctrl-D.
    pub reads_end: bool,
    /// Whether the guest is an image's command, whose exit code is the machine's.
    pub of_image: bool,
    /// Whether that command ends on SIGTERM.
    pub terminates: bool,
}

/// A network device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedNet {
    /// Whether the guest reaches the host.
    pub host: bool,
    /// Pairs of queues.
    pub queue_pairs: u16,
}

/// A folder of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedShare {
    /// Its name for the guest.
    pub tag: String,
    /// Its absolute path's bytes.
    pub path: Vec<u8>,
    /// Whether the guest may not change it.
    pub read_only: bool,
}

/// Where the contents of a disk are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stored {
    /// In a raw image beside the snapshot.
    Beside,
    /// In the file that it was, which must not have changed: only for disks that the guest cannot write to.
    Named {
        /// Its absolute path's bytes.
        path: Vec<u8>,
        /// Its format.
        format: String,
        /// Its size in bytes.
        len: u64,
        /// When it was changed last, in seconds since 1970 and nanoseconds.
        modified: (i64, i64),
    },
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedDisk {
    /// Its serial number.
    pub id: String,
    /// Its size in bytes, as the guest sees it.
    pub size: u64,
    /// Whether the guest cannot write to it.
    pub read_only: bool,
    /// Where its contents are.
    pub stored: Stored,
}

/// What the machine is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the program that made it, for messages.
    pub program: String,
    /// The CPU's name.
    pub cpu: String,
    /// The board's name.
    pub board: String,
    /// Bytes of RAM.
    pub memory: u64,
    /// Number of vCPUs.
    pub cpus: u32,
    /// In counted time, the nanoseconds of an instruction.
    pub count_time: Option<u64>,
    /// What serves the guest's calls.
    pub firmware: FirmwareKind,
    /// Disks in their order.
    pub disks: Vec<SavedDisk>,
    /// The network device, if there is one.
    pub net: Option<SavedNet>,
    /// The guest's context ID, if there is a socket device.
    pub vsock: Option<u32>,
    /// Folders in their order.
    pub shares: Vec<SavedShare>,
    /// What the command needs to know.
    pub about: About,
    /// Whether there is a memory balloon.
    pub balloon: bool,
    /// Whether there is a console device that tells the terminal's size.
    pub terminal: bool,
    /// For each bank of flash whether the guest's changes are refused; empty for a machine without flash. What the banks hold
    /// is in their state.
    pub flash: Vec<bool>,
}

/// The header of machines before they had flash.
#[derive(Serialize, Deserialize)]
struct HeaderV2 {
    program: String,
    cpu: String,
    board: String,
    memory: u64,
    cpus: u32,
    count_time: Option<u64>,
    firmware: FirmwareKind,
    disks: Vec<SavedDisk>,
    net: Option<SavedNet>,
    vsock: Option<u32>,
    shares: Vec<SavedShare>,
    about: About,
    balloon: bool,
    terminal: bool,
}

impl From<HeaderV2> for Header {
    fn from(old: HeaderV2) -> Header {
        let HeaderV2 { program, cpu, board, memory, cpus, count_time, balloon, terminal, .. } = old;
        let HeaderV2 { firmware, disks, net, vsock, shares, about, .. } = old;
        let flash = Vec::new();
        Header {
            program,
            cpu,
            board,
            memory,
            cpus,
            count_time,
            firmware,
            disks,
            net,
            vsock,
            shares,
            about,
            balloon,
            terminal,
            flash,
        }
    }
}

/// The header of machines before they had a memory balloon and were told the terminal's size.
#[derive(Serialize, Deserialize)]
struct HeaderV1 {
    program: String,
    cpu: String,
    board: String,
    memory: u64,
    cpus: u32,
    count_time: Option<u64>,
    firmware: FirmwareKind,
    disks: Vec<SavedDisk>,
    net: Option<SavedNet>,
    vsock: Option<u32>,
    shares: Vec<SavedShare>,
    about: About,
}

impl From<HeaderV1> for HeaderV2 {
    fn from(old: HeaderV1) -> HeaderV2 {
        let HeaderV1 { program, cpu, board, memory, cpus, count_time, .. } = old;
        let HeaderV1 { firmware, disks, net, vsock, shares, about, .. } = old;
        let (balloon, terminal) = (false, false);
        HeaderV2 {
            program,
            cpu,
            board,
            memory,
            cpus,
            count_time,
            firmware,
            disks,
            net,
            vsock,
            shares,
            about,
            balloon,
            terminal,
        }
    }
}

trine_base::versions!(Saved of "the machine in a snapshot" { V1(HeaderV1), V2(HeaderV2), V3(Header) });

/// An open snapshot.
#[derive(Debug)]
pub struct Snapshot {
    /// What the machine is made of.
    pub header: Header,
    state: Vec<u8>,
    file: File,
    path: PathBuf,
}

impl Header {
    /// The header as bytes.
    pub fn save(&self) -> Vec<u8> {
        state::save(&Saved::V3(self.clone()))
    }

    /// What no machine can have, in words.
    fn fault(&self) -> Option<String> {
        let Header { memory, cpus, disks, shares, flash, .. } = self;
        if *memory == 0 || !memory.is_multiple_of(PAGE) || *memory > MOST_MEMORY {
            return Some(format!("{memory} bytes of memory"));
        }
        if !(1..=MOST_CPUS).contains(cpus) {
            return Some(format!("{cpus} CPUs"));
        }
        if disks.len().max(shares.len()).max(flash.len()) > MOST_DEVICES {
            let (disks, shares, banks) = (disks.len(), shares.len(), flash.len());
            return Some(format!("{disks} disks, {shares} folders and {banks} banks of flash"));
        }
        if self.count_time == Some(0) {
            return Some("instructions that take no time".into());
        }
        if let Some(disk) = disks.iter().find(|d| matches!(d.stored, Stored::Named { .. }) && !d.read_only) {
            return Some(format!("the disk {}, which is neither kept nor read-only", disk.id));
        }
        let pairs = self.net.map(|net| net.queue_pairs).filter(|n| !(1..=MOST_QUEUE_PAIRS).contains(n));
        let cid = self.vsock.filter(|cid| !(3..u32::MAX).contains(cid));
        let pairs = pairs.map(|n| format!("a network device with {n} pairs of queues"));
        pairs.or(cid.map(|cid| format!("a socket device with the context ID {cid}")))
    }
}

/// The offset of memory behind a header and a state of these lengths.
fn memory_at(header: u64, state: u64) -> u64 {
    (PREFIX as u64 + header + state).next_multiple_of(PAGE)
}

/// Prefix, header and state as they are in the file, and the offset of memory.
pub fn encode(header: &[u8], state: &[u8]) -> (Vec<u8>, u64) {
    let (lengths, version) = ([header.len() as u64, state.len() as u64], VERSION.to_le_bytes());
    let mut bytes = [&MAGIC[..], &version, &lengths[0].to_le_bytes(), &lengths[1].to_le_bytes()].concat();
    let sum = Sha256::new().chain_update(&bytes).chain_update(header).chain_update(state).finalize();
    bytes.extend_from_slice(&sum);
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(state);
    (bytes, memory_at(lengths[0], lengths[1]))
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

impl Snapshot {
    /// Opens a snapshot and checks everything but the contents of memory.
    ///
    /// # Errors
    /// It cannot be read, is not a snapshot, is cut off or damaged, or was made by a newer program.
    pub fn open(path: &Path) -> Result<Snapshot, SnapshotError> {
        let read = || SnapshotError::file("cannot read the snapshot", path);
        // Opening a pipe would wait for its writer.
        if !path.metadata().map_err(read())?.is_file() {
            return Err(SnapshotError::damaged(path, "a snapshot must be a regular file"));
        }
        Snapshot::of(File::open(path).map_err(read())?, path)
    }

    /// The same for a file that is open.
    ///
    /// # Errors
    /// As [`Snapshot::open`].
    pub fn of(file: File, path: &Path) -> Result<Snapshot, SnapshotError> {
        let read = || SnapshotError::file("cannot read the snapshot", path);
        let damaged = |what: &str| SnapshotError::damaged(path, what);
        let len = file.metadata().map_err(read())?.len();
        let mut prefix = [0; PREFIX];
        if len < PREFIX as u64 {
            return Err(damaged("this is not a snapshot of a machine"));
        }
        file.read_exact_at(&mut prefix, 0).map_err(read())?;
        if !prefix.starts_with(MAGIC) {
            return Err(damaged("this is not a snapshot of a machine"));
        }
        let [version, header, state] = [8, 16, 24].map(|at| number(&prefix, at));
        if version != VERSION {
            return Err(damaged(&format!(
                "this snapshot has version {version}, but this program knows version {VERSION} only: use another Trine"
            )));
        }
        if header > MOST_HEADER || state > MOST_STATE {
            return Err(damaged("this snapshot is damaged: its lengths are not possible"));
        }
        let at = memory_at(header, state);
        if len < at {
            return Err(damaged("this snapshot is cut off"));
        }
        let mut bytes = vec![0; (header + state) as usize];
        file.read_exact_at(&mut bytes, PREFIX as u64).map_err(read())?;
        let sum = Sha256::new().chain_update(&prefix[..SUMMED]).chain_update(&bytes).finalize();
        if sum[..] != prefix[SUMMED..] {
            return Err(damaged("this snapshot is damaged: its sum does not match"));
        }
        let state = bytes.split_off(header as usize);
        let error = |error| SnapshotError::State { path: path.into(), error };
        let header = match state::load(&bytes).map_err(error)? {
            Saved::V1(old) => HeaderV2::from(old).into(),
            Saved::V2(old) => old.into(),
            Saved::V3(header) => header,
        };
        if let Some(fault) = header.fault() {
            return Err(error(Saved::damaged(format!("it has {fault}"))));
        }
        if len != at + header.memory {
            let why = if len < at + header.memory {
                "this snapshot is cut off"
            } else {
                "this snapshot is too long"
            };
            return Err(damaged(why));
        }
        Ok(Snapshot { header, state, file, path: path.into() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The machine's memory at this guest-physical address, mapped from the file copy-on-write.
    ///
    /// # Errors
    /// Those of [`Ram::copy_on_write`].
    pub fn ram(&self, base: u64) -> Result<Ram, MemoryError> {
        let end = self.file.metadata().map_or(0, |meta| meta.len());
        Ram::copy_on_write(base, self.header.memory, &self.file, end.saturating_sub(self.header.memory))
    }

    /// Loads the state into a board that was assembled with [`crate::boot::Boot::Restored`].
    ///
    /// # Errors
    /// It does not fit that board.
    pub fn load(&self, board: &mut Board) -> Result<(), SnapshotError> {
        board.load(&self.state).map_err(|error| SnapshotError::State { path: self.path.clone(), error })
    }

    /// The banks of flash, on a board that has banks of these sizes. What they hold comes with the state.
    ///
    /// # Errors
    /// That board has not so many.
    pub fn flash(&self, banks: &[u64]) -> Result<Vec<FlashBank>, SnapshotError> {
        let saved = &self.header.flash;
        if !saved.is_empty() && saved.len() != banks.len() {
            let (there, here) = (saved.len(), banks.len());
            let what = format!("this snapshot has {there} banks of flash, but the board has {here}");
            return Err(SnapshotError::damaged(&self.path, what));
        }
        let bank = |(size, read_only): (&u64, &bool)| FlashBank::blank(*size, *read_only);
        Ok(banks.iter().zip(saved).map(bank).collect())
    }

    /// Opens the disks: those that the guest may write to with a private layer, which is forgotten at the end.
    ///
    /// # Errors
    /// One is not there, or is not what it was.
    pub fn disks(&self) -> Result<Vec<Disk>, SnapshotError> {
        let disks = (0..).zip(&self.header.disks);
        disks.map(|(place, disk)| self.disk(place, disk)).collect()
    }

    fn disk(&self, place: usize, saved: &SavedDisk) -> Result<Disk, SnapshotError> {
        let (path, format) = match &saved.stored {
            Stored::Beside => (disk_beside(&self.path, place), Some(Format::Raw)),
            Stored::Named { path, format, .. } => {
                (PathBuf::from(OsStr::from_bytes(path)), Format::of_name(format))
            }
        };
        let refused = |why: String| {
            SnapshotError::Disk(format!(
                "{}, a disk of the snapshot {}: {why}",
                path.display(),
                self.path.display()
            ))
        };
        let meta = path.metadata().map_err(|e| refused(e.to_string()))?;
        if let Stored::Named { len, modified, .. } = &saved.stored
            && (*len, *modified) != stamp(&meta)
        {
            return Err(refused("it has been changed since the snapshot was made".into()));
        }
        let access = if saved.read_only { Access::ReadOnly } else { Access::Private };
        let backend = disk::open(&path, format, access)?;
        if backend.size() != saved.size {
            return Err(refused(format!("it had {} bytes, and has {}", saved.size, backend.size())));
        }
        Ok(Disk { backend, id: Some(saved.id.clone()) })
    }
}

/// What shows that a file has not changed: its size, and when it was changed last.
pub(super) fn stamp(meta: &Metadata) -> (u64, (i64, i64)) {
    (meta.len(), (meta.mtime(), meta.mtime_nsec()))
}
