//! The times at which the devices of a bus want to be called.

use serde::{Deserialize, Serialize};

/// The times at which devices want [`crate::Device::timer`], by device number.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Timers {
    /// Clock time in nanoseconds; `None` while the timer is not armed.
    armed: Vec<Option<u64>>,
    /// Whether the device is to be called as soon as possible, whatever its timer says.
    requested: Vec<bool>,
}

impl Timers {
    /// The number of devices; `None` where a loaded state has two lists of different lengths.
    pub fn devices(&self) -> Option<usize> {
        (self.armed.len() == self.requested.len()).then_some(self.armed.len())
    }

    /// Adds the timer of one more device, not armed.
    pub fn add(&mut self) {
        self.armed.push(None);
        self.requested.push(false);
    }

    /// Arms or disarms the timer of a device.
    pub fn arm(&mut self, device: usize, at: Option<u64>) {
        self.armed[device] = at;
    }

    /// Asks for a call as soon as possible; an armed timer stays armed.
    pub fn request(&mut self, device: usize) {
        self.requested[device] = true;
    }

    /// The earliest time at which a call is due; 0 where one is due at once.
    pub fn next(&self) -> Option<u64> {
        if self.requested.contains(&true) { Some(0) } else { self.armed.iter().flatten().min().copied() }
    }

    /// Removes and returns a device whose time has come.
    pub fn take_due(&mut self, now: u64) -> Option<usize> {
        let is_due = |at: &Option<u64>| at.is_some_and(|at| at <= now);
        let requested = self.requested.iter().position(|&requested| requested);
        let device = requested.or_else(|| self.armed.iter().position(is_due))?;
        self.requested[device] = false;
        // A request does not disarm a later timer.
        if is_due(&self.armed[device]) {
            self.armed[device] = None;
        }
        Some(device)
    }
}
