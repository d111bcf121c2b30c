//! The handle by which other threads reach a machine.

use super::Parts;
use crate::End;
use crate::disk::DiskStatus;
use std::sync::Arc;
use std::time::Duration;

/// A handle for other threads.
#[derive(Clone)]
pub struct Remote {
    pub(crate) parts: Arc<Parts>,
}

impl Remote {
    /// The disks, in their order.
    pub fn disks(&self) -> &[DiskStatus] {
        &self.parts.disks
    }

    /// Types into the guest's console; returns how many of the bytes there was room for.
    pub fn input(&self, bytes: &[u8]) -> usize {
        let taken = self.parts.console.input.push(bytes);
        self.arrived();
        taken
    }

    /// Asks for the device's timer instead of calling the device, which may be waiting for the reader of its
    /// output.
    fn arrived(&self) {
        if let Some(device) = self.parts.console_device {
            self.parts.bus.request_timer(device);
        }
    }

    /// Tells the guest how many rows and columns the terminal that shows its console has, if it can be told.
    pub fn set_terminal_size(&self, size: (u16, u16)) {
        self.parts.terminal.iter().for_each(|terminal| terminal.set(size));
    }

    /// Sends a break condition followed by a byte: on a Linux guest's console, a SysRq command.
    pub fn sysrq(&self, command: u8) {
        self.parts.console.input.push_break(&[command]);
        self.arrived();
    }

    /// Whether the guest has read all input that was sent so far, which shows that a driver listens.
    pub fn listens(&self) -> bool {
        self.parts.console.input.is_empty()
    }

    /// Ends the machine at once; does not wait until it has ended.
    pub fn quit(&self) {
        self.parts.control.finish(End::Quit);
    }

    /// Makes [`super::Board::run_until_interrupted`] return, with each vCPU between two instructions. Does
    /// not wait for that.
    pub fn interrupt(&self) {
        self.parts.control.interrupt();
    }

    /// Pauses the machine, so that it uses no CPU time and its clock stands still. Returns true when none of
    /// its threads runs any more, or false after `most`: where a device waits for the host, the pause begins
    /// when that wait is over. A machine that does not run yet will start paused.
    pub fn pause(&self, most: Duration) -> bool {
        self.parts.control.pause(most)
    }

    /// Whether the machine has ended.
    pub fn has_ended(&self) -> bool {
        self.parts.control.end().is_some()
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
