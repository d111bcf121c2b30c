//! Virtio 1.2 over MMIO.

pub mod block;
pub mod console;
pub mod mmio;
pub mod queue;
pub mod rng;

pub use mmio::{EmptySlot, Mmio};
pub use queue::{Chain, Queue, Served};

use trine_base::StateError;
use trine_memory::Ram;

/// The rings are not what the specification says: the device stops until the next reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// What a kind of device adds to the transport.
pub trait Virtio: Send {
    /// Device ID (virtio 1.2, 5).
    fn id(&self) -> u32;
    /// Name, as in `info devices`.
    fn name(&self) -> &str;
    /// Feature bits offered besides `VIRTIO_F_VERSION_1`.
    fn features(&self) -> u64;
    /// Number of queues.
    fn queues(&self) -> usize;
    /// The device's configuration as bytes.
    fn config(&self) -> Vec<u8>;
    /// Serves a queue after the driver's notification, after input came from outside, or to go on with what
    /// [`Served::more`] said. One call does a bounded amount of work, whatever the rings say:
    /// [`Queue::serve`] sees to that.
    fn serve(&mut self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken>;
    /// Forgets what was in progress.
    fn reset(&mut self);

    /// What the device holds besides its queues, which the transport saves; see [`trine_base::Device::save`].
    fn save(&self) -> Vec<u8>;

    /// Takes over a state saved by a device made with the same arguments.
    fn load(&mut self, state: &[u8]) -> Result<(), StateError>;
}

#[cfg(test)]
mod tests;
