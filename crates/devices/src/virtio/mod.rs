//! Virtio 1.2: queues ([`queue`]), what all transports have ([`transport`]), the transports over MMIO ([`mmio`]) and PCI
//! ([`pci`]), and a file for each kind of device.

pub mod balloon;
pub mod block;
pub mod console;
pub mod fs;
pub mod mmio;
pub mod net;
pub mod pci;
pub mod queue;
mod requests;
pub mod rng;
pub mod transport;
pub mod vsock;

pub use mmio::{EmptySlot, Mmio};
pub use pci::Pci;
pub use queue::{Chain, Queue, Served};
pub use transport::Transport;

use trine_base::{StateError, Width};
use trine_memory::Ram;

/// The rings violate the specification: the device stops until the next reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// The part of a virtio device that is specific to its kind.
pub trait Virtio: Send {
    /// Device ID (virtio 1.2, 5).
    fn id(&self) -> u32;
    /// Short lower-case name, as in `info devices`.
    fn name(&self) -> &str;
    /// Feature bits offered besides those of the transport.
    fn features(&self) -> u64;
    /// Number of queues, at most 64; the same for the whole life of the device.
    fn queues(&self) -> usize;
    /// The features that the driver has accepted, some of those that were offered: called before the driver uses a
    /// queue, and before [`Virtio::load`].
    fn negotiated(&mut self, _features: u64) {}
    /// The device's configuration space.
    fn config(&self) -> Vec<u8>;
    /// Writes a field of the configuration space, at any offset.
    fn write_config(&mut self, _offset: u64, _width: Width, _value: u64) {}
    /// Whether the configuration space has changed by itself since the last call: the driver is interrupted. Asked
    /// after each turn of serving a queue, and after each write to the configuration space.
    fn config_changed(&mut self) -> bool {
        false
    }
    /// Serves a queue: after the driver's notification, after input came from outside, or to continue after
    /// [`Served::more`]. One call does a bounded amount of work, whatever the rings contain: [`Queue::serve`]
    /// ensures that.
    ///
    /// A device whose requests finish later takes chains with [`Queue::take`] and returns, when its backend has
    /// woken it (see [`trine_base::Waker`]), those that are finished with [`Queue::push`] before it takes more.
    fn serve(&mut self, index: usize, queue: &mut Queue, ram: &Ram) -> Result<Served, Broken>;
    /// The machine pauses: stops what runs on other threads and returns what is finished to the queue, but takes
    /// nothing. What was taken and is not finished is given out again ([`Queue::take_again`]). Returns whether
    /// buffers were returned to the driver.
    fn quiesce(&mut self, _index: usize, _queue: &mut Queue, _ram: &Ram) -> Result<bool, Broken> {
        Ok(false)
    }
    /// The driver has taken a queue back, or has reset it: nothing that was taken from it before may be pushed, and guest
    /// memory of such requests must not be touched any more.
    fn stopped(&mut self, _index: usize) {}

    /// Drops all requests in progress.
    fn reset(&mut self);

    /// Saves the device's state without its queues, which the transport saves; see
    /// [`trine_base::Device::save`].
    fn save(&self) -> Vec<u8>;

    /// Loads a state that a device made with the same arguments saved.
    fn load(&mut self, state: &[u8]) -> Result<(), StateError>;
}

#[cfg(test)]
mod tests;
