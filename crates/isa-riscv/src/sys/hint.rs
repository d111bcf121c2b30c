//! Hints that are worth more than a no-op.

use trine_ir::{Hart, Helper, Leave, SlotSet};

/// `pause` (unpriv 8, Zihintpause): a hart waits in a loop for another one.
pub static PAUSE: Helper = Helper {
    name: "pause",
    run: pause,
    reads: SlotSet::NONE,
    writes: SlotSet::NONE,
    leaves: false,
    flushes: false,
    fp: false,
};

fn pause(hart: &dyn Hart, _: [u64; 3]) -> Result<u64, Leave> {
    hart.pause();
    Ok(0)
}
