//! Progress reports of long operations.

/// Receives progress reports. Several threads may report at once; each item has a unique name.
pub trait Progress: Sync {
    /// An item begins: the operation, and its size in bytes if known.
    fn start(&self, item: &str, what: &str, size: Option<u64>) {
        let _ = (item, what, size);
    }
    /// `done` bytes of the item are finished.
    fn at(&self, item: &str, done: u64) {
        let _ = (item, done);
    }
    /// The item is finished.
    fn done(&self, item: &str, how: &str) {
        let _ = (item, how);
    }
    /// A remark for the user.
    fn note(&self, text: &str) {
        let _ = text;
    }
}

/// Ignores all reports.
pub struct Silent;

impl Progress for Silent {}
