//! What the user typed, on its way to a console.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A queue of bytes. After [`ConsoleInput::push`] the device wants to be told: call its
/// [`trine_base::Device::timer`].
#[derive(Default)]
pub struct ConsoleInput(Mutex<VecDeque<u8>>);

impl ConsoleInput {
    /// An empty queue.
    pub fn new() -> ConsoleInput {
        ConsoleInput::default()
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds bytes at the end.
    pub fn push(&self, bytes: &[u8]) {
        self.queue().extend(bytes);
    }

    /// Takes the first byte.
    pub fn pop(&self) -> Option<u8> {
        self.queue().pop_front()
    }

    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.queue().len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue().is_empty()
    }
}
