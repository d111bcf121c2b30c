//! A machine as other threads reach it.

use super::Parts;
use crate::End;
use std::sync::Arc;
use std::time::Duration;

/// A handle for other threads.
#[derive(Clone)]
pub struct Remote {
    pub(super) parts: Arc<Parts>,
}

impl Remote {
    /// Types into the guest's console.
    pub fn input(&self, bytes: &[u8]) {
        self.parts.console.input.push(bytes);
        // Not called from here: the device may be waiting for who reads its output.
        self.parts.bus.request_timer(self.parts.console_device);
    }

    /// Sends a break condition followed by a byte: on a Linux guest's console, a SysRq command.
    pub fn sysrq(&self, command: u8) {
        self.parts.console.input.push_break();
        self.input(&[command]);
    }

    /// Whether a driver in the guest takes what comes over the console's line, as far as it was sent.
    pub fn listens(&self) -> bool {
        self.parts.console.input.is_empty()
    }

    /// Ends the machine at once; does not wait until it has ended.
    pub fn quit(&self) {
        self.parts.control.finish(End::Quit);
    }

    /// Has [`super::Board::run_until_interrupted`] come back with each vCPU between two instructions; does not wait for that.
    pub fn interrupt(&self) {
        self.parts.control.interrupt();
    }

    /// Lets the machine use no CPU, and its clock stand still. Comes back when none of its threads runs any more, or, with false, after `most`: where
    /// a device waits for the host, the pause begins when that is over. A machine that does not run yet begins paused.
    pub fn pause(&self, most: Duration) -> bool {
        self.parts.control.pause(most)
    }

    /// Lets a paused machine go on.
    pub fn resume(&self) {
        self.parts.control.resume();
    }

    /// Whether the machine is paused.
    pub fn is_paused(&self) -> bool {
        self.parts.control.is_paused()
    }
}
