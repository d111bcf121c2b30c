//! A machine's disks.

use std::fmt;
use std::sync::Arc;
use trine_base::BlockBackend;
use trine_devices::virtio::block::Counters;

/// A disk of a machine to be made.
#[derive(Clone)]
pub struct Disk {
    /// What it keeps.
    pub backend: Arc<dyn BlockBackend>,
    /// Its serial number, of which the guest sees 20 bytes; `None` names it by its place.
    pub id: Option<String>,
}

impl Disk {
    /// The serial number of disk `place`.
    pub fn serial(&self, place: usize) -> String {
        self.id.clone().unwrap_or_else(|| format!("trine-disk{place}"))
    }
}

/// What is known of a disk while its machine runs. It is shown as one line.
#[derive(Clone)]
pub struct DiskStatus {
    /// Its serial number.
    pub id: String,
    /// Bytes.
    pub size: u64,
    /// How it is stored.
    pub format: &'static str,
    /// Whether the guest cannot write to it.
    pub read_only: bool,
    /// What it has done.
    pub counters: Arc<Counters>,
    /// What it keeps.
    pub backend: Arc<dyn BlockBackend>,
}

impl fmt::Display for DiskStatus {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let DiskStatus { id, size, format, counters, .. } = self;
        let read_only = if self.read_only { ", read-only" } else { "" };
        write!(f, "{id}: {} MiB, {format}{read_only}: {counters}", size >> 20)
    }
}
