//! The image store: blobs by digest, names, unpacked layers, and leases.
//!
//! Any number of processes may use one store at once, and any may be killed at any moment: files get their
//! names when they are complete, and [`Store::collect`] removes what dead processes left.
//!
//! ```text
//! images/lock              flock: shared while something is taken into use, exclusive while names change or garbage goes
//! images/index.json        names
//! images/blobs/sha256/…    content, complete and verified
//! images/partial/…         content on its way here, flock'ed by who writes it
//! images/layers/KEY/fs     unpacked layers; KEY is a layer's diff ID, or its chain ID where it depends on those below
//! images/leases/guest-…    what a guest uses
//! images/leases/work-…     what a process is about to use, flock'ed by it
//! images/trash/…           on its way out
//! ```

mod blobs;
mod collect;
mod image;
mod leases;
mod names;
#[cfg(test)]
mod tests_gc;

pub use blobs::{Incoming, Spool, Taking};
pub use collect::Collected;
pub use image::Image;
pub use leases::{Lease, Working};
pub use names::{Held, Listed, Removed};

use crate::error::{Error, Result};
use oci_spec::image::{Digest, DigestAlgorithm};
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use trine_base::replace_file::{self, Durability};

/// The image store of a user. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// A lock on the whole store, held while this lives.
pub(crate) struct Guard(#[allow(dead_code, reason = "closing it unlocks")] File);

impl Store {
    /// Opens the user's store, `$XDG_DATA_HOME/trine/images`; it is created if missing.
    ///
    /// # Errors
    /// The store cannot be created.
    pub fn open() -> Result<Store> {
        Store::at(&trine_base::xdg::data().map_err(|e| Error::Host(e.to_string()))?.join("images"))
    }

    /// Opens the store in this directory; it is created if missing.
    ///
    /// # Errors
    /// The store cannot be created.
    pub fn at(root: &Path) -> Result<Store> {
        // No other user may access it: layers contain set-user-ID programs and device nodes.
        let make = |path: PathBuf| {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(Error::file("cannot create directory", &path))
        };
        for part in ["blobs/sha256", "blobs/sha512", "partial", "layers", "leases", "trash"] {
            let path = root.join(part);
            if !path.is_dir() {
                make(path)?;
            }
        }
        let root = root.canonicalize().map_err(Error::file("cannot open", root))?;
        Ok(Store { root })
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, part: &str) -> PathBuf {
        self.root.join(part)
    }

    /// The path of content with this digest, if it is here.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm().as_ref()).join(digest.digest())
    }

    pub(crate) fn layers_path(&self) -> PathBuf {
        self.path("layers")
    }

    pub(crate) fn trash_path(&self) -> PathBuf {
        self.path("trash").join(unique())
    }

    fn lock(&self, how: FlockOperation) -> Result<Guard> {
        let path = self.path("lock");
        let file = lock_file(&path)?;
        retry(|| flock(&file, how)).map_err(Error::errno("cannot lock", &path))?;
        Ok(Guard(file))
    }

    /// While this is held, nothing is removed as garbage.
    pub(crate) fn shared(&self) -> Result<Guard> {
        self.lock(FlockOperation::LockShared)
    }

    /// While this is held, no other process changes names or takes anything into use.
    pub(crate) fn exclusive(&self) -> Result<Guard> {
        self.lock(FlockOperation::LockExclusive)
    }
}

/// Opens a lock file; creates it if missing.
pub(crate) fn lock_file(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(0o600).custom_flags(libc::O_CLOEXEC);
    options.open(path).map_err(Error::file("cannot open", path))
}

/// Repeats a call that was interrupted by a signal.
pub(crate) fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => (),
            other => return other,
        }
    }
}

/// A name that no other file of the store has.
pub(crate) fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{:x}-{}", std::process::id(), now.as_nanos(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A digest as a file name; for SHA-256 only its digits.
pub(crate) fn key(digest: &Digest) -> String {
    match digest.algorithm() {
        DigestAlgorithm::Sha256 => digest.digest().to_string(),
        other => format!("{other}-{}", digest.digest()),
    }
}

/// Replaces a file: whoever reads sees the old one or the new one, after a crash, too.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = replace_file::replace(path, bytes, 0o600, Durability::Lasting);
    written.map_err(Error::file("cannot write", path))
}

/// Makes the names in a directory permanent.
pub(crate) fn sync_directory(dir: &Path) -> Result<()> {
    replace_file::sync_directory(dir).map_err(Error::file("cannot write", dir))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A store that is removed when this is dropped.
    pub(crate) struct Scratch {
        pub store: Store,
        pub dir: PathBuf,
    }

    impl Scratch {
        pub fn new() -> Scratch {
            let dir = std::env::temp_dir().join(format!("trine-oci-{}", unique()));
            let store = Store::at(&dir.join("images")).unwrap();
            Scratch { store, dir }
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.dir));
        }
    }

    #[test]
    fn a_store_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = Scratch::new();
        let mode = |p: &str| scratch.store.path(p).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(""), mode("layers"), mode("blobs/sha256")), (0o700, 0o700, 0o700));
        assert!(
            Store::at(Path::new("/proc/nowhere"))
                .unwrap_err()
                .to_string()
                .contains("cannot create directory")
        );
    }
}
