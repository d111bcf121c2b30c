//! Serial ports, interrupt controllers, timers, virtio.
