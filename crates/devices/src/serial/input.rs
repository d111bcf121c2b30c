//! The queue of typed input on its way to a console.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The largest number of bytes that wait: more than anybody pastes.
pub const MOST: usize = 1 << 20;
/// Additional room for breaks and their bytes, and for what is given back.
const FOR_BREAKS: usize = 256;

/// A bounded queue of bytes. After [`ConsoleInput::push`], the device must be told: request its
/// [`trine_base::Device::timer`].
#[derive(Default)]
pub struct ConsoleInput(Mutex<VecDeque<Item>>);

/// An item received over the line.
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

    /// Appends as many bytes as there is room for, and returns how many. A caller that must not lose any
    /// repeats with the rest when the guest has had time to read.
    pub fn push(&self, bytes: &[u8]) -> usize {
        let mut queue = self.queue();
        let taken = bytes.len().min(MOST.saturating_sub(queue.len()));
        queue.extend(bytes[..taken].iter().map(|b| Item::Byte(*b)));
        taken
    }

    /// Appends a break condition and the bytes that follow it. Breaks have room of their own, because they
    /// must reach a guest that does not read its input.
    pub fn push_break(&self, bytes: &[u8]) {
        let mut queue = self.queue();
        if queue.len() + bytes.len() < MOST + FOR_BREAKS {
            queue.push_back(Item::Break);
            queue.extend(bytes.iter().map(|b| Item::Byte(*b)));
        }
    }

    /// Puts items back that were taken, before all others, as many as there is any room for.
    pub fn give_back(&self, items: VecDeque<Item>) {
        let mut queue = self.queue();
        let room = (MOST + FOR_BREAKS).saturating_sub(queue.len());
        items.into_iter().take(room).rev().for_each(|item| queue.push_front(item));
    }

    /// Removes and returns the first item.
    pub fn pop_item(&self) -> Option<Item> {
        self.queue().pop_front()
    }

    /// Removes and returns the first byte and discards breaks before it, for consoles without breaks.
    pub fn pop(&self) -> Option<u8> {
        let mut queue = self.queue();
        loop {
            match queue.pop_front()? {
                Item::Byte(b) => return Some(b),
                Item::Break => {}
            }
        }
    }

    /// A copy of all waiting items, for a saved state.
    pub fn items(&self) -> Vec<Item> {
        self.queue().iter().copied().collect()
    }

    /// Replaces the waiting items by saved ones. The error says in words that they are too many.
    pub fn replace(&self, items: Vec<Item>) -> Result<(), String> {
        if items.len() > MOST + FOR_BREAKS {
            return Err(format!("{} bytes of input are waiting", items.len()));
        }
        *self.queue() = items.into();
        Ok(())
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
        input.push_break(b"");
        input.push(b"bc");
        assert_eq!(input.len(), 4);
        assert_eq!(input.pop_item(), Some(Item::Byte(b'a')));
        assert_eq!(input.pop_item(), Some(Item::Break));
        input.push_break(b"");
        assert_eq!((input.pop(), input.pop(), input.pop()), (Some(b'b'), Some(b'c'), None));
        assert!(input.is_empty(), "breaks were skipped");
    }

    #[test]
    fn what_has_no_room_is_not_taken() {
        let input = ConsoleInput::new();
        assert_eq!(input.push(&[b'a'; MOST - 2]), MOST - 2);
        assert_eq!((input.push(b"xyz"), input.push(b"z")), (2, 0));
        (0..1000).for_each(|_| input.push_break(b"h"));
        assert_eq!(input.len(), MOST + FOR_BREAKS, "breaks have a bound, too");
        let items = input.items();
        assert_eq!(items[MOST - 1..][..3], [Item::Byte(b'y'), Item::Break, Item::Byte(b'h')]);
        (0..3).for_each(|_| assert!(input.pop_item().is_some()));
        assert_eq!(input.push(b"z"), 0, "the room of the breaks is not for bytes");
        let again = ConsoleInput::new();
        assert_eq!((again.replace(items.clone()), again.items() == items), (Ok(()), true));
        assert!(again.replace([items, vec![Item::Break]].concat()).is_err());
    }
}
