//! The interface between a device and a board.
//!
//! A device never calls a vCPU or another device. It answers an access and *returns* what should happen next
//! as [`Action`]s; the bus performs them after it has unlocked the device, in the order in which the device
//! asked for them.

use crate::{StateError, Width};
use serde::{Deserialize, Serialize};

/// Why a machine stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    /// The guest asked for power-off.
    PowerOff,
    /// The guest asked for a reset.
    Reset,
    /// The guest reported a failure with a code of its own (a test finisher, a panic device).
    Failure(u32),
}

/// What the bus does for a device after the device is unlocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Drive input `line` of the board's interrupt controller to `level`.
    Irq {
        /// Input number at the interrupt controller.
        line: u32,
        /// True while the device asks for attention.
        level: bool,
    },
    /// Drive interrupt input `line` (the CPU's own numbering) of a vCPU.
    Cpu {
        /// Index of the vCPU on the board.
        vcpu: u32,
        /// The CPU's interrupt input; on RISC-V the bit number in `mip`.
        line: u32,
        /// True while the interrupt is asserted.
        level: bool,
    },
    /// Drive input `line` of the interrupt controller that belongs to a vCPU to `level`: what the board's
    /// controller passes on to that vCPU, or what another vCPU's controller sends.
    Local {
        /// Index of the vCPU on the board.
        vcpu: u32,
        /// Input number at that controller.
        line: u32,
        /// True while the interrupt is asserted.
        level: bool,
    },
    /// Post event `number` (the CPU's own numbering) to a vCPU, which stays until the vCPU takes it: what has
    /// no level, such as a non-maskable interrupt or a request to start.
    Edge {
        /// Index of the vCPU on the board.
        vcpu: u32,
        /// The CPU's event, 0 to 31.
        number: u32,
    },
    /// Send an interrupt as a message (PCI's MSI): a write of 4 bytes that only interrupt controllers understand.
    Message {
        /// The address that it is written to.
        address: u64,
        /// The value that is written.
        data: u32,
    },
    /// (Re)arm the device's timer: call [`Device::timer`] once the clock reaches `at` nanoseconds.
    Timer {
        /// Absolute clock time in nanoseconds; `None` disarms.
        at: Option<u64>,
    },
    /// Stop the whole machine.
    Stop(StopReason),
}

/// Actions collected during one call of a device.
#[derive(Default, Debug)]
pub struct Actions {
    list: Vec<Action>,
}

impl Actions {
    /// An empty list; does not allocate.
    pub const fn new() -> Actions {
        Actions { list: Vec::new() }
    }

    /// Adds `action` at the end.
    pub fn push(&mut self, action: Action) {
        self.list.push(action);
    }

    /// Shorthand for [`Action::Irq`].
    pub fn irq(&mut self, line: u32, level: bool) {
        self.push(Action::Irq { line, level });
    }

    /// Takes all actions out, in order; keeps the allocated memory for the next ones.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Action> {
        self.list.drain(..)
    }

    /// Whether no action was asked for.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// A device with one window of registers.
///
/// Offsets are relative to the window and always inside it. `now` is the board's clock in nanoseconds. A
/// guest can make any access at any time: an implementation must not panic; registers that the data sheet
/// leaves undefined read as zero and ignore writes.
pub trait Device: Send {
    /// Short lower-case name, as in `info devices` ("plic", "uart0").
    fn name(&self) -> &str;

    /// Reads `width` bytes at `offset`; bits above the width are zero.
    fn read(&mut self, offset: u64, width: Width, now: u64, out: &mut Actions) -> u64;

    /// Writes the low `width` bytes of `value` at `offset`.
    fn write(&mut self, offset: u64, width: Width, value: u64, now: u64, out: &mut Actions);

    /// Called when the time asked for by [`Action::Timer`] has come, or when something came from outside
    /// ([`crate::Bus::request_timer`]).
    fn timer(&mut self, _now: u64, _out: &mut Actions) {}

    /// The machine pauses, to be saved perhaps: what the device has running on other threads stops as soon as possible,
    /// and what of it is finished is given to the guest. It goes on when [`Device::timer`] is called, as it is
    /// after a pause. May be called several times.
    fn quiesce(&mut self, _out: &mut Actions) {}

    /// Drives input `line` to `level` (interrupt controllers only). The line may have had that level before. A
    /// vCPU's controller must not answer with [`Action::Local`]: two could keep each other busy for ever.
    fn input(&mut self, _line: u32, _level: bool, _out: &mut Actions) {}

    /// Receives an interrupt that is a message, from [`Action::Message`] (interrupt controllers only). Both values come
    /// from a guest.
    fn message(&mut self, _address: u64, _data: u32, _out: &mut Actions) {}

    /// Returns the number of the interrupt that a vCPU takes now, and marks it as in service; `None` where none
    /// is pending (interrupt controllers only, of the kind that CPUs ask).
    fn acknowledge(&mut self, _out: &mut Actions) -> Option<u32> {
        None
    }

    /// Returns to the state after power-on.
    fn reset(&mut self, out: &mut Actions);

    /// Saves everything that the device holds and a guest could notice: see [`crate::state`]. The wiring
    /// (interrupt line, memory, backends) belongs to the board and is not saved.
    fn save(&self) -> Vec<u8>;

    /// Loads a state that a device made with the same arguments saved. The device asks for no actions: the
    /// levels of lines are in the controller's state, timers are in the bus's.
    fn load(&mut self, state: &[u8]) -> Result<(), StateError>;
}
