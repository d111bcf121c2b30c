//! Snapshots of machines that run.

use super::header::{About, Header, SavedDisk, SavedNet, SavedShare, Stored, encode, stamp};
use super::{SnapshotError, disk_beside};
use crate::disk::DiskStatus;
use crate::{Board, Remote};
use std::fs;
use std::io::{ErrorKind, Result as IoResult};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
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
    /// What the command needs to know.
    pub about: About,
}

/// The files of a snapshot under their temporary names.
struct Files {
    file: NewFile,
    /// The copies of disks, by their places.
    disks: Vec<(usize, NewFile)>,
}

/// Makes a snapshot of a machine, which stands still meanwhile and then goes on, or stays paused. With `replace` the
/// files may exist. They appear when they are complete.
///
/// # Errors
/// A file exists, the host cannot write it, or the machine does not stand still. Nothing new stays then.
pub fn write(
    remote: &Remote,
    description: Description,
    to: &Path,
    replace: bool,
) -> Result<(), SnapshotError> {
    let places = 0..MOST_DISKS;
    let all = || [to.to_path_buf()].into_iter().chain(places.clone().map(|n| disk_beside(to, n)));
    if let Some(path) = all().find(|path| !replace && path.symlink_metadata().is_ok()) {
        return Err(SnapshotError::Exists(path));
    }
    let beside = |path: &Path| {
        NewFile::beside(path, 0o600).map_err(SnapshotError::file("cannot write the snapshot", path))
    };
    let disks = remote.disks().iter().enumerate().filter(|(_, disk)| !is_named(disk));
    let disks = disks.map(|(place, _)| Ok((place, beside(&disk_beside(to, place))?)));
    let files = Files { file: beside(to)?, disks: disks.collect::<Result<_, SnapshotError>>()? };
    let at = to.to_path_buf();
    let written = while_still(remote, move |board| fill(board, &description, &at, files))?;
    let Files { file, disks } = written?;
    let failed = || SnapshotError::file("cannot write the snapshot", to);
    // The file without which the others mean nothing goes first and comes last: a new one never has old disks.
    for path in all().filter(|_| replace) {
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(failed()(e)),
            _ => {}
        }
    }
    for (_, disk) in disks {
        disk.put(Durability::Whole).map_err(failed())?;
    }
    file.put(Durability::Lasting).map_err(failed())
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
fn fill(board: &Board, description: &Description, to: &Path, files: Files) -> Result<Files, SnapshotError> {
    let failed = || SnapshotError::file("cannot write the snapshot", to);
    for (place, file) in &files.disks {
        let Some(disk) = board.disks().get(*place) else { continue };
        disk.backend.copy_to(file.file()).map_err(|error| match error {
            BlockError::Io(e) => {
                SnapshotError::file("cannot write the copy of a disk", &disk_beside(to, *place))(e)
            }
            other => SnapshotError::Disk(format!("the disk {} cannot be read: {other}", disk.id)),
        })?;
    }
    let header = header(board, description).map_err(failed())?;
    let (head, at) = encode(&header.save(), &board.save());
    let file = files.file.file();
    file.write_all_at(&head, 0).and_then(|()| board.ram().save(file, at)).map_err(failed())?;
    Ok(files)
}

fn header(board: &Board, description: &Description) -> IoResult<Header> {
    let Description { cpu, count_time, net, vsock, shares, about } = description.clone();
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
