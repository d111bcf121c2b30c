//! Console with one port (virtio 1.2, 5.3).

use super::queue::{Queue, gather, scatter, total};
use super::{Broken, Virtio};
use crate::serial::{ConsoleInput, Output};
use std::sync::Arc;
use trine_memory::Ram;

const RECEIVE: usize = 0;
/// Bytes moved at a time.
const PIECE: usize = 4096;

/// The device.
pub struct Console {
    out: Output,
    input: Arc<ConsoleInput>,
}

impl Console {
    /// A console between `input` and `out`.
    pub fn new(out: Output, input: Arc<ConsoleInput>) -> Console {
        Console { out, input }
    }

    fn receive(&mut self, queue: &mut Queue, ram: &Ram) -> Result<bool, Broken> {
        let mut any = false;
        while !self.input.is_empty() {
            let Some(chain) = queue.pop(ram)? else { break };
            let room = total(&chain.writable).min(PIECE as u64) as usize;
            let bytes: Vec<u8> = (0..room).map_while(|_| self.input.pop()).collect();
            scatter(ram, &chain.writable, 0, &bytes);
            queue.push(ram, &chain, bytes.len() as u32)?;
            any = true;
        }
        Ok(any)
    }

    fn transmit(&mut self, queue: &mut Queue, ram: &Ram) -> Result<bool, Broken> {
        let mut any = false;
        let mut buf = [0; PIECE];
        while let Some(chain) = queue.pop(ram)? {
            let len = total(&chain.readable);
            let mut done = 0;
            while done < len {
                let n = gather(ram, &chain.readable, done, &mut buf);
                if n == 0 {
                    break;
                }
                (self.out)(&buf[..n]);
                done += n as u64;
            }
            queue.push(ram, &chain, 0)?;
            any = true;
        }
        Ok(any)
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

    fn serve(&mut self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<bool, Broken> {
        if index == RECEIVE { self.receive(queue, ram) } else { self.transmit(queue, ram) }
    }

    fn reset(&mut self) {}
}
