//! The entropy device (virtio 1.2, 5.4).

use super::queue::{Progress, Queue, Served, scatter, total};
use super::{Broken, Virtio};
use trine_base::{Random, StateError, state, versions};
use trine_memory::Ram;

/// The most bytes that are given for one request.
const MOST: u64 = 4096;

versions!(Saved of "the entropy device" { V1(Vec<u8>) });

/// The device.
pub struct Rng {
    source: Box<dyn Random>,
}

impl Rng {
    /// Creates a device that takes its bytes from `source`.
    pub fn new(source: Box<dyn Random>) -> Rng {
        Rng { source }
    }
}

impl Virtio for Rng {
    fn id(&self) -> u32 {
        4
    }

    fn name(&self) -> &str {
        "virtio-rng"
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> usize {
        1
    }

    fn config(&self) -> Vec<u8> {
        Vec::new()
    }

    fn serve(&mut self, _index: usize, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        queue.serve(ram, |chain, _, _| {
            let mut bytes = vec![0; total(&chain.writable).min(MOST) as usize];
            self.source.fill(&mut bytes);
            let n = scatter(ram, &chain.writable, 0, &bytes);
            Ok(Progress::Finished { moved: n as u64, written: n as u32 })
        })
    }

    fn reset(&mut self) {}

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(self.source.save()))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(source) = state::load(state)?;
        self.source.load(&source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::tests::{BASE, DATA, Driver, QUEUE, SIZE, source};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn fills_what_the_driver_gives() {
        let mut d = Driver::new(Rng::new(source(|b| b.fill(0xa5))));
        d.request(0, &[], &[(DATA, 3), (DATA + 8, 5)]);
        assert_eq!(d.bytes(DATA, 14), [0xa5, 0xa5, 0xa5, 0, 0, 0, 0, 0, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0]);
        assert_eq!((d.used(0), d.last_used(0), d.line.as_slice()), (1, (0, 8), [true].as_slice()));
        d.request(0, &[], &[(DATA, 1 << 20)]);
        assert_eq!(d.last_used(0), (0, MOST as u32), "a bounded amount");
        d.request(0, &[(DATA, 16)], &[]);
        assert_eq!(d.last_used(0), (0, 0), "nothing to write to");
    }

    #[test]
    fn a_chain_over_its_own_ring_ends_the_turn() {
        // What is written is the index of the available ring, always one more.
        let calls = Arc::new(AtomicU32::new(0));
        let theirs = calls.clone();
        let source = source(move |bytes| {
            let n = theirs.fetch_add(1, Ordering::SeqCst);
            assert!(n < 10_000, "without end");
            bytes.copy_from_slice(&(n as u16 + 2).to_le_bytes());
        });
        let mut d = Driver::new(Rng::new(source));
        let [_, available, _] = Driver::rings(0);
        d.request(0, &[], &[(available + 2, 2)]);
        assert_eq!(calls.load(Ordering::SeqCst), QUEUE as u32, "as many chains as there are descriptors");
        assert!(d.turn(), "it goes on later");
        assert_eq!(calls.load(Ordering::SeqCst), 2 * QUEUE as u32);
        assert!(!d.needs_reset());
        d.write(0x70, 0);
        assert!(!d.turn(), "a reset ends it");
    }

    #[test]
    fn a_full_queue_is_served_in_one_turn() {
        let mut d = Driver::new(Rng::new(source(|b| b.fill(1))));
        let [table, ..] = Driver::rings(0);
        d.describe(table, 3, (DATA, 4), crate::virtio::tests::WRITE, 0);
        d.offer(0, 3, QUEUE);
        d.notify(0);
        assert_eq!((d.used(0), d.turn()), (QUEUE, false));
    }

    #[test]
    fn buffers_outside_memory_break_the_queue() {
        for (at, len) in [(BASE + SIZE - 2, 4), (0, 4), (u64::MAX, 1), (BASE, u32::MAX)] {
            let mut d = Driver::new(Rng::new(source(|_| panic!("nothing is to be written"))));
            d.request(0, &[], &[(at, len)]);
            assert!(d.needs_reset(), "{at:#x}, {len}");
            assert_eq!((d.used(0), d.read(0x60)), (0, 2));
        }
    }
}
