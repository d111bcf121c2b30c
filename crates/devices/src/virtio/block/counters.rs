//! What a disk has done, for statistics.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the requests of a disk that are finished.
#[derive(Default, Debug)]
pub struct Counters {
    /// Reads, and their bytes.
    pub reads: Count,
    /// Writes, and their bytes.
    pub writes: Count,
    /// Discards and zeros, and their bytes.
    pub discards: Count,
    /// Flushes.
    pub flushes: AtomicU64,
    /// Requests that were refused or failed.
    pub errors: AtomicU64,
}

/// A number of requests, and of bytes.
#[derive(Default, Debug)]
pub struct Count {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Count {
    pub(super) fn add(&self, bytes: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The number of requests.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The number of their bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} ({} KiB)", self.requests(), self.bytes() >> 10)
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [flushes, errors] = [&self.flushes, &self.errors].map(|n| n.load(Ordering::Relaxed));
        let Counters { reads, writes, discards, .. } = self;
        write!(f, "reads {reads}, writes {writes}, discards {discards}, flushes {flushes}, errors {errors}")
    }
}
