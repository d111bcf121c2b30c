//! The console device with one port (virtio 1.2, 5.3).

use super::queue::{Progress, Queue, Served, gather, scatter, total};
use super::{Broken, Virtio};
use crate::serial::input::Item;
use crate::serial::{ConsoleInput, Output};
use std::sync::Arc;
use trine_base::state::{self, Versioned};
use trine_base::{StateError, versions};
use trine_memory::Ram;

const RECEIVE: usize = 0;
/// The most bytes that are moved at a time.
const PIECE: usize = 4096;

versions!(Saved of "the console" { V1(Vec<Item>) });

/// The device.
pub struct Console {
    out: Output,
    input: Arc<ConsoleInput>,
}

impl Console {
    /// Creates a console between `input` and `out`.
    pub fn new(out: Output, input: Arc<ConsoleInput>) -> Console {
        Console { out, input }
    }

    fn receive(&mut self, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        let mut used = false;
        for _ in 0..queue.size {
            if self.input.is_empty() {
                break;
            }
            let Some(chain) = queue.pop(ram)? else { break };
            let room = total(&chain.writable).min(PIECE as u64) as usize;
            let bytes: Vec<u8> = (0..room).map_while(|_| self.input.pop()).collect();
            scatter(ram, &chain.writable, 0, &bytes);
            queue.push(ram, &chain, bytes.len() as u32)?;
            used = true;
        }
        Ok(Served { used, more: !self.input.is_empty() && queue.waits(ram) })
    }

    fn transmit(&mut self, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        let mut buf = [0; PIECE];
        queue.serve(ram, |chain, done, most| {
            let mut moved = 0;
            while moved < most {
                let n = gather(ram, &chain.readable, done.saturating_add(moved), &mut buf);
                if n == 0 {
                    return Ok(Progress::Finished { moved, written: 0 });
                }
                (self.out)(&buf[..n]);
                moved += n as u64;
            }
            Ok(Progress::Moved(moved))
        })
    }
}

impl Virtio for Console {
    fn id(&self) -> u32 {
        3
    }

    fn name(&self) -> &str {
        "virtio-console"
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> usize {
        2
    }

    fn config(&self) -> Vec<u8> {
        vec![0; 12]
    }

    fn serve(&mut self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken> {
        if index == RECEIVE { self.receive(queue, ram) } else { self.transmit(queue, ram) }
    }

    fn reset(&mut self) {}

    fn save(&self) -> Vec<u8> {
        state::save(&Saved::V1(self.input.items()))
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let Saved::V1(input) = state::load(state)?;
        self.input.replace(input).map_err(Saved::damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::queue::MAX_SIZE;
    use crate::virtio::tests::{BASE, DATA, Driver, INDIRECT, SIZE, WRITE};
    use std::sync::Mutex;

    struct Test {
        driver: Driver,
        input: Arc<ConsoleInput>,
        sent: Arc<Mutex<Vec<u8>>>,
    }

    fn test() -> Test {
        let (input, sent) = (Arc::new(ConsoleInput::new()), Arc::new(Mutex::new(Vec::new())));
        let theirs = sent.clone();
        let out: Output = Box::new(move |bytes| theirs.lock().unwrap().extend_from_slice(bytes));
        Test { driver: Driver::new(Console::new(out, input.clone())), input, sent }
    }

    #[test]
    fn sends_what_the_driver_gives() {
        let mut t = test();
        t.driver.ram.write(DATA, b"hello, world").unwrap();
        t.driver.request(1, &[(DATA, 5), (DATA + 5, 7)], &[]);
        assert_eq!(*t.sent.lock().unwrap(), b"hello, world");
        assert_eq!(t.driver.last_used(1), (0, 0));
    }

    #[test]
    fn gives_what_was_typed() {
        let mut t = test();
        t.driver.request(0, &[], &[(DATA, 3)]);
        assert_eq!(t.driver.used(0), 0, "nothing was typed yet");
        t.input.push(b"typed");
        t.driver.timer = Some(0);
        t.driver.turn();
        assert_eq!((t.driver.bytes(DATA, 4), t.driver.last_used(0)), (b"typ\0".to_vec(), (0, 3)));
        t.driver.request(0, &[], &[(DATA, 30)]);
        assert_eq!((t.driver.bytes(DATA, 3), t.driver.last_used(0)), (b"edp".to_vec(), (0, 2)));
    }

    #[test]
    fn buffers_without_room_end_the_turn() {
        let mut t = test();
        t.input.push(b"x");
        t.driver.request(0, &[(DATA, 3)], &[]);
        assert_eq!((t.driver.used(0), t.input.len()), (1, 1), "the input waits for a buffer");
    }

    #[test]
    fn a_chain_longer_than_memory_goes_out_in_turns() {
        // One indirect table of many descriptors, each of nearly all memory.
        let mut t = test();
        let sent = Arc::new(Mutex::new(0));
        let theirs = sent.clone();
        let out: Output = Box::new(move |bytes| {
            let mut sent = theirs.lock().unwrap();
            *sent += bytes.len();
            assert!(*sent < 64 << 20, "without end");
        });
        t.driver = Driver::new(Console::new(out, t.input));
        let [table, ..] = Driver::rings(1);
        t.driver.describe(table, 0, (DATA, MAX_SIZE as u32 * 16), INDIRECT, 0);
        for i in 0..MAX_SIZE {
            let next = if i + 1 < MAX_SIZE { 1 } else { 0 };
            t.driver.describe(DATA, i, (BASE, SIZE as u32), next, i + 1);
        }
        t.driver.offer(1, 0, 1);
        t.driver.notify(1);
        let first = *sent.lock().unwrap();
        assert!((1 << 20..16 << 20).contains(&first), "{first}");
        assert!(t.driver.turn());
        assert_eq!((*sent.lock().unwrap(), t.driver.used(1)), (2 * first, 0));
        // The driver stops the queue and begins anew.
        t.driver.write(0x30, 1);
        t.driver.write(0x44, 0);
        assert!(t.driver.turn() && !t.driver.turn(), "nothing is left of it");
        assert_eq!(*sent.lock().unwrap(), 2 * first);
    }

    #[test]
    fn writable_buffers_are_not_sent() {
        let mut t = test();
        t.driver.describe(Driver::rings(1)[0], 0, (DATA, 8), WRITE, 0);
        t.driver.offer(1, 0, 1);
        t.driver.notify(1);
        assert_eq!((t.sent.lock().unwrap().len(), t.driver.used(1)), (0, 1));
    }
}
