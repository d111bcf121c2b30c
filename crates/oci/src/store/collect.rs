//! Garbage collection of the store.

use super::leases::{Marks, layer_keys};
use super::{Store, retry};
use crate::error::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirEntry, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long incomplete content is kept.
const PARTIAL_STAYS: Duration = Duration::from_secs(7 * 24 * 3600);

/// The result of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Number of blobs removed.
    pub blobs: u64,
    /// Bytes of blobs and of incomplete content.
    pub bytes: u64,
    /// Number of unpacked layers removed.
    pub layers: u64,
}

fn entries(dir: &Path) -> Result<Vec<DirEntry>> {
    let read = std::fs::read_dir(dir).map_err(Error::file("cannot read", dir))?;
    Ok(read.filter_map(std::result::Result::ok).collect())
}

fn name(entry: &DirEntry) -> String {
    entry.file_name().to_string_lossy().into_owned()
}

impl Store {
    /// Removes content and layers that no name refers to and nobody uses, and what dead processes left. Safe
    /// at any time: content that a running pull, import or guest start uses is kept.
    ///
    /// # Errors
    /// The store cannot be read: then nothing is removed.
    pub fn collect(&self) -> Result<Collected> {
        let mut collected = Collected::default();
        let trash = {
            let _guard = self.exclusive()?;
            let marks = self.marks()?;
            for algorithm in ["sha256", "sha512"] {
                for entry in entries(&self.path("blobs").join(algorithm))? {
                    if !marks.blobs.contains(&format!("{algorithm}:{}", name(&entry))) {
                        let size = entry.metadata().map_or(0, |m| m.len());
                        if std::fs::remove_file(entry.path()).is_ok() {
                            collected.blobs += 1;
                            collected.bytes += size;
                        }
                    }
                }
            }
            for entry in entries(&self.layers_path())? {
                let (path, name) = (entry.path(), name(&entry));
                let abandoned = name.starts_with("new-") && free(&path);
                let unused = !name.starts_with("new-") && !marks.layers.contains(&name);
                if (abandoned || unused) && std::fs::rename(&path, self.trash_path()).is_ok() {
                    collected.layers += u64::from(unused);
                }
            }
            collected.bytes += self.sweep_partial()?;
            entries(&self.path("trash"))?.iter().map(DirEntry::path).collect::<Vec<PathBuf>>()
        };
        // Another process may remove it at the same time.
        crate::layer::remove(&trash)?;
        Ok(collected)
    }

    /// Everything that names and leases refer to.
    fn marks(&self) -> Result<Marks> {
        let mut marks = self.leased()?;
        let names = self.names()?;
        let pinned: Vec<_> = self.pinned()?.into_iter().map(|l| l.manifest).collect();
        let held = names.names.values().flat_map(|p| p.values());
        for held in held.clone() {
            marks.blobs.insert(held.manifest.digest().to_string());
            marks.blobs.extend(held.index.iter().map(|i| i.digest().to_string()));
        }
        let manifests = held.map(|h| h.manifest.digest()).chain(&pinned);
        for digest in manifests {
            marks.add(self, digest);
        }
        Ok(marks)
    }

    /// Removes incomplete content that no process is receiving: old parts of known content, and all of
    /// unknown content.
    fn sweep_partial(&self) -> Result<u64> {
        let mut bytes = 0;
        for entry in entries(&self.path("partial"))? {
            let Ok(meta) = entry.metadata() else { continue };
            let age = meta
                .modified()
                .ok()
                .and_then(|m| SystemTime::now().duration_since(m).ok())
                .unwrap_or_default();
            let useless = name(&entry).starts_with("new-") || age > PARTIAL_STAYS;
            if useless && free(&entry.path()) && std::fs::remove_file(entry.path()).is_ok() {
                bytes += meta.len();
            }
        }
        Ok(bytes)
    }
}

impl Marks {
    /// Marks the parts of an image. An image that cannot be read has no usable parts.
    fn add(&mut self, store: &Store, manifest: &oci_spec::image::Digest) {
        let read = store.read(manifest, crate::document::MANIFEST_MOST);
        let document = read.and_then(|b| crate::document::Document::parse(&b, manifest.as_ref()));
        let Ok(crate::document::Document::Manifest(found)) = document else { return };
        self.blobs.insert(found.config().digest().to_string());
        self.blobs.extend(found.layers().iter().map(|l| l.digest().to_string()));
        let config = store.read(found.config().digest(), crate::document::CONFIG_MOST);
        let config = config.and_then(|b| crate::document::config(&b, &found, manifest.as_ref()));
        if let Ok(ids) = config.and_then(|c| crate::document::diff_ids(&c)) {
            self.layers.extend(layer_keys(&ids));
        }
    }
}

/// Whether no process holds the lock of this file or directory.
fn free(path: &Path) -> bool {
    File::open(path).is_ok_and(|f| retry(|| flock(&f, FlockOperation::NonBlockingLockExclusive)).is_ok())
}

/// A summary for messages.
impl std::fmt::Display for Collected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} blobs, {} layers, {} bytes", self.blobs, self.layers, self.bytes)
    }
}
