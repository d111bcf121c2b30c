//! A disk that outlives its machine: after a reset, the next machine continues with it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trine_base::{BlockBackend, BlockError};

/// A handle of a shared disk.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Box<dyn BlockBackend>>>);

impl Shared {
    /// Creates the first handle.
    pub fn new(disk: Box<dyn BlockBackend>) -> Shared {
        Shared(Arc::new(Mutex::new(disk)))
    }

    fn disk(&self) -> MutexGuard<'_, Box<dyn BlockBackend>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlockBackend for Shared {
    fn size(&self) -> u64 {
        self.disk().size()
    }

    fn read_only(&self) -> bool {
        self.disk().read_only()
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        self.disk().read_at(offset, buf)
    }

    fn write_at(&mut self, offset: u64, buf: &[u8]) -> Result<(), BlockError> {
        self.disk().write_at(offset, buf)
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        self.disk().flush()
    }
}
