//! Wakes a device from a thread of its backend.

use crate::bus::{Bus, DeviceId};
use std::sync::{Arc, OnceLock, Weak};

/// A handle by which any thread has [`crate::Device::timer`] of one device called soon: when a disk has finished a
/// request, or a network has a frame. A waker is made before its device, and connected when the bus is complete;
/// until then, and after the bus has gone, it does nothing.
#[derive(Clone, Default)]
pub struct Waker(Arc<OnceLock<(Weak<Bus>, DeviceId)>>);

impl Waker {
    /// A waker that is not connected.
    pub fn new() -> Waker {
        Waker::default()
    }

    /// Connects it to a device, once; its clones are connected, too. The device is woken at once, as its backend may
    /// have wanted that before.
    pub fn connect(&self, bus: &Arc<Bus>, device: DeviceId) {
        drop(self.0.set((Arc::downgrade(bus), device)));
        self.wake();
    }

    /// Wakes the device. Never waits for it.
    pub fn wake(&self) {
        if let Some((bus, device)) = self.0.get()
            && let Some(bus) = bus.upgrade()
        {
            bus.request_timer(*device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CountClock;
    use crate::bus::tests::{Call, probe};

    #[test]
    fn a_waker_wakes_its_device_while_there_is_one() {
        let ((device, calls), waker) = (probe(|_, _| ()), Waker::new());
        waker.wake();
        let mut bus = Bus::new(Arc::new(CountClock::new(1, 0)), Vec::new());
        let id = bus.add(0, 0x1000, device).unwrap();
        let bus = Arc::new(bus);
        let woken = || {
            bus.run_timers();
            calls.try_iter().collect::<Vec<_>>()
        };
        assert_eq!(woken(), []);
        waker.clone().connect(&bus, id);
        assert_eq!(woken(), [Call::Timer], "what was wanted before is done at once");
        assert_eq!(woken(), []);
        waker.wake();
        assert_eq!(woken(), [Call::Timer]);
        drop(bus);
        waker.wake();
    }
}
