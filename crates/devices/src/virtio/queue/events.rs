//! When driver and device tell each other that a ring has changed (virtio 1.2, 2.7.7 and 2.7.10).

use super::{Broken, Queue};
use std::sync::atomic::{Ordering, fence};
use trine_base::Width;
use trine_memory::Ram;

/// `VIRTQ_AVAIL_F_NO_INTERRUPT`.
const NO_INTERRUPT: u64 = 1;

/// How the two sides of a queue ask each other to be told. Nothing of it is saved: a loaded queue says again when it
/// wants to be notified.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    /// Whether `VIRTIO_F_EVENT_IDX` was negotiated: each side names the index at which it wants to be told. If not, the
    /// device is notified of everything, and the driver has a flag.
    pub by_index: bool,
    /// The index at which the driver was last asked to notify; `None` if it was not.
    asked: Option<u16>,
    /// The index up to which the device has looked at chains, where it left some because they did not suffice.
    short: Option<u16>,
}

impl Events {
    /// The rings begin anew.
    pub fn restart(&mut self) {
        (self.asked, self.short) = (None, None);
    }

    /// The device has left the chains before index `end`, which do not suffice: only more of them help.
    pub fn found_too_few(&mut self, end: u16) {
        self.short = Some(end);
    }

    /// The device has taken a chain.
    pub fn found_one(&mut self) {
        self.short = None;
    }
}

/// Whether an index that one side wants to be told of was passed as the other side went from `old` to `new`
/// (`vring_need_event`; all indices are modulo 2¹⁶).
fn passed(event: u16, old: u16, new: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

impl Queue {
    /// How many chains were returned, modulo 2¹⁶.
    pub(in crate::virtio) fn returned(&self) -> u16 {
        self.next_used
    }

    /// Whether the driver wants an interrupt for what was returned since [`Queue::returned`] was `before`.
    pub(in crate::virtio) fn wants_interrupt(&self, ram: &Ram, before: u16) -> bool {
        // What was returned must be visible before the driver's wish is read: it looks in the opposite order.
        fence(Ordering::SeqCst);
        if self.events.by_index {
            let event = self.available_word(ram, 4 + 2 * self.size as u64);
            return event.is_ok_and(|event| passed(event, before, self.next_used));
        }
        ram.load(self.available, Width::B2).is_none_or(|flags| flags & NO_INTERRUPT == 0)
    }

    /// Asks the driver to notify the device of the next chain, after a turn that left nothing to do. Returns true where
    /// there are chains that the driver may not notify of, because it made them available before it was asked: the
    /// device must look once more.
    pub(in crate::virtio) fn ask_for_notification(&mut self, ram: &Ram) -> Result<bool, Broken> {
        let next = self.events.short.unwrap_or(self.next_available);
        if !self.events.by_index || !self.ready || self.size == 0 || self.events.asked == Some(next) {
            return Ok(false);
        }
        let at = self.used.checked_add(4 + 8 * self.size as u64).ok_or(Broken)?;
        ram.store(at, Width::B2, next as u64).ok_or(Broken)?;
        self.events.asked = Some(next);
        fence(Ordering::SeqCst);
        Ok(self.available_word(ram, 2)? != next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x8000_0000;
    const SIZE: u16 = 4;

    fn queue() -> (Queue, Ram) {
        let (descriptors, available, used) = (BASE, BASE + 0x400, BASE + 0x800);
        let mut queue = Queue { size: SIZE, ready: true, descriptors, available, used, ..Queue::default() };
        queue.events.by_index = true;
        (queue, Ram::new(BASE, 1 << 12).unwrap())
    }

    #[test]
    fn an_index_is_passed_once() {
        for (event, old, new, expected) in [
            (0, 0, 1, true),
            (0, 1, 2, false),
            (3, 0, 3, false),
            (3, 0, 4, true),
            (3, 4, 4, false),
            (0xffff, 0xfffe, 0, true),
            (0, 0xffff, 0, false),
            (0, 0xffff, 1, true),
        ] {
            assert_eq!(passed(event, old, new), expected, "{event} {old} {new}");
        }
    }

    #[test]
    fn the_driver_is_interrupted_at_the_index_that_it_names() {
        let (mut q, ram) = queue();
        ram.store(q.available + 4 + 8, Width::B2, 2).unwrap();
        for (before, now, expected) in [(0, 1, false), (1, 2, false), (2, 3, true), (0, 4, true)] {
            q.next_used = now;
            assert_eq!(q.wants_interrupt(&ram, before), expected, "{before} {now}");
        }
        // Its flag has no meaning then, and the other way round.
        q.events.by_index = false;
        assert!(q.wants_interrupt(&ram, 0));
        ram.store(q.available, Width::B2, 1).unwrap();
        assert!(!q.wants_interrupt(&ram, 0));
    }

    #[test]
    fn the_driver_is_asked_for_more_where_chains_were_too_few() {
        let (mut q, ram) = queue();
        let at = q.used + 4 + 8 * SIZE as u64;
        ram.store(q.available + 2, Width::B2, 2).unwrap();
        ram.store(q.descriptors, Width::B8, BASE).unwrap();
        assert!(q.pop(&ram).unwrap().is_some() && q.pop(&ram).unwrap().is_some());
        q.unpop(2);
        assert_eq!((q.ask_for_notification(&ram), ram.load(at, Width::B2)), (Ok(false), Some(2)));
        ram.store(q.available + 2, Width::B2, 3).unwrap();
        assert!(q.pop(&ram).unwrap().is_some());
        assert_eq!((q.ask_for_notification(&ram), ram.load(at, Width::B2)), (Ok(true), Some(1)));
    }

    #[test]
    fn the_driver_is_asked_once_for_each_index() {
        let (mut q, ram) = queue();
        let at = q.used + 4 + 8 * SIZE as u64;
        q.next_available = 5;
        ram.store(q.available + 2, Width::B2, 6).unwrap();
        assert_eq!(q.ask_for_notification(&ram), Ok(true), "one has come before the driver was asked");
        assert_eq!(ram.load(at, Width::B2), Some(5));
        assert_eq!(q.ask_for_notification(&ram), Ok(false), "the device has left it there");
        q.next_available = 6;
        assert_eq!((q.ask_for_notification(&ram), ram.load(at, Width::B2)), (Ok(false), Some(6)));
        q.used = u64::MAX;
        q.next_available = 7;
        assert_eq!(q.ask_for_notification(&ram), Err(Broken));
    }
}
