//! A disk with Debian, made without root: packages are unpacked into a tree in memory with owners and modes as numbers,
//! dpkg's database is written beside them, and all of it becomes an ext4 file system. The packages are configured by the
//! second stage, which runs inside a machine, as the disk's own CPU is needed for it.

pub mod dpkg;
pub mod ext4;
mod own;
pub mod tree;

pub use own::{HOSTNAME, RENEW_PORT, SHUT_DOWN_PORT};

use super::Apt;
use super::apt::Progress;
use super::sources::sources;
use crate::ImageError;
use dpkg::Database;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tree::Tree;

/// The packages besides the essential ones: a system with systemd, a network, and what one expects at a shell.
const PACKAGES: &[&str] = &[
    "?essential",
    "apt",
    "bash-completion",
    "ca-certificates",
    "dbus",
    "e2fsprogs",
    "init",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "libpam-systemd",
    "locales",
    "login",
    "netbase",
    "openssh-server",
    "procps",
    "sudo",
    "systemd-resolved",
    "systemd-sysv",
    "systemd-timesyncd",
    "udev",
    "vim-tiny",
    "whiptail",
];

/// Must be increased when what is on a disk changes.
const EDITION: u32 = 7;
/// Bytes of a disk. It is sparse: a new one takes some 300 MB of the host's.
pub const SIZE: u64 = 8 << 30;

/// The shell script on an unpacked disk that configures its packages. It ends with the line [`COMPLETE`] if all went well.
const SECOND_STAGE: &str = include_str!("second_stage.sh");
/// See [`SECOND_STAGE`].
pub const COMPLETE: &str = "trine: the disk is complete";

/// A file for the disk: its path, and its contents.
pub type Extra = (String, Vec<u8>);

/// The file of a suite's disk whose packages are configured, and which machines get copies of.
pub fn base(cache: &Path, suite: &str, architecture: &str) -> PathBuf {
    let list = PACKAGES.join(" ");
    let id: String = Sha256::digest(list).iter().take(4).map(|b| format!("{b:02x}")).collect();
    cache.join("disks").join(format!("debian-{suite}-{architecture}-{id}-{EDITION}.raw"))
}

/// Makes a disk whose packages are not configured yet, as the file `path`; returns how many packages it has.
///
/// # Errors
/// The host has no apt or too little room; the mirror has no such suite; a package is damaged.
pub fn unpacked(
    cache: &Path,
    suite: &str,
    architecture: &str,
    extra: Vec<Extra>,
    path: &Path,
    progress: Progress,
) -> Result<usize, ImageError> {
    let made = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs() as i64);
    let wanted = format!("Debian {suite} for {architecture}");
    let apt = Apt::foreign(cache, suite, architecture, &wanted)?;
    apt.update(progress)?;
    // A suite that does not exist for a CPU is no error for apt, but empty.
    apt.candidate("base-files").map_err(|_| {
        ImageError::Other(format!("the mirror has no packages of Debian {suite} for {architecture}"))
    })?;
    let list = apt.closure(PACKAGES)?;
    progress(&format!("fetching {} packages of Debian {suite}", list.len()), 0, 0);
    let debs = path.with_extension("debs");
    drop(fs::remove_dir_all(&debs));
    let result =
        apt.download_all(&list, &debs).and_then(|files| unpack(suite, &files, extra, path, made, progress));
    drop(fs::remove_dir_all(&debs));
    result
}

fn unpack(
    suite: &str,
    debs: &[PathBuf],
    extra: Vec<Extra>,
    path: &Path,
    made: i64,
    progress: Progress,
) -> Result<usize, ImageError> {
    let (mut tree, mut database) = (Tree::default(), Database::default());
    for (n, deb) in debs.iter().enumerate() {
        progress("unpacking packages", n as u64, debs.len() as u64);
        database.unpack(&mut tree, deb, made)?;
    }
    let script = || SECOND_STAGE.as_bytes().to_vec();
    let own = own::add(&mut tree, suite, &sources(), made)
        .and_then(|()| tree.file("var/lib/trine/second-stage", 0o755, script(), made))
        .and_then(|()| extra.into_iter().try_for_each(|(path, data)| tree.file(&path, 0o644, data, made)))
        .and_then(|()| database.finish(&mut tree, made));
    let count = own.map_err(|e| ImageError::Other(format!("the disk's own files: {e}")))?;
    progress("writing the disk", 0, 0);
    let id = Sha256::digest(format!("{}{made}", path.display()));
    let id = std::array::from_fn(|i| id[i]);
    ext4::write(&tree, path, SIZE, id, made)
        .map_err(|e| ImageError::Other(format!("cannot write the disk {}: {e}", path.display())))?;
    Ok(count)
}
