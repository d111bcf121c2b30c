//! A machine's folders of the host.

use std::sync::Arc;
use trine_share::Folder;

/// A folder of the host for a machine to be made. The guest mounts it by its tag: `mount -t virtiofs TAG PLACE`.
#[derive(Clone)]
pub struct Share {
    /// Its name for the guest, which sees 36 bytes of it.
    pub tag: String,
    /// The folder.
    pub folder: Arc<Folder>,
}
