//! Snapshots of machines: `trine snapshot` and `trine run --restore`.

use super::args::SnapshotArgs;
use super::user_network::Network;
use super::vsock::{self, Sockets};
use crate::args::RunArgs;
use crate::run::{OfImage, Plan, Prepared};
use crate::{Refusal, code};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trine_control::store::Store;
use trine_control::verbs::change;
use trine_image::ImageError;
use trine_machine::boards::{BOARDS, BoardKind};
use trine_machine::boot::Boot;
use trine_machine::snapshot::{About, Description, Header, SavedShare, Snapshot, SnapshotError};
use trine_machine::{FlashBank, Share, TimeSource};
use trine_share::{Access, Folder, raise_limit_of_files};

/// `trine snapshot`.
pub fn snapshot(args: &SnapshotArgs) -> Result<u8, Refusal> {
    let file = std::path::absolute(&args.file)
        .map_err(|e| Refusal::refused(format!("{}: {e}", args.file.display())))?;
    change::snapshot(&Store::open()?, &args.guest, &file, args.force)?;
    super::print(&format!("{}\n", args.file.display()))?;
    Ok(code::OK)
}

/// Why a snapshot cannot be used.
pub enum Unusable {
    /// It cannot be read, or is damaged.
    Snapshot(SnapshotError),
    /// It is of a machine that this program does not have.
    Board(Refusal),
}

impl Unusable {
    /// Whether the snapshot itself is to blame, or one of its files is gone; otherwise the host refused something, and may not do
    /// so the next time.
    pub fn is_of_snapshot(&self, snapshot: &Path) -> bool {
        let name = snapshot.as_os_str().as_bytes();
        match self {
            Unusable::Snapshot(SnapshotError::File(ImageError::File { path, error, .. })) => {
                error.kind() == ErrorKind::NotFound && path.as_os_str().as_bytes().starts_with(name)
            }
            _ => true,
        }
    }
}

impl From<SnapshotError> for Unusable {
    fn from(error: SnapshotError) -> Unusable {
        Unusable::Snapshot(error)
    }
}

impl From<Unusable> for Refusal {
    fn from(why: Unusable) -> Refusal {
        match why {
            Unusable::Snapshot(error) => Refusal::refused(error),
            Unusable::Board(refusal) => refusal,
        }
    }
}

/// Opens a snapshot and finds its board.
fn open(path: &Path) -> Result<(Arc<Snapshot>, &'static BoardKind), Unusable> {
    let snapshot = Snapshot::open(path)?;
    let Header { cpu, board, program, .. } = &snapshot.header;
    let fits = |kind: &&BoardKind| kind.cpu.name() == cpu && kind.name == board;
    let kind = BOARDS.iter().find(fits).ok_or_else(|| {
        Unusable::Board(Refusal::refused(format!(
            "{}: this snapshot is of a machine with the CPU '{cpu}' on the board '{board}', which this program does not have: \
             use Trine {program}, which made it",
            path.display()
        )))
    })?;
    Ok((Arc::new(snapshot), kind))
}

/// Opens a snapshot and checks that it is whole, and that its disks are there.
///
/// # Errors
/// It is damaged, or of a machine that this program does not have.
pub fn whole(path: &Path) -> Result<Arc<Snapshot>, Unusable> {
    let (snapshot, kind) = open(path)?;
    snapshot.flash(kind.flash_banks)?;
    snapshot.disks()?;
    Ok(snapshot)
}

/// Checks that a machine can be restored.
pub fn check(args: &RunArgs, path: &Path) -> Result<(), Refusal> {
    let snapshot = whole(path)?;
    shares(&snapshot)?;
    match (snapshot.header.net, args.container.network.ports().next()) {
        (None, Some(_)) => Network::restored(args, None).map(drop),
        _ => Ok(()),
    }
}

/// Opens everything that a restored machine has.
pub fn plan(args: &RunArgs, path: &Path, monitored: bool) -> Result<Plan, Refusal> {
    let (snapshot, kind) = open(path)?;
    let Header { memory, cpus, count_time, net, vsock, about, balloon, terminal, flash, .. } =
        &snapshot.header;
    if vsock.is_some_and(|cid| cid != vsock::CID) {
        return Err(Refusal::refused(format!(
            "{}: this snapshot's socket device is unknown",
            path.display()
        )));
    }
    let net = Network::restored(args, *net)?;
    let sockets = vsock.map(|_| Sockets::restored(monitored)).transpose()?;
    let image = about.of_image.then_some(OfImage { terminates: about.terminates });
    let shares = shares(&snapshot)?;
    let description = Description {
        cpu: kind.cpu.name().into(),
        count_time: *count_time,
        net: net.saved(),
        vsock: *vsock,
        shares: saved_shares(&shares)?,
        about: about.clone(),
        flash: flash.clone(),
    };
    Ok(Plan {
        start: Prepared { boot: Boot::Restored(snapshot.clone()), memory: *memory, image },
        kind,
        cpus: *cpus,
        disks: snapshot.disks().map_err(Refusal::refused)?,
        flash: snapshot.flash(kind.flash_banks).map_err(Refusal::refused)?,
        net,
        shares,
        balloon: *balloon,
        terminal: *terminal,
        time: count_time.map_or(TimeSource::Host, TimeSource::Count),
        sockets,
        snapshot: Some(snapshot),
        description,
        after_reset: None,
        renewal: None,
    })
}

/// What a snapshot says of a machine that starts.
pub fn describe(plan: &Plan, reads_end: bool) -> Result<Description, Refusal> {
    let image = plan.start.image;
    Ok(Description {
        cpu: plan.kind.cpu.name().into(),
        count_time: match plan.time {
            TimeSource::Host => None,
            TimeSource::Count(nanos) => Some(nanos.max(1)),
        },
        net: plan.net.saved(),
        vsock: plan.sockets.as_ref().map(|_| vsock::CID),
        shares: saved_shares(&plan.shares)?,
        flash: plan.flash.iter().map(FlashBank::read_only).collect(),
        about: About {
            reads_end,
            of_image: image.is_some(),
            terminates: image.is_some_and(|image| image.terminates),
        },
    })
}

fn saved_shares(shares: &[Share]) -> Result<Vec<SavedShare>, Refusal> {
    let saved = |share: &Share| {
        let path = std::path::absolute(share.folder.path()).map_err(Refusal::host)?;
        let read_only = share.folder.access() == Access::ReadOnly;
        Ok(SavedShare { tag: share.tag.clone(), path: path.into_os_string().into_vec(), read_only })
    };
    shares.iter().map(saved).collect()
}

/// Opens the folders again, by their paths.
fn shares(snapshot: &Snapshot) -> Result<Vec<Share>, Refusal> {
    if !snapshot.header.shares.is_empty() {
        raise_limit_of_files();
    }
    let open = |share: &SavedShare| {
        let path = PathBuf::from(OsStr::from_bytes(&share.path));
        let access = if share.read_only { Access::ReadOnly } else { Access::Write };
        let folder = Folder::open(&path, access).map_err(|e| {
            Refusal::refused(format!("{e}: the snapshot {} needs this folder", snapshot.path().display()))
        })?;
        Ok(Share { tag: share.tag.clone(), folder: Arc::new(folder) })
    };
    snapshot.header.shares.iter().map(open).collect()
}
