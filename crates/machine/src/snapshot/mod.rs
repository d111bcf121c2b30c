//! Machines in files: a snapshot has everything from which a machine goes on.
//!
//! * `header`: the file's format, what is checked of it, and its disks. `write`: how a snapshot of a running machine is made.
//!
//! A snapshot is a file and, for each disk that the guest may write to, a raw image beside it, `FILE.disk0` and so on.
//! The file has a prefix of 64 bytes, the header, the devices' and vCPUs' state ([`crate::Board::save`]), and from the next
//! page on the contents of memory, page by page as in the guest, with holes for pages of zeros. So a restored machine
//! maps its memory from there, copy-on-write, and has it at once, whatever its size.
//!
//! | offset | bytes | what (numbers are little-endian) |
//! | ---: | ---: | --- |
//! | 0 | 8 | `TRINESNP` |
//! | 8 | 8 | version of the prefix: 1 |
//! | 16 | 8 | length of the header |
//! | 24 | 8 | length of the state |
//! | 32 | 32 | SHA-256 of the prefix up to here, the header and the state |
//! | 64 | | the header, then the state |
//!
//! There is no sum over memory: to check it, all of it would have to be read.

mod header;
mod write;

pub use header::{About, Header, SavedDisk, SavedNet, SavedShare, Snapshot, Stored, encode};
pub use write::{Description, NewFiles, copied_disks, write};

use std::path::{Path, PathBuf};
use trine_base::StateError;
use trine_image::ImageError;

/// Why a snapshot cannot be made or used. Each message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is a file already.
    #[error("{0} exists already: use another name, or --force to replace that snapshot")]
    Exists(PathBuf),
    /// The host refused something, or the file is not a snapshot, or a damaged one.
    #[error(transparent)]
    File(#[from] ImageError),
    /// A part of the state cannot be loaded.
    #[error("{path}: {error}")]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: StateError,
    },
    /// A disk of the machine cannot be used.
    #[error("{0}")]
    Disk(String),
    /// There is no machine any more.
    #[error("the machine has ended")]
    Ended,
    /// The machine did not stand still in time.
    #[error(
        "the machine does not stand still, because one of its devices waits for the host (its output may not be read): try again"
    )]
    Busy,
}

impl SnapshotError {
    fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> SnapshotError {
        let file = ImageError::file(what, path);
        move |error| file(error).into()
    }

    fn damaged(path: &Path, what: impl Into<String>) -> SnapshotError {
        ImageError::damaged(path, what).into()
    }
}

/// The file with the contents of disk `place` of a snapshot.
fn disk_beside(snapshot: &Path, place: usize) -> PathBuf {
    let mut name = snapshot.as_os_str().to_owned();
    name.push(format!(".disk{place}"));
    name.into()
}

#[cfg(test)]
mod tests;
