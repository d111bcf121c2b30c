//! Layers: from the archive of an image to a directory that overlayfs stacks.

mod below;
pub mod decompress;
pub mod merged;
mod root;
pub mod tar;
pub mod unpack;

#[cfg(test)]
mod tests;

pub use below::{Below, Found};
pub use unpack::{Limits, Unpacked};

use crate::digest::{self, Hasher, Hashing};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::store::{Image, Store, key, replace, retry, unique};
use crate::userns::Identity;
use oci_spec::image::{Descriptor, Digest};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// An image's layers as directories.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layers {
    /// The directories, the lowest first. Each directory occurs once.
    pub lower: Vec<PathBuf>,
    /// Whether all files have the owners that the image says; otherwise they belong to the user.
    pub owners_mapped: bool,
    /// Whether overlayfs must be mounted with `userxattr`.
    pub user_xattrs: bool,
    /// Whether only fuse-overlayfs can stack them.
    pub fuse_only: bool,
}

/// The metadata file beside an unpacked layer.
#[derive(Debug, Serialize, Deserialize)]
struct Info {
    diff_id: Digest,
    #[serde(flatten)]
    unpacked: Unpacked,
}

/// The IDs of layers together with those below them (OCI Image Configuration, "Layer ChainID").
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for id in diff_ids {
        let next = match chain.last() {
            None => id.clone(),
            Some(below) => digest::of(format!("{below} {id}").as_bytes()),
        };
        chain.push(next);
    }
    chain
}

/// A layer that is to be unpacked.
struct Job<'a> {
    store: &'a Store,
    blob: Descriptor,
    diff_id: Digest,
    /// The directory's name if the layer depends on those below.
    chain: Digest,
    below: Vec<PathBuf>,
}

impl Store {
    /// The layers of an image as directories; layers that are not unpacked yet are unpacked. Call
    /// [`Store::pin`] for the image first, so that they are kept.
    ///
    /// For an ordinary user a child process unpacks them (see [`Identity::run`]), so no other thread should
    /// be running.
    ///
    /// # Errors
    /// A layer is damaged or exceeds `limits`, or the host fails.
    pub fn layers_within(&self, image: &Image, limits: Limits, progress: &dyn Progress) -> Result<Layers> {
        let diff_ids = image.diff_ids()?;
        let working = self.working()?;
        working.hold_layers(&diff_ids)?;
        let identity = Identity::of_process();
        let mut layers = Layers { owners_mapped: true, ..Layers::default() };
        let blobs = image.manifest().layers().iter().cloned();
        for ((diff_id, chain), blob) in diff_ids.iter().zip(chain_ids(&diff_ids)).zip(blobs) {
            let below: Vec<PathBuf> = layers.lower.iter().rev().cloned().collect();
            let job = Job { store: self, blob, diff_id: diff_id.clone(), chain, below };
            let (path, info) = match job.found() {
                Some(found) => found,
                None => job.unpack(&identity, limits, progress)?,
            };
            layers.owners_mapped &= info.unpacked.owners;
            layers.user_xattrs |= info.unpacked.user_xattrs;
            layers.fuse_only |= info.unpacked.fuse_only;
            // overlayfs accepts no directory twice; the upper one of two shows everything that the lower one
            // would.
            layers.lower.retain(|p| *p != path);
            layers.lower.push(path);
        }
        if layers.lower.is_empty() {
            layers.lower.push(self.empty_layer()?);
        }
        Ok(layers)
    }

    /// As [`Store::layers_within`] with the default limits.
    ///
    /// # Errors
    /// As [`Store::layers_within`].
    pub fn layers(&self, image: &Image, progress: &dyn Progress) -> Result<Layers> {
        self.layers_within(image, Limits::default(), progress)
    }

    /// An empty layer for images without layers: overlayfs needs one.
    fn empty_layer(&self) -> Result<PathBuf> {
        let path = self.root().join("empty");
        let made = DirBuilder::new().recursive(true).mode(0o755).create(&path);
        made.map_err(Error::file("cannot create directory", &path))?;
        Ok(path)
    }
}

impl Job<'_> {
    /// The layer's directory, if it is unpacked already.
    fn found(&self) -> Option<(PathBuf, Info)> {
        [&self.diff_id, &self.chain].into_iter().find_map(|id| {
            let dir = self.store.layers_path().join(key(id));
            let info: Info = serde_json::from_slice(&std::fs::read(dir.join("info.json")).ok()?).ok()?;
            (info.diff_id == self.diff_id).then(|| (dir.join("fs"), info))
        })
    }

    fn unpack(
        &self,
        identity: &Identity,
        limits: Limits,
        progress: &dyn Progress,
    ) -> Result<(PathBuf, Info)> {
        // Only one process at a time unpacks a layer.
        let lock_path = self.store.root().join("partial").join(format!("layer-{}", key(&self.diff_id)));
        let lock = crate::store::lock_file(&lock_path)?;
        retry(|| flock(&lock, FlockOperation::LockExclusive))
            .map_err(Error::errno("cannot lock", &lock_path))?;
        if let Some(found) = self.found() {
            return Ok(found);
        }
        let item = self.blob.digest().to_string();
        progress.start(&item, "unpacking", Some(self.blob.size()));
        let (new, _held) = self.room()?;
        let unpacked = identity.run(|| self.fill(&new, identity.owners(), limits));
        let unpacked = unpacked.inspect_err(|_| drop(remove(std::slice::from_ref(&new))))?;
        if unpacked.left_out > 0 {
            progress.note(&format!(
                "{item}: {} device nodes are left out: only root can create them",
                unpacked.left_out
            ));
        }
        let id = if unpacked.leans { &self.chain } else { &self.diff_id };
        let info = Info { diff_id: self.diff_id.clone(), unpacked };
        let bytes = serde_json::to_vec(&info).map_err(|e| Error::Host(e.to_string()))?;
        replace(&new.join("info.json"), &bytes)?;
        let dir = self.store.layers_path().join(key(id));
        // All data is on the disk before the directory gets its name.
        File::open(&new)
            .and_then(|d| Ok(rustix::fs::syncfs(d)?))
            .map_err(Error::file("cannot write", &new))?;
        std::fs::rename(&new, &dir).map_err(Error::file("cannot create", &dir))?;
        crate::store::sync_directory(&self.store.layers_path())?;
        drop(std::fs::remove_file(&lock_path));
        progress.done(&item, "unpacked");
        Ok((dir.join("fs"), info))
    }

    /// Creates a temporary directory, which is garbage once this process has ended.
    fn room(&self) -> Result<(PathBuf, File)> {
        let _guard = self.store.shared()?;
        let new = self.store.layers_path().join(format!("new-{}", unique()));
        let make = |path: &Path, mode| DirBuilder::new().mode(mode).create(path);
        make(&new, 0o700).map_err(Error::file("cannot create directory", &new))?;
        let held = File::open(&new).map_err(Error::file("cannot open", &new))?;
        retry(|| flock(&held, FlockOperation::LockExclusive)).map_err(Error::errno("cannot lock", &new))?;
        let fs = new.join("fs");
        let made =
            make(&fs, 0o755).and_then(|()| std::fs::set_permissions(&fs, PermissionsExt::from_mode(0o755)));
        made.map_err(Error::file("cannot create directory", &fs))?;
        Ok((new, held))
    }

    /// Unpacks and verifies the layer.
    fn fill(&self, new: &Path, owners: bool, limits: Limits) -> Result<Unpacked> {
        let place = self.blob.digest().to_string();
        let bad = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::StorageFull => Error::Host(format!("{place}: {e}")),
            _ => Error::damaged(&place, e.to_string()),
        };
        let plain = decompress::plain(self.store.blob(self.blob.digest())?)?;
        // Headers and padding count as well, so that an archive of only those cannot exceed the limit.
        let most = limits.bytes.saturating_add(limits.entries.saturating_mul(4096));
        let hashing = Hashing::new(plain.take(most), Hasher::of(&self.diff_id)?);
        let mut archive = tar::Reader::new(hashing);
        let unpacked = unpack::unpack(&mut archive, &new.join("fs"), Below(&self.below), owners, limits);
        let unpacked = unpacked.map_err(bad)?;
        let (hasher, count) = archive.finish().map_err(bad)?.finish();
        if count >= most {
            return Err(Error::damaged(&place, format!("the layer has more than {most} bytes")));
        }
        hasher.check(&self.diff_id)?;
        Ok(unpacked)
    }
}

/// Removes directories of layers, whoever owns their contents; it is not an error if they do not exist.
pub(crate) fn remove(paths: &[PathBuf]) -> Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    Identity::of_process().run(|| {
        for path in paths {
            match std::fs::remove_dir_all(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::file("cannot remove", path)(e));
                }
                _ => (),
            }
        }
        Ok(())
    })
}
