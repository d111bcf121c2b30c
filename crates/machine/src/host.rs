//! The host's side of a machine: its console.

use std::sync::{Arc, Mutex, PoisonError};
use trine_devices::serial::{ConsoleInput, Output};

/// The guest's console: where its output goes, where its input comes from.
#[derive(Clone)]
pub struct Console {
    /// Input that was typed and has not been read yet.
    pub input: Arc<ConsoleInput>,
    out: Arc<Mutex<Output>>,
}

impl Console {
    /// A console whose output goes to `out`.
    pub fn new(out: Output) -> Console {
        Console { input: Arc::new(ConsoleInput::new()), out: Arc::new(Mutex::new(out)) }
    }

    /// Writes output.
    pub fn write(&self, bytes: &[u8]) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        (*out)(bytes);
    }

    /// The output for a device.
    pub fn output(&self) -> Output {
        let console = self.clone();
        Box::new(move |bytes| console.write(bytes))
    }
}
