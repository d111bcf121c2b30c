//! Entropy device (virtio 1.2, 5.4).

use super::queue::{Queue, scatter, total};
use super::{Broken, Virtio};
use trine_memory::Ram;

/// Most bytes given for one request.
const MOST: u64 = 4096;

/// Where randomness comes from: fills the whole slice.
pub type Source = Box<dyn FnMut(&mut [u8]) + Send>;

/// The device.
pub struct Rng {
    source: Source,
}

impl Rng {
    /// A device over `source`.
    pub fn new(source: Source) -> Rng {
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

    fn serve(&mut self, _index: usize, queue: &mut Queue, ram: &Ram) -> Result<bool, Broken> {
        let mut any = false;
        while let Some(chain) = queue.pop(ram)? {
            let mut bytes = vec![0; total(&chain.writable).min(MOST) as usize];
            (self.source)(&mut bytes);
            let n = scatter(ram, &chain.writable, 0, &bytes);
            queue.push(ram, &chain, n as u32)?;
            any = true;
        }
        Ok(any)
    }

    fn reset(&mut self) {}
}
