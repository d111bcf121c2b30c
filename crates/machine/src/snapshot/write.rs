//! Snapshots of machines that run.

use super::header::{About, Header, SavedDisk, SavedNet, SavedShare, Stored, encode, stamp};
use super::{SnapshotError, disk_beside};
use crate::disk::DiskStatus;
use crate::{Board, Remote};
use std::fs::{self, File};
use std::io::{ErrorKind, Result as IoResult};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use trine_base::BlockError;
use trine_base::replace_file::{Durability, NewFile};

/// How long the machine may take to stand still.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most disks of a machine; files with the names of others may be left of a snapshot that is replaced.
const MOST_DISKS: usize = 8;

/// What a board does not know of its machine.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// The CPU's name.
    pub cpu: String,
    /// In counted time, the nanoseconds of an instruction.
    pub count_time: Option<u64>,
    /// The network device, if there is one.
    pub net: Option<SavedNet>,
    /// The guest's context ID, if there is a socket device.
    pub vsock: Option<u32>,
    /// Folders in their order.
    pub shares: Vec<SavedShare>,
    /// For each bank of flash whether the guest's changes are refused; empty for a machine without flash.
    pub flash: Vec<bool>,
    /// What the command needs to know.
    pub about: About,
}

/// The files of a snapshot under temporary names, which whoever asks for it makes: the machine itself may not make files.
/// Dropped before [`NewFiles::put`], they are removed.
#[derive(Debug)]
pub struct NewFiles {
    to: PathBuf,
    replace: bool,
    file: NewFile,
    /// For the copies of disks, in the order of their places.
    disks: Vec<NewFile>,
}

/// The names of a snapshot's files: its own and those of all disks that it may have.
fn names(to: &Path) -> impl Iterator<Item = PathBuf> {
    [to.to_path_buf()].into_iter().chain((0..MOST_DISKS).map(move |place| disk_beside(to, place)))
}

impl NewFiles {
    /// Makes empty files for a snapshot `to` with copies of these disks ([`copied_disks`]). With `replace` there may be
    /// an earlier one.
    ///
    /// # Errors
    /// A file exists, or the host cannot make one.
    pub fn create(to: &Path, replace: bool, copied: &[usize]) -> Result<NewFiles, SnapshotError> {
        if let Some(path) = names(to).find(|path| !replace && path.symlink_metadata().is_ok()) {
            return Err(SnapshotError::Exists(path));
        }
        let beside = |path: &Path| {
            NewFile::beside(path, 0o600).map_err(SnapshotError::file("cannot write the snapshot", path))
        };
        let disks = copied.iter().map(|&place| beside(&disk_beside(to, place)));
        let disks = disks.collect::<Result<_, SnapshotError>>()?;
        Ok(NewFiles { to: to.into(), replace, file: beside(to)?, disks })
    }

    /// The files for [`write`], in its order.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        [&self.file].into_iter().chain(&self.disks).map(NewFile::file)
    }

    /// Gives the files their names, once the machine has written all of them.
    ///
    /// # Errors
    /// The host's.
    pub fn put(self) -> Result<(), SnapshotError> {
        let NewFiles { to, replace, file, disks } = self;
        let failed = || SnapshotError::file("cannot write the snapshot", &to);
        // The file without which the others mean nothing goes first and comes last: a new one never has old disks.
        for path in names(&to).filter(|_| replace) {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed()(e)),
                _ => {}
            }
        }
        for disk in disks {
            disk.put(Durability::Whole).map_err(failed())?;
        }
        file.put(Durability::Lasting).map_err(failed())
    }
}

/// The places of the disks of which a snapshot has copies.
pub fn copied_disks(remote: &Remote) -> Vec<usize> {
    let copied = |(place, disk)| (!is_named(disk)).then_some(place);
    remote.disks().iter().enumerate().filter_map(copied).collect()
}

/// Writes a snapshot of a machine, which stands still meanwhile and then goes on, or stays paused. The `files` are those of
/// [`NewFiles::files`]; `to` is for messages. What it wrote is on the host's disk when it returns.
///
/// # Errors
/// The host cannot write it, or the machine does not stand still.
pub fn write(
    remote: &Remote,
    description: Description,
    to: &Path,
    mut files: Vec<File>,
) -> Result<(), SnapshotError> {
    let copied = copied_disks(remote);
    if files.len() != 1 + copied.len() {
        return Err(SnapshotError::Disk("there is not one file for each disk of the machine".into()));
    }
    let file = files.remove(0);
    let disks: Vec<_> = copied.into_iter().zip(files).collect();
    let to = to.to_path_buf();
    while_still(remote, move |board| fill(board, &description, &to, &file, &disks))?
}

/// Whether the disk stays where it is: nothing changes it, and it has a name.
fn is_named(disk: &DiskStatus) -> bool {
    disk.read_only && disk.backend.path().is_some()
}

/// Calls `f` with the board while it stands still, unless that takes too long.
fn while_still<T: Send + 'static>(
    remote: &Remote,
    f: impl FnOnce(&mut Board) -> T + Send + 'static,
) -> Result<T, SnapshotError> {
    const BEGUN: u8 = 1;
    const GIVEN_UP: u8 = 2;
    let state = Arc::new(AtomicU8::new(0));
    let (theirs, (done, result)) = (state.clone(), std::sync::mpsc::channel());
    let take =
        |state: &AtomicU8, new| state.compare_exchange(0, new, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    let begun = remote.ask_within(PATIENCE, move |board| {
        if take(&theirs, BEGUN) {
            // Who asked may have gone.
            let _ = done.send(f(board));
        }
    });
    // Once it has begun it may take its time.
    if begun.is_none() && take(&state, GIVEN_UP) {
        return Err(if remote.has_ended() { SnapshotError::Ended } else { SnapshotError::Busy });
    }
    result.recv().map_err(|_| SnapshotError::Ended)
}

/// Writes everything.
fn fill(
    board: &Board,
    description: &Description,
    to: &Path,
    file: &File,
    disks: &[(usize, File)],
) -> Result<(), SnapshotError> {
    let failed = || SnapshotError::file("cannot write the snapshot", to);
    for (place, copy) in disks {
        let Some(disk) = board.disks().get(*place) else { continue };
        let failed = |error| match error {
            BlockError::Io(e) => {
                SnapshotError::file("cannot write the copy of a disk", &disk_beside(to, *place))(e)
            }
            other => SnapshotError::Disk(format!("the disk {} cannot be read: {other}", disk.id)),
        };
        disk.backend.copy_to(copy).and_then(|()| Ok(copy.sync_all()?)).map_err(failed)?;
    }
    let header = header(board, description).map_err(failed())?;
    let (head, at) = encode(&header.save(), &board.save());
    let memory = || board.ram().save(file, at);
    file.write_all_at(&head, 0).and_then(|()| memory()).and_then(|()| file.sync_all()).map_err(failed())
}

fn header(board: &Board, description: &Description) -> IoResult<Header> {
    let Description { cpu, count_time, net, vsock, shares, flash, about } = description.clone();
    Ok(Header {
        program: env!("CARGO_PKG_VERSION").into(),
        cpu,
        board: board.name().into(),
        memory: board.ram().size(),
        cpus: board.cpus(),
        count_time,
        firmware: board.firmware_kind(),
        disks: board.disks().iter().map(disk).collect::<IoResult<_>>()?,
        net,
        vsock,
        shares,
        about,
        balloon: board.balloon().is_some(),
        terminal: board.tells_terminal_size(),
        flash,
    })
}

fn disk(status: &DiskStatus) -> IoResult<SavedDisk> {
    let stored = match status.backend.path().filter(|_| is_named(status)) {
        None => Stored::Beside,
        Some(path) => {
            let path = std::path::absolute(path)?;
            let (len, modified) = stamp(&path.metadata()?);
            let path = path.as_os_str().as_bytes().to_vec();
            Stored::Named { path, format: status.format.into(), len, modified }
        }
    };
    let DiskStatus { id, size, read_only, .. } = status;
    Ok(SavedDisk { id: id.clone(), size: *size, read_only: *read_only, stored })
}
