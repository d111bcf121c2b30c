//! What the user typed, on its way to a console.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A queue of bytes. After [`ConsoleInput::push`] the device wants to be told: call its
/// [`trine_base::Device::timer`].
#[derive(Default)]
pub struct ConsoleInput(Mutex<VecDeque<Item>>);

/// One thing that came over the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Item {
    /// A byte.
    Byte(u8),
    /// A break condition.
    Break,
}

impl ConsoleInput {
    /// An empty queue.
    pub fn new() -> ConsoleInput {
        ConsoleInput::default()
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Item>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds bytes at the end.
    pub fn push(&self, bytes: &[u8]) {
        self.queue().extend(bytes.iter().map(|b| Item::Byte(*b)));
    }

    /// Adds a break condition at the end.
    pub fn push_break(&self) {
        self.queue().push_back(Item::Break);
    }

    /// Takes the first item.
    pub fn pop_item(&self) -> Option<Item> {
        self.queue().pop_front()
    }

    /// Takes the first byte, for consoles that know no breaks.
    pub fn pop(&self) -> Option<u8> {
        let mut queue = self.queue();
        loop {
            match queue.pop_front()? {
                Item::Byte(b) => return Some(b),
                Item::Break => {}
            }
        }
    }

    /// A copy of everything that waits, for a saved state.
    pub fn items(&self) -> Vec<Item> {
        self.queue().iter().copied().collect()
    }

    /// Lets `items` wait in place of what does.
    pub fn replace(&self, items: Vec<Item>) {
        *self.queue() = items.into();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_with_breaks_or_without() {
        let input = ConsoleInput::new();
        assert!(input.is_empty() && input.pop().is_none());
        input.push(b"a");
        input.push_break();
        input.push(b"bc");
        assert_eq!(input.len(), 4);
        assert_eq!(input.pop_item(), Some(Item::Byte(b'a')));
        assert_eq!(input.pop_item(), Some(Item::Break));
        input.push_break();
        assert_eq!((input.pop(), input.pop(), input.pop()), (Some(b'b'), Some(b'c'), None));
        assert!(input.is_empty(), "breaks were skipped");
    }
}
