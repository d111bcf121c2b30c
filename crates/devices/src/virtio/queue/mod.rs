//! The split virtqueue (virtio 1.2, 2.7). The guest controls everything in it: addresses, lengths and indices
//! are checked, and loops are cut.

mod events;
mod segments;

use super::Broken;
use events::Events;
pub use segments::{Segment, gather, scatter, total};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::atomic::{Ordering, fence};
use trine_base::Width;
use trine_memory::Ram;

/// The largest queue size that is offered.
pub const MAX_SIZE: u16 = 256;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// The number of bytes after which a turn ends. The piece in which it is reached is finished.
const TURN: u64 = 4 << 20;

/// The result of serving a queue for one turn.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Served {
    /// Whether buffers were returned to the driver.
    pub used: bool,
    /// Whether work was left when the turn ended: there must be another turn soon.
    pub more: bool,
}

/// How far a device got with a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The chain is finished: `moved` bytes were moved in this turn, and `written` bytes of its writable part
    /// are valid.
    Finished {
        /// Number of bytes moved in this turn.
        moved: u64,
        /// Number of valid bytes in the writable part.
        written: u32,
    },
    /// So many bytes were moved in this turn; the next turn continues behind them.
    Moved(u64),
}

/// One queue.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub struct Queue {
    /// Number of descriptors.
    pub size: u16,
    /// Whether the driver has set it up.
    pub ready: bool,
    /// Physical address of the descriptor table.
    pub descriptors: u64,
    /// Physical address of the available ring.
    pub available: u64,
    /// Physical address of the used ring.
    pub used: u64,
    next_available: u16,
    next_used: u16,
    /// The head of the unfinished chain, and how many of its bytes were moved already.
    unfinished: Option<(u16, u64)>,
    /// The heads of the chains that [`Queue::take`] has given out and that were not pushed yet, oldest first.
    in_flight: Vec<u16>,
    /// Those of them that a loaded queue still has to give out again; not saved, as all are after a load.
    #[serde(skip)]
    again: VecDeque<u16>,
    #[serde(skip)]
    events: Events,
}

/// The first version of a queue's saved state, from before there were chains in flight.
#[derive(Serialize, Deserialize)]
pub(super) struct QueueV1 {
    size: u16,
    ready: bool,
    descriptors: u64,
    available: u64,
    used: u64,
    next_available: u16,
    next_used: u16,
    unfinished: Option<(u16, u64)>,
}

impl From<QueueV1> for Queue {
    fn from(old: QueueV1) -> Queue {
        let QueueV1 { size, ready, descriptors, available, used, .. } = old;
        let QueueV1 { next_available, next_used, unfinished, .. } = old;
        let (in_flight, again, events) = Default::default();
        Queue {
            size,
            ready,
            descriptors,
            available,
            used,
            next_available,
            next_used,
            unfinished,
            in_flight,
            again,
            events,
        }
    }
}

/// A chain of descriptors.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// Index of its first descriptor.
    pub head: u16,
    /// The segments that the device reads.
    pub readable: Vec<Segment>,
    /// The segments that the device writes.
    pub writable: Vec<Segment>,
}

struct Descriptor {
    address: u64,
    len: u32,
    flags: u16,
    next: u16,
}

fn descriptor(ram: &Ram, table: u64, index: u16) -> Option<Descriptor> {
    let at = table.checked_add(16 * index as u64)?;
    Some(Descriptor {
        address: ram.load(at, Width::B8)?,
        len: ram.load(at.checked_add(8)?, Width::B4)? as u32,
        flags: ram.load(at.checked_add(12)?, Width::B2)? as u16,
        next: ram.load(at.checked_add(14)?, Width::B2)? as u16,
    })
}

impl Queue {
    /// Removes and returns the next chain that the driver made available; `None` where there is none.
    pub fn pop(&mut self, ram: &Ram) -> Result<Option<Chain>, Broken> {
        if !self.ready || self.size == 0 {
            return Ok(None);
        }
        let index = self.available_word(ram, 2)?;
        if index == self.next_available {
            return Ok(None);
        }
        if index.wrapping_sub(self.next_available) > self.size {
            return Err(Broken);
        }
        // The driver wrote the ring's entry before it wrote the index.
        fence(Ordering::Acquire);
        let head = self.available_word(ram, 4 + 2 * (self.next_available % self.size) as u64)?;
        let chain = self.chain(ram, head).ok_or(Broken)?;
        self.next_available = self.next_available.wrapping_add(1);
        self.events.found_one();
        Ok(Some(chain))
    }

    /// Removes and returns the next chain for a request that finishes in a later turn: until it is returned by
    /// [`Queue::push`], in any order, its head is part of the saved state. A queue that was loaded first gives
    /// out again what was in flight when it was saved.
    ///
    /// At most as many chains are in flight as the queue has descriptors, as a driver that offers one again
    /// before it was returned breaks the queue. A chain in flight is not returned after [`Queue::stop`]: see
    /// [`super::Virtio::stopped`].
    pub fn take(&mut self, ram: &Ram) -> Result<Option<Chain>, Broken> {
        if let Some(head) = self.again.pop_front() {
            return self.chain(ram, head).ok_or(Broken).map(Some);
        }
        let Some(chain) = self.pop(ram)? else { return Ok(None) };
        if self.in_flight.contains(&chain.head) {
            return Err(Broken);
        }
        self.in_flight.push(chain.head);
        Ok(Some(chain))
    }

    /// The number of chains that were taken and not pushed yet.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Sets whether each side names the index of the next event: `VIRTIO_F_EVENT_IDX` was negotiated.
    pub(super) fn set_events_by_index(&mut self, by_index: bool) {
        self.events.by_index = by_index;
    }

    /// Has everything that is in flight given out again by [`Queue::take`]: nobody works on it after a load or in
    /// a pause.
    pub fn take_again(&mut self) {
        self.again = self.in_flight.iter().copied().collect();
    }

    /// Whether there is work. An invalid ring counts as work: serving it reports the error.
    pub fn waits(&self, ram: &Ram) -> bool {
        let usable = self.ready && self.size != 0;
        let started = self.unfinished.is_some() || !self.again.is_empty();
        usable && (started || self.available_word(ram, 2) != Ok(self.next_available))
    }

    /// Serves the queue for one turn: calls `one` for the chains that are available, each with the number of
    /// its bytes that earlier turns have moved and the number of bytes after which the turn ends. A turn ends
    /// after [`TURN`] bytes, and after as many chains as the queue has descriptors: a chain whose data lies
    /// over its own ring could make new chains available without end as it is served.
    pub fn serve(
        &mut self,
        ram: &Ram,
        mut one: impl FnMut(&Chain, u64, u64) -> Result<Progress, Broken>,
    ) -> Result<Served, Broken> {
        let (mut used, mut left) = (false, TURN);
        for _ in 0..self.size {
            let (chain, done) = match self.unfinished.take() {
                // The chain is walked again: the guest may have changed its descriptors meanwhile.
                Some((head, done)) => (self.chain(ram, head).ok_or(Broken)?, done),
                None => match self.pop(ram)? {
                    Some(chain) => (chain, 0),
                    None => break,
                },
            };
            match one(&chain, done, left)? {
                Progress::Finished { moved, written } => {
                    self.push(ram, &chain, written)?;
                    used = true;
                    left = left.saturating_sub(moved);
                }
                Progress::Moved(moved) => {
                    self.unfinished = Some((chain.head, done.saturating_add(moved)));
                    left = left.saturating_sub(moved);
                }
            }
            if left == 0 {
                break;
            }
        }
        Ok(Served { used, more: self.waits(ram) })
    }

    /// Stops the queue, because the driver takes it back: its rings are not accessed any more, and start anew
    /// when it is set up again. Size and addresses stay.
    pub fn stop(&mut self) {
        self.ready = false;
        (self.next_available, self.next_used) = (0, 0);
        self.unfinished = None;
        self.in_flight.clear();
        self.again.clear();
        self.events.restart();
    }

    /// Checks that a loaded queue is in a possible state. Ring addresses and indices are chosen by the guest
    /// and are checked whenever they are used: a queue with invalid ones breaks as soon as it is served.
    pub fn check(&self) -> Result<(), String> {
        if self.size > MAX_SIZE {
            return Err(format!("a queue has {} descriptors", self.size));
        }
        for (i, &head) in self.in_flight.iter().enumerate() {
            if !self.ready || head >= self.size || self.in_flight[..i].contains(&head) {
                return Err(format!("chain {head} is in flight in a queue of {} descriptors", self.size));
            }
        }
        match self.unfinished {
            Some((head, _)) if !self.ready || head >= self.size => {
                Err(format!("chain {head} is unfinished in a queue of {} descriptors", self.size))
            }
            _ => Ok(()),
        }
    }

    fn available_word(&self, ram: &Ram, offset: u64) -> Result<u16, Broken> {
        let at = self.available.checked_add(offset).ok_or(Broken)?;
        ram.load(at, Width::B2).map(|v| v as u16).ok_or(Broken)
    }

    fn chain(&self, ram: &Ram, head: u16) -> Option<Chain> {
        let mut chain = Chain { head, ..Chain::default() };
        let (mut table, mut size, mut index) = (self.descriptors, self.size, head);
        let mut indirect = false;
        // No chain is longer than its table; a longer one is a loop.
        let mut left = size as u32 + 1;
        loop {
            left = left.checked_sub(1)?;
            if index >= size {
                return None;
            }
            let d = descriptor(ram, table, index)?;
            if d.flags & INDIRECT != 0 {
                if indirect || d.flags & NEXT != 0 || d.len == 0 || d.len % 16 != 0 {
                    return None;
                }
                indirect = true;
                (table, size, index) = (d.address, u16::try_from(d.len / 16).ok()?, 0);
                left = size as u32 + 1;
                continue;
            }
            let segment = Segment { address: d.address, len: d.len };
            if !ram.contains(d.address, d.len as u64) {
                return None;
            }
            if d.flags & WRITE != 0 {
                chain.writable.push(segment);
            } else if chain.writable.is_empty() {
                chain.readable.push(segment);
            } else {
                return None;
            }
            if d.flags & NEXT == 0 {
                return Some(chain);
            }
            index = d.next;
        }
    }

    /// Returns a chain to the driver; `written` bytes of its writable part are valid.
    pub fn push(&mut self, ram: &Ram, chain: &Chain, written: u32) -> Result<(), Broken> {
        self.push_all(ram, &[(chain.head, written)])
    }

    /// Returns several chains, by their heads, which the driver sees all at once.
    pub fn push_all(&mut self, ram: &Ram, chains: &[(u16, u32)]) -> Result<(), Broken> {
        let at = |offset: u64| self.used.checked_add(offset).ok_or(Broken);
        let mut next = self.next_used;
        for &(head, written) in chains {
            let entry = 4 + 8 * (next % self.size.max(1)) as u64;
            ram.store(at(entry)?, Width::B4, head as u64).ok_or(Broken)?;
            ram.store(at(entry + 4)?, Width::B4, written as u64).ok_or(Broken)?;
            next = next.wrapping_add(1);
        }
        // The driver must see the index only after the entries and the data.
        fence(Ordering::Release);
        ram.store(at(2)?, Width::B2, next as u64).ok_or(Broken)?;
        self.next_used = next;
        self.in_flight.retain(|head| chains.iter().all(|(returned, _)| returned != head));
        Ok(())
    }

    /// Leaves the `count` chains that [`Queue::pop`] has returned last to later calls of it: they did not suffice.
    pub fn unpop(&mut self, count: u16) {
        self.events.found_too_few(self.next_available);
        self.next_available = self.next_available.wrapping_sub(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x8000_0000;
    const TABLE: u64 = BASE;
    const AVAILABLE: u64 = BASE + 0x1000;
    const USED: u64 = BASE + 0x2000;
    const DATA: u64 = BASE + 0x4000;

    fn queue(size: u16) -> (Queue, Ram) {
        let queue = Queue {
            size,
            ready: true,
            descriptors: TABLE,
            available: AVAILABLE,
            used: USED,
            ..Queue::default()
        };
        (queue, Ram::new(BASE, 1 << 16).unwrap())
    }

    fn describe(ram: &Ram, table: u64, index: u64, address: u64, len: u32, flags: u16, next: u16) {
        ram.store(table + 16 * index, Width::B8, address).unwrap();
        let rest = len as u64 | (flags as u64) << 32 | (next as u64) << 48;
        ram.store(table + 16 * index + 8, Width::B8, rest).unwrap();
    }

    fn offer(ram: &Ram, head: u16, index: u16) {
        (0..8).for_each(|i| ram.store(AVAILABLE + 4 + 2 * i, Width::B2, head as u64).unwrap());
        ram.store(AVAILABLE + 2, Width::B2, index as u64).unwrap();
    }

    #[test]
    fn chains_in_order() {
        let (mut q, ram) = queue(4);
        assert!(!q.waits(&ram) && q.pop(&ram).unwrap().is_none());
        describe(&ram, TABLE, 2, DATA, 10, NEXT, 0);
        describe(&ram, TABLE, 0, DATA + 16, 20, NEXT | WRITE, 3);
        describe(&ram, TABLE, 3, DATA + 64, 30, WRITE, 99);
        offer(&ram, 2, 1);
        assert!(q.waits(&ram));
        let chain = q.pop(&ram).unwrap().unwrap();
        assert_eq!((chain.head, total(&chain.readable), total(&chain.writable)), (2, 10, 50));
        q.push(&ram, &chain, 7).unwrap();
        let word = |at| ram.load(at, Width::B4).unwrap();
        assert_eq!((ram.load(USED + 2, Width::B2), word(USED + 4), word(USED + 8)), (Some(1), 2, 7));
        assert!(!q.waits(&ram));
    }

    #[test]
    fn chains_are_left_for_later_or_returned_together() {
        let (mut q, ram) = queue(4);
        describe(&ram, TABLE, 2, DATA, 4, WRITE, 0);
        offer(&ram, 2, 3);
        for _ in 0..2 {
            (0..3).for_each(|_| assert_eq!(q.pop(&ram).unwrap().unwrap().head, 2));
            assert!(q.pop(&ram).unwrap().is_none());
            q.unpop(3);
        }
        q.push_all(&ram, &[(2, 7), (1, 8)]).unwrap();
        let words = [2, 4, 8, 12, 16].map(|at| ram.load(USED + at, Width::B2).unwrap());
        assert_eq!(words, [2, 2, 7, 1, 8]);
    }

    #[test]
    fn broken_chains() {
        type Build = fn(&Ram);
        let cases: [(&str, Build); 9] = [
            ("a loop", |r| describe(r, TABLE, 0, DATA, 1, NEXT, 0)),
            ("a next outside the table", |r| describe(r, TABLE, 0, DATA, 1, NEXT, 4)),
            ("a buffer outside memory", |r| describe(r, TABLE, 0, DATA, 1 << 20, 0, 0)),
            ("an address that wraps", |r| describe(r, TABLE, 0, u64::MAX, 2, 0, 0)),
            ("readable behind writable", |r| {
                describe(r, TABLE, 0, DATA, 1, NEXT | WRITE, 1);
                describe(r, TABLE, 1, DATA, 1, 0, 0);
            }),
            ("an indirect table in an indirect table", |r| {
                describe(r, TABLE, 0, DATA, 16, INDIRECT, 0);
                describe(r, DATA, 0, DATA, 16, INDIRECT, 0);
            }),
            ("an indirect table of no descriptors", |r| describe(r, TABLE, 0, DATA, 0, INDIRECT, 0)),
            ("part of a descriptor", |r| describe(r, TABLE, 0, DATA, 17, INDIRECT, 0)),
            ("an indirect table and a next one", |r| describe(r, TABLE, 0, DATA, 16, INDIRECT | NEXT, 1)),
        ];
        for (what, build) in cases {
            let (mut q, ram) = queue(4);
            build(&ram);
            offer(&ram, 0, 1);
            assert_eq!(q.pop(&ram).map(|_| ()), Err(Broken), "{what}");
        }
    }

    #[test]
    fn broken_rings() {
        let (mut q, ram) = queue(4);
        offer(&ram, 0, 5);
        assert_eq!(q.pop(&ram).map(|_| ()), Err(Broken), "more chains than descriptors");
        let (mut q, ram) = queue(4);
        offer(&ram, 4, 1);
        assert_eq!(q.pop(&ram).map(|_| ()), Err(Broken), "a head outside the table");
        for at in [0, u64::MAX, BASE + (1 << 16) - 2] {
            let (mut q, ram) = queue(4);
            q.available = at;
            assert_eq!(q.pop(&ram).map(|_| ()), Err(Broken), "{at:#x}");
            assert!(q.waits(&ram), "so that it is found out");
            q.used = at;
            assert_eq!(q.push(&ram, &Chain::default(), 0), Err(Broken), "{at:#x}");
        }
    }

    #[test]
    fn indices_wrap() {
        let (mut q, ram) = queue(4);
        describe(&ram, TABLE, 1, DATA, 4, 0, 0);
        for index in 1..=70_000u32 {
            offer(&ram, 1, index as u16);
            let served =
                q.serve(&ram, |_, done, _| Ok(Progress::Finished { moved: done, written: 0 })).unwrap();
            assert_eq!(served, Served { used: true, more: false }, "{index}");
        }
        assert_eq!(ram.load(USED + 2, Width::B2), Some(70_000 % 65_536));
    }

    #[test]
    fn a_turn_is_bounded_and_goes_on_where_it_was() {
        let (mut q, ram) = queue(4);
        describe(&ram, TABLE, 0, DATA, 4, 0, 0);
        offer(&ram, 0, 2);
        let mut calls = Vec::new();
        let mut turn = |q: &mut Queue, progress| {
            let served = q.serve(&ram, |_, done, most| {
                calls.push((done, most));
                Ok(progress)
            });
            served.unwrap()
        };
        assert_eq!(turn(&mut q, Progress::Moved(TURN)), Served { used: false, more: true });
        let finished = Progress::Finished { moved: TURN, written: 1 };
        assert_eq!(turn(&mut q, finished), Served { used: true, more: true }, "the second chain waits");
        assert_eq!(turn(&mut q, Progress::Moved(1)), Served { used: false, more: true });
        q.stop();
        assert!(!q.waits(&ram) && !q.ready);
        assert_eq!(q.size, 4);
        let continued = [(TURN, TURN), (0, TURN), (1, TURN - 1), (2, TURN - 2), (3, TURN - 3)];
        assert_eq!(calls, [&[(0, TURN)], continued.as_slice()].concat());
    }

    /// A queue of four with two chains, at heads 1 and 2, taken.
    fn two_in_flight() -> (Queue, Ram) {
        let (mut q, ram) = queue(4);
        for head in 0..4 {
            describe(&ram, TABLE, head, DATA + 16 * head, 4, 0, 0);
        }
        [1u64, 2, 1].iter().zip(0..).for_each(|(&head, i)| {
            ram.store(AVAILABLE + 4 + 2 * i, Width::B2, head).unwrap();
        });
        ram.store(AVAILABLE + 2, Width::B2, 2).unwrap();
        for head in [1, 2] {
            assert_eq!(q.take(&ram).unwrap().unwrap().head, head);
        }
        assert_eq!((q.take(&ram).unwrap().is_none(), q.in_flight(), q.waits(&ram)), (true, 2, false));
        (q, ram)
    }

    #[test]
    fn chains_in_flight_are_returned_in_any_order() {
        let (mut q, ram) = two_in_flight();
        for (head, entry) in [(2, USED + 4), (1, USED + 12)] {
            q.push(&ram, &Chain { head, ..Chain::default() }, 7).unwrap();
            assert_eq!(ram.load(entry, Width::B4), Some(head as u64));
        }
        assert_eq!(q.in_flight(), 0);
        ram.store(AVAILABLE + 2, Width::B2, 3).unwrap();
        assert_eq!(q.take(&ram).unwrap().unwrap().head, 1, "offered again after it was returned");
    }

    #[test]
    fn a_chain_that_is_offered_while_it_is_in_flight_breaks_the_queue() {
        let (mut q, ram) = two_in_flight();
        ram.store(AVAILABLE + 2, Width::B2, 3).unwrap();
        assert_eq!(q.take(&ram).map(|_| ()), Err(Broken));
    }

    #[test]
    fn what_is_in_flight_is_given_out_again_after_a_load() {
        let (mut q, ram) = two_in_flight();
        q.push(&ram, &Chain { head: 1, ..Chain::default() }, 0).unwrap();
        q.take_again();
        assert!(q.waits(&ram));
        let chain = q.take(&ram).unwrap().unwrap();
        assert_eq!((chain.head, chain.readable[0].address, q.in_flight()), (2, DATA + 32, 1));
        assert!(q.take(&ram).unwrap().is_none() && !q.waits(&ram), "only once");
        // The driver changed its descriptors meanwhile.
        q.take_again();
        describe(&ram, TABLE, 2, DATA, 1 << 20, 0, 0);
        assert_eq!(q.take(&ram).map(|_| ()), Err(Broken));
        q.stop();
        assert_eq!((q.in_flight(), q.check()), (0, Ok(())));
    }

    #[test]
    fn impossible_queues_are_not_loaded() {
        let (queue, _) = two_in_flight();
        assert_eq!(queue.check(), Ok(()));
        let cases: [fn(&mut Queue); 5] = [
            |q| q.in_flight.push(1),
            |q| q.in_flight.push(4),
            |q| q.ready = false,
            |q| q.size = MAX_SIZE + 1,
            |q| q.unfinished = Some((4, 0)),
        ];
        for (i, change) in cases.into_iter().enumerate() {
            let mut queue = queue.clone();
            change(&mut queue);
            assert!(queue.check().is_err(), "case {i}");
        }
    }
}
