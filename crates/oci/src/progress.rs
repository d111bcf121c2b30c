//! What long work says of itself.

/// Hears how far long work got. Several threads may speak at once; each item has a name that is its own.
pub trait Progress: Sync {
    /// An item begins: what is done, and how many bytes it has where that is known.
    fn start(&self, item: &str, what: &str, size: Option<u64>) {
        let _ = (item, what, size);
    }
    /// So many bytes of the item are done in all.
    fn at(&self, item: &str, done: u64) {
        let _ = (item, done);
    }
    /// The item is done.
    fn done(&self, item: &str, how: &str) {
        let _ = (item, how);
    }
    /// Something that the user should know.
    fn note(&self, text: &str) {
        let _ = text;
    }
}

/// Says nothing.
pub struct Silent;

impl Progress for Silent {}
