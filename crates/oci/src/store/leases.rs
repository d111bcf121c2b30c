//! Who uses what: a guest for as long as it exists, a process for as long as it lives.

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

/// An image that a guest uses. It lasts until [`Store::unpin`], whatever becomes of the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// The guest's id.
    pub guest: String,
    /// The image's manifest.
    pub manifest: Digest,
    /// The image's ID.
    pub image: Digest,
    /// Names of directories of layers.
    layers: Vec<String>,
}

/// What a process is about to use; it ends with the process.
#[derive(Debug)]
pub struct Working {
    store: Store,
    path: PathBuf,
    file: File,
}

/// What is in use.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Digests.
    pub blobs: BTreeSet<String>,
    /// Names of directories of layers.
    pub layers: BTreeSet<String>,
}

impl Store {
    fn guest_path(&self, guest: &str) -> Result<PathBuf> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        if guest.is_empty() || guest.len() > 128 || !guest.bytes().all(fine) {
            return Err(Error::Refused(format!(
                "'{guest}' is no id of a guest: letters, digits, '_', '.' and '-', at most 128"
            )));
        }
        Ok(self.path("leases").join(format!("guest-{guest}.json")))
    }

    /// Keeps an image and its layers for a guest. A guest uses one image: an earlier lease is replaced.
    ///
    /// # Errors
    /// Where the image was removed in the meantime, or the host refuses.
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

    /// Ends a guest's lease; nothing happens where there is none.
    ///
    /// # Errors
    /// Where the host refuses.
    pub fn unpin(&self, guest: &str) -> Result<()> {
        let path = self.guest_path(guest)?;
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file("cannot remove", &path)(e)),
            _ => Ok(()),
        }
    }

    /// The guests' leases.
    ///
    /// # Errors
    /// Where one cannot be read: then nothing is to be removed.
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
                let what = format!("this is no lease ({e}): remove it when its guest is gone");
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
    /// Where the host refuses.
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
    /// Where the image was removed in the meantime, or the host refuses.
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

    /// What leases keep; those of dead processes are removed. Under the exclusive lock.
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
    /// From now on this content stays; says whether it is here.
    ///
    /// # Errors
    /// Where the host refuses.
    pub fn hold(&self, digest: &Digest) -> Result<bool> {
        let _guard = self.store.shared()?;
        self.note(&format!("{digest}\n"))?;
        Ok(self.store.has(digest))
    }

    /// From now on these layers stay, unpacked.
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

/// Names of the directories in which these layers may lie.
pub(crate) fn layer_keys(diff_ids: &[Digest]) -> Vec<String> {
    let keys: BTreeSet<String> = diff_ids.iter().chain(&chain_ids(diff_ids)).map(key).collect();
    keys.into_iter().collect()
}
