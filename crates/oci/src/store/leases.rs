//! Leases: an image is kept for a guest while it exists, and for a process while it lives.

use super::{Image, Store, key, lock_file, replace, retry, unique};
use crate::error::{Error, Result};
use crate::layer::chain_ids;
use oci_spec::image::Digest;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// A guest's lease on an image. It lasts until [`Store::unpin`], whatever happens to the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// The guest's id.
    pub guest: String,
    /// Digest of the image's manifest.
    pub manifest: Digest,
    /// The image's ID.
    pub image: Digest,
    /// Names of layer directories.
    layers: Vec<String>,
}

/// A process's lease on content; it ends with the process.
#[derive(Debug)]
pub struct Working {
    store: Store,
    path: PathBuf,
    file: File,
}

/// Everything that is in use.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Digests of blobs.
    pub blobs: BTreeSet<String>,
    /// Names of layer directories.
    pub layers: BTreeSet<String>,
}

impl Store {
    fn guest_path(&self, guest: &str) -> Result<PathBuf> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        if guest.is_empty() || guest.len() > 128 || !guest.bytes().all(fine) {
            return Err(Error::Refused(format!(
                "'{guest}' is not the id of a guest: use letters, digits, '_', '.' and '-', at most 128"
            )));
        }
        Ok(self.path("leases").join(format!("guest-{guest}.json")))
    }

    /// Keeps an image and its layers for a guest. A guest uses one image: an earlier lease is replaced.
    ///
    /// # Errors
    /// The image was removed in the meantime, or the host fails.
    pub fn pin(&self, image: &Image, guest: &str) -> Result<Lease> {
        let path = self.guest_path(guest)?;
        let lease = Lease {
            guest: guest.into(),
            manifest: image.digest().clone(),
            image: image.id().clone(),
            layers: layer_keys(&image.diff_ids()?),
        };
        let bytes = serde_json::to_vec_pretty(&lease).map_err(|e| Error::Host(e.to_string()))?;
        let _guard = self.shared()?;
        if !self.has(image.digest()) || image.parts().any(|p| !self.has(p.digest())) {
            return Err(Error::NotHere(format!(
                "image {} was removed a moment ago: pull it again",
                image.id()
            )));
        }
        replace(&path, &bytes)?;
        Ok(lease)
    }

    /// Ends a guest's lease, if it has one.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn unpin(&self, guest: &str) -> Result<()> {
        let path = self.guest_path(guest)?;
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file("cannot remove", &path)(e)),
            _ => Ok(()),
        }
    }

    /// All leases of guests.
    ///
    /// # Errors
    /// A lease cannot be read: then nothing must be removed.
    pub fn pinned(&self) -> Result<Vec<Lease>> {
        let mut leases = Vec::new();
        for (name, path) in self.lease_files()? {
            if !name.starts_with("guest-") {
                continue;
            }
            let bytes = match std::fs::read(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                read => read.map_err(Error::file("cannot read", &path))?,
            };
            leases.push(serde_json::from_slice(&bytes).map_err(|e| {
                let what = format!("this is not a lease ({e}): remove it when its guest is gone");
                Error::damaged(path.display().to_string(), what)
            })?);
        }
        Ok(leases)
    }

    fn lease_files(&self) -> Result<Vec<(String, PathBuf)>> {
        let dir = self.path("leases");
        let entries = std::fs::read_dir(&dir).map_err(Error::file("cannot read", &dir))?;
        let named = |e: std::fs::DirEntry| (e.file_name().to_string_lossy().into_owned(), e.path());
        let mut files: Vec<_> = entries.filter_map(std::result::Result::ok).map(named).collect();
        files.sort();
        Ok(files)
    }

    /// Begins a process's lease.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn working(&self) -> Result<Working> {
        let _guard = self.shared()?;
        let path = self.path("leases").join(format!("work-{}", unique()));
        let file = lock_file(&path)?;
        retry(|| flock(&file, FlockOperation::LockExclusive)).map_err(Error::errno("cannot lock", &path))?;
        Ok(Working { store: self.clone(), path, file })
    }

    /// Keeps an image and its layers as long as the result lives.
    ///
    /// # Errors
    /// The image was removed in the meantime, or the host fails.
    pub fn hold(&self, image: &Image) -> Result<Working> {
        let working = self.working()?;
        for part in image.parts().map(|p| p.digest()).chain([image.digest()]) {
            if !working.hold(part)? {
                let what = format!("image {} was removed a moment ago: pull it again", image.id());
                return Err(Error::NotHere(what));
            }
        }
        working.hold_layers(&image.diff_ids()?)?;
        Ok(working)
    }

    /// Everything that leases keep; leases of dead processes are removed. The caller holds the exclusive
    /// lock.
    pub(super) fn leased(&self) -> Result<Marks> {
        let mut marks = Marks::default();
        for lease in self.pinned()? {
            marks.blobs.insert(lease.manifest.to_string());
            marks.layers.extend(lease.layers);
        }
        for (name, path) in self.lease_files()? {
            if !name.starts_with("work-") {
                continue;
            }
            let Ok(file) = File::open(&path) else { continue };
            if retry(|| flock(&file, FlockOperation::NonBlockingLockExclusive)).is_ok() {
                drop(std::fs::remove_file(&path));
                continue;
            }
            let text = std::fs::read_to_string(&path).map_err(Error::file("cannot read", &path))?;
            for line in text.lines() {
                match line.strip_prefix("layer ") {
                    Some(layer) => marks.layers.insert(layer.into()),
                    None => marks.blobs.insert(line.into()),
                };
            }
        }
        Ok(marks)
    }
}

impl Working {
    /// Keeps this content from now on; returns whether it is here.
    ///
    /// # Errors
    /// Fails where the host does.
    pub fn hold(&self, digest: &Digest) -> Result<bool> {
        let _guard = self.store.shared()?;
        self.note(&format!("{digest}\n"))?;
        Ok(self.store.has(digest))
    }

    /// Keeps these unpacked layers from now on.
    pub(crate) fn hold_layers(&self, diff_ids: &[Digest]) -> Result<()> {
        let _guard = self.store.shared()?;
        let lines: Vec<String> = layer_keys(diff_ids).iter().map(|k| format!("layer {k}\n")).collect();
        self.note(&lines.concat())
    }

    fn note(&self, lines: &str) -> Result<()> {
        (&self.file).write_all(lines.as_bytes()).map_err(Error::file("cannot write", &self.path))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

/// The possible directory names of these layers.
pub(crate) fn layer_keys(diff_ids: &[Digest]) -> Vec<String> {
    let keys: BTreeSet<String> = diff_ids.iter().chain(&chain_ids(diff_ids)).map(key).collect();
    keys.into_iter().collect()
}
